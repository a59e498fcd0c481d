# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ranks of a measurement meet at the management address of rank 0, and there tell each other what each has.

All of them take the same steps. In a step every rank gives one value and gets those of all; a rank that does not come
to it, or went away, is named on all others. Every wait ends.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
import typing as t

from .results import Broken

MAX_LINE = 1 << 20
ANSWER_S = 10.0  # for rank 0 to say who is missing, after it has found out
_RETRY_S = 0.2
_ABSENT, _VALUES = "absent", "values"


class Wire:
    """One connection over which lines of JSON go."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._held = b""

    def send(self, document: t.Any) -> None:
        self.socket.settimeout(ANSWER_S)
        self.socket.sendall(json.dumps(document).encode() + b"\n")

    @property
    def holds_line(self) -> bool:
        return b"\n" in self._held

    def receive(self, until: float) -> t.Any:
        """The next document. OSError when the time is up or the other end has gone, ValueError when it is none."""
        while not self.holds_line:
            self.socket.settimeout(max(until - time.monotonic(), 0.01))
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionResetError
            self._held += piece
            if len(self._held) > MAX_LINE:
                raise ValueError("a line without an end")
        line, self._held = self._held.split(b"\n", 1)
        return json.loads(line)

    def close(self) -> None:
        self.socket.close()


class Meeting:
    """``members``: name and management address of every rank, in their order. ``nonce`` tells two plans apart."""

    def __init__(self, rank: int, members: t.Sequence[tuple[str, str]], port: int, nonce: str) -> None:
        self._rank = rank
        self._members = members
        self._port = port
        self._nonce = nonce
        self._wires: dict[int, Wire] = {}  # of rank 0 to all others, of the others to rank 0
        self._listener: socket.socket | None = None

    def begin(self, value: t.Any, within_s: float) -> list[t.Any]:
        """Come together, as the first step. A rank that never comes costs this time."""
        until = time.monotonic() + within_s
        if self._rank == 0:
            self._listen()
            self._gather(until)
            return self._collect(value, until + 1.0, within_s)
        self._join(until, within_s)
        return self._tell(value, time.monotonic() + within_s)  # rank 0 has come, maybe just now, and waits as long

    def exchange(self, value: t.Any, within_s: float) -> list[t.Any]:
        until = time.monotonic() + within_s
        return self._collect(value, until, within_s) if self._rank == 0 else self._tell(value, until)

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()
        if self._listener is not None:
            self._listener.close()

    def named(self, rank: int) -> str:
        return f"rank {rank} ({self._members[rank][0]})"

    # --- rank 0 ---

    def _listen(self) -> None:
        address = self._members[0][1]
        self._listener = socket.socket()
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((address, self._port))
            self._listener.listen()
        except OSError as error:
            raise Broken("configuration", f"cannot listen at {address}:{self._port}: {error.strerror}") from error

    def _gather(self, until: float) -> None:
        listener = t.cast("socket.socket", self._listener)
        while len(self._wires) < len(self._members) - 1 and time.monotonic() < until:
            listener.settimeout(max(until - time.monotonic(), 0.01))
            try:
                connection, (address, *_port) = listener.accept()
            except OSError:
                continue
            self._welcome(Wire(connection), address)

    def _welcome(self, wire: Wire, address: str) -> None:
        """Whoever is no rank of this plan, at the address of that rank, is sent away."""
        try:
            rank, nonce = wire.receive(time.monotonic() + 1.0)
        except (OSError, ValueError, TypeError):
            wire.close()
            return
        planned = isinstance(rank, int) and 0 < rank < len(self._members) and self._members[rank][1] == address
        if nonce == self._nonce and planned and rank not in self._wires:
            self._wires[rank] = wire
        else:
            wire.close()

    def _collect(self, value: t.Any, until: float, within_s: float) -> list[t.Any]:
        values = {0: value} | self._values_of_others(until)
        absent = [rank for rank in range(len(self._members)) if rank not in values]
        answer = {_ABSENT: absent} if absent else {_VALUES: [values[rank] for rank in sorted(values)]}
        for rank, wire in self._wires.items():
            try:
                wire.send(answer)
            except OSError:
                absent = sorted({*absent, rank})
        if absent:
            raise self._missing(absent, within_s)
        return t.cast("list[t.Any]", answer[_VALUES])

    def _values_of_others(self, until: float) -> dict[int, t.Any]:
        values = {}
        with selectors.DefaultSelector() as waiting:
            for rank, wire in self._wires.items():
                waiting.register(wire.socket, selectors.EVENT_READ, rank)
            # What came together with a hello is held already, and no socket tells of it.
            due = [rank for rank, wire in self._wires.items() if wire.holds_line]
            while waiting.get_map():
                for rank in due:
                    waiting.unregister(self._wires[rank].socket)
                    try:
                        values[rank] = self._wires[rank].receive(time.monotonic() + 1.0)
                    except (OSError, ValueError):
                        continue
                if not waiting.get_map() or time.monotonic() >= until:
                    break
                due = [key.data for key, _events in waiting.select(until - time.monotonic())]
        return values

    def _missing(self, absent: t.Sequence[int], within_s: float | None = None) -> Broken:
        within = "" if within_s is None else f" within {within_s:.0f} s"
        return Broken("environment", f"{', '.join(map(self.named, absent))} did not come{within}")

    # --- the others ---

    def _join(self, until: float, within_s: float) -> None:
        own, there = self._members[self._rank][1], (self._members[0][1], self._port)
        said = ""
        while time.monotonic() < until:
            try:
                wire = Wire(socket.create_connection(there, timeout=2.0, source_address=(own, 0)))
                wire.send([self._rank, self._nonce])
            except OSError as error:
                said = f": {error.strerror or error}"
                time.sleep(_RETRY_S)
            else:
                self._wires[0] = wire
                return
        raise Broken(
            "environment", f"{self.named(0)} did not come to {there[0]}:{there[1]} within {within_s:.0f} s{said}"
        )

    def _tell(self, value: t.Any, until: float) -> list[t.Any]:
        try:
            self._wires[0].send(value)
            answer = self._wires[0].receive(until + ANSWER_S)
        except (OSError, ValueError) as error:
            raise Broken("environment", f"{self.named(0)} went away, or has another plan") from error
        if not isinstance(answer, dict) or len(answer.get(_VALUES) or ()) != len(self._members):
            absent = answer.get(_ABSENT) if isinstance(answer, dict) else None
            ranks = [rank for rank in absent if rank in range(len(self._members))] if isinstance(absent, list) else []
            raise self._missing(ranks) if ranks else Broken("instrument", f"{self.named(0)} sent no answer")
        return t.cast("list[t.Any]", answer[_VALUES])
