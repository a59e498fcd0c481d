# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check says about one subject."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..contracts import Cause, Evidence, OutcomeName

Grade = t.Literal["pass", "degraded", "fail"]

# Marks of outcomes that are not findings of their own.
BLOCKED = "blocked"
CHECK_MODE = "check-mode"
NOT_ASKED = "not-asked"  # nobody asked for this measurement
FIRST_RUN = "first-run"  # a node that was never admitted is not one that lost its admission
NO_BASELINE = "no-baseline"  # a first run has nothing to be compared with


def no_evidence() -> Evidence:
    return {"argv": [], "rc": None, "raw_sha256": None}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One of five answers with its reason; ``remedy`` lists what to try, in order."""

    name: OutcomeName
    message: str
    cause: Cause | None = None
    remedy: tuple[str, ...] = ()
    measured: dict[str, t.Any] = field(default_factory=dict)
    threshold: dict[str, t.Any] = field(default_factory=dict)
    signature: str | None = None
    evidence: Evidence = field(default_factory=no_evidence)


def passed(message: str, **details: t.Any) -> Outcome:
    return Outcome("pass", message, **details)


def degraded(message: str, *, cause: Cause, remedy: t.Sequence[str], **details: t.Any) -> Outcome:
    return Outcome("degraded", message, cause, tuple(remedy), **details)


def failed(message: str, *, cause: Cause, remedy: t.Sequence[str], **details: t.Any) -> Outcome:
    return Outcome("fail", message, cause, tuple(remedy), **details)


def unknown(message: str, *, cause: Cause = "instrument", remedy: t.Sequence[str] = (), **details: t.Any) -> Outcome:
    return Outcome("unknown", message, cause, tuple(remedy), **details)


def skipped(message: str, *, signature: str, **details: t.Any) -> Outcome:
    return Outcome("skipped", message, signature=signature, **details)


def graded(grade: Grade, message: str, *, cause: Cause, remedy: t.Sequence[str], **details: t.Any) -> Outcome:
    """A number against its limit: a pass needs neither cause nor remedy."""
    if grade == "pass":
        return passed(message, **details)
    return Outcome(grade, message, cause, tuple(remedy), **details)
