# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One way of putting a model on nodes: legal or not, what fits, how fast at best."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from functools import cached_property

from . import roofline
from .kv import Cache, cache_of
from .memory import GIB, MIB, OVERHEAD, NodeMemory, batched_tokens, smallest
from .model import Model
from .parallel import layer_split, refusals
from .quantization import Method
from .weights import Weights, rank_bytes

LEAST_CONTEXT = 4096  # a shorter one serves nobody; our own line
COMFORT = 32768  # the context up to which more nodes are worth their while; our own line
TYPICAL = 8192  # tokens of a request when the number of requests at a time is chosen
MOST_REQUESTS = 64  # more costs CUDA graph memory and state blocks (serving 1.9)


@dataclass(frozen=True)
class Subject:
    """The model and what is known of its weights."""

    model: Model
    method: Method
    weights: Weights
    kv_cache_dtype: str
    drafter: Model | None = None
    drafter_bytes: int = 0


@dataclass(frozen=True)
class Limits:
    utilisation: float
    max_model_len: int | None
    max_num_seqs: int | None


@dataclass(frozen=True)
class Evaluation:
    """Everything about one cut; computed when asked for."""

    subject: Subject
    limits: Limits
    nodes: tuple[NodeMemory, ...]  # the pool
    tp: int
    pp: int
    dp: int

    @cached_property
    def refusals(self) -> list[str]:
        subject = self.subject
        return refusals(subject.model, subject.method, self.tp, self.pp, subject.drafter)

    @cached_property
    def split(self) -> tuple[int, ...]:
        return layer_split(len(self.subject.model.layers), self.pp)

    @cached_property
    def decider(self) -> NodeMemory:
        return smallest(self.nodes, self.limits.utilisation)

    @cached_property
    def budget(self) -> int:
        return max(0, self.decider.budget(self.limits.utilisation))

    @cached_property
    def weights(self) -> list[int]:
        subject = self.subject
        return rank_bytes(subject.model, subject.weights, self.split, self.tp, subject.drafter_bytes)

    @cached_property
    def room(self) -> int:
        """For the KV cache, on the heaviest rank: the flag is the same for all."""
        return (self.budget - OVERHEAD - max(self.weights)) // MIB * MIB

    @cached_property
    def cache(self) -> Cache:
        subject = self.subject
        batches = (self.pp + 1) * batched_tokens(self.nodes)  # in flight with asynchronous scheduling (serving 2.1)
        return cache_of(subject.model, self.split, self.tp, subject.kv_cache_dtype, batches, subject.drafter)

    @cached_property
    def blocks(self) -> int:
        return self.cache.blocks([self.room] * self.pp)

    @cached_property
    def max_model_len(self) -> int:
        """Zero when not even the least context fits."""
        limit = self.subject.model.max_length
        wanted = self.limits.max_model_len
        if wanted is not None:
            return wanted if wanted <= limit and self.cache.fits(self.blocks, wanted) else 0
        longest = self.cache.longest(self.blocks, limit)
        if longest < limit and longest > LEAST_CONTEXT:
            longest = longest // 1024 * 1024
        return longest if longest >= min(LEAST_CONTEXT, limit) else 0

    @property
    def fits(self) -> bool:
        return not self.refusals and self.room > 0 and self.max_model_len > 0

    @property
    def comfortable(self) -> bool:
        wanted = self.limits.max_model_len or min(COMFORT, self.subject.model.max_length)
        return self.fits and self.max_model_len >= wanted

    @cached_property
    def kv_tokens(self) -> int:
        return self.cache.tokens(self.blocks, self.max_model_len) if self.fits else 0

    @cached_property
    def max_num_seqs(self) -> int:
        if not self.fits:
            return 0
        if self.limits.max_num_seqs is not None:
            return self.limits.max_num_seqs
        at_a_time = self.blocks // self.cache.request_blocks(min(TYPICAL, self.max_model_len))
        return max(self.pp, min(MOST_REQUESTS, at_a_time), 1)

    @property
    def speed(self) -> roofline.Cut:
        return roofline.Cut(self.split, self.tp, self.dp)

    @property
    def cache_reads(self) -> list[float]:
        """Bytes of cache that one token reads on a rank of each stage when its request is as long as it may be."""
        grown = self.cache.growing_bytes()
        bounded = self.cache.bounded_bytes()
        return [float(token * self.max_model_len + rest) for token, rest in zip(grown, bounded, strict=True)]

    @property
    def heaviest(self) -> float:
        return max(self.weights) / GIB

    @property
    def reason(self) -> str:
        """Why it fits or does not, short enough for a table."""
        if self.refusals:
            return self.refusals[0]
        if self.room <= 0:
            needs = f"{self.heaviest:.1f} + {OVERHEAD / GIB:.0f} GiB on a rank"
            return f"{needs}, {self.decider.name} gives {self.budget / GIB:.1f}"
        if not self.fits:
            return "too little is left for the cache"
        return f"{self.heaviest:.1f} GiB of weights on a rank, {self.room / GIB:.1f} left for the cache"

    @property
    def obstacles(self) -> list[str]:
        """Why it does not serve, in full."""
        if self.refusals:
            return self.refusals
        if self.room <= 0:
            return [
                f"the heaviest rank holds {self.heaviest:.1f} GiB of weights and the engine takes"
                f" {OVERHEAD / GIB:.0f} GiB besides; {self.decider.name} gives {self.budget / GIB:.1f} GiB"
            ]
        return [self._too_short()]

    def _too_short(self) -> str:
        limit, wanted = self.subject.model.max_length, self.limits.max_model_len
        if wanted is not None and wanted > limit:
            return f"the model knows {limit} tokens of context, and {wanted} were asked for"
        longest = self.cache.longest(self.blocks, limit)
        return (
            f"{self.room / GIB:.1f} GiB are left for the cache, room for one request of {longest} tokens;"
            f" {wanted or min(LEAST_CONTEXT, limit)} were wanted"
        )


def pools(nodes: t.Sequence[NodeMemory], ranks: int, utilisation: float) -> list[tuple[NodeMemory, ...]]:
    """The nodes for as many replicas as there can be, then for fewer where that leaves a smaller node out."""
    best = sorted(nodes, key=lambda node: -node.budget(utilisation))
    found: list[tuple[NodeMemory, ...]] = []
    for replicas in range(len(nodes) // ranks, 0, -1):
        chosen = best[: replicas * ranks]
        if found and chosen[-1].budget(utilisation) == smallest(found[-1], utilisation).budget(utilisation):
            continue  # no more memory than with more replicas
        found.append(tuple(node for node in nodes if node in chosen))
    return found
