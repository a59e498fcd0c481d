from __future__ import annotations

import itertools

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan
from ansible_collections.gb10.cluster.plugins.module_utils.probe.schedule import (
    FIRST_TEST_PORT,
    HELLO_PORT,
    TURNS_PER_SLOT,
    own_end,
    plan_nonce,
    schedule,
)


def plan_of(topology: str, nodes: int):
    names = [f"spark{number}" for number in range(1, nodes + 1)]
    hostvars = {name: {"ansible_host": f"192.168.1.{10 + number}"} for number, name in enumerate(names)}
    return build_plan(names, hostvars, Declaration(topology))


PLANS = [("single", 1), ("direct", 2), ("triangle", 3), ("switch", 2), ("switch", 3), ("switch", 4)]


@pytest.mark.parametrize(("topology", "nodes"), PLANS)
def test_every_path_is_measured_both_ways_once(topology: str, nodes: int) -> None:
    plan = plan_of(topology, nodes)
    single = [slot.ways[0] for slot in schedule(plan) if len(slot.ways) == 1]
    ways = [(way.path, way.client["node"], way.server["node"]) for way in single]
    expected = {
        (path["id"], *direction)
        for path in plan["paths"]
        for direction in itertools.permutations([end["node"] for end in path["ends"]])
    }
    assert len(ways) == len(set(ways)) == len(expected)
    assert set(ways) == expected


BOTH_HALVES = [
    ("single", 1, []),
    ("direct", 2, ["spark1:p0>spark2:p1"]),
    ("triangle", 3, ["spark1:p0>spark2:p1", "spark1:p1>spark3:p0", "spark2:p0>spark3:p1"]),
    ("switch", 2, ["spark1:p0>spark2:p0"]),
    ("switch", 3, ["spark1:p0>spark2:p0", "spark1:p0>spark3:p0", "spark2:p0>spark3:p0"]),
]


@pytest.mark.parametrize(("topology", "nodes", "expected"), BOTH_HALVES)
def test_the_lower_rank_transmits_on_both_halves_at_once(topology: str, nodes: int, expected: list[str]) -> None:
    pairs = [slot for slot in schedule(plan_of(topology, nodes)) if len(slot.ways) == 2]
    found = set()
    for slot in pairs:
        assert [way.half for way in slot.ways] == ["a", "b"]
        found |= {f"{slot.sender}:{way.client['cage']}>{slot.receiver}:{way.server['cage']}" for way in slot.ways}
    assert sorted(found) == expected
    assert len(pairs) == len(expected)


@pytest.mark.parametrize(("topology", "nodes"), PLANS)
def test_both_halves_at_once_come_after_each_alone(topology: str, nodes: int) -> None:
    slots = schedule(plan_of(topology, nodes))
    for pair in (slot for slot in slots if len(slot.ways) == 2):
        alone = [
            slot
            for slot in slots
            if len(slot.ways) == 1 and {slot.sender, slot.receiver} == {pair.sender, pair.receiver}
        ]
        assert len(alone) == 4
        assert all((slot.index, slot.round) < (pair.index, pair.round) for slot in alone)


def test_a_half_without_its_twin_is_measured_alone() -> None:
    plan = plan_of("triangle", 3)
    plan["paths"] = [path for path in plan["paths"] if path["id"] != "spark1:p0:b-spark2:p1:b"]
    pairs = [slot for slot in schedule(plan) if len(slot.ways) == 2]
    assert [(slot.sender, slot.receiver) for slot in pairs] == [("spark2", "spark3"), ("spark1", "spark3")]


@pytest.mark.parametrize(("topology", "nodes"), PLANS)
def test_no_node_appears_twice_in_a_round(topology: str, nodes: int) -> None:
    for _, slots in itertools.groupby(schedule(plan_of(topology, nodes)), key=lambda slot: slot.round):
        seen = [node for slot in slots for node in (slot.sender, slot.receiver)]
        assert len(seen) == len(set(seen))


def test_four_nodes_are_done_in_the_time_of_three_pairs() -> None:
    slots = schedule(plan_of("switch", 4))
    assert len(slots) == 30  # six pairs, for each: two planes, two directions, and both planes at once
    assert {slot.round for slot in slots} == set(range(15))


@pytest.mark.parametrize(("topology", "nodes"), PLANS)
def test_each_turn_has_a_port_of_its_own_in_the_documented_range(topology: str, nodes: int) -> None:
    ways = [way for slot in schedule(plan_of(topology, nodes)) for way in slot.ways]
    ports = [way.port(turn) for way in ways for turn in range(TURNS_PER_SLOT)]
    assert len(ports) == len(set(ports))
    assert HELLO_PORT not in ports
    assert all(FIRST_TEST_PORT <= port <= 21003 for port in ports)


def test_the_order_of_the_plan_does_not_matter() -> None:
    plan = plan_of("triangle", 3)
    turned = plan | {"paths": plan["paths"][::-1], "nodes": dict(reversed(plan["nodes"].items()))}
    assert schedule(turned) == schedule(plan)


def test_the_nonce_tells_plans_apart_and_ignores_the_order_of_keys() -> None:
    plan = plan_of("triangle", 3)
    assert plan_nonce(plan) == plan_nonce(dict(reversed(plan.items())))
    assert plan_nonce(plan) != plan_nonce(plan | {"mtu": 1500})


def test_own_end() -> None:
    plan = plan_of("triangle", 3)
    path = next(path for path in plan["paths"] if path["id"] == "spark1:p0:a-spark2:p1:a")
    first, second = path["ends"]
    assert own_end(path, "spark1") == (first, second)
    assert own_end(path, "spark2") == (second, first)
    assert own_end(path, "spark3") is None
