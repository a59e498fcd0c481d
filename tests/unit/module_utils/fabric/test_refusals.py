"""What makes the module keep its hands off."""

from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Plan
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.errors import FabricError
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.refusals import Interface, interfaces_meant
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.survey import Request, survey
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host

from tests.fakes.fabric_node import FakeNode

P0A = Interface("enp1s0f0np0", "4c:bb:47:2d:1a:16", "mlx5_core")
P1A = Interface("enp1s0f1np1", "4c:bb:47:2d:1a:17", "mlx5_core")
MGMT = Interface("enP7s7", "4c:bb:47:2d:1a:15", "r8127")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("network: {version: 2, renderer: NetworkManager}\n", [], id="ubuntu-default-renderer-only"),
        pytest.param(
            "network:\n  ethernets:\n    enp1s0f0np0:\n      dhcp4: no\n", ["enp1s0f0np0"], id="nvidia-40-cx7"
        ),
        pytest.param("network:\n  ethernets:\n    'enp1s0f0np0': {dhcp4: no}\n", ["enp1s0f0np0"], id="quoted"),
        pytest.param("network:\n  ethernets:\n    # enp1s0f0np0: off\n    eth0: {}\n", [], id="only-in-a-comment"),
        pytest.param(
            "    cx7:\n      match: {macaddress: '4C:BB:47:2D:1A:16'}\n", ["enp1s0f0np0"], id="by-mac-whatever-case"
        ),
        pytest.param("    cx7:\n      match:\n        driver: mlx5_core\n", ["enp1s0f0np0", "enp1s0f1np1"], id="by-driver"),
        pytest.param(
            "    cx7:\n      match: {driver: [mlx5_core, mlx4*]}\n", ["enp1s0f0np0", "enp1s0f1np1"], id="by-drivers"
        ),
        pytest.param("    fast:\n      match:\n        name: enp1s0f*\n", ["enp1s0f0np0", "enp1s0f1np1"], id="by-glob"),
        pytest.param(
            "    all-en:\n      match: {name: 'en*'}\n      dhcp4: true\n",
            ["enp1s0f0np0", "enp1s0f1np1", "enP7s7"],
            id="everything",
        ),
        pytest.param("    mgmt:\n      match: {name: enP*}\n", ["enP7s7"], id="case-matters-in-a-glob"),
        pytest.param("  bonds:\n    bond0:\n      interfaces: [enp1s0f0np0, enp1s0f1np1]\n", ["enp1s0f0np0", "enp1s0f1np1"], id="stale-bond"),
        pytest.param("    enp1s0f0np0x: {}\n    xenp1s0f1np1: {}\n", [], id="longer-names"),
        pytest.param("[Match]\nName=enp1s0f0np0\n", ["enp1s0f0np0"], id="networkd-generated"),
        pytest.param("[Match]\nPermanentMACAddress=4c:bb:47:2d:1a:17\n", ["enp1s0f1np1"], id="networkd-by-mac"),
        pytest.param("[connection]\ninterface-name=enP7s7\n", ["enP7s7"], id="nm-profile"),
    ],
)  # fmt: skip
def test_interfaces_that_a_file_means(text: str, expected: list[str]) -> None:
    assert interfaces_meant(text, [P0A, P1A, MGMT]) == expected


def refused(host: Host, plan: Plan, take_over: bool = False) -> list[str]:
    with pytest.raises(FabricError) as caught:
        survey(host, Request(plan, "spark1", None, take_over, 120, False))
    return caught.value.findings


def test_docker_and_management_networks_are_not_overlapped(host: Host, node: FakeNode, plan: Plan) -> None:
    node.load()["docker0"] = {"mtu": 1500, "carrier": True, "addresses": ["10.210.1.1/20", "fe80::1/64"]}
    node.save()
    found = refused(host, plan)
    assert len(found) == 4
    assert found[0] == (
        "planned subnet 10.210.0.0/24 of enp1s0f0np0 (cage p0 half a) overlaps 10.210.1.1/20 on docker0; "
        "choose another pool in fabric_pools"
    )


def test_addresses_on_our_own_links_are_about_to_go_and_do_not_count(host: Host, node: FakeNode, plan: Plan) -> None:
    node.change("enp1s0f0np0", addresses=["10.210.2.9/24"])
    assert survey(host, Request(plan, "spark1", None, False, 120, False)).planned[0] == "enp1s0f0np0"


def test_a_missing_netdev_says_that_the_nic_sleeps_without_a_cable(host: Host, node: FakeNode, plan: Plan) -> None:
    del node.load()["enp1s0f1np1"]
    node.save()
    assert refused(host, plan) == [
        "enp1s0f1np1 (cage p1 half a) does not exist on this node; the NIC stays powered down until a cable is plugged "
        "in, and `ls /sys/class/net` shows what there is"
    ]


def test_a_node_managed_over_the_fabric_is_left_alone(host: Host, node: FakeNode, plan: Plan) -> None:
    node.change("enP2p1s0f0np0", addresses=["192.0.2.11/24"])
    node.change("enP7s7", addresses=[])
    assert refused(host, plan) == [
        "enP2p1s0f0np0 (cage p0 half b) holds the management address 192.0.2.11; manage this node over enP7s7 first"
    ]


@pytest.mark.parametrize("take_over", [False, True])
def test_a_file_that_also_configures_management_is_never_moved(
    host: Host, node: FakeNode, plan: Plan, take_over: bool
) -> None:
    node.write("/etc/netplan/50-all.yaml", "network:\n  ethernets:\n    all:\n      match: {name: en*}\n")
    assert refused(host, plan, take_over) == [
        "/etc/netplan/50-all.yaml configures enp1s0f0np0, enP2p1s0f0np0, enp1s0f1np1, enP2p1s0f1np1 together with enP7s7, "
        "so it cannot be moved aside: move the fabric links into a file of their own"
    ]


def test_a_generated_file_is_not_moved_because_it_comes_back(host: Host, node: FakeNode, plan: Plan) -> None:
    node.write("/run/netplan/90-tool.yaml", "network:\n  ethernets:\n    enp1s0f0np0: {}\n")
    assert refused(host, plan, take_over=True) == [
        "/run/netplan/90-tool.yaml configures enp1s0f0np0; stop what generates it, or remove the file"
    ]
