# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a path, a cable or a collective reached, beside what an earlier run kept of it."""

from __future__ import annotations

import statistics
import typing as t
from dataclasses import dataclass

from ...contracts import BaselineNumber, Level, NcclRun
from ...probe.commands import BANDWIDTH_TOOL, LATENCY_TOOL
from ...shape import fits
from ..baseline import NumberKey
from ..registry import LEVELS, Scope
from .loose import dicts, get
from .rank import OF_FABRIC, CollectiveView
from .reading import Reading, median_bandwidth
from .view import View
from .way import DirectionView, PairView, pair_views, ways

Measured = dict[NumberKey, float]


@dataclass(frozen=True)
class NumberView(View):
    """The numbers of one subject, each with the earlier number of the same key."""

    of: DirectionView | PairView | CollectiveView

    @property
    def key(self) -> str:
        return self.of.key

    @property
    def label(self) -> str:
        return self.of.label

    @property
    def subject(self) -> dict[str, str]:
        return self.of.subject

    @property
    def level(self) -> Level:
        return LEVELS[self._scope]

    @property
    def nodes(self) -> list[str]:
        if isinstance(self.of, CollectiveView):
            return self.of.nodes
        return [self.of.sender["node"], self.of.receiver["node"]]

    @property
    def numbers(self) -> Measured | None:
        """What this run measured; None when something of it is not known."""
        if isinstance(self.of, DirectionView):
            return self._of_direction(self.of)
        return self._of_pair(self.of) if isinstance(self.of, PairView) else self._of_collective(self.of)

    @property
    def earlier(self) -> dict[NumberKey, BaselineNumber]:
        """What was kept of the same keys."""
        return {key: self.reading.baseline[key] for key in self.numbers or {} if key in self.reading.baseline}

    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        return {"numbers": (self.numbers, dict[str, float])}

    def absence(self, source: str) -> str:
        if isinstance(self.of, CollectiveView):
            return self.of.absence("ranks")
        return self.reading.why_not_measured(self.of.sender["node"]) or f"{self.label} was not measured in full"

    def related(self, scope: Scope) -> list[str]:
        return self.of.related(scope) if scope in OF_FABRIC or isinstance(self.of, CollectiveView) else []

    @property
    def pieces(self) -> list[str]:
        return self.of.pieces

    @property
    def _scope(self) -> Scope:
        if isinstance(self.of, DirectionView):
            return "direction"
        return "pair" if isinstance(self.of, PairView) else "collective"

    def _named(self, tool: str, size: int, number: str) -> NumberKey:
        reading = self.reading
        return NumberKey(reading.profile["name"], reading.plan["topology"], self.key, tool, size, number)

    def _of_direction(self, way: DirectionView) -> Measured | None:
        direction = way.sources()["direction"][0]
        bandwidth, latency = way.median_gbps, get(get(direction, "latency"), "typical_us")
        if bandwidth is None or not fits(latency, float):
            return None
        profile = self.reading.profile
        return {
            self._named(BANDWIDTH_TOOL, profile["bandwidth"]["size_bytes"], "bw_gbps"): bandwidth,
            self._named(LATENCY_TOOL, profile["latency"]["size_bytes"], "lat_us"): latency,
        }

    def _of_pair(self, pair: PairView) -> Measured | None:
        halves = dicts(get(pair.sources()["pair"][0], "halves"))
        medians = [median_bandwidth(half) for half in halves]
        known = [median for median in medians if median is not None]
        if len(known) != 2 or len(medians) != 2:
            return None
        size = self.reading.profile["bandwidth"]["size_bytes"]
        return {self._named(BANDWIDTH_TOOL, size, "sum_gbps"): sum(known)}

    def _of_collective(self, collective: CollectiveView) -> Measured | None:
        """By tool and size, of the slowest rank."""
        ranks = [_busbw(rank) for rank in collective.ranks]
        if len(ranks) < len(self.nodes) or not all(ranks):
            return None
        common = set.intersection(*(set(rank) for rank in ranks))
        return {
            self._named(tool, size, "busbw_gbs"): min(rank[tool, size] for rank in ranks)
            for tool, size in sorted(common)
        }


def _busbw(rank: t.Mapping[str, t.Any]) -> dict[tuple[str, int], float]:
    """The median of the repeats; a warm-up never decides."""
    found: dict[tuple[str, int], list[float]] = {}
    runs = rank.get("runs")
    for run in t.cast("list[NcclRun]", runs) if fits(runs, list[NcclRun]) else []:
        if not run["warmup"]:
            tool = f"{rank.get('harness')} {run['collective']}"
            found.setdefault((tool, run["size_bytes"]), []).append(run["busbw_gbs"])
    return {key: statistics.median(values) for key, values in found.items()}


def number_views(reading: Reading) -> t.Iterator[NumberView]:
    """Every path both ways, every cable with both halves at once, and the collective where it was asked for."""
    for way in ways(reading):
        yield NumberView(reading, way)
    for pair in pair_views(reading):
        yield NumberView(reading, pair)
    if reading.nccl is not None and len(reading.plan["nodes"]) > 1:
        yield NumberView(reading, CollectiveView(reading))


def measured_numbers(reading: Reading) -> Measured:
    """All that this run could add to the baseline."""
    return {key: value for view in number_views(reading) for key, value in (view.numbers or {}).items()}
