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
    from ..contracts import Direction
    from ..host import CommandResult
    from ..probe.schedule import Slot

_RETRY_S = 0.5


class Transmitter:
    def __init__(self, station: Station, scratch: str) -> None:
        self._station = station
        self._json_file = f"{scratch}/result.json"

    def transmit(self, slot: Slot) -> Direction:
        """All runs of a slot, to a peer that serves it at the same time."""
        started = time.monotonic()
        taken = Taken()
        failure = self._station.attempt(slot, lambda run: self._run(slot, run, taken))
        return {
            "path": slot.path,
            "from_node": slot.client["node"],
            "to_node": slot.server["node"],
            "half": t.cast("t.Any", slot.half),
            "bandwidth": taken.bandwidth,
            "latency": taken.latency,
            "tx_bytes": self._station.moved(taken.bytes_before, sent_bytes),
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
        result, json_text = self._run_client(slot, run, taken.turn)
        if not result.ok:
            raise self._station.tool_failure(result)
        if clock_failed(result.stdout + result.stderr):
            message = "perftest could not measure its clock, the machine was too busy"
            raise InstrumentBroken("instrument", message, result)
        try:
            if run.stage == "latency":
                taken.latency = latency_run(result, json_text)
            else:
                taken.bandwidth.append(bandwidth_run(result, json_text, run.warmup))
        except ProbeError as error:
            raise InstrumentBroken("instrument", str(error), result) from None

    def _await_listening(self, slot: Slot, turn: int) -> None:
        while self._station.position(slot) != (slot.index, turn, LISTENING):
            self._station.still_there(slot)
            self._station.hellos.pump(POLL_S)

    def _run_client(self, slot: Slot, run: Run, turn: int) -> tuple[CommandResult, str | None]:
        station, host = self._station, self._station.host
        argv = client_argv(
            run,
            station.profile,
            station.endpoint(slot.path),
            slot.server["ipv4"],
            slot.port(turn),
            station.options,
            str(host.path(self._json_file)),
        )
        for attempt in range(1, CONNECT_ATTEMPTS + 1):
            host.remove(self._json_file)
            result = station.supervise(station.start(argv), station.profile["command_timeout_s"], slot, turn)
            refused = not result.ok and NOT_LISTENING.search(result.stdout + result.stderr)
            if not refused or attempt == CONNECT_ATTEMPTS:
                break
            station.pause(_RETRY_S)
        return result, host.read(self._json_file)
