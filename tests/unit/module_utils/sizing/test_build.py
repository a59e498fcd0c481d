"""The plan: which way is chosen and why, and that it says no where no is the answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import ServingPlan
from ansible_collections.gb10.cluster.plugins.module_utils.shape import fits
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.build import Wanted, serving_plan
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.errors import SizingError
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.evaluate import pools
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.memory import GIB, MIB, NodeMemory
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import (
    FEW,
    FIXTURES,
    PRESETS,
    ROOT,
    SPARKS,
    config,
    facts,
    nodes,
)
from hypothesis import given
from hypothesis import strategies as st


def plan(name: str, memory: list[NodeMemory] = SPARKS, **wanted: t.Any) -> ServingPlan:
    return serving_plan(facts(name), memory, Wanted(**wanted))


def flag(found: ServingPlan, name: str) -> str:
    return found["flags"][found["flags"].index(name) + 1]


# --- the presets on three Sparks ---

# tp, pp, replicas; the last column tells why it could be nothing else.
CHOICES: list[tuple[str, tuple[int, int, int] | None, str]] = [
    ("llama-3.1-8b", (1, 1, 3), "15 GiB"),
    ("llama-3.1-70b", (2, 1, 1), "131 GiB in bf16: two nodes, and TP=2 comes before PP (spark-facts 6.1)"),
    ("llama-3.1-70b-fp8", (1, 1, 3), "68 GiB (spark-facts 6, row 6)"),
    ("llama-3.1-405b-awq", (1, 3, 1), "203 GiB, 128 heads: PP=3 (spark-facts 6.1)"),
    ("qwen3-235b-a22b", None, "438 GiB in bf16"),
    ("qwen3-235b-a22b-fp8", (1, 3, 1), "220 GiB"),
    ("qwen3-235b-a22b-gptq-int4", (2, 1, 1), "116 GiB; 57.64 on a rank as measured"),
    ("qwen3-coder-next-fp8", (1, 1, 3), "75 GiB"),
    ("gpt-oss-120b", (1, 1, 3), "61 GiB"),
    ("deepseek-v3", None, "627 GiB"),
    ("deepseek-r1", None, "627 GiB"),
]


def test_every_preset_has_a_row() -> None:
    assert {name for name, _cut, _why in CHOICES} == PRESETS.keys()


@pytest.mark.parametrize(("name", "cut"), [case[:2] for case in CHOICES], ids=[case[0] for case in CHOICES])
def test_presets(name: str, cut: tuple[int, int, int] | None) -> None:
    found = plan(name)
    assert found["fits"] is (cut is not None)
    if cut is not None:
        assert (found["tp"], found["pp"], found["dp"]) == cut
        assert len(found["pool"]) == cut[0] * cut[1] * cut[2]


@pytest.mark.parametrize("name", sorted({*PRESETS, *FIXTURES}))
@pytest.mark.parametrize("count", [1, 3])
def test_every_plan_has_the_shape_of_the_contract(name: str, count: int) -> None:
    found = plan(name, nodes(*[119.7] * count))
    assert fits(found, ServingPlan)
    ranks = found["tp"] * found["pp"]
    assert len(found["weights_bytes_per_rank"]) == len(found["kv_bytes_per_token_rank"]) == ranks
    assert len(found["layers_per_stage"]) == found["pp"]
    assert found["why"]
    assert sorted(found["pool"] + found["spare"]) == [f"node{number + 1}" for number in range(count)]


def test_405b_on_three_sparks_in_numbers() -> None:
    """spark-facts 6.1: 68.7 / 64.8 / 68.7 GiB, 172,032 B per token and stage, 144K tokens in bf16 and 288K in fp8."""
    found = plan("llama-3.1-405b-awq")
    assert [round(size / GIB, 1) for size in found["weights_bytes_per_rank"]] == [68.7, 64.8, 68.7]
    assert found["kv_bytes_per_token_rank"] == [172_032] * 3
    assert found["kv_tokens"] == pytest.approx(144_000, rel=0.005)
    assert found["max_model_len"] == 131_072
    assert found["ceilings"]["single_stream_tok_s"] == 1.28
    small = plan("llama-3.1-405b-awq", kv_cache_dtype="fp8")
    assert small["kv_bytes_per_token_rank"] == [86_016] * 3
    assert small["kv_tokens"] == pytest.approx(288_000, rel=0.005)
    assert flag(small, "--kv-cache-dtype") == "fp8"


def test_the_upper_end_of_spark_facts() -> None:
    """0.82 of 121.69 GiB: 169K tokens in bf16 (spark-facts 6.1)."""
    found = plan("llama-3.1-405b-awq", nodes(121.69, 121.69, 121.69), utilisation=0.82)
    assert found["kv_tokens"] == pytest.approx(169_000, rel=0.005)


# --- why ---


def test_why_of_405b() -> None:
    found = plan("llama-3.1-405b-awq")
    assert found["why"][0] == (
        "one node, TP=2, PP=2: too large. TP=3: refused, for 128 attention heads are not divisible by TP=3."
        " pipeline parallelism adds capacity, not single-stream speed: a token visits the stages one after another"
    )
    assert found["why"][1] == (
        "node1 gives 95.8 GiB (80% of 119.7 GiB); the engine takes 4, the heaviest rank 68.7, and 23.1 are left for the"
        " cache"
    )


def test_why_of_a_model_for_one_node() -> None:
    assert plan("llama-3.1-8b")["why"][0].startswith("the model fits one node: 3 replicas carry the most requests")
    assert "TP=2 serves one request faster (34 tok/s at most, not 18)" in plan("llama-3.1-8b")["why"][0]
    assert plan("llama-3.1-8b", nodes(119.7))["why"][0].startswith("the model fits one node, and nothing is faster")
    odd = facts("llama-3.1-8b", num_attention_heads=31, num_key_value_heads=31, head_dim=128)
    assert "serves one request faster" not in serving_plan(odd, SPARKS, Wanted())["why"][0]


def test_why_of_two_ranks() -> None:
    found = plan("llama-3.1-70b")
    assert found["why"][0] == (
        "one node: too large. TP=2 comes before pipeline parallelism: its nodes read the weights at the same time"
    )
    assert found["spare"] == ["node3"]


def test_a_comfortable_context_is_worth_a_second_node() -> None:
    """Alone it would hold a few thousand tokens: fewer than 32768, so TP=2 is taken."""
    found = serving_plan(facts("llama-3.1-70b-fp8", total_bytes=round(90 * GIB)), SPARKS, Wanted())
    assert (found["tp"], found["pp"]) == (2, 1)
    assert "short of context, 5120 tokens at most" in found["why"][0]
    alone = serving_plan(facts("llama-3.1-70b-fp8", total_bytes=round(90 * GIB)), nodes(119.7), Wanted())
    assert (alone["fits"], alone["max_model_len"]) == (True, 5120)
    assert "max_model_len is 5120 and not the 131072" in alone["why"][2]


def test_no_means_no_and_says_what_would_do() -> None:
    found = plan("deepseek-r1")
    assert found["why"][:3] == [
        "PP=3 on 3 nodes: the heaviest rank holds 225.1 GiB of weights and the engine takes 4 GiB besides; node1 gives"
        " 95.8 GiB",
        "its weights are 627 GiB; 8 such nodes would hold it (PP=8)",
        "no format that the engine is known to serve on GB10 makes it fit these nodes",
    ]
    assert found["flags"] == [] and found["pool"] == [] and found["ceilings"]["single_stream_tok_s"] is None
    assert (found["kv_tokens"], found["kv_cache_memory_bytes"], found["max_model_len"]) == (0, 0, 0)


def test_the_safest_format_that_fits_is_named() -> None:
    found = plan("qwen3-235b-a22b")
    assert "the safest format that would fit is fp8: 220 GiB, PP=3" in found["why"]
    assert [option["method"] for option in found["quantizations"]][:3] == ["fp8", "awq", "gptq"]


def test_more_nodes_than_anyone_has() -> None:
    assert "more than 64 such nodes hold" in plan("kimi-k2", nodes(9))["why"][1]


# --- what is asked for ---


def test_a_way_that_was_asked_for_is_taken() -> None:
    found = plan("llama-3.1-8b", pipeline_parallel=3)
    assert (found["tp"], found["pp"], found["dp"], found["why"][0]) == (1, 3, 1, "PP=3 was asked for")
    assert {(way["tp"], way["pp"]) for way in found["alternatives"]} == {(1, 1), (2, 1), (3, 1), (1, 2)}
    four = plan("llama-3.1-8b", nodes(*[119.7] * 4), tensor_parallel=2)
    assert (four["tp"], four["pp"], four["dp"]) == (2, 1, 2)


def test_tensor_parallel_3_is_refused_and_says_why() -> None:
    found = plan("llama-3.1-405b-awq", tensor_parallel=3)
    assert (found["fits"], found["tp"]) == (False, 3)
    assert found["why"][0] == "TP=3 on 3 nodes: 128 attention heads are not divisible by TP=3"
    assert "PP=3 would serve it" in found["why"]


def test_tensor_parallel_3_is_taken_where_the_heads_divide() -> None:
    wide = facts("llama-3.1-8b", num_attention_heads=24, num_key_value_heads=6, head_dim=128, intermediate_size=12288)
    assert serving_plan(wide, SPARKS, Wanted(tensor_parallel=3))["fits"]


def test_more_ranks_than_nodes_is_a_mistake() -> None:
    with pytest.raises(SizingError, match="takes 4 nodes; there are 3"):
        plan("llama-3.1-8b", tensor_parallel=2, pipeline_parallel=2)


def test_the_context_that_was_asked_for() -> None:
    found = plan("llama-3.1-8b", max_model_len=20_000)
    assert (found["max_model_len"], flag(found, "--max-model-len")) == (20_000, "20000")
    assert "131072 tokens of context; 20000 were asked for" in found["why"][2]
    long = plan("llama-3.1-8b", max_model_len=200_000)
    assert (long["fits"], long["why"][0]) == (
        False,
        "PP=3 on 3 nodes: the model knows 131072 tokens of context, and 200000 were asked for",
    )


def test_a_context_that_only_more_nodes_hold() -> None:
    """405B on PP=3 holds 144K tokens, so 131072 fit; Qwen3-235B GPTQ on one node holds none."""
    found = plan("llama-3.1-405b-awq", nodes(119.7, 119.7, 100), max_model_len=131_072)
    assert not found["fits"]
    assert "room for one request of" in found["why"][0]
    assert "131072 were wanted" in found["why"][0]


def test_requests_at_a_time() -> None:
    assert plan("llama-3.1-8b")["max_num_seqs"] == 64
    assert plan("llama-3.1-405b-awq")["max_num_seqs"] == 17  # 8996 blocks of 16 tokens / 512
    assert plan("llama-3.1-8b", max_num_seqs=3)["max_num_seqs"] == 3


# --- memory ---


def test_the_smallest_node_decides() -> None:
    mixed = plan("llama-3.1-405b-awq", nodes(119.7, 110, 121.69))
    assert mixed["memory"] is not None
    assert mixed["memory"]["node"] == "node2"
    assert mixed["why"][1].startswith("the smallest node decides: node2 gives 88.0 GiB")
    assert mixed["kv_cache_memory_bytes"] == plan("llama-3.1-405b-awq", nodes(110, 110, 110))["kv_cache_memory_bytes"]


def test_a_small_node_is_left_out_where_the_others_do() -> None:
    found = plan("llama-3.1-70b-fp8", nodes(119.7, 57, 119.7))
    assert (found["dp"], found["pool"], found["spare"]) == (2, ["node1", "node3"], ["node2"])
    assert plan("llama-3.1-8b", nodes(119.7, 57, 119.7))["pool"] == ["node1", "node2", "node3"]


def test_pools_shrink_only_for_more_memory() -> None:
    assert [[node.name for node in pool] for pool in pools(nodes(100, 60, 100), 1, 0.8)] == [
        ["node1", "node2", "node3"],
        ["node1", "node3"],
    ]
    assert [[node.name for node in pool] for pool in pools(nodes(60, 100, 100), 2, 0.8)] == [["node2", "node3"]]


def test_free_memory_bounds_the_budget() -> None:
    """GPU_MEM_UTIL=0.87 never starts where 101.3 of 121.69 GiB are free (MiaAI-Lab #47): 8 GiB stay with the system."""
    found = plan("llama-3.1-8b", nodes(121.69, free=101.3))
    assert found["memory"] is not None
    assert found["memory"]["budget_bytes"] / GIB == pytest.approx(93.3)
    assert "101.3 GiB free, less a reserve" in found["why"][1]
    assert not any("not measured" in warning for warning in found["warnings"])
    assert any("not measured" in warning for warning in plan("llama-3.1-8b")["warnings"])
    plenty = plan("llama-3.1-8b", nodes(121.69, free=120))
    assert "80% of 121.7 GiB" in plenty["why"][1]


def test_a_busy_node_gives_nothing() -> None:
    found = plan("llama-3.1-8b", nodes(119.7, free=5))
    assert not found["fits"]
    assert "node1 gives 0.0 GiB" in found["why"][0]


def test_free_memory_beyond_the_whole_is_a_mistake() -> None:
    with pytest.raises(SizingError, match="the free memory is wrong"):
        plan("llama-3.1-8b", nodes(60, free=61))
    with pytest.raises(SizingError, match="no node to plan for"):
        plan("llama-3.1-8b", [])


def test_flags_of_vllm() -> None:
    found = plan("llama-3.1-405b-awq")
    # 119.7 x 0.8 - 4 - 68.696 GiB, down to a MiB
    assert flag(found, "--kv-cache-memory-bytes") == str(found["kv_cache_memory_bytes"])
    assert found["kv_cache_memory_bytes"] % MIB == 0
    assert found["kv_cache_memory_bytes"] / GIB == pytest.approx(119.7 * 0.8 - 4 - 68.696, abs=0.001)
    # never the engine's default of 0.92, with which it refuses to start (serving 1.9)
    assert flag(found, "--gpu-memory-utilization") == "0.79"
    assert flag(found, "--max-num-batched-tokens") == "8192"
    assert (flag(found, "--tensor-parallel-size"), flag(found, "--pipeline-parallel-size")) == ("1", "3")


def test_a_small_spark_gets_the_smaller_defaults() -> None:
    """64 GB units: 2048 tokens a step (serving 1.9)."""
    found = plan("llama-3.1-8b", nodes(57))
    assert flag(found, "--max-num-batched-tokens") == "2048"
    assert found["fits"]


def test_the_share_is_of_the_largest_node() -> None:
    found = plan("llama-3.1-8b", nodes(57, 119.7), pipeline_parallel=2)
    assert float(flag(found, "--gpu-memory-utilization")) * 119.7 <= 57 * 0.8


def test_flags_of_tensorrt_llm() -> None:
    found = plan("llama-3.1-70b", engine="trtllm")
    assert found["flags"][:4] == ["--backend", "pytorch", "--tp_size", "2"]
    assert "--kv-cache-memory-bytes" not in found["flags"]
    assert any("TensorRT-LLM has its own blocks" in warning for warning in found["warnings"])
    three = plan("qwen3-235b-a22b-gptq-int4", engine="trtllm", pipeline_parallel=3)
    assert any("experimental" in warning for warning in three["warnings"])


# --- warnings and refusals ---


def test_warnings_name_versions() -> None:
    (beware, safer, *_rest) = plan("qwen3-coder-next-fp8")["warnings"]
    assert safer == "fp8 is proven and would fit: 75 GiB, 3 replicas"
    assert beware.startswith("fp8-block with vllm is to be used with care: ")
    assert "VLLM_USE_DEEP_GEMM=0" in beware
    assert plan("qwen3-coder-next-fp8")["environment"] == {
        "VLLM_USE_DEEP_GEMM": "0",
        "VLLM_DISABLED_KERNELS": "CutlassFp8BlockScaledMMKernel",
    }
    assert plan("llama-3.1-8b")["environment"] == plan("deepseek-r1")["environment"] == {}
    assert any("20 (vllm #41477" in warning for warning in plan("gpt-oss-120b")["warnings"])
    assert not any("would fit" in warning for warning in plan("gpt-oss-120b", nodes(75))["warnings"])
    unproven = plan("qwen3-235b-a22b-gptq-int4", engine="trtllm")
    assert any("gptq with trtllm is unproven on GB10" in warning for warning in unproven["warnings"])


def test_an_fp8_cache_without_scales_is_warned_of() -> None:
    assert any(
        "FP8 cache needs scales" in warning for warning in plan("llama-3.1-8b", kv_cache_dtype="fp8")["warnings"]
    )
    scaled = facts(
        "llama-3.1-8b",
        quantization_config={"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
    )
    found = serving_plan(scaled, SPARKS, Wanted())
    assert found["kv_cache_dtype"] == "fp8"
    assert found["kv_bytes_per_token_rank"] == [65_536]
    assert not any("FP8 cache" in warning for warning in found["warnings"])


def test_what_the_folder_lacks_is_passed_on() -> None:
    told = facts("llama-3.1-8b") | {"problems": ["3 of 4 weight files are not there yet"]}
    assert "3 of 4 weight files are not there yet" in serving_plan(t.cast(t.Any, told), SPARKS, Wanted())["warnings"]
    assert any("a vision tower" in warning for warning in plan("qwen3.6-35b-a3b")["warnings"])


REFUSED: list[tuple[str, dict[str, t.Any], dict[str, t.Any], str]] = [
    ("sparse", {"architectures": ["DeepseekV32ForCausalLM"]}, {}, "a size would be a guess"),
    ("unknown", {"architectures": ["FancyForCausalLM"]}, {}, "not an architecture that this planner knows"),
    ("nothing", {"architectures": None}, {}, "is this the folder of a complete model"),
    ("format", {"quantization_config": {"quant_method": "bitsandbytes"}}, {}, "only through plugins"),
    ("cache", {}, {"kv_cache_dtype": "nvfp4"}, "not one that can be sized"),
    (
        "engine",
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
        {"engine": "trtllm"},
        "trtllm does not serve fp8-block on GB10: not supported on sm_120",
    ),
]


@pytest.mark.parametrize(
    ("changes", "wanted", "says"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_cannot_be_sized_is_refused_in_the_shape_of_the_contract(
    changes: dict[str, t.Any], wanted: dict[str, t.Any], says: str
) -> None:
    found = serving_plan(facts("llama-3.1-8b", **changes), SPARKS, Wanted(**wanted))
    assert fits(found, ServingPlan)
    assert found["fits"] is False
    assert says in found["why"][0]
    assert found["weights_bytes_per_rank"] == found["flags"] == found["alternatives"] == []


# --- draft models ---


def test_a_draft_model_takes_its_share() -> None:
    target, drafter = facts("llama-3.1-70b"), facts("llama-3.1-8b")
    alone = serving_plan(target, SPARKS, Wanted())
    together = serving_plan(target, SPARKS, Wanted(), drafter)
    assert together["tp"] == 2
    more = together["weights_bytes_per_rank"][0] - alone["weights_bytes_per_rank"][0]
    assert more == 16_060_522_496 // 2
    assert together["kv_tokens"] < alone["kv_tokens"]


def test_a_draft_model_rules_pipelines_out() -> None:
    found = serving_plan(facts("llama-3.1-405b-awq"), SPARKS, Wanted(), facts("llama-3.1-8b"))
    assert not found["fits"]
    ways = {(way["tp"], way["pp"]): way for way in found["alternatives"]}
    assert "speculative decoding is refused" in ways[1, 3]["reason"]
    assert "its weights are 202 GiB" in found["why"]


def test_a_draft_model_that_is_not_known_is_refused() -> None:
    found = serving_plan(facts("llama-3.1-8b"), SPARKS, Wanted(), facts("llama-3.1-8b", architectures=["EagleX"]))
    assert "EagleX is not an architecture" in found["why"][0]


# --- invariants ---

NAMES = st.sampled_from(sorted({*PRESETS, *FIXTURES}))
MEMORY = st.floats(8, 200)


@FEW
@given(NAMES, MEMORY, MEMORY, st.integers(1, 4))
def test_more_memory_never_fits_less(name: str, one: float, other: float, count: int) -> None:
    little, much = (plan(name, nodes(*[size] * count)) for size in sorted((one, other)))
    assert much["fits"] or not little["fits"]
    if little["fits"] and (little["tp"], little["pp"]) == (much["tp"], much["pp"]):
        assert much["kv_cache_memory_bytes"] >= little["kv_cache_memory_bytes"]
        assert much["max_model_len"] >= little["max_model_len"]


@FEW
@given(NAMES, MEMORY, st.integers(1, 3))
def test_another_node_never_fits_less(name: str, size: float, count: int) -> None:
    few, more = (plan(name, nodes(*[size] * number)) for number in (count, count + 1))
    assert more["fits"] or not few["fits"]


@FEW
@given(NAMES, st.lists(MEMORY, min_size=1, max_size=4))
def test_what_fits_stays_within_its_node(name: str, sizes: list[float]) -> None:
    found = plan(name, nodes(*sizes))
    assert found["memory"] is not None
    if found["fits"]:
        used = max(found["weights_bytes_per_rank"]) + found["memory"]["overhead_bytes"] + found["kv_cache_memory_bytes"]
        assert used <= found["memory"]["budget_bytes"]
        assert 0 < found["max_model_len"] <= found["kv_tokens"]
        ceilings = found["ceilings"]
        assert ceilings["single_stream_full_context_tok_s"] <= ceilings["single_stream_tok_s"]
        assert ceilings["aggregate_tok_s"] >= 0.9 * ceilings["single_stream_tok_s"]


# --- cost ---

COST = """
import json, sys, time
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.build import Wanted, serving_plan
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.request import read_nodes
facts, times = json.load(sys.stdin), []
for _run in range(5):
    started = time.process_time()
    serving_plan(facts, read_nodes(3, 119.7), Wanted())
    times.append(time.process_time() - started)
loaded = {name.partition('.')[0] for name in sys.modules}
print(json.dumps([min(times), sorted(loaded & {'torch', 'transformers', 'numpy', 'safetensors', 'vllm', 'ansible'})]))
"""


def test_a_plan_takes_less_than_a_tenth_of_a_second_and_no_framework() -> None:
    """The target of issue 5, in a process without coverage; the best of five, for the machine may be busy."""
    done = subprocess.run(
        [sys.executable, "-c", COST],
        cwd=ROOT / ".collections",
        env={"PATH": os.environ["PATH"]},
        input=json.dumps(facts("qwen3-235b-a22b")),
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, loaded = json.loads(done.stdout)
    assert seconds < 0.1
    assert loaded == []


def test_presets_are_what_they_are_called() -> None:
    assert config("deepseek-r1") == config("deepseek-v3")
    assert replace(Wanted(), engine="trtllm").cut is None
