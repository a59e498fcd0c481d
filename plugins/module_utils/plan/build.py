# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the declaration to the fabric plan (contract 1). Pure; controller only."""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass, field

from ..contracts import (
    SCHEMA,
    Cage,
    HalfLinkPlan,
    HalfName,
    HalfPlan,
    LinkPlan,
    NodePlan,
    PathEnd,
    PathPlan,
    PeerPlan,
    Plan,
    SwitchPortPlan,
    Topology,
)
from .addresses import DEFAULT_POOLS, DOCKER_DEFAULT, PREFIX, Pools, Taken, pair_index
from .cabling import Cable, End, plan_cables
from .errors import PlanError
from .hardware import HALF_NAMES, HALF_PORTS, SWITCH_L2MTU, SWITCH_SPEED, HalfPort, half_port
from .nccl_env import ROUTINGS, Routing, nccl_env
from .nodes import Node, read_nodes

if t.TYPE_CHECKING:
    import netaddr

LOWEST_MTU = 1500
LOWEST_FULL_MTU = 4200  # below it the RoCE path MTU drops under 4096 (spark-facts 2.3)
HIGHEST_MTU = 9000  # more buys nothing: the RoCE path MTU ends at 4096, and the switch is set to 9000


@dataclass(frozen=True)
class Declaration:
    """What the operator declares besides the nodes."""

    topology: str
    mtu: t.Any = HIGHEST_MTU
    pools: t.Sequence[str] | None = None
    cabling: t.Any = None
    switch_name: str = "crs812"
    reserved_networks: t.Sequence[str] = field(default_factory=list)
    allow_small_mtu: bool = False
    nccl_routing: str = "in_tree"


def build_plan(names: t.Sequence[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]], wanted: Declaration) -> Plan:
    """The fabric plan, or a PlanError."""
    nodes = read_nodes(names, hostvars, wanted.topology)
    mtu = _mtu(wanted.mtu, wanted.allow_small_mtu)
    cables = plan_cables([node.name for node in nodes], wanted.topology, wanted.cabling, wanted.switch_name)
    fabric = _Fabric(nodes, cables, Pools(wanted.pools or DEFAULT_POOLS, _taken(nodes, wanted.reserved_networks)))
    node_plans = {node.name: fabric.node_plan(node) for node in nodes}
    plan = Plan(
        schema=SCHEMA,
        topology=t.cast(Topology, wanted.topology),
        mtu=mtu,
        nodes=node_plans,
        links=[_link(cable) for cable in cables],
        half_links=fabric.half_links(),
        paths=fabric.switch_paths() if wanted.topology == "switch" else fabric.cable_paths(),
        nccl_env=_nccl_env(node_plans, wanted),
        switch_ports=[_switch_port(cable) for cable in cables if wanted.topology == "switch"],
    )
    refuse_shared_subnets(plan)
    return plan


def refuse_shared_subnets(plan: Plan) -> None:
    """Two halves of a node in one subnet break routing and NCCL's choice of a device (spark-facts 2.2)."""
    for name, node in plan["nodes"].items():
        owners: dict[str, str] = {}
        for half in node["halves"]:
            if half["subnet"] in owners:
                raise PlanError(
                    f"{owners[half['subnet']]} and {half['netdev']} of {name} are both in {half['subnet']};"
                    " every half needs a subnet of its own"
                )
            owners[half["subnet"]] = half["netdev"]


# --- the declaration ---


def _mtu(value: t.Any, allow_small: bool) -> int:
    text = str(value)
    mtu = int(text) if text.isdecimal() else 0
    if isinstance(value, bool) or not LOWEST_MTU <= mtu <= HIGHEST_MTU:
        raise PlanError(f"fabric_mtu is {value!r}; expected {LOWEST_MTU} to {HIGHEST_MTU}, and {HIGHEST_MTU} is best")
    if mtu < LOWEST_FULL_MTU and not allow_small:
        raise PlanError(
            f"fabric_mtu is {mtu}, and below {LOWEST_FULL_MTU} RDMA packets shrink from 4096 to 2048 bytes or less;"
            f" set it to {HIGHEST_MTU}, or set fabric_allow_small_mtu when this is meant"
        )
    return mtu


def _taken(nodes: t.Sequence[Node], reserved: t.Sequence[str]) -> list[Taken]:
    taken = [(f"the management network of {node.name}", node.mgmt_network) for node in nodes]
    taken.append(("Docker's default bridge", DOCKER_DEFAULT))
    return taken + [("fabric_reserved_networks", str(network)) for network in reserved]


def _nccl_env(nodes: t.Mapping[str, NodePlan], wanted: Declaration) -> dict[str, dict[str, str]]:
    if wanted.nccl_routing not in ROUTINGS:
        raise PlanError(f"fabric_nccl_routing is {wanted.nccl_routing!r}; expected {' or '.join(ROUTINGS)}")
    routing: Routing = "mesh_plugin" if wanted.nccl_routing == "mesh_plugin" else "in_tree"
    if routing == "mesh_plugin" and wanted.topology != "triangle":
        raise PlanError(
            f"fabric_nccl_routing is mesh_plugin, which is for a triangle, and the topology is {wanted.topology};"
            " set it to in_tree"
        )
    return {
        name: nccl_env(wanted.topology, node["mgmt_netdev"], node["halves"], routing) for name, node in nodes.items()
    }


# --- the parts of the plan ---


class _Fabric:
    """Nodes, cables and pools together; everything else follows from them."""

    def __init__(self, nodes: t.Sequence[Node], cables: t.Sequence[Cable], pools: Pools) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._cables = cables
        self._pools = pools
        self._subnets = {(cable, half): self._subnet(cable, half) for cable in cables for half in HALF_NAMES}

    def node_plan(self, node: Node) -> NodePlan:
        cabled = [
            (port, cable) for port in HALF_PORTS for cable in self._cables if (node.name, port.cage) in cable.ends
        ]
        return NodePlan(
            mgmt_ip=node.mgmt_ip,
            mgmt_netdev=node.mgmt_netdev,
            number=node.number,
            rank=node.rank,
            halves=[self._half(node, port, cable) for port, cable in cabled],
        )

    def half_links(self) -> list[HalfLinkPlan]:
        return [
            HalfLinkPlan(
                id=_joined(cable.ends, half),
                link=cable.name,
                half=half,
                subnet=str(self._subnets[cable, half]),
                ends=[self._path_end(end, cable, half) for end in cable.ends if end[0] in self._nodes],
            )
            for cable in self._cables
            for half in HALF_NAMES
        ]

    def cable_paths(self) -> list[PathPlan]:
        return [
            PathPlan(id=link["id"], half=link["half"], subnet=link["subnet"], ends=link["ends"])
            for link in self.half_links()
        ]

    def switch_paths(self) -> list[PathPlan]:
        """Every pair of nodes in every plane."""
        return [
            PathPlan(
                id=_joined((one.near, other.near), half),
                half=half,
                subnet=str(self._subnets[one, half]),
                ends=[self._path_end(one.near, one, half), self._path_end(other.near, other, half)],
            )
            for one, other in itertools.combinations(self._cables, 2)
            for half in HALF_NAMES
        ]

    def _half(self, node: Node, port: HalfPort, cable: Cable) -> HalfPlan:
        own = self._path_end((node.name, port.cage), cable, port.half)
        far = cable.far if cable.near[0] == node.name else cable.near
        return HalfPlan(
            cage=port.cage,
            half=port.half,
            netdev=port.netdev,
            rdma=port.rdma,
            pci=port.pci,
            ipv4=own["ipv4"],
            prefix=PREFIX,
            subnet=str(self._subnets[cable, port.half]),
            peer=self._peer(far, cable, port.half) if far[0] in self._nodes else None,
            switch_port=None if far[0] in self._nodes else far[1],
        )

    def _peer(self, end: End, cable: Cable, half: HalfName) -> PeerPlan:
        far = self._path_end(end, cable, half)
        return PeerPlan(node=far["node"], cage=far["cage"], half=half, ipv4=far["ipv4"])

    def _path_end(self, end: End, cable: Cable, half: HalfName) -> PathEnd:
        port = half_port(t.cast(Cage, end[1]), half)
        return PathEnd(
            node=end[0],
            cage=port.cage,
            half=half,
            netdev=port.netdev,
            rdma=port.rdma,
            ipv4=str(self._subnets[cable, half][self._nodes[end[0]].number]),
        )

    def _subnet(self, cable: Cable, half: HalfName) -> netaddr.IPNetwork:
        ends = [self._nodes[device] for device, _port in cable.ends if device in self._nodes]
        plane = HALF_NAMES.index(half)
        if len(ends) == 1:
            return self._pools.subnet(plane, f"plane {half} of the switch")
        pair = pair_index(ends[0].number, ends[1].number)
        return self._pools.subnet(2 * pair + plane, f"the cable between {ends[0].name} and {ends[1].name}")


def _link(cable: Cable) -> LinkPlan:
    return LinkPlan(id=cable.name, ends=[{"device": device, "port": port} for device, port in cable.ends])


def _joined(ends: tuple[End, End], half: HalfName) -> str:
    return "-".join(f"{device}:{port}:{half}" for device, port in ends)


def _switch_port(cable: Cable) -> SwitchPortPlan:
    node, cage = cable.near
    return SwitchPortPlan(port=cable.far[1], node=node, cage=t.cast(Cage, cage), speed=SWITCH_SPEED, l2mtu=SWITCH_L2MTU)
