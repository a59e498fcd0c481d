# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ways of cutting a model the engine accepts (serving 1.10)."""

from __future__ import annotations

import typing as t

from .model import Attention, Dense, Experts, Latent, Mixer, Model, Recurrent
from .quantization import Method

_TILE_OUT = 64  # Marlin: min_thread_n
_TILE_IN = 128  # Marlin: min_thread_k


def layer_split(layers: int, stages: int) -> tuple[int, ...]:
    """As get_pp_indices does it: the rest goes, one each, to the stages before the last."""
    base, rest = divmod(layers, stages)
    counts = [base] * stages
    for number in range(rest):
        counts[stages - 2 - number if stages > 1 else 0] += 1
    return tuple(counts)


def refusals(model: Model, method: Method, tp: int, pp: int, drafter: Model | None = None) -> list[str]:
    """Why this cut is illegal; empty when the engine takes it."""
    found = _pipeline(model, pp, drafter)
    if tp > 1:
        found += _tensor(model, method, tp)
        if drafter is not None:
            found += [f"draft model: {reason}" for reason in _tensor(drafter, method, tp)]
    return list(dict.fromkeys(found))


def _pipeline(model: Model, pp: int, drafter: Model | None) -> list[str]:
    found = []
    if pp > len(model.layers):
        found.append(f"{len(model.layers)} layers cannot be cut into {pp} stages")
    if pp > 1 and drafter is not None:
        found.append(
            "a draft model runs on the last stage only, and most targets do not relay what it needs;"
            " speculative decoding is refused together with pipeline parallelism"
        )
    return found


def _tensor(model: Model, method: Method, tp: int) -> list[str]:
    found: list[str] = []
    for mixer in dict.fromkeys(model.mixers):
        found += _mixer(mixer, tp)
        if isinstance(mixer, Attention):
            found += _shard(mixer.heads * mixer.v_head_dim, "the input of the output projection", method, tp)
    for width, name in _widths(model):
        found += _divides(width, name, tp) or _shard(width, name, method, tp)
    return found


def _mixer(mixer: Mixer, tp: int) -> list[str]:
    if isinstance(mixer, Latent):
        return _heads(mixer.heads, tp)
    if isinstance(mixer, Recurrent):
        names = (
            ("linear-attention key heads", "linear-attention value heads")
            if mixer.kind == "gdn"
            else ("", "Mamba heads")
        )
        found = _divides(mixer.key_heads, names[0], tp) if mixer.kind == "gdn" else []
        return found + _divides(mixer.inner if mixer.kind == "mamba1" else mixer.value_heads, names[1], tp)
    return _heads(mixer.heads, tp) or _kv_heads(mixer.kv_heads, tp)


def _heads(heads: int, tp: int) -> list[str]:
    if heads % tp == 0:
        return []
    return [f"{heads} attention heads are not divisible by TP={tp}"]


def _kv_heads(heads: int, tp: int) -> list[str]:
    if heads % tp == 0 or (heads < tp and tp % heads == 0):
        return []
    return [f"{heads} KV heads are not divisible by TP={tp}"]


def _widths(model: Model) -> list[tuple[int, str]]:
    found: dict[tuple[int, str], None] = {}
    for layer in model.layers:
        part = layer.feed_forward
        if isinstance(part, Dense):
            found[part.intermediate, "intermediate_size"] = None
        elif isinstance(part, Experts):
            found[part.intermediate, "the width of an expert"] = None
            if part.shared:
                found[part.shared, "the width of the shared expert"] = None
    return list(found)


def _divides(width: int, name: str, tp: int) -> list[str]:
    return [] if width % tp == 0 else [f"{name} {width} is not divisible by TP={tp}"]


def _shard(width: int, name: str, method: Method, tp: int) -> list[str]:
    """A quantized matrix must be cut between its groups, blocks and tiles."""
    share = width // tp
    if method.block and share % method.block:
        return [f"{name} {width} over {tp} ranks is {share}, not divisible by the FP8 block of {method.block}"]
    if method.group and method.group < width and share % method.group:
        return [f"{name} {width} over {tp} ranks is {share}, not a whole number of groups of {method.group}"]
    if method.marlin and (share % _TILE_OUT or share % _TILE_IN):
        return [f"{name} {width} over {tp} ranks is {share}, not a whole number of Marlin tiles of {_TILE_IN}"]
    return []


def candidates(nodes: int) -> list[tuple[int, int, int]]:
    """(tp, pp, replicas) in the order of preference: replicas, then tensor, then pipeline (spark-facts 6.1)."""
    cuts: list[tuple[int, int]] = [(1, 1)]
    cuts += [(tp, 1) for tp in range(2, nodes + 1)]
    cuts += [(1, pp) for pp in range(2, nodes + 1)]
    cuts += [(2, pp) for pp in range(2, nodes // 2 + 1)]
    return [(tp, pp, nodes // (tp * pp)) for tp, pp in cuts]


def describe(tp: int, pp: int, replicas: int = 1) -> str:
    """ "TP=2", "PP=3", "3 replicas", "TP=2 PP=2"."""
    words: t.Iterable[str] = [f"TP={tp}"] * (tp > 1) + [f"PP={pp}"] * (pp > 1)
    cut = " ".join(words)
    if not cut:
        return "one node" if replicas == 1 else f"{replicas} replicas"
    return cut if replicas == 1 else f"{replicas} x {cut}"
