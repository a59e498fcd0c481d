# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fabric links are now, and how that differs from the plan (L04, L05, L06 of health-checks 2.2)."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from .errors import FabricError

if t.TYPE_CHECKING:
    from ..contracts import HalfPlan
    from ..host import Host

# Unused GID slots refuse to be read; soft-RoCE has 1024 of them (health-checks 3.1).
EMPTY_GIDS_IN_A_ROW = 16
IPV4_MAPPED = "0000:0000:0000:0000:0000:ffff:"


@dataclass(frozen=True)
class Address:
    """An IPv4 or IPv6 address as ``ip addr`` shows it."""

    cidr: str
    ipv4: bool
    scope: str
    dynamic: bool  # handed out by DHCP or an advertisement

    @property
    def counts(self) -> bool:
        """A link-local IPv6 address is the kernel's own and takes part in no routing."""
        return self.ipv4 or self.scope != "link"


@dataclass(frozen=True)
class Link:
    netdev: str
    mtu: int
    carrier: bool
    mac: str
    addresses: tuple[Address, ...]

    def describe(self) -> str:
        held = ", ".join(address.cidr for address in self.addresses if address.counts) or "no address"
        return f"{self.netdev}: MTU {self.mtu}, {held}"


def describe_plan(half: HalfPlan, mtu: int) -> str:
    """The same line as Link.describe, as it shall be."""
    return f"{half['netdev']}: MTU {mtu}, {half['ipv4']}/{half['prefix']}"


def read_links(host: Host) -> dict[str, Link]:
    """Every netdev of the node, by one ``ip`` call."""
    result = host.run(["ip", "-j", "addr", "show"])
    try:
        if not result.ok:
            raise ValueError(result.stderr.strip() or f"exit code {result.rc}")
        entries = json.loads(result.stdout)
        return {link.netdev: link for link in (_link(entry) for entry in entries)}
    except (ValueError, KeyError, TypeError) as error:
        raise FabricError(f"`ip -j addr show` gave no list of links ({error}); is iproute2 installed?") from error


def _link(entry: dict[str, t.Any]) -> Link:
    flags = entry["flags"]
    return Link(
        netdev=entry["ifname"],
        mtu=int(entry["mtu"]),
        carrier="LOWER_UP" in flags and "UP" in flags,
        mac=str(entry.get("address", "")).lower(),
        addresses=tuple(
            Address(
                cidr=f"{info['local']}/{info['prefixlen']}",
                ipv4=info["family"] == "inet",
                scope=str(info.get("scope", "global")),
                dynamic=bool(info.get("dynamic", False)),
            )
            for info in entry.get("addr_info", [])
            if "local" in info
        ),
    )


def link_differences(links: dict[str, Link], halves: t.Iterable[HalfPlan], mtu: int) -> list[str]:
    """What differs from the plan at MTU and addresses, one sentence each; empty when all is live."""
    return [sentence for half in halves for sentence in _link_differences(links.get(half["netdev"]), half, mtu)]


def _link_differences(link: Link | None, half: HalfPlan, mtu: int) -> list[str]:
    where = place(half)
    if link is None:
        return [f"{where} is gone"]
    found = []
    if not link.carrier:
        found.append(f"{where} has no carrier; is the cable plugged in at both ends?")
    if link.mtu != mtu:
        found.append(f"{where} has MTU {link.mtu}, planned is {mtu}")
    planned = f"{half['ipv4']}/{half['prefix']}"
    held = [address.cidr for address in link.addresses if address.counts]
    if planned not in held:
        found.append(f"{where} lacks its address {planned}")
    found += [f"{where} holds the extra address {cidr}" for cidr in held if cidr != planned]
    return found


def route_differences(host: Host, halves: t.Iterable[HalfPlan]) -> list[str]:
    """A default route over the fabric takes the node's other traffic with it (L05)."""
    devices = _default_route_devices(host)
    return [
        f"{place(half)} carries a default route; the fabric has none. Find out who set it with `ip route show default`"
        for half in halves
        if half["netdev"] in devices
    ]


def _default_route_devices(host: Host) -> set[str]:
    # The kernel's own tables: no command to start, and both families in two reads.
    ipv4 = [line.split() for line in (host.read("/proc/net/route") or "").splitlines()[1:]]
    ipv6 = [line.split() for line in (host.read("/proc/net/ipv6_route") or "").splitlines()]
    devices = {fields[0] for fields in ipv4 if len(fields) > 7 and fields[1] == fields[7] == "00000000"}
    return devices | {fields[-1] for fields in ipv6 if len(fields) > 9 and fields[1] == "00" and fields[-1] != "lo"}


def gid_differences(host: Host, halves: t.Iterable[HalfPlan]) -> list[str]:
    """Every RDMA device that exists has a RoCE v2 GID made of its planned address (L06), at whatever index."""
    return [
        f"{place(half)}: no RoCE v2 GID of {half['rdma']} stands for {half['ipv4']}; "
        f"look at /sys/class/infiniband/{half['rdma']}/ports/1/gids"
        for half in halves
        if host.exists(f"/sys/class/infiniband/{half['rdma']}") and not _has_gid(host, half)
    ]


def _has_gid(host: Host, half: HalfPlan) -> bool:
    port = f"/sys/class/infiniband/{half['rdma']}/ports/1"
    wanted = IPV4_MAPPED + "{:02x}{:02x}:{:02x}{:02x}".format(*(int(part) for part in half["ipv4"].split(".")))
    empty = 0
    for index in sorted(int(name) for name in host.names(f"{port}/gids") if name.isdigit()):
        kind = host.read_line(f"{port}/gid_attrs/types/{index}")
        empty = 0 if kind else empty + 1
        if empty >= EMPTY_GIDS_IN_A_ROW:
            break
        if kind == "RoCE v2" and host.read_line(f"{port}/gids/{index}") == wanted:
            return host.read_line(f"{port}/gid_attrs/ndevs/{index}") == half["netdev"]
    return False


def place(half: HalfPlan) -> str:
    return f"{half['netdev']} (cage {half['cage']} half {half['half']})"
