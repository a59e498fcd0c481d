from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan

BOOTSTRAP = {
    "NCCL_SOCKET_IFNAME": "enP7s7",
    "GLOO_SOCKET_IFNAME": "enP7s7",
    "TP_SOCKET_IFNAME": "enP7s7",
    "OMPI_MCA_btl_tcp_if_include": "enP7s7",
    "UCX_NET_DEVICES": "enP7s7",
}
IN_TREE = {
    "NCCL_NET": "IB",
    "NCCL_NET_PLUGIN": "none",
    "NCCL_IB_DISABLE": "0",
    "NCCL_IB_ROCE_VERSION_NUM": "2",
    "NCCL_IB_ADDR_FAMILY": "AF_INET",
}
P0, ALL = "=rocep1s0f0,roceP2p1s0f0", "=rocep1s0f0,roceP2p1s0f0,rocep1s0f1,roceP2p1s0f1"
TRIANGLE = {"NCCL_IB_SUBNET_AWARE_ROUTING": "1", "NCCL_IB_MERGE_NICS": "0", "NCCL_IB_HCA": ALL}

CASES = [
    # spark-facts 2.4, one row for each column of its table
    ("single", 1, {}, BOOTSTRAP),
    ("direct", 2, {}, BOOTSTRAP | IN_TREE | {"NCCL_IB_HCA": P0}),
    ("triangle", 3, {}, BOOTSTRAP | IN_TREE | TRIANGLE),
    ("switch", 3, {}, BOOTSTRAP | IN_TREE | {"NCCL_IB_HCA": P0, "UCX_NET_DEVICES": "enp1s0f0np0"}),
    ("triangle", 3, {"nccl_routing": "mesh_plugin"}, BOOTSTRAP | {"NCCL_NET": "Mesh", "NCCL_NET_PLUGIN": "mesh"}),
]


@pytest.mark.parametrize(("topology", "count", "declared", "wanted"), CASES)
def test_environment(topology: str, count: int, declared: dict[str, t.Any], wanted: dict[str, str]) -> None:
    hosts = {f"spark{n}": {"ansible_host": f"192.0.2.{n}"} for n in range(1, count + 1)}
    plan = build_plan(list(hosts), hosts, Declaration(topology, **declared))
    assert plan["nccl_env"]["spark1"] == wanted
    assert not any("GID_INDEX" in key for env in plan["nccl_env"].values() for key in env)


def test_each_node_lists_its_own_devices() -> None:
    hosts = {
        "spark1": {"ansible_host": "192.0.2.1"},
        "spark2": {"ansible_host": "192.0.2.2", "fabric_mgmt_netdev": "wlP9s9"},
    }
    env = build_plan(list(hosts), hosts, Declaration("direct"))["nccl_env"]["spark2"]
    assert env["NCCL_IB_HCA"] == "=rocep1s0f1,roceP2p1s0f1"
    assert env["NCCL_SOCKET_IFNAME"] == "wlP9s9"
