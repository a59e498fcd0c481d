# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who measures what in which order. Every node computes the same list from the plan.

A node works its own slots off in this order, one at a time, so two transfers never share a node (health-checks 4.2)
although nobody waits for a round to end: disjoint pairs of a round run side by side.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from ..contracts import PathEnd, PathPlan, Plan

# Documented for firewalls: UDP for hello messages, TCP for perftest's own handshake.
HELLO_PORT = 18614
FIRST_TEST_PORT = 18700
TURNS_PER_SLOT = 64


@dataclass(frozen=True)
class Slot:
    """One path measured one way: the client transmits."""

    index: int
    round: int
    path: str
    half: str
    client: PathEnd
    server: PathEnd

    def port(self, turn: int) -> int:
        """Each turn has a port of its own, so that a late packet or a dying process of one never meets the next."""
        return FIRST_TEST_PORT + self.index * TURNS_PER_SLOT + turn


def schedule(plan: Plan) -> list[Slot]:
    """Every path, both ways, grouped into rounds in which no node appears twice."""
    slots: list[Slot] = []
    offset = 0
    for pairs in _rounds_of_pairs(plan):
        queues = [[way for path in _paths_between(plan, pair) for way in _both_ways(path)] for pair in pairs]
        longest = max((len(queue) for queue in queues), default=0)
        for position in range(longest):
            for queue in queues:
                if position < len(queue):
                    path, client, server = queue[position]
                    slots.append(Slot(len(slots), offset + position, path["id"], path["half"], client, server))
        offset += longest
    return slots


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


def _paths_between(plan: Plan, pair: tuple[str, str]) -> list[PathPlan]:
    wanted = set(pair)
    return sorted((path for path in plan["paths"] if {end["node"] for end in path["ends"]} == wanted), key=_path_id)


def _path_id(path: PathPlan) -> str:
    return path["id"]


def _both_ways(path: PathPlan) -> list[tuple[PathPlan, PathEnd, PathEnd]]:
    first, second = path["ends"]
    return [(path, first, second), (path, second, first)]
