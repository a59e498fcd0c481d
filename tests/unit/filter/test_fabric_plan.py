from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gb10.cluster.plugins.filter.fabric_plan import FilterModule

fabric_plan = FilterModule().filters()["fabric_plan"]
HOSTS = {"spark1": {"ansible_host": "192.0.2.1"}, "spark2": {"ansible_host": "192.0.2.2"}}


def test_unset_variables_mean_the_defaults() -> None:
    unset = dict.fromkeys(
        ["mtu", "pools", "cabling", "reserved_networks", "allow_small_mtu", "switch_name", "nccl_routing"]
    )
    plan = fabric_plan(["spark2", "spark1"], HOSTS, "direct", **unset)
    assert plan == fabric_plan(["spark1", "spark2"], HOSTS, topology="direct")
    assert (plan["mtu"], plan["links"][0]["id"]) == (9000, "spark1:p0-spark2:p1")


def test_everything_declared() -> None:
    plan = fabric_plan(
        list(HOSTS),
        HOSTS,
        topology="switch",
        mtu="1500",
        allow_small_mtu="true",
        pools=["10.9.0.0/16"],
        reserved_networks=["172.18.0.0/16"],
        cabling=[["spark1:p1", "sw:qsfp56-1-1"], ["spark2:p1", "sw:qsfp56-2-1"]],
        switch_name="sw",
        nccl_routing="in_tree",
    )
    assert plan["mtu"] == 1500
    assert plan["half_links"][0]["id"] == "spark1:p1:a-sw:qsfp56-1-1:a"
    assert plan["half_links"][0]["subnet"] == "10.9.0.0/24"


REFUSED: list[tuple[str, t.Any, dict[str, t.Any], str]] = [
    ("plan-error", ["spark1"], {}, "topology direct takes 2 nodes"),
    ("false-as-a-word", list(HOSTS), {"mtu": 1500, "allow_small_mtu": "false"}, "fabric_allow_small_mtu"),
    ("not-a-bool", list(HOSTS), {"allow_small_mtu": "perhaps"}, "perhaps"),
    ("unknown-keyword", list(HOSTS), {"jumbo": True}, "jumbo"),
    ("names-as-a-word", "spark1", {}, "takes a list of node names"),
    ("names-as-a-dict", HOSTS, {}, "takes a list of node names"),
]


@pytest.mark.parametrize(("names", "declared", "says"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused(names: t.Any, declared: dict[str, t.Any], says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        fabric_plan(names, HOSTS, "direct", **declared)
