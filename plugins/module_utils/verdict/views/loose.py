# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what may have any shape: a node that sends nonsense is a finding, not a crash."""

from __future__ import annotations

import typing as t


def get(value: t.Any, key: str) -> t.Any:
    """The value of a key; None when there is none, or nothing that could have one."""
    return value.get(key) if isinstance(value, dict) else None


def dicts(value: t.Any) -> list[dict[str, t.Any]]:
    """The mappings of a list; none when it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def first(entries: t.Any, wanted: t.Callable[[t.Any], bool]) -> t.Any:
    """The one entry that is wanted; None when there is none, or more than one (then nobody knows which holds)."""
    found = []
    for entry in dicts(entries):
        try:
            if wanted(entry):
                found.append(entry)
        except (KeyError, TypeError):
            continue
    return found[0] if len(found) == 1 else None
