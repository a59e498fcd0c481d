# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fastest that memory bandwidth, compute and the wire allow (serving 4). Bounds, not promises."""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass

from ..contracts.serving import Ceilings
from .model import Model
from .parameters import active_parameters
from .weights import Weights, stage_reads

BANDWIDTH = 273e9  # bytes per second, data sheet (seed-research 1)
REALISTIC = (0.45, 0.75)  # of the ceiling (serving 4)

# Dense peaks by mmapeak in FLOPS (serving 4). INT4 computes in bf16. The others are the best that the format could get.
_PEAK = {"bf16": 213e12, "fp8": 214e12, "fp4": 427e12}
_PEAK_OF = {"nvfp4": "fp4", "mxfp4": "fp4", "fp8": "fp8", "fp8-block": "fp8", "mxfp8": "fp8", "int8": "fp8"}

# All-reduce of small messages between two Sparks with NCCL 2.31.2, the lower end of what was measured (serving 4).
_ALL_REDUCE = ((0, 30e-6), (16 * 1024, 31e-6), (32 * 1024, 37e-6), (64 * 1024, 65e-6))
_BUS = 24e9  # bytes per second for large messages (serving 4)
_HOP = 30e-6  # of a stage's output to the next: the smallest message


@dataclass(frozen=True, slots=True)
class Cut:
    """A model on its nodes, as far as speed depends on it."""

    split: tuple[int, ...]
    tp: int
    replicas: int

    @property
    def ranks(self) -> int:
        return len(self.split) * self.tp * self.replicas


def all_reduce_s(size: float) -> float:
    """Between the measured points in a straight line; beyond the last one at bus bandwidth."""
    for (low, fast), (high, slow) in itertools.pairwise(_ALL_REDUCE):
        if size <= high:
            return fast + (slow - fast) * (size - low) / (high - low)
    last, slowest = _ALL_REDUCE[-1]
    return slowest + (size - last) / _BUS


def stage_times(
    model: Model, weights: Weights, cut: Cut, batch: int = 1, cache_reads: t.Sequence[float] | None = None
) -> list[float]:
    """Seconds that each stage takes for one step of a batch, at best. The cache is given per rank."""
    reads = stage_reads(model, weights, cut.split, batch)
    cache = cache_reads or [0.0] * len(reads)
    wire = 2 * all_reduce_s(batch * model.hidden * 2) if cut.tp > 1 else 0.0
    return [
        (read / cut.tp + held) / BANDWIDTH + wire * layers
        for read, held, layers in zip(reads, cache, cut.split, strict=True)
    ]


def single_stream(model: Model, weights: Weights, cut: Cut, cache_reads: t.Sequence[float] | None = None) -> float:
    """A token visits the stages one after another: pipeline parallelism adds capacity, not speed."""
    return 1 / (sum(stage_times(model, weights, cut, 1, cache_reads)) + (len(cut.split) - 1) * _HOP)


def aggregate(model: Model, weights: Weights, method: str, cut: Cut, streams: int) -> float:
    """All streams of all replicas: every stage works on a share of them at the same time."""
    together = max(1, streams // len(cut.split))
    by_memory = together / max(stage_times(model, weights, cut, together))
    peak = _PEAK[_PEAK_OF.get(method, "bf16")] * len(cut.split) * cut.tp
    return min(by_memory, peak / (2 * active_parameters(model))) * cut.replicas


def ceilings(
    model: Model, weights: Weights, method: str, cut: Cut, streams: int, cache_reads: t.Sequence[float]
) -> Ceilings:
    fastest = single_stream(model, weights, cut)
    return {
        "single_stream_tok_s": round(fastest, 2),
        "single_stream_full_context_tok_s": round(single_stream(model, weights, cut, cache_reads), 2),
        "single_stream_realistic_tok_s": [round(fastest * share, 2) for share in REALISTIC],
        "aggregate_tok_s": round(aggregate(model, weights, method, cut, streams), 1),
        "formula": _formulas(model, weights, method, cut, streams),
    }


def no_ceilings() -> Ceilings:
    return {
        "single_stream_tok_s": None,
        "single_stream_full_context_tok_s": None,
        "single_stream_realistic_tok_s": [],
        "aggregate_tok_s": None,
        "formula": {},
    }


def _formulas(model: Model, weights: Weights, method: str, cut: Cut, streams: int) -> dict[str, str]:
    read = sum(stage_reads(model, weights, cut.split)) / 1e9
    speed = f"{BANDWIDTH / 1e9:.0f} GB/s"
    stages, layers = len(cut.split), sum(cut.split)
    single = f"1 / ({read:.2f} GB / {f'{cut.tp} x ' if cut.tp > 1 else ''}{speed}"
    if cut.tp > 1:
        single += f" + 2 x {layers} layers x {all_reduce_s(model.hidden * 2) * 1e6:.0f} us all-reduce"
    if stages > 1:
        single += f" + {stages - 1} x {_HOP * 1e6:.0f} us to the next stage"
    together = max(1, streams // stages)
    slowest = max(stage_times(model, weights, cut, together))
    total = f"{together} tokens per step / {slowest * 1000:.1f} ms of the slowest stage"
    if cut.replicas > 1:
        total += f" x {cut.replicas} replicas"
    peak = _PEAK[_PEAK_OF.get(method, "bf16")] / 1e12
    ranks = f"{cut.ranks} x " if cut.ranks > 1 else ""
    bound = f"{ranks}{peak:.0f} TFLOPS / (2 x {active_parameters(model) / 1e9:.2f}e9 parameters)"
    return {"single_stream": single + ")", "aggregate": f"min({total}, {bound})"}
