# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check gets to see: one subject of the plan with everything that was read and measured about it.

Subjects come from the plan alone. A node that did not answer is still a subject; only its sources are empty.
"""

from __future__ import annotations

import abc
import functools
import statistics
import typing as t
from dataclasses import dataclass

from ..contracts import (
    BandwidthRun,
    Cage,
    Direction,
    Discovery,
    HalfFacts,
    HalfPlan,
    NcclMeasurement,
    NodeFacts,
    Pair,
    PairServed,
    PathEnd,
    PathPlan,
    Plan,
    Profile,
    RdmaMeasurement,
    Served,
)
from ..plan.both_halves import both_halves
from .registry import Scope


@dataclass(frozen=True)
class Reading:
    """Everything that is known about the nodes of a plan. A node that did not answer is absent."""

    plan: Plan
    profile: Profile
    facts: t.Mapping[str, NodeFacts]
    discoveries: t.Mapping[str, Discovery]
    measurements: t.Mapping[str, RdmaMeasurement]
    nccl: t.Mapping[str, NcclMeasurement] | None = None  # None: NCCL was not to be measured
    check_mode: bool = False

    @property
    def required(self) -> list[str]:
        """The checks that refuse."""
        with_nccl = [] if self.nccl is None else self.profile.get("required_with_nccl", [])
        return [*self.profile["required"], *with_nccl]

    def half_facts(self, node: str, netdev: str) -> HalfFacts | None:
        halves = _get(self.facts.get(node), "halves")
        return t.cast("HalfFacts | None", _first(halves, lambda half: half["netdev"] == netdev))

    def measurement(self, node: str) -> RdmaMeasurement | None:
        """What a node measured, when it did, and did so for this plan's node and this profile."""
        return None if self.why_not_measured(node) else self.measurements[node]

    def why_not_measured(self, node: str) -> str | None:
        measurement = self.measurements.get(node)
        if not isinstance(measurement, dict):
            return f"{node} sent no measurement"
        if measurement.get("skipped") is not None:
            return f"{node} measured nothing: {measurement['skipped']}"
        if (measurement.get("node"), measurement.get("profile")) != (node, self.profile["name"]):
            return f"the measurement of {node} is of another node or by another profile"
        return None

    def rank(self, node: str) -> NcclMeasurement | None:
        """What the rank of a node measured, when it did, and did so for this plan and this profile."""
        return None if self.nccl is None or self.why_no_rank(node) else self.nccl[node]

    def why_no_rank(self, node: str) -> str | None:
        if self.nccl is None:
            return "NCCL was not measured: no image or virtual environment that will serve was named"
        measurement: t.Any = self.nccl.get(node)
        if not isinstance(measurement, dict):
            return f"{node} sent no NCCL measurement"
        if measurement.get("skipped") is not None:
            return f"{node} did not measure NCCL: {measurement['skipped']}"
        planned = (node, self.profile["name"], self.plan["nodes"][node]["rank"], len(self.plan["nodes"]))
        if tuple(map(measurement.get, ("node", "profile", "rank", "world_size"))) != planned:
            return f"the NCCL measurement of {node} is of another node or plan, or by another profile"
        return None

    @functools.cached_property
    def median_gbps(self) -> float | None:
        """The median over all directions of the run, which a relative limit refers to."""
        directions = [
            direction for node in self.plan["nodes"] for direction in _dicts(_get(self.measurement(node), "directions"))
        ]
        medians = [value for value in map(median_bandwidth, directions) if value is not None]
        return statistics.median(medians) if medians else None


def judged_runs(direction: t.Mapping[str, t.Any]) -> list[t.Any]:
    """The runs that count: a warm-up never decides (health-checks 4.2)."""
    return [run for run in _dicts(direction.get("bandwidth")) if run.get("warmup") is False]


def median_bandwidth(direction: t.Mapping[str, t.Any]) -> float | None:
    values = [run.get("gbps") for run in judged_runs(direction)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return statistics.median(numbers) if numbers and len(numbers) == len(values) else None


@dataclass(frozen=True)
class View(abc.ABC):
    """A subject."""

    reading: Reading

    @property
    @abc.abstractmethod
    def key(self) -> str:
        """Unique within a scope: "spark1:p0:a"."""

    @property
    @abc.abstractmethod
    def subject(self) -> dict[str, str]:
        """As a check record names it."""

    @property
    def label(self) -> str:
        return self.key.replace(":", " ")

    @abc.abstractmethod
    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        """The roots of what checks may need, each with its declared shape."""

    def absence(self, source: str) -> str:
        """Why a source is empty, as the end of a sentence."""
        return f"{self.label} did not report its {source}"

    @abc.abstractmethod
    def related(self, scope: Scope) -> list[str]:
        """The subjects of another scope that this one stands on."""

    def far_nodes(self) -> list[str]:
        """The nodes at the other end of the cable; none behind a switch."""
        return []

    @property
    def pieces(self) -> list[str]:
        """Subjects that this one is made of: where one of them is not known, neither is this."""
        return [self.key]


@dataclass(frozen=True)
class NodeView(View):
    node: str

    @property
    def key(self) -> str:
        return self.node

    @property
    def subject(self) -> dict[str, str]:
        return {"node": self.node}

    @property
    def facts(self) -> NodeFacts:
        return self.reading.facts[self.node]

    @property
    def planned(self) -> list[HalfPlan]:
        return self.reading.plan["nodes"][self.node]["halves"]

    @property
    def halves(self) -> list[HalfFacts | None]:
        """The facts of the planned halves."""
        return [self.reading.half_facts(self.node, half["netdev"]) for half in self.planned]

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {"facts": (self.reading.facts.get(self.node), NodeFacts), "halves": (self.halves, list[HalfFacts])}

    def related(self, scope: Scope) -> list[str]:
        return [self.key] if scope == "node" else []


@dataclass(frozen=True)
class HalfView(View):
    node: str
    planned: HalfPlan

    @property
    def key(self) -> str:
        return f"{self.node}:{self.planned['cage']}:{self.planned['half']}"

    @property
    def subject(self) -> dict[str, str]:
        return {"node": self.node, "cage": self.planned["cage"], "half": self.planned["half"]}

    @property
    def facts(self) -> NodeFacts:
        return self.reading.facts[self.node]

    @property
    def half(self) -> HalfFacts:
        half = self.reading.half_facts(self.node, self.planned["netdev"])
        if half is None:
            raise KeyError(self.planned["netdev"])
        return half

    @property
    def growth(self) -> dict[str, int] | None:
        deltas = _get(self.reading.measurement(self.node), "counter_deltas")
        return t.cast("dict[str, int] | None", _get(deltas, self.planned["rdma"]))

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {
            "facts": (self.reading.facts.get(self.node), NodeFacts),
            "half": (self.reading.half_facts(self.node, self.planned["netdev"]), HalfFacts),
            "growth": (self.growth, dict[str, int]),
        }

    def absence(self, source: str) -> str:
        if source == "growth":
            reason = self.reading.why_not_measured(self.node)
            return reason or f"{self.node} sent no error counters of {self.planned['rdma']}"
        return f"{self.node} did not report {self.planned['netdev']}"

    def related(self, scope: Scope) -> list[str]:
        keys = {"half": self.key, "cage": f"{self.node}:{self.planned['cage']}", "node": self.node}
        return [keys[scope]] if scope in keys else []

    def far_nodes(self) -> list[str]:
        return _peers([self.planned])


@dataclass(frozen=True)
class CageView(View):
    node: str
    cage: Cage

    @property
    def key(self) -> str:
        return f"{self.node}:{self.cage}"

    @property
    def subject(self) -> dict[str, str]:
        return {"node": self.node, "cage": self.cage}

    @property
    def planned(self) -> list[HalfPlan]:
        return [half for half in self.reading.plan["nodes"][self.node]["halves"] if half["cage"] == self.cage]

    @property
    def halves(self) -> list[HalfFacts | None]:
        return [self.reading.half_facts(self.node, half["netdev"]) for half in self.planned]

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {
            "discovery": (self.reading.discoveries.get(self.node), Discovery),
            "halves": (self.halves, list[HalfFacts]),
        }

    def absence(self, source: str) -> str:
        if source == "discovery":
            return f"{self.node} did not listen on its cables"
        return f"{self.node} did not report the halves of {self.cage}"

    def related(self, scope: Scope) -> list[str]:
        keys = {"cage": self.key, "node": self.node}
        return [keys[scope]] if scope in keys else []

    def far_nodes(self) -> list[str]:
        return _peers(self.planned)


@dataclass(frozen=True)
class DirectionView(View):
    """One path, one way."""

    path: PathPlan
    sender: PathEnd
    receiver: PathEnd

    @property
    def key(self) -> str:
        return f"{_end_key(self.sender)}>{_end_key(self.receiver)}"

    @property
    def label(self) -> str:
        return f"{_end_key(self.sender)} -> {_end_key(self.receiver)}".replace(":", " ")

    @property
    def subject(self) -> dict[str, str]:
        return {"path": self.path["id"], "from": _end_key(self.sender), "to": _end_key(self.receiver)}

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
    def facts(self) -> NodeFacts:
        return self.reading.facts[self.sender["node"]]

    @property
    def median_gbps(self) -> float | None:
        direction = self._direction()
        return None if direction is None else median_bandwidth(direction)

    @property
    def latency_is_normal(self) -> bool | None:
        """Whether the typical latency passes P04; None when nobody knows."""
        typical = _get(_get(self._direction(), "latency"), "typical_us")
        limit = _get(_get(_get(self.reading.profile["thresholds"], "P04"), "latency_us"), "max")
        return None if typical is None or limit is None else typical <= limit

    def _direction(self) -> Direction | None:
        entries = _get(self.reading.measurement(self.sender["node"]), "directions")
        return t.cast("Direction | None", self._mine(entries))

    def _served(self) -> Served | None:
        entries = _get(self.reading.measurement(self.receiver["node"]), "served")
        return t.cast("Served | None", self._mine(entries))

    def _mine(self, entries: t.Any) -> t.Any:
        wanted = (self.path["id"], self.sender["node"], self.receiver["node"])
        return _first(entries, lambda entry: (entry["path"], entry["from_node"], entry["to_node"]) == wanted)

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {
            "direction": (self._direction(), Direction),
            "served": (self._served(), Served),
            "facts": (self.reading.facts.get(self.sender["node"]), NodeFacts),
        }

    def absence(self, source: str) -> str:
        node = self.receiver["node"] if source == "served" else self.sender["node"]
        if source == "facts":
            return f"{node} did not report its routes"
        return self.reading.why_not_measured(node) or f"{node} has no result for this path"

    def related(self, scope: Scope) -> list[str]:
        ends = (self.sender, self.receiver)
        return {
            "direction": [self.key],
            "half": [_end_key(end) for end in ends],
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
        return f"{_cage_key(self.sender)}>{_cage_key(self.receiver)}"

    @property
    def label(self) -> str:
        return f"{_cage_key(self.sender)} -> {_cage_key(self.receiver)}".replace(":", " ")

    @property
    def subject(self) -> dict[str, str]:
        return {"from": _cage_key(self.sender), "to": _cage_key(self.receiver)}

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
        entries = _get(self.reading.measurement(self.sender["node"]), "pairs")
        return t.cast("Pair | None", self._mine(entries, lambda entry: [half["path"] for half in entry["halves"]]))

    def _served(self) -> PairServed | None:
        entries = _get(self.reading.measurement(self.receiver["node"]), "pairs_served")
        return t.cast("PairServed | None", self._mine(entries, lambda entry: entry["paths"]))

    def _mine(self, entries: t.Any, paths: t.Callable[[t.Any], t.Any]) -> t.Any:
        wanted = (self._paths, self.sender["node"], self.receiver["node"])
        return _first(entries, lambda entry: (paths(entry), entry["from_node"], entry["to_node"]) == wanted)

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


@dataclass(frozen=True)
class ClusterView(View):
    nodes: tuple[str, ...]

    @property
    def key(self) -> str:
        return "+".join(self.nodes)

    @property
    def subject(self) -> dict[str, str]:
        return {"nodes": " ".join(self.nodes)}

    @property
    def members(self) -> list[NodeFacts]:
        return [self.reading.facts[node] for node in self.nodes]

    @property
    def ranks(self) -> list[NcclMeasurement]:
        return [rank for rank in _ranks(self.reading, self.nodes) if rank is not None]

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {
            "members": ([self.reading.facts.get(node) for node in self.nodes], list[NodeFacts]),
            "ranks": (_ranks(self.reading, self.nodes), list[NcclMeasurement]),
        }

    def absence(self, source: str) -> str:
        if source == "ranks":
            return _absent_rank(self.reading, self.nodes)
        return "not every node reported its facts"

    def related(self, scope: Scope) -> list[str]:
        return list(self.nodes) if scope in ("node", "rank") else []

    @property
    def pieces(self) -> list[str]:
        return [self.key, *self.nodes]


@dataclass(frozen=True)
class RankView(View):
    """One rank of the collectives that NCCL ran over all nodes: what a node has beside others only."""

    node: str

    @property
    def key(self) -> str:
        return self.node

    @property
    def subject(self) -> dict[str, str]:
        return {"node": self.node}

    @property
    def planned(self) -> list[HalfPlan]:
        return self.reading.plan["nodes"][self.node]["halves"]

    @property
    def env(self) -> dict[str, str]:
        """The NCCL environment that the plan gives the node."""
        return self.reading.plan["nccl_env"].get(self.node, {})

    @property
    def rank(self) -> NcclMeasurement:
        rank = self.reading.rank(self.node)
        if rank is None:
            raise KeyError(self.node)
        return rank

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {"rank": (self.reading.rank(self.node), NcclMeasurement)}

    def absence(self, source: str) -> str:
        return _absent_rank(self.reading, [self.node])

    def related(self, scope: Scope) -> list[str]:
        if scope == "direction":
            ways = t.cast("t.Iterator[DirectionView]", views("direction", self.reading))
            return [way.key for way in ways if self.node in (way.sender["node"], way.receiver["node"])]
        if scope == "collective":
            return [CollectiveView(self.reading).key]
        return [self.node] if scope in ("node", "rank") else []

    def far_nodes(self) -> list[str]:
        return [node for node in self.reading.plan["nodes"] if node != self.node]

    @property
    def pieces(self) -> list[str]:
        """A rank that waits for another in vain knows nothing either."""
        return [self.node, *self.far_nodes(), CollectiveView(self.reading).key]


@dataclass(frozen=True)
class CollectiveView(View):
    """What all ranks did together."""

    @property
    def nodes(self) -> list[str]:
        return list(self.reading.plan["nodes"])

    @property
    def key(self) -> str:
        return "+".join(self.nodes)

    @property
    def subject(self) -> dict[str, str]:
        return {"ranks": " ".join(self.nodes)}

    @property
    def ranks(self) -> list[NcclMeasurement]:
        return [rank for rank in _ranks(self.reading, self.nodes) if rank is not None]

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {"ranks": (_ranks(self.reading, self.nodes), list[NcclMeasurement])}

    def absence(self, source: str) -> str:
        return _absent_rank(self.reading, self.nodes)

    def related(self, scope: Scope) -> list[str]:
        return [view.key for view in views(scope, self.reading)]

    @property
    def pieces(self) -> list[str]:
        return [self.key, *self.nodes]


def views(scope: Scope, reading: Reading) -> t.Iterator[View]:
    """Every subject of a scope, in the order of the plan."""
    plan = reading.plan
    if scope == "node":
        yield from (NodeView(reading, node) for node in plan["nodes"])
    elif scope == "rank":
        yield from (RankView(reading, node) for node in plan["nodes"] if len(plan["nodes"]) > 1)
    elif scope == "half":
        yield from (HalfView(reading, node, half) for node, entry in plan["nodes"].items() for half in entry["halves"])
    elif scope == "cage":
        yield from (CageView(reading, node, cage) for node, cage in planned_cages(plan))
    elif scope == "direction":
        for path in plan["paths"]:
            first, second = path["ends"]
            yield DirectionView(reading, path, first, second)
            yield DirectionView(reading, path, second, first)
    elif scope == "pair":
        for half_a, half_b in both_halves(plan):
            yield PairView(reading, (DirectionView(reading, *half_a), DirectionView(reading, *half_b)))
    elif scope == "cluster":
        yield ClusterView(reading, tuple(plan["nodes"]))
    else:
        yield CollectiveView(reading)


def _ranks(reading: Reading, nodes: t.Sequence[str]) -> list[NcclMeasurement | None]:
    """The ranks of these nodes. One node alone has none."""
    return [reading.rank(node) for node in nodes] if len(nodes) > 1 else []


def _absent_rank(reading: Reading, nodes: t.Sequence[str]) -> str:
    return next(filter(None, map(reading.why_no_rank, nodes)), "not every node reported its rank")


def planned_cages(plan: Plan) -> list[tuple[str, Cage]]:
    """The cages that the plan puts a cable into."""
    cages = [(node, half["cage"]) for node, entry in plan["nodes"].items() for half in entry["halves"]]
    return list(dict.fromkeys(cages))


def _peers(halves: list[HalfPlan]) -> list[str]:
    return list(dict.fromkeys(half["peer"]["node"] for half in halves if half["peer"] is not None))


def _end_key(end: PathEnd) -> str:
    return f"{end['node']}:{end['cage']}:{end['half']}"


def _cage_key(end: PathEnd) -> str:
    return f"{end['node']}:{end['cage']}"


def _get(value: t.Any, key: str) -> t.Any:
    return value.get(key) if isinstance(value, dict) else None


def _dicts(value: t.Any) -> list[dict[str, t.Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _first(entries: t.Any, wanted: t.Callable[[t.Any], bool]) -> t.Any:
    """The one entry that is wanted; None when there is none, or more than one (then nobody knows which holds)."""
    found = []
    for entry in _dicts(entries):
        try:
            if wanted(entry):
                found.append(entry)
        except (KeyError, TypeError):
            continue
    return found[0] if len(found) == 1 else None
