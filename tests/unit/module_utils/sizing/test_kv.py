"""The KV cache: exact against vLLM's own arithmetic, and against what engines have logged in public."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.errors import SizingError
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.kv import Cache, Spec, cache_element_bytes, cache_of
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.memory import GIB
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.parallel import layer_split
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import FEW, model
from hypothesis import given
from hypothesis import strategies as st

BATCHED = 8192


def cache(name: str, tp: int = 1, pp: int = 1, dtype: str = "auto", **changes: t.Any) -> Cache:
    found = model(name, **changes)
    return cache_of(found, layer_split(len(found.layers), pp), tp, dtype, (pp + 1) * BATCHED)


# --- serving 2.3: bytes per token of the whole model, bf16 ---

PER_TOKEN = [
    ("llama-3.1-8b", 131_072),
    ("mixtral-8x7b", 131_072),
    ("llama-3.1-70b", 327_680),
    ("qwen2.5-72b", 327_680),
    ("qwen3-8b", 147_456),
    ("qwen3-14b", 163_840),
    ("qwen3-32b", 262_144),
    ("seed-oss-36b", 262_144),
    ("phi-4", 204_800),
    ("mistral-large-2407", 360_448),
    ("devstral-2-123b", 360_448),
    ("mixtral-8x22b", 229_376),
    ("nemotron-3-nano-30b", 6_144),
    ("glm-4.5-air", 188_416),
    ("glm-4.6", 376_832),
    ("deepseek-v3", 70_272),
    ("deepseek-r1", 70_272),
    ("kimi-k2", 70_272),
    ("mistral-large-3", 70_272),
    ("glm-4.7-flash", 54_144),
    ("gpt-oss-20b", 24_576),
    ("gpt-oss-120b", 36_864),
    # serving 2.3 says 163,840. Its own 2.2, from the engine's function, has pages of 131,072 bytes for 16 tokens in each
    # of the 10 full layers: 81,920 = 10 x 2 x 16 x 128 x 2.
    ("gemma-3-27b", 81_920),
    ("qwen3-next-80b-a3b", 24_576),
    ("qwen3-coder-next-fp8", 24_576),
    ("qwen3.5-122b-a10b", 24_576),
    ("qwen3.6-35b-a3b", 20_480),
    ("qwen3.6-27b", 65_536),
    ("qwen3.5-397b-a17b", 30_720),
    ("nemotron-3-super-120b", 8_192),
    # seed-research 5 says 2.58 MB; its own formula gives this (spark-facts 6, row 1)
    ("llama-3.1-405b-awq", 516_096),
]


@pytest.mark.parametrize(("name", "size"), PER_TOKEN, ids=[case[0] for case in PER_TOKEN])
def test_bytes_per_token(name: str, size: int) -> None:
    assert cache(name).growing_bytes() == [size]
    assert cache(name, dtype="fp8").growing_bytes() == [size // 2]
    assert sum(cache(name, pp=3).growing_bytes()) == size


# --- serving 2.1 and 2.3: states of one request ---


@pytest.mark.parametrize(
    ("name", "layers", "state"),
    [
        ("qwen3-next-80b-a3b", 36, 1_097_728),
        ("qwen3.6-35b-a3b", 30, 2_146_304),
        ("nemotron-3-nano-30b", 23, 36_864 + 2_097_152),
        # Jamba: conv 8192 x 3 and ssm 8192 x 16 elements of two bytes (serving 2.1)
        ("jamba-1.5-mini", 28, 8192 * 3 * 2 + 8192 * 16 * 2),
    ],
)
def test_states(name: str, layers: int, state: int) -> None:
    assert cache(name).bounded_bytes() == [layers * state]


def test_windows_and_chunks_are_bounded() -> None:
    assert cache("gemma-3-27b").bounded_bytes() == [52 * 8192 * 1024]
    assert cache("llama-4-scout").bounded_bytes() == [36 * 4096 * 8192]


# --- tensor parallelism ---


@pytest.mark.parametrize(
    ("name", "tp", "share"),
    [
        ("llama-3.1-70b", 2, 163_840),
        ("llama-3.1-70b", 8, 40_960),
        ("llama-3.1-70b", 16, 40_960),  # eight KV heads: replicated beyond
        ("qwen3.6-35b-a3b", 4, 10_240),  # two of them
        ("deepseek-v3", 2, 70_272),  # one latent, on every rank
    ],
)
def test_bytes_of_a_rank(name: str, tp: int, share: int) -> None:
    assert cache(name, tp=tp).growing_bytes() == [share]


def test_states_are_shared_out() -> None:
    assert cache("qwen3.6-35b-a3b", tp=2).bounded_bytes() == [30 * 2_146_304 // 2]


def test_groups_of_mamba_2_are_extended_until_they_divide() -> None:
    odd = cache("nemotron-3-nano-30b", tp=2, n_groups=3)
    even = cache("nemotron-3-nano-30b", tp=2, n_groups=4)
    assert odd.bounded_bytes() == even.bounded_bytes()


# --- serving 2.2: the engine's own function, 20 GiB per rank, bf16 ---


class Layout(t.NamedTuple):
    name: str
    available: list[float]
    length: int
    groups: int
    block: int
    page: int
    blocks: int
    tokens: int
    tp: int = 1
    pp: int = 1


LAYOUTS = [
    Layout("llama-3.1-8b", [20], 131072, 1, 16, 65_536, 10_240, 163_840),
    Layout("llama-3.1-70b", [19], 32768, 1, 16, 32_768, 7_782, 124_512, tp=2),
    Layout("mistral-large-2407", [20, 20, 20], 32768, 1, 16, 65_536, 10_922, 174_752, pp=3),
    Layout("gpt-oss-20b", [20], 131072, 2, 16, 32_768, 54_613, 775_960),
    Layout("gemma-3-27b", [20], 131072, 7, 16, 131_072, 16_384, 145_829),
    Layout("deepseek-v3", [20], 65536, 1, 64, 73_728, 4_774, 305_536),
    Layout("qwen3-next-80b-a3b", [20], 131072, 4, 544, 1_114_112, 1_606, 852_233),
    Layout("qwen3.6-35b-a3b", [20], 131072, 4, 1056, 2_162_688, 992, 992_545),
]


@pytest.mark.parametrize("case", LAYOUTS, ids=[case.name for case in LAYOUTS])
def test_layouts_of_the_engine(case: Layout) -> None:
    layout = cache(case.name, case.tp, case.pp)
    blocks = layout.blocks([int(size * GIB) for size in case.available])
    assert len(layout.groups) == case.groups
    assert layout.block == case.block
    assert {layout.page(group.spec) for group in layout.groups} == {case.page}
    assert (blocks, layout.tokens(blocks, case.length)) == (case.blocks, case.tokens)


@pytest.mark.parametrize(
    ("name", "length", "blocks"),
    [("gpt-oss-20b", 131072, 9225), ("gemma-3-27b", 131072, 14_726)],
)
def test_blocks_of_a_request(name: str, length: int, blocks: int) -> None:
    assert cache(name).request_blocks(length) == blocks


def test_a_chunk_holds_no_extra_block() -> None:
    """Three of four groups are chunked: cdiv(8192 + 16384, 16) each; the fourth holds it all (serving 2.1)."""
    assert cache("llama-4-scout").request_blocks(131072) == 3 * 1536 + 8192


# --- what engines have logged ---


class Log(t.NamedTuple):
    source: str
    name: str
    tp: int
    dtype: str
    available: float  # GiB, as logged, two digits
    length: int
    tokens: int


LOGS = [
    # Exact to the token: vLLM 0.24, one RTX 5090, "4.35x".
    Log("noonghunna/club-3090 #652", "qwen3.6-35b-a3b", 1, "fp8", 6.01, 131_072, 569_878),
    # Qwen3.8-27B has the layers of 3.6-27B. "2.31x", blocks of 1568 tokens; 4.99 GiB on each of two cards.
    Log("mitchross/talos-argocd-proxmox #1995", "qwen3.6-27b", 2, "fp8", 4.99, 131_072, 302_921),
    Log("LMCache/LMCache #1739, 1.30x", "qwen3-14b", 1, "auto", 6.51, 32_768, 42_656),
    Log("vllm-project/vllm #21348", "qwen3-235b-a22b-fp8", 4, "auto", 8.11, 40_960, 178_880),
    # Two DGX Sparks, vLLM 0.29.
    Log("eugr/spark-vllm-docker #396, MiniMax-M2.7-AWQ", "minimax-m2", 2, "auto", 28.74, 196_608, 240_816),
]


@pytest.mark.parametrize("case", LOGS, ids=[case.source for case in LOGS])
def test_tokens_as_logged(case: Log) -> None:
    layout = cache(case.name, case.tp, dtype=case.dtype)
    blocks = layout.blocks([int(case.available * GIB)])
    assert layout.tokens(blocks, case.length) == pytest.approx(case.tokens, rel=0.02)


@pytest.mark.parametrize("case", LOGS[:2], ids=[case.source for case in LOGS[:2]])
def test_hybrids_as_logged_to_the_token(case: Log) -> None:
    layout = cache(case.name, case.tp, dtype=case.dtype)
    assert layout.tokens(layout.blocks([int(case.available * GIB)]), case.length) == case.tokens


def test_the_request_that_did_not_fit_two_sparks() -> None:
    """eugr/spark-vllm-docker #396: 196608 tokens need 23.25 GiB; with 22.5 GiB the longest request is 190272."""
    layout = cache("minimax-m2", tp=2)
    assert layout.request_blocks(196_608) * layout.block_bytes()[0] / GIB == pytest.approx(23.25, abs=0.005)
    blocks = layout.blocks([int(22.5 * GIB)])
    assert not layout.fits(blocks, 196_608)
    assert layout.longest(blocks, 196_608) == pytest.approx(190_272, rel=0.001)


def test_blocks_of_an_older_engine() -> None:
    """vllm-project/vllm #10517: Llama 3.1 8B, 3.81 GiB, 1952 blocks of 16 tokens."""
    assert cache("llama-3.1-8b").blocks([int(3.81 * GIB)]) == pytest.approx(1952, rel=0.005 / 3.81)


# --- edges ---


def test_the_null_block_is_not_for_requests() -> None:
    layout = cache("llama-3.1-8b")
    assert layout.fits(10, 9 * 16)
    assert not layout.fits(10, 9 * 16 + 1)


def test_full_layers_of_different_sizes_share_one_group() -> None:
    """Nemotron-NAS: blocks with eight and with four KV heads (serving 2.2, mixed sizes)."""
    layout = cache("nemotron-nas-two-blocks")
    assert len(layout.groups) == 1
    assert layout.block_bytes() == [16 * 2 * (8 + 4) * 128 * 2]


def test_windows_of_another_size_are_refused() -> None:
    layout = Cache((Spec("full", 1024), Spec("window", 2048, 128)), (2,), 16384)
    with pytest.raises(SizingError, match="caches of different sizes"):
        _ = layout.groups


def test_a_model_without_a_cache_has_no_tokens() -> None:
    layout = Cache((None, None), (2,), 16384)
    assert (layout.blocks([GIB]), layout.tokens(5, 10), layout.block_bytes()) == (0, 0, [0])


def test_states_alone() -> None:
    layout = Cache((Spec("state", state_bytes=100),), (1,), 16384)
    assert (layout.block, layout.block_bytes(), layout.request_blocks(5000)) == (16, [100], 2)


@pytest.mark.parametrize("dtype", ["nvfp4", "fp8_per_token_head", "int8_per_token_head", "fp8_ds_mla"])
def test_dtypes_that_cannot_be_sized(dtype: str) -> None:
    with pytest.raises(SizingError, match="not one that can be sized"):
        cache_element_bytes(dtype, 2)


def test_a_draft_model_adds_to_the_last_stage() -> None:
    target, drafter = model("llama-3.1-70b"), model("llama-3.1-8b")
    layout = cache_of(target, (40, 40), 2, "auto", BATCHED, drafter)
    assert layout.block_bytes() == [40 * 32_768, 40 * 32_768 + 32 * 32_768]


def test_a_draft_model_beside_a_hybrid_is_refused() -> None:
    with pytest.raises(SizingError, match="plan without plan_draft_model"):
        cache_of(model("qwen3-next-80b-a3b"), (48,), 1, "auto", BATCHED, model("llama-3.1-8b"))


# --- invariants ---

NAMES = st.sampled_from([case[0] for case in PER_TOKEN])


@FEW
@given(NAMES, st.integers(0, 60 * GIB), st.integers(0, 60 * GIB), st.integers(1, 200_000))
def test_more_memory_never_holds_less(name: str, one: int, other: int, length: int) -> None:
    layout = cache(name)
    few, many = (layout.blocks([size]) for size in sorted((one, other)))
    assert few <= many
    assert layout.tokens(few, length) <= layout.tokens(many, length)
    assert layout.longest(few, 100_000) <= layout.longest(many, 100_000)


@FEW
@given(NAMES, st.integers(1, 200_000), st.integers(1, 200_000))
def test_a_longer_request_never_takes_less(name: str, one: int, other: int) -> None:
    layout = cache(name)
    short, long = sorted((one, other))
    assert layout.request_blocks(short) <= layout.request_blocks(long)


@FEW
@given(NAMES, st.integers(0, 4000))
def test_the_longest_request_fits_and_the_next_does_not(name: str, blocks: int) -> None:
    layout = cache(name)
    longest = layout.longest(blocks, 100_000)
    assert longest == 0 or layout.fits(blocks, longest)
    assert longest == 100_000 or not layout.fits(blocks, longest + 1)


@FEW
@given(st.integers(1, 200), st.integers(1, 8))
def test_more_layers_never_hold_less(layers: int, stages: int) -> None:
    stages = min(stages, layers)
    one = cache("llama-3.1-8b", pp=stages, num_hidden_layers=layers)
    more = cache("llama-3.1-8b", pp=stages, num_hidden_layers=layers + 1)
    assert sum(more.growing_bytes()) > sum(one.growing_bytes())
    assert all(
        big >= small for big, small in zip(sorted(more.growing_bytes()), sorted(one.growing_bytes()), strict=True)
    )


@FEW
@given(NAMES, st.integers(1, 4))
def test_every_layer_is_in_one_group(name: str, stages: int) -> None:
    layout = cache(name, pp=stages)
    layers = sorted(layer for group in layout.groups for layer in group.layers)
    assert layers == [number for number, spec in enumerate(layout.specs) if spec]
