"""What a checkpoint says about itself (serving 3.1), and which of it to trust (serving 3.2)."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.errors import SizingError
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.flags import ENGINES
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.policy import SAFEST_FIRST, TABLE, offered, row
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.quantization import BY_NAME, read_method


def compressed(weights: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}} | more


READ: list[tuple[str, dict[str, t.Any] | None, str, float]] = [
    ("none", None, "bf16", 16),
    ("awq", {"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", 4.156),
    ("awq-g64", {"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, "awq", 4.3125),
    ("awq-g32", {"quant_method": "awq", "bits": 4, "group_size": 32}, "awq", 4.625),
    ("gptq", {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True}, "gptq", 4.156),
    ("gptq-row", {"quant_method": "gptq", "bits": 4, "group_size": -1}, "gptq", 4.005),
    ("gptq-8", {"quant_method": "gptq", "bits": 8, "group_size": 128}, "int8", 8.1875),
    ("fp8", {"quant_method": "fp8", "activation_scheme": "dynamic"}, "fp8", 8),
    ("fp8-block", {"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8-block", 8.002),
    ("ct-nvfp4", compressed({"num_bits": 4, "type": "float"}, format="nvfp4-pack-quantized"), "nvfp4", 4.5),
    ("ct-int4", compressed({"num_bits": 4, "type": "int", "group_size": 128}, format="pack-quantized"), "gptq", 4.125),
    ("ct-int4-g32", compressed({"num_bits": 4, "type": "int", "group_size": 32}), "gptq", 4.5),
    (
        "ct-int4-asymmetric",
        compressed({"num_bits": 4, "type": "int", "group_size": 128, "symmetric": False}),
        "gptq",
        4.156,
    ),
    ("ct-fp8", compressed({"num_bits": 8, "type": "float", "strategy": "channel"}, format="float-quantized"), "fp8", 8),
    ("ct-fp8-block", compressed({"num_bits": 8, "type": "float", "strategy": "block"}), "fp8-block", 8.002),
    ("ct-int8", compressed({"num_bits": 8, "type": "int"}, format="int-quantized"), "int8", 8),
    ("modelopt", {"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", 4.5),
    ("hf_quant_config", {"producer": {}, "quantization": {"quant_algo": "FP8"}}, "fp8", 8),
    ("modelopt-mxfp8", {"quant_method": "modelopt", "quant_algo": "MXFP8"}, "mxfp8", 8.25),
    ("mxfp4", {"quant_method": "mxfp4"}, "mxfp4", 4.25),
    ("mxfp8", {"quant_method": "mxfp8"}, "mxfp8", 8.25),
]


@pytest.mark.parametrize(("quantization", "name", "bits"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_recognition(quantization: dict[str, t.Any] | None, name: str, bits: float) -> None:
    method = read_method(quantization)
    assert (method.name, method.bits) == (name, pytest.approx(bits, abs=0.002))


def test_float_32() -> None:
    assert read_method(None, element_bytes=4).bits == 32


@pytest.mark.parametrize(
    ("quantization", "says"),
    [
        ({"quant_method": "bitsandbytes"}, "only through plugins since 0.28"),
        ({"bits": 4}, "quant_method ''"),
        ({"quant_method": "gptq", "bits": 3}, "says 3 bits"),
        ({"quant_method": "awq", "group_size": 0}, "group_size 0"),
        ({"quant_method": "awq", "group_size": True}, "group_size True"),
        ({"quant_method": "fp8", "weight_block_size": [64, 64]}, r"weight_block_size \[64, 64\]"),
        (compressed({"num_bits": 2, "type": "int"}), "2 bits of type 'int'"),
        ({"quant_method": "compressed-tensors"}, "0 kinds of compressed weights"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "'MIXED_PRECISION'"),
    ],
    ids=str,
)
def test_what_is_not_known_is_refused(quantization: dict[str, t.Any], says: str) -> None:
    with pytest.raises(SizingError, match=says):
        read_method(quantization)


def test_two_kinds_of_weights_are_refused() -> None:
    groups = {"a": {"weights": {"num_bits": 8, "type": "int"}}, "b": {"weights": {"num_bits": 8, "type": "float"}}}
    with pytest.raises(SizingError, match="2 kinds"):
        read_method({"quant_method": "compressed-tensors", "config_groups": groups})


@pytest.mark.parametrize(
    ("kept", "whole"),
    [
        (["model.layers.*.self_attn", "lm_head"], True),
        (["re:.*self_attn.*"], True),
        ([f"model.layers.{number}.self_attn.q_proj" for number in range(32)], True),
        ([f"model.layers.{number}.linear_attn.conv1d" for number in range(32)], False),
        (["model.layers.0.self_attn"], False),
        (["lm_head", "model.embed_tokens"], False),
        (None, False),
    ],
    ids=str,
)
def test_attention_that_was_kept(kept: list[str] | None, whole: bool) -> None:
    method = read_method({"quant_method": "awq", "modules_to_not_convert": kept})
    assert method.quantizes("attention") is not whole
    assert method.quantizes("mlp")


@pytest.mark.parametrize(
    ("quantization", "brings"),
    [
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}, True),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_quant_algo": None}, False),
        (compressed({"num_bits": 8, "type": "float"}, kv_cache_scheme={"num_bits": 8}), True),
        (compressed({"num_bits": 8, "type": "float"}, kv_cache_scheme=None), False),
    ],
    ids=str,
)
def test_scales_for_an_fp8_cache(quantization: dict[str, t.Any], brings: bool) -> None:
    assert read_method(quantization).kv_fp8 is brings


# --- the policy ---


def test_every_format_has_a_row_for_every_engine() -> None:
    assert {(one.engine, one.method) for one in TABLE} == {(engine, name) for engine in ENGINES for name in BY_NAME}
    assert len(TABLE) == len(ENGINES) * len(BY_NAME)
    assert sorted(SAFEST_FIRST) == sorted(BY_NAME)


@pytest.mark.parametrize("one", TABLE, ids=[f"{one.engine} {one.method}" for one in TABLE])
def test_every_row_says_what_is_known_and_who_says_so(one: t.Any) -> None:
    assert one.note and one.source
    if one.state == "flag":  # works with care: the reader must learn since when, or how
        assert any(character.isdigit() for character in one.note)


# The states that serving 3.2 and design.md give.
STATES = [
    ("vllm", "awq", "ok"),
    ("vllm", "gptq", "ok"),
    ("vllm", "fp8", "ok"),
    ("vllm", "fp8-block", "flag"),
    ("vllm", "nvfp4", "flag"),
    ("vllm", "mxfp4", "flag"),
    ("vllm", "int8", "unproven"),
    ("trtllm", "nvfp4", "ok"),
    ("trtllm", "awq", "unproven"),
    ("trtllm", "gptq", "unproven"),
    ("trtllm", "fp8-block", "unsupported"),
]


@pytest.mark.parametrize(("engine", "method", "state"), STATES)
def test_states(engine: t.Any, method: str, state: str) -> None:
    assert row(method, engine).state == state
    assert row(method, engine).worth_a_warning is (state != "ok")


def test_formats_for_experts_are_not_offered_to_dense_models() -> None:
    assert "mxfp4" in [one.method for one in offered("vllm", mixture=True)]
    assert "mxfp4" not in [one.method for one in offered("vllm", mixture=False)]
    assert [one.method for one in offered("trtllm", mixture=True)][:3] == ["bf16", "fp8", "awq"]


def test_a_format_without_a_row_is_refused() -> None:
    with pytest.raises(SizingError, match="vllm does not serve weights in fp32"):
        row("fp32", "vllm")
