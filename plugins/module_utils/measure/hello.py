# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small UDP messages between the probes of a plan, over the very paths that are to be measured.

They find out who is there, keep saying where each node is in the schedule, and so make a silent peer cost seconds. The
sockets are bound to the fabric address and its interface and live as long as the probe. One thread, no locks: whoever
waits for anything calls ``pump``.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import time
import typing as t
from dataclasses import dataclass, field

from ..probe.schedule import HELLO_PORT

if t.TYPE_CHECKING:
    from ..contracts import PathEnd

INTERVAL_S = 0.5
# A busy emulated node may stall for seconds; a dead one must not cost more than this.
SILENCE_S = 30.0
_MAX_DATAGRAM = 2048

# Where a node is: slot, turn within it, phase.
Position = tuple[int, int, str]
WAITING = "waiting"
LISTENING = "listening"
DONE = "done"
AGAIN = "again"
FAILED = "failed"
BEFORE: Position = (-1, 0, WAITING)


@dataclass
class Link:
    """One planned path of this node."""

    path: str
    own: PathEnd
    peer: PathEnd
    problem: str | None = None  # ours: why this end cannot be measured


@dataclass
class Heard:
    """What the far end of a path last said on it."""

    session: str = ""
    heard_me: bool = False
    problem: str | None = None


@dataclass
class Peer:
    """A node at the other end of one or more paths. Where it is counts from whichever path it was heard on last."""

    session: str = ""
    number: int = -1  # of its newest message
    position: Position = BEFORE
    left: bool = False  # its position is then its last word
    restarted: bool = False
    at: float = field(default=-1e9)

    def take(self, session: str, number: int, position: Position, left: bool) -> None:
        self.restarted = self.restarted or (bool(self.session) and session != self.session)
        self.at = time.monotonic()
        if session != self.session or number > self.number:
            self.session, self.number, self.position, self.left = session, number, position, left


class Hellos:
    def __init__(self, node: str, nonce: str, links: t.Sequence[Link], port: int = HELLO_PORT) -> None:
        self._node = node
        self._nonce = nonce
        self._port = port
        self._session = os.urandom(6).hex()
        self._position = BEFORE
        self._left = False
        self._next_send = 0.0
        self._links = {link.path: link for link in links}
        self._heard = {link.path: Heard() for link in links}
        self._peers = {link.peer["node"]: Peer() for link in links}
        self._number = 0
        self._other_plan: set[str] = set()
        self._sockets: dict[str, socket.socket] = {}
        for link in links:
            self._open(link)

    def _open(self, link: Link) -> None:
        address = link.own["ipv4"]
        if address in self._sockets:
            return
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.own["netdev"].encode() + b"\0")
            udp.bind((address, self._port))
            udp.setblocking(False)
        except OSError as error:
            udp.close()
            link.problem = link.problem or _why_not_bound(error, link.own, self._port)
        else:
            self._sockets[address] = udp

    # --- what the others said ---

    def link(self, path: str) -> Link:
        return self._links[path]

    def heard(self, path: str) -> Heard:
        return self._heard[path]

    def position(self, path: str) -> Position:
        """Where the node at the far end of a path is."""
        return self._peer(path).position

    def _peer(self, path: str) -> Peer:
        return self._peers[self._links[path].peer["node"]]

    def ready(self, path: str) -> bool:
        """Both ends have heard each other, and both can measure."""
        heard = self._heard[path]
        return heard.heard_me and not heard.problem and not self._links[path].problem

    def settled(self) -> bool:
        """Nothing more is to be learned by waiting: every path is ready, or one of its ends said why it is not."""
        return all(self.ready(path) or link.problem or self._heard[path].problem for path, link in self._links.items())

    def gone(self, path: str) -> bool:
        """The node at the far end was there and is not any more. One path that still carries its word is enough."""
        peer = self._peer(path)
        return peer.restarted or peer.left or time.monotonic() - peer.at > SILENCE_S

    def runs_another_plan(self, path: str) -> bool:
        return path in self._other_plan

    # --- talking ---

    def announce(self, position: Position) -> None:
        self._position = position
        self._send_all()

    def pump(self, seconds: float) -> None:
        """Send what is due and take in what has come, for at most so long."""
        now = time.monotonic()
        if now >= self._next_send:
            self._send_all()
        if not self._sockets:
            time.sleep(seconds)
            return
        readable = select.select(list(self._sockets.values()), [], [], seconds)[0]
        for udp in readable:
            self._receive(udp)

    def close(self) -> None:
        self._left = True
        self._send_all()
        self._send_all()  # once more, because a datagram may be lost and nobody repeats the last word
        for udp in self._sockets.values():
            udp.close()
        self._sockets.clear()

    def _send_all(self) -> None:
        self._next_send = time.monotonic() + INTERVAL_S
        self._number += 1
        for path, link in self._links.items():
            udp = self._sockets.get(link.own["ipv4"])
            if udp is None:
                continue
            message = {
                "plan": self._nonce,
                "path": path,
                "node": self._node,
                "session": self._session,
                "number": self._number,
                "heard": self._heard[path].session,
                "at": self._position,
                "left": self._left,
                "problems": self._problems_with(link.peer["node"]),
            }
            try:
                udp.sendto(json.dumps(message).encode(), (link.peer["ipv4"], self._port))
            except OSError:
                continue  # no carrier, no route, no neighbour yet: the next interval tries again

    def _problems_with(self, peer: str) -> dict[str, str]:
        """All paths to a peer that this end cannot measure, told on every path: a dead half cannot tell it itself."""
        links = self._links.items()
        return {path: link.problem for path, link in links if link.peer["node"] == peer and link.problem}

    def _receive(self, udp: socket.socket) -> None:
        while True:
            try:
                data, sender = udp.recvfrom(_MAX_DATAGRAM)
            except OSError:
                return  # nothing left, or the echo of a refused datagram
            self._take(data, sender[0])

    def _take(self, data: bytes, sender: str) -> None:
        try:
            message = json.loads(data)
            path, plan, session = str(message["path"]), message["plan"], str(message["session"])
            slot, turn, phase = message["at"]
            position, number = (int(slot), int(turn), str(phase)), int(message["number"])
            heard_me, left = message["heard"] == self._session, message["left"] is True
            problems = dict(message["problems"])
        except (ValueError, KeyError, TypeError):
            return  # not one of ours
        link = self._links.get(path)
        if link is None or sender != link.peer["ipv4"] or message.get("node") != link.peer["node"]:
            return
        if plan != self._nonce:
            self._other_plan.add(path)
            return
        heard = self._heard[path]
        heard.session, heard.heard_me = session, heard_me
        self._peers[link.peer["node"]].take(session, number, position, left)
        for name, problem in problems.items():
            if name in self._links and self._links[name].peer["node"] == link.peer["node"]:
                self._heard[name].problem = str(problem)


def _why_not_bound(error: OSError, own: PathEnd, port: int) -> str:
    address, netdev = own["ipv4"], own["netdev"]
    if error.errno == errno.EADDRNOTAVAIL:
        return f"the planned address {address} is not on this node"
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {port} on {address} is taken: another probe is still running"
    if error.errno == errno.ENODEV:
        return f"the planned interface {netdev} does not exist"
    return f"no hello socket on {address} ({netdev}): {error.strerror}"
