from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.plan.cabling import plan_cables
from ansible_collections.gb10.cluster.plugins.module_utils.plan.errors import PlanError

ONE, TWO, THREE = "spark1", "spark2", "spark3"
GOOD = [["spark1:p0", "spark2:p1"], ["spark2:p0", "spark3:p1"], ["spark3:p0", "spark1:p1"]]


def names_of(cables: t.Any) -> list[str]:
    return [cable.name for cable in cables]


def test_defaults() -> None:
    assert names_of(plan_cables([ONE], "single", None, "crs812")) == []
    assert names_of(plan_cables([ONE, TWO], "direct", None, "crs812")) == ["spark1:p0-spark2:p1"]
    assert names_of(plan_cables([ONE, TWO], "switch", None, "crs812")) == [
        "spark1:p0-crs812:qsfp56-1-1",
        "spark2:p0-crs812:qsfp56-2-1",
    ]


def test_the_default_triangle_can_be_declared() -> None:
    nodes = [ONE, TWO, THREE]
    assert plan_cables(nodes, "triangle", GOOD, "x") == plan_cables(nodes, "triangle", None, "x")


def test_a_triangle_may_run_the_other_way() -> None:
    declared = [["spark2:p0", "spark1:p1"], ["spark3:p0", "spark2:p1"], ["spark1:p0", "spark3:p1"]]
    assert names_of(plan_cables([ONE, TWO, THREE], "triangle", declared, "crs812")) == [
        "spark1:p1-spark2:p0",
        "spark2:p1-spark3:p0",
        "spark3:p1-spark1:p0",
    ]


def test_switch_ports_and_cages_can_be_declared() -> None:
    declared = [["sw:qsfp56-dd-2-5", "spark2:p1"], ["spark1:p0", "sw:qsfp56-dd-2-1"]]
    assert names_of(plan_cables([ONE, TWO], "switch", declared, "sw")) == [
        "spark1:p0-sw:qsfp56-dd-2-1",
        "spark2:p1-sw:qsfp56-dd-2-5",
    ]


P0_P0 = [["spark1:p0", "spark2:p0"], ["spark2:p1", "spark3:p0"], ["spark3:p1", "spark1:p1"]]
SWITCHED = ["spark1:p0", "crs812:qsfp56-1-1"]
REFUSED = [
    (
        "luxingcom#1/p0-p0",
        "triangle",
        P0_P0,
        "joins spark1:p0 to spark2:p0; a triangle joins p0 to p1 .*move one of the two plugs",
    ),
    ("word", "direct", "spark1:p0 spark2:p1", "expected a list with one pair of ends per cable"),
    ("number", "direct", 3, "expected a list"),
    ("one-end", "direct", [["spark1:p0"]], "expected its two ends"),
    ("not-a-pair", "direct", ["spark1:p0-spark2:p1"], "expected its two ends"),
    ("end-is-a-number", "direct", [["spark1:p0", 2]], "expected its two ends"),
    ("unknown-node", "direct", [["spark1:p0", "spark9:p1"]], "there is no node 'spark9'; .*one of spark1, spark2"),
    ("no-cage", "direct", [["spark1", "spark2:p1"]], "names spark1, but there is no node ''"),
    ("unknown-cage", "direct", [["spark1:p2", "spark2:p1"]], "has no cage 'p2'; expected p0"),
    ("netdev", "direct", [["spark1:enp1s0f0np0", "spark2:p1"]], "is a half of cage p0: write spark1:p0"),
    ("rdma-device", "direct", [["spark1:roceP2p1s0f1", "spark2:p1"]], "is a half of cage p1: write spark1:p1"),
    ("unknown-interface", "direct", [["spark1:eth0", "spark2:p1"]], "has no cage 'eth0'"),
    ("itself", "direct", [["spark1:p0", "spark1:p1"]], "joins spark1 to itself"),
    ("cage-twice", "triangle", [*GOOD[:2], ["spark3:p0", "spark2:p1"]], "uses spark2:p1 for two cables"),
    (
        "pair-twice",
        "direct",
        [["spark1:p0", "spark2:p1"], ["spark1:p1", "spark2:p0"]],
        "two cables for spark1 - spark2; a second cable",
    ),
    ("missing", "triangle", GOOD[:2], "has no cable for spark1 - spark3, which topology triangle needs"),
    ("no-cables", "direct", [], "has no cable for spark1 - spark2"),
    ("single-with-cable", "single", [["spark1:p0", "spark1:p1"]], "joins spark1 to itself"),
    ("switch-in-direct", "direct", [SWITCHED], "there is no node 'crs812'"),
    ("unknown-port", "switch", [["spark1:p0", "crs812:qsfp56-1-2"]], "no port for a node; expected one of qsfp56-1-1"),
    ("unknown-switch", "switch", [["spark1:p0", "other:qsfp56-1-1"]], "no node 'other'; .*spark2, crs812"),
    ("node-to-node", "switch", [["spark1:p0", "spark2:p1"]], "topology switch joins every node to crs812"),
    ("port-twice", "switch", [SWITCHED, ["spark2:p0", "crs812:qsfp56-1-1"]], "uses crs812:qsfp56-1-1 for two cables"),
    (
        "both-cages",
        "switch",
        [SWITCHED, ["spark1:p1", "crs812:qsfp56-2-1"]],
        "two cables for spark1; a second cable to the switch",
    ),
    ("node-missing", "switch", [SWITCHED], "has no cable for spark2"),
]


@pytest.mark.parametrize(("topology", "declared", "says"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refused(topology: str, declared: t.Any, says: str) -> None:
    count = {"single": 1, "triangle": 3}.get(topology, 2)
    with pytest.raises(PlanError, match=says):
        plan_cables([ONE, TWO, THREE][:count], topology, declared, "crs812")


def test_a_node_may_not_be_called_like_the_switch() -> None:
    with pytest.raises(PlanError, match="fabric_switch_name"):
        plan_cables(["crs812", TWO], "switch", None, "crs812")
