# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The serving end of a slot: it listens as often as the transmitting end wants it."""

from __future__ import annotations

import re
import time
import typing as t

from ..probe.commands import Run, server_argv
from .hello import AGAIN, LISTENING
from .results import Broken, Taken
from .station import CONNECT_ATTEMPTS, POLL_S, START_S, Station
from .sysfs import received_bytes

if t.TYPE_CHECKING:
    from ..contracts import Served
    from ..host import CommandResult, Process
    from ..probe.schedule import Slot


class Server:
    def __init__(self, station: Station) -> None:
        self._station = station

    def serve(self, slot: Slot) -> Served:
        """All runs of a slot, for a peer that transmits at the same time."""
        taken = Taken()
        failure = self._station.attempt(slot, lambda run: self._run(slot, run, taken))
        return {
            "path": slot.path,
            "from_node": slot.client["node"],
            "to_node": slot.server["node"],
            "rx_bytes": self._station.moved(taken.bytes_before, received_bytes),
            "rcs": taken.rcs,
            "failure": failure,
        }

    def _run(self, slot: Slot, run: Run, taken: Taken) -> None:
        if run.stage == "bandwidth" and not taken.bytes_before:
            taken.bytes_before = self._station.all_bytes(received_bytes)
        again = True
        while again:
            result = self._run_once(slot, run, taken.turn)
            taken.rcs.append(result.rc)
            again = self._wants_again(slot, taken.turn, result)
            taken.turn += 1

    def _run_once(self, slot: Slot, run: Run, turn: int) -> CommandResult:
        station, port = self._station, slot.port(turn)
        process = station.start(server_argv(run, station.profile, station.endpoint(slot.path), port, station.options))
        self._await_socket(process, port, slot)
        if not process.running:
            raise station.tool_failure(process.wait(0))
        station.hellos.announce((slot.index, turn, LISTENING))
        return station.supervise(process, station.profile["command_timeout_s"] * CONNECT_ATTEMPTS, slot, turn)

    def _wants_again(self, slot: Slot, turn: int, result: CommandResult) -> bool:
        """What the client says of a turn. Without a word from it, what the own tool said has to do."""
        station = self._station
        deadline = time.monotonic() + station.profile["command_timeout_s"]
        while not station.has_word(slot, turn):
            if result.ok and station.position(slot)[0] > slot.index:
                return False  # it was done, and its word was lost
            if not result.ok and time.monotonic() > deadline:
                raise station.tool_failure(result)
            station.still_there(slot)
            station.hellos.pump(POLL_S)
        return station.position(slot)[2] == AGAIN

    def _await_socket(self, process: Process, port: int, slot: Slot) -> None:
        """Wait until the server listens, so that the client connects once instead of knocking."""
        deadline = time.monotonic() + START_S
        while process.running and not self._listens(port):
            if time.monotonic() > deadline:
                raise Broken("instrument", f"{process.argv[0]} did not listen within {START_S:.0f} s", process.kill())
            self._station.still_there(slot)
            self._station.hellos.pump(POLL_S)

    def _listens(self, port: int) -> bool:
        listening = re.compile(rf":{port:04X} 0+:0000 0A ")
        tables = (self._station.host.read(f"/proc/net/{table}") or "" for table in ("tcp", "tcp6"))
        return any(listening.search(table) for table in tables)
