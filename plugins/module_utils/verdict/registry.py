# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of checks: one function per id, registered where it is written.

A check names what it looks at (scope), the inputs without which it cannot answer (needs), the checks without which its
answer means nothing (parents; far_parents are asked of the node at the other end of the cable), those whose finding is
the nearer reason for a bad answer but whose silence hides nothing (explained_by), those that say, about a rank here or
another, why nothing is known (gap_parents) and the thresholds it takes from the profile. Its docstring is the catalogue
entry.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..contracts import Level
from .limits import Limit, Limits
from .outcome import Outcome

Scope = t.Literal["node", "rank", "half", "cage", "direction", "pair", "rank_pair", "cluster", "collective", "number"]

LEVELS: dict[Scope, Level] = {
    "node": "node",
    "rank": "node",
    "half": "half-link",
    "cage": "half-link",
    "direction": "pair",
    "pair": "pair",
    "rank_pair": "pair",
    "cluster": "cluster",
    "collective": "cluster",
    "number": "cluster",  # but for paths and cables, as their view says
}


# Error counters grow over the pair matrix, and what a rank did is a part of what all ranks did: these are measured, and
# so judged, with the level that measures them.
_MEASURED_WITH: dict[str, Level] = {
    **dict.fromkeys(("growth", "direction", "served", "pair", "ping"), "pair"),
    **dict.fromkeys(("rank", "ranks"), "cluster"),
}


@dataclass(frozen=True, slots=True)
class Check:
    id: str
    scope: Scope
    needs: tuple[str, ...]  # dotted, from the sources of the view: "half.rdma.state"
    parents: tuple[str, ...]
    far_parents: tuple[str, ...]
    explained_by: tuple[str, ...]
    gap_parents: tuple[str, ...]
    limits: dict[str, type[Limit]]  # thresholds that a profile must have
    optional_limits: dict[str, type[Limit]]  # and those it may leave out
    active: bool  # loads the fabric, so it is not run in check mode
    level: Level
    text: str
    judge: t.Callable[[t.Any, Limits], Outcome]

    @property
    def run_with(self) -> Level:
        """The level whose probe measures what this check needs."""
        roots = (need.partition(".")[0] for need in self.needs)
        own: Level = "pair" if self.active and self.level == "half-link" else self.level
        return next((_MEASURED_WITH[root] for root in roots if root in _MEASURED_WITH), own)


CHECKS: dict[str, Check] = {}


def catalogue() -> list[Check]:
    """Every check, from the node to the cluster."""
    return sorted(CHECKS.values(), key=lambda entry: ("NLPC".index(entry.id[0]), entry.id))


_ViewT = t.TypeVar("_ViewT")
_Judge = t.Callable[[_ViewT, Limits], Outcome]


def check(
    check_id: str,
    *,
    scope: Scope,
    needs: tuple[str, ...] = (),
    parents: tuple[str, ...] = (),
    far_parents: tuple[str, ...] = (),
    explained_by: tuple[str, ...] = (),
    gap_parents: tuple[str, ...] = (),
    limits: dict[str, type[Limit]] | None = None,
    optional_limits: dict[str, type[Limit]] | None = None,
    active: bool = False,
    level: Level | None = None,  # else that of the scope
) -> t.Callable[[_Judge[_ViewT]], _Judge[_ViewT]]:
    """Register a function as the check of this id."""

    def register(function: _Judge[_ViewT]) -> _Judge[_ViewT]:
        if check_id in CHECKS:
            raise ValueError(f"check {check_id} is registered twice")
        if not function.__doc__:
            raise ValueError(f"check {check_id} has no catalogue entry (docstring)")
        CHECKS[check_id] = Check(
            check_id,
            scope,
            needs,
            parents,
            far_parents,
            explained_by,
            gap_parents,
            limits or {},
            optional_limits or {},
            active,
            level or LEVELS[scope],
            function.__doc__.strip(),
            function,
        )
        return function

    return register
