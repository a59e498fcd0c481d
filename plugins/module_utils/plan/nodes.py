# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who the nodes are: number, rank and management address, read from the inventory. Controller only."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .addresses import for_hosts, network_around, read_address, read_network
from .errors import PlanError
from .hardware import MGMT_NETDEV

if t.TYPE_CHECKING:
    import netaddr

HIGHEST_NUMBER = 254  # the last host octet of a /24

NODES_OF: dict[str, range] = {
    "single": range(1, 2),
    "direct": range(2, 3),
    "triangle": range(3, 4),
    "switch": range(2, 5),
}


@dataclass(frozen=True)
class Node:
    name: str
    number: int
    rank: int
    mgmt_ip: str
    mgmt_netdev: str
    mgmt_network: str  # CIDR; the fabric stays out of it


def read_nodes(names: t.Sequence[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]], topology: str) -> list[Node]:
    """The nodes in order of their numbers, whatever the order of the inventory."""
    _check_count(names, topology)
    _refuse_equal_names(names)
    numbers = _numbers(names, hostvars)
    nodes = []
    for rank, name in enumerate(sorted(names, key=lambda name: numbers[name])):
        address = _mgmt_ip(name, hostvars[name])
        nodes.append(
            Node(
                name=name,
                number=numbers[name],
                rank=rank,
                mgmt_ip=str(address),
                mgmt_netdev=str(hostvars[name].get("fabric_mgmt_netdev") or MGMT_NETDEV),
                mgmt_network=_mgmt_network(name, hostvars[name], address),
            )
        )
    _check_mgmt_ips(nodes)
    return nodes


def _check_count(names: t.Sequence[str], topology: str) -> None:
    if topology not in NODES_OF:
        raise PlanError(f"fabric_topology is {topology!r}; expected one of {', '.join(NODES_OF)}")
    wanted = NODES_OF[topology]
    if len(names) in wanted:
        return
    fitting = [name for name, counts in NODES_OF.items() if len(names) in counts]
    advice = f"set fabric_topology to {' or '.join(fitting)}" if fitting else "one to four nodes make a cluster"
    expected = f"{wanted[0]} to {wanted[-1]} nodes" if len(wanted) > 1 else _nodes(wanted[0])
    raise PlanError(
        f"topology {topology} takes {expected}, but the inventory group has {len(names)}"
        f" ({', '.join(names) or 'none'}); change the group, or {advice}"
    )


def _nodes(count: int) -> str:
    return f"{count} node" if count == 1 else f"{count} nodes"


def _refuse_equal_names(names: t.Sequence[str]) -> None:
    lowered = [name.lower() for name in names]
    for name in names:
        if lowered.count(name.lower()) > 1:
            raise PlanError(
                f"node name {name!r} occurs twice (upper and lower case are one host name);"
                " give every node of the inventory group a name of its own"
            )


# --- numbers ---


def _numbers(names: t.Sequence[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for name in names:
        number = _number(name, hostvars[name].get("fabric_node_number"), alone=len(names) == 1)
        for other, taken in numbers.items():
            if taken == number:
                raise PlanError(
                    f"nodes {other} and {name} both have number {number}, and the number is the last octet of every"
                    " fabric address; set fabric_node_number to a number of its own for one of them"
                )
        numbers[name] = number
    return numbers


def _number(name: str, declared: t.Any, alone: bool) -> int:
    if declared is not None:
        return _declared_number(name, declared)
    trailing = re.search(r"(\d+)$", name.partition(".")[0])
    number = int(trailing.group(1)) if trailing else 0
    if 1 <= number <= HIGHEST_NUMBER:
        return number
    if alone:
        return 1
    raise PlanError(
        f"node {name} has no number: its name does not end in 1 to {HIGHEST_NUMBER}; set fabric_node_number for it"
        " (fabric addresses derive from the number, so that a new node never renumbers the others)"
    )


def _declared_number(name: str, declared: t.Any) -> int:
    text = str(declared)
    number = int(text) if text.isdecimal() else 0
    if isinstance(declared, bool) or not 1 <= number <= HIGHEST_NUMBER:
        raise PlanError(f"fabric_node_number of {name} is {declared!r}; expected a whole number, 1 to {HIGHEST_NUMBER}")
    return number


# --- management addresses ---


def _mgmt_ip(name: str, host: t.Mapping[str, t.Any]) -> netaddr.IPAddress:
    source = "fabric_mgmt_ip" if host.get("fabric_mgmt_ip") is not None else "ansible_host"
    value = host.get(source)
    address = read_address(value)
    if address is None:
        raise PlanError(
            f"the management address of {name} is not known: {source} is {value!r}, not an IPv4 address;"
            " set fabric_mgmt_ip to the address by which the other nodes reach it"
        )
    if not for_hosts(address):
        raise PlanError(
            f"{source} of {name} is {address}, which no other node can reach;"
            " set fabric_mgmt_ip to the address of its RJ45 port"
        )
    return address


def _mgmt_network(name: str, host: t.Mapping[str, t.Any], address: netaddr.IPAddress) -> str:
    declared = host.get("fabric_mgmt_network")
    network = network_around(address) if declared is None else read_network(declared, f"fabric_mgmt_network of {name}")
    if address not in network:
        raise PlanError(
            f"fabric_mgmt_network of {name} is {network}, which does not hold its management address {address};"
            " correct one of the two"
        )
    return str(network)


def _check_mgmt_ips(nodes: t.Sequence[Node]) -> None:
    owners: dict[str, str] = {}
    for node in nodes:
        if node.mgmt_ip in owners:
            raise PlanError(
                f"nodes {owners[node.mgmt_ip]} and {node.name} have the same management address {node.mgmt_ip};"
                " correct ansible_host or fabric_mgmt_ip of one of them"
            )
        owners[node.mgmt_ip] = node.name
