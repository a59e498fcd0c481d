# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Isolation on the matrix of half-paths (health-checks 5): which single part explains what fails?

Every part has a footprint, the paths that cross it. A part that lies on a passing path is cleared. The smallest set of
the others whose footprints cover the failing paths is the answer; when several sets are equally small, all are.
"""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass

from ..contracts import PathPlan, Plan
from .records import path_nodes

Kind = t.Literal["node", "controller", "link", "half-link", "plane", "common cause", "path", "switch", "cage", "port"]


@dataclass(frozen=True)
class Part:
    """Something that can be broken or misconfigured. ``name`` is unique: "controller spark3:b"."""

    kind: Kind
    what: str
    footprint: frozenset[str]  # path ids

    @property
    def name(self) -> str:
        return f"{self.kind} {self.what}".strip()


@dataclass(frozen=True)
class Isolation:
    explanations: tuple[tuple[Part, ...], ...]  # equally small; empty when nothing fails
    cleared: tuple[Part, ...]


def parts(plan: Plan) -> list[Part]:
    """The hypotheses of a topology: 21 for a triangle, 12 for three nodes behind a switch."""
    halves = sorted({path["half"] for path in plan["paths"]})
    found = [
        _part("node", node, [path for path in plan["paths"] if node in path_nodes(path)]) for node in plan["nodes"]
    ]
    found += [
        _part(
            "controller",
            f"{node}:{half}",
            [path for path in plan["paths"] if node in path_nodes(path) and path["half"] == half],
        )
        for node in plan["nodes"]
        for half in halves
    ]
    if plan["topology"] != "switch":
        found += _cable_parts(plan)
    found += [_part("plane", half, [path for path in plan["paths"] if path["half"] == half]) for half in halves]
    found.append(_part("common cause", "", plan["paths"]))
    return [part for part in found if part.footprint]


def isolate(plan: Plan, failing: t.Collection[str], passing: t.Collection[str]) -> Isolation:
    """Explain the failing paths. Paths in neither collection are explained elsewhere and say nothing."""
    known = parts(plan)
    cleared = tuple(part for part in known if not part.footprint.isdisjoint(passing))
    left = [part for part in known if part not in cleared and not part.footprint.isdisjoint(failing)]
    if not failing:
        return Isolation((), cleared)
    explanations = _smallest(left, frozenset(failing))
    if not explanations:
        # Behind a switch two healthy nodes can miss each other: then it is the way between them.
        ways = [part for part in _ways(plan) if part.footprint <= frozenset(failing)]
        explanations = _smallest([*left, *ways], frozenset(failing))
    return Isolation(tuple(explanations), cleared)


def _ways(plan: Plan) -> list[Part]:
    """Through the switch: of one half, of both halves between two nodes, between two and two (a second bridge)."""
    nodes = list(plan["nodes"])
    sides = [([one], [other]) for one, other in itertools.combinations(nodes, 2)]
    if len(nodes) == 4:
        first, *others = nodes
        sides += [([first, mate], [node for node in others if node != mate]) for mate in others]
    single = [_part("path", path["id"], [path]) for path in plan["paths"]]
    return single + [
        _part("path", f"{'+'.join(near)}-{'+'.join(far)}", _between(plan, near, far)) for near, far in sides
    ]


def _between(plan: Plan, near: list[str], far: list[str]) -> list[PathPlan]:
    return [path for path in plan["paths"] if path_nodes(path) & {*near} and path_nodes(path) & {*far}]


def _smallest(candidates: list[Part], failing: frozenset[str]) -> list[tuple[Part, ...]]:
    forced = _forced(candidates, failing)
    left = failing.difference(*(part.footprint for part in forced))
    others = [part for part in candidates if part not in forced]
    for size in range(len(left) + 1):
        covers = [
            (*forced, *chosen)
            for chosen in itertools.combinations(others, size)
            if left <= frozenset().union(*(part.footprint for part in chosen))
        ]
        if covers:
            return _plainest([_in_order(chosen, candidates) for chosen in covers if chosen], failing)
    return []


def _forced(candidates: list[Part], failing: frozenset[str]) -> list[Part]:
    """Parts that alone lie on some failing path. With them taken first, few combinations are left to try."""
    lies_on = [[part for part in candidates if path in part.footprint] for path in sorted(failing)]
    return list(dict.fromkeys(found[0] for found in lies_on if len(found) == 1))


def _in_order(chosen: tuple[Part, ...], candidates: list[Part]) -> tuple[Part, ...]:
    return tuple(part for part in candidates if part in chosen)


def _plainest(covers: list[tuple[Part, ...]], failing: frozenset[str]) -> list[tuple[Part, ...]]:
    """Of equally small explanations those that claim the fewest paths nobody saw fail."""
    beyond = [len(frozenset().union(*(part.footprint for part in chosen)) - failing) for chosen in covers]
    return [chosen for chosen, extra in zip(covers, beyond, strict=True) if extra == min(beyond)]


def _cable_parts(plan: Plan) -> list[Part]:
    of_link = {half_link["id"]: half_link["link"] for half_link in plan["half_links"]}
    links = [
        _part("link", link["id"], [path for path in plan["paths"] if of_link[path["id"]] == link["id"]])
        for link in plan["links"]
    ]
    return links + [_part("half-link", path["id"], [path]) for path in plan["paths"]]


def _part(kind: Kind, what: str, paths: t.Sequence[PathPlan]) -> Part:
    return Part(kind, what, frozenset(path["id"] for path in paths))
