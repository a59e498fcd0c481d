# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that was read and measured."""

from __future__ import annotations

import functools
import statistics
import typing as t
from dataclasses import dataclass, field

from ...contracts import (
    Discovery,
    HalfFacts,
    NcclHarness,
    NcclMeasurement,
    NcclSettings,
    NcclTestsSettings,
    NodeFacts,
    Plan,
    Profile,
    RdmaMeasurement,
)
from ...shape import fits
from ..baseline import Marks, Numbers
from .loose import dicts, first, get

_NO_LOAD = "the programs of nccl-tests do not load the GPU"
_NO_RUNTIME = "NCCL was not measured: no image or virtual environment that will serve was named"
OF_NCCL = ("rank", "ranks")  # sources that are there only when NCCL was to be measured


@dataclass(frozen=True)
class Reading:
    """Everything that is known about the nodes of a plan. A node that did not answer is absent."""

    plan: Plan
    profile: Profile
    facts: t.Mapping[str, NodeFacts]
    discoveries: t.Mapping[str, Discovery]
    measurements: t.Mapping[str, RdmaMeasurement]
    nccl: t.Mapping[str, NcclMeasurement] | None = None  # None: NCCL was not to be measured
    harness: NcclHarness = "torch"  # with which NCCL was to be measured
    check_mode: bool = False
    baseline: Numbers = field(default_factory=dict)  # what earlier runs kept
    carriers: Marks = field(default_factory=dict)
    changed: t.Collection[str] = ()  # nodes whose links this very run has changed
    soak_s: int = 0  # how long collectives were to be kept up (C08); 0: they were not

    @property
    def required(self) -> list[str]:
        """The checks that refuse."""
        with_nccl = [] if self.nccl is None else self._required_with_nccl
        with_soak = self.profile.get("required_with_soak", []) if self.soak_s else []
        return [*self.profile["required"], *with_nccl, *with_soak]

    @property
    def _required_with_nccl(self) -> list[str]:
        """A profile that does not know nccl-tests asks for everything, and they do not measure everything."""
        with_torch = self.profile.get("required_with_nccl", [])
        return with_torch if self.harness == "torch" else self.profile.get("required_with_nccl_tests", with_torch)

    @property
    def nccl_settings(self) -> NcclSettings | NcclTestsSettings:
        return self.profile["nccl"] if self.harness == "torch" else self.profile["nccl_tests"]

    def why_not_asked(self, source: str, path: t.Sequence[str]) -> str | None:
        """Why nobody wanted to know this; None when somebody did."""
        if source not in OF_NCCL:
            return None
        if [*path] == ["soak"]:
            return None if self.soak_s else "no soak was asked for"
        if self.nccl is None:
            return _NO_RUNTIME
        return _NO_LOAD if self.harness == "nccl_tests" and path and path[0] == "gpu_load" else None

    def half_facts(self, node: str, netdev: str) -> HalfFacts | None:
        halves = get(self.facts.get(node), "halves")
        return t.cast("HalfFacts | None", first(halves, lambda half: half["netdev"] == netdev))

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
        return self._not_of_this_run(node, measurement)

    def _not_of_this_run(self, node: str, measurement: RdmaMeasurement | NcclMeasurement) -> str | None:
        """Why its numbers say nothing of the node that was read: another boot, an earlier run, a clock that jumped."""
        facts = self.facts.get(node)
        boot, read_at = get(facts, "boot_id"), get(facts, "uptime_s")
        measured_in, began = get(measurement, "boot_id"), get(measurement, "uptime_s")
        step = get(measurement, "clock_step_s")
        if facts is None:
            return None  # N00 says so
        if not (fits(boot, str) and fits(measured_in, str) and fits(began, float) and fits(step, float)):
            return f"in which boot of {node} it was read and measured is not known"
        if measured_in != boot:
            return f"{node} was started again between being read and being measured: measure again"
        if not fits(read_at, float) or began < read_at:
            return f"the measurement of {node} is older than what was read of it: measure again"
        if abs(step) > self.profile["clock_step_s"]["max"]:
            return f"the clock of {node} was set by {step:+.0f} s while it measured: see what sets it, measure again"
        return None

    def rank(self, node: str) -> NcclMeasurement | None:
        """What the rank of a node measured, when it did, and did so for this plan and this profile."""
        return None if self.nccl is None or self.why_no_rank(node) else self.nccl[node]

    def why_no_rank(self, node: str) -> str | None:
        if self.nccl is None:
            return _NO_RUNTIME
        measurement: t.Any = self.nccl.get(node)
        if not isinstance(measurement, dict):
            return f"{node} sent no NCCL measurement"
        if measurement.get("skipped") is not None:
            return f"{node} did not measure NCCL: {measurement['skipped']}"
        planned = (node, self.profile["name"], self.plan["nodes"][node]["rank"], len(self.plan["nodes"]))
        if tuple(map(measurement.get, ("node", "profile", "rank", "world_size"))) != planned:
            return f"the NCCL measurement of {node} is of another node or plan, or by another profile"
        if measurement.get("harness") != self.harness:
            return f"the NCCL measurement of {node} is not by the harness {self.harness}"
        return self._not_of_this_run(node, t.cast("NcclMeasurement", measurement))

    @functools.cached_property
    def median_gbps(self) -> float | None:
        """The median over all directions of the run, which a relative limit refers to."""
        directions = [
            direction for node in self.plan["nodes"] for direction in dicts(get(self.measurement(node), "directions"))
        ]
        medians = [value for value in map(median_bandwidth, directions) if value is not None]
        return statistics.median(medians) if medians else None


def judged_runs(direction: t.Mapping[str, t.Any]) -> list[t.Any]:
    """The runs that count: a warm-up never decides (health-checks 4.2)."""
    return [run for run in dicts(direction.get("bandwidth")) if run.get("warmup") is False]


def median_bandwidth(direction: t.Mapping[str, t.Any]) -> float | None:
    values = [run.get("gbps") for run in judged_runs(direction)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return statistics.median(numbers) if numbers and len(numbers) == len(values) else None


def ranks(reading: Reading, nodes: t.Sequence[str]) -> list[NcclMeasurement | None]:
    """The ranks of these nodes. One node alone has none."""
    return [reading.rank(node) for node in nodes] if len(nodes) > 1 else []


def absent_rank(reading: Reading, nodes: t.Sequence[str]) -> str:
    return next(filter(None, map(reading.why_no_rank, nodes)), "not every node reported its rank")
