# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contract 1: the fabric plan."""

from __future__ import annotations

import typing as t

from .words import Cage, HalfName, Topology


class PeerPlan(t.TypedDict):
    """The far end of a half that is cabled straight to another node."""

    node: str
    cage: Cage
    half: HalfName
    ipv4: str  # without prefix length


class HalfPlan(t.TypedDict):
    """One planned half of a node; halves without a cable are not in the plan."""

    cage: Cage
    half: HalfName
    netdev: str
    rdma: str
    pci: str
    ipv4: str  # without prefix length
    prefix: int
    subnet: str  # CIDR
    peer: PeerPlan | None  # None behind a switch
    switch_port: str | None


class NodePlan(t.TypedDict):
    mgmt_ip: str
    mgmt_netdev: str
    number: int  # stable identity: the last octet of every fabric address
    rank: int  # dense, 0-based, by number
    halves: list[HalfPlan]


class LinkEnd(t.TypedDict):
    device: str  # a node, or the switch
    port: str  # a cage, or a switch port


class LinkPlan(t.TypedDict):
    """A cable."""

    id: str  # "spark1:p0-spark2:p1"
    ends: list[LinkEnd]  # two


class PathEnd(t.TypedDict):
    node: str
    cage: Cage
    half: HalfName
    netdev: str
    rdma: str
    ipv4: str


class HalfLinkPlan(t.TypedDict):
    """One half of a cable. Behind a switch it has one end."""

    id: str  # "spark1:p0:a-spark2:p1:a", behind a switch "spark1:p0:a-crs812:qsfp56-1-1:a"
    link: str
    half: HalfName
    subnet: str
    ends: list[PathEnd]


class PathPlan(t.TypedDict):
    """What the pair matrix measures: two nodes that share a subnet of one half. On a cable it is the half-link."""

    id: str  # "spark1:p0:a-spark2:p1:a"
    half: HalfName
    subnet: str
    ends: list[PathEnd]  # two; the lower rank first, the triangle's closing path (rank 2 -> rank 0) excepted


class SwitchPortPlan(t.TypedDict):
    port: str  # lane master, for example "qsfp56-1-1"
    node: str
    cage: Cage
    speed: str  # "200G-baseCR4" (spark-facts 3.2)
    l2mtu: int


class Plan(t.TypedDict):
    schema: str
    topology: Topology
    mtu: int
    nodes: dict[str, NodePlan]
    links: list[LinkPlan]
    half_links: list[HalfLinkPlan]
    paths: list[PathPlan]
    nccl_env: dict[str, dict[str, str]]
    switch_ports: list[SwitchPortPlan]
