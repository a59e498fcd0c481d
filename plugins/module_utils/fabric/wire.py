# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw frames on the fabric netdevs: the only part of the discovery that needs root and a kernel."""

from __future__ import annotations

import contextlib
import fcntl
import selectors
import socket
import struct
import typing as t

from .hello import ETHERTYPE

BROADCAST = b"\xff" * 6
SMALLEST_PAYLOAD = 46  # an Ethernet frame below 60 bytes is a runt, and not every driver pads
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


class Wire(t.Protocol):
    """What the discovery needs from a network; tests bring their own."""

    def send(self, netdev: str, payload: bytes) -> None: ...

    def receive(self, timeout_s: float) -> list[tuple[str, bytes]]: ...

    def close(self) -> None: ...


class PacketWire:
    """One packet socket per netdev, bound to our ethertype."""

    def __init__(self, netdevs: t.Iterable[str]) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[str, socket.socket] = {}
        for netdev in netdevs:
            # Protocol 0 until bound: with the ethertype it would hear every netdev from here to the bind.
            packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            packet.bind((netdev, ETHERTYPE))
            packet.setblocking(False)
            self._selector.register(packet, selectors.EVENT_READ, netdev)
            self._sockets[netdev] = packet

    def send(self, netdev: str, payload: bytes) -> None:
        packet = self._sockets[netdev]
        header = BROADCAST + packet.getsockname()[4] + struct.pack("!H", ETHERTYPE)
        with contextlib.suppress(OSError):  # a link without carrier refuses; the listener reports it as down
            packet.send(header + payload.ljust(SMALLEST_PAYLOAD, b"\0"))

    def receive(self, timeout_s: float) -> list[tuple[str, bytes]]:
        frames: list[tuple[str, bytes]] = []
        for key, _events in self._selector.select(timeout_s):
            with contextlib.suppress(OSError):  # the link went down while we waited
                frame, address = t.cast(socket.socket, key.fileobj).recvfrom(2048)
                if address[2] != socket.PACKET_OUTGOING:
                    frames.append((key.data, frame[14:]))
        return frames

    def close(self) -> None:
        self._selector.close()
        for packet in self._sockets.values():
            packet.close()


def raise_link(netdev: str) -> None:
    """Set a link administratively up until something sets it down again; nothing is written to disk."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", netdev.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", netdev.encode(), flags | IFF_UP))
