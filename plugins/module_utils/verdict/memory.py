# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves for the next ones to be compared with."""

from __future__ import annotations

from dataclasses import dataclass

from ..contracts import CheckRecord, EvidenceFile
from .baseline import Kept, Marks, Numbers, keep
from .records import subject_key
from .views import HalfView, Reading, measured_numbers, views


@dataclass(frozen=True, slots=True)
class Memory:
    """What the evidence folder holds beside the evidence."""

    numbers: Numbers
    marks: Marks


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a run makes of it."""

    kept: Kept
    marks: Marks


def remember(reading: Reading, evidence: EvidenceFile, before: Memory, date: str, renew: bool) -> Remembered:
    """Only an admitted run says what is right: of a refused one neither numbers nor carriers are kept.

    Where this run has changed the links itself, the carriers it took away are counted from here on, admitted or not.
    """
    run_id, admitted = evidence["run_id"], evidence["verdict"]["outcome"] == "admit"
    kept = keep(before.numbers, measured_numbers(reading) if admitted else {}, run_id, date, renew)
    settled = {subject_key(record) for record in evidence["records"] if _is_settled(record)}
    halves = [view for view in views("half", reading) if isinstance(view, HalfView) and view.key in settled]
    fresh = [view.mark(run_id, date) for view in halves if admitted or view.was_changed]
    return Remembered(kept, dict(before.marks) | {mark["half"]: mark for mark in fresh if mark is not None})


def _is_settled(record: CheckRecord) -> bool:
    """A half is marked where L07 was asked, and not soon after a boot: the drops that still come are the boot's."""
    return record["check"] == "L07" and record["measured"].get("settled") is True
