from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.plan.errors import PlanError
from ansible_collections.gb10.cluster.plugins.module_utils.plan.nodes import read_nodes

A = {"ansible_host": "192.0.2.1"}
B = {"ansible_host": "192.0.2.2"}


def number(value: t.Any, **host: t.Any) -> dict[str, t.Any]:
    return host | {"fabric_node_number": value}


NUMBERS = [
    ("trailing", {"spark1": A, "spark2": B}, {"spark1": 1, "spark2": 2}),
    ("dash-and-zero", {"node-02": A, "node-10": B}, {"node-02": 2, "node-10": 10}),
    (
        "full-names",
        {"spark1.example.org": A, "spark2.example.org": B},
        {"spark1.example.org": 1, "spark2.example.org": 2},
    ),
    ("declared", {"alice": number(9, **A), "bob": number("3", **B)}, {"bob": 3, "alice": 9}),
    ("declared-wins", {"spark1": number(7, **A), "spark2": B}, {"spark2": 2, "spark1": 7}),
    ("mixed", {"alice": number(1, **A), "spark2": B}, {"alice": 1, "spark2": 2}),
]


@pytest.mark.parametrize(("hosts", "wanted"), [c[1:] for c in NUMBERS], ids=[c[0] for c in NUMBERS])
def test_numbers_and_ranks(hosts: dict[str, dict[str, t.Any]], wanted: dict[str, int]) -> None:
    nodes = read_nodes(list(hosts), hosts, "switch")
    assert {node.name: node.number for node in nodes} == wanted
    assert [node.name for node in nodes] == list(wanted)
    assert [node.rank for node in nodes] == [0, 1]


def test_a_lone_node_needs_no_number() -> None:
    (node,) = read_nodes(["alice"], {"alice": A}, "single")
    assert (node.number, node.rank) == (1, 0)


REFUSED = [
    ("no-number", {"alice": A, "spark2": B}, "node alice has no number"),
    ("number-255", {"spark255": A, "spark2": B}, "node spark255 has no number"),
    ("same-number", {"a1": A, "b1": B}, "a1 and b1 both have number 1"),
    ("declared-zero", {"spark1": number(0, **A), "spark2": B}, "fabric_node_number of spark1 is 0"),
    ("declared-word", {"spark1": number("one", **A), "spark2": B}, "is 'one'; expected a whole number"),
    ("declared-true", {"spark1": number(True, **A), "spark2": B}, "is True; expected a whole number"),
    ("no-address", {"spark1": {}, "spark2": B}, "management address of spark1 is not known: ansible_host is None"),
    (
        "host-name",
        {"spark1": {"ansible_host": "spark1.example.org"}, "spark2": B},
        "not an IPv4 address; set fabric_mgmt_ip",
    ),
    ("ipv6", {"spark1": {"ansible_host": "2001:db8::1"}, "spark2": B}, "not an IPv4 address"),
    ("loopback", {"spark1": {"ansible_host": "127.0.0.1"}, "spark2": B}, "127.0.0.1, which no other node can reach"),
    ("mgmt-nonsense", {"spark1": A | {"fabric_mgmt_ip": "rj45"}, "spark2": B}, "fabric_mgmt_ip is 'rj45'"),
    ("same-address", {"spark1": A, "spark2": A}, "spark1 and spark2 have the same management address 192.0.2.1"),
    (
        "network-nonsense",
        {"spark1": A | {"fabric_mgmt_network": "lan"}, "spark2": B},
        "fabric_mgmt_network of spark1 has 'lan'",
    ),
    (
        "network-elsewhere",
        {"spark1": A | {"fabric_mgmt_network": "198.51.100.0/24"}, "spark2": B},
        "does not hold its management address 192.0.2.1",
    ),
]


@pytest.mark.parametrize(("hosts", "says"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused(hosts: dict[str, dict[str, t.Any]], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        read_nodes(list(hosts), hosts, "direct")


@pytest.mark.parametrize("names", [["spark1", "spark1"], ["spark1", "Spark1"]], ids=["same", "case"])
def test_duplicate_names_are_refused(names: list[str]) -> None:
    with pytest.raises(PlanError, match=r"'[sS]park1' occurs twice"):
        read_nodes(names, {"spark1": A, "Spark1": B}, "direct")


def test_the_management_side_is_read_from_the_host() -> None:
    hosts = {
        "spark1": {"ansible_host": "127.0.0.1", "fabric_mgmt_ip": "10.0.2.11", "fabric_mgmt_netdev": "wlP9s9"},
        "spark2": {"ansible_host": "10.0.2.12", "fabric_mgmt_network": "10.0.0.0/16"},
    }
    one, two = read_nodes(list(hosts), hosts, "direct")
    assert (one.mgmt_ip, one.mgmt_netdev, one.mgmt_network) == ("10.0.2.11", "wlP9s9", "10.0.2.0/24")
    assert (two.mgmt_ip, two.mgmt_netdev, two.mgmt_network) == ("10.0.2.12", "enP7s7", "10.0.0.0/16")
