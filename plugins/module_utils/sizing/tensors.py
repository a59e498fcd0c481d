# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tensor names and sizes to parts of a model. Runs on nodes too: the standard library only."""

from __future__ import annotations

import re
import typing as t

if t.TYPE_CHECKING:
    from ..contracts.serving import PartKind, WeightPart

_LAYER = re.compile(r"(?:^|\.)(?:layers|blocks|h)\.(\d+)\.")
_DRAFT = re.compile(r"(^|\.)(mtp|nextn|mtp_layers|mtp_block)(\.|_)")
_FOREIGN = re.compile(r"(^|\.)(visual|vision\w*|multi_modal_projector|mm_projector|audio\w*|vit)\.")
_OUTSIDE: tuple[tuple[re.Pattern[str], PartKind], ...] = (
    (re.compile(r"(^|\.)lm_head\."), "head"),
    (re.compile(r"(^|\.)(embed_tokens|embeddings?|word_embeddings|wte)\."), "embedding"),
)
# In this order: a norm inside the attention is a norm, a shared expert is no routed one.
_INSIDE: tuple[tuple[re.Pattern[str], PartKind], ...] = (
    (re.compile(r"(norm\w*|layernorm)\.(weight|bias)$|\.(gate|router|shared_expert_gate)\.[^.]+$"), "norm"),
    (re.compile(r"\.(q_a_proj|kv_a_proj\w*)\."), "down"),
    (re.compile(r"\.shared_experts?\."), "mlp"),
    (re.compile(r"\.(experts)\."), "experts"),
    (re.compile(r"\.(k_proj|v_proj)\."), "kv"),
    (re.compile(r"\.(up_proj|down_proj|gate_proj|gate_up_proj|fc1_latent_proj|fc2_latent_proj)\."), "mlp"),
    (re.compile(r"\.(self_attn|attention|attn|linear_attn|mamba|mixer)\."), "attention"),
    (re.compile(r"\.(mlp|feed_forward|block_sparse_moe|ffn)\."), "mlp"),
)


def kind_of(name: str, layers: int) -> tuple[int | None, PartKind]:
    """The layer and the kind of a tensor. What no rule names stays whole on every rank, the larger guess."""
    if _FOREIGN.search(name):
        return None, "other"
    if _DRAFT.search(name):
        return None, "drafter"
    match = _LAYER.search(name)
    if match is None:
        return None, next((kind for rule, kind in _OUTSIDE if rule.search(name)), "norm")
    number = int(match.group(1))
    if number >= layers:  # DeepSeek keeps its prediction layer behind the last one
        return None, "drafter"
    return number, next((kind for rule, kind in _INSIDE if rule.search(name)), "norm")


def parts_of(sizes: t.Iterable[tuple[str, int]], layers: int) -> list[WeightPart]:
    """Sum up tensors by layer and kind, so that a hundred thousand of them become a few hundred numbers."""
    sums: dict[tuple[int | None, PartKind], int] = {}
    for name, size in sizes:
        key = kind_of(name, layers)
        sums[key] = sums.get(key, 0) + size
    ordered = sorted(sums.items(), key=lambda item: (-1 if item[0][0] is None else item[0][0], item[0][1]))
    return [{"layer": layer, "kind": kind, "bytes": size} for (layer, kind), size in ordered]
