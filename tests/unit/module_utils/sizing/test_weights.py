"""Weights per rank: from the formula, from the sum of an index, from tensors."""

from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import WeightFacts, WeightPart
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.errors import SizingError
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.memory import GIB
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.model import Model
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.parallel import layer_split
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.quantization import (
    AWQ,
    BF16,
    BY_NAME,
    FP8,
    MXFP4,
    read_method,
)
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.tensors import kind_of, parts_of
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.weights import (
    Weights,
    formula_weights,
    rank_bytes,
    read_weights,
    stage_reads,
)
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import FEW, FIXTURES, PRESETS, config, model
from hypothesis import given
from hypothesis import strategies as st


def weights(name: str) -> tuple[Model, Weights]:
    found = model(name)
    return found, formula_weights(found, read_method(config(name).get("quantization_config"), found.element_bytes))


def index(total: int) -> WeightFacts:
    return {"source": "index", "total_bytes": total, "files": [], "missing": [], "parts": []}


def headers(parts: list[WeightPart]) -> WeightFacts:
    return {"source": "headers", "total_bytes": 1, "files": ["a.safetensors"], "missing": [], "parts": parts}


# --- published sizes ---

# GiB (spark-facts 6, serving 4, model cards as quoted there) or GB, and how close the formula comes.
TOTALS = [
    ("llama-3.1-8b", 16_060_522_496, 0.0),
    ("llama-3.1-70b", 141_107_412_992, 0.0),
    ("llama-3.1-405b-awq", round(203 * GIB), 0.005),  # card of hugging-quants: 203 GiB
    ("gpt-oss-120b", round(60.8 * GIB), 0.002),  # its repository: 60.8 GiB
]


@pytest.mark.parametrize(("name", "total", "tolerance"), TOTALS, ids=[case[0] for case in TOTALS])
def test_totals(name: str, total: int, tolerance: float) -> None:
    assert weights(name)[1].total == pytest.approx(total, rel=tolerance, abs=0)


def test_405b_on_three_nodes() -> None:
    """68.7 / 64.8 / 68.7 GiB: embedding and head are 4.2 GB each, on the first and last stage (spark-facts 6.1)."""
    found, sizes = weights("llama-3.1-405b-awq")
    ranks = rank_bytes(found, sizes, layer_split(126, 3), 1)
    assert [round(size / GIB, 1) for size in ranks] == [68.7, 64.8, 68.7]
    assert (ranks[0] - ranks[1]) == 128256 * 16384 * 2


def test_a_rank_of_qwen3_235b_gptq_on_two_sparks() -> None:
    """conselara.dev, 2026-05: "Weight resident per node: 57.64 GiB" with TP=2."""
    found, sizes = weights("qwen3-235b-a22b-gptq-int4")
    assert max(rank_bytes(found, sizes, (94,), 2)) / GIB == pytest.approx(57.64, rel=0.01)


@pytest.mark.parametrize(
    ("method", "bits"),
    # serving 2.4
    [
        ("awq", 4.156),
        ("gptq", 4.156),
        ("nvfp4", 4.5),
        ("mxfp4", 4.25),
        ("mxfp8", 8.25),
        ("fp8", 8),
        ("fp8-block", 8.002),
    ],
)
def test_effective_bits(method: str, bits: float) -> None:
    assert BY_NAME[method].bits == pytest.approx(bits, abs=0.0005)


def test_mxfp4_is_for_experts_only() -> None:
    found = model("gpt-oss-120b")
    kinds = {part["kind"]: part["bytes"] for part in formula_weights(found, MXFP4).parts if part["layer"] == 0}
    plain = {part["kind"]: part["bytes"] for part in formula_weights(found, BF16).parts if part["layer"] == 0}
    assert kinds["attention"] == plain["attention"]
    assert kinds["experts"] == pytest.approx(plain["experts"] * 4.25 / 16, rel=1e-6)


# --- tensor parallelism ---


def test_what_is_cut_and_what_is_not() -> None:
    found, sizes = weights("deepseek-v3")
    by_kind: dict[str, int] = {}
    for part in sizes.parts:
        by_kind[part["kind"]] = by_kind.get(part["kind"], 0) + part["bytes"]
    whole = by_kind["norm"] + by_kind["down"]
    cut = sizes.total - whole
    assert rank_bytes(found, sizes, (61,), 2)[0] == pytest.approx(whole + cut / 2, abs=1000)


def test_kv_projections_are_replicated_beyond_their_heads() -> None:
    found = model("qwen3-8b", num_key_value_heads=2)
    sizes = Weights("headers", ({"layer": 0, "kind": "kv", "bytes": 800},))
    shares = [rank_bytes(found, sizes, (36,), tp)[0] for tp in (1, 2, 4)]
    assert shares == [800, 400, 400]


def test_the_vocabulary_is_padded_before_it_is_cut() -> None:
    found = model("llama-3.1-8b", vocab_size=100, hidden_size=64, head_dim=2)
    sizes = Weights("headers", ({"layer": None, "kind": "embedding", "bytes": 100 * 64 * 2},))
    assert rank_bytes(found, sizes, (32,), 2)[0] == 64 * 64 * 2


def test_a_tied_head_is_a_second_copy_on_the_last_stage() -> None:
    found, sizes = weights("gemma-3-27b")
    ranks = rank_bytes(found, sizes, layer_split(62, 2), 1)
    assert sum(ranks) - sizes.total == 262208 * 5376 * 2
    assert sum(rank_bytes(found, sizes, (62,), 1)) == sizes.total


def test_vision_tower_first_and_drafter_last() -> None:
    found = model("llama-3.1-8b")
    parts: list[WeightPart] = [
        {"layer": None, "kind": "other", "bytes": 7},
        {"layer": None, "kind": "drafter", "bytes": 1000},
        {"layer": None, "kind": "norm", "bytes": 3},
    ]
    assert rank_bytes(found, Weights("headers", tuple(parts)), (16, 16), 1, drafter=50) == [7, 53]
    assert rank_bytes(found, Weights("headers", tuple(parts)), (16, 16), 2, drafter=50) == [7, 7, 28, 28]


# --- the sum of an index ---


def test_the_sum_of_the_index_is_kept_to_the_byte() -> None:
    found = model("llama-3.1-405b-awq")
    sizes = read_weights(found, AWQ, index(round(203 * GIB)))
    assert (sizes.source, sizes.total) == ("index", round(203 * GIB))
    embedding = next(part["bytes"] for part in sizes.parts if part["kind"] == "embedding")
    assert embedding == 128256 * 16384 * 2
    assert len(sizes.notes) == 1


def test_a_checkpoint_that_holds_its_prediction_layer() -> None:
    """DeepSeek-V3 publishes 685 B parameters with it; the engine does not load it unless asked to."""
    found = model("deepseek-v3")
    alone = formula_weights(found, FP8).total
    sizes = read_weights(found, FP8, index(alone + 11_400_000_000))
    assert sizes.total == pytest.approx(alone, rel=0.001)
    assert any(part["kind"] == "drafter" for part in sizes.parts)


def test_an_index_that_disagrees_is_told() -> None:
    found = model("llama-3.1-8b")
    sizes = read_weights(found, BF16, index(20 * GIB))
    assert "the shares of the ranks are rough" in sizes.notes[1]


def test_an_index_of_another_model_is_refused() -> None:
    with pytest.raises(SizingError, match="not of the same model"):
        read_weights(model("llama-3.1-8b"), BF16, index(GIB))


def test_without_an_index_the_formula_says_so() -> None:
    sizes = read_weights(model("qwen3.6-35b-a3b"), BF16, None)
    assert sizes.source == "formula"
    assert sizes.notes[1].startswith("a vision tower is not counted")
    nothing: WeightFacts = {"source": None, "total_bytes": None, "files": [], "missing": [], "parts": []}
    assert read_weights(model("qwen3.6-35b-a3b"), BF16, nothing) == sizes


# --- tensors ---

KINDS: list[tuple[str, int | None, str]] = [
    ("model.embed_tokens.weight", None, "embedding"),
    ("backbone.embeddings.weight", None, "embedding"),
    ("lm_head.weight", None, "head"),
    ("model.norm.weight", None, "norm"),
    ("model.layers.0.input_layernorm.weight", 0, "norm"),
    ("model.layers.0.self_attn.q_norm.weight", 0, "norm"),
    ("model.layers.0.self_attn.q_proj.weight", 0, "attention"),
    ("model.layers.0.self_attn.q_proj.weight_scale_inv", 0, "attention"),
    ("model.layers.0.self_attn.qkv_proj.weight", 0, "attention"),
    ("model.layers.0.self_attn.sinks", 0, "attention"),
    ("model.layers.0.self_attn.k_proj.qweight", 0, "kv"),
    ("model.layers.0.self_attn.v_proj.bias", 0, "kv"),
    ("model.layers.3.self_attn.q_a_proj.weight", 3, "down"),
    ("model.layers.3.self_attn.kv_a_proj_with_mqa.weight", 3, "down"),
    ("model.layers.3.self_attn.kv_b_proj.weight", 3, "attention"),
    ("model.layers.3.self_attn.kv_a_layernorm.weight", 3, "norm"),
    ("model.layers.3.mlp.gate.weight", 3, "norm"),
    ("model.layers.3.mlp.gate.e_score_correction_bias", 3, "norm"),
    ("model.layers.3.mlp.router.bias", 3, "norm"),
    ("model.layers.3.mlp.experts.7.up_proj.weight", 3, "experts"),
    ("model.layers.3.mlp.experts.gate_up_proj_blocks", 3, "experts"),
    ("model.layers.3.mlp.shared_experts.up_proj.weight", 3, "mlp"),
    ("model.layers.3.mlp.shared_expert.down_proj.weight", 3, "mlp"),
    ("model.layers.3.mlp.shared_expert_gate.weight", 3, "norm"),
    ("model.layers.3.mlp.gate_proj.weight", 3, "mlp"),
    ("model.layers.3.block_sparse_moe.gate.weight", 3, "norm"),
    ("model.layers.3.block_sparse_moe.experts.0.w1.weight", 3, "experts"),
    ("model.layers.3.linear_attn.in_proj_qkvz.weight", 3, "attention"),
    ("model.layers.3.linear_attn.norm.weight", 3, "norm"),
    ("backbone.layers.3.mixer.in_proj.weight", 3, "attention"),
    ("backbone.layers.3.mixer.experts.4.up_proj.weight", 3, "experts"),
    ("backbone.layers.3.mixer.up_proj.weight", 3, "mlp"),
    ("model.language_model.layers.5.mlp.down_proj.weight", 5, "mlp"),
    ("model.layers.61.eh_proj.weight", None, "drafter"),
    ("mtp.layers.0.mlp.down_proj.weight", None, "drafter"),
    ("model.visual.blocks.0.attn.qkv.weight", None, "other"),
    ("vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight", None, "other"),
    ("model.layers.3.something_new.weight", 3, "norm"),
    ("something_new.weight", None, "norm"),
]


@pytest.mark.parametrize(("name", "layer", "kind"), KINDS, ids=[case[0] for case in KINDS])
def test_kinds_of_tensors(name: str, layer: int | None, kind: str) -> None:
    assert kind_of(name, layers=61) == (layer, kind)


def test_tensors_beat_the_formula() -> None:
    parts = parts_of([("lm_head.weight", 10), ("model.layers.1.mlp.up_proj.weight", 5)], 2)
    sizes = read_weights(model("llama-3.1-8b"), BF16, headers(parts))
    assert (sizes.source, sizes.total, sizes.notes) == ("headers", 15, ())


@FEW
@given(st.lists(st.tuples(st.sampled_from([case[0] for case in KINDS]), st.integers(0, 2**40)), max_size=50))
def test_no_byte_is_lost_in_the_parts(sizes: list[tuple[str, int]]) -> None:
    parts = parts_of(sizes, 61)
    assert sum(part["bytes"] for part in parts) == sum(size for _name, size in sizes)
    assert len({(part["layer"], part["kind"]) for part in parts}) == len(parts)


# --- what a token reads ---


def test_a_token_reads_all_but_the_table_of_embeddings() -> None:
    """273 GB/s over 212.9 GB are the 1.28 tok/s of spark-facts 6, row 5."""
    found, sizes = weights("llama-3.1-405b-awq")
    assert sum(stage_reads(found, sizes, (42, 42, 42))) == sizes.total - 128256 * 16384 * 2


def test_a_tied_table_is_the_head() -> None:
    found, sizes = weights("gemma-3-27b")
    assert sum(stage_reads(found, sizes, (62,))) == pytest.approx(sizes.total)


def test_a_batch_touches_more_experts() -> None:
    """128 experts, 4 each: one token reads 1/32 of them, 16 tokens 1 - (1 - 1/32)^16 (serving 4)."""
    found = model("gpt-oss-120b")
    sizes = Weights("headers", ({"layer": 0, "kind": "experts", "bytes": 3200},))
    assert stage_reads(found, sizes, (36,), 1) == [pytest.approx(100)]
    assert stage_reads(found, sizes, (36,), 16) == [pytest.approx(3200 * (1 - (31 / 32) ** 16))]


# --- invariants ---

NAMES = st.sampled_from(sorted({*PRESETS, *FIXTURES}))


@FEW
@given(NAMES, st.integers(1, 4), st.sampled_from(sorted(BY_NAME)))
def test_stages_add_up_to_the_whole(name: str, stages: int, method: str) -> None:
    found = model(name)
    stages = min(stages, len(found.layers))
    sizes = formula_weights(found, BY_NAME[method])
    total = sum(rank_bytes(found, sizes, layer_split(len(found.layers), stages), 1))
    copies = found.vocabulary * found.hidden * found.element_bytes if found.tied and stages > 1 else 0
    assert total == sizes.total + copies


@FEW
@given(NAMES, st.integers(1, 3), st.integers(2, 4))
def test_tensor_parallel_ranks_hold_at_least_the_whole(name: str, stages: int, tp: int) -> None:
    found, sizes = weights(name)
    split = layer_split(len(found.layers), min(stages, len(found.layers)))
    ranks = rank_bytes(found, sizes, split, tp)
    assert len(ranks) == len(split) * tp
    assert sum(ranks) >= sizes.total
    assert max(ranks) <= max(rank_bytes(found, sizes, split, 1))


@FEW
@given(NAMES, st.integers(-3, 3))
def test_the_index_is_kept_whatever_it_says(name: str, percent: int) -> None:
    found = model(name)
    total = formula_weights(found, BF16).total * (100 + percent) // 100
    sizes = read_weights(found, BF16, index(total))
    assert sum(part["bytes"] for part in sizes.parts) == total


@FEW
@given(NAMES, st.integers(1, 64), st.integers(1, 64))
def test_a_larger_batch_never_reads_less(name: str, one: int, other: int) -> None:
    found, sizes = weights(name)
    split = (len(found.layers),)
    few, many = sorted((one, other))
    assert stage_reads(found, sizes, split, few)[0] <= stage_reads(found, sizes, split, many)[0] <= sizes.total * 1.0001


def test_every_known_method_has_a_size() -> None:
    found = model("llama-3.1-8b")
    totals = {name: formula_weights(found, method).total for name, method in BY_NAME.items()}
    assert totals["bf16"] > totals["mxfp8"] > totals["fp8-block"] > totals["fp8"] > totals["nvfp4"] > totals["awq"]
