# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One path one way, and both halves of a cable at once."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...contracts import BandwidthRun, Direction, NodeFacts, Pair, PairServed, PathEnd, PathPlan, Ping, Served
from ...plan.both_halves import both_halves
from ..registry import Scope
from .loose import first, get
from .reading import Reading, median_bandwidth
from .view import View


@dataclass(frozen=True)
class DirectionView(View):
    """One path, one way."""

    path: PathPlan
    sender: PathEnd
    receiver: PathEnd

    @property
    def key(self) -> str:
        return f"{end_key(self.sender)}>{end_key(self.receiver)}"

    @property
    def label(self) -> str:
        return f"{end_key(self.sender)} -> {end_key(self.receiver)}".replace(":", " ")

    @property
    def subject(self) -> dict[str, str]:
        return {"path": self.path["id"], "from": end_key(self.sender), "to": end_key(self.receiver)}

    @property
    def direction(self) -> Direction:
        direction = self._direction()
        if direction is None:
            raise KeyError(self.key)
        return direction

    @property
    def served(self) -> Served:
        served = self._served()
        if served is None:
            raise KeyError(self.key)
        return served

    @property
    def ping(self) -> Ping:
        ping = self._ping()
        if ping is None:
            raise KeyError(self.key)
        return ping

    @property
    def facts(self) -> NodeFacts:
        return self.reading.facts[self.sender["node"]]

    @property
    def median_gbps(self) -> float | None:
        direction = self._direction()
        return None if direction is None else median_bandwidth(direction)

    @property
    def bandwidth_is_normal(self) -> bool | None:
        """Whether the median of the repeats reaches the number of P02; None when nobody knows."""
        limit = get(get(self.reading.profile["thresholds"], "P02"), "bandwidth_gbps")
        median, least = self.median_gbps, get(limit, "min")
        return None if median is None or least is None else median >= least

    @property
    def latency_is_normal(self) -> bool | None:
        """Whether the typical latency passes P04; None when nobody knows."""
        typical = get(get(self._direction(), "latency"), "typical_us")
        limit = get(get(get(self.reading.profile["thresholds"], "P04"), "latency_us"), "max")
        return None if typical is None or limit is None else typical <= limit

    def _direction(self) -> Direction | None:
        entries = get(self.reading.measurement(self.sender["node"]), "directions")
        return t.cast("Direction | None", self._mine(entries))

    def _served(self) -> Served | None:
        entries = get(self.reading.measurement(self.receiver["node"]), "served")
        return t.cast("Served | None", self._mine(entries))

    def _ping(self) -> Ping | None:
        entries = get(self.reading.measurement(self.sender["node"]), "pings")
        return t.cast("Ping | None", self._mine(entries))

    def _mine(self, entries: t.Any) -> t.Any:
        wanted = (self.path["id"], self.sender["node"], self.receiver["node"])
        return first(entries, lambda entry: (entry["path"], entry["from_node"], entry["to_node"]) == wanted)

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {
            "direction": (self._direction(), Direction),
            "served": (self._served(), Served),
            "ping": (self._ping(), Ping),
            "facts": (self.reading.facts.get(self.sender["node"]), NodeFacts),
        }

    @property
    def pieces(self) -> list[str]:
        return [self.key, self.sender["node"], self.receiver["node"]]

    def absence(self, source: str) -> str:
        node = self.receiver["node"] if source == "served" else self.sender["node"]
        if source == "ping" and self.reading.measurement(node):
            return f"{node} did not ping this path"
        if source == "facts":
            return f"{node} did not report its routes"
        return self.reading.why_not_measured(node) or f"{node} has no result for this path"

    def related(self, scope: Scope) -> list[str]:
        ends = (self.sender, self.receiver)
        return {
            "direction": [self.key],
            "half": [end_key(end) for end in ends],
            "cage": [f"{end['node']}:{end['cage']}" for end in ends],
            "node": [end["node"] for end in ends],
            "pair": [],
            "cluster": [],
        }[scope]


@dataclass(frozen=True)
class PairView(View):
    """Both halves of a cable, or of the way through the switch, from the lower rank to the higher."""

    ways: tuple[DirectionView, DirectionView]  # half a, half b

    @property
    def sender(self) -> PathEnd:
        """The sending end of half a; that of half b is the same cage."""
        return self.ways[0].sender

    @property
    def receiver(self) -> PathEnd:
        return self.ways[0].receiver

    @property
    def key(self) -> str:
        return f"{cage_key(self.sender)}>{cage_key(self.receiver)}"

    @property
    def label(self) -> str:
        return f"{cage_key(self.sender)} -> {cage_key(self.receiver)}".replace(":", " ")

    @property
    def subject(self) -> dict[str, str]:
        return {"from": cage_key(self.sender), "to": cage_key(self.receiver)}

    @property
    def pair(self) -> Pair:
        pair = self._pair()
        if pair is None:
            raise KeyError(self.key)
        return pair

    @property
    def served(self) -> PairServed:
        served = self._served()
        if served is None:
            raise KeyError(self.key)
        return served

    @property
    def runs(self) -> list[list[BandwidthRun]]:
        """All runs of half a and of half b, the warm-up included."""
        half_a, half_b = self.pair["halves"]
        of_path = {half["path"]: half["bandwidth"] for half in (half_a, half_b)}
        return [of_path[path] for path in self._paths]

    @property
    def latency_is_normal(self) -> bool | None:
        """That of both halves; None when nobody knows one of them."""
        normal = [way.latency_is_normal for way in self.ways]
        return None if None in normal else all(normal)

    @property
    def alone_gbps(self) -> float | None:
        """The sum of what each half carried by itself; None when one of them is not known."""
        medians = [way.median_gbps for way in self.ways]
        numbers = [median for median in medians if median is not None]
        return sum(numbers) if len(numbers) == len(medians) else None

    @property
    def _paths(self) -> list[str]:
        return [way.path["id"] for way in self.ways]

    def _pair(self) -> Pair | None:
        entries = get(self.reading.measurement(self.sender["node"]), "pairs")
        return t.cast("Pair | None", self._mine(entries, lambda entry: [half["path"] for half in entry["halves"]]))

    def _served(self) -> PairServed | None:
        entries = get(self.reading.measurement(self.receiver["node"]), "pairs_served")
        return t.cast("PairServed | None", self._mine(entries, lambda entry: entry["paths"]))

    def _mine(self, entries: t.Any, paths: t.Callable[[t.Any], t.Any]) -> t.Any:
        wanted = (self._paths, self.sender["node"], self.receiver["node"])
        return first(entries, lambda entry: (paths(entry), entry["from_node"], entry["to_node"]) == wanted)

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {"pair": (self._pair(), Pair), "served": (self._served(), PairServed)}

    def absence(self, source: str) -> str:
        node = self.receiver["node"] if source == "served" else self.sender["node"]
        return self.reading.why_not_measured(node) or f"{node} has no result for both halves at once"

    def related(self, scope: Scope) -> list[str]:
        if scope == "pair":
            return [self.key]
        return list(dict.fromkeys(key for way in self.ways for key in way.related(scope)))

    @property
    def pieces(self) -> list[str]:
        return [self.key, *(way.key for way in self.ways)]


def ways(reading: Reading) -> t.Iterator[DirectionView]:
    """Every path both ways."""
    for path in reading.plan["paths"]:
        first, second = path["ends"]
        yield DirectionView(reading, path, first, second)
        yield DirectionView(reading, path, second, first)


def pair_views(reading: Reading) -> t.Iterator[PairView]:
    """Every cable, or way through the switch, with both halves at once."""
    for half_a, half_b in both_halves(reading.plan):
        yield PairView(reading, (DirectionView(reading, *half_a), DirectionView(reading, *half_b)))


def end_key(end: PathEnd) -> str:
    """As half-link records name it: spark1:p0:a."""
    return f"{end['node']}:{end['cage']}:{end['half']}"


def cage_key(end: PathEnd) -> str:
    """As check records name it: spark1:p0."""
    return f"{end['node']}:{end['cage']}"
