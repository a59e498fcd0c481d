from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gb10.cluster.plugins.filter import serving_plan as plan_filter
from ansible_collections.gb10.cluster.plugins.filter import serving_screen as screen_filter
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import ServingPlan
from ansible_collections.gb10.cluster.plugins.module_utils.shape import fits
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import facts

serving_plan = plan_filter.FilterModule().filters()["serving_plan"]
serving_screen = screen_filter.FilterModule().filters()["serving_screen"]
UNSET = (
    "free_gib",
    "engine",
    "tensor_parallel",
    "pipeline_parallel",
    "kv_cache_dtype",
    "max_model_len",
    "max_num_seqs",
    "draft_facts",
)


def test_unset_variables_mean_the_defaults() -> None:
    found = serving_plan(facts("llama-3.1-8b"), 3, 119.7, **dict.fromkeys(UNSET))
    assert fits(found, ServingPlan)
    assert found == serving_plan(facts("llama-3.1-8b"), ["node1", "node2", "node3"], memory_gib="119.7")


def test_everything_as_text_as_the_command_line_gives_it() -> None:
    found = serving_plan(
        facts("llama-3.1-8b"),
        "3",
        memory_gib="119.7,119.7, 57",
        free_gib="100,101,50",
        engine="vllm",
        pipeline_parallel="3",
        tensor_parallel="1",
        kv_cache_dtype="fp8",
        max_model_len="16384",
        max_num_seqs="4",
        utilisation="0.7",
    )
    assert (found["pp"], found["max_model_len"], found["max_num_seqs"], found["kv_cache_dtype"]) == (3, 16384, 4, "fp8")
    assert found["memory"] is not None
    assert (found["memory"]["node"], found["memory"]["total_bytes"]) == ("node3", 57 * 2**30)


def test_nodes_by_name() -> None:
    found = serving_plan(facts("llama-3.1-70b"), ["spark2", "spark1", "spark3"], memory_gib=[119.7, 119.7, 119.7])
    assert (found["pool"], found["spare"]) == (["spark2", "spark1"], ["spark3"])


def test_a_draft_model() -> None:
    found = serving_plan(facts("llama-3.1-70b"), 2, 119.7, draft_facts=facts("llama-3.1-8b"))
    assert found["tp"] == 2


def test_a_refusal_is_a_plan_and_no_error() -> None:
    found = serving_plan(facts("llama-3.1-8b", architectures=["X"]), 1, 119.7)
    assert found["fits"] is False


WRONG: list[tuple[dict[str, t.Any], str]] = [
    ({"nodes": 0}, "the number of nodes is 0"),
    ({"nodes": "three"}, "the number of nodes is 'three'"),
    ({"nodes": 5}, "expected 1 to 4 different ones"),
    ({"nodes": ["a", "a"]}, "expected 1 to 4 different ones"),
    ({"nodes": []}, r"the number of nodes is \[\]"),
    ({"nodes": True}, "the number of nodes is True"),
    ({"memory_gib": "much"}, "the memory of a node is 'much'"),
    ({"memory_gib": 0}, "the memory of a node is 0"),
    ({"memory_gib": "nan"}, "the memory of a node is 'nan'"),
    ({"memory_gib": True}, "the memory of a node is True"),
    ({"memory_gib": None}, "the memory of a node is None"),
    ({"memory_gib": [119.7, 57]}, "is given 2 times for 3 nodes"),
    ({"free_gib": 130}, "the free memory is wrong"),
    ({"tensor_parallel": 0}, "tensor_parallel is 0"),
    ({"tensor_parallel": 1.5}, "tensor_parallel is 1.5"),
    ({"pipeline_parallel": 4}, "takes 4 nodes; there are 3"),
    ({"kv_cache_dtype": "nvfp4"}, "kv_cache_dtype is 'nvfp4'; expected one of auto"),
    ({"engine": "sglang"}, "engine is 'sglang'; expected one of vllm, trtllm"),
    ({"utilisation": 0.99}, "utilisation is 0.99"),
    ({"speed": "fast"}, "speed is not an option"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG, ids=[str(case[0]) for case in WRONG])
def test_what_the_caller_got_wrong(changes: dict[str, t.Any], says: str) -> None:
    arguments = {"nodes": 3, "memory_gib": 119.7} | changes
    with pytest.raises(AnsibleFilterError, match=says):
        serving_plan(facts("llama-3.1-8b"), arguments.pop("nodes"), arguments.pop("memory_gib"), **arguments)


@pytest.mark.parametrize("wrong", [{}, [], "llama"], ids=str)
def test_what_are_no_facts(wrong: t.Any) -> None:
    with pytest.raises(AnsibleFilterError, match="takes the facts"):
        serving_plan(wrong, 1, 119.7)


def test_the_screen_has_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    found = serving_plan(facts("llama-3.1-8b"), 3, 119.7)
    monkeypatch.setattr(screen_filter.Display(), "columns", 300)
    assert serving_screen(found) == serving_screen(found, width=120)
    assert serving_screen(found, width=10) == serving_screen(found, width="79")
    assert serving_screen(found, where="evidence/plan.json")[-1] == "plan evidence/plan.json"
