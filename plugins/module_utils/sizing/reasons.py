# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the plan is what it is, and what to beware of, in sentences."""

from __future__ import annotations

import typing as t

from ..contracts.serving import Engine, ModelFacts, QuantizationOption
from .evaluate import Evaluation, Subject
from .memory import GIB, MIB, OVERHEAD
from .parallel import describe, layer_split
from .policy import KV_FP8, row
from .roofline import single_stream
from .weights import rank_bytes

PIPELINE = "pipeline parallelism adds capacity, not single-stream speed: a token visits the stages one after another"
_MOST_NODES = 64  # up to which the search for a large enough cluster goes


def explain(
    subject: Subject,
    best: Evaluation,
    evaluations: t.Sequence[Evaluation],
    options: t.Sequence[QuantizationOption],
    nodes: int,
    asked: bool,
) -> list[str]:
    if not best.fits:
        other = next((one for one in evaluations if one.fits), None)
        return _does_not_fit(subject, best, options, nodes, other)
    lines = [_choice(best, evaluations, asked), _budget(best)]
    if best.max_model_len < subject.model.max_length:
        lines.append(_shorter(best))
    lines += subject.weights.notes
    return lines


def _choice(best: Evaluation, evaluations: t.Sequence[Evaluation], asked: bool) -> str:
    if asked:
        return f"{describe(best.tp, best.pp)} was asked for"
    if best.tp == best.pp == 1:
        if best.dp == 1:
            return "the model fits one node, and nothing is faster without more of them"
        return _replicas(best, evaluations)
    gain = PIPELINE
    if best.pp == 1:
        gain = f"TP={best.tp} comes before pipeline parallelism: its nodes read the weights at the same time"
    return ". ".join([*_passed_over(evaluations[: evaluations.index(best)]), gain])


def _replicas(best: Evaluation, evaluations: t.Sequence[Evaluation]) -> str:
    why = f"the model fits one node: {best.dp} replicas carry the most requests, and no cable is in their way"
    subject = best.subject
    alone = single_stream(subject.model, subject.weights, best.speed)
    pair = next((one for one in evaluations if one.tp > 1 and one.fits), None)
    fast = 0.0 if pair is None else single_stream(subject.model, subject.weights, pair.speed)
    if pair is None or fast <= alone:
        return why
    return f"{why}. {describe(pair.tp, pair.pp)} serves one request faster ({fast:.0f} tok/s at most, not {alone:.0f})"


def _passed_over(before: t.Sequence[Evaluation]) -> list[str]:
    """The ways that are preferred and do not serve, by what is wrong with them."""
    groups = {
        "too large": [one for one in before if not one.refusals and not one.fits],
        "refused, for {reason}": [one for one in before if one.refusals],
        "short of context, {context} tokens at most": [one for one in before if one.fits],
    }
    return [
        f"{', '.join(dict.fromkeys(describe(one.tp, one.pp) for one in ways))}:"
        f" {words.format(reason=ways[0].reason, context=ways[0].max_model_len)}"
        for words, ways in groups.items()
        if ways
    ]


def _budget(best: Evaluation) -> str:
    node, share = best.decider, best.limits.utilisation
    of = f"{share:.0%} of {node.total / GIB:.1f} GiB"
    if node.free is not None and best.budget < int(node.total * share):
        of = f"{node.free / GIB:.1f} GiB free, less a reserve"
    decides = "" if len({one.total for one in best.nodes}) == 1 else "the smallest node decides: "
    return (
        f"{decides}{node.name} gives {best.budget / GIB:.1f} GiB ({of}); the engine takes {OVERHEAD / GIB:.0f},"
        f" the heaviest rank {max(best.weights) / GIB:.1f}, and {best.room / GIB:.1f} are left for the cache"
    )


def _shorter(best: Evaluation) -> str:
    limit = best.subject.model.max_length
    if best.limits.max_model_len is not None:
        return f"the model knows {limit} tokens of context; {best.max_model_len} were asked for"
    need = best.cache.request_blocks(limit) * max(best.cache.block_bytes()) / GIB
    return (
        f"max_model_len is {best.max_model_len} and not the {limit} that the model knows: a request of that length"
        f" needs {need:.1f} GiB of cache on a rank; an FP8 cache halves it"
    )


# --- when it does not fit ---


def _does_not_fit(
    subject: Subject,
    best: Evaluation,
    options: t.Sequence[QuantizationOption],
    nodes: int,
    other: Evaluation | None,
) -> list[str]:
    count = "one node" if nodes == 1 else f"{nodes} nodes"
    lines = [f"{describe(best.tp, best.pp)} on {count}: {reason}" for reason in best.obstacles]
    if other is not None:
        return [*lines, f"{describe(other.tp, other.pp, other.dp)} would serve it", *subject.weights.notes]
    if not best.refusals and best.room <= 0:
        lines.append(_enough(subject, best))
    good = [one for one in options if one["fits"]]
    proven = next((one for one in good if one["state"] in ("ok", "flag")), None)
    if proven is not None:
        lines.append(
            f"the safest format that would fit is {proven['method']}:"
            f" {proven['weights_bytes'] / GIB:.0f} GiB, {describe(proven['tp'], proven['pp'], proven['dp'])}"
        )
    elif not best.refusals:
        lines.append("no format that the engine is known to serve on GB10 makes it fit these nodes")
    return [*lines, *subject.weights.notes]


def _enough(subject: Subject, best: Evaluation) -> str:
    """How many such nodes would hold the weights and a little cache."""
    model = subject.model
    weights = f"its weights are {subject.weights.total / GIB:.0f} GiB"
    if subject.drafter is not None:
        return weights
    for stages in range(best.pp + 1, min(_MOST_NODES, len(model.layers)) + 1):
        heaviest = max(rank_bytes(model, subject.weights, layer_split(len(model.layers), stages), 1))
        if heaviest + OVERHEAD + MIB * 1024 <= best.budget:
            return f"{weights}; {stages} such nodes would hold it (PP={stages})"
    return f"{weights}, more than {_MOST_NODES} such nodes hold"


# --- warnings ---


def warnings_of(
    facts: ModelFacts,
    subject: Subject,
    best: Evaluation,
    options: t.Sequence[QuantizationOption],
    engine: Engine,
) -> list[str]:
    lines = list(facts["problems"])
    if not best.fits:
        return lines
    policy = row(subject.method.name, engine)
    if policy.worth_a_warning:
        lines.append(f"{subject.method.name} with {engine} is {_STATE[policy.state]}: {policy.note} [{policy.source}]")
        lines += _safer(options, best.tp * best.pp)
    if subject.kv_cache_dtype.startswith("fp8") and not subject.method.kv_fp8:
        lines.append(KV_FP8)
    if best.decider.free is None:
        lines.append(
            "the free memory was not measured: the plan takes a share of the whole and trusts that so much is free when"
            " the engine starts"
        )
    if engine == "trtllm":
        lines.append("the cache is counted as vLLM lays it out; TensorRT-LLM has its own blocks")
        if best.tp * best.pp > 2:
            lines.append("no public run of TensorRT-LLM on more than two Sparks is known: experimental")
    if subject.model.extra and subject.weights.source != "headers":
        lines.append(f"{subject.model.extra} is not counted: there were no tensor sizes to count it by")
    return list(dict.fromkeys(lines))


def _safer(options: t.Sequence[QuantizationOption], ranks: int) -> list[str]:
    """The options are in the order of safety; one that is not proven, or takes more nodes, is not named."""
    good = [one for one in options if one["fits"] and one["tp"] * one["pp"] <= ranks]
    proven = next((one for one in good if one["state"] == "ok"), None)
    if proven is None:
        return []
    way = describe(proven["tp"], proven["pp"], proven["dp"])
    return [f"{proven['method']} is proven and would fit: {proven['weights_bytes'] / GIB:.0f} GiB, {way}"]


_STATE = {
    "flag": "to be used with care",
    "unproven": "unproven on GB10",
    "broken": "broken",
    "unsupported": "not supported",
}
