"""The plan as an operator sees it."""

from __future__ import annotations

import typing as t

from ansible_collections.gb10.cluster.plugins.module_utils.sizing.build import Wanted, serving_plan
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.screen import plan_screen
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import (
    FEW,
    FIXTURES,
    PRESETS,
    SPARKS,
    facts,
    nodes,
)
from hypothesis import given
from hypothesis import strategies as st


def screen(name: str, width: int = 79, memory: t.Any = SPARKS, where: str | None = None, **wanted: t.Any) -> list[str]:
    return plan_screen(serving_plan(facts(name), memory, Wanted(**wanted)), width, where)


def test_405b_on_three_sparks() -> None:
    lines = screen("llama-3.1-405b-awq", where="evidence/plan.json")
    assert lines[:15] == [
        "model      llama-3.1-405b-awq · LlamaForCausalLM · awq · 202.2 GiB (217.1 GB) by its architecture",
        "memory     119.7 GiB on node1; 95.8 for the engine, 4 of them neither weights nor cache",
        "",
        "  way            nodes  context  cache tok  one stream  together",
        "  3 replicas         3   no: 202.2 + 4 GiB on a rank, node1 gives 95.8",
        "  TP=2               2   no: 101.1 + 4 GiB on a rank, node1 gives 95.8",
        "  TP=3               3   no: 128 attention heads are not divisible by TP=3",
        "  PP=2               2   no: 101.1 + 4 GiB on a rank, node1 gives 95.8",
        "  PP=3               3   131072     143936        1.28      18.5   <- the plan",
        "",
        "  rank  layers  weights GiB  cache GiB  KV bytes/token",
        "  0         42         68.7       23.1         172,032",
        "  1         42         64.8       23.1         172,032",
        "  2         42         68.7       23.1         172,032",
        "",
    ]
    assert lines[15] == "FITS  PP=3 on node1 node2 node3   131072 tokens of context, 17 requests at a time"
    assert lines[-1] == "plan evidence/plan.json"
    text = " ".join(" ".join(lines).split())
    assert "pipeline parallelism adds capacity, not single-stream speed" in text
    assert "one stream at most 1.28 tok/s = 1 / (212.88 GB / 273 GB/s" in text
    assert "              8192 --kv-cache-memory-bytes" not in "\n".join(lines)
    assert any("--kv-cache-memory-bytes 24764219392" in line for line in lines)


def test_no_is_an_answer() -> None:
    lines = screen("deepseek-r1")
    assert "DOES NOT FIT" in lines
    text = " ".join(" ".join(lines).split())
    assert "8 such nodes would hold it (PP=8)" in text
    assert "awq 327 GiB (does not fit); gptq" in text
    assert not any("flags" in line or "rank  layers" in line for line in lines)


def test_a_refusal_is_short() -> None:
    unknown = serving_plan(facts("llama-3.1-8b", architectures=["NewForCausalLM"]), SPARKS, Wanted())
    assert plan_screen(unknown, 79) == [
        "model      llama-3.1-8b · NewForCausalLM",
        "memory     119.7 GiB on node1; 95.8 for the engine, 4 of them neither weights nor cache",
        "",
        "REFUSED",
        "  because     NewForCausalLM is not an architecture that this planner knows; a",
        "              size would be a guess",
    ]


def test_replicas_free_nodes_states_and_doubts() -> None:
    text = " ".join(" ".join(screen("qwen3-coder-next-fp8", width=120)).split())
    assert "FITS 3 replicas on node1 node2 node3 262144 tokens of context, 61 requests at a time each" in text
    assert "besides, windows and states of each request: 39.5 MB" in text
    assert "nvfp4 43 GiB (3 replicas, with care); int8 75 GiB (3 replicas, unproven)" in text
    assert "node3 stays free" in "\n".join(screen("llama-3.1-70b"))
    assert "60.0 of them free" in screen("llama-3.1-8b", memory=nodes(119.7, free=60))[1]


def test_one_node_has_one_way() -> None:
    lines = screen("llama-3.1-8b", memory=nodes(119.7))
    assert not any("<- the plan" in line for line in lines)
    assert any(line.startswith("FITS  one node on node1") for line in lines)


@FEW
@given(st.sampled_from(sorted({*PRESETS, *FIXTURES})), st.integers(1, 4), st.sampled_from([79, 100, 120]))
def test_nothing_below_the_header_is_wider_than_the_screen(name: str, count: int, width: int) -> None:
    lines = screen(name, width, nodes(*[119.7] * count))
    assert [line for line in lines[2:] if len(line) > max(width, 98)] == []
    assert all(line == line.rstrip() for line in lines)
