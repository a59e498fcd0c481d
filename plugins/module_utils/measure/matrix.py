# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pair matrix of a plan, as one node measures its part of it.

All nodes run this at the same time. Each computes the same schedule, works its own slots off in that order, serves or
transmits, and says over the fabric where it is (``hello``). Nothing else is needed between the nodes. Every wait ends:
a tool has a time limit, a peer that falls silent is given up, and the whole has a deadline.
"""

from __future__ import annotations

import hashlib
import re
import signal
import time
import typing as t
from dataclasses import dataclass, field

from ..host import CommandResult, Host, Process
from ..probe.commands import (
    BANDWIDTH_TOOL,
    LATENCY_TOOL,
    MAX_ATTEMPTS,
    NOT_LISTENING,
    Endpoint,
    Run,
    ToolOptions,
    client_argv,
    clock_failed,
    explain_failure,
    runs_of,
    server_argv,
)
from ..probe.counters import deltas, phy_errors
from ..probe.devinfo import parse_devinfo
from ..probe.error import ProbeError
from ..probe.ethtool import parse_statistics
from ..probe.gids import ROCE_V2, gid_index
from ..probe.perftest import (
    bandwidth_agrees,
    latency_agrees,
    parse_bandwidth,
    parse_latency,
    parse_version,
)
from ..probe.schedule import TURNS_PER_SLOT, Slot, own_end, plan_nonce, schedule
from ..probe.system import parse_gpu_processes, parse_meminfo
from .hello import AGAIN, DONE, FAILED, LISTENING, WAITING, Hellos, Link
from .sysfs import error_counters, gids_of, rdma_devices, rdma_driver, received_bytes, sent_bytes

if t.TYPE_CHECKING:
    from ..contracts import BandwidthRun, Cause, Direction, Failure, LatencyRun, Plan, Profile, RdmaMeasurement, Served

SCHEMA = "1"
_POLL_S = 0.05
_START_S = 20.0  # from the start of a server until it listens
_GRACE_S = 3.0  # for a tool to end after its counterpart has
_CONNECT_ATTEMPTS = 3
_RETRY_S = 0.5
# perftest registers twice its message for each queue pair; the rest is for the tool itself (N09: three times the test).
_TOOL_KIB = 64 * 1024


class _Broken(Exception):
    """A slot cannot go on."""

    def __init__(self, cause: Cause, message: str, result: CommandResult | None = None) -> None:
        super().__init__(message)
        self.cause: Cause = cause
        self.message = message
        self.result = result


class _Instrument(_Broken):
    """A run ended, but what the tool said is no result."""


@dataclass
class _Taken:
    """What one slot has yielded so far."""

    bandwidth: list[BandwidthRun] = field(default_factory=list)
    latency: LatencyRun | None = None
    rcs: list[int] = field(default_factory=list)
    bytes_before: dict[str, int | None] = field(default_factory=dict)
    repeated: list[Failure] = field(default_factory=list)
    turn: int = 0


def measure(host: Host, node: str, plan: Plan, profile: Profile) -> RdmaMeasurement:
    """Measure every planned path of a node, both ways, together with its peers."""
    started = time.monotonic()
    measurement = not_measured(node, profile, why_not_now(host, profile))
    if measurement["skipped"] is None:
        with _ending_on_signals(), host.scratch() as scratch:
            _Matrix(host, node, plan, profile, scratch).fill(measurement)
    measurement["duration_s"] = round(time.monotonic() - started, 2)
    return measurement


def not_measured(node: str, profile: Profile, why: str | None) -> RdmaMeasurement:
    return {
        "schema": SCHEMA,
        "node": node,
        "profile": profile["name"],
        "tool_versions": {},
        "directions": [],
        "served": [],
        "counter_deltas": {},
        "skipped": why,
        "duration_s": 0.0,
    }


def why_not_now(host: Host, profile: Profile) -> str | None:
    """Why the fabric must not be loaded now (health-checks 4.6, N09), or cannot be."""
    missing = [tool for tool in (BANDWIDTH_TOOL, LATENCY_TOOL) if host.which(tool) is None]
    if missing:
        return f"{missing[0]} is not installed: install the package perftest"
    if not rdma_devices(host):
        return "this node has no RDMA device"
    most = TURNS_PER_SLOT // MAX_ATTEMPTS
    if len(runs_of(profile)) > most:
        return f"the profile asks for more than {most - 1} bandwidth runs for each direction"
    needed = _needed_kib(profile)
    try:
        available = parse_meminfo(host.read("/proc/meminfo") or "").get("MemAvailable", 0)
    except ProbeError as error:
        return str(error)
    if available < needed:
        return f"only {available} KiB of memory are available, {needed} are wanted"
    return _gpu_work(host)


def _needed_kib(profile: Profile) -> int:
    """What the profile asks for (N09), at least what the tool takes."""
    settings = profile["bandwidth"]
    own = _TOOL_KIB + 3 * 2 * settings["qps"] * settings["size_bytes"] // 1024
    wanted = profile["thresholds"].get("N09", {}).get("available_gib", {}).get("min", 0)
    return max(own, int(wanted * 1024 * 1024))


def _gpu_work(host: Host) -> str | None:
    result = host.run(["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"])
    try:
        processes = parse_gpu_processes(result.stdout) if result.ok else []
    except ProbeError:
        return None  # the gate asks for an idle GPU by itself (N09); here only a certain one refuses
    if not processes:
        return None
    pids = ", ".join(str(process["pid"]) for process in processes)
    return f"a process is using the GPU (pid {pids}): drain the node first"


class _Matrix:
    def __init__(self, host: Host, node: str, plan: Plan, profile: Profile, scratch: str) -> None:
        self._host = host
        self._node = node
        self._profile = profile
        self._json_file = f"{scratch}/result.json"
        self._options = _tool_options(host)
        self._mtus = _path_mtus(host)
        self._runs = runs_of(profile)
        self._slots = schedule(plan)
        self._endpoints: dict[str, Endpoint] = {}
        links = [self._link(path["id"], *ends) for path in plan["paths"] if (ends := own_end(path, node))]
        self._hellos = Hellos(node, plan_nonce(plan), links)
        self._netdevs = {link.own["rdma"]: link.own["netdev"] for link in links}
        self._deadline = time.monotonic() + profile["rendezvous_s"] + self._longest()
        self._process: Process | None = None

    def _longest(self) -> float:
        per_run = _START_S + _CONNECT_ATTEMPTS * self._profile["command_timeout_s"]
        return per_run * len(self._runs) * max(len(self._slots), 1)

    def _link(self, path: str, own: t.Any, peer: t.Any) -> Link:
        return Link(path, own, peer, self._why_not_usable(path, own["rdma"], own["netdev"], own["ipv4"]))

    def _why_not_usable(self, path: str, rdma: str, netdev: str, ipv4: str) -> str | None:
        if rdma not in rdma_devices(self._host):
            return f"the RDMA device {rdma} does not exist"
        if self._host.read_line(f"/sys/class/net/{netdev}/carrier") == "0":
            return f"{netdev} has no carrier"
        index = gid_index(gids_of(self._host, rdma), ipv4)
        if index is None:
            return f"{rdma} has no {ROCE_V2} GID for {ipv4}"
        self._endpoints[path] = Endpoint(rdma, index, ipv4)
        return None

    # --- the whole ---

    def fill(self, measurement: RdmaMeasurement) -> None:
        measurement["tool_versions"]["perftest"] = self._options.version
        try:
            self._rendezvous()
            before = self._errors()
            for slot in self._slots:
                if slot.client["node"] == self._node:
                    measurement["directions"].append(self._transmit(slot))
                elif slot.server["node"] == self._node:
                    measurement["served"].append(self._serve(slot))
            after = self._errors()
            measurement["counter_deltas"] = {name: deltas(before[name], after[name]) for name in before}
        finally:
            if self._process is not None:
                self._process.kill()
            self._hellos.close()

    def _rendezvous(self) -> None:
        deadline = time.monotonic() + self._profile["rendezvous_s"]
        while not self._hellos.settled() and time.monotonic() < deadline:
            self._hellos.pump(_POLL_S)
        # A peer that heard us last must learn that we heard it, even when there is nothing to wait for here.
        self._hellos.pump(0)

    def _errors(self) -> dict[str, dict[str, int]]:
        return {
            device: error_counters(self._host, device) | self._phy_errors(device)
            for device in self._netdevs
            if device in rdma_devices(self._host)
        }

    def _phy_errors(self, device: str) -> dict[str, int]:
        if rdma_driver(self._host, device) != "mlx5_core":
            return {}
        try:
            return phy_errors(parse_statistics(self._host.run(["ethtool", "-S", self._netdevs[device]]).stdout))
        except ProbeError:
            return {}

    # --- transmitting ---

    def _transmit(self, slot: Slot) -> Direction:
        started = time.monotonic()
        taken = _Taken()
        failure = self._attempt(slot, lambda run: self._transmit_run(slot, run, taken))
        return {
            "path": slot.path,
            "from_node": slot.client["node"],
            "to_node": slot.server["node"],
            "half": t.cast("t.Any", slot.half),
            "bandwidth": taken.bandwidth,
            "latency": taken.latency,
            "tx_bytes": self._moved(taken, sent_bytes),
            "failure": failure,
            "repeated": taken.repeated,
            "duration_s": round(time.monotonic() - started, 2),
        }

    def _transmit_run(self, slot: Slot, run: Run, taken: _Taken) -> None:
        """One run, and again while it is the tool that fails: a number that means nothing must not condemn a path."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                self._transmit_once(slot, run, taken)
            except _Instrument as broken:
                if attempt == MAX_ATTEMPTS:
                    raise
                taken.repeated.append(_failure(run.stage, broken))
                self._hellos.announce((slot.index, taken.turn, AGAIN))
                taken.turn += 1
            else:
                self._hellos.announce((slot.index, taken.turn, DONE))
                taken.turn += 1
                return

    def _transmit_once(self, slot: Slot, run: Run, taken: _Taken) -> None:
        self._await_listening(slot, taken.turn)
        if run.stage == "bandwidth" and not taken.bytes_before:
            taken.bytes_before = self._all_bytes(sent_bytes)
        result, json_text = self._run_client(slot, run, taken.turn)
        if not result.ok:
            raise self._tool_failure(result)
        if clock_failed(result.stdout + result.stderr):
            raise _Instrument("instrument", "perftest could not measure its clock, the machine was too busy", result)
        try:
            if run.stage == "latency":
                taken.latency = _latency_run(result, json_text)
            else:
                taken.bandwidth.append(_bandwidth_run(result, json_text, run.warmup))
        except ProbeError as error:
            raise _Instrument("instrument", str(error), result) from None

    def _await_listening(self, slot: Slot, turn: int) -> None:
        while self._hellos.position(slot.path) != (slot.index, turn, LISTENING):
            self._still_there(slot)
            self._hellos.pump(_POLL_S)

    def _run_client(self, slot: Slot, run: Run, turn: int) -> tuple[CommandResult, str | None]:
        own, port = self._endpoints[slot.path], slot.port(turn)
        json_path = str(self._host.path(self._json_file))
        argv = client_argv(run, self._profile, own, slot.server["ipv4"], port, self._options, json_path)
        for attempt in range(1, _CONNECT_ATTEMPTS + 1):
            self._host.remove(self._json_file)
            result = self._supervise(self._start(argv), self._profile["command_timeout_s"], slot, turn)
            refused = not result.ok and NOT_LISTENING.search(result.stdout + result.stderr)
            if not refused or attempt == _CONNECT_ATTEMPTS:
                break
            self._pause(_RETRY_S)
        return result, self._host.read(self._json_file)

    # --- serving ---

    def _serve(self, slot: Slot) -> Served:
        taken = _Taken()
        failure = self._attempt(slot, lambda run: self._serve_run(slot, run, taken))
        return {
            "path": slot.path,
            "from_node": slot.client["node"],
            "to_node": slot.server["node"],
            "rx_bytes": self._moved(taken, received_bytes),
            "rcs": taken.rcs,
            "failure": failure,
        }

    def _serve_run(self, slot: Slot, run: Run, taken: _Taken) -> None:
        """Serve one run as often as the client wants it."""
        if run.stage == "bandwidth" and not taken.bytes_before:
            taken.bytes_before = self._all_bytes(received_bytes)
        again = True
        while again:
            result = self._serve_once(slot, run, taken.turn)
            taken.rcs.append(result.rc)
            again = self._wants_again(slot, taken.turn, result)
            taken.turn += 1

    def _serve_once(self, slot: Slot, run: Run, turn: int) -> CommandResult:
        port = slot.port(turn)
        process = self._start(server_argv(run, self._profile, self._endpoints[slot.path], port, self._options))
        self._await_socket(process, port, slot)
        if not process.running:
            raise self._tool_failure(process.wait(0))
        self._hellos.announce((slot.index, turn, LISTENING))
        return self._supervise(process, self._profile["command_timeout_s"] * _CONNECT_ATTEMPTS, slot, turn)

    def _wants_again(self, slot: Slot, turn: int, result: CommandResult) -> bool:
        """What the client says of a turn. Without a word from it, what the own tool said has to do."""
        deadline = time.monotonic() + self._profile["command_timeout_s"]
        while not self._has_word(slot, turn):
            if result.ok and self._hellos.position(slot.path)[0] > slot.index:
                return False  # it was done, and its word was lost
            if not result.ok and time.monotonic() > deadline:
                raise self._tool_failure(result)
            self._still_there(slot)
            self._hellos.pump(_POLL_S)
        return self._hellos.position(slot.path)[2] == AGAIN

    def _await_socket(self, process: Process, port: int, slot: Slot) -> None:
        """Wait until the server listens, so that the client connects once instead of knocking."""
        deadline = time.monotonic() + _START_S
        while process.running and not self._listens(port):
            if time.monotonic() > deadline:
                raise _Broken("instrument", f"{process.argv[0]} did not listen within {_START_S:.0f} s", process.kill())
            self._still_there(slot)
            self._hellos.pump(_POLL_S)

    def _listens(self, port: int) -> bool:
        listening = re.compile(rf":{port:04X} 0+:0000 0A ")
        return any(listening.search(self._host.read(f"/proc/net/{table}") or "") for table in ("tcp", "tcp6"))

    # --- both ---

    def _attempt(self, slot: Slot, perform: t.Callable[[Run], None]) -> Failure | None:
        stage = "rendezvous"
        try:
            self._check_ready(slot)
            self._hellos.announce((slot.index, 0, WAITING))
            for run in self._runs:
                stage = run.stage
                perform(run)
        except _Broken as broken:
            self._hellos.announce((slot.index, 0, FAILED))
            return _failure(stage, broken)
        finally:
            self._end_process()
        return None

    def _check_ready(self, slot: Slot) -> None:
        link, heard = self._hellos.link(slot.path), self._hellos.heard(slot.path)
        peer = link.peer["node"]
        if link.problem:
            raise _Broken("configuration", link.problem)
        if heard.problem:
            raise _Broken("configuration", f"{peer} says: {heard.problem}")
        if self._hellos.runs_another_plan(slot.path):
            raise _Broken("configuration", f"{peer} measures another plan: run it on all nodes of one inventory")
        if not self._hellos.ready(slot.path):
            raise _Broken("environment", self._nobody(link, bool(heard.session)))

    def _nobody(self, link: Link, one_way: bool) -> str:
        seconds, address, peer = self._profile["rendezvous_s"], link.peer["ipv4"], link.peer["node"]
        if one_way:
            return f"{peer} is heard on {link.own['netdev']} but does not hear this node"
        return (
            f"no word from {peer} ({address}) on {link.own['netdev']} within {seconds} s: is it down, is the path "
            "broken, or did it not run at the same time (forks, serial)?"
        )

    def _still_there(self, slot: Slot) -> None:
        reason = self._peer_is_through(slot)
        if reason is not None:
            raise _Broken("environment", reason)
        if time.monotonic() > self._deadline:
            raise _Broken("instrument", "the whole test ran out of time")

    def _peer_is_through(self, slot: Slot) -> str | None:
        """Why nothing more comes from the other end in this slot."""
        peer = self._hellos.link(slot.path).peer["node"]
        index, _turn, phase = self._hellos.position(slot.path)
        if index > slot.index or (index == slot.index and phase == FAILED):
            return f"{peer} has given up {slot.path}: see what it says of it"
        return f"{peer} fell silent on {slot.path} during the test" if self._hellos.gone(slot.path) else None

    def _start(self, argv: list[str]) -> Process:
        # Should this probe be killed, its children end by themselves soon after.
        self._process = self._host.start(argv, limit_s=self._profile["command_timeout_s"] * _CONNECT_ATTEMPTS + 30)
        return self._process

    def _supervise(self, process: Process, limit_s: float, slot: Slot, turn: int) -> CommandResult:
        """Wait for a tool. It is ended when its time is up, or soon after the other end has no part in it any more."""
        deadline, graced = time.monotonic() + limit_s, False
        while process.running and time.monotonic() < deadline:
            if not graced and (self._has_word(slot, turn) or self._peer_is_through(slot)):
                deadline, graced = min(deadline, time.monotonic() + _GRACE_S), True
            self._hellos.pump(_POLL_S)
        if process.running and (reason := self._peer_is_through(slot)):
            raise _Broken("environment", reason, process.kill())
        return process.wait(0 if process.running else 5)

    def _has_word(self, slot: Slot, turn: int) -> bool:
        """Whether the client has said what became of a turn."""
        return self._hellos.position(slot.path) in ((slot.index, turn, DONE), (slot.index, turn, AGAIN))

    def _end_process(self) -> None:
        if self._process is not None and self._process.running:
            self._process.kill()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._hellos.pump(_POLL_S)

    def _tool_failure(self, result: CommandResult) -> _Broken:
        timeout_s = self._profile["command_timeout_s"]
        return _Broken(*explain_failure(result.argv[0], result.rc, result.stdout + result.stderr, timeout_s), result)

    def _all_bytes(self, read: t.Callable[[Host, str, int | None], int | None]) -> dict[str, int | None]:
        return {device: read(self._host, device, self._mtus.get(device)) for device in rdma_devices(self._host)}

    def _moved(self, taken: _Taken, read: t.Callable[[Host, str, int | None], int | None]) -> dict[str, int | None]:
        """Growth since the first bandwidth run, on every device: bytes on the wrong one are the finding (P05)."""
        if not taken.bytes_before:
            return {}
        now = self._all_bytes(read)
        return {name: _growth(before, now.get(name)) for name, before in taken.bytes_before.items()}


def _growth(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None or after < before else after - before


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


def _bandwidth_run(result: CommandResult, json_text: str | None, warmup: bool) -> BandwidthRun:
    parsed = parse_bandwidth(result.stdout)
    return {
        "warmup": warmup,
        "gbps": parsed.gbps,
        "iterations": parsed.iterations,
        "size_bytes": parsed.size_bytes,
        "qps": parsed.qps,
        "mtu": parsed.mtu,
        "local_ipv4": parsed.local_ipv4,
        "remote_ipv4": parsed.remote_ipv4,
        "agrees": bandwidth_agrees(parsed, json_text),
        "argv": result.argv,
        "rc": result.rc,
        "raw_sha256": _sha256(result),
    }


def _latency_run(result: CommandResult, json_text: str | None) -> LatencyRun:
    parsed = parse_latency(result.stdout)
    if latency_agrees(parsed, json_text) is False:
        raise ProbeError(f"{LATENCY_TOOL} says one thing as text and another as JSON")
    return {
        "typical_us": parsed.typical_us,
        "p99_us": parsed.p99_us,
        "iterations": parsed.iterations,
        "size_bytes": parsed.size_bytes,
        "argv": result.argv,
        "rc": result.rc,
        "raw_sha256": _sha256(result),
    }


def _failure(stage: str, broken: _Broken) -> Failure:
    result = broken.result
    return {
        "stage": stage,
        "cause": broken.cause,
        "message": broken.message,
        "argv": result.argv if result else [],
        "rc": result.rc if result else None,
        "raw_sha256": _sha256(result) if result else None,
    }


def _sha256(result: CommandResult) -> str:
    return hashlib.sha256((result.stdout + result.stderr).encode()).hexdigest()


class _ending_on_signals:
    """Turn a request to end into an exception, so that everything that was started is ended on the way out."""

    _SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._end) for number in self._SIGNALS}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @staticmethod
    def _end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)
