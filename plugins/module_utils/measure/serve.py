# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The serving end of a slot: it listens as often as the transmitting end wants it."""

from __future__ import annotations

import re
import time
import typing as t

from ..probe.commands import Run, ended_by, server_argv
from .hello import AGAIN, LISTENING
from .results import Broken, Taken
from .station import CONNECT_ATTEMPTS, POLL_S, START_S, Station
from .sysfs import received_bytes

if t.TYPE_CHECKING:
    from ..contracts import PairServed, Served
    from ..host import CommandResult, Process
    from ..probe.schedule import Slot, Way


class Server:
    def __init__(self, station: Station) -> None:
        self._station = station

    def serve(self, slot: Slot) -> Served:
        """All runs of a slot of one way, for a peer that transmits at the same time."""
        taken = Taken()
        failure = self._station.attempt(slot, lambda run: self._run(slot, run, taken))
        return {
            "path": slot.ways[0].path,
            "from_node": slot.sender,
            "to_node": slot.receiver,
            "rx_bytes": self._station.moved(taken.bytes_before, received_bytes),
            "rcs": taken.rcs,
            "failure": failure,
        }

    def serve_pair(self, slot: Slot) -> PairServed:
        """The same on both halves at once."""
        taken = Taken()
        failure = self._station.attempt(slot, lambda run: self._run(slot, run, taken))
        return {
            "paths": [way.path for way in slot.ways],
            "from_node": slot.sender,
            "to_node": slot.receiver,
            "rcs": taken.rcs,
            "failure": failure,
        }

    def _run(self, slot: Slot, run: Run, taken: Taken) -> None:
        if run.stage == "bandwidth" and not taken.bytes_before:
            taken.bytes_before = self._station.all_bytes(received_bytes)
        again = True
        while again:
            results = self._run_once(slot, run, taken.turn)
            taken.rcs += [result.rc for result in results]
            again = self._wants_again(slot, taken.turn, results)
            taken.turn += 1

    def _run_once(self, slot: Slot, run: Run, turn: int) -> list[CommandResult]:
        station = self._station
        processes = station.start(self._argv(run, way, turn) for way in slot.ways)
        self._await_sockets(slot, turn, processes)
        station.hellos.announce((slot.index, turn, LISTENING))
        return station.supervise(processes, station.profile["command_timeout_s"] * CONNECT_ATTEMPTS, slot, turn)

    def _argv(self, run: Run, way: Way, turn: int) -> list[str]:
        station = self._station
        return server_argv(run, station.profile, station.endpoint(way.path), way.port(turn), station.options)

    def _wants_again(self, slot: Slot, turn: int, results: list[CommandResult]) -> bool:
        """What the client says of a turn. Without a word from it, what the own tools said has to do."""
        station = self._station
        failed = [(way, result) for way, result in zip(slot.ways, results, strict=True) if not result.ok]
        killed = [(way, result) for way, result in failed if ended_by(result.rc) is not None]
        if killed:
            raise station.tool_failure(slot, *killed[0])  # the client has only seen that nothing comes any more
        deadline = time.monotonic() + station.profile["command_timeout_s"]
        while not station.has_word(slot, turn):
            if not failed and station.position(slot)[0] > slot.index:
                return False  # it was done, and its word was lost
            if failed and time.monotonic() > deadline:
                raise station.tool_failure(slot, *failed[0])
            station.still_there(slot)
            station.hellos.pump(POLL_S)
        return station.position(slot)[2] == AGAIN

    def _await_sockets(self, slot: Slot, turn: int, processes: list[Process]) -> None:
        """Wait until the servers listen, so that the client connects once instead of knocking."""
        deadline = time.monotonic() + START_S
        for way, process in zip(slot.ways, processes, strict=True):
            while process.running and not self._listens(way.port(turn)):
                if time.monotonic() > deadline:
                    message = f"{process.argv[0]} did not listen within {START_S:.0f} s"
                    raise Broken("instrument", message, process.kill())
                self._station.still_there(slot)
                self._station.hellos.pump(POLL_S)
            if not process.running:
                raise self._station.tool_failure(slot, way, process.wait(0))

    def _listens(self, port: int) -> bool:
        listening = re.compile(rf":{port:04X} 0+:0000 0A ")
        tables = (self._station.host.read(f"/proc/net/{table}") or "" for table in ("tcp", "tcp6"))
        return any(listening.search(table) for table in tables)
