# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Degraded findings that the operator accepts for a while, each with a reason and an end.

Only ``degraded`` can be waived: what fails or is not known refuses, whoever says otherwise. The record keeps
its outcome.
"""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, time, timedelta

from ..contracts import CheckRecord
from .admission import moment
from .records import title

_TEXTS = ("check", "reason", "expires")


def apply_waivers(records: list[CheckRecord], waivers: t.Sequence[t.Any], now: datetime) -> list[str]:
    """Mark what is waived; the sentences about waivers that do not help."""
    notices = [_applied(records, waiver, now) for waiver in waivers]
    return [notice for notice in notices if notice is not None]


def _applied(records: list[CheckRecord], waiver: t.Any, now: datetime) -> str | None:
    if not isinstance(waiver, dict) or not all(_is_text(waiver.get(key)) for key in _TEXTS):
        return f"waiver {waiver!r} does not help: it needs check, subject, reason and expires"
    name = f"{waiver['check']} {waiver.get('subject') or ''}".strip()
    end = _end(waiver["expires"])
    if end is None:
        return f"waiver {name} does not help: expires is {waiver['expires']!r}, expected a date like 2026-12-31"
    if end <= now:
        return f"waiver {name} does not help: it ended at {moment(end)}"
    record = next((record for record in records if title(record) == name), None)
    if record is None:
        return f"waiver {name} is not used: there is no such check and subject"
    if record["outcome"] != "degraded" or not record["required"]:
        return f"waiver {name} {_why_unused(record)}"
    record["waiver"] = {"reason": waiver["reason"].strip(), "expires": moment(end)}
    return None


def _why_unused(record: CheckRecord) -> str:
    if record["outcome"] == "pass" or not record["required"]:
        return "is not used: nothing refuses there"
    return f"does not help: only degraded can be waived, and this is {record['outcome']}"


def _is_text(value: t.Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _end(text: str) -> datetime | None:
    """A day ends with its last second, UTC."""
    try:
        end = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if len(text.strip()) == len("2026-12-31"):
        return datetime.combine(end.date(), time(), UTC) + timedelta(days=1)
    return end if end.tzinfo else end.replace(tzinfo=UTC)
