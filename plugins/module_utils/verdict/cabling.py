# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which plug is in which cage, what the plan wants, and the fewest plugs to move.

Judged by cage: on a real NIC both halves of a cage share the wire, so a frame is heard by both. A cage must hear
exactly what the plan puts on its cable; frames of the own node only matter when they come from its other cage.
"""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass

from ..contracts import Cage, Discovery, Plan
from ..plan.hardware import HALF_PORTS

Plug = tuple[str, str]  # node, cage
Cable = frozenset[Plug]  # of the two cages it joins

_NEW_CABLE = 3  # dearer than moving both plugs of a cable that is there
_CAGE_OF = {port.netdev: port.cage for port in HALF_PORTS}

State = t.Literal["right", "wrong", "down", "silent", "absent"]


@dataclass(frozen=True)
class CageFinding:
    """What one planned cage hears. ``down``: no carrier, ``silent``: carrier, no frame, ``absent``: nobody listened."""

    plug: Plug
    state: State
    heard: tuple[Plug, ...]
    expected: tuple[Plug, ...]

    @property
    def sentence(self) -> str:
        expected = _names(self.expected)
        return {
            "right": f"joined to {_names(self.heard)}",
            "wrong": f"joined to {_names(self.heard)}, planned is {expected}",
            "down": f"no cable seen, planned is one to {expected}",
            "silent": f"has a carrier, but nothing was heard; planned is {expected}",
            "absent": f"{self.plug[0]} did not listen on its cables",
        }[self.state]


@dataclass(frozen=True)
class Step:
    """One thing to do with the hands, and why."""

    action: str
    reason: str
    heard: bool = True  # False: it rests on a cable that nobody heard, and that may be there all the same


def cage_finding(plan: Plan, discoveries: t.Mapping[str, Discovery], plug: Plug) -> CageFinding:
    """What a planned cage hears against what it should hear."""
    expected = tuple(sorted(_expected(plan, plug)))
    discovery = discoveries.get(plug[0])
    if discovery is None:
        return CageFinding(plug, "absent", (), expected)
    heard = tuple(sorted(_heard(discovery, plug)))
    if heard:
        right = _matches(plan, discoveries, plug, heard, expected)
        return CageFinding(plug, "right" if right else "wrong", heard, expected)
    silent = any(_CAGE_OF.get(netdev) == plug[1] for netdev in discovery["silent"])
    return CageFinding(plug, "silent" if silent else "down", (), expected)


def cabling_steps(plan: Plan, discoveries: t.Mapping[str, Discovery]) -> list[Step]:
    """What to do, in an order in which every plug finds its cage free; empty when the cabling is the planned one."""
    if plan["topology"] == "switch":
        return _switch_steps(plan, discoveries)
    cables = _seen_cables(discoveries)
    tangled = [plug for plug, count in _degrees(cables).items() if count > 1]
    if tangled:
        return [_tangled(plug, cables) for plug in sorted(tangled)]
    return _CableSteps(plan, discoveries, cables).steps()


def _expected(plan: Plan, plug: Plug) -> set[Plug]:
    node, cage = plug
    if plan["topology"] == "switch":
        return {(p["node"], p["cage"]) for p in plan["switch_ports"] if p["node"] != node}
    halves = [half for half in plan["nodes"][node]["halves"] if half["cage"] == cage]
    return {(half["peer"]["node"], half["peer"]["cage"]) for half in halves if half["peer"] is not None}


def _heard(discovery: Discovery, plug: Plug) -> set[Plug]:
    heard = {(n["peer_node"], n["peer_cage"]) for n in discovery["neighbours"] if n["cage"] == plug[1]}
    return t.cast("set[Plug]", heard) - {plug}


def _matches(
    plan: Plan,
    discoveries: t.Mapping[str, Discovery],
    plug: Plug,
    heard: tuple[Plug, ...],
    expected: tuple[Plug, ...],
) -> bool:
    if plan["topology"] != "switch":
        return heard == expected
    # A peer in its wrong cage is the peer's finding, and so is one that is cut off; here every other peer must be
    # heard, and nobody else.
    there = {node for node, _cage in expected} - _cut_off(plan, discoveries)
    return {node for node, _cage in heard} - {plug[0]} == there


def _cut_off(plan: Plan, discoveries: t.Mapping[str, Discovery]) -> set[str]:
    """Nodes behind a switch that hear nobody and are heard by nobody: the cables of the others are not to blame."""
    nodes = {port["node"] for port in plan["switch_ports"]}
    heard = {
        (name, neighbour["peer_node"])
        for name, discovery in discoveries.items()
        for neighbour in discovery["neighbours"]
        if neighbour["peer_node"] != name
    }
    return nodes - {node for pair in heard for node in pair}


def _names(plugs: t.Iterable[Plug]) -> str:
    return " and ".join(" ".join(plug) for plug in plugs) or "nothing"


# --- cables between nodes ---


def _seen_cables(discoveries: t.Mapping[str, Discovery]) -> set[Cable]:
    """One end hearing the other is enough to know the cable."""
    return {
        frozenset({(node, n["cage"]), (n["peer_node"], n["peer_cage"])})
        for node, discovery in discoveries.items()
        for n in discovery["neighbours"]
        if (node, n["cage"]) != (n["peer_node"], n["peer_cage"])
    }


def _degrees(cables: set[Cable]) -> dict[Plug, int]:
    plugs = [plug for cable in cables for plug in cable]
    return {plug: plugs.count(plug) for plug in plugs}


def _tangled(plug: Plug, cables: set[Cable]) -> Step:
    others = sorted(other for cable in cables if plug in cable for other in cable - {plug})
    return Step(
        f"{' '.join(plug)}: join it to one other cage only",
        f"it hears {_names(others)}; a cable joins two cages, is there a switch between them?",
    )


@dataclass(frozen=True)
class _Move:
    source: Plug
    target: Plug
    other: Plug  # where the far end of the cable is now

    @property
    def crosses(self) -> bool:
        return self.source[0] != self.target[0]


class _CableSteps:
    """The cheapest way from the cables that are there to the planned ones."""

    def __init__(self, plan: Plan, discoveries: t.Mapping[str, Discovery], cables: set[Cable]) -> None:
        self._plan = plan
        self._discoveries = discoveries
        self._seen = sorted(cables, key=sorted)
        self._planned = [tuple((end["device"], end["port"]) for end in link["ends"]) for link in plan["links"]]

    def steps(self) -> list[Step]:
        choice = min(self._choices(), key=self._cost, default=())
        moves = [
            move for link, cable in zip(self._planned, choice, strict=True) if cable for move in _moves(cable, link)
        ]
        unused = [cable for cable in self._seen if cable not in choice]
        missing = [link for link, cable in zip(self._planned, choice, strict=True) if cable is None]
        steps = self._clear(unused, moves, missing)
        steps += self._ordered(moves)
        return steps + [step for link in missing for step in self._no_cable(link)]

    def _choices(self) -> t.Iterator[tuple[Cable | None, ...]]:
        """Every way to use the cables that are there for the planned links."""
        slots: list[Cable | None] = [*self._seen, *[None] * len(self._planned)]
        return iter(dict.fromkeys(itertools.permutations(slots, len(self._planned))))

    def _cost(self, choice: tuple[Cable | None, ...]) -> tuple[int, int]:
        moves = [_moves(cable, link) for link, cable in zip(self._planned, choice, strict=True) if cable]
        crossing = sum(move.crosses for some in moves for move in some)
        return choice.count(None) * _NEW_CABLE + sum(map(len, moves)), crossing

    def _clear(self, unused: list[Cable], moves: list[_Move], missing: list[tuple[Plug, ...]]) -> list[Step]:
        """Cables nobody planned, where their cage is needed or where both ends are in one node."""
        needed = {move.target for move in moves} | {plug for link in missing for plug in link}
        return [
            Step(f"{plug[0]}: unplug {plug[1]}", f"its cable to {_names(cable - {plug})} is not in the plan")
            for cable in unused
            for plug in sorted(cable)
            if plug in needed or len({node for node, _cage in cable}) == 1
        ]

    def _ordered(self, moves: list[_Move]) -> list[Step]:
        steps, waiting, in_hand = [], list(moves), list[_Move]()
        while waiting:
            taken = {move.source for move in waiting if move not in in_hand}
            ready = next((move for move in waiting if move.target not in taken), None)
            if ready is not None:
                waiting.remove(ready)
                steps.append(self._put_in(ready) if ready in in_hand else self._step(ready))
                continue
            first = waiting[0]
            back = next((move for move in waiting if (move.source, move.target) == (first.target, first.source)), None)
            if back is not None:
                waiting = [move for move in waiting if move not in (first, back)]
                steps.append(self._swap(first))
                continue
            # Every target is taken by a plug that has to move too: one of them waits in the hand.
            in_hand.append(first)
            steps.append(Step(f"{first.source[0]}: unplug {first.source[1]}, keep it at hand", self._why(first)))
        return steps

    def _put_in(self, move: _Move) -> Step:
        return Step(f"{move.target[0]}: put the plug at hand into {move.target[1]}", self._why(move))

    def _step(self, move: _Move) -> Step:
        if move.crosses:
            return Step(f"move the plug from {' '.join(move.source)} to {' '.join(move.target)}", self._why(move))
        return Step(f"{move.source[0]}: move the plug from {move.source[1]} to {move.target[1]}", self._why(move))

    def _swap(self, move: _Move) -> Step:
        if move.crosses:
            return Step(f"swap the plugs of {' '.join(move.source)} and {' '.join(move.target)}", self._why(move))
        return Step(f"{move.source[0]}: swap the plugs of p0 and p1", self._why(move))

    def _why(self, move: _Move) -> str:
        found = f"found {move.source[1]} - {move.other[1]} with {move.other[0]}"
        if self._plan["topology"] == "triangle" and not move.crosses and move.source[1] == move.other[1]:
            return f"{found}; a triangle joins p0 to p1 on every cable"
        link = next(link for link in self._planned if move.target in link)
        return f"{found}; the plan joins {_names(link).replace(' and ', ' to ')}"

    def _no_cable(self, link: tuple[Plug, ...]) -> list[Step]:
        findings = {plug: cage_finding(self._plan, self._discoveries, plug) for plug in link}
        return [
            Step(
                f"{' '.join(plug)}: {_MISSING[findings[plug].state]}",
                f"the plan joins {' to '.join(map(' '.join, link))}",
                heard=False,
            )
            for plug in link
        ]


_MISSING: dict[State, str] = {
    "down": "no cable seen",
    "silent": "a carrier, but nothing was heard; see that the far end is powered on and its port up",
    "absent": "this node did not listen; see that it is powered on and reachable",
    "wrong": "plug the missing cable in here",
}


def _moves(cable: Cable, link: tuple[Plug, ...]) -> list[_Move]:
    """The plugs of a cable to move, with its ends turned so that the fewest move."""
    one, other = sorted(cable)
    turned = [_moved((one, other), link), _moved((other, one), link)]
    return min(turned, key=lambda moves: (len(moves), sum(move.crosses for move in moves)))


def _moved(ends: tuple[Plug, Plug], link: tuple[Plug, ...]) -> list[_Move]:
    return [
        _Move(end, target, ends[1 - index])
        for index, (end, target) in enumerate(zip(ends, link, strict=True))
        if end != target
    ]


# --- cables to a switch ---


def _switch_steps(plan: Plan, discoveries: t.Mapping[str, Discovery]) -> list[Step]:
    steps = []
    for port in plan["switch_ports"]:
        plug = (port["node"], port["cage"])
        finding = cage_finding(plan, discoveries, plug)
        if finding.state == "right":
            continue
        other: Cage = "p1" if port["cage"] == "p0" else "p0"
        discovery = discoveries.get(port["node"])
        action = f"{' '.join(plug)}: {finding.sentence}"
        if not finding.heard and discovery is not None and _heard(discovery, (port["node"], other)):
            action = f"{port['node']}: move the plug from {other} to {port['cage']}"
        steps.append(Step(action, f"the plan joins {' '.join(plug)} to switch port {port['port']}"))
    return steps
