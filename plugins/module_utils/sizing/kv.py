# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The KV cache as vLLM 0.32 lays it out: bytes per token, groups, blocks, tokens (serving 2.1 and 2.2)."""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass
from functools import cached_property

from .errors import SizingError
from .model import Attention, Latent, Mixer, Model, Recurrent

BLOCK = 16
# What the MLA back ends take; which one cc 12.1 gets is open (serving 10), and it hardly moves the number of tokens.
LATENT_BLOCK = 64
# With prefix caching a request holds the state before and after its last full block.
STATE_BLOCKS = 2

Kind = t.Literal["full", "window", "chunk", "latent", "state"]
_DTYPE_BYTES = {"fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "bfloat16": 2, "float16": 2}
DTYPES = ("auto", *_DTYPE_BYTES)


@dataclass(frozen=True, slots=True)
class Spec:
    """What one layer keeps, on one rank."""

    kind: Kind
    token_bytes: int = 0
    limit: int = 0  # of a window or a chunk, in tokens
    state_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share a table of blocks."""

    spec: Spec
    layers: tuple[int, ...]


def cache_element_bytes(dtype: str, element_bytes: int) -> int:
    if dtype == "auto":
        return element_bytes
    if dtype not in _DTYPE_BYTES:
        raise SizingError(
            f"kv_cache_dtype {dtype!r} is not one that can be sized; expected one of {', '.join(DTYPES)}."
            " nvfp4 is experimental on GB10, and the layouts with scales per token depend on the kernel (serving 2.1)"
        )
    return _DTYPE_BYTES[dtype]


def spec_of(mixer: Mixer, tp: int, cache_bytes: int, element_bytes: int) -> Spec:
    if isinstance(mixer, Latent):
        return Spec("latent", (mixer.kv_rank + mixer.rope_dim) * cache_bytes)
    if isinstance(mixer, Recurrent):
        return Spec("state", state_bytes=_state(mixer, tp, element_bytes))
    heads = max(1, mixer.kv_heads // tp)  # more ranks than heads: replicated
    token_bytes = heads * (mixer.head_dim + mixer.v_head_dim) * cache_bytes
    if mixer.window:
        return Spec("window", token_bytes, mixer.window)
    return Spec("chunk", token_bytes, mixer.chunk) if mixer.chunk else Spec("full", token_bytes)


def _state(mixer: Recurrent, tp: int, element_bytes: int) -> int:
    width = mixer.conv_width
    if mixer.kind == "mamba2" and mixer.key_heads % tp:  # the engine adds groups until they divide
        width += 2 * (tp - mixer.key_heads % tp) * mixer.key_dim
    conv = width // tp * (mixer.kernel - 1) * element_bytes
    return conv + mixer.state_elements // tp * (mixer.state_bytes or element_bytes)


@dataclass(frozen=True)
class Cache:
    """The layout for one way of cutting the model."""

    specs: tuple[Spec | None, ...]  # of each layer
    split: tuple[int, ...]
    in_flight: int  # tokens that are computed while a window moves on
    drafter_token_bytes: int = 0  # on the last stage

    @cached_property
    def block(self) -> int:
        """Tokens in a block. With states it grows until a page of attention holds a state (serving 2.2)."""
        used = [spec for spec in self.specs if spec]
        base = LATENT_BLOCK if any(spec.kind == "latent" for spec in used) else BLOCK
        state = max((spec.state_bytes for spec in used), default=0)
        token = max((spec.token_bytes for spec in used), default=0)
        if not state or not token:
            return base
        return base * -(-state // (base * token))

    def page(self, spec: Spec) -> int:
        if spec.kind == "state":  # padded to the page of the attention layers
            token = max((other.token_bytes for other in self.specs if other), default=0)
            return self.block * token if token else spec.state_bytes
        return self.block * spec.token_bytes

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        buckets: dict[Spec, list[int]] = {}
        for number, spec in enumerate(self.specs):
            if spec is not None:
                buckets.setdefault(spec, []).append(number)
        if len(buckets) <= 1:
            return tuple(Group(spec, tuple(layers)) for spec, layers in buckets.items())
        if all(spec.kind in ("full", "latent") for spec in buckets):  # sizes differ, and all grow: one group
            return (Group(next(iter(buckets)), tuple(sorted(itertools.chain(*buckets.values())))),)
        return self._cut(buckets)

    def _cut(self, buckets: t.Mapping[Spec, list[int]]) -> tuple[Group, ...]:
        if len({self.page(spec) for spec in buckets}) > 1:
            raise SizingError(
                "layers with and without a window have caches of different sizes; the engine packs them in a way that"
                " cannot be predicted, so this planner refuses"
            )
        sizes = [len(layers) for layers in buckets.values()]
        size = max(sizes) if max(sizes) < 1.5 * min(sizes) else min(sizes)
        groups = []
        for spec, layers in buckets.items():
            number = -(-len(layers) // size)
            groups += [Group(spec, tuple(layers[first::number])) for first in range(number)]
        return tuple(groups)

    def block_bytes(self) -> list[int]:
        """Of each stage: its share of the widest group."""
        ends = [sum(self.split[: stage + 1]) for stage in range(len(self.split))]
        result = []
        for stage, end in enumerate(ends):
            first = end - self.split[stage]
            widths = [
                sum(self.page(t.cast(Spec, self.specs[layer])) for layer in group.layers if first <= layer < end)
                for group in self.groups
            ]
            result.append(max(widths, default=0))
        result[-1] += self.block * self.drafter_token_bytes
        return result

    def blocks(self, available: t.Sequence[int]) -> int:
        """Of the poorest stage: the scheduler goes by it."""
        return min(
            (max(0, room) // width for room, width in zip(available, self.block_bytes(), strict=True) if width),
            default=0,
        )

    def request_blocks(self, length: int) -> int:
        """That one request of this length holds at most."""
        return sum(self._group_blocks(group.spec, length) for group in self.groups)

    def _group_blocks(self, spec: Spec, length: int) -> int:
        if spec.kind == "state":
            return STATE_BLOCKS
        if spec.kind == "window":
            return -(-min(spec.limit - 1 + self.in_flight, length) // self.block) + 1
        if spec.kind == "chunk":
            return -(-min(spec.limit + self.in_flight, length) // self.block)
        return -(-length // self.block)

    def tokens(self, blocks: int, length: int) -> int:
        """ "GPU KV cache size" as the engine logs it for this maximum length."""
        return blocks * length // self.request_blocks(length) if self.groups else 0

    def fits(self, blocks: int, length: int) -> bool:
        """One block is reserved as the null block."""
        return self.request_blocks(length) + 1 <= blocks

    def longest(self, blocks: int, limit: int) -> int:
        """The longest request that fits, at most ``limit``."""
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(blocks, middle) else (low, middle - 1)
        return low

    def growing_bytes(self) -> list[int]:
        """Bytes per token of each stage that grow with the length."""
        return [
            sum(spec.token_bytes for spec in stage if spec and spec.kind in ("full", "latent"))
            for stage in self._stages()
        ]

    def bounded_bytes(self) -> list[int]:
        """Bytes per request of each stage that do not: windows, chunks, states."""
        return [
            sum(
                spec.state_bytes + spec.token_bytes * spec.limit
                for spec in stage
                if spec and spec.kind not in ("full", "latent")
            )
            for stage in self._stages()
        ]

    def _stages(self) -> list[tuple[Spec | None, ...]]:
        ends = [sum(self.split[: stage + 1]) for stage in range(len(self.split))]
        return [self.specs[end - count : end] for end, count in zip(ends, self.split, strict=True)]


def cache_of(
    model: Model, split: t.Sequence[int], tp: int, dtype: str, in_flight: int, drafter: Model | None = None
) -> Cache:
    """The layout for a model cut into stages and ranks."""
    width = cache_element_bytes(dtype, model.element_bytes)
    known: dict[Mixer, Spec] = {mixer: spec_of(mixer, tp, width, model.element_bytes) for mixer in set(model.mixers)}
    specs = tuple(known[layer.mixer] if layer.mixer is not None else None for layer in model.layers)
    extra = 0
    if drafter is not None:
        extra = _drafter_bytes(drafter, model, tp, width)
    return Cache(specs, tuple(split), in_flight, extra)


def _drafter_bytes(drafter: Model, model: Model, tp: int, width: int) -> int:
    """A draft model joins the one group of a plain model; with several groups its place cannot be predicted."""
    mixers = {*drafter.mixers, *model.mixers}
    if not all(isinstance(mixer, Attention) and not mixer.window and not mixer.chunk for mixer in mixers):
        raise SizingError(
            "the cache of a draft model can be sized only where all layers of both models have full attention;"
            " plan without plan_draft_model"
        )
    return sum(spec_of(mixer, tp, width, drafter.element_bytes).token_bytes for mixer in drafter.mixers)
