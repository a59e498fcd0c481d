# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transmitting end of a slot: it decides what counts, and says so."""

from __future__ import annotations

import time
import typing as t

from ..probe.commands import MAX_ATTEMPTS, NOT_LISTENING, Run, client_argv, clock_failed
from ..probe.error import ProbeError
from .hello import AGAIN, DONE, LISTENING
from .results import InstrumentBroken, Taken, bandwidth_run, latency_run
from .station import CONNECT_ATTEMPTS, POLL_S, Station
from .sysfs import sent_bytes

if t.TYPE_CHECKING:
    from ..contracts import Direction, HalfName, Pair, PairHalf
    from ..host import CommandResult
    from ..probe.schedule import Slot, Way

_RETRY_S = 0.5
_T = t.TypeVar("_T")

# What the client of a way left behind: its result and its JSON file.
Output: t.TypeAlias = "tuple[CommandResult, str | None]"


class Transmitter:
    def __init__(self, station: Station, scratch: str) -> None:
        self._station = station
        self._scratch = scratch

    def transmit(self, slot: Slot) -> Direction:
        """All runs of a slot of one way, to a peer that serves it at the same time."""
        started = time.monotonic()
        taken = Taken()
        failure = self._station.attempt(slot, lambda run: self._run(slot, run, taken))
        (way,) = slot.ways
        return {
            "path": way.path,
            "from_node": slot.sender,
            "to_node": slot.receiver,
            "half": t.cast("HalfName", way.half),
            "bandwidth": taken.bandwidth.get(way.path, []),
            "latency": taken.latency,
            "tx_bytes": self._station.moved(taken.bytes_before, sent_bytes),
            "failure": failure,
            "repeated": taken.repeated,
            "duration_s": round(time.monotonic() - started, 2),
        }

    def transmit_pair(self, slot: Slot) -> Pair:
        """The same on both halves at once, without latency."""
        started = time.monotonic()
        taken = Taken()
        failure = self._station.attempt(slot, lambda run: self._run(slot, run, taken))
        halves: list[PairHalf] = [
            {"path": way.path, "half": t.cast("HalfName", way.half), "bandwidth": taken.bandwidth.get(way.path, [])}
            for way in slot.ways
        ]
        return {
            "from_node": slot.sender,
            "to_node": slot.receiver,
            "halves": halves,
            "failure": failure,
            "repeated": taken.repeated,
            "duration_s": round(time.monotonic() - started, 2),
        }

    def _run(self, slot: Slot, run: Run, taken: Taken) -> None:
        """One run, and again while it is the tool that fails: a number that means nothing must not condemn a path."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                self._run_once(slot, run, taken)
            except InstrumentBroken as broken:
                if attempt == MAX_ATTEMPTS:
                    raise
                taken.repeated.append(broken.failure(run.stage))
                self._say(slot, taken, AGAIN)
            else:
                self._say(slot, taken, DONE)
                return

    def _say(self, slot: Slot, taken: Taken, word: str) -> None:
        self._station.hellos.announce((slot.index, taken.turn, word))
        taken.turn += 1

    def _run_once(self, slot: Slot, run: Run, taken: Taken) -> None:
        self._await_listening(slot, taken.turn)
        if run.stage == "bandwidth" and not taken.bytes_before:
            taken.bytes_before = self._station.all_bytes(sent_bytes)
        outputs = self._run_clients(slot, run, taken.turn)
        self._refuse_failed(slot, [result for result, _json_text in outputs])
        if run.stage == "latency":
            taken.latency = _read(latency_run, *outputs[0])
            return
        # Of all ways or of none, so that the n-th runs of two halves are those that lasted together.
        runs = [_read(bandwidth_run, *output, run.warmup) for output in outputs]
        for way, entry in zip(slot.ways, runs, strict=True):
            taken.bandwidth.setdefault(way.path, []).append(entry)

    def _refuse_failed(self, slot: Slot, results: list[CommandResult]) -> None:
        """A way that fails is final; only a clock that failed beside ways that did not is a reason to try again."""
        for way, result in zip(slot.ways, results, strict=True):
            if not result.ok:
                raise self._station.tool_failure(slot, way, result)
        for result in results:
            if clock_failed(result.stdout + result.stderr):
                message = "perftest could not measure its clock, the machine was too busy"
                raise InstrumentBroken("instrument", message, result)

    def _await_listening(self, slot: Slot, turn: int) -> None:
        while self._station.position(slot) != (slot.index, turn, LISTENING):
            self._station.still_there(slot)
            self._station.hellos.pump(POLL_S)

    def _run_clients(self, slot: Slot, run: Run, turn: int) -> list[Output]:
        station, host = self._station, self._station.host
        files = [f"{self._scratch}/{way.half}.json" for way in slot.ways]
        argvs = [self._client_argv(run, way, turn, file) for way, file in zip(slot.ways, files, strict=True)]
        for attempt in range(1, CONNECT_ATTEMPTS + 1):
            for file in files:
                host.remove(file)
            results = station.supervise(station.start(argvs), station.profile["command_timeout_s"], slot, turn)
            if not all(map(_refused, results)) or attempt == CONNECT_ATTEMPTS:
                break
            station.pause(_RETRY_S)
        return [(result, host.read(file)) for result, file in zip(results, files, strict=True)]

    def _client_argv(self, run: Run, way: Way, turn: int, json_file: str) -> list[str]:
        station = self._station
        own, peer, port = station.endpoint(way.path), way.server["ipv4"], way.port(turn)
        return client_argv(run, station.profile, own, peer, port, station.options, str(station.host.path(json_file)))


def _read(read: t.Callable[..., _T], result: CommandResult, json_text: str | None, *more: t.Any) -> _T:
    """A run as the tool reported it. What cannot be read is the tool's fault."""
    try:
        return read(result, json_text, *more)
    except ProbeError as error:
        raise InstrumentBroken("instrument", str(error), result) from None


def _refused(result: CommandResult) -> bool:
    return not result.ok and bool(NOT_LISTENING.search(result.stdout + result.stderr))
