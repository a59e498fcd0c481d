# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ibv_devinfo`: the only place that tells the live path MTU of a port."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .error import ProbeError, excerpt

_LINE = re.compile(r"^\s*(?P<key>[a-z_]+):\s+(?P<value>\S.*?)\s*$")
_NO_DEVICE = "No IB devices found"


@dataclass(frozen=True)
class PortInfo:
    device: str
    port: int
    state: str  # ACTIVE, DOWN
    active_mtu: int | None  # bytes; a port that is down always says 1024 (health-checks 3.2)
    link_layer: str | None
    fw_ver: str | None
    board_id: str | None


def parse_devinfo(text: str) -> list[PortInfo]:
    """Parse `ibv_devinfo`, one entry for each port. No RDMA device is an empty list."""
    ports: list[PortInfo] = []
    device: dict[str, str] = {}
    port: dict[str, str] | None = None
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        key, value = match["key"], match["value"]
        if key in ("hca_id", "port"):
            ports += _finished(device, port)
            port = None
        if key == "hca_id":
            device = {key: value}
        elif key == "port":
            port = {key: value}
        else:
            (device if port is None else port)[key] = value
    ports += _finished(device, port)
    if not ports and _NO_DEVICE not in text:
        raise ProbeError(f"`ibv_devinfo` printed no device but {excerpt(text)}")
    return ports


def _finished(device: dict[str, str], port: dict[str, str] | None) -> list[PortInfo]:
    if port is None:
        return []
    if "hca_id" not in device or "state" not in port:
        raise ProbeError(f"`ibv_devinfo` printed a port without device or state: {excerpt(str(port))}")
    return [
        PortInfo(
            device=device["hca_id"],
            port=_first_int(port["port"]) or 1,
            state=port["state"].split()[0].removeprefix("PORT_"),
            active_mtu=_first_int(port.get("active_mtu", "")),
            link_layer=port.get("link_layer"),
            fw_ver=device.get("fw_ver"),
            board_id=device.get("board_id"),
        )
    ]


def _first_int(text: str) -> int | None:
    word = text.split()[0] if text.split() else ""
    return int(word) if word.isdigit() else None
