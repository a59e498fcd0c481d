# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was read to check records: every check of the profile on every subject of the plan.

Two rules make it fail closed. A check whose input is missing or malformed answers ``unknown``, before its function is
called. And a check that stands on a finding is ``skipped``, so that one cause gives one finding.
"""

from __future__ import annotations

import graphlib
import typing as t
from dataclasses import replace

from ..contracts import SCHEMA, Cause, CheckRecord, Failure
from ..probe.busy import BUSY
from ..shape import answers, fits
from .checks import CHECKS, Check, catalogue
from .limits import Limits
from .outcome import BLOCKED, CHECK_MODE, NO_BASELINE, NOT_ASKED, Outcome, skipped, unknown
from .profiles import parsed_limits
from .registry import Scope
from .views import OF_NCCL, ClusterView, Reading, View, views

Judged = dict[tuple[str, str], Outcome]  # (check id, subject key)

# Which command a fact comes from, to find what the node says about it.
_READ_WITH = {
    "gpus": "nvidia-smi",
    "gpu_processes": "nvidia-smi",
    "kernel_log": "journalctl",
    "addresses": "ip",
    "routes": "ip",
    "ipv4": "ip",
    "rdma": "rdma",
    "active_mtu": "ibv_devinfo",
    "packages": "dpkg-query",
}

_SCOPES: tuple[Scope, ...] = (
    "node",
    "rank",
    "half",
    "cage",
    "direction",
    "pair",
    "rank_pair",
    "cluster",
    "collective",
    "number",
)


def judge(reading: Reading, run_id: str, only: t.Collection[str] | None = None) -> list[CheckRecord]:
    """The records of all checks of the profile, or of some, in the order of the catalogue."""
    required = set(reading.required)
    limits = parsed_limits(reading.profile)
    chosen = [check for check in catalogue() if check.id in limits and (only is None or check.id in only)]
    judged: Judged = {}
    labels: dict[tuple[str, str], str] = {}
    roots: dict[tuple[str, str], str] = {}
    subjects = {scope: list(views(scope, reading)) for scope in _SCOPES}
    for check in _parents_first(chosen):
        for view in subjects[check.scope]:
            key = (check.id, view.key)
            labels[key] = f"{check.id} {view.label}"
            outcome = evaluate(check, view, limits[check.id])
            blocker = _blocker(check, view, outcome, judged, required)
            if blocker is not None and outcome.signature not in (CHECK_MODE, NOT_ASKED):
                roots[key] = roots.get(blocker, labels[blocker])
                outcome = _blocked(outcome, roots[key])
            judged[key] = outcome
    return [
        _record(run_id, check, view, judged[check.id, view.key], check.id in required, reading.profile["name"])
        for check in chosen
        for view in subjects[check.scope]
    ]


def evaluate(check: Check, view: View, limits: Limits) -> Outcome:
    """One check on one subject, without its parents."""
    if check.active and view.reading.check_mode:
        return skipped("not measured in check mode", signature=CHECK_MODE)
    sources = view.sources()
    for need in check.needs:
        root, *path = need.split(".")
        value, shape = sources[root]
        if not answers(value, shape, path):
            why = view.reading.why_not_asked(root, path)
            gap = why or _gap(view, root, path)
            cause: Cause = "environment" if BUSY in gap else "instrument"
            return unknown(gap, cause=cause, signature=NOT_ASKED if why else None)
    try:
        return check.judge(view, limits)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return unknown(f"what was read cannot be judged: {type(error).__name__}: {error}")


def cluster_outcomes(reading: Reading, nodes: t.Sequence[str]) -> list[Outcome]:
    """The required comparisons of the cluster, asked of some of its nodes."""
    limits = parsed_limits(reading.profile)
    view = ClusterView(reading, tuple(nodes))
    return [
        evaluate(CHECKS[check_id], view, limits[check_id])
        for check_id in reading.required
        if CHECKS[check_id].scope == "cluster"
    ]


def _gap(view: View, root: str, path: list[str]) -> str:
    """Why an input is missing: nobody sent it, or the node says what went wrong when it read it."""
    value = view.sources()[root][0]
    if value is None or (isinstance(value, list) and None in value):
        return view.absence(root)
    tool = next((_READ_WITH[part] for part in reversed(path) if part in _READ_WITH), None)
    facts = view.sources().get("facts", (None, None))[0]
    problems = facts.get("problems") if isinstance(facts, dict) else None
    said = [str(problem) for problem in problems or [] if tool and f"`{tool}" in str(problem)]
    failure = value.get("failure") if isinstance(value, dict) and root in OF_NCCL else None
    said += [f"{failure['stage']}: {failure['message']}"] if failure and fits(failure, Failure) else []
    return f"{'.'.join(path)} is not known" + (f": {said[0]}" if said else "")


def _parents_first(checks: list[Check]) -> list[Check]:
    by_id = {check.id: check for check in checks}
    graph = {
        check.id: [
            each
            for each in (*check.parents, *check.far_parents, *check.explained_by, *check.gap_parents)
            if each in by_id
        ]
        for check in checks
    }
    return [by_id[check_id] for check_id in graphlib.TopologicalSorter(graph).static_order()]


def _blocker(check: Check, view: View, own: Outcome, judged: Judged, required: set[str]) -> tuple[str, str] | None:
    """The first parent that makes this answer worthless. An observed check never blocks: it may not refuse."""
    asked = [(parent, key) for parent in check.parents for key in view.related(CHECKS[parent].scope)]
    asked += [(parent, node) for parent in check.far_parents for node in view.far_nodes()]
    asked += [(reason, key) for reason in check.explained_by for key in view.related(CHECKS[reason].scope)]
    if own.name == "unknown":
        asked += [(parent, key) for parent in check.gap_parents for key in (*view.related("rank"), *view.far_nodes())]
    for parent, key in asked:
        outcome = judged.get((parent, key)) if parent in required else None
        same_gap = key == view.key and parent not in check.explained_by
        same_gap = same_gap or (key in view.pieces and own.name == "unknown")
        if outcome is not None and _blocks(outcome, same_gap):
            return parent, key
    return None


def _blocks(outcome: Outcome, same_gap: bool) -> bool:
    """A parent that failed. One that is not known only hides the same gap, never what was measured elsewhere."""
    return outcome.name in ("fail", "skipped") or (outcome.name == "unknown" and same_gap)


def _blocked(outcome: Outcome, root: str) -> Outcome:
    """What was measured stays in the record; the judgement is withheld."""
    return replace(outcome, name="skipped", message=f"blocked by {root}", cause=None, remedy=(), signature=BLOCKED)


def _record(run_id: str, check: Check, view: View, outcome: Outcome, required: bool, profile: str) -> CheckRecord:
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "check": check.id,
        "level": view.level or check.level,
        "subject": view.subject,
        "outcome": outcome.name,
        "required": required and outcome.signature != NO_BASELINE,  # else no cluster could have a first run
        "cause": outcome.cause,
        "signature": outcome.signature,
        "measured": outcome.measured,
        "threshold": outcome.threshold and outcome.threshold | {"profile": profile},
        "evidence": outcome.evidence,
        "message": outcome.message,
        "remedy": list(outcome.remedy),
    }
