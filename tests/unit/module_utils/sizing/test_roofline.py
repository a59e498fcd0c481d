"""Ceilings: the published corrections of the seed's arithmetic, and that no measured speed is above them."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.parallel import layer_split
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.quantization import AWQ, BY_NAME, FP8, MXFP4, NVFP4
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.roofline import (
    BANDWIDTH,
    Cut,
    aggregate,
    all_reduce_s,
    ceilings,
    single_stream,
    stage_times,
)
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.weights import formula_weights, stage_reads
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import FEW, model
from hypothesis import given
from hypothesis import strategies as st


def speed(name: str, method: str, tp: int = 1, pp: int = 1) -> float:
    found = model(name)
    return single_stream(found, formula_weights(found, BY_NAME[method]), Cut(layer_split(len(found.layers), pp), tp, 1))


# spark-facts 6 rows 5 and 6, serving 4
CEILINGS = [
    ("405B AWQ, PP=3: 273 / 213", "llama-3.1-405b-awq", "awq", 1, 3, 1.28),
    ("405B AWQ, one node of endless memory", "llama-3.1-405b-awq", "awq", 1, 1, 1.28),
    ("70B FP8: 273 / 70.6", "llama-3.1-70b-fp8", "fp8", 1, 1, 3.87),
    ("70B NVFP4: 40.61 GB per token", "llama-3.1-70b", "nvfp4", 1, 1, 6.72),
]


@pytest.mark.parametrize(
    ("name", "method", "tp", "pp", "want"), [c[1:] for c in CEILINGS], ids=[c[0] for c in CEILINGS]
)
def test_single_stream(name: str, method: str, tp: int, pp: int, want: float) -> None:
    assert speed(name, method, tp, pp) == pytest.approx(want, rel=0.005)


def test_bytes_that_a_token_of_70b_nvfp4_reads() -> None:
    """dgx-spark-playbooks PR #91: 40.61 GB."""
    found = model("llama-3.1-70b")
    assert sum(stage_reads(found, formula_weights(found, NVFP4), (80,))) / 1e9 == pytest.approx(40.61, rel=0.001)


class Measured(t.NamedTuple):
    source: str
    name: str
    method: str
    tp: int
    tok_s: float


MEASURED = [
    Measured("dgx-spark-playbooks #79, PR #91", "llama-3.1-70b", "nvfp4", 1, 4.2),
    Measured("unslothai/unsloth PR #10280, TP=2", "llama-3.1-70b", "nvfp4", 2, 1 / 0.1624),
    Measured("README of eugr/spark-vllm-docker, stock build", "gpt-oss-120b", "mxfp4", 1, 40),
    Measured("LMSYS, triton server #8691", "gpt-oss-20b", "mxfp4", 1, 49.7),
    Measured("TensorRT-LLM PR #12899", "qwen3-30b-a3b", "nvfp4", 1, 40),
    Measured("conselara.dev, GPTQ-Int4, TP=2", "qwen3-235b-a22b", "gptq", 2, 17.0),
    Measured("NVIDIA blog, two nodes", "qwen3-235b-a22b", "nvfp4", 2, 11.73),
    Measured("NVIDIA forum 361819, INT4 AutoRound", "qwen3.5-122b-a10b", "gptq", 1, 28.6),
    Measured("NVIDIA forum 361819", "qwen3.5-122b-a10b", "nvfp4", 1, 15.1),
    Measured("vllm.ai blog 2026-06-01", "nemotron-3-super-120b", "nvfp4", 1, 23.7),
]


@pytest.mark.parametrize("case", MEASURED, ids=[f"{case.source} {case.name}" for case in MEASURED])
def test_no_measured_speed_is_above_the_ceiling(case: Measured) -> None:
    assert case.tok_s <= speed(case.name, case.method, case.tp)


def test_an_engine_that_quantizes_more_when_it_loads_has_another_ceiling() -> None:
    """spark-arena/recipe-registry #17 and eugr #345: 59.5 to 60.7 tok/s with --mxfp4-layers moe,qkv,o,lm_head, which reads
    attention and head in four bits. By the bytes of the checkpoint gpt-oss-120b ends at 54.6; llama.cpp's 82.7 with
    gpt-oss-20b is another file too."""
    found = model("gpt-oss-120b")
    stored = formula_weights(found, MXFP4)
    loaded = formula_weights(found, replace(MXFP4, kinds=MXFP4.kinds | {"attention", "kv"}))
    parts = tuple(
        part | {"bytes": part["bytes"] * 4.25 / 16} if part["kind"] == "head" else part for part in loaded.parts
    )
    one, other = (single_stream(found, weights, Cut((36,), 1, 1)) for weights in (stored, replace(loaded, parts=parts)))
    assert one == pytest.approx(54.6, rel=0.001)
    assert one < 59.5 < 60.7 < other


def test_pipeline_parallelism_is_no_faster_and_tensor_parallelism_is() -> None:
    """Measured on two nodes: TP 2.09x, PP 1.08x of time per token (unslothai/unsloth PR #10280)."""
    alone, pipeline, tensor = (speed("llama-3.1-70b", "nvfp4", *cut) for cut in ((1, 1), (1, 2), (2, 1)))
    assert 0.999 * alone < pipeline < alone
    assert 1.8 * alone < tensor < 2 * alone


@pytest.mark.parametrize(
    ("size", "microseconds"),
    [(0, 30), (8 * 1024, 30.5), (16 * 1024, 31), (32 * 1024, 37), (48 * 1024, 51), (64 * 1024, 65)],
)
def test_all_reduce_is_what_was_measured(size: int, microseconds: float) -> None:
    assert all_reduce_s(size) * 1e6 == pytest.approx(microseconds)


def test_a_large_all_reduce_goes_at_bus_bandwidth() -> None:
    assert all_reduce_s(24_000_000 + 64 * 1024) == pytest.approx(0.001 + 65e-6)


def test_all_reduce_of_70b() -> None:
    """Two of 16 KiB in each of 80 layers: 5 ms (serving 4)."""
    found = model("llama-3.1-70b")
    weights = formula_weights(found, FP8)
    wire = stage_times(found, weights, Cut((80,), 2, 1))[0] - sum(stage_reads(found, weights, (80,))) / 2 / BANDWIDTH
    assert wire == pytest.approx(0.005, rel=0.01)


def test_stages_work_at_the_same_time() -> None:
    """The 3.7 steps a second of a stage that the seed took for the speed of one stream (spark-facts 6, row 5)."""
    found = model("llama-3.1-405b-awq")
    weights = formula_weights(found, AWQ)
    assert aggregate(found, weights, "awq", Cut((42, 42, 42), 1, 1), 3) == pytest.approx(3.7, rel=0.02)


def test_compute_bounds_a_large_batch() -> None:
    """8B in bf16: 213 TFLOPS / (2 x 7.5e9) (serving 4)."""
    found = model("llama-3.1-8b")
    weights = formula_weights(found, BY_NAME["bf16"])
    assert aggregate(found, weights, "bf16", Cut((32,), 1, 1), 4096) == pytest.approx(213e12 / (2 * 7.505e9), rel=0.001)
    assert aggregate(found, weights, "nvfp4", Cut((32,), 1, 2), 8192) == pytest.approx(
        2 * 427e12 / (2 * 7.505e9), rel=0.001
    )


def test_a_full_context_is_read_too() -> None:
    """405B: 131072 x 516096 bytes more (test_kv): 273 / (212.9 + 67.6) GB/s."""
    found = model("llama-3.1-405b-awq")
    weights = formula_weights(found, AWQ)
    cut = Cut((42, 42, 42), 1, 1)
    result = ceilings(found, weights, "awq", cut, 17, [131072 * 172032.0] * 3)
    assert result["single_stream_full_context_tok_s"] == pytest.approx(273 / (212.88 + 67.65), abs=0.01)
    assert result["single_stream_realistic_tok_s"] == [0.58, 0.96]
    assert result["formula"]["single_stream"] == "1 / (212.88 GB / 273 GB/s + 2 x 30 us to the next stage)"
    assert result["formula"]["aggregate"].startswith(
        "min(5 tokens per step / 270.2 ms of the slowest stage, 3 x 213 TFLOPS"
    )


def test_the_formula_of_two_ranks_and_two_replicas() -> None:
    found = model("llama-3.1-70b")
    result = ceilings(found, formula_weights(found, FP8), "fp8", Cut((80,), 2, 2), 8, [0.0])
    assert "/ 2 x 273 GB/s + 2 x 80 layers x 31 us all-reduce)" in result["formula"]["single_stream"]
    assert "x 2 replicas, 4 x 214 TFLOPS" in result["formula"]["aggregate"]


NAMES = st.sampled_from(["llama-3.1-8b", "gpt-oss-120b", "qwen3-235b-a22b", "deepseek-v3", "qwen3-next-80b-a3b"])


@FEW
@given(NAMES, st.sampled_from(["bf16", "fp8", "awq"]), st.integers(1, 4), st.integers(1, 64))
def test_more_streams_never_carry_less(name: str, method: str, stages: int, streams: int) -> None:
    found = model(name)
    weights = formula_weights(found, BY_NAME[method])
    cut = Cut(layer_split(len(found.layers), stages), 1, 1)
    few, many = (aggregate(found, weights, method, cut, number * stages) for number in (streams, streams + 1))
    assert few <= many * (1 + 1e-9)


@FEW
@given(NAMES, st.integers(2, 4))
def test_smaller_weights_are_never_slower(name: str, stages: int) -> None:
    assert speed(name, "awq", pp=stages) >= speed(name, "fp8", pp=stages) >= speed(name, "bf16", pp=stages)
