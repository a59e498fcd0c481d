# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node's place in the run: its links, its running tools, and what it hears from the others."""

from __future__ import annotations

import time
import typing as t

from ..host import CommandResult, Host, Process
from ..probe.commands import (
    BANDWIDTH_TOOL,
    Endpoint,
    Run,
    ToolOptions,
    bandwidth_runs_of,
    explain_failure,
    runs_of,
)
from ..probe.devinfo import parse_devinfo
from ..probe.error import ProbeError
from ..probe.gids import ROCE_V2, gid_index
from ..probe.perftest import parse_version
from ..probe.schedule import Slot, Way, own_end, plan_nonce
from .hello import AGAIN, DONE, FAILED, WAITING, Hellos, Link
from .results import Broken
from .sysfs import gids_of, growth, rdma_devices

if t.TYPE_CHECKING:
    from ..contracts import Failure, PathEnd, Plan, Profile
    from .hello import Position

POLL_S = 0.05
START_S = 20.0  # from the start of a server until it listens
CONNECT_ATTEMPTS = 3
_GRACE_S = 3.0  # for a tool to end after its counterpart has

ReadBytes: t.TypeAlias = "t.Callable[[Host, str, int | None], int | None]"


class Station:
    """What serving and transmitting have in common. Whoever waits pumps the hellos, and every wait ends."""

    def __init__(self, host: Host, node: str, plan: Plan, profile: Profile, slots: int) -> None:
        self.host = host
        self.profile = profile
        self.options = _tool_options(host)
        self.runs = runs_of(profile)
        self._mtus = _path_mtus(host)
        self._endpoints: dict[str, Endpoint] = {}
        self.links = [self._link(path["id"], *ends) for path in plan["paths"] if (ends := own_end(path, node))]
        self.hellos = Hellos(node, plan_nonce(plan), self.links)
        self.netdevs = {link.own["rdma"]: link.own["netdev"] for link in self.links}
        self._deadline = time.monotonic() + profile["rendezvous_s"] + self._longest(slots)
        self._processes: list[Process] = []

    def _longest(self, slots: int) -> float:
        per_run = START_S + CONNECT_ATTEMPTS * self.profile["command_timeout_s"]
        return per_run * len(self.runs) * max(slots, 1)

    def _link(self, path: str, own: PathEnd, peer: PathEnd) -> Link:
        return Link(path, own, peer, self._why_not_usable(path, own["rdma"], own["netdev"], own["ipv4"]))

    def _why_not_usable(self, path: str, rdma: str, netdev: str, ipv4: str) -> str | None:
        if rdma not in rdma_devices(self.host):
            return f"the RDMA device {rdma} does not exist"
        if self.host.read_line(f"/sys/class/net/{netdev}/carrier") == "0":
            return f"{netdev} has no carrier"
        index = gid_index(gids_of(self.host, rdma), ipv4)
        if index is None:
            return f"{rdma} has no {ROCE_V2} GID for {ipv4}"
        self._endpoints[path] = Endpoint(rdma, index, ipv4)
        return None

    def endpoint(self, path: str) -> Endpoint:
        return self._endpoints[path]

    def close(self) -> None:
        self._end_processes()
        self.hellos.close()

    # --- with the others ---

    def rendezvous(self) -> None:
        deadline = time.monotonic() + self.profile["rendezvous_s"]
        while not self.hellos.settled() and time.monotonic() < deadline:
            self.hellos.pump(POLL_S)
        # A peer that heard us last must learn that we heard it, even when there is nothing to wait for here.
        self.hellos.pump(0)

    def listen(self) -> None:
        """Stay in touch with the others while something else goes on."""
        self.hellos.pump(POLL_S)

    def attempt(self, slot: Slot, perform: t.Callable[[Run], None]) -> Failure | None:
        """All runs of a slot; what ended them early, if anything did."""
        stage = "rendezvous"
        try:
            for way in slot.ways:
                self._check_ready(way)
            self.hellos.announce((slot.index, 0, WAITING))
            for run in self.runs if len(slot.ways) == 1 else bandwidth_runs_of(self.profile):
                stage = run.stage
                perform(run)
        except Broken as broken:
            self.hellos.announce((slot.index, 0, FAILED))
            return broken.failure(stage)
        finally:
            self._end_processes()
        return None

    def _check_ready(self, way: Way) -> None:
        link, heard = self.hellos.link(way.path), self.hellos.heard(way.path)
        peer = link.peer["node"]
        if link.problem:
            raise Broken("configuration", link.problem)
        if heard.problem:
            raise Broken("configuration", f"{peer} says: {heard.problem}")
        if self.hellos.runs_another_plan(way.path):
            raise Broken("configuration", f"{peer} measures another plan: run it on all nodes of one inventory")
        if not self.hellos.ready(way.path):
            raise Broken("environment", self._nobody(link, bool(heard.session)))

    def _nobody(self, link: Link, one_way: bool) -> str:
        seconds, address, peer = self.profile["rendezvous_s"], link.peer["ipv4"], link.peer["node"]
        if one_way:
            return f"{peer} is heard on {link.own['netdev']} but does not hear this node"
        return (
            f"no word from {peer} ({address}) on {link.own['netdev']} within {seconds} s: is it down, is the path "
            "broken, or did it not run at the same time (forks, serial)?"
        )

    def position(self, slot: Slot) -> Position:
        """Where the other end of a slot is."""
        return self.hellos.position(slot.ways[0].path)

    def still_there(self, slot: Slot) -> None:
        reason = self._peer_is_through(slot)
        if reason is not None:
            raise Broken("environment", reason)
        if time.monotonic() > self._deadline:
            raise Broken("instrument", "the whole test ran out of time")

    def _peer_is_through(self, slot: Slot) -> str | None:
        """Why nothing more comes from the other end in this slot."""
        path = slot.ways[0].path
        peer = self.hellos.link(path).peer["node"]
        index, _turn, phase = self.position(slot)
        if index > slot.index or (index, phase) == (slot.index, FAILED):
            return f"{peer} has given up {slot.paths}: see what it says of it"
        return f"{peer} fell silent on {slot.paths} during the test" if self.hellos.gone(path) else None

    def has_word(self, slot: Slot, turn: int) -> bool:
        """Whether the client has said what became of a turn."""
        return self.position(slot) in ((slot.index, turn, DONE), (slot.index, turn, AGAIN))

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.hellos.pump(POLL_S)

    # --- the tools: one process for each way of a slot ---

    def start(self, argvs: t.Iterable[list[str]]) -> list[Process]:
        """Start them at once. Those of the run before are ended."""
        self._end_processes()
        for argv in argvs:
            # Should this probe be killed, its children end by themselves soon after.
            limit_s = self.profile["command_timeout_s"] * CONNECT_ATTEMPTS + 30
            self._processes.append(self.host.start(argv, limit_s=limit_s))
        return list(self._processes)

    def supervise(self, processes: list[Process], limit_s: float, slot: Slot, turn: int) -> list[CommandResult]:
        """Wait for tools. They are ended when their time is up, or soon after the other end has no part any more."""
        deadline, graced = time.monotonic() + limit_s, False
        while _running(processes) and time.monotonic() < deadline:
            if not graced and (self.has_word(slot, turn) or self._peer_is_through(slot)):
                deadline, graced = min(deadline, time.monotonic() + _GRACE_S), True
            self.hellos.pump(POLL_S)
        late = _running(processes)
        if late and (reason := self._peer_is_through(slot)):
            raise Broken("environment", reason, late[0].kill())
        return [process.wait(0 if process.running else 5) for process in processes]

    def _end_processes(self) -> None:
        for process in _running(self._processes):
            process.kill()
        self._processes.clear()

    def tool_failure(self, slot: Slot, way: Way, result: CommandResult) -> Broken:
        timeout_s = self.profile["command_timeout_s"]
        cause, message = explain_failure(result.argv[0], result.rc, result.stdout + result.stderr, timeout_s)
        where = f"half {way.half}: " if len(slot.ways) > 1 else ""
        return Broken(cause, where + message, result)

    # --- bytes ---

    def all_bytes(self, read: ReadBytes) -> dict[str, int | None]:
        return {device: read(self.host, device, self._mtus.get(device)) for device in rdma_devices(self.host)}

    def moved(self, before: dict[str, int | None], read: ReadBytes) -> dict[str, int | None]:
        """Growth since then, on every device: bytes on the wrong one are the finding (P05)."""
        now = self.all_bytes(read) if before else {}
        return {name: growth(value, now.get(name)) for name, value in before.items()}


def _running(processes: t.Iterable[Process]) -> list[Process]:
    return [process for process in processes if process.running]


def _tool_options(host: Host) -> ToolOptions:
    help_text = host.run([BANDWIDTH_TOOL, "--help"])
    version = host.run([BANDWIDTH_TOOL, "--version"])
    text = help_text.stdout + help_text.stderr
    return ToolOptions(
        version=parse_version(version.stdout + version.stderr),
        json="--out_json_file" in text,
        bind_source_ip="--bind_source_ip" in text,
    )


def _path_mtus(host: Host) -> dict[str, int | None]:
    try:
        return {port.device: port.active_mtu for port in parse_devinfo(host.run(["ibv_devinfo"]).stdout)}
    except ProbeError:
        return {}
