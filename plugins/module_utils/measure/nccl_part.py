# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This rank's part in one program of nccl-tests: the launcher where the rank comes first, and its own proxy."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import dataclass

from ..contracts import Cause, NcclRun
from ..host import TIMED_OUT
from ..probe.error import ProbeError
from ..probe.nccl_programs import program_argv, read_output, runs_of
from ..probe.nccl_tests import library_version
from . import hydra
from .nccl import rank_environment
from .results import Broken

if t.TYPE_CHECKING:
    from ..contracts import NcclTestsSettings, Plan
    from ..host import CommandResult, Host, Process
    from ..probe.nccl_programs import Job

_KILLED = (TIMED_OUT, 137)  # by us, or by its own guard


class Told(t.TypedDict):
    """What the launching rank tells of a program; of the others only whether they could do their part."""

    runs: list[NcclRun]
    headers: str | None
    message: str | None
    cause: Cause | None


@dataclass(frozen=True)
class Ground:
    """What all parts of a rank stand on."""

    host: Host
    plan: Plan
    settings: NcclTestsSettings
    folder: str  # of the programs
    scratch: str
    control_port: int
    rank: int

    @property
    def members(self) -> list[tuple[str, str]]:
        """Name and management address of every rank, in their order."""
        by_rank = sorted(self.plan["nodes"].items(), key=lambda item: item[1]["rank"])
        return [(name, node["mgmt_ip"]) for name, node in by_rank]

    @property
    def mgmt_netdev(self) -> str:
        return self.plan["nodes"][self.members[self.rank][0]]["mgmt_netdev"]

    def environment(self, log: str) -> dict[str, str]:
        """MPI itself stays on the management network: it must not move the counters of the fabric."""
        name, netdev = self.members[self.rank][0], self.mgmt_netdev
        over_tcp = {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": netdev, "FI_PROVIDER": "tcp", "FI_TCP_IFACE": netdev}
        return hydra.inherited(os.environ) | rank_environment(self.plan, name, str(self.host.path(log))) | over_tcp


class Part:
    """``number``: of the step. ``deadline``: when the time of the profile is up."""

    def __init__(self, ground: Ground, number: int, job: Job, json_too: bool, deadline: float) -> None:
        self._ground = ground
        self._job = job
        self._deadline = deadline
        self._place = job.ranks.index(ground.rank)
        self._json = f"{ground.scratch}/{number}.json" if json_too and self._place == 0 else None
        self.log = f"{ground.scratch}/nccl-{number}.log"
        self._launcher: Process | None = None
        self._proxy: Process | None = None
        self.broken: Broken | None = None

    def launch(self) -> Told:
        """The others start their proxies once the control port is open, which this tells them."""
        if self._place:
            return told()
        ground = self._ground
        json_file = None if self._json is None else str(ground.host.path(self._json))
        command = program_argv(ground.folder, self._job, ground.settings, json_file)
        try:
            self._launcher = hydra.launch(ground.host, self._addresses, command, ground.control_port, self._limit_s)
        except Broken as broken:
            return self._breaks(broken)
        return told()

    def finish(self) -> Told:
        """Wait for the end of the program."""
        ground, limit_s, environment = self._ground, self._limit_s, self._ground.environment(self.log)
        at = self._addresses[0], ground.control_port
        self._proxy = hydra.join(ground.host, *at, self._place, ground.mgmt_netdev, environment, limit_s)
        if self._launcher is None:
            self._proxy.wait(limit_s + hydra.END_S)
            return told()
        try:
            return self._read(self._launcher.wait(limit_s))
        except Broken as broken:
            return self._breaks(broken)

    def end(self) -> None:
        for process in filter(None, (self._launcher, self._proxy)):
            process.kill() if process.running else process.wait(0)

    @property
    def _limit_s(self) -> int:
        return max(int(self._deadline - time.monotonic()), 0) + 1

    @property
    def _addresses(self) -> list[str]:
        members = self._ground.members
        return [members[rank][1] for rank in self._job.ranks]

    def _breaks(self, broken: Broken) -> Told:
        self.broken = broken
        return {"runs": [], "headers": None, "message": broken.message, "cause": broken.cause}

    def _read(self, result: CommandResult) -> Told:
        """What is to be told of the output. Broken when it is no result."""
        settings = self._ground.settings
        json_text = None if self._json is None else self._ground.host.read(self._json) or ""
        try:
            found = read_output(hydra.output(result.stdout), json_text, self._job, settings)
        except ProbeError as error:
            raise self._why(result, str(error)) from error
        runs = runs_of(found, self._job, settings)
        if result.rc != 0 and not any(run["wrong"] for run in runs):  # wrong data end it with 1 as well
            raise self._why(result, f"it ended with {result.rc}")
        headers = None if found.headers is None else library_version(found.headers)
        return {"runs": runs, "headers": headers, "message": None, "cause": None}

    def _why(self, result: CommandResult, otherwise: str) -> Broken:
        if result.rc in _KILLED and time.monotonic() >= self._deadline:
            said = f"the {self._ground.settings['timeout_s']} s of the profile were up"
            return Broken("environment", said, result)
        first = hydra.ended_first(result.stdout + result.stderr)
        if first is not None:
            where = next((name for name, address in self._ground.members if address == first[0]), first[0])
            return Broken("environment", f"the rank of {where} ended the others, {first[1]}", result)
        if result.rc != 0:
            return Broken("environment", f"it ended with {result.rc}: {hydra.last_words(result)}", result)
        return Broken("instrument", otherwise, result)


def told() -> Told:
    """That all is well so far."""
    return {"runs": [], "headers": None, "message": None, "cause": None}
