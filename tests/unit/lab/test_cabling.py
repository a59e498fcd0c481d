"""Cables as data: what a topology has, what may be plugged where, what carrier follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.cabling import CAGES, Cabling, cables_for, default_nodes, parse_loss
from lab.errors import LabError

NODES = ["spark1", "spark2", "spark3"]
TRIANGLE = [("spark1:p0", "spark2:p1"), ("spark2:p0", "spark3:p1"), ("spark3:p0", "spark1:p1")]


def triangle() -> Cabling:
    return Cabling(list(NODES), list(TRIANGLE))


@pytest.mark.parametrize(
    ("topology", "count", "cabling", "cables"),
    [
        pytest.param("single", 1, "planned", [], id="single"),
        pytest.param("direct", 2, "planned", [("spark1:p0", "spark2:p1")], id="direct"),
        pytest.param("direct", 2, "p0-p0", [("spark1:p0", "spark2:p0")], id="direct-wrong-cage"),
        pytest.param("triangle", 3, "planned", TRIANGLE, id="triangle-spark-facts-2.2"),
        pytest.param(
            "triangle",
            3,
            "p0-p0",
            [("spark1:p0", "spark2:p0"), ("spark2:p1", "spark3:p1"), ("spark3:p0", "spark1:p1")],
            id="triangle-spark2-swapped",
        ),
        pytest.param(
            "switch",
            2,
            "planned",
            [("spark1:p0", "crs812:qsfp56-1-1"), ("spark2:p0", "crs812:qsfp56-2-1")],
            id="switch-2",
        ),
    ],
)
def test_cables_of_a_topology(topology: str, count: int, cabling: str, cables: list[tuple[str, str]]) -> None:
    assert cables_for(topology, count, cabling) == cables


@pytest.mark.parametrize(
    ("topology", "count", "cabling", "sentence"),
    [
        ("triangle", 2, "planned", "Topology triangle has 3 nodes, not 2."),
        ("direct", 3, "planned", "Topology direct has 2 nodes, not 3."),
        ("switch", 5, "planned", "Topology switch has 2 or 3 or 4 nodes, not 5."),
        ("switch", 3, "p0-p0", "no p0-p1 cable to get wrong"),
    ],
)
def test_refused_topologies(topology: str, count: int, cabling: str, sentence: str) -> None:
    with pytest.raises(LabError, match=sentence):
        cables_for(topology, count, cabling)


@pytest.mark.parametrize(("topology", "count"), [("single", 1), ("direct", 2), ("triangle", 3), ("switch", 3)])
def test_default_number_of_nodes(topology: str, count: int) -> None:
    assert default_nodes(topology) == count


def test_unplug_plug_move_and_swap() -> None:
    cabling = triangle()
    cabling.unplug("spark2:p1")
    assert cabling.cables == TRIANGLE[1:]
    cabling.plug("spark1:p0", "spark2:p1")
    assert cabling.cables == [*TRIANGLE[1:], TRIANGLE[0]]
    cabling.unplug("spark3:p0")
    cabling.move("spark2:p1", "spark1:p1")
    assert cabling.far_end("spark1:p1") == "spark1:p0"
    cabling = triangle()
    cabling.swap("spark2:p0", "spark2:p1")
    assert cabling.cables == cables_for("triangle", 3, "p0-p0")


def test_swapping_the_two_ends_of_one_cable_changes_nothing_but_the_order() -> None:
    cabling = triangle()
    cabling.swap("spark1:p0", "spark2:p1")
    assert [set(cable) for cable in cabling.cables] == [set(cable) for cable in TRIANGLE]


@pytest.mark.parametrize(
    ("action", "arguments", "sentence"),
    [
        ("plug", ("spark1:p0", "spark2:p0"), "spark1:p0 already holds a plug .cable spark1:p0 - spark2:p1."),
        ("plug", ("spark9:p0", "spark2:p0"), "There is no cage or port 'spark9:p0'. Cages are spark1:p0, spark1:p1"),
        ("plug", ("crs812:sfp1", "spark2:p0"), "switch ports are crs812:qsfp56-1-1"),
        ("move", ("spark1:p0", "spark1:p1"), "Unplug it first, or swap two plugs"),
        ("half", ("spark1:p0:c",), "There is no half 'spark1:p0:c'"),
        ("node", ("spark4",), "There is no node 'spark4'. Nodes are spark1, spark2, spark3"),
    ],
)
def test_refusals_name_what_there_is(action: str, arguments: tuple[str, ...], sentence: str) -> None:
    cabling = triangle()
    with pytest.raises(LabError, match=sentence):
        getattr(cabling, action)(*arguments)
    assert cabling.cables == TRIANGLE


def test_an_empty_cage_has_nothing_to_unplug_and_a_cable_needs_two_ends() -> None:
    cabling = Cabling(list(NODES))
    with pytest.raises(LabError, match="There is no plug in spark1:p0"):
        cabling.unplug("spark1:p0")
    with pytest.raises(LabError, match="named twice"):
        cabling.plug("spark1:p0", "spark1:p0")


def test_carrier_follows_plugs_halves_and_power() -> None:
    cabling = Cabling(["spark1", "spark2"], [("spark1:p0", "spark2:p1")])
    assert {half for half in cabling.halves() if cabling.carrier(half)} == {
        "spark1:p0:a",
        "spark1:p0:b",
        "spark2:p1:a",
        "spark2:p1:b",
    }
    cabling.halves_off = ["spark1:p0:a"]
    assert not cabling.carrier("spark1:p0:a")
    assert cabling.carrier("spark2:p1:a"), "the far port stays up: its twin holds the cable's link"
    cabling.nodes_off = ["spark2"]
    assert not cabling.carrier("spark1:p0:b")


def test_wires_join_like_halves_and_the_switch_takes_cages() -> None:
    assert Cabling(list(NODES), TRIANGLE[:1]).wires() == [
        ("spark1:p0:a", "spark2:p1:a"),
        ("spark1:p0:b", "spark2:p1:b"),
    ]
    switched = Cabling(["spark1", "spark2"], cables_for("switch", 2))
    assert switched.wires() == []
    assert switched.switch_ports() == [["spark1:p0:a", "spark1:p0:b"], ["spark2:p0:a", "spark2:p0:b"]]
    assert triangle().switch_ports() == []


@pytest.mark.parametrize(("text", "share"), [("5", 0.05), ("0.5%", 0.005), ("100 %", 1.0), ("0", 0.0)])
def test_loss_is_a_percentage(text: str, share: float) -> None:
    assert parse_loss(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "-1", "101", "five", "nan"])
def test_loss_refuses_the_rest(text: str) -> None:
    with pytest.raises(LabError, match="percentage from 0 to 100"):
        parse_loss(text)


ENDS = st.sampled_from([f"{node}:{cage}" for node in NODES for cage in CAGES])


@given(st.lists(st.tuples(st.sampled_from(["plug", "move", "swap", "unplug"]), ENDS, ENDS), max_size=30))
def test_no_cage_ever_holds_two_plugs(steps: list[tuple[str, str, str]]) -> None:
    cabling = triangle()
    for action, one, other in steps:
        try:
            getattr(cabling, action)(*((one,) if action == "unplug" else (one, other)))
        except LabError:
            continue
        plugs = [end for cable in cabling.cables for end in cable]
        assert len(plugs) == len(set(plugs))
