# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rank of the programs of nccl-tests.

The ranks meet at the management address of rank 0, agree on what fits into the memory of all, and then run program
after program by MPICH's hydra, all ranks together first and every two of them afterwards. Only the launching rank of a
program sees its output, and tells the others.
"""

from __future__ import annotations

import os
import time
import typing as t

from ..probe.nccl_programs import Step, steps
from ..probe.schedule import plan_nonce
from ..shape import fits
from . import hydra, nccl_place
from .meeting import Meeting
from .nccl_bench import available_bytes
from .nccl_collectives import rounds_of_pairs
from .nccl_part import Ground, Part, Told, told
from .nccl_summary import read_log
from .nccl_watch import Counts, counts
from .readiness import wanted_free_kib
from .results import Broken
from .sysfs import growth

if t.TYPE_CHECKING:
    from ..contracts import NcclMeasurement, Plan, Profile
    from ..host import Host
    from .nccl_programs import Programs

GRACE_S = 15.0  # for the others to tell of a program that is over


class Arrival(t.TypedDict):
    """What a rank tells of itself first."""

    spare_bytes: int
    programs: str  # sha256 of both


class Rank:
    """One rank from its coming to its going."""

    def __init__(
        self,
        measurement: NcclMeasurement,
        host: Host,
        plan: Plan,
        profile: Profile,
        programs: Programs,
        scratch: str,
        control_port: int,
    ) -> None:
        self._measurement = measurement
        self._host = host
        self._plan = plan
        self._profile = profile
        self._settings = profile["nccl_tests"]
        self._programs = programs
        self._number = measurement["rank"]
        self._ground = Ground(host, plan, self._settings, programs.folder, scratch, control_port, self._number)
        self._members = self._ground.members
        self._logs: list[str] = []
        self._logs_together = 0
        self._deadline = 0.0

    def run(self, port: int) -> None:
        measurement, stage = self._measurement, "start"
        before: Counts | None = None
        meeting = Meeting(self._number, self._members, port, plan_nonce(self._plan))
        try:
            measurement["library"] = self._programs.library(self._host)
            inherited = hydra.inherited(os.environ)
            measurement["inside"] = t.cast("t.Any", nccl_place.inside({}, inherited))
            arrival, stage = self._arrival(), "rendezvous"
            arrivals = self._arrivals(meeting.begin(arrival, self._profile["rendezvous_s"]))
            self._deadline = time.monotonic() + self._settings["timeout_s"]
            json_too = self._programs.writes_json(self._host)
            before = counts(self._host)
            for number, step in enumerate(self._steps(arrivals)):
                if step.stage == "pairs" and stage != "pairs":
                    self._end_together(before)
                stage = step.stage
                self._take(step, self._do(meeting, number, step, json_too), arrivals, arrival)
            if stage != "pairs":
                self._end_together(before)
        except Broken as broken:
            measurement["failure"] = broken.failure(stage)
            if before is not None and not measurement["tx_bytes"]:
                self._end_together(before)
        finally:
            meeting.close()
            self._read_logs()

    # --- what is to be done ---

    def _arrival(self) -> Arrival:
        spare = available_bytes(self._host.read("/proc/meminfo") or "") - wanted_free_kib(self._profile) * 1024
        return {"spare_bytes": spare, "programs": self._programs.digest(self._host)}

    def _arrivals(self, values: list[t.Any]) -> list[Arrival]:
        if not fits(values, list[Arrival]):
            raise Broken("instrument", "a rank said something else than what it has")
        return t.cast("list[Arrival]", values)

    def _steps(self, arrivals: list[Arrival]) -> list[Step]:
        """A program has three buffers of its size: sent, received and expected."""
        most = min(arrival["spare_bytes"] for arrival in arrivals) // 3
        sizes, pair_sizes = sorted(self._settings["sizes_bytes"]), sorted(self._settings["pair_sizes_bytes"])
        self._measurement["left_out"] = [size for size in sizes if size > most]
        ranks = len(self._members)
        return steps(
            ranks,
            [size for size in sizes if size <= most],
            [size for size in pair_sizes if size <= most],
            rounds_of_pairs(ranks),
        )

    # --- one step ---

    def _do(self, meeting: Meeting, number: int, step: Step, json_too: bool) -> Told | None:
        """Run this rank's program of a step; returns what its launching rank tells of it, None without a program."""
        job = step.job_of(self._number)
        part = Part(self._ground, number, job, json_too, self._deadline) if job else None
        self._logs += [part.log] if part else []
        try:
            ready = part.launch() if part else told()
            self._all_well(meeting.exchange(ready, GRACE_S + hydra.LISTEN_S), part)
            mine = part.finish() if part else told()
            left_s = max(self._deadline - time.monotonic(), 0.0)
            all_told = meeting.exchange(mine, left_s + GRACE_S)
        finally:
            if part:
                part.end()
        self._all_well(all_told, part)
        return t.cast("Told", all_told[job.ranks[0]]) if job else None

    def _all_well(self, all_told: list[t.Any], part: Part | None) -> None:
        """Whoever broke says so itself; the others stop with it."""
        if part and part.broken:
            raise part.broken
        if not fits(all_told, list[Told]):
            raise Broken("instrument", "a rank told something else than what came of a program")
        for rank, each in enumerate(t.cast("list[Told]", all_told)):
            if each["message"] is not None:
                raise Broken("environment", f"{self._members[rank][0]}: {each['message']}")

    def _take(self, step: Step, told_of: Told | None, arrivals: list[Arrival], own: Arrival) -> None:
        job, library = step.job_of(self._number), self._measurement["library"]
        if job is None or told_of is None:
            return
        # The launching rank knows with what its own file was built, and so of every equal one.
        if library is not None and arrivals[job.ranks[0]]["programs"] == own["programs"]:
            library["headers"] = told_of["headers"]
        if step.stage != "pairs":
            self._measurement["runs"] += told_of["runs"]
            return
        (peer,) = {*job.ranks} - {self._number}
        name, pairs = self._members[peer][0], self._measurement["pairs"]
        known = next((pair for pair in pairs if pair["peer"] == name), None)
        if known is None:
            pairs.append({"peer": name, "runs": list(told_of["runs"])})
        else:
            known["runs"] += told_of["runs"]

    # --- afterwards ---

    def _end_together(self, before: Counts) -> None:
        """What was sent and logged so far, was by all ranks together."""
        after = counts(self._host)
        moved = [
            {device: growth(count, then.get(device)) for device, count in now.items()}
            for now, then in ((before.sent, after.sent), (before.received, after.received))
        ]
        self._measurement["tx_bytes"], self._measurement["rx_bytes"] = moved
        self._logs_together = len(self._logs)

    def _read_logs(self) -> None:
        if not self._logs:
            return
        first = self._logs[: self._logs_together]
        together = sum(self._host.size(log) or 0 for log in first) if len(first) < len(self._logs) else None

        def lines() -> t.Iterator[str]:
            return (line for log in self._logs for line in self._host.lines(log))

        self._measurement["log"], self._measurement["pair_transports"] = read_log(lines, together)
