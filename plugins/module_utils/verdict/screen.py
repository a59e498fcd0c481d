# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator sees: a table, then ADMIT or REFUSE with the reason and the next thing to do. Text only."""

from __future__ import annotations

import textwrap
import typing as t
from dataclasses import dataclass

from ..contracts import CheckRecord, Discovery, EvidenceFile, Level, PathPlan, Plan, Verdict
from .baseline import Kept
from .cabling import cabling_steps, cage_finding
from .diagnosis import explains_itself
from .levels import levels_pass, of_level
from .outcome import BLOCKED, CHECK_MODE, NOT_ASKED
from .records import Records, about, concerns, is_of_both_halves, is_root, refuses, waived
from .views import planned_cages
from .wording import Line, Style, cleared, count, gbps, microseconds, paragraph, pools, suspect

_STYLE: dict[str, Style] = {"pass": "good", "fail": "bad", "degraded": "warn", "unknown": "warn", "skipped": "warn"}
_WORST_FIRST = ("fail", "unknown", "degraded", "skipped")
_NCCL = ("N10", "N14", "N15", "N16", "N17", "C02", "C03", "C04", "C05", "C06", "C11")
_NOTES = 4
_RESULTS = 64  # the column of results where there is no matrix
_ACTIONS = 4
_REPAIR = "run site.yml"  # as remedies begin that need nobody's hands


@dataclass(frozen=True)
class _Row:
    name: str
    cells: tuple[str, ...]  # both bandwidths, latency, errors
    result: str
    style: Style


def verdict_screen(evidence: EvidenceFile, where: str | None, width: int, check_mode: bool) -> list[Line]:
    """The whole answer of a run."""
    lines = [*_header(evidence, width), Line(""), *_table(evidence, width)]
    lines += _notes(evidence["records"], width)
    lines += _said(evidence, width)
    lines.append(Line(""))
    admitted = evidence["verdict"]["outcome"] == "admit"
    lines += _admit(evidence, width) if admitted else _refuse(evidence, width, check_mode)
    return [*lines, Line(f"evidence {where}{_took(evidence)}" if where else "no evidence was written")]


def memory_lines(kept: Kept) -> list[Line]:
    """What the run has done to the baseline, when it has done something."""
    words = [(kept.added, "kept for later runs to be compared with"), (kept.renewed, "renewed")]
    said = ", ".join(f"{count(number, 'number')} {what}" for number, what in words if number)
    return [Line(f"baseline {said}")] if said else []


def _took(evidence: EvidenceFile) -> str:
    """Such as " · 2 min 12 s"."""
    if evidence["duration_s"] is None:
        return ""
    minutes, seconds = divmod(round(evidence["duration_s"]), 60)
    return f" · {minutes} min {seconds} s" if minutes else f" · {seconds} s"


def levels_screen(evidence: EvidenceFile, where: str | None, width: int, check_mode: bool) -> list[Line]:
    """The answer of a run of some levels: a line for each, the matrix where it was measured, then what comes of it."""
    records, levels = evidence["records"], evidence["levels"]
    lines = [*_header(evidence, width), Line("")]
    if "pair" in levels:
        lines += [*_table(evidence, width), Line("")]
    elif "cluster" in levels:
        lines += _nccl(records, _RESULTS, width)
    lines += [_level_line(level, of_level(records, level)) for level in levels]
    lines += [*_notes(records, width), Line("")]
    if levels_pass(evidence):
        lines.append(Line(f"PARTIAL  {levels_message(evidence)}; only a whole run admits", "good"))
    else:
        lines += _refuse(evidence, width, check_mode)
    return [*lines, Line(f"evidence {where}" if where else "no evidence was written")]


def levels_message(evidence: EvidenceFile) -> str:
    """The same in one sentence."""
    levels = evidence["levels"]
    if not levels_pass(evidence):
        return verdict_message(evidence["verdict"])
    names = " and ".join(filter(None, (", ".join(levels[:-1]), levels[-1])))
    return f"{names} checks pass"


def _level_line(level: Level, mine: Records) -> Line:
    result, style = _summed_up(mine) if mine else ("", "plain")
    return Line(f"{f'  {level:<12}' + count(len(mine), 'check'):<{_RESULTS}}   {result}".rstrip(), style)


def cabling_screen(plan: Plan, discoveries: t.Mapping[str, Discovery], width: int, check_mode: bool) -> list[Line]:
    """The proof of the cabling before anything is changed: one line when it holds, else STOP and the moves."""
    findings = [cage_finding(plan, discoveries, plug) for plug in planned_cages(plan)]
    if all(finding.state == "right" for finding in findings):
        return [Line(f"cabling    {count(len(plan['links']), 'cable')} as planned", "good")]
    certain = any(finding.state in ("wrong", "down") for finding in findings) and not check_mode
    word = "differs from the plan" if certain else "is not proven"
    title = f"{'NOTE' if check_mode else 'STOP'}  cabling {word}; nothing was changed"
    steps = cabling_steps(plan, discoveries)
    column = max((len(step.action) for step in steps), default=0) + 4
    lines = [Line(title, "warn" if check_mode else "bad")]
    for step in steps:
        if column + len(step.reason) + 4 <= width:
            lines.append(Line(f"  {step.action:<{column}}({step.reason})"))
        else:
            lines += [Line(f"  {step.action}"), *paragraph("", f"({step.reason})", width)]
    if check_mode:
        lines.append(Line("  check mode does not raise a link that is down, so it cannot be heard"))
    return lines


def cabling_message(plan: Plan, discoveries: t.Mapping[str, Discovery]) -> str | None:
    """The same in one sentence, for the result of the task; None when the cabling is the planned one."""
    if all(cage_finding(plan, discoveries, plug).state == "right" for plug in planned_cages(plan)):
        return None
    actions = "; ".join(step.action for step in cabling_steps(plan, discoveries))
    return f"The cabling is not the planned one, nothing was changed: {actions}"


def verdict_message(verdict: Verdict) -> str:
    """The verdict in one sentence."""
    if verdict["outcome"] == "admit":
        return "admitted"
    blocked = verdict["blocked_by"]
    more = f" and {len(blocked) - 3} more" if len(blocked) > 3 else ""
    return f"Not admitted: {', '.join(blocked[:3])}{more}"


# --- the table ---


def _header(evidence: EvidenceFile, width: int) -> list[Line]:
    plan = evidence["plan"]
    nodes = len(plan["nodes"])
    what = "single node" if nodes == 1 else f"{plan['topology']} of {nodes}"
    left = f"fabric     {what} · MTU {plan['mtu']} · {count(len(plan['half_links']), 'half-link')}"
    right = f"profile {evidence['profile']}"
    if len(left) + len(right) + 3 > width:
        return [Line(left), Line(f"           {right}")]
    return [Line(f"{left:<{min(width - len(right), 62)}}{right}")]


def _table(evidence: EvidenceFile, width: int) -> list[Line]:
    rows = [_row(path, evidence["records"]) for path in evidence["plan"]["paths"]]
    if not rows:
        return [Line("  one node, no fabric to measure")]
    column = max(len(row.name) for row in rows)
    # A narrow terminal loses the errors first, then the latency; both are in the evidence.
    shown = next((number for number in (4, 3) if 2 + column + 10 * number + 10 <= width), 2)
    titles = ("->  Gb/s", "<-  Gb/s", "us", "errors")[:shown]
    lines = [Line(f"  {'half-link':<{column}}" + "".join(f"{title:>10}" for title in titles), "title")]
    for row in rows:
        cells = "".join(f"{cell:>10}" for cell in row.cells[:shown])
        lines.append(Line(f"  {row.name:<{column}}{cells}   {row.result}", row.style))
    end = 2 + column + 10 * shown
    return [*lines, *_at_once(evidence["records"], end, width), *_nccl(evidence["records"], end, width)]


def _at_once(records: Records, column: int, width: int) -> list[Line]:
    """Both halves of each cable together; ``column`` is where the results of the table begin."""
    mine = [record for record in records if record["check"] == "P03"]
    if not mine:
        return []
    result, style = _summed_up(mine)
    values = " · ".join(gbps(record["measured"].get("sum_gbps")) for record in mine)
    left = f"  both halves at once, per link   {values}"
    if len(left) > column:
        left = f"  both halves at once   {values}"
    line = f"{left:<{column}}   {result}"
    if len(line) <= width:
        return [Line(line, style)]
    below = textwrap.wrap(values, max(width - 4, 30))
    return [
        Line(f"{'  both halves at once':<{column}}   {result}", style),
        *(Line(f"    {row}", style) for row in below),
    ]


def _nccl(records: Records, column: int, width: int) -> list[Line]:
    """What NCCL reached over all nodes, and how; nothing where the profile does not ask for it."""
    mine = [record for record in records if record["check"] in _NCCL]
    pairs = [record for record in records if record["check"] == "P06"]
    mine += pairs if len(pairs) == 1 else []  # then it is the same run
    collective = next((record for record in mine if record["check"] == "C04"), None)
    if collective is None:
        return []
    if collective["signature"] == NOT_ASKED:
        result, style = _summed_up(mine)
        return [Line(f"{'  NCCL was not measured':<{column}}   {result}", style)]
    measured = collective["measured"]
    size = measured.get("size_bytes")
    title = f"  NCCL all_gather {size // (1024 * 1024)} MiB, {measured['ranks']} ranks" if size else "  NCCL all_gather"
    value = f"{measured['busbw_gbs']:.3g} GB/s busbw{_rails(mine)}" if "busbw_gbs" in measured else "-"
    lines = _result_line(title, value, mine, column, width)
    if len(pairs) > 1:
        reached = [record["measured"].get("busbw_gbs") for record in pairs]
        value = " · ".join("-" if each is None else f"{each:.3g}" for each in reached)
        lines += _result_line("  the same, per two nodes", f"{value} GB/s", pairs, column, width)
    soaked = [record for record in records if record["check"] == "C08" and record["required"]]
    if soaked:
        minutes = min(record["measured"].get("seconds", 0) for record in soaked) / 60
        lines += _result_line("  soak of collectives and matrices", f"{minutes:.0f} min", soaked, column, width)
    return lines


def _result_line(title: str, value: str, mine: Records, column: int, width: int) -> list[Line]:
    """One line, or two where there is no room."""
    result, style = _summed_up(mine)
    left = f"{title}   {value}"
    line = f"{left:<{column}}   {result}"
    if len(line) <= width and len(left) <= column:
        return [Line(line, style)]
    return [Line(f"{title:<{column}}   {result}", style), Line(f"    {value}", style)]


def _rails(mine: Records) -> str:
    """On how many halves of the node that used the fewest, when all of them went over one network."""
    networks = {name for record in mine if record["check"] == "C02" for name in record["measured"].get("networks", [])}
    rails = [record["measured"].get("rails", 0) for record in mine if record["check"] == "C03"]
    return f", {'/'.join(sorted(networks))} on {count(min(rails), 'rail')}" if networks and rails else ""


def _summed_up(mine: Records) -> tuple[str, Style]:
    """One word for all of them; the rows above and the notes below say more."""
    signatures = {record["signature"] for record in mine}
    if any(is_root(record) or waived(record) for record in mine):
        return _result(mine)
    if any(record["outcome"] not in ("pass", "skipped") for record in mine):
        return "noted", "warn"
    if BLOCKED in signatures:
        return "blocked", "warn"
    return ("not measured", "warn") if CHECK_MODE in signatures else ("pass", "good")


def _row(path: PathPlan, records: Records) -> _Row:
    mine = [record for record in records if concerns(record, path) and not is_of_both_halves(record)]
    near, far = path["ends"]
    name = f"{near['node']} {near['cage']} {near['half']} - {far['cage']} {far['half']} {far['node']}"
    there = {(r["check"], r["subject"]["from"]): r["measured"] for r in mine if "from" in r["subject"]}
    keys = [f"{end['node']}:{end['cage']}:{end['half']}" for end in (near, far)]
    latencies = [there.get(("P04", key), {}).get("lat_us") for key in keys]
    growths = [record["measured"].get("growth") for record in mine if record["check"] == "L08"]
    counted = [sum(growth.values()) for growth in growths if growth is not None]
    cells = (
        *(gbps(there.get(("P02", key), {}).get("bw_gbps")) for key in keys),
        microseconds(max((value for value in latencies if value is not None), default=None)),
        str(sum(counted)) if counted else "-",
    )
    return _Row(name, cells, *_result(mine))


def _result(mine: Records) -> tuple[str, Style]:
    refusing = [record for record in mine if refuses(record)]
    roots = [record for record in refusing if is_root(record)]
    for outcome in _WORST_FIRST:
        checks = dict.fromkeys(record["check"] for record in roots if record["outcome"] == outcome)
        if checks:
            return f"{outcome}  {' '.join(checks)}", _STYLE[outcome]
    if any(record["signature"] == CHECK_MODE for record in refusing):
        return "not measured", "warn"
    if refusing:
        return refusing[0]["message"], "bad"
    accepted = dict.fromkeys(record["check"] for record in mine if waived(record))
    return (f"waived  {' '.join(accepted)}", "warn") if accepted else ("pass", "good")


def _notes(records: Records, width: int) -> list[Line]:
    sentences = _by_check(record for record in records if _is_noted(record))
    lines = []
    for sentence in sentences[:_NOTES]:
        lines += paragraph("noted", sentence, width, "warn")
    if len(sentences) > _NOTES:
        lines += paragraph("", f"and {count(len(sentences) - _NOTES, 'more check')} in the evidence", width, "warn")
    return [Line(""), *lines] if lines else []


def _said(evidence: EvidenceFile, width: int) -> list[Line]:
    """What the operator has accepted, and what did not help."""
    lines = []
    for record in filter(waived, evidence["records"]):
        waiver = record["waiver"]
        sentence = f"{about(record)}: {record['message']}; accepted until {waiver['expires']}: {waiver['reason']}"
        lines += paragraph("waived", sentence, width, "warn")
    for notice in evidence["verdict"].get("notices", []):
        lines += paragraph("note", notice, width, "warn")
    return [Line(""), *lines] if lines else []


def _is_noted(record: CheckRecord) -> bool:
    """What nobody asked for has its line in the table."""
    observed = not record["required"] and record["outcome"] not in ("pass", "skipped")
    return observed and record["signature"] != NOT_ASKED


# --- the end ---


def _admit(evidence: EvidenceFile, width: int) -> list[Line]:
    title = f"ADMIT  {' '.join(evidence['plan']['nodes'])}"
    days = evidence["verdict"].get("admission_days")
    if days is None:
        return [Line(title, "good")]
    holds = f"{count(days, 'day')} at most, this boot, these versions"
    if len(title) + len(holds) + 4 <= width:
        return [Line(f"{title}    {holds}", "good")]
    return [Line(title, "good"), Line(f"       {holds}", "good")]


def _refuse(evidence: EvidenceFile, width: int, check_mode: bool) -> list[Line]:
    verdict, records, plan = evidence["verdict"], evidence["records"], evidence["plan"]
    diagnosis = verdict["diagnosis"]
    lines = [Line("WOULD NOT ADMIT  check mode measures nothing" if check_mode else "REFUSE", "bad")]
    kept_out = verdict.get("quarantine", [])
    reasons = [f"{entry['node']} is in quarantine since {entry['since']} for {entry['reason']}" for entry in kept_out]
    for index, reason in enumerate([*_reasons(records), *reasons]):
        lines += paragraph("because" if index == 0 else "", reason, width)
    if diagnosis["suspects"]:
        words = [suspect(name, plan) for name in _wholes(diagnosis["suspects"])]
        lines += paragraph("suspect", ", ".join(dict.fromkeys(words)), width)
        lines += paragraph("cleared", cleared(diagnosis["exonerated"]), width)
    actions = [*_actions(records, diagnosis["next_action"]), *(entry["release"] for entry in kept_out)]
    for index, action in enumerate(actions):
        number = f"{index + 1}. " if len(actions) > 1 else ""
        lines += paragraph("do next" if index == 0 else "", f"{number}{action}", width)
    if "levels" in evidence:
        return lines
    serve = f"{pools(verdict['valid_pools'], plan['nodes'])}; nothing was started"
    return lines if check_mode else lines + paragraph("can serve", serve, width)


def _wholes(suspects: list[str]) -> list[str]:
    """Without the ports and cages of a node, and the ports of a cage, that is a suspect itself."""
    wholes = {name.partition(" ")[2] for name in suspects if name.startswith(("node ", "cage "))}

    def is_piece(name: str) -> bool:
        kind, _blank, what = name.partition(" ")
        parts = what.split(":")
        return kind in ("port", "cage") and any(":".join(parts[:size]) in wholes for size in range(1, len(parts)))

    return [name for name in suspects if not is_piece(name)]


def _reasons(records: Records) -> list[str]:
    """One sentence for each check that refuses, with the first of its subjects."""
    return _by_check(record for record in records if is_root(record))


def _by_check(records: t.Iterable[CheckRecord]) -> list[str]:
    """One sentence for each check, with the first of its subjects."""
    found: dict[str, list[CheckRecord]] = {}
    for record in records:
        found.setdefault(record["check"], []).append(record)
    return [
        f"{about(same[0])}: {same[0]['message']}" + (f" (and {len(same) - 1} more)" if len(same) > 1 else "")
        for same in found.values()
    ]


def _actions(records: Records, next_action: str | None) -> list[str]:
    remedies: list[tuple[CheckRecord | None, str]] = [(None, next_action)] if next_action else []
    for record in records:
        if is_root(record) and explains_itself(record):
            # The moves of plugs belong together; of other remedies the first will do.
            chosen = record["remedy"] if record["check"] == "L09" else record["remedy"][:1]
            remedies += [(record, remedy) for remedy in chosen]
    repairs = {remedy: record for record, remedy in reversed(remedies) if record and remedy.startswith(_REPAIR)}
    actions = [remedy for _record, remedy in remedies]
    if len(repairs) > 1:
        together = _repair(list(reversed(repairs.values())))
        actions = [together if action in repairs else action for action in actions]
    return list(dict.fromkeys(actions))[:_ACTIONS]


def _repair(records: Records) -> str:
    """One run repairs them all, so it is one thing to do."""
    checks = ", ".join(sorted({record["check"] for record in records}))
    nodes = ", ".join(dict.fromkeys(record["subject"]["node"] for record in records))
    return f"{_REPAIR}: it repairs {checks} on {nodes}"
