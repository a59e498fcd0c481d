# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a checkpoint says about its quantization, and how many bits that makes (serving 2.4 and 3.1)."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, replace

from ..contracts.serving import PartKind
from .errors import SizingError

_LINEAR: frozenset[PartKind] = frozenset({"attention", "kv", "down", "mlp", "experts"})


@dataclass(frozen=True, slots=True)
class Method:
    """How the weights are stored."""

    name: str  # as the policy knows it
    bits: float  # of a quantized parameter, scales and zeros included
    group: int | None = None  # inputs that share a scale
    block: int | None = None  # FP8 in blocks of so many inputs and outputs
    marlin: bool = False  # cut into tiles of 64 outputs and 128 inputs
    kinds: frozenset[PartKind] = _LINEAR
    kv_fp8: bool = False  # the checkpoint brings scales for an FP8 cache

    def quantizes(self, kind: PartKind) -> bool:
        return kind in self.kinds


BF16 = Method("bf16", 16.0)
FP8 = Method("fp8", 8.0)
FP8_BLOCK = Method("fp8-block", 8.0 + 32 / 16384, block=128)
INT8 = Method("int8", 8.0)
MXFP8 = Method("mxfp8", 8.25, group=32)
NVFP4 = Method("nvfp4", 4.5, group=16)
MXFP4 = Method("mxfp4", 4.25, group=32, kinds=frozenset({"experts"}))


def _int4(name: str, group: int, zeros: bool) -> Method:
    """Four bits, an fp16 scale for each group and, where the format stores them, a four-bit zero."""
    return Method(name, 4 + (20 if zeros else 16) / group, group=group, marlin=True)


AWQ = _int4("awq", 128, zeros=True)
GPTQ = _int4("gptq", 128, zeros=True)
BY_NAME = {method.name: method for method in (BF16, FP8, FP8_BLOCK, INT8, MXFP8, NVFP4, MXFP4, AWQ, GPTQ)}


def read_method(quantization: t.Mapping[str, t.Any] | None, element_bytes: int = 2) -> Method:
    """The method of a checkpoint, or a SizingError for one that is not known."""
    if not quantization:
        return BF16 if element_bytes == 2 else Method("fp32", 32.0)
    if "quantization" in quantization:  # hf_quant_config.json
        quantization = {"quant_method": "modelopt", **quantization["quantization"]}
    name = str(quantization.get("quant_method", "")).lower()
    readers: dict[str, t.Callable[[t.Mapping[str, t.Any]], Method]] = {
        "awq": _read_int4,
        "gptq": _read_int4,
        "fp8": _read_fp8,
        "compressed-tensors": _read_compressed,
        "modelopt": _read_modelopt,
        "mxfp4": lambda _quantization: MXFP4,
        "mxfp8": lambda _quantization: MXFP8,
    }
    if name not in readers:
        raise SizingError(
            f"quantization_config says quant_method {name!r}; this planner knows {', '.join(readers)}."
            " vLLM serves bitsandbytes and GGUF only through plugins since 0.28"
        )
    return _without_kept(readers[name](quantization), quantization)


def _read_int4(quantization: t.Mapping[str, t.Any]) -> Method:
    name, bits = str(quantization["quant_method"]).lower(), quantization.get("bits", quantization.get("w_bit", 4))
    group = quantization.get("group_size", quantization.get("q_group_size", 128))
    if bits == 8:
        return replace(INT8, name="int8", bits=8 + 24 / _group(group), group=_group(group), marlin=True)
    if bits != 4:
        raise SizingError(f"quantization_config of {name} says {bits!r} bits; expected 4 or 8")
    return _int4(name, _group(group), zeros=True)


def _group(value: t.Any) -> int:
    """Minus one means one group for the whole row; any long row will do."""
    if value == -1:
        return 4096
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SizingError(f"quantization_config says group_size {value!r}; expected a whole number, or -1")
    return value


def _read_fp8(quantization: t.Mapping[str, t.Any]) -> Method:
    block = quantization.get("weight_block_size")
    if not block:
        return FP8
    if block != [128, 128]:
        raise SizingError(f"quantization_config says weight_block_size {block!r}; expected [128, 128]")
    return FP8_BLOCK


def _read_compressed(quantization: t.Mapping[str, t.Any]) -> Method:
    groups = quantization.get("config_groups") or {}
    weights = [group.get("weights") or {} for group in groups.values() if isinstance(group, dict)]
    found = {_compressed_weights(one, str(quantization.get("format", ""))) for one in weights}
    if len(found) != 1:
        raise SizingError(f"quantization_config has {len(found)} kinds of compressed weights; expected one")
    method = found.pop()
    return replace(method, kv_fp8=bool(quantization.get("kv_cache_scheme")))


def _compressed_weights(weights: t.Mapping[str, t.Any], format_name: str) -> Method:
    bits, kind = weights.get("num_bits"), weights.get("type")
    if format_name.startswith("nvfp4") or (bits == 4 and kind == "float"):
        return NVFP4
    if bits == 8:
        block = weights.get("strategy") == "block"
        return INT8 if kind == "int" else FP8_BLOCK if block else FP8
    if bits == 4 and kind == "int":
        return _int4("gptq", _group(weights.get("group_size") or -1), zeros=not weights.get("symmetric", True))
    raise SizingError(f"quantization_config has weights of {bits!r} bits of type {kind!r}, which is not known")


def _read_modelopt(quantization: t.Mapping[str, t.Any]) -> Method:
    algorithm = str(quantization.get("quant_algo", "")).upper()
    methods = {"FP8": FP8, "NVFP4": NVFP4, "W4A16_NVFP4": NVFP4, "MXFP8": MXFP8, "FP8_PB_WO": FP8_BLOCK}
    if algorithm not in methods:
        raise SizingError(f"the quantization says quant_algo {algorithm!r}; expected one of {', '.join(methods)}")
    kv_fp8 = str(quantization.get("kv_cache_quant_algo") or "").upper() == "FP8"
    return replace(methods[algorithm], kv_fp8=kv_fp8)


_KEPT = ("ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers")
# The attention as a whole, not a convolution or a gate of it.
_ATTENTION = re.compile(r"(self_attn|linear_attn|attention)(\W*$|\.\*|\.q_proj)")
_MANY = 16  # so many single layers are all of them, or nearly


def _without_kept(method: Method, quantization: t.Mapping[str, t.Any]) -> Method:
    """Checkpoints often keep the attention as it was; single layers are left to the tensors themselves."""
    kept = [str(name) for key in _KEPT for name in (quantization.get(key) or [])]
    attention = [name for name in kept if _ATTENTION.search(name)]
    if len(attention) <= _MANY and not any("*" in name for name in attention):
        return method
    return replace(method, kinds=method.kinds - {"attention", "kv", "down"})
