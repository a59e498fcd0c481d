from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.plan.both_halves import both_halves
from ansible_collections.gb10.cluster.tests.unit import builders


@pytest.mark.parametrize(
    ("topology", "nodes", "count"),
    [("single", 1, 0), ("direct", 2, 1), ("triangle", 3, 3), ("switch", 2, 1), ("switch", 3, 3), ("switch", 4, 6)],
)
def test_every_two_neighbours_have_both_halves_once(topology: str, nodes: int, count: int) -> None:
    plan = builders.plan(topology, nodes)
    found = both_halves(plan)
    assert len(found) == count
    assert sorted(path["id"] for ways in found for path, _, _ in ways) == sorted(path["id"] for path in plan["paths"])
    for half_a, half_b in found:
        assert (half_a[0]["half"], half_b[0]["half"]) == ("a", "b")
        assert [(end["node"], end["cage"]) for end in half_a[1:]] == [(end["node"], end["cage"]) for end in half_b[1:]]
        assert plan["nodes"][half_a[1]["node"]]["rank"] < plan["nodes"][half_a[2]["node"]]["rank"]


def test_a_half_without_its_twin_is_left_out() -> None:
    plan = builders.plan("direct")
    plan["paths"].pop()
    assert both_halves(plan) == []


def test_two_cables_between_two_nodes_are_two_pairs() -> None:
    plan = builders.plan("direct")
    for path in list(plan["paths"]):
        ends = [end | {"cage": {"p0": "p1", "p1": "p0"}[end["cage"]]} for end in path["ends"]]
        plan["paths"].append(path | {"id": f"second {path['id']}", "ends": ends})
    assert [[path["id"].startswith("second") for path, _, _ in ways] for ways in both_halves(plan)] == [
        [False, False],
        [True, True],
    ]
