# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many parameters each part of a model has (serving 2.4)."""

from __future__ import annotations

from ..contracts.serving import PartKind
from .model import Attention, Dense, Experts, FeedForward, Latent, Layer, Mixer, Model, Recurrent

Counts = dict[PartKind, int]

# The engine pads the vocabulary to a multiple of this before it cuts it.
VOCABULARY_MULTIPLE = 64


def layer_parameters(layer: Layer, hidden: int) -> Counts:
    """Of one layer, by kind. Kinds differ in how tensor parallelism and quantization treat them."""
    counts: Counts = {}
    for part in (_mixer(layer.mixer, hidden), _feed_forward(layer.feed_forward, hidden)):
        for kind, number in part.items():
            counts[kind] = counts.get(kind, 0) + number
    return counts


def embedding_parameters(model: Model) -> int:
    return model.vocabulary * model.hidden


def head_parameters(model: Model) -> int:
    return 0 if model.tied else model.vocabulary * model.hidden


def total_parameters(model: Model) -> int:
    """Without multi-token prediction layers and vision towers."""
    layers = sum(sum(layer_parameters(layer, model.hidden).values()) for layer in model.layers)
    return layers + embedding_parameters(model) + head_parameters(model) + model.hidden


def active_parameters(model: Model) -> int:
    """What one token passes through: the head, but not the table of embeddings, and of the experts only its own."""
    number = model.vocabulary * model.hidden
    for layer in model.layers:
        counts = layer_parameters(layer, model.hidden)
        routed = counts.pop("experts", 0)
        number += sum(counts.values())
        if isinstance(layer.feed_forward, Experts):
            number += routed * layer.feed_forward.top_k // layer.feed_forward.count
    return number


def draft_layer_parameters(model: Model) -> int:
    """A multi-token prediction layer: a whole layer and the projection that joins its two inputs."""
    return sum(layer_parameters(model.layers[-1], model.hidden).values()) + 2 * model.hidden * model.hidden


# --- mixers ---


def _mixer(mixer: Mixer | None, hidden: int) -> Counts:
    if isinstance(mixer, Attention):
        return _attention(mixer, hidden)
    if isinstance(mixer, Latent):
        return _latent(mixer, hidden)
    if isinstance(mixer, Recurrent):
        return _recurrent(mixer, hidden)
    return {}


def _attention(mixer: Attention, hidden: int) -> Counts:
    queries = mixer.heads * mixer.head_dim
    keys_values = mixer.kv_heads * (mixer.head_dim + mixer.v_head_dim)
    output = mixer.heads * mixer.v_head_dim
    attention = hidden * queries * (2 if mixer.gated else 1) + output * hidden
    kv = hidden * keys_values
    if mixer.bias:
        attention += queries
        kv += keys_values
    return {"norm": hidden, "attention": attention, "kv": kv}


def _latent(mixer: Latent, hidden: int) -> Counts:
    query = mixer.heads * (mixer.nope_dim + mixer.rope_dim)
    down = hidden * (mixer.kv_rank + mixer.rope_dim)
    attention = mixer.kv_rank * mixer.heads * (mixer.nope_dim + mixer.v_dim) + mixer.heads * mixer.v_dim * hidden
    if mixer.q_rank is None:
        return {"norm": hidden + mixer.kv_rank, "down": down, "attention": attention + hidden * query}
    return {
        "norm": hidden + mixer.kv_rank + mixer.q_rank,
        "down": down + hidden * mixer.q_rank,
        "attention": attention + mixer.q_rank * query,
    }


def _recurrent(mixer: Recurrent, hidden: int) -> Counts:
    inner, conv = mixer.inner, mixer.conv_width * mixer.kernel
    if mixer.kind == "gdn":
        projections = hidden * (mixer.conv_width + inner) + 2 * hidden * mixer.value_heads + inner * hidden
        return {"norm": hidden + mixer.value_dim, "attention": projections + conv + 2 * mixer.value_heads}
    if mixer.kind == "mamba2":
        projections = hidden * (mixer.conv_width + inner + mixer.value_heads) + inner * hidden
        return {"norm": hidden + inner, "attention": projections + conv + 3 * mixer.value_heads}
    small = inner * (mixer.dt_rank + 2 * mixer.key_dim) + mixer.dt_rank * inner + inner * mixer.key_dim + 3 * inner
    return {"norm": hidden, "attention": hidden * 2 * inner + inner * hidden + conv + small}


# --- feed-forward ---


def _feed_forward(part: FeedForward | None, hidden: int) -> Counts:
    if part is None:
        return {}
    matrices = 3 if part.gated else 2
    if isinstance(part, Dense):
        return {"norm": hidden, "mlp": matrices * hidden * part.intermediate}
    width = part.latent or hidden
    routed = part.count * matrices * width * part.intermediate
    if part.bias:
        routed += part.count * (2 * part.intermediate + hidden)
    mlp = matrices * hidden * part.shared + (2 * hidden * part.latent if part.latent else 0)
    return {"norm": hidden + hidden * part.count, "experts": routed, "mlp": mlp}
