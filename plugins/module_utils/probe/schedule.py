# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who measures what in which order. Every node computes the same list from the plan.

A node works its own slots off in this order, one at a time, so two transfers never share a node (health-checks 4.2)
although nobody waits for a round to end: disjoint pairs of a round run side by side.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import typing as t
from dataclasses import dataclass

from ..plan.both_halves import both_halves

if t.TYPE_CHECKING:
    from ..contracts import PathEnd, PathPlan, Plan
    from ..plan.both_halves import PathWay

# Documented for firewalls: UDP for hello messages, TCP for perftest's own handshake.
HELLO_PORT = 18614
FIRST_TEST_PORT = 18700
TURNS_PER_SLOT = 64


@dataclass(frozen=True)
class Way:
    """One path measured one way: the client transmits."""

    number: int  # unique in the schedule
    path: str
    half: str
    client: PathEnd
    server: PathEnd

    def port(self, turn: int) -> int:
        """Each turn has a port of its own, so that a late packet or a dying process of one never meets the next."""
        return FIRST_TEST_PORT + self.number * TURNS_PER_SLOT + turn


@dataclass(frozen=True)
class Slot:
    """What two nodes measure at one time: one way, or both halves of a cable at once (health-checks P03)."""

    index: int
    round: int
    ways: tuple[Way, ...]

    @property
    def sender(self) -> str:
        """The node that transmits."""
        return self.ways[0].client["node"]

    @property
    def receiver(self) -> str:
        return self.ways[0].server["node"]

    @property
    def paths(self) -> str:
        return " and ".join(way.path for way in self.ways)


def schedule(plan: Plan) -> list[Slot]:
    """Every path both ways, then both halves at once, grouped into rounds in which no node appears twice."""
    slots: list[Slot] = []
    numbers = itertools.count()
    offset = 0
    for pairs in _rounds_of_pairs(plan):
        queues = [[*_single_halves(plan, pair), *_halves_at_once(plan, pair)] for pair in pairs]
        longest = max((len(queue) for queue in queues), default=0)
        for position in range(longest):
            for queue in queues:
                if position < len(queue):
                    ways = tuple(_way(next(numbers), planned) for planned in queue[position])
                    slots.append(Slot(len(slots), offset + position, ways))
        offset += longest
    return slots


def _way(number: int, planned: PathWay) -> Way:
    path, client, server = planned
    return Way(number, path["id"], path["half"], client, server)


def plan_nonce(plan: Plan) -> str:
    """The same on all nodes that were given the same plan, and on no other."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]


def own_end(path: PathPlan, node: str) -> tuple[PathEnd, PathEnd] | None:
    """The node's end of a path and the other one; None when the path is between others."""
    first, second = path["ends"]
    if first["node"] == node:
        return first, second
    return (second, first) if second["node"] == node else None


def _rounds_of_pairs(plan: Plan) -> t.Iterator[list[tuple[str, str]]]:
    """The circle method: each round pairs every node at most once, all rounds together pair every two nodes once."""
    nodes: list[str | None] = [*sorted(plan["nodes"], key=lambda name: plan["nodes"][name]["rank"])]
    if len(nodes) % 2:
        nodes.append(None)  # whoever meets it has a bye
    for _round in range(len(nodes) - 1):
        half = len(nodes) // 2
        met = zip(nodes[:half], reversed(nodes[half:]), strict=True)
        yield [(first, second) for first, second in met if first is not None and second is not None]
        nodes = [nodes[0], nodes[-1], *nodes[1:-1]]


def _single_halves(plan: Plan, pair: tuple[str, str]) -> list[list[PathWay]]:
    paths = [path for path in plan["paths"] if {end["node"] for end in path["ends"]} == set(pair)]
    return [[way] for path in sorted(paths, key=_path_id) for way in _both_ways(path)]


def _halves_at_once(plan: Plan, pair: tuple[str, str]) -> list[list[PathWay]]:
    found = [list(ways) for ways in both_halves(plan) if {ways[0][1]["node"], ways[0][2]["node"]} == set(pair)]
    return sorted(found, key=lambda ways: _path_id(ways[0][0]))


def _path_id(path: PathPlan) -> str:
    return path["id"]


def _both_ways(path: PathPlan) -> list[PathWay]:
    first, second = path["ends"]
    return [(path, first, second), (path, second, first)]
