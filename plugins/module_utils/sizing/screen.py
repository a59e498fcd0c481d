# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The serving plan as an operator reads it: the ways, the choice, why, and the flags. Text only."""

from __future__ import annotations

import shlex
import typing as t
from pathlib import PurePath

from ..contracts.serving import Alternative, MemoryPlan, QuantizationOption, ServingPlan
from ..verdict.wording import paragraph
from .memory import GIB
from .parallel import candidates, describe

_COLUMNS = ("way", "nodes", "context", "cache tok", "one stream", "together")
_NO_BREAK = "\N{NO-BREAK SPACE}"  # where a line is not broken
_WIDTHS = (14, 6, 9, 11, 12, 10)


def plan_screen(plan: ServingPlan, width: int, where: str | None = None) -> list[str]:
    """The whole answer, and where it was written to."""
    lines = _header(plan)
    if plan["alternatives"]:
        lines += ["", *_table(plan, width)]
    if plan["fits"]:
        lines += ["", *_ranks(plan)]
    lines += ["", *_outcome(plan, width)]
    return [*lines, f"plan {where}"] if where else lines


# --- what is planned ---


def _header(plan: ServingPlan) -> list[str]:
    name = PurePath(plan["model"]).name
    lines = [f"model      {name} · {plan['architecture']}{_weights(plan)}"]
    if plan["memory"] is not None:
        lines.append(f"memory     {_memory(plan['memory'])}")
    return lines


def _weights(plan: ServingPlan) -> str:
    if not plan["weights_bytes"]:
        return ""
    known_by = {"headers": "tensors", "index": "index", "formula": "architecture"}[plan["weights_source"] or "formula"]
    total = plan["weights_bytes"]
    return f" · {plan['quantization']} · {total / GIB:.1f} GiB ({total / 1e9:.1f} GB) by its {known_by}"


def _memory(memory: MemoryPlan) -> str:
    free = "" if memory["free_bytes"] is None else f", {memory['free_bytes'] / GIB:.1f} of them free"
    return (
        f"{memory['total_bytes'] / GIB:.1f} GiB on {memory['node']}{free}; {memory['budget_bytes'] / GIB:.1f} for the"
        f" engine, {memory['overhead_bytes'] / GIB:.0f} of them neither weights nor cache"
    )


# --- the ways ---


def _table(plan: ServingPlan, width: int) -> list[str]:
    chosen: Alternative = {
        "tp": plan["tp"],
        "pp": plan["pp"],
        "dp": plan["dp"],
        "nodes": plan["tp"] * plan["pp"] * plan["dp"],
        "fits": plan["fits"],
        "reason": plan["reason"],
        "kv_tokens": plan["kv_tokens"],
        "max_model_len": plan["max_model_len"],
        "single_stream_tok_s": plan["ceilings"]["single_stream_tok_s"],
        "aggregate_tok_s": plan["ceilings"]["aggregate_tok_s"],
    }
    order = [(tp, pp) for tp, pp, _replicas in candidates(8)]
    ways = sorted([chosen, *plan["alternatives"]], key=lambda way: order.index((way["tp"], way["pp"])))
    title = "  " + "".join(_cell(text, number) for number, text in enumerate(_COLUMNS))
    return [title.rstrip(), *(_way(way, way is chosen, width) for way in ways)]


def _cell(text: str, column: int) -> str:
    return f"{text:<{_WIDTHS[column]}}" if column == 0 else f"{text:>{_WIDTHS[column]}}"


def _way(way: Alternative, chosen: bool, width: int) -> str:
    name = describe(way["tp"], way["pp"], way["dp"])
    if not way["fits"]:
        start = f"  {_cell(name, 0)}{_cell(str(way['nodes']), 1)}   "
        return start + _cut(f"no: {way['reason']}", width - len(start))
    cells = (
        name,
        str(way["nodes"]),
        str(way["max_model_len"]),
        str(way["kv_tokens"]),
        f"{way['single_stream_tok_s']:.2f}",
        f"{way['aggregate_tok_s']:.1f}",
    )
    row = "  " + "".join(_cell(text, number) for number, text in enumerate(cells))
    return f"{row}   <- the plan" if chosen else row


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 3, 20)].rsplit(" ", 1)[0] + "..."


# --- the ranks of the plan ---


def _ranks(plan: ServingPlan) -> list[str]:
    lines = ["  rank  layers  weights GiB  cache GiB  KV bytes/token"]
    cache = plan["kv_cache_memory_bytes"] / GIB
    for rank, (weights, token) in enumerate(
        zip(plan["weights_bytes_per_rank"], plan["kv_bytes_per_token_rank"], strict=True)
    ):
        layers = plan["layers_per_stage"][rank // plan["tp"]]
        lines.append(f"  {rank:<4}  {layers:>6}  {weights / GIB:>11.1f}  {cache:>9.1f}  {token:>14,}")
    if any(plan["state_bytes_per_request_rank"]):
        held = " · ".join(f"{size / 1e6:.1f}" for size in plan["state_bytes_per_request_rank"])
        lines.append(f"  besides, windows and states of each request: {held} MB")
    return lines


# --- the answer ---


def _outcome(plan: ServingPlan, width: int) -> list[str]:
    lines = [_verdict(plan), *_all("because", plan["why"], width)]
    if plan["fits"]:
        lines += _speed(plan, width)
    lines += _all("beware", plan["warnings"], width)
    lines += _formats(plan["quantizations"], width)
    if plan["fits"]:
        lines += _text("flags", " ".join(_pairs(plan["flags"])), width)
    return lines


def _verdict(plan: ServingPlan) -> str:
    if not plan["fits"]:
        return "DOES NOT FIT" if plan["weights_bytes"] else "REFUSED"
    spare = f"   {' '.join(plan['spare'])} stays free" if plan["spare"] else ""
    way = f"{describe(plan['tp'], plan['pp'], plan['dp'])} on {' '.join(plan['pool'])}"
    requests = f"{plan['max_num_seqs']} requests at a time{' each' if plan['dp'] > 1 else ''}"
    return f"FITS  {way}   {plan['max_model_len']} tokens of context, {requests}{spare}"


def _speed(plan: ServingPlan, width: int) -> list[str]:
    found = plan["ceilings"]
    low, high = found["single_stream_realistic_tok_s"]
    one = (
        f"one stream at most {found['single_stream_tok_s']} tok/s = {found['formula']['single_stream']};"
        f" {low} to {high} to be expected; at most {found['single_stream_full_context_tok_s']} with a full context"
    )
    return [
        *_text("ceilings", one, width),
        *_text("", f"all together at most {found['aggregate_tok_s']} tok/s = {found['formula']['aggregate']}", width),
    ]


def _formats(options: t.Sequence[QuantizationOption], width: int) -> list[str]:
    if not options:
        return []
    words = [
        f"{one['method']} {one['weights_bytes'] / GIB:.0f} GiB"
        f" ({describe(one['tp'], one['pp'], one['dp']) if one['fits'] else 'does not fit'}{_doubt(one)})"
        for one in options
    ]
    return _text("formats", "; ".join(words), width)


def _doubt(option: QuantizationOption) -> str:
    return {"ok": "", "flag": ", with care"}.get(option["state"], f", {option['state']}")


def _pairs(flags: t.Sequence[str]) -> list[str]:
    """A flag and its value stay on one line."""
    return [_NO_BREAK.join(map(shlex.quote, flags[start : start + 2])) for start in range(0, len(flags), 2)]


def _all(label: str, sentences: t.Sequence[str], width: int) -> list[str]:
    return [line for number, text in enumerate(sentences) for line in _text("" if number else label, text, width)]


def _text(label: str, text: str, width: int) -> list[str]:
    return [line.text.replace(_NO_BREAK, " ") for line in paragraph(label, text, width)]
