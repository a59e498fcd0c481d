"""Cables as data: which plug is in which cage, and what follows for frames and carrier. Pure: no sockets, no processes.

A plug is named by where it is: ``spark1:p0`` is a cage, ``crs812:qsfp56-1-1`` a switch port. ``spark1:p0:a`` is a half.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from lab.errors import LabError
from lab.identity import HALVES, MAX_NODES

SWITCH = "crs812"
SWITCH_PORTS = ("qsfp56-1-1", "qsfp56-2-1", "qsfp56-dd-1-1", "qsfp56-dd-1-5")
CAGES = ("p0", "p1")
TOPOLOGIES: dict[str, range] = {
    "single": range(1, 2),
    "direct": range(2, 3),
    "triangle": range(3, 4),
    "switch": range(2, MAX_NODES + 1),
}
CABLINGS = ("planned", "p0-p0")

Cable = tuple[str, str]


def default_nodes(topology: str) -> int:
    """How many nodes a topology has when nobody says: three where it may be three."""
    counts = TOPOLOGIES[topology]
    return 3 if 3 in counts else counts[0]


def cables_for(topology: str, count: int, cabling: str = "planned") -> list[Cable]:
    """The cables of a topology, as planned or with spark2's plug (in a triangle: both its plugs) in the other cage."""
    if count not in TOPOLOGIES[topology]:
        allowed = " or ".join(str(number) for number in TOPOLOGIES[topology])
        raise LabError(f"Topology {topology} has {allowed} nodes, not {count}.")
    if topology == "switch":
        cables = [(f"spark{number}:p0", f"{SWITCH}:{SWITCH_PORTS[number - 1]}") for number in range(1, count + 1)]
    elif topology == "triangle":
        cables = [(f"spark{number}:p0", f"spark{number % 3 + 1}:p1") for number in (1, 2, 3)]
    else:
        cables = [("spark1:p0", "spark2:p1")] if topology == "direct" else []
    if cabling == "planned":
        return cables
    if topology not in ("direct", "triangle"):
        raise LabError(
            f"Cabling {cabling} is for direct and triangle: in {topology} there is no p0-p1 cable to get wrong."
        )
    swapped = {"spark2:p0": "spark2:p1", "spark2:p1": "spark2:p0"}
    return [(swapped.get(one, one), swapped.get(other, other)) for one, other in cables]


@dataclass
class Cabling:
    """The plugs as they are now, which halves were taken down by hand, and which nodes have power."""

    nodes: list[str]
    cables: list[Cable] = field(default_factory=list)
    halves_off: list[str] = field(default_factory=list)
    nodes_off: list[str] = field(default_factory=list)

    # --- names ---

    def end(self, name: str) -> str:
        """Check the name of a cage or switch port."""
        device, _, port = name.partition(":")
        if device == SWITCH and port in SWITCH_PORTS:
            return name
        if device in self.nodes and port in CAGES:
            return name
        raise LabError(
            f"There is no cage or port '{name}'. "
            f"Cages are {_some(f'{node}:{cage}' for node in self.nodes for cage in CAGES)}; "
            f"switch ports are {_some(f'{SWITCH}:{port}' for port in SWITCH_PORTS)}."
        )

    def half(self, name: str) -> str:
        """Check the name of a half."""
        if name not in self.halves():
            raise LabError(f"There is no half '{name}'. Halves are {_some(self.halves())}.")
        return name

    def node(self, name: str) -> str:
        if name not in self.nodes:
            raise LabError(f"There is no node '{name}'. Nodes are {_some(self.nodes)}.")
        return name

    def halves(self) -> list[str]:
        return [f"{node}:{half}" for node in self.nodes for half in HALVES]

    # --- plugs ---

    def cable_at(self, end: str) -> Cable | None:
        return next((cable for cable in self.cables if end in cable), None)

    def plug(self, one: str, other: str) -> None:
        """Join two empty cages or ports by a new cable."""
        for end in (self.end(one), self.end(other)):
            self._refuse_occupied(end)
        if one == other:
            raise LabError(f"A cable has two ends; {one} was named twice.")
        self.cables.append((one, other))

    def unplug(self, end: str) -> None:
        """Take away the cable that has a plug in this cage or port."""
        self.cables.remove(self._occupied(end))

    def move(self, source: str, target: str) -> None:
        """Take the plug out of one cage and put it into another, empty one."""
        cable = self._occupied(source)
        self._refuse_occupied(self.end(target))
        self._replace(cable, {source: target})

    def swap(self, one: str, other: str) -> None:
        """Exchange the plugs in two cages."""
        cables = {self._occupied(one), self._occupied(other)}
        for cable in cables:
            self._replace(cable, {one: other, other: one})

    def _occupied(self, end: str) -> Cable:
        cable = self.cable_at(self.end(end))
        if cable is None:
            raise LabError(f"There is no plug in {end}.")
        return cable

    def _refuse_occupied(self, end: str) -> None:
        cable = self.cable_at(end)
        if cable is not None:
            raise LabError(
                f"{end} already holds a plug (cable {cable[0]} - {cable[1]}). Unplug it first, or swap two plugs."
            )

    def _replace(self, cable: Cable, renamed: dict[str, str]) -> None:
        place = self.cables.index(cable)
        self.cables[place] = (renamed.get(cable[0], cable[0]), renamed.get(cable[1], cable[1]))

    # --- what follows ---

    def far_end(self, end: str) -> str | None:
        cable = self.cable_at(end)
        if cable is None:
            return None
        return cable[1] if cable[0] == end else cable[0]

    def carrier(self, half: str) -> bool:
        """Whether a half sees a link: its cage is cabled, it was not taken down, and the far device has power.

        A far half that was taken down does not matter: on a Spark both halves share the port, and the port stays up.
        """
        far = self.far_end(half.rpartition(":")[0])
        return far is not None and half not in self.halves_off and far.partition(":")[0] not in self.nodes_off

    def wires(self) -> list[tuple[str, str]]:
        """Pairs of halves that exchange frames over a cable between two cages."""
        return [
            (f"{one}:{half}", f"{other}:{half}")
            for one, other in self.cables
            if SWITCH not in (one.partition(":")[0], other.partition(":")[0])
            for half in ("a", "b")
        ]

    def switch_ports(self) -> list[list[str]]:
        """Per used switch port, the halves behind it: both of a cage, so they share the broadcast domain."""
        ports = []
        for cable in self.cables:
            cages = [end for end in cable if not end.startswith(f"{SWITCH}:")]
            if len(cages) == 1:
                ports.append([f"{cages[0]}:{half}" for half in ("a", "b")])
        return ports


@dataclass
class Impairment:
    """What happens to the frames that a half sends."""

    loss: float = 0.0  # share of frames, 0 to 1
    delay_ms: float = 0.0


def parse_loss(text: str) -> float:
    """A share of frames out of ``5``, ``5%`` or ``0.5%``; the number is always percent."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", text.strip())
    if match is None or float(match[1]) > 100:
        raise LabError(f"Loss is a percentage from 0 to 100, for example 5 or 0.5%, not '{text}'.")
    return float(match[1]) / 100


def _some(names: Iterable[str]) -> str:
    return ", ".join(names)
