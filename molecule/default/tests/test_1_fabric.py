"""The fabric as it is live, seen without our own code."""

from __future__ import annotations

import json

import pytest
from nodes import FABRIC, HOSTS, MGMT, OWN_NETPLAN
from testinfra.host import Host

testinfra_hosts = HOSTS


@pytest.fixture
def name(host: Host) -> str:
    return host.check_output("hostname")


@pytest.fixture
def links(host: Host) -> dict[str, dict[str, object]]:
    return {link["ifname"]: link for link in json.loads(host.check_output("ip -j addr show"))}


def test_every_half_has_its_mtu_and_one_address(name: str, links: dict[str, dict[str, object]]) -> None:
    for netdev, cidr in FABRIC[name].items():
        assert links[netdev]["mtu"] == 9000
        assert links[netdev]["operstate"] == "UP"
        assert [f"{one['local']}/{one['prefixlen']}" for one in links[netdev]["addr_info"]] == [cidr]


def test_management_is_as_it_was(host: Host, name: str, links: dict[str, dict[str, object]]) -> None:
    assert links["enP7s7"]["mtu"] == 1500
    held = [one for one in links["enP7s7"]["addr_info"] if one["family"] == "inet"]
    assert [f"{one['local']}/{one['prefixlen']}" for one in held] == [f"{MGMT[name]}/24"]
    assert host.file("/etc/netplan/10-management.yaml").contains("enP7s7")


def test_one_connected_route_for_each_half_and_no_default_route(host: Host, name: str) -> None:
    routes = json.loads(host.check_output("ip -j -4 route show"))
    fabric = {route["dst"]: route["dev"] for route in routes if route["dev"] in FABRIC[name]}
    assert fabric == {f"{cidr.rsplit('.', 1)[0]}.0/24": netdev for netdev, cidr in FABRIC[name].items()}
    assert not [route for route in json.loads(host.check_output("ip -j -6 route show")) if route["dev"] in FABRIC[name]]


def test_full_frames_reach_every_neighbour_over_every_half(host: Host, name: str) -> None:
    own = {cidr.rsplit(".", 1)[0]: netdev for netdev, cidr in FABRIC[name].items()}
    peers = [
        (own[cidr.rsplit(".", 1)[0]], cidr.split("/")[0])
        for far, halves in FABRIC.items()
        if far != name
        for cidr in halves.values()
        if cidr.rsplit(".", 1)[0] in own
    ]
    assert len(peers) == 4
    for netdev, address in peers:
        assert host.run(f"ping -c 1 -W 2 -M do -s 8972 -I {netdev} {address}").rc == 0, f"{netdev} to {address}"


def test_one_byte_more_than_a_full_frame_is_too_long(host: Host, name: str) -> None:
    far = FABRIC["spark2" if name == "spark1" else "spark1"]
    own = {cidr.rsplit(".", 1)[0] for cidr in FABRIC[name].values()}
    address = next(cidr.split("/")[0] for cidr in far.values() if cidr.rsplit(".", 1)[0] in own)
    assert host.run(f"ping -c 1 -W 2 -M do -s 8973 {address}").rc != 0


def test_the_file_is_ours_private_and_persistent(host: Host, name: str) -> None:
    file = host.file(OWN_NETPLAN)
    assert (file.user, file.mode) == ("root", 0o600)
    assert file.content_string.startswith("# Managed by gb10.cluster")
    assert all(cidr in host.check_output("netplan get") for cidr in FABRIC[name].values())


def test_nothing_is_left_unconfirmed(host: Host) -> None:
    assert not host.file("/var/lib/gb10/fabric/pending").exists
    assert host.file("/var/lib/gb10/fabric/original/restore.sh").mode == 0o700
    assert "gb10-fabric-revert" not in host.check_output("systemctl list-timers --all --no-legend")


def test_the_name_of_a_node_is_its_management_address(host: Host, name: str) -> None:
    for node, address in MGMT.items():
        assert host.check_output(f"getent ahostsv4 {node}").split()[0] == address
