# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weight bytes of every rank: from tensor sizes where there are any, else from the formula (serving 2.4)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..contracts.serving import PartKind, WeightFacts, WeightPart, WeightSource
from .errors import SizingError
from .model import Attention, Experts, Model
from .parameters import (
    VOCABULARY_MULTIPLE,
    draft_layer_parameters,
    embedding_parameters,
    head_parameters,
    layer_parameters,
)
from .quantization import Method

# Tensor parallelism cuts these; norms, routers and the down-projections of MLA stay whole on every rank.
_CUT: frozenset[PartKind] = frozenset({"embedding", "head", "attention", "mlp", "experts"})
# The index and the formula should agree as well as published sizes do (serving 2.5); beyond this something is unknown.
_AGREE = 0.06


@dataclass(frozen=True)
class Weights:
    source: WeightSource
    parts: tuple[WeightPart, ...]
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """What the engine loads: prediction layers are left out."""
        return sum(part["bytes"] for part in self.parts if part["kind"] != "drafter")


def read_weights(model: Model, method: Method, facts: WeightFacts | None) -> Weights:
    """The best that is known: headers, else the formula fitted to the total of the index, else the formula alone."""
    if facts is not None and facts["source"] == "headers":
        return Weights("headers", tuple(facts["parts"]))
    formula = formula_weights(model, method)
    total = facts["total_bytes"] if facts is not None else None
    if total is None:
        return formula
    return _fitted(model, method, formula, total)


def formula_weights(model: Model, method: Method) -> Weights:
    parts: list[WeightPart] = [_part(None, "embedding", embedding_parameters(model) * model.element_bytes)]
    for number, layer in enumerate(model.layers):
        for kind, count in layer_parameters(layer, model.hidden).items():
            parts.append(_part(number, kind, _bytes(count, kind, method, model.element_bytes)))
    parts.append(_part(None, "norm", model.hidden * model.element_bytes))
    if not model.tied:
        parts.append(_part(None, "head", head_parameters(model) * model.element_bytes))
    notes = ("no tensor sizes at hand: the weights are computed from the architecture",)
    return Weights("formula", tuple(parts), notes + _left_out(model))


def _left_out(model: Model) -> tuple[str, ...]:
    return (
        (f"{model.extra} is not counted; give the folder with the weights to have it counted",) if model.extra else ()
    )


def _part(layer: int | None, kind: PartKind, size: int) -> WeightPart:
    return {"layer": layer, "kind": kind, "bytes": size}


def _bytes(count: int, kind: PartKind, method: Method, element_bytes: int) -> int:
    return round(count * method.bits / 8) if method.quantizes(kind) else count * element_bytes


def _fitted(model: Model, method: Method, formula: Weights, total: int) -> Weights:
    """Embedding, head and norms are known to the byte; what the total leaves is spread over the rest."""
    known = sum(part["bytes"] for part in formula.parts if not method.quantizes(part["kind"]))
    drafts = _draft_bytes(model, method)
    guessed = formula.total - known
    # A checkpoint may hold its prediction layers or leave them out; the closer sum says which.
    with_drafts = abs(total - formula.total - drafts) < abs(total - formula.total)
    held = drafts if with_drafts else 0
    if guessed <= 0 or total - held <= known:
        raise SizingError(
            f"the index says {total} bytes, and embedding, head and norms alone have {known};"
            " index and config.json are not of the same model"
        )
    factor = (total - held - known) / guessed
    parts = [
        _part(part["layer"], part["kind"], round(part["bytes"] * factor)) if method.quantizes(part["kind"]) else part
        for part in formula.parts
    ]
    parts += [_part(None, "drafter", held)] * (held > 0)
    notes = [f"only the sum of the index is known ({total} bytes); it is spread over the layers by the architecture"]
    if abs(factor - 1) > _AGREE:
        notes.append(
            f"the index says {(total - held) / formula.total:.2f} times what the architecture makes of {method.name};"
            " layers may differ from each other: the shares of the ranks are rough until the weights are there"
        )
    # Rounding must not lose bytes: the largest of the parts that were spread takes the rest.
    largest = max((part for part in parts if method.quantizes(part["kind"])), key=lambda part: part["bytes"])
    largest["bytes"] += total - sum(part["bytes"] for part in parts)
    return Weights("index", tuple(parts), tuple(notes))


def _draft_bytes(model: Model, method: Method) -> int:
    return round(model.draft_layers * draft_layer_parameters(model) * method.bits / 8)


# --- ranks ---


def stage_of(split: t.Sequence[int]) -> list[int]:
    """The stage of each layer."""
    return [stage for stage, count in enumerate(split) for _layer in range(count)]


def rank_bytes(model: Model, weights: Weights, split: t.Sequence[int], tp: int, drafter: int = 0) -> list[int]:
    """One number per rank, stage by stage. The ranks of a stage hold the same amount."""
    stages = [0] * len(split)
    home = stage_of(split)
    for part in weights.parts:
        for stage in _stages(part, home, len(split), model.tied):
            stages[stage] += _share(part, model, tp)
    stages[-1] += -(-drafter // tp)
    return [size for size in stages for _rank in range(tp)]


def _stages(part: WeightPart, home: t.Sequence[int], count: int, tied: bool) -> tuple[int, ...]:
    kind, layer = part["kind"], part["layer"]
    if kind == "drafter":
        return ()
    if layer is not None:
        return (home[layer],)
    if kind == "embedding":  # a tied head is a second copy on the last stage
        return (0, count - 1) if tied and count > 1 else (0,)
    return (0,) if kind == "other" else (count - 1,)


def _share(part: WeightPart, model: Model, tp: int) -> int:
    size, kind = part["bytes"], part["kind"]
    if tp == 1:
        return size
    if kind in ("embedding", "head"):
        padded = -(-model.vocabulary // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
        return -(-size * padded // (model.vocabulary * tp))
    if kind == "kv":
        return -(-size // min(tp, _kv_heads(model, part["layer"])))
    return -(-size // tp) if kind in _CUT else size


def _kv_heads(model: Model, layer: int | None) -> int:
    mixer = model.layers[layer].mixer if layer is not None else None
    return mixer.kv_heads if isinstance(mixer, Attention) else 1


# --- what a token reads ---


def stage_reads(model: Model, weights: Weights, split: t.Sequence[int], batch: int = 1) -> list[float]:
    """Bytes that each stage reads for one step of a batch: all but the table of embeddings and idle experts."""
    stages = [0.0] * len(split)
    home = stage_of(split)
    for part in weights.parts:
        kind, layer = part["kind"], part["layer"]
        if kind in ("drafter", "other") or (kind == "embedding" and not model.tied):
            continue
        stage = len(split) - 1 if layer is None else home[layer]
        stages[stage] += part["bytes"] * (_hit(model, layer, batch) if kind == "experts" else 1.0)
    return stages


def _hit(model: Model, layer: int | None, batch: int) -> float:
    """The share of experts that a batch touches: E x (1 - (1 - k/E)^batch) of E (serving 4)."""
    part = model.layers[layer].feed_forward if layer is not None else None
    if not isinstance(part, Experts):
        return 1.0
    return float(1 - (1 - part.top_k / part.count) ** batch)
