"""Which plug to move: the answer must be right, short, and possible to carry out with two hands."""

from __future__ import annotations

import itertools
import re

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.cabling import cabling_steps, cage_finding
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import planned_cages
from ansible_collections.gb10.cluster.tests.unit import builders
from hypothesis import given
from hypothesis import strategies as st

TRIANGLE = builders.plan("triangle")
DIRECT = builders.plan("direct")
SWITCH = builders.plan("switch")
CLOSING = (("spark3", "p0"), ("spark1", "p1"))


def plug(text):
    node, cage = text.split()
    return node, cage


def cable(one, two):
    return plug(one), plug(two)


def steps(plan, *cables):
    return [step.action for step in cabling_steps(plan, builders.cabled(plan, cables))]


P0_P0 = [cable("spark1 p0", "spark2 p0"), cable("spark2 p1", "spark3 p1"), CLOSING]


@pytest.mark.parametrize(
    ("plan", "cables", "want"),
    [
        pytest.param(
            DIRECT,
            [cable("spark1 p0", "spark2 p0")],
            ["spark2: move the plug from p0 to p1"],
            id="direct, p0 to p0 (look.md)",
        ),
        pytest.param(
            DIRECT, [cable("spark1 p1", "spark2 p1")], ["spark1: move the plug from p1 to p0"], id="direct, p1 to p1"
        ),
        pytest.param(
            DIRECT,
            [cable("spark1 p1", "spark2 p0")],
            ["spark1: move the plug from p1 to p0", "spark2: move the plug from p0 to p1"],
            id="direct, turned round",
        ),
        pytest.param(TRIANGLE, P0_P0, ["spark2: swap the plugs of p0 and p1"], id="triangle, p0 to p0"),
        pytest.param(
            TRIANGLE,
            [cable("spark1 p0", "spark2 p0"), CLOSING],
            [
                "spark2: move the plug from p0 to p1",
                "spark2 p0: plug the missing cable in here",
                "spark3 p1: no cable seen",
            ],
            id="triangle, p0 to p0 and the next cable not there",
        ),
        pytest.param(
            TRIANGLE,
            [cable("spark1 p1", "spark2 p0"), cable("spark2 p1", "spark3 p0"), cable("spark3 p1", "spark1 p0")],
            # Three plugs instead of all six; every cage is taken, so the first one waits in the hand.
            [
                "spark3: unplug p1, keep it at hand",
                "move the plug from spark1 p1 to spark3 p1",
                "move the plug from spark2 p1 to spark1 p1",
                "spark2: put the plug at hand into p1",
            ],
            id="triangle, the ring runs the other way",
        ),
        pytest.param(
            TRIANGLE,
            [cable("spark1 p0", "spark2 p1"), CLOSING],
            ["spark2 p0: no cable seen", "spark3 p1: no cable seen"],
            id="a cable is missing",
        ),
        pytest.param(
            TRIANGLE,
            [cable("spark1 p0", "spark2 p1"), CLOSING, cable("spark2 p0", "spark9 p1")],
            ["move the plug from spark9 p1 to spark3 p1"],
            id="a plug is in a stranger's node",
        ),
        pytest.param(
            TRIANGLE,
            [cable("spark1 p0", "spark1 p1"), cable("spark2 p0", "spark3 p1")],
            [
                "move the plug from spark1 p1 to spark2 p1",
                "spark3 p0: no cable seen",
                "spark1 p1: plug the missing cable in here",
            ],
            id="both ends in one node",
        ),
        pytest.param(
            DIRECT,
            [cable("spark1 p0", "spark2 p1"), cable("spark1 p1", "spark2 p0")],
            [],
            id="a second cable adds nothing and harms nothing",
        ),
        pytest.param(
            builders.plan("single"),
            [cable("spark1 p0", "spark1 p1")],
            ["spark1: unplug p0", "spark1: unplug p1"],
            id="a cable from a node to itself",
        ),
        pytest.param(
            DIRECT,
            [cable("spark1 p0", "spark2 p1"), cable("spark1 p0", "spark2 p0")],
            ["spark1 p0: join it to one other cage only"],
            id="a switch where a cable should be",
        ),
    ],
)
def test_steps(plan, cables, want):
    assert steps(plan, *cables) == want


def test_the_reason_is_what_was_found():
    found = cabling_steps(DIRECT, builders.cabled(DIRECT, [cable("spark1 p0", "spark2 p0")]))
    assert found[0].reason == "found p0 - p0 with spark1; the plan joins spark1 p0 to spark2 p1"
    found = cabling_steps(TRIANGLE, builders.cabled(TRIANGLE, P0_P0))
    assert found[0].reason == "found p0 - p0 with spark1; a triangle joins p0 to p1 on every cable"


PLANNED = [tuple((end["device"], end["port"]) for end in link["ends"]) for link in TRIANGLE["links"]]
CAGES = sorted(itertools.product(["spark1", "spark2", "spark3"], ["p0", "p1"]))


END = r"(\w+ \w+)"
DOING = [
    (r"(\w+): move the plug from (\w+) to (\w+)", lambda n, a, b: [(f"{n} {a}", f"{n} {b}")]),
    (f"move the plug from {END} to {END}", lambda a, b: [(a, b)]),
    (r"(\w+): swap the plugs of (p0) and (p1)", lambda n, a, b: [(f"{n} {a}", f"{n} {b}"), (f"{n} {b}", f"{n} {a}")]),
    (f"swap the plugs of {END} and {END}", lambda a, b: [(a, b), (b, a)]),
    (r"(\w+): unplug (\w+), keep it at hand", lambda n, a: [(f"{n} {a}", "the hand")]),
    (r"(\w+): put the plug at hand into (\w+)", lambda n, a: [("the hand", f"{n} {a}")]),
]


def carry_out(cables, actions):
    """Do with two hands what the steps say; a cage that is taken takes no second plug."""
    where = {" ".join(end): index for index, ends in enumerate(cables) for end in ends}
    for action in actions:
        doing = next((does(*match.groups()) for text, does in DOING if (match := re.fullmatch(text, action))), None)
        assert doing, action
        taken = [(target, where.pop(source)) for source, target in doing]
        assert not {target for target, _index in taken} & where.keys(), f"{action}: taken"
        where.update(taken)
    assert "the hand" not in where
    return {frozenset(plug(end) for end, at in where.items() if at == index) for index in range(len(cables))}


@given(st.permutations(CAGES))
def test_three_cables_anyhow_become_the_planned_ones(order):
    cables = [(order[0], order[1]), (order[2], order[3]), (order[4], order[5])]
    actions = steps(TRIANGLE, *cables)
    assert carry_out(cables, actions) == {frozenset(link) for link in PLANNED}
    moved = sum(2 if "swap" in action else 0 if "put" in action else 1 for action in actions)
    fewest = min(
        sum(
            min(plugs_to_move(cable_, link), plugs_to_move(cable_[::-1], link))
            for cable_, link in zip(some, PLANNED, strict=True)
        )
        for some in itertools.permutations(cables)
    )
    assert moved == fewest


def plugs_to_move(cable_, link):
    return sum(one != two for one, two in zip(cable_, link, strict=True))


@given(st.permutations(CAGES), st.integers(0, 2))
def test_with_fewer_cables_what_is_there_is_moved_and_what_is_missing_is_named(order, count):
    cables = [(order[2 * index], order[2 * index + 1]) for index in range(count)]
    actions = steps(TRIANGLE, *cables)
    moves = [action for action in actions if re.search("move|swap|hand", action)]
    assert carry_out(cables, moves) <= {frozenset(link) for link in PLANNED}
    assert len([a for a in actions if "no cable seen" in a or "missing cable" in a]) == 2 * (3 - count)


def test_a_longer_cycle_goes_through_the_hand():
    """Three cables from each node to itself: no plug finds its cage free, and no two change places."""
    cables = [cable(f"spark{n} p0", f"spark{n} p1") for n in (1, 2, 3)]
    actions = steps(TRIANGLE, *cables)
    assert any("keep it at hand" in action for action in actions)
    assert carry_out(cables, actions) == {frozenset(link) for link in PLANNED}


# --- what one cage hears ---


def test_the_planned_cabling_is_right_in_every_topology():
    for topology in ("single", "direct", "triangle", "switch"):
        plan = builders.plan(topology)
        discoveries = builders.healthy_discoveries(plan)
        assert cabling_steps(plan, discoveries) == []
        assert {cage_finding(plan, discoveries, at).state for at in planned_cages(plan)} <= {"right"}


def without(plan, *nodes, absent=False):
    """What is heard behind a switch that reaches all nodes but these."""
    discoveries = builders.healthy_discoveries(plan)
    for name, discovery in list(discoveries.items()):
        known = [heard for heard in discovery["neighbours"] if not {name, heard["peer_node"]} & {*nodes}]
        if not known:
            discovery["down"] += [heard["netdev"] for heard in discovery["neighbours"]]
        discovery["neighbours"] = known
        if absent and name in nodes:
            del discoveries[name]
    return discoveries


@pytest.mark.parametrize(
    ("nodes", "absent", "states"),
    [
        pytest.param(["spark4"], False, ["right", "right", "right", "down"], id="one port dark"),
        pytest.param(["spark4"], True, ["right", "right", "right", "absent"], id="one node off"),
        pytest.param(["spark1", "spark2"], False, ["down", "down", "right", "right"], id="two ports dark"),
        pytest.param(["spark1", "spark2", "spark3"], False, ["down"] * 4, id="only one left, which hears nobody"),
        pytest.param(["spark1", "spark2", "spark3", "spark4"], False, ["down"] * 4, id="switch off"),
    ],
)
def test_behind_a_switch_the_node_that_is_cut_off_is_the_finding(nodes, absent, states):
    plan = builders.plan("switch", nodes=4)
    discoveries = without(plan, *nodes, absent=absent)
    assert [cage_finding(plan, discoveries, at).state for at in planned_cages(plan)] == states


def test_behind_a_switch_two_halves_of_a_cluster_miss_each_other():
    """As with two bridges: nobody is cut off, so every cage says whom it does not hear."""
    plan = builders.plan("switch", nodes=4)
    discoveries = builders.healthy_discoveries(plan)
    for name, discovery in discoveries.items():
        side = {"spark1", "spark2"} if name in ("spark1", "spark2") else {"spark3", "spark4"}
        discovery["neighbours"] = [heard for heard in discovery["neighbours"] if heard["peer_node"] in side]
    assert {cage_finding(plan, discoveries, at).state for at in planned_cages(plan)} == {"wrong"}


def test_behind_a_switch_one_that_is_heard_and_hears_nobody_is_missed():
    plan = builders.plan("switch")
    discoveries = builders.healthy_discoveries(plan)
    for name in ("spark1", "spark2"):
        known = [heard for heard in discoveries[name]["neighbours"] if heard["peer_node"] != "spark3"]
        discoveries[name]["neighbours"] = known
    assert [cage_finding(plan, discoveries, at).state for at in planned_cages(plan)] == ["wrong", "wrong", "right"]


def test_one_end_that_hears_is_enough_to_know_the_cable():
    discoveries = builders.healthy_discoveries(DIRECT)
    discoveries["spark2"].update(neighbours=[], silent=["enp1s0f1np1", "enP2p1s0f1np1"])
    assert cabling_steps(DIRECT, discoveries) == []
    assert cage_finding(DIRECT, discoveries, ("spark2", "p1")).state == "silent"


def test_the_own_twin_behind_the_same_cage_is_not_a_cable():
    discoveries = builders.healthy_discoveries(DIRECT)
    heard = discoveries["spark1"]["neighbours"]
    heard.append(dict(heard[0], peer_node="spark1", peer_cage="p0", peer_half="b"))
    assert cage_finding(DIRECT, discoveries, ("spark1", "p0")).state == "right"
    assert cabling_steps(DIRECT, discoveries) == []


@pytest.mark.parametrize(
    ("spoil", "state", "sentence"),
    [
        pytest.param(lambda d: d.pop("spark1"), "absent", "spark1 did not listen", id="absent"),
        pytest.param(lambda d: d["spark1"].update(neighbours=[]), "down", "no cable seen", id="no carrier"),
        pytest.param(
            lambda d: d["spark1"].update(neighbours=[], silent=["enP2p1s0f0np0"]),
            "silent",
            "nothing was heard",
            id="silent",
        ),
        pytest.param(
            lambda d: d.update(builders.cabled(DIRECT, [cable("spark1 p0", "spark2 p0")])),
            "wrong",
            "joined to spark2 p0, planned is spark2 p1",
            id="wrong",
        ),
    ],
)
def test_what_a_cage_hears(spoil, state, sentence):
    discoveries = builders.healthy_discoveries(DIRECT)
    spoil(discoveries)
    finding = cage_finding(DIRECT, discoveries, ("spark1", "p0"))
    assert finding.state == state
    assert sentence in finding.sentence


def test_a_node_that_did_not_listen_is_named():
    discoveries = builders.cabled(DIRECT, [])
    discoveries.pop("spark2")
    assert [step.action for step in cabling_steps(DIRECT, discoveries)] == [
        "spark1 p0: no cable seen",
        "spark2 p1: this node did not listen; see that it is powered on and reachable",
    ]


def test_a_silent_cable_is_named_with_what_to_see_to():
    discoveries = builders.cabled(DIRECT, [])
    for node, netdev in (("spark1", "enp1s0f0np0"), ("spark2", "enp1s0f1np1")):
        discoveries[node]["silent"] = [netdev]
    assert all("nothing was heard" in step.action for step in cabling_steps(DIRECT, discoveries))


# --- behind a switch ---


def replug(discoveries, node, cage):
    """Put the plug of a node into its other cage: it hears there, and is heard from there."""
    discoveries[node]["neighbours"] = [dict(n, cage=cage) for n in discoveries[node]["neighbours"]]
    for other in discoveries.values():
        for neighbour in other["neighbours"]:
            if neighbour["peer_node"] == node:
                neighbour["peer_cage"] = cage


def test_a_plug_in_the_other_cage_behind_a_switch_is_a_finding_of_that_node_only():
    discoveries = builders.healthy_discoveries(SWITCH)
    replug(discoveries, "spark2", "p1")
    found = cabling_steps(SWITCH, discoveries)
    assert [step.action for step in found] == ["spark2: move the plug from p1 to p0"]
    assert found[0].reason == "the plan joins spark2 p0 to switch port qsfp56-2-1"
    states = {at: cage_finding(SWITCH, discoveries, at).state for at in planned_cages(SWITCH)}
    assert states == {("spark1", "p0"): "right", ("spark2", "p0"): "down", ("spark3", "p0"): "right"}


def test_a_second_cable_of_a_node_to_the_switch_harms_nobody():
    discoveries = builders.healthy_discoveries(SWITCH)
    discoveries["spark1"]["neighbours"].append(
        dict(discoveries["spark1"]["neighbours"][0], peer_node="spark1", peer_cage="p1")
    )
    assert cage_finding(SWITCH, discoveries, ("spark1", "p0")).state == "right"


@pytest.mark.parametrize(
    ("spoil", "want"),
    [
        pytest.param(lambda d: d["spark2"].update(neighbours=[]), "spark2 p0: no cable seen", id="unplugged"),
        pytest.param(lambda d: d.pop("spark2"), "spark2 p0: spark2 did not listen", id="absent"),
        pytest.param(
            lambda d: d["spark2"]["neighbours"][0].update(peer_node="spark9"), "spark2 p0: joined to", id="a stranger"
        ),
    ],
)
def test_what_else_a_switch_can_show(spoil, want):
    discoveries = builders.healthy_discoveries(SWITCH)
    spoil(discoveries)
    assert [want in step.action for step in cabling_steps(SWITCH, discoveries)] == [True]
