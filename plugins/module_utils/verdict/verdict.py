# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict over the whole plan, and the evidence file that keeps it (contracts 2 and 3)."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

from ..contracts import SCHEMA, CheckRecord, EvidenceFile, Verdict
from .canonical import digest
from .cost import matrix_cost
from .diagnosis import diagnose
from .identity import identities
from .judge import judge
from .outcome import BLOCKED
from .pools import valid_pools
from .profiles import validated
from .records import check_plan, refuses, title
from .views import Reading
from .waivers import apply_waivers


def decide(
    reading: Reading,
    run_id: str,
    started: str | None = None,
    duration_s: float | None = None,
    *,
    waivers: t.Sequence[t.Any] = (),
    now: datetime | None = None,
) -> EvidenceFile:
    """Judge everything. Raises ValueError when the plan or the profile could not refuse what must be refused."""
    check_plan(reading.plan)
    validated(reading.profile)
    records = judge(reading, run_id)
    notices = apply_waivers(records, waivers, now or datetime.now(UTC))
    decided: Verdict = {**verdict(reading, records, run_id), "notices": notices}
    return evidence_file(reading, records, decided, started, duration_s)


def evidence_file(
    reading: Reading, records: list[CheckRecord], verdict: Verdict, started: str | None, duration_s: float | None
) -> EvidenceFile:
    """What is kept of a run: who was judged by what, every record, and the verdict."""
    evidence: EvidenceFile = {
        "schema": SCHEMA,
        "run_id": verdict["run_id"],
        "started": started,
        "duration_s": duration_s,
        "plan": reading.plan,
        "profile": reading.profile["name"],
        "hashes": {"plan": digest(reading.plan), "profile": digest(reading.profile)},
        "nodes": identities(reading),
        "records": records,
        "verdict": verdict,
    }
    cost = matrix_cost(reading.plan["nodes"], reading.measurements)
    return evidence if cost is None else {**evidence, "matrix_cost": cost}


def verdict(reading: Reading, records: list[CheckRecord], run_id: str) -> Verdict:
    """Admit only when every required check of every subject passed, or is degraded and waived."""
    refusing = [record for record in records if refuses(record)]
    return {
        "outcome": "refuse" if refusing else "admit",
        "diagnosis": diagnose(reading.plan, records),
        "valid_pools": valid_pools(reading, records),
        "blocked_by": [title(record) for record in refusing if record["signature"] != BLOCKED],
        "run_id": run_id,
    }
