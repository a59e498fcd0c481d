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

from ..contracts import Cause, NcclRun
from ..host import TIMED_OUT
from ..probe.error import ProbeError
from ..probe.nccl_programs import Job, Step, program_argv, read_output, runs_of, steps
from ..probe.nccl_tests import library_version
from ..probe.schedule import plan_nonce
from ..shape import fits
from . import hydra, nccl_place
from .meeting import Meeting
from .nccl import rank_environment
from .nccl_bench import available_bytes
from .nccl_collectives import rounds_of_pairs
from .nccl_summary import read_log
from .nccl_watch import Counts, counts
from .readiness import wanted_free_kib
from .results import Broken
from .sysfs import growth

if t.TYPE_CHECKING:
    from ..contracts import NcclMeasurement, Plan, Profile
    from ..host import CommandResult, Host, Process
    from .nccl_programs import Programs

GRACE_S = 15.0  # for the others to tell of a program that is over
_KILLED = (TIMED_OUT, 137)  # by us, or by its own guard


class Arrival(t.TypedDict):
    """What a rank tells of itself first."""

    spare_bytes: int
    programs: str  # sha256 of both


class Told(t.TypedDict):
    """What the launching rank tells of a program; of the others only whether they could do their part."""

    runs: list[NcclRun]
    headers: str | None
    message: str | None
    cause: Cause | None


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
        self._scratch = scratch
        self._control_port = control_port
        self._number = measurement["rank"]
        by_rank = sorted(plan["nodes"].items(), key=lambda item: item[1]["rank"])
        self._members = [(name, node["mgmt_ip"]) for name, node in by_rank]
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
        try:
            return {"spare_bytes": spare, "programs": self._programs.digest()}
        except OSError as error:
            raise Broken("software", f"the programs cannot be read: {error.strerror}") from error

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
        part = Part(self, number, job, json_too) if job else None
        try:
            ready = part.launch() if part else _told()
            self._all_well(meeting.exchange(ready, GRACE_S + hydra.LISTEN_S), part)
            mine = part.finish() if part else _told()
            told = meeting.exchange(mine, self._left_s + GRACE_S)
        finally:
            if part:
                part.end()
        self._all_well(told, part)
        return t.cast("Told", told[job.ranks[0]]) if job else None

    def _all_well(self, told: list[t.Any], part: Part | None) -> None:
        """Whoever broke says so itself; the others stop with it."""
        if part and part.broken:
            raise part.broken
        if not fits(told, list[Told]):
            raise Broken("instrument", "a rank told something else than what came of a program")
        for rank, each in enumerate(t.cast("list[Told]", told)):
            if each["message"] is not None:
                raise Broken("environment", f"{self._members[rank][0]}: {each['message']}")

    def _take(self, step: Step, told: Told | None, arrivals: list[Arrival], own: Arrival) -> None:
        job, library = step.job_of(self._number), self._measurement["library"]
        if job is None or told is None:
            return
        # The launching rank knows with what its own file was built, and so of every equal one.
        if library is not None and arrivals[job.ranks[0]]["programs"] == own["programs"]:
            library["headers"] = told["headers"]
        if step.stage != "pairs":
            self._measurement["runs"] += told["runs"]
            return
        (peer,) = {*job.ranks} - {self._number}
        name, pairs = self._members[peer][0], self._measurement["pairs"]
        known = next((pair for pair in pairs if pair["peer"] == name), None)
        if known is None:
            pairs.append({"peer": name, "runs": list(told["runs"])})
        else:
            known["runs"] += told["runs"]

    # --- for a part ---

    @property
    def host(self) -> Host:
        return self._host

    @property
    def control_port(self) -> int:
        return self._control_port

    @property
    def _left_s(self) -> float:
        return max(self._deadline - time.monotonic(), 1.0)

    def limit_s(self) -> int:
        return int(self._left_s) + 1

    def place(self, ranks: tuple[int, ...]) -> int:
        return ranks.index(self._number)

    def addresses(self, ranks: tuple[int, ...]) -> list[str]:
        return [self._members[rank][1] for rank in ranks]

    def command(self, job: Job, json_file: str | None) -> list[str]:
        return program_argv(self._programs.folder, job, self._settings, json_file)

    def file(self, name: str) -> str:
        return f"{self._scratch}/{name}"

    def environment(self, log: str) -> dict[str, str]:
        """MPI itself stays on the management network: it must not move the counters of the fabric."""
        name, _address = self._members[self._number]
        netdev = self._plan["nodes"][name]["mgmt_netdev"]
        over_tcp = {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": netdev, "FI_PROVIDER": "tcp", "FI_TCP_IFACE": netdev}
        return hydra.inherited(os.environ) | rank_environment(self._plan, name, str(self._host.path(log))) | over_tcp

    def log_of(self, number: int) -> str:
        self._logs.append(self.file(f"nccl-{number}.log"))
        return self._logs[-1]

    def read(self, result: CommandResult, json_file: str | None, job: Job) -> Told:
        """Told from the output of a program. Broken when there is nothing to be told."""
        json_text = None if json_file is None else self._host.read(json_file) or ""
        try:
            found = read_output(hydra.output(result.stdout), json_text, job, self._settings)
        except ProbeError as error:
            raise self._why(result, str(error)) from error
        runs = runs_of(found, job, self._settings)
        if result.rc != 0 and not any(run["wrong"] for run in runs):  # wrong data end it with 1 as well
            raise self._why(result, f"it ended with {result.rc}")
        headers = None if found.headers is None else library_version(found.headers)
        return {"runs": runs, "headers": headers, "message": None, "cause": None}

    def _why(self, result: CommandResult, otherwise: str) -> Broken:
        if result.rc in _KILLED and time.monotonic() >= self._deadline:
            return Broken("environment", f"the {self._settings['timeout_s']} s of the profile were up", result)
        first = hydra.ended_first(result.stdout + result.stderr)
        if first is not None:
            where = next((name for name, address in self._members if address == first[0]), first[0])
            return Broken("environment", f"the rank of {where} ended the others, {first[1]}", result)
        if result.rc != 0:
            return Broken("environment", f"it ended with {result.rc}: {hydra.last_words(result)}", result)
        return Broken("instrument", otherwise, result)

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
        lines = lambda: (line for log in self._logs for line in self._host.lines(log))  # noqa: E731
        self._measurement["log"], self._measurement["pair_transports"] = read_log(lines, together)


class Part:
    """This rank's part in one program: the launcher where it comes first, and its own proxy."""

    def __init__(self, rank: Rank, number: int, job: Job, json_too: bool) -> None:
        self._rank = rank
        self._job = job
        self._launches = rank.place(job.ranks) == 0
        self._json = rank.file(f"{number}.json") if json_too and self._launches else None
        self._environment = rank.environment(rank.log_of(number))
        self._launcher: Process | None = None
        self._proxy: Process | None = None
        self.broken: Broken | None = None

    def launch(self) -> Told:
        """The others start their proxies once the control port is open, which this tells them."""
        if not self._launches:
            return _told()
        rank = self._rank
        json_file = None if self._json is None else str(rank.host.path(self._json))
        command, addresses = rank.command(self._job, json_file), rank.addresses(self._job.ranks)
        try:
            self._launcher = hydra.launch(rank.host, addresses, command, rank.control_port, rank.limit_s())
        except Broken as broken:
            return self._breaks(broken)
        return _told()

    def finish(self) -> Told:
        """Wait for the end of the program."""
        rank, limit_s = self._rank, self._rank.limit_s()
        address, place = rank.addresses(self._job.ranks)[0], rank.place(self._job.ranks)
        self._proxy = hydra.join(rank.host, address, rank.control_port, place, self._environment, limit_s)
        try:
            if self._launcher is None:
                self._proxy.wait(limit_s + hydra.END_S)
                return _told()
            result = self._launcher.wait(limit_s)
            return rank.read(result, self._json, self._job)
        except Broken as broken:
            return self._breaks(broken)

    def end(self) -> None:
        for process in filter(None, (self._launcher, self._proxy)):
            process.kill() if process.running else process.wait(0)

    def _breaks(self, broken: Broken) -> Told:
        self.broken = broken
        return {"runs": [], "headers": None, "message": broken.message, "cause": broken.cause}


def _told() -> Told:
    return {"runs": [], "headers": None, "message": None, "cause": None}
