# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of the gate: numbers of admitted runs (C07), and how often every link had lost its carrier (L07).

Drift must not creep: a number that is kept stays until the operator has it renewed. A file that is not what we wrote is
refused and never counts as empty, for then the next run would bless whatever it measures.
"""

from __future__ import annotations

import json
import math
import typing as t
from dataclasses import dataclass

from ..contracts import SCHEMA, Baseline, BaselineNumber, CarrierMark, CarrierMarks
from ..shape import fits

BASELINE_FILE = "baseline.json"
CARRIERS_FILE = "carriers.json"


class NumberKey(t.NamedTuple):
    """What a number is of. Only numbers of the same key are ever compared."""

    profile: str
    topology: str
    subject: str
    tool: str
    size_bytes: int
    number: str


Numbers = t.Mapping[NumberKey, BaselineNumber]
Marks = t.Mapping[str, CarrierMark]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run did to the baseline."""

    numbers: Numbers
    added: int
    renewed: int

    @property
    def changed(self) -> bool:
        return bool(self.added or self.renewed)


def keep(known: Numbers, measured: t.Mapping[NumberKey, float], run_id: str, date: str, renew: bool) -> Kept:
    """The baseline after an admitted run: what was missing is added; what is there is replaced only to renew it."""
    # Nothing can be compared with zero, and nothing that was admitted is zero.
    usable = {key: value for key, value in measured.items() if math.isfinite(value) and value > 0}
    added = usable.keys() - known.keys()
    renewed = usable.keys() & known.keys() if renew else set()
    fresh = {key: _number(key, usable[key], run_id, date) for key in usable if key in added or key in renewed}
    return Kept(dict(known) | fresh, len(added), len(renewed))


def _number(key: NumberKey, value: float, run_id: str, date: str) -> BaselineNumber:
    return {
        "profile": key.profile,
        "topology": key.topology,
        "subject": key.subject,
        "tool": key.tool,
        "size_bytes": key.size_bytes,
        "number": key.number,
        "value": value,
        "run_id": run_id,
        "date": date,
    }


# --- files ---


def baseline_document(numbers: Numbers) -> Baseline:
    return {"schema": SCHEMA, "numbers": [numbers[key] for key in sorted(numbers)]}


def carriers_document(marks: Marks) -> CarrierMarks:
    return {"schema": SCHEMA, "marks": [marks[half] for half in sorted(marks)]}


def parse_baseline(text: str | None, where: str) -> dict[NumberKey, BaselineNumber]:
    """The numbers of a baseline file; none when there is no file. Raises ValueError with what to do."""
    if text is None:
        return {}
    numbers = _entries(text, where, Baseline, "numbers", "the next admitted run then starts a new baseline")
    known = {_key(number): number for number in numbers}
    if len(known) < len(numbers):
        raise ValueError(f"{where} has two numbers of one kind; move it away, then the next admitted run starts anew")
    if any(number["value"] <= 0 for number in numbers):
        raise ValueError(
            f"{where} has a number that is not above zero; move it away, then the next admitted run starts anew"
        )
    return known


def parse_carriers(text: str | None, where: str) -> dict[str, CarrierMark]:
    """The marks of a carrier file by their half; none when there is no file. Raises ValueError with what to do."""
    if text is None:
        return {}
    marks = _entries(text, where, CarrierMarks, "marks", "lost carriers are then counted since the last boot")
    known = {mark["half"]: mark for mark in marks}
    if len(known) < len(marks):
        raise ValueError(f"{where} has two marks of one half; move it away, then the next admitted run starts anew")
    return known


def _key(number: BaselineNumber) -> NumberKey:
    return NumberKey(
        number["profile"],
        number["topology"],
        number["subject"],
        number["tool"],
        number["size_bytes"],
        number["number"],
    )


def _entries(text: str, where: str, shape: t.Any, entries: str, afterwards: str) -> list[t.Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not fits(document, shape) or document["schema"] != SCHEMA:
        raise ValueError(f"{where} is not a file that this gate wrote (schema {SCHEMA}); move it away, {afterwards}")
    return t.cast("list[t.Any]", document[entries])
