# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment that makes NCCL, UCX, Gloo and MPI use the fabric (spark-facts 2.4). Standard library only."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ..contracts import HalfPlan

Routing = t.Literal["in_tree", "mesh_plugin"]
ROUTINGS: tuple[Routing, ...] = ("in_tree", "mesh_plugin")


def nccl_env(topology: str, mgmt_netdev: str, halves: t.Sequence[HalfPlan], routing: Routing) -> dict[str, str]:
    """The variables of one node. A GID index is never among them: it drifts and differs between devices."""
    env = _bootstrap(topology, mgmt_netdev, halves)
    if not halves:
        return env
    if routing == "mesh_plugin":
        # NCCL_NET by name: without the plugin NCCL stops instead of falling back to TCP.
        return env | {"NCCL_NET": "Mesh", "NCCL_NET_PLUGIN": "mesh"}
    env |= {
        "NCCL_NET": "IB",
        "NCCL_NET_PLUGIN": "none",
        # The environment wins over a leftover NCCL_IB_DISABLE=1 in the nccl.conf of an image.
        "NCCL_IB_DISABLE": "0",
        # A leading = makes the list exact; without it rocep1s0f1 would also match rocep1s0f10.
        "NCCL_IB_HCA": "=" + ",".join(half["rdma"] for half in halves),
        "NCCL_IB_ROCE_VERSION_NUM": "2",
        "NCCL_IB_ADDR_FAMILY": "AF_INET",
    }
    if topology == "triangle":
        # A merged device is only accepted when all of its ports match the peer's subnet.
        env |= {"NCCL_IB_SUBNET_AWARE_ROUTING": "1", "NCCL_IB_MERGE_NICS": "0"}
    return env


def _bootstrap(topology: str, mgmt_netdev: str, halves: t.Sequence[HalfPlan]) -> dict[str, str]:
    """Ranks meet on the management network: no fabric subnet of a triangle is shared by all nodes."""
    return {
        "NCCL_SOCKET_IFNAME": mgmt_netdev,
        "GLOO_SOCKET_IFNAME": mgmt_netdev,
        "TP_SOCKET_IFNAME": mgmt_netdev,
        "OMPI_MCA_btl_tcp_if_include": mgmt_netdev,
        "UCX_NET_DEVICES": halves[0]["netdev"] if topology == "switch" else mgmt_netdev,
    }
