"""Which configs are understood, and that the numbers of parameters are the published ones."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.architectures import KNOWN, REFUSED, read_model
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.errors import SizingError
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.model import Attention, Dense, Latent, Recurrent
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.parameters import (
    active_parameters,
    draft_layer_parameters,
    total_parameters,
)
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import FIXTURES, PRESETS, config, model

# Billions, total and active, from the table in serving 2.5, which agrees with the published sizes.
SIZES: list[tuple[str, float, float | None]] = [
    ("llama-3.1-8b", 8.03, None),
    ("llama-3.1-70b", 70.55, None),
    ("llama-3.1-405b-awq", 405.85, None),
    ("llama-4-scout", 107.8, 16.1),
    ("qwen2.5-72b", 72.70, None),
    ("qwen3-8b", 8.19, None),
    ("qwen3-14b", 14.77, None),
    ("qwen3-32b", 32.76, None),
    ("qwen3-30b-a3b", 30.53, 3.04),
    ("qwen3-235b-a22b", 235.1, 21.6),
    ("qwen3-coder-480b-a35b", 480.2, 34.5),
    ("qwen3-next-80b-a3b", 79.7, 3.6),
    ("qwen3.6-35b-a3b", 34.7, 3.0),
    ("qwen3.6-27b", 26.9, None),
    ("qwen3.5-122b-a10b", 122.1, 9.0),
    ("qwen3.5-397b-a17b", 396.4, 16.3),
    ("gpt-oss-20b", 20.9, 3.6),
    ("gpt-oss-120b", 116.8, 5.1),
    ("glm-4.5-air", 106.9, 12.8),
    ("glm-4.6", 352.8, 32.9),
    ("glm-4.7-flash", 29.9, 3.6),
    ("deepseek-v3", 671.0, 36.6),
    ("kimi-k2", 1026, 31.7),
    ("mistral-large-2407", 122.6, None),
    ("mistral-large-3", 673, 39),
    ("mixtral-8x7b", 46.7, 12.8),
    ("mixtral-8x22b", 140.6, 39.0),
    ("gemma-3-27b", 27.0, None),
    ("phi-4", 14.7, None),
    ("seed-oss-36b", 36.2, None),
    ("nemotron-3-nano-30b", 31.6, 3.2),
    ("minimax-m2", 228.7, 10.4),
    ("jamba-1.5-mini", 52, 12),
]


@pytest.mark.parametrize(("name", "total", "active"), SIZES, ids=[case[0] for case in SIZES])
def test_parameters_are_the_published_ones(name: str, total: float, active: float | None) -> None:
    assert total_parameters(model(name)) / 1e9 == pytest.approx(total, rel=0.004 if name != "jamba-1.5-mini" else 0.01)
    if active is not None:
        assert active_parameters(model(name)) / 1e9 == pytest.approx(active, rel=0.02)


# Sums of real checkpoints, in parameters: Llama from the total_size of its index, the others from tensor headers.
EXACT = [
    ("llama-3.1-8b", 16_060_522_496 // 2, 0),
    ("llama-3.1-70b", 141_107_412_992 // 2, 0),
    ("olmoe-1b-7b", 6_919_161_856, 1e-4),
    ("qwen3-coder-next-fp8", 79_674_391_296, 1e-5),
    ("nemotron-3-super-120b", 123_611_012_096 - 2_942_324_736, 1e-5),
]


@pytest.mark.parametrize(("name", "total", "tolerance"), EXACT, ids=[case[0] for case in EXACT])
def test_parameters_of_real_checkpoints(name: str, total: int, tolerance: float) -> None:
    assert total_parameters(model(name)) == pytest.approx(total, rel=tolerance, abs=0)


def test_the_prediction_layer_of_deepseek_v3() -> None:
    """README_WEIGHTS.md of DeepSeek-V3: 11.5 B unique parameters."""
    assert draft_layer_parameters(model("deepseek-v3")) / 1e9 == pytest.approx(11.5, rel=0.01)


def test_thirty_architectures_are_known_or_refused_by_name() -> None:
    assert len({*KNOWN, *REFUSED}) >= 30
    assert not KNOWN.keys() & REFUSED.keys()
    read = {config(name)["architectures"][0] for name in (*PRESETS, *FIXTURES)}
    assert len(read) >= 20
    for name in (*PRESETS, *FIXTURES):
        assert model(name).architecture in KNOWN


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str) -> None:
    with pytest.raises(SizingError, match=f"^{name} is refused: .*would be a guess"):
        read_model(config("llama-3.1-8b", architectures=[name]))


# --- layers ---


def test_windows_alternate_in_gpt_oss() -> None:
    mixers = t.cast("list[Attention]", model("gpt-oss-20b").mixers)
    assert [mixer.window for mixer in mixers] == [128, None] * 12


@pytest.mark.parametrize(
    ("name", "without", "full"),
    [
        ("gpt-oss-20b", "layer_types", [1, 3, 5]),
        ("gemma-3-27b", "layer_types", [5, 11, 17]),
        ("gemma-2-9b", "layer_types", [1, 3, 5]),
    ],
)
def test_without_layer_types_the_pattern_of_the_class_holds(name: str, without: str, full: list[int]) -> None:
    mixers = t.cast("list[Attention]", model(name, **{without: None}).mixers)
    assert [number for number, mixer in enumerate(mixers) if mixer.window is None][:3] == full


def test_gemma_3_has_52_windows_of_62_layers() -> None:
    mixers = t.cast("list[Attention]", model("gemma-3-27b").mixers)
    assert sum(mixer.window == 1024 for mixer in mixers) == 52


def test_layer_types_beat_the_pattern() -> None:
    text = config("gemma-3-27b")["text_config"] | {"layer_types": ["full_attention"] * 62}
    mixers = t.cast("list[Attention]", model("gemma-3-27b", text_config=text).mixers)
    assert not any(mixer.window for mixer in mixers)


def test_a_mistral_with_a_window_has_it_on_every_layer() -> None:
    mixers = t.cast("list[Attention]", model("mixtral-8x7b", sliding_window=4096).mixers)
    assert {mixer.window for mixer in mixers} == {4096}


def test_qwen_3_says_whether_its_window_counts() -> None:
    mixers = t.cast("list[Attention]", model("qwen3-8b", sliding_window=4096).mixers)
    assert {mixer.window for mixer in mixers} == {None}


def test_three_of_four_layers_of_llama_4_are_chunked() -> None:
    for fields in ({}, {"no_rope_layers": []}):
        text = config("llama-4-scout")["text_config"] | fields
        mixers = t.cast("list[Attention]", model("llama-4-scout", text_config=text).mixers)
        assert [mixer.chunk for mixer in mixers[:4]] == [8192, 8192, 8192, None]


def test_hybrids() -> None:
    assert [isinstance(mixer, Recurrent) for mixer in model("qwen3-next-80b-a3b").mixers[:4]] == [
        True,
        True,
        True,
        False,
    ]
    jamba = model("jamba-1.5-mini")
    assert [number for number, mixer in enumerate(jamba.mixers) if isinstance(mixer, Attention)] == [4, 12, 20, 28]
    nano = model("nemotron-3-nano-30b")
    assert sum(isinstance(mixer, Recurrent) for mixer in nano.mixers) == 23
    assert sum(isinstance(mixer, Attention) for mixer in nano.mixers) == 6
    assert len(nano.experts) == 23


def test_blocks_by_name() -> None:
    names = {"M": "mamba", "*": "attention", "E": "moe"}
    listed = [names[letter] for letter in config("nemotron-3-nano-30b")["hybrid_override_pattern"]]
    named = model("nemotron-3-nano-30b", hybrid_override_pattern=None, layers_block_type=listed)
    assert named == model("nemotron-3-nano-30b")


def test_dense_layers_before_the_experts() -> None:
    layers = model("deepseek-v3").layers
    assert [isinstance(layer.feed_forward, Dense) for layer in layers[:4]] == [True, True, True, False]
    assert isinstance(layers[0].mixer, Latent)


@pytest.mark.parametrize(
    ("fields", "dense"),
    [({"mlp_only_layers": [2]}, [2]), ({"decoder_sparse_step": 2}, [0, 2, 4]), ({}, [])],
)
def test_dense_layers_between_the_experts(fields: dict[str, t.Any], dense: list[int]) -> None:
    layers = model("qwen3-30b-a3b", **fields).layers[:6]
    assert [number for number, layer in enumerate(layers) if isinstance(layer.feed_forward, Dense)] == dense


def test_blocks_of_nemotron_nas() -> None:
    first, second, third = model("nemotron-nas-two-blocks").layers
    assert isinstance(first.mixer, Attention)
    assert (first.mixer.kv_heads, first.feed_forward) == (8, Dense(28672))
    assert (second.mixer, second.feed_forward) == (None, Dense(14336))
    assert isinstance(third.mixer, Attention)
    assert (third.mixer.kv_heads, third.feed_forward) == (4, None)


def test_a_text_config_comes_first_and_the_vision_tower_is_named() -> None:
    assert model("qwen3.6-35b-a3b").hidden == 2048
    assert model("qwen3.6-35b-a3b").extra == "a vision tower"


# --- refusals ---

WRONG: list[tuple[str, str, dict[str, t.Any], str]] = [
    ("unknown", "llama-3.1-8b", {"architectures": ["Qwen9ForCausalLM"]}, "Qwen9ForCausalLM is not an architecture"),
    ("no architecture", "llama-3.1-8b", {"architectures": None}, "is this the folder of a complete model"),
    ("two architectures", "llama-3.1-8b", {"architectures": ["A", "B"]}, "expected the name of one class"),
    ("encoder", "llama-3.1-8b", {"is_encoder_decoder": True}, "it has an encoder"),
    ("no layers", "llama-3.1-8b", {"num_hidden_layers": None}, "has no num_hidden_layers or n_layers"),
    ("layers as text", "llama-3.1-8b", {"num_hidden_layers": "32"}, "expected a whole number above 0"),
    ("true layers", "llama-3.1-8b", {"num_hidden_layers": True}, "num_hidden_layers is True"),
    ("no heads", "llama-3.1-8b", {"num_attention_heads": 0}, "num_attention_heads is 0"),
    ("huge", "llama-3.1-8b", {"vocab_size": 2**41}, "vocab_size is"),
    ("tied is a word", "llama-3.1-8b", {"tie_word_embeddings": "yes"}, "expected true or false"),
    ("dtype", "llama-3.1-8b", {"torch_dtype": "int3"}, "dtype 'int3'"),
    (
        "shared caches",
        "llama-3.1-8b",
        {"num_kv_shared_layers": 10},
        "num_kv_shared_layers, which this planner does not",
    ),
    ("an index", "deepseek-v3", {"index_topk": 2048, "index_head_dim": 128}, "index_head_dim, index_topk"),
    ("unknown pattern", "llama-3.1-8b", {"block_pattern": "RRA"}, "block_pattern"),
    ("latent experts", "qwen3-30b-a3b", {"moe_expert_share": 4}, "moe_expert_share"),
    ("windows of Qwen 2", "qwen2.5-72b", {"use_sliding_window": True}, "set it to false"),
    ("layer type", "gpt-oss-20b", {"layer_types": ["cosmic_attention"] * 24}, "'cosmic_attention' in layer_types"),
    ("too few types", "gpt-oss-20b", {"layer_types": ["full_attention"]}, "1 items in layer_types; .* the 24 layers"),
    ("types as a number", "gpt-oss-20b", {"layer_types": 3}, "3 in layer_types"),
    ("linear type", "qwen3-next-80b-a3b", {"layer_types": ["mamba"] * 48}, "expected one of full_attention"),
    ("linear attention", "minimax-m2", {"attn_type_list": [0, 1] * 31}, "not 1 in attn_type_list"),
    ("odd block", "nemotron-3-nano-30b", {"layers_block_type": ["conv"] * 52}, "'conv' in layers_block_type"),
    ("no pattern", "nemotron-3-nano-30b", {"hybrid_override_pattern": None}, "no hybrid_override_pattern"),
    ("odd pattern", "nemotron-3-nano-30b", {"hybrid_override_pattern": "X" * 52}, "'X' in hybrid_override_pattern"),
    ("no blocks", "nemotron-nas-two-blocks", {"block_configs": None}, "no block_configs"),
    (
        "odd attention",
        "nemotron-nas-two-blocks",
        {"block_configs": [{"attention": {"replace_with_linear": True}}] * 3},
        "no_op or n_heads",
    ),
    (
        "odd ffn",
        "nemotron-nas-two-blocks",
        {"block_configs": [{"attention": {"no_op": True}, "ffn": {}}] * 3},
        "no_op or ffn_mult",
    ),
]


@pytest.mark.parametrize(("name", "changes", "says"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_wrong_in_a_config_is_refused(name: str, changes: dict[str, t.Any], says: str) -> None:
    with pytest.raises(SizingError, match=says):
        model(name, **changes)


# Fields of published config.json files beyond those that the presets and fixtures keep.
PUBLISHED: list[tuple[str, dict[str, t.Any]]] = [
    (
        "llama-3.1-8b",
        {
            "attention_dropout": 0.0,
            "bos_token_id": 128000,
            "eos_token_id": [128001, 128008, 128009],
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "mlp_bias": False,
            "model_type": "llama",
            "pretraining_tp": 1,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {"factor": 8.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"},
            "rope_theta": 500000.0,
            "transformers_version": "4.43.0.dev0",
            "use_cache": True,
        },
    ),
    (
        "qwen3-30b-a3b",
        {
            "hidden_act": "silu",
            "model_type": "qwen3_moe",
            "output_router_logits": False,
            "rope_scaling": None,
            "rope_theta": 1000000.0,
        },
    ),
    (
        "deepseek-v3",
        {
            "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
            "aux_loss_alpha": 0.001,
            "norm_topk_prob": True,
            "pretraining_tp": 1,
            "rope_scaling": {"factor": 40, "type": "yarn"},
            "seq_aux": True,
        },
    ),
    (
        "minimax-m2",
        {
            "mtp_transformer_layers": 1,
            "output_router_logits": False,
            "qk_norm_type": "per_layer",
            "rotary_dim": 64,
            "router_jitter_noise": 0.0,
            "layernorm_full_attention_beta": 1,
        },
    ),
    (
        "nemotron-3-nano-30b",
        {
            "hidden_dropout": 0.0,
            "intermediate_size": 1856,
            "mamba_proj_bias": False,
            "num_logits_to_keep": 1,
            "rescale_prenorm_residual": True,
            "residual_in_fp32": False,
            "time_step_floor": 0.0001,
            "time_step_rank": 168,
            "use_mamba_kernels": True,
        },
    ),
]


@pytest.mark.parametrize(("name", "more"), PUBLISHED, ids=[case[0] for case in PUBLISHED])
def test_published_fields_that_shape_nothing_are_passed_over(name: str, more: dict[str, t.Any]) -> None:
    assert model(name, **more) == model(name)
