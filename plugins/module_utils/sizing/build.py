# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the facts about a model and the memory of nodes to the serving plan (contract 4). Pure; controller only."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ..contracts import SCHEMA
from ..contracts.serving import Alternative, Engine, MemoryPlan, ModelFacts, QuantizationOption, ServingPlan
from . import roofline
from .architectures import read_model
from .errors import SizingError
from .evaluate import Evaluation, Limits, Subject, pools
from .flags import Settings, engine_flags
from .kv import cache_element_bytes
from .memory import UTILISATION, NodeMemory, batched_tokens, memory_plan
from .parallel import candidates
from .policy import offered, row
from .quantization import BY_NAME, Method, read_method
from .reasons import explain, warnings_of
from .weights import formula_weights, read_weights


@dataclass(frozen=True)
class Wanted:
    """What the operator asks for; None leaves it to the plan."""

    engine: Engine = "vllm"
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    utilisation: float = UTILISATION

    @property
    def cut(self) -> tuple[int, int] | None:
        if self.tensor_parallel is None and self.pipeline_parallel is None:
            return None
        return self.tensor_parallel or 1, self.pipeline_parallel or 1

    @property
    def limits(self) -> Limits:
        return Limits(self.utilisation, self.max_model_len, self.max_num_seqs)


def serving_plan(
    facts: ModelFacts, nodes: t.Sequence[NodeMemory], wanted: Wanted, draft: ModelFacts | None = None
) -> ServingPlan:
    """The plan. A model that cannot be sized or does not fit gives a plan too: one that says so."""
    memory = memory_plan(nodes, wanted.utilisation)
    ranks = _ranks(nodes, wanted)
    try:
        subject = read_subject(facts, wanted, draft)
        evaluations = [evaluation for tp, pp in ranks for evaluation in _evaluate(subject, nodes, wanted, tp, pp)]
        return _plan(facts, subject, nodes, wanted, evaluations)
    except SizingError as error:
        return _refused(facts, wanted, memory, str(error))


def read_subject(facts: ModelFacts, wanted: Wanted, draft: ModelFacts | None = None) -> Subject:
    """The model, its format and its weights; SizingError when one of them is not known."""
    model = read_model(facts["config"])
    method = read_method(facts["quantization"], model.element_bytes)
    policy = row(method.name, wanted.engine)
    if policy.state == "unsupported":
        raise SizingError(f"{wanted.engine} does not serve {method.name} on GB10: {policy.note} ({policy.source})")
    dtype = "fp8" if method.kv_fp8 and wanted.kv_cache_dtype == "auto" else wanted.kv_cache_dtype
    cache_element_bytes(dtype, model.element_bytes)
    subject = Subject(model, method, read_weights(model, method, facts["weights"]), dtype)
    if draft is None:
        return subject
    drafter = read_model(draft["config"])
    drafted = read_weights(drafter, read_method(draft["quantization"], drafter.element_bytes), draft["weights"])
    return replace(subject, drafter=drafter, drafter_bytes=drafted.total)


# --- the choice ---


def _ranks(nodes: t.Sequence[NodeMemory], wanted: Wanted) -> list[tuple[int, int]]:
    """What was asked for first, then the usual candidates."""
    usual = [(tp, pp) for tp, pp, _replicas in candidates(len(nodes))]
    if wanted.cut is None:
        return usual
    tp, pp = wanted.cut
    if tp * pp > len(nodes):
        raise SizingError(
            f"tensor parallel {tp} times pipeline parallel {pp} takes {tp * pp} nodes; there are {len(nodes)}"
        )
    return [(tp, pp), *(cut for cut in usual if cut != (tp, pp))]


def _evaluate(subject: Subject, nodes: t.Sequence[NodeMemory], wanted: Wanted, tp: int, pp: int) -> list[Evaluation]:
    return [
        Evaluation(subject, wanted.limits, pool, tp, pp, len(pool) // (tp * pp))
        for pool in pools(nodes, tp * pp, wanted.utilisation)
    ]


def choose(evaluations: t.Sequence[Evaluation], cut: tuple[int, int] | None = None) -> Evaluation:
    """The first with a comfortable context, else the first that fits, else the one that comes closest."""
    mine = [one for one in evaluations if cut is None or (one.tp, one.pp) == cut]
    good = [one for one in mine if one.fits]
    if good:
        return next((one for one in good if one.comfortable), good[0])
    legal = [one for one in mine if not one.refusals] or mine
    return max(legal, key=lambda one: one.room)


def _plan(
    facts: ModelFacts,
    subject: Subject,
    nodes: t.Sequence[NodeMemory],
    wanted: Wanted,
    evaluations: t.Sequence[Evaluation],
) -> ServingPlan:
    best = choose(evaluations, wanted.cut)
    options = _quantizations(subject, nodes, wanted)
    pool = [node.name for node in best.nodes]
    memory = memory_plan(best.nodes, wanted.utilisation)
    return {
        "schema": SCHEMA,
        "model": facts["path"],
        "architecture": subject.model.architecture,
        "engine": wanted.engine,
        "pool": pool if best.fits else [],
        "spare": [node.name for node in nodes if not best.fits or node.name not in pool],
        "tp": best.tp,
        "pp": best.pp,
        "dp": best.dp,
        "layers_per_stage": list(best.split),
        "quantization": subject.method.name,
        "kv_cache_dtype": subject.kv_cache_dtype,
        "weights_source": subject.weights.source,
        "weights_bytes": subject.weights.total,
        "weights_bytes_per_rank": best.weights,
        "kv_bytes_per_token_rank": _per_rank(best.cache.growing_bytes(), best.tp),
        "state_bytes_per_request_rank": _per_rank(best.cache.bounded_bytes(), best.tp),
        "memory": memory,
        "kv_tokens": best.kv_tokens,
        "kv_cache_memory_bytes": best.room if best.fits else 0,
        "max_model_len": best.max_model_len if best.fits else 0,
        "max_num_seqs": best.max_num_seqs,
        "flags": _flags(best, wanted.engine),
        "environment": dict(row(subject.method.name, wanted.engine).environment) if best.fits else {},
        "fits": best.fits,
        "reason": best.reason,
        "why": explain(subject, best, evaluations, options, len(nodes), asked=wanted.cut is not None),
        "warnings": warnings_of(facts, subject, best, options, wanted.engine),
        "alternatives": [_alternative(one, subject) for one in evaluations if one is not best],
        "quantizations": options,
        "ceilings": _ceilings(best, subject),
    }


def _per_rank(stages: t.Sequence[int], tp: int) -> list[int]:
    return [size for size in stages for _rank in range(tp)]


def _flags(best: Evaluation, engine: Engine) -> list[str]:
    if not best.fits:
        return []
    return engine_flags(
        engine,
        Settings(
            tp=best.tp,
            pp=best.pp,
            max_model_len=best.max_model_len,
            max_num_seqs=best.max_num_seqs,
            batched_tokens=batched_tokens(best.nodes),
            kv_cache_dtype=best.subject.kv_cache_dtype,
            kv_cache_memory_bytes=best.room,
            used_bytes=best.budget,
            largest_total_bytes=max(node.total for node in best.nodes),
        ),
    )


def _ceilings(best: Evaluation, subject: Subject) -> t.Any:
    if not best.fits:
        return roofline.no_ceilings()
    return roofline.ceilings(
        subject.model, subject.weights, subject.method.name, best.speed, best.max_num_seqs, best.cache_reads
    )


def _alternative(one: Evaluation, subject: Subject) -> Alternative:
    fits = one.fits
    speed = roofline.single_stream(subject.model, subject.weights, one.speed) if fits else None
    total = (
        roofline.aggregate(subject.model, subject.weights, subject.method.name, one.speed, one.max_num_seqs)
        if fits
        else None
    )
    return {
        "tp": one.tp,
        "pp": one.pp,
        "dp": one.dp,
        "nodes": len(one.nodes),
        "fits": fits,
        "reason": one.reason,
        "kv_tokens": one.kv_tokens,
        "max_model_len": one.max_model_len if fits else 0,
        "single_stream_tok_s": None if speed is None else round(speed, 2),
        "aggregate_tok_s": None if total is None else round(total, 1),
    }


# --- other formats ---


def _quantizations(subject: Subject, nodes: t.Sequence[NodeMemory], wanted: Wanted) -> list[QuantizationOption]:
    """The same model in the other formats that the engine knows, safest first."""
    rows = [one for one in offered(wanted.engine, bool(subject.model.experts)) if one.method != subject.method.name]
    return [_option(one.method, subject, nodes, wanted) for one in rows]


def _option(name: str, subject: Subject, nodes: t.Sequence[NodeMemory], wanted: Wanted) -> QuantizationOption:
    method: Method = BY_NAME[name]
    policy = row(name, wanted.engine)
    other = replace(subject, method=method, weights=formula_weights(subject.model, method))
    usual = [(tp, pp) for tp, pp, _replicas in candidates(len(nodes))]
    best = choose([one for tp, pp in usual for one in _evaluate(other, nodes, wanted, tp, pp)])
    return {
        "method": name,
        "state": policy.state,
        "weights_bytes": other.weights.total,
        "fits": best.fits and policy.state != "unsupported",
        "tp": best.tp,
        "pp": best.pp,
        "dp": best.dp,
        "note": policy.note,
        "source": policy.source,
    }


# --- refusals ---


def _refused(facts: ModelFacts, wanted: Wanted, memory: MemoryPlan, reason: str) -> ServingPlan:
    names = facts["config"].get("architectures")
    return {
        "schema": SCHEMA,
        "model": facts["path"],
        "architecture": str(names[0]) if isinstance(names, list) and names else "unknown",
        "engine": wanted.engine,
        "pool": [],
        "spare": [],
        "tp": wanted.tensor_parallel or 1,
        "pp": wanted.pipeline_parallel or 1,
        "dp": 0,
        "layers_per_stage": [],
        "quantization": "unknown",
        "kv_cache_dtype": wanted.kv_cache_dtype,
        "weights_source": None,
        "weights_bytes": 0,
        "weights_bytes_per_rank": [],
        "kv_bytes_per_token_rank": [],
        "state_bytes_per_request_rank": [],
        "memory": memory,
        "kv_tokens": 0,
        "kv_cache_memory_bytes": 0,
        "max_model_len": 0,
        "max_num_seqs": 0,
        "flags": [],
        "environment": {},
        "fits": False,
        "reason": reason,
        "why": [reason],
        "warnings": list(facts["problems"]),
        "alternatives": [],
        "quantizations": [],
        "ceilings": roofline.no_ceilings(),
    }
