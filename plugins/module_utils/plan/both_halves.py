# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which paths are the two halves of one cable, or of the way between two nodes through the switch?"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ..contracts import Cage, PathEnd, PathPlan, Plan

PathWay: t.TypeAlias = "tuple[PathPlan, PathEnd, PathEnd]"  # a path, the end that transmits, the end that receives


def both_halves(plan: Plan) -> list[tuple[PathWay, PathWay]]:
    """Half a and half b of every two cages that share both, from the lower rank to the higher."""
    found: dict[tuple[tuple[str, Cage], ...], list[PathWay]] = {}
    for path in plan["paths"]:
        sender, receiver = sorted(path["ends"], key=lambda end: plan["nodes"][end["node"]]["rank"])
        cages = tuple((end["node"], end["cage"]) for end in (sender, receiver))
        found.setdefault(cages, []).append((path, sender, receiver))
    return [_by_half(ways) for ways in found.values() if sorted(way[0]["half"] for way in ways) == ["a", "b"]]


def _by_half(ways: list[PathWay]) -> tuple[PathWay, PathWay]:
    first, second = sorted(ways, key=lambda way: way[0]["half"])
    return first, second
