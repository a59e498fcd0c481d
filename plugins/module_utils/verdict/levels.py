# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of some levels: quick to ask, able to refuse, never able to admit."""

from __future__ import annotations

import typing as t

from ..contracts import CheckRecord, EvidenceFile, Level, Verdict
from .checks import CHECKS
from .diagnosis import diagnose
from .judge import judge
from .outcome import BLOCKED
from .profiles import validated
from .records import check_plan, refuses, title
from .registry import LEVELS
from .verdict import evidence_file
from .views import Reading

_EVERY: tuple[Level, ...] = tuple(dict.fromkeys(LEVELS.values()))
_ALIVE = "N00"  # of a node that does not answer nothing else can be said


def decide_levels(
    reading: Reading,
    run_id: str,
    levels: t.Collection[str],
    started: str | None = None,
    duration_s: float | None = None,
) -> EvidenceFile:
    """Judge what these levels measure. The outcome is never ``admit``: what was not asked is not known.

    Raises ValueError as ``decide`` does, and where a level is none.
    """
    wanted = [level for level in _EVERY if level in levels]
    if len(wanted) != len(set(levels)) or not wanted:
        raise ValueError(f"levels are {', '.join(_EVERY)}; found {', '.join(sorted(set(levels))) or 'none'}")
    check_plan(reading.plan)
    validated(reading.profile)
    records = judge(reading, run_id, {_ALIVE, *(check.id for check in CHECKS.values() if check.run_with in wanted)})
    refusing = [record for record in records if refuses(record)]
    verdict: Verdict = {
        "outcome": "refuse",
        "diagnosis": diagnose(reading.plan, records),
        "valid_pools": [],
        "blocked_by": [title(record) for record in refusing if record["signature"] != BLOCKED],
        "run_id": run_id,
    }
    return {**evidence_file(reading, records, verdict, started, duration_s), "levels": wanted}


def of_level(records: t.Sequence[CheckRecord], level: Level) -> list[CheckRecord]:
    """The records that a level has measured."""
    return [record for record in records if CHECKS[record["check"]].run_with == level]


def levels_pass(evidence: EvidenceFile) -> bool:
    """Did every required check that was asked pass?"""
    return bool(evidence["records"]) and not any(map(refuses, evidence["records"]))
