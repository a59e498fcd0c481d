# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From config.json to the feed-forward part of each layer (serving 2.5)."""

from __future__ import annotations

import typing as t

from .errors import SizingError
from .fields import Fields
from .mixers import blocks, layer_count, pattern
from .model import Dense, Experts, FeedForward

FeedForwardReader = t.Callable[[Fields], "list[FeedForward | None]"]

_COUNT = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_TOP_K = ("num_experts_per_tok", "experts_per_token", "moe_top_k")


def dense(fields: Fields) -> list[FeedForward | None]:
    return [Dense(fields.integer("intermediate_size"))] * layer_count(fields)


def experts(fields: Fields, gated: bool = True, bias: bool = False) -> Experts:
    width = fields.integer("moe_intermediate_size", "intermediate_size")
    shared = fields.count("moe_shared_expert_intermediate_size") or fields.count("shared_expert_intermediate_size")
    return Experts(
        count=fields.integer(*_COUNT),
        top_k=fields.integer(*_TOP_K),
        intermediate=width,
        shared=shared or fields.count("n_shared_experts", "num_shared_experts") * width,
        gated=gated,
        bias=bias,
        latent=fields.optional_integer("moe_latent_size"),
    )


def all_experts(fields: Fields) -> list[FeedForward | None]:
    fields.ignore(
        "mlp_intermediate_size", "shared_intermediate_size", "num_mtp_modules", "use_mtp", "mtp_transformer_layers"
    )
    return [experts(fields)] * layer_count(fields)


def experts_with_bias(fields: Fields) -> list[FeedForward | None]:
    return [experts(fields, bias=True)] * layer_count(fields)


def mostly_experts(fields: Fields) -> list[FeedForward | None]:
    """Experts but for the layers that the config names or counts off."""
    count = layer_count(fields)
    first_dense = fields.count("first_k_dense_replace")
    dense_layers = fields.get("mlp_only_layers", default=[])
    step = fields.integer("decoder_sparse_step", "moe_layer_freq", default=1)
    sparse = experts(fields)
    plain = Dense(fields.integer("intermediate_size")) if first_dense or dense_layers or step > 1 else None

    def is_dense(number: int) -> bool:
        return number < first_dense or number in dense_layers or (number + 1) % step != 0

    return [plain if is_dense(number) else sparse for number in range(count)]


def llama4(fields: Fields) -> list[FeedForward | None]:
    """One routed and one shared expert of the same width on every n-th layer, dense ones between them."""
    count, width = layer_count(fields), fields.integer("intermediate_size")
    step = fields.integer("interleave_moe_layer_step", default=1)
    sparse = Experts(fields.integer(*_COUNT), fields.integer(*_TOP_K), width, shared=width)
    named = fields.get("moe_layers")
    moe = set(named) if named else {number for number in range(count) if (number + 1) % step == 0}
    plain = Dense(fields.integer("intermediate_size_mlp", "intermediate_size"))
    return [sparse if number in moe else plain for number in range(count)]


def nemotron_h(fields: Fields) -> list[FeedForward | None]:
    """Two projections instead of three (relu2)."""
    kinds = pattern(fields)
    parts: dict[str, FeedForward | None] = {"M": None, "*": None}
    if "E" in kinds:
        fields.ignore("n_shared_experts", "intermediate_size")
        parts["E"] = experts(fields, gated=False)
    if "-" in kinds:
        parts["-"] = Dense(fields.integer("intermediate_size"), gated=False)
    return [parts[kind] for kind in kinds]


def jamba(fields: Fields) -> list[FeedForward | None]:
    count, width = layer_count(fields), fields.integer("intermediate_size")
    period, offset = fields.integer("expert_layer_period"), fields.count("expert_layer_offset")
    sparse = Experts(fields.integer(*_COUNT), fields.integer(*_TOP_K), width)
    return [sparse if number % period == offset else Dense(width) for number in range(count)]


def deci(fields: Fields) -> list[FeedForward | None]:
    hidden = fields.integer("hidden_size")
    return [_deci_width(block, hidden) for block in blocks(fields)]


def _deci_width(block: t.Mapping[str, t.Any], hidden: int) -> Dense | None:
    """Two thirds of four times the hidden size, times the block's factor, up to a multiple of 256."""
    part = block.get("ffn") or {}
    if part.get("no_op"):
        return None
    factor = part.get("ffn_mult")
    if part.get("replace_with_linear") or part.get("sparsify") or not isinstance(factor, (int, float)):
        raise SizingError(f"config.json has a block with ffn {part!r}; expected no_op or ffn_mult")
    return Dense(-(-int(2 * factor * hidden / 3) // 256) * 256)
