# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contract 4: what a model folder holds, and the serving plan made of it."""

from __future__ import annotations

import typing as t

PartKind = t.Literal["embedding", "head", "norm", "attention", "kv", "down", "mlp", "experts", "drafter", "other"]
WeightSource = t.Literal["headers", "index", "formula"]
Engine = t.Literal["vllm", "trtllm"]
QuantizationState = t.Literal["ok", "flag", "unproven", "broken", "unsupported"]


class WeightPart(t.TypedDict):
    """All tensors of one kind in one layer, in stored bytes."""

    layer: int | None  # None: outside the layers
    kind: PartKind
    bytes: int


class WeightFacts(t.TypedDict):
    source: t.Literal["headers", "index"] | None  # None: neither weights nor an index were found
    total_bytes: int | None
    files: list[str]
    missing: list[str]  # named by the index, not in the folder
    parts: list[WeightPart]  # empty unless the source is headers


class ModelFacts(t.TypedDict):
    """A Hugging Face model folder, without its weights."""

    schema: str
    path: str
    config: dict[str, t.Any]
    quantization: dict[str, t.Any] | None  # quantization_config, or what hf_quant_config.json says
    weights: WeightFacts
    problems: list[str]


class MemoryPlan(t.TypedDict):
    node: str  # the smallest one: it decides for all
    total_bytes: int
    free_bytes: int | None  # None: not measured
    reserve_bytes: int  # left to the system
    budget_bytes: int  # for the engine
    overhead_bytes: int  # of the engine besides weights and KV cache


class Ceilings(t.TypedDict):
    """Bounds from memory bandwidth and compute; None when the model cannot be served.

    For the weights as they are stored, without speculative decoding: an engine that quantizes more when it loads reads
    less.
    """

    single_stream_tok_s: float | None
    single_stream_full_context_tok_s: float | None  # the cache of max_model_len is read for each token
    single_stream_realistic_tok_s: list[float]  # from, to
    aggregate_tok_s: float | None  # of all replicas, at max_num_seqs each
    formula: dict[str, str]


class Alternative(t.TypedDict):
    tp: int
    pp: int
    dp: int
    nodes: int
    fits: bool
    reason: str
    kv_tokens: int
    max_model_len: int
    single_stream_tok_s: float | None
    aggregate_tok_s: float | None


class QuantizationOption(t.TypedDict):
    """The same model in another format: would it fit, and is the format to be trusted on this engine?"""

    method: str
    state: QuantizationState
    weights_bytes: int
    fits: bool
    tp: int
    pp: int
    dp: int
    note: str
    source: str


class ServingPlan(t.TypedDict):
    schema: str
    model: str
    architecture: str
    engine: Engine
    pool: list[str]
    spare: list[str]  # nodes that the plan leaves free
    tp: int
    pp: int
    dp: int  # replicas
    layers_per_stage: list[int]
    quantization: str
    kv_cache_dtype: str
    weights_source: WeightSource | None
    weights_bytes: int  # of the whole model
    weights_bytes_per_rank: list[int]  # of one replica, stage by stage, then rank by rank
    kv_bytes_per_token_rank: list[int]
    state_bytes_per_request_rank: list[int]  # windows and recurrent states: they do not grow with the length
    memory: MemoryPlan | None
    kv_tokens: int  # of one replica, as the engine will log it
    kv_cache_memory_bytes: int
    max_model_len: int
    max_num_seqs: int
    flags: list[str]
    environment: dict[str, str]
    fits: bool
    reason: str  # for a table; why says more
    why: list[str]
    warnings: list[str]
    alternatives: list[Alternative]
    quantizations: list[QuantizationOption]
    ceilings: Ceilings
