# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reasons to touch nothing: what on the node would clash with the plan. Pure: texts in, sentences out."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .live import Link, place

if t.TYPE_CHECKING:
    from ..contracts import HalfPlan, NodePlan


@dataclass(frozen=True)
class Interface:
    """By what a netplan file may mean a netdev: its name, its MAC, its driver."""

    name: str
    mac: str
    driver: str | None


# Anything that can name an interface: a YAML key, list item or scalar, a networkd value; globs and MACs included.
_WORD = re.compile(r"[\w.:*?\[\]!-]+")
_GLOB = re.compile(r"[*?\[]")


def interfaces_meant(text: str, interfaces: t.Iterable[Interface]) -> list[str]:
    """The interfaces that a netplan or networkd file names or matches.

    Read as words, not as YAML (the node has only the standard library): it may see too much, never too little, and too
    much ends in a refusal that names the file.
    """
    found = {word for line in text.splitlines() for word in _WORD.findall(line.split("#", 1)[0])}
    # A flow list leaves its brackets at the words, and a glob may end in a bracket of its own: both readings count.
    words = {variant for word in found for variant in (word, word.rstrip(":"), word.strip("[]"))}
    globs = {word for word in words if _GLOB.search(word)}
    return [one.name for one in interfaces if _is_meant(one, words, globs)]


def _is_meant(one: Interface, words: set[str], globs: set[str]) -> bool:
    names = {one.name, one.driver} - {None, ""}
    return (
        bool(names & words)
        or (bool(one.mac) and one.mac in {word.lower() for word in words})
        or any(fnmatchcase(name, glob) for name in names if name for glob in globs)
    )


def missing_netdevs(halves: t.Iterable[HalfPlan], links: dict[str, Link]) -> list[str]:
    return [
        f"{place(half)} does not exist on this node; the NIC stays powered down until a cable is plugged in, and "
        f"`ls /sys/class/net` shows what there is"
        for half in halves
        if half["netdev"] not in links
    ]


def overlaps(halves: list[HalfPlan], links: dict[str, Link], ours: set[str]) -> list[str]:
    """A planned subnet that another interface already uses: docker's bridge, the management network, a VPN."""
    found = []
    for netdev, link in links.items():
        if netdev in ours:
            continue
        for address in link.addresses:
            network = ipaddress.ip_interface(address.cidr).network
            found += [
                f"planned subnet {half['subnet']} of {place(half)} overlaps {address.cidr} on {netdev}; "
                f"choose another pool in fabric_pools"
                for half in halves
                if address.ipv4 and network.overlaps(ipaddress.ip_network(half["subnet"]))
            ]
    return found


def management_on_fabric(plan: NodePlan, links: dict[str, Link]) -> list[str]:
    """The address that this node is managed at lives on a link that is about to be changed."""
    return [
        f"{place(half)} holds the management address {plan['mgmt_ip']}; "
        f"manage this node over {plan['mgmt_netdev']} first"
        for half in plan["halves"]
        for address in links[half["netdev"]].addresses
        if address.cidr.split("/")[0] == plan["mgmt_ip"]
    ]
