# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node, and all nodes compared."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...contracts import HalfFacts, HalfPlan, NcclMeasurement, NodeFacts
from ..registry import Scope
from .reading import Reading, absent_rank, ranks
from .view import View


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

    @property
    def rank(self) -> NcclMeasurement:
        rank = self.reading.rank(self.node)
        if rank is None:
            raise KeyError(self.node)
        return rank

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {
            "facts": (self.reading.facts.get(self.node), NodeFacts),
            "halves": (self.halves, list[HalfFacts]),
            "rank": (self.reading.rank(self.node), NcclMeasurement),
        }

    def absence(self, source: str) -> str:
        return absent_rank(self.reading, [self.node]) if source == "rank" else super().absence(source)

    def related(self, scope: Scope) -> list[str]:
        return [self.key] if scope in ("node", "rank") else []


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
        return [rank for rank in ranks(self.reading, self.nodes) if rank is not None]

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {
            "members": ([self.reading.facts.get(node) for node in self.nodes], list[NodeFacts]),
            "ranks": (ranks(self.reading, self.nodes), list[NcclMeasurement]),
        }

    def absence(self, source: str) -> str:
        if source == "ranks":
            return absent_rank(self.reading, self.nodes)
        return "not every node reported its facts"

    def related(self, scope: Scope) -> list[str]:
        return list(self.nodes) if scope in ("node", "rank") else []

    @property
    def pieces(self) -> list[str]:
        return [self.key, *self.nodes]


def node_views(reading: Reading) -> t.Iterator[NodeView]:
    """Every node of the plan."""
    return (NodeView(reading, node) for node in reading.plan["nodes"])


def cluster_views(reading: Reading) -> t.Iterator[ClusterView]:
    """All nodes together."""
    yield ClusterView(reading, tuple(reading.plan["nodes"]))
