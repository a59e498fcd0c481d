# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which plug is in which cage: the declared cabling, checked, or the default of the topology."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .errors import PlanError
from .hardware import CAGES, HALF_PORTS, SWITCH_PORTS

End = tuple[str, str]  # device (a node or the switch), port (a cage or a switch port)


@dataclass(frozen=True)
class Cable:
    """A cable in its canonical direction: the lower rank first, the closing cable of a triangle excepted."""

    near: End
    far: End

    @property
    def name(self) -> str:
        return f"{self.near[0]}:{self.near[1]}-{self.far[0]}:{self.far[1]}"

    @property
    def ends(self) -> tuple[End, End]:
        return self.near, self.far


def plan_cables(names: t.Sequence[str], topology: str, declared: t.Any, switch: str) -> list[Cable]:
    """The cables between nodes (names in order of rank), from a declaration or by default."""
    if switch in names:
        raise PlanError(f"the switch is called {switch} like a node; set fabric_switch_name to another name")
    raw = _default(names, topology, switch) if declared is None else _parse(declared)
    pairs = [
        (_known_end(one, names, topology, switch), _known_end(other, names, topology, switch)) for one, other in raw
    ]
    _refuse_shared_ends(pairs)
    cables = [_checked(pair, names, topology, switch) for pair in pairs]
    _check_complete(cables, names, topology)
    return sorted(cables, key=lambda cable: names.index(cable.near[0]))


def _default(names: t.Sequence[str], topology: str, switch: str) -> list[tuple[str, str]]:
    if topology == "switch":
        return [(f"{name}:p0", f"{switch}:{port}") for name, port in zip(names, SWITCH_PORTS, strict=False)]
    if topology == "triangle":
        return [(f"{name}:p0", f"{names[(rank + 1) % 3]}:p1") for rank, name in enumerate(names)]
    # The first cable of the triangle, so that a third node joins without moving a plug.
    return [(f"{names[0]}:p0", f"{names[1]}:p1")] if topology == "direct" else []


def _parse(declared: t.Any) -> list[tuple[str, str]]:
    example = '["spark1:p0", "spark2:p1"]'
    if isinstance(declared, str) or not isinstance(declared, t.Sequence):
        raise PlanError(
            f"fabric_cabling is {declared!r}; expected a list with one pair of ends per cable, like {example}"
        )
    pairs = []
    for cable in declared:
        is_pair = isinstance(cable, t.Sequence) and not isinstance(cable, str) and len(cable) == 2
        if not is_pair or not all(isinstance(end, str) for end in cable):
            raise PlanError(f"fabric_cabling has the cable {cable!r}; expected its two ends, like {example}")
        pairs.append((str(cable[0]), str(cable[1])))
    return pairs


def _known_end(text: str, names: t.Sequence[str], topology: str, switch: str) -> End:
    device, _colon, port = text.rpartition(":")
    if device in names:
        _check_cage(text, port)
    elif device == switch and topology == "switch":
        if port not in SWITCH_PORTS:
            raise PlanError(
                f"fabric_cabling names {text}, which is no port for a node; expected one of {', '.join(SWITCH_PORTS)}"
            )
    else:
        known = [*names, switch] if topology == "switch" else names
        raise PlanError(
            f"fabric_cabling names {text}, but there is no node {device!r};"
            f" expected NAME:CAGE with one of {', '.join(known)}"
        )
    return device, port


def _check_cage(text: str, port: str) -> None:
    if port in CAGES:
        return
    device = text.rpartition(":")[0]
    for half in HALF_PORTS:
        if port in (half.netdev, half.rdma):
            raise PlanError(
                f"fabric_cabling names {text}; {port} is a half of cage {half.cage}: write {device}:{half.cage}"
            )
    raise PlanError(
        f"fabric_cabling names {text}, but a node has no cage {port!r}; expected p0 (nearest the RJ45 port) or p1"
    )


def _refuse_shared_ends(pairs: t.Sequence[tuple[End, End]]) -> None:
    seen: set[End] = set()
    for pair in pairs:
        if pair[0][0] == pair[1][0]:
            raise PlanError(
                f"fabric_cabling joins {pair[0][0]} to itself ({':'.join(pair[0])} - {':'.join(pair[1])});"
                " a cable goes to another device"
            )
        for end in pair:
            if end in seen:
                raise PlanError(f"fabric_cabling uses {':'.join(end)} for two cables; one cage takes one plug")
            seen.add(end)


def _checked(pair: tuple[End, End], names: t.Sequence[str], topology: str, switch: str) -> Cable:
    near, far = pair
    if topology == "switch":
        return _to_switch(near, far, switch)
    if topology == "triangle":
        return _side_of_triangle(near, far, names)
    return Cable(*sorted((near, far), key=lambda end: names.index(end[0])))


def _to_switch(near: End, far: End, switch: str) -> Cable:
    if near[0] == switch:
        near, far = far, near
    if far[0] != switch:
        raise PlanError(
            f"fabric_cabling joins {':'.join(near)} to {':'.join(far)}, but topology switch joins every node"
            f" to {switch}; name a port of it, like {switch}:{SWITCH_PORTS[0]}"
        )
    return Cable(near, far)


def _side_of_triangle(near: End, far: End, names: t.Sequence[str]) -> Cable:
    if near[1] == far[1]:
        raise PlanError(
            f"fabric_cabling joins {':'.join(near)} to {':'.join(far)}; a triangle joins p0 to p1 on every cable"
            " (with equal cages the links come up and NCCL fails with error 110); move one of the two plugs"
        )
    # A ring: each end is followed by the next rank, so the closing cable runs from the last rank to the first.
    follows = (names.index(far[0]) - names.index(near[0])) % 3 == 1
    return Cable(*((near, far) if follows else (far, near)))


def _check_complete(cables: t.Sequence[Cable], names: t.Sequence[str], topology: str) -> None:
    if topology == "switch":
        joined = [frozenset({cable.near[0]}) for cable in cables]
        wanted = [frozenset({name}) for name in names]
        second = "a second cable to the switch adds nothing, both cages share the node's PCIe lanes"
    else:
        joined = [frozenset({cable.near[0], cable.far[0]}) for cable in cables]
        wanted = [frozenset(pair) for pair in zip(names, [*names[1:], names[0]], strict=True) if len(set(pair)) == 2]
        second = "a second cable between the same two nodes adds nothing"
    for device in joined:
        if joined.count(device) > 1:
            raise PlanError(f"fabric_cabling has two cables for {_sentence(device, names)}; {second}: remove one")
    for device in wanted:
        if device not in joined:
            raise PlanError(
                f"fabric_cabling has no cable for {_sentence(device, names)}, which topology {topology} needs; add it"
                " (or leave fabric_cabling out for the default cabling)"
            )


def _sentence(devices: frozenset[str], names: t.Sequence[str]) -> str:
    return " - ".join(sorted(devices, key=names.index))
