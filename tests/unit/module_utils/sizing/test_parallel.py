"""Which cuts the engine accepts (serving 1.10)."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.parallel import (
    candidates,
    describe,
    layer_split,
    refusals,
)
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.quantization import (
    AWQ,
    BF16,
    FP8_BLOCK,
    MXFP4,
    Method,
    read_method,
)
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import config, model
from hypothesis import given
from hypothesis import strategies as st

SPLITS = [
    (61, 2, (31, 30)),
    (80, 3, (27, 27, 26)),
    (88, 3, (29, 30, 29)),
    (46, 4, (11, 12, 12, 11)),
    (61, 3, (20, 21, 20)),
    (94, 3, (31, 32, 31)),
    (62, 3, (21, 21, 20)),
    (47, 4, (12, 12, 12, 11)),
    (126, 3, (42, 42, 42)),
    (32, 1, (32,)),
]


@pytest.mark.parametrize(("layers", "stages", "split"), SPLITS)
def test_layers_are_split_as_the_engine_does(layers: int, stages: int, split: tuple[int, ...]) -> None:
    assert layer_split(layers, stages) == split


@given(st.integers(1, 300), st.integers(1, 8))
def test_a_split_keeps_every_layer(layers: int, stages: int) -> None:
    stages = min(stages, layers)
    split = layer_split(layers, stages)
    assert (sum(split), len(split)) == (layers, stages)
    assert max(split) - min(split) <= 1


class Cut(t.NamedTuple):
    source: str
    name: str
    method: Method
    tp: int
    says: str | None  # None: legal


CUTS = [
    Cut("serving 1.10: Phi-4", "phi-4", BF16, 2, None),
    Cut("serving 1.10: Phi-4", "phi-4", BF16, 4, "10 KV heads are not divisible by TP=4"),
    Cut("serving 1.10: Qwen3.5-27B", "qwen3.6-27b", BF16, 3, "4 KV heads are not divisible by TP=3"),
    Cut("serving 1.10: gpt-oss", "gpt-oss-120b", MXFP4, 2, None),
    Cut("serving 1.10: 64 heads", "llama-3.1-70b", BF16, 3, "64 attention heads are not divisible by TP=3"),
    Cut("design: TP=3", "llama-3.1-405b-awq", AWQ, 3, "128 attention heads are not divisible by TP=3"),
    Cut("spark-facts 4.6: MLA", "deepseek-v3", FP8_BLOCK, 3, "128 attention heads are not divisible by TP=3"),
    Cut("KV heads replicated", "qwen3-235b-a22b", BF16, 8, None),
    Cut("405B on two", "llama-3.1-405b-awq", AWQ, 2, None),
    Cut("FP8 blocks", "qwen3-235b-a22b-fp8", FP8_BLOCK, 2, None),
    Cut(
        "FP8 blocks: 1536 / 8 = 192",
        "qwen3-235b-a22b-fp8",
        FP8_BLOCK,
        8,
        "width of an expert 1536 over 8 ranks is 192, not divisible by the FP8 block",
    ),
    Cut(
        "groups: 29568 / 2 = 14784 = 115.5 x 128",
        "qwen2.5-72b",
        AWQ,
        2,
        "intermediate_size 29568 over 2 ranks is 14784, not a whole number of groups of 128",
    ),
    Cut("linear heads", "qwen3-coder-next-fp8", BF16, 3, "linear-attention key heads 16 is not divisible by TP=3"),
    Cut("Mamba heads", "nemotron-3-nano-30b", BF16, 3, "Mamba heads 64 is not divisible by TP=3"),
    Cut("Mamba-1 width", "jamba-1.5-mini", BF16, 3, "Mamba heads 8192 is not divisible by TP=3"),
]


@pytest.mark.parametrize("case", CUTS, ids=[f"{case.source} TP={case.tp}" for case in CUTS])
def test_tensor_parallelism(case: Cut) -> None:
    found = refusals(model(case.name), case.method, case.tp, 1)
    assert (found == []) if case.says is None else any(case.says in reason for reason in found)


def test_marlin_tiles() -> None:
    """Groups of 32 divide 2880 / 2, tiles of 128 do not."""
    method = read_method({"quant_method": "gptq", "bits": 4, "group_size": 32})
    found = refusals(model("gpt-oss-20b"), method, 2, 1)
    assert any("1440, not a whole number of Marlin tiles of 128" in reason for reason in found)


def test_widths_that_do_not_divide() -> None:
    narrow = model("llama-3.1-8b", intermediate_size=14337)
    assert refusals(narrow, BF16, 2, 1) == ["intermediate_size 14337 is not divisible by TP=2"]
    shared = model("qwen3-next-80b-a3b", shared_expert_intermediate_size=513)
    assert refusals(shared, BF16, 2, 1) == ["the width of the shared expert 513 is not divisible by TP=2"]


def test_stages_need_layers_and_no_drafter() -> None:
    small, drafter = model("llama-3.1-8b", num_hidden_layers=2), model("phi-4")
    assert refusals(small, BF16, 1, 3) == ["2 layers cannot be cut into 3 stages"]
    assert "speculative decoding is refused" in refusals(small, BF16, 1, 2, drafter)[0]
    assert refusals(small, BF16, 1, 1, drafter) == []
    assert refusals(small, BF16, 4, 1, drafter) == ["draft model: 10 KV heads are not divisible by TP=4"]


def test_one_rank_takes_everything() -> None:
    for name in ("phi-4", "deepseek-v3", "nemotron-3-nano-30b"):
        assert refusals(model(name), read_method(config(name).get("quantization_config")), 1, 1) == []


def test_replicas_come_first_then_tensors_then_stages() -> None:
    assert candidates(1) == [(1, 1, 1)]
    assert candidates(2) == [(1, 1, 2), (2, 1, 1), (1, 2, 1)]
    assert candidates(3) == [(1, 1, 3), (2, 1, 1), (3, 1, 1), (1, 2, 1), (1, 3, 1)]
    assert candidates(4)[-1] == (2, 2, 1)
    assert (2, 1, 2) in candidates(4)


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ((1, 1, 1), "one node"),
        ((1, 1, 3), "3 replicas"),
        ((2, 1, 1), "TP=2"),
        ((2, 1, 2), "2 x TP=2"),
        ((1, 3, 1), "PP=3"),
        ((2, 2, 1), "TP=2 PP=2"),
    ],
)
def test_words(cut: tuple[int, int, int], words: str) -> None:
    assert describe(*cut) == words
