# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A half and the cage it is in."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...contracts import Cage, CarrierMark, Discovery, HalfFacts, HalfPlan, NodeFacts, Plan
from ...shape import fits
from ..registry import Scope
from .loose import get
from .reading import Reading
from .view import View
from .way import DirectionView, ways


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
    def ways(self) -> list[DirectionView]:
        """The ways that begin or end here."""
        return [way for way in ways(self.reading) if self.key in way.related("half")]

    @property
    def growth(self) -> dict[str, int] | None:
        deltas = get(self.reading.measurement(self.node), "counter_deltas")
        return t.cast("dict[str, int] | None", get(deltas, self.planned["rdma"]))

    @property
    def measured_s(self) -> float | None:
        """How long it took in which counters grew. The wait for the peers is in it: a few seconds of some minutes."""
        seconds = get(self.reading.measurement(self.node), "duration_s")
        return t.cast("float", seconds) if fits(seconds, float) and seconds > 0 else None

    @property
    def lossless_priority(self) -> int | None:
        """The priority that is paused by design; None where the plan declares no lossless fabric."""
        return t.cast("int | None", get(get(self.reading.plan, "lossless"), "traffic_class"))

    @property
    def ends(self) -> list[NodeFacts]:
        """Of this node and of the one at the other end of the cable, where there is one."""
        return [self.reading.facts[node] for node in self._end_nodes]

    @property
    def was_changed(self) -> bool:
        """Whether this run has changed the links at either end."""
        return any(node in self.reading.changed for node in self._end_nodes)

    @property
    def mark_of_these_boots(self) -> CarrierMark | None:
        """The last mark, when neither end has booted and the counter has not started anew since."""
        mark = self.reading.carriers.get(self.key)
        count = self.half["carrier_down_count"]
        if mark is None or count is None or count < mark["carrier_down_count"]:
            return None
        return mark if (mark["boot_id"], mark["peer_boot_id"]) == self._boots else None

    def mark(self, run_id: str, date: str) -> CarrierMark | None:
        """How often the carrier was lost up to now; None when that is not known."""
        boot, peer_boot = self._boots
        count = get(self.reading.half_facts(self.node, self.planned["netdev"]), "carrier_down_count")
        if not fits(count, int) or boot is None or (peer_boot is None and self.far_nodes()):
            return None
        return {
            "half": self.key,
            "carrier_down_count": count,
            "boot_id": boot,
            "peer_boot_id": peer_boot,
            "run_id": run_id,
            "date": date,
        }

    @property
    def _boots(self) -> tuple[str | None, str | None]:
        """Of this end and of the other one; None for what is not known or not there."""
        boots = [get(self.reading.facts.get(node), "boot_id") for node in self._end_nodes]
        own, peer, *_none = [boot if isinstance(boot, str) else None for boot in [*boots, None]]
        return own, peer

    @property
    def _end_nodes(self) -> list[str]:
        return [self.node, *self.far_nodes()]

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {
            "ends": ([self.reading.facts.get(node) for node in self._end_nodes], list[NodeFacts]),
            "facts": (self.reading.facts.get(self.node), NodeFacts),
            "half": (self.reading.half_facts(self.node, self.planned["netdev"]), HalfFacts),
            "growth": (self.growth, dict[str, int]),
        }

    def absence(self, source: str) -> str:
        if source == "growth":
            reason = self.reading.why_not_measured(self.node)
            return reason or f"{self.node} sent no error counters of {self.planned['rdma']}"
        if source == "ends":
            return f"{' or '.join(self._end_nodes)} did not report its boot"
        return f"{self.node} did not report {self.planned['netdev']}"

    def related(self, scope: Scope) -> list[str]:
        keys = {"half": self.key, "cage": f"{self.node}:{self.planned['cage']}", "node": self.node}
        return [keys[scope]] if scope in keys else []

    def far_nodes(self) -> list[str]:
        return peers([self.planned])

    @property
    def pieces(self) -> list[str]:
        return [self.key, self.node]


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
        return peers(self.planned)


def half_views(reading: Reading) -> t.Iterator[HalfView]:
    """Every planned half, in the order of the plan."""
    nodes = reading.plan["nodes"].items()
    return (HalfView(reading, node, half) for node, entry in nodes for half in entry["halves"])


def cage_views(reading: Reading) -> t.Iterator[CageView]:
    """Every cage with a cable."""
    return (CageView(reading, node, cage) for node, cage in planned_cages(reading.plan))


def planned_cages(plan: Plan) -> list[tuple[str, Cage]]:
    """The cages that the plan puts a cable into."""
    cages = [(node, half["cage"]) for node, entry in plan["nodes"].items() for half in entry["halves"]]
    return list(dict.fromkeys(cages))


def peers(halves: list[HalfPlan]) -> list[str]:
    """The nodes at the far ends of these halves; none behind a switch."""
    return list(dict.fromkeys(half["peer"]["node"] for half in halves if half["peer"] is not None))
