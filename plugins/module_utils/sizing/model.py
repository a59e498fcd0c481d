# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model as far as its size depends on it: one mixer and one feed-forward part per layer."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Attention:
    """MHA, GQA or MQA; with a window or a chunk its cache is bounded."""

    heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int
    window: int | None = None
    chunk: int | None = None
    gated: bool = False  # an output gate doubles the query projection (Qwen3-Next)
    bias: bool = False
    sinks: bool = False


@dataclass(frozen=True, slots=True)
class Latent:
    """MLA: one latent for all heads, replicated on every tensor-parallel rank."""

    heads: int
    q_rank: int | None
    kv_rank: int
    rope_dim: int
    nope_dim: int
    v_dim: int


@dataclass(frozen=True, slots=True)
class Recurrent:
    """A state of fixed size per request (serving 2.1)."""

    kind: str  # gdn, mamba1, mamba2
    key_heads: int  # mamba2: groups; mamba1: unused
    key_dim: int  # mamba: state size
    value_heads: int  # mamba1: 1
    value_dim: int  # mamba1: inner width
    kernel: int
    state_bytes: int | None = None  # of one element; None: as the model
    dt_rank: int = 0  # mamba1

    @property
    def inner(self) -> int:
        return self.value_heads * self.value_dim

    @property
    def conv_width(self) -> int:
        if self.kind == "mamba1":
            return self.inner
        return 2 * self.key_heads * self.key_dim + self.inner

    @property
    def state_elements(self) -> int:
        return self.inner * self.key_dim


@dataclass(frozen=True, slots=True)
class Dense:
    intermediate: int
    gated: bool = True


@dataclass(frozen=True, slots=True)
class Experts:
    count: int
    top_k: int
    intermediate: int
    shared: int = 0  # width of what every token passes
    gated: bool = True
    bias: bool = False
    latent: int | None = None  # the experts work in a narrower space (Nemotron-3-Super)


Mixer: t.TypeAlias = "Attention | Latent | Recurrent"
FeedForward: t.TypeAlias = "Dense | Experts"


@dataclass(frozen=True, slots=True)
class Layer:
    mixer: Mixer | None
    feed_forward: FeedForward | None


@dataclass(frozen=True)
class Model:
    architecture: str
    hidden: int
    vocabulary: int
    layers: tuple[Layer, ...]
    tied: bool
    max_length: int
    element_bytes: int  # of unquantized weights, and of the KV cache unless told otherwise
    draft_layers: int = 0  # multi-token prediction layers in the checkpoint, not loaded unless asked for
    extra: str = ""  # what the formula does not count, such as a vision tower

    @cached_property
    def mixers(self) -> tuple[Mixer, ...]:
        return tuple(layer.mixer for layer in self.layers if layer.mixer is not None)

    @cached_property
    def experts(self) -> tuple[Experts, ...]:
        return tuple(layer.feed_forward for layer in self.layers if isinstance(layer.feed_forward, Experts))
