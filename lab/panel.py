"""The patch panel: one process that every NIC is plugged into, and that forwards frames by the cabling table.

A NIC's other end is one socket of a connected pair of unix datagram sockets. (QEMU's own named sockets are not
connected, and an unconnected datagram socket holds ten frames, whatever its buffer; a connected pair is limited by its
buffer alone.) The panel knows no topology: it is told the whole table again after each change. What it does:

* wires: what comes in at one port goes out at the other;
* switches: plain learning layer-2 switches; a switch port may have several NICs behind it, as both halves of a cage do;
* impairments: frames that a port sends are lost or delayed;
* counters.
"""

from __future__ import annotations

import collections
import heapq
import json
import os
import random
import select
import signal
import socket
import sys
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import LabError

MAX_FRAME = 65536
BUFFER = 4 << 20
BURST = 64
QUEUE = 4096
REQUEST = 1 << 20
LINK_LOCAL = b"\x01\x80\xc2\x00\x00"  # LLDP, spanning tree: no bridge forwards these (IEEE 802.1D)


@dataclass
class Counters:
    """Seen from the panel: ``received`` came out of the node, ``sent`` went to the node."""

    received: int = 0
    received_bytes: int = 0
    sent: int = 0
    sent_bytes: int = 0
    lost: int = 0  # by an impairment of this port
    unwired: int = 0  # came out of the node and had nowhere to go
    overflow: int = 0  # the node did not take them in time


class Port:
    """A NIC's end at the panel."""

    def __init__(self, name: str, link: socket.socket) -> None:
        link.setblocking(False)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.name = name
        self.link = link
        self.counters = Counters()
        self.waiting: collections.deque[bytes] = collections.deque()
        self.peer: Port | None = None
        self.switch: Switch | None = None
        self.group = 0
        self.loss = 0.0
        self.delay = 0.0


@dataclass
class Switch:
    """A learning switch; ``groups`` are its ports, each with one or more NICs behind it."""

    groups: list[list[Port]] = field(default_factory=list)
    learned: dict[bytes, Port] = field(default_factory=dict)

    def targets(self, source: Port, frame: memoryview) -> t.Sequence[Port]:
        destination = bytes(frame[0:6])
        if destination.startswith(LINK_LOCAL):
            return ()
        self.learned[bytes(frame[6:12])] = source
        known = self.learned.get(destination)
        if known is not None and not destination[0] & 1:
            return () if known.group == source.group else (known,)
        return [port for number, group in enumerate(self.groups) if number != source.group for port in group]


class Panel:
    """Ports and the table between them. ``poll`` moves frames; everything else changes the table."""

    def __init__(self) -> None:
        self.ports: dict[str, Port] = {}
        self._by_fd: dict[int, Port] = {}
        self._poller = select.epoll()
        self._delayed: list[tuple[float, int, str, bytes]] = []
        self._order = 0
        self._buffer = bytearray(MAX_FRAME)
        self._table: dict[str, t.Any] = {"wires": [], "switches": {}, "impairments": {}}
        self._random = random.Random(1)  # noqa: S311 - which frames are lost is to be the same in every run

    def fileno(self) -> int:
        return self._poller.fileno()

    # --- the table ---

    def attach(self, name: str, link: socket.socket) -> None:
        """Plug a NIC in; one of the same name, of a node that was restarted, is replaced."""
        self.detach(name)
        port = Port(name, link)
        self.ports[name] = port
        self._by_fd[link.fileno()] = port
        self._poller.register(link.fileno(), select.EPOLLIN)
        self._rewire()

    def detach(self, name: str) -> None:
        port = self.ports.pop(name, None)
        if port is not None:
            del self._by_fd[port.link.fileno()]
            self._poller.unregister(port.link.fileno())
            port.link.close()
            self._rewire()

    def configure(
        self,
        wires: list[list[str]],
        switches: dict[str, list[list[str]]],
        impairments: dict[str, dict[str, float]],
    ) -> None:
        """Replace the whole table. Names without a NIC are kept for when one comes."""
        self._table = {"wires": wires, "switches": switches, "impairments": impairments}
        self._rewire()

    def _rewire(self) -> None:
        for port in self.ports.values():
            port.peer = port.switch = None
            impairment = self._table["impairments"].get(port.name, {})
            port.loss = impairment.get("loss", 0.0)
            port.delay = impairment.get("delay_ms", 0.0) / 1000
        for one, other in self._table["wires"]:
            if one in self.ports and other in self.ports:
                self.ports[one].peer, self.ports[other].peer = self.ports[other], self.ports[one]
        for names in self._table["switches"].values():
            switch = Switch([[self.ports[name] for name in group if name in self.ports] for group in names])
            for number, group in enumerate(switch.groups):
                for port in group:
                    port.switch, port.group = switch, number

    def counters(self) -> dict[str, dict[str, int]]:
        return {name: vars(port.counters).copy() for name, port in sorted(self.ports.items())}

    # --- frames ---

    def next_due(self, longest: float) -> float:
        """Seconds until a delayed frame wants to go out, at most ``longest``."""
        if not self._delayed:
            return longest
        return max(0.0, min(longest, self._delayed[0][0] - time.monotonic()))

    def poll(self, timeout: float) -> None:
        """Move what there is to move; waits at most ``timeout`` seconds for it."""
        for descriptor, events in self._poller.poll(self.next_due(timeout)):
            port = self._by_fd.get(descriptor)
            if port is None:
                continue
            if events & select.EPOLLOUT:
                self._drain(port)
            if events & ~select.EPOLLOUT:
                self._receive(port)
        self._release()

    def _receive(self, port: Port) -> None:
        view, counters = memoryview(self._buffer), port.counters
        for _ in range(BURST):
            try:
                size = port.link.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:
                self.detach(port.name)
                return
            counters.received += 1
            counters.received_bytes += size
            if port.loss and self._random.random() < port.loss:
                counters.lost += 1
                continue
            self._forward(port, view[:size])

    def _forward(self, port: Port, frame: memoryview) -> None:
        targets: t.Sequence[Port] = ()
        if port.peer is not None:
            targets = (port.peer,)
        elif port.switch is not None:
            targets = port.switch.targets(port, frame)
        else:
            port.counters.unwired += 1
        for target in targets:
            if port.delay:
                self._order += 1
                heapq.heappush(self._delayed, (time.monotonic() + port.delay, self._order, target.name, bytes(frame)))
            else:
                self._send(target, frame)

    def _release(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            _, _, name, frame = heapq.heappop(self._delayed)
            if name in self.ports:
                self._send(self.ports[name], memoryview(frame))

    def _send(self, port: Port, frame: memoryview) -> None:
        if port.waiting or not self._sent(port, frame):
            if len(port.waiting) >= QUEUE:
                port.counters.overflow += 1
                return
            port.waiting.append(bytes(frame))
            self._poller.modify(port.link.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _drain(self, port: Port) -> None:
        while port.waiting:
            if not self._sent(port, memoryview(port.waiting[0])):
                return
            port.waiting.popleft()
        self._poller.modify(port.link.fileno(), select.EPOLLIN)

    @staticmethod
    def _sent(port: Port, frame: memoryview) -> bool:
        try:
            port.link.send(frame)
        except BlockingIOError:
            return False
        except OSError:
            return True  # the node is gone; its cable is as good as unplugged
        port.counters.sent += 1
        port.counters.sent_bytes += len(frame)
        return True


# --- the process and how to talk to it ---


class PanelServer:
    """Answers one JSON request per connection on a unix socket; a NIC comes as a file descriptor beside the request."""

    def __init__(self, path: Path) -> None:
        self.panel = Panel()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.setblocking(False)
        self._poller = select.epoll()
        self._poller.register(self._listener.fileno(), select.EPOLLIN)
        self._poller.register(self.panel.fileno(), select.EPOLLIN)

    def serve(self) -> t.NoReturn:
        while True:
            ready = [descriptor for descriptor, _ in self._poller.poll(self.panel.next_due(3600))]
            self.panel.poll(0)
            if self._listener.fileno() in ready:
                self._answer()

    def _answer(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            try:
                connection.settimeout(5)
                request, descriptors, _, _ = socket.recv_fds(connection, REQUEST, 1)
                links = [socket.socket(fileno=descriptor) for descriptor in descriptors]
                connection.send(json.dumps(self._do(json.loads(request), links)).encode())
            except (OSError, ValueError, LookupError, TypeError) as error:
                # A bad or broken-off request must not stop the frames of the others.
                print(f"request refused: {error!r}", file=sys.stderr, flush=True)

    def _do(self, request: dict[str, t.Any], links: list[socket.socket]) -> dict[str, t.Any]:
        action = request.pop("action")
        if action == "attach":
            self.panel.attach(request["name"], links[0])
        elif action == "detach":
            self.panel.detach(request["name"])
        elif action == "configure":
            self.panel.configure(**request)
        elif action == "counters":
            return self.panel.counters()
        return {}


class PanelClient:
    """The other side of PanelServer."""

    def __init__(self, path: Path, patience: float = 5) -> None:
        self._path = path
        self._patience = patience

    def attach(self, name: str, link: socket.socket) -> None:
        self._ask({"action": "attach", "name": name}, [link.fileno()])

    def detach(self, name: str) -> None:
        self._ask({"action": "detach", "name": name})

    def configure(
        self,
        wires: list[tuple[str, str]],
        switches: dict[str, list[list[str]]],
        impairments: dict[str, dict[str, float]],
    ) -> None:
        self._ask({"action": "configure", "wires": wires, "switches": switches, "impairments": impairments})

    def counters(self) -> dict[str, dict[str, int]]:
        return self._ask({"action": "counters"})

    def _ask(self, request: dict[str, t.Any], descriptors: list[int] | None = None) -> dict[str, t.Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(10)
            self._connect(connection)
            socket.send_fds(connection, [json.dumps(request).encode()], descriptors or [])
            answer: dict[str, t.Any] = json.loads(connection.recv(REQUEST))
        return answer

    def _connect(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return connection.connect(str(self._path))
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise LabError(f"The patch panel does not answer at {self._path}.") from None
                time.sleep(0.05)


def nic_link() -> tuple[socket.socket, socket.socket]:
    """A connected pair: one end for QEMU, one for the panel."""
    nic, panel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    nic.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    return nic, panel


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    PanelServer(Path(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
