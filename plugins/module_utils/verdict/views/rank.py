# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rank of the collectives of NCCL, two of them, and all together."""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass

from ...contracts import HalfPlan, NcclMeasurement, NcclRun
from ..registry import Scope
from .half import cage_views, half_views
from .node import cluster_views, node_views
from .reading import Reading, absent_rank, ranks
from .view import View
from .way import DirectionView, PairView, pair_views, ways

OF_FABRIC: dict[Scope, t.Callable[[Reading], t.Iterator[View]]] = {
    "node": node_views,
    "half": half_views,
    "cage": cage_views,
    "direction": ways,
    "pair": pair_views,
    "cluster": cluster_views,
}


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
        return absent_rank(self.reading, [self.node])

    def related(self, scope: Scope) -> list[str]:
        if scope == "direction":
            mine = (way for way in ways(self.reading) if self.node in (way.sender["node"], way.receiver["node"]))
            return [way.key for way in mine]
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
class RankPairView(View):
    """What two ranks did by themselves; where they are all, that is what all did."""

    nodes: tuple[str, str]

    @property
    def key(self) -> str:
        return "+".join(self.nodes)

    @property
    def subject(self) -> dict[str, str]:
        return {"pair": " ".join(self.nodes)}

    @property
    def ranks(self) -> list[NcclMeasurement]:
        return [rank for rank in ranks(self.reading, self.nodes) if rank is not None]

    @property
    def are_all(self) -> bool:
        return len(self.reading.plan["nodes"]) == len(self.nodes)

    def runs(self, rank: NcclMeasurement) -> list[NcclRun]:
        """The runs of one of the two with the other."""
        if self.are_all:
            return rank["runs"]
        return [run for pair in rank["pairs"] if {rank["node"], pair["peer"]} == {*self.nodes} for run in pair["runs"]]

    @property
    def env(self) -> dict[str, str]:
        return self.reading.plan["nccl_env"].get(self.nodes[0], {})

    @property
    def latency_is_normal(self) -> bool | None:
        """That of every cable between the two; None when nobody knows one of them."""
        normal = [view.latency_is_normal for view in self._cables()]
        return None if None in normal else all(normal)

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {"ranks": (ranks(self.reading, self.nodes), list[NcclMeasurement])}

    def absence(self, source: str) -> str:
        return absent_rank(self.reading, self.nodes)

    def related(self, scope: Scope) -> list[str]:
        if scope in ("node", "rank"):
            return list(self.nodes)
        mine: dict[Scope, list[View]] = {
            "direction": [*self._ways()],
            "pair": [*self._cables()],
            "rank_pair": [self],
            "collective": [CollectiveView(self.reading)],
        }
        return [view.key for view in mine.get(scope, [])]

    def _ways(self) -> t.Iterator[DirectionView]:
        return (way for way in ways(self.reading) if {way.sender["node"], way.receiver["node"]} == {*self.nodes})

    def _cables(self) -> t.Iterator[PairView]:
        cables = pair_views(self.reading)
        return (pair for pair in cables if {pair.sender["node"], pair.receiver["node"]} == {*self.nodes})

    @property
    def pieces(self) -> list[str]:
        return [self.key, *self.nodes, CollectiveView(self.reading).key]


@dataclass(frozen=True)
class CollectiveView(View):
    """What all ranks did together."""

    @property
    def nodes(self) -> list[str]:
        return list(self.reading.plan["nodes"])

    @property
    def are_pair_at_most(self) -> bool:
        return len(self.nodes) <= 2

    @property
    def key(self) -> str:
        return "+".join(self.nodes)

    @property
    def subject(self) -> dict[str, str]:
        return {"ranks": " ".join(self.nodes)}

    @property
    def ranks(self) -> list[NcclMeasurement]:
        return [rank for rank in ranks(self.reading, self.nodes) if rank is not None]

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {"ranks": (ranks(self.reading, self.nodes), list[NcclMeasurement])}

    def absence(self, source: str) -> str:
        return absent_rank(self.reading, self.nodes)

    def related(self, scope: Scope) -> list[str]:
        if scope in ("rank", "collective"):
            return self.nodes if scope == "rank" else [self.key]
        if scope == "rank_pair":
            return [view.key for view in rank_pair_views(self.reading)]
        return [view.key for view in OF_FABRIC[scope](self.reading)]

    @property
    def pieces(self) -> list[str]:
        return [self.key, *self.nodes]


def rank_views(reading: Reading) -> t.Iterator[RankView]:
    """Every rank. One node alone has none."""
    nodes = reading.plan["nodes"]
    return (RankView(reading, node) for node in nodes if len(nodes) > 1)


def rank_pair_views(reading: Reading) -> t.Iterator[RankPairView]:
    """Every two ranks."""
    return (RankPairView(reading, nodes) for nodes in itertools.combinations(reading.plan["nodes"], 2))


def collective_views(reading: Reading) -> t.Iterator[CollectiveView]:
    """What all ranks did together."""
    yield CollectiveView(reading)
