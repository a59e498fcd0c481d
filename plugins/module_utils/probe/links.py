# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What iproute2 and lldpd say: RDMA ports, addresses, routes, neighbours."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .error import ProbeError, excerpt, load_json, load_objects


@dataclass(frozen=True)
class RdmaLink:
    """One RDMA port as `rdma -j link` prints it."""

    device: str
    port: int
    state: str
    physical_state: str
    netdev: str | None  # None: the netdev lives in another namespace


@dataclass(frozen=True)
class Interface:
    name: str
    mtu: int
    operstate: str
    addresses: tuple[str, ...]  # CIDR


@dataclass(frozen=True)
class Route:
    dst: str
    dev: str
    gateway: str | None
    linkdown: bool


@dataclass(frozen=True)
class LldpPeer:
    netdev: str
    chassis: str
    port: str


def parse_rdma_links(text: str) -> list[RdmaLink]:
    """Parse `rdma -j link` (health-checks 3.1)."""
    command = "rdma -j link"
    return [
        RdmaLink(
            device=_need(item, "ifname", command),
            port=int(_need(item, "port", command)),
            state=_need(item, "state", command),
            physical_state=str(item.get("physical_state", "UNKNOWN")),
            netdev=item.get("netdev"),
        )
        for item in load_objects(text, command)
    ]


def parse_addresses(text: str) -> list[Interface]:
    """Parse `ip -j addr`."""
    command = "ip -j addr"
    return [
        Interface(
            name=_need(item, "ifname", command),
            mtu=int(item.get("mtu", 0)),
            operstate=str(item.get("operstate", "UNKNOWN")),
            addresses=tuple(
                f"{info['local']}/{info['prefixlen']}"
                for info in item.get("addr_info", [])
                if "local" in info and "prefixlen" in info
            ),
        )
        for item in load_objects(text, command)
        if item  # iproute2 prints an empty object for an interface that a filter left out
    ]


def parse_routes(text: str) -> list[Route]:
    """Parse `ip -j route`. Routes without a device (blackhole, multipath) say nothing about a half and are left out."""
    return [
        Route(
            dst=str(item.get("dst", "default")),
            dev=item["dev"],
            gateway=item.get("gateway"),
            linkdown="linkdown" in item.get("flags", []),
        )
        for item in load_objects(text, "ip -j route")
        if "dev" in item
    ]


def parse_lldp(text: str) -> list[LldpPeer]:
    """Parse `lldpctl -f json`: one neighbour is an object, several are a list, no neighbour is an empty object."""
    data = load_json(text, "lldpctl -f json")
    if not isinstance(data, dict) or not isinstance(data.get("lldp"), dict):
        raise ProbeError(f"`lldpctl -f json` did not print an lldp object but {excerpt(text)}")
    interfaces = data["lldp"].get("interface", [])
    entries = interfaces if isinstance(interfaces, list) else [{name: value} for name, value in interfaces.items()]
    return [_lldp_peer(name, value) for entry in entries for name, value in entry.items()]


def _lldp_peer(netdev: str, entry: dict[str, t.Any]) -> LldpPeer:
    chassis = entry.get("chassis", {})
    # A chassis with a system name is keyed by it; without one the id stands at its place.
    name = next(iter(chassis), "") if "id" not in chassis else str(chassis["id"].get("value", ""))
    port = entry.get("port", {})
    return LldpPeer(netdev=netdev, chassis=name, port=str(port.get("id", {}).get("value") or port.get("descr", "")))


def _need(item: dict[str, t.Any], key: str, command: str) -> t.Any:
    if key not in item:
        raise ProbeError(f"`{command}` printed an entry without {key}: {excerpt(str(item))}")
    return item[key]
