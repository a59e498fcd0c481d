"""The truth table of health-checks 5, enumerated again from the plan."""

from __future__ import annotations

import itertools
import time

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.matrix import isolate, parts
from ansible_collections.gb10.cluster.tests.unit import builders

TRIANGLE = builders.plan("triangle")
PATHS = [path["id"] for path in TRIANGLE["paths"]]
ONE_TWO, TWO_THREE, THREE_ONE = (
    "spark1:p0:{0}-spark2:p1:{0}",
    "spark2:p0:{0}-spark3:p1:{0}",
    "spark3:p0:{0}-spark1:p1:{0}",
)


def patterns(paths):
    return [set(chosen) for size in range(1, len(paths) + 1) for chosen in itertools.combinations(paths, size)]


def explain(plan, failing):
    isolation = isolate(plan, failing, [path["id"] for path in plan["paths"] if path["id"] not in failing])
    return [" and ".join(part.name for part in chosen) for chosen in isolation.explanations], isolation


# Rows of the table in health-checks 5.1.
ROWS = [
    ("link spark1:p0-spark2:p1", [ONE_TWO], "ab"),
    ("half-link spark1:p0:a-spark2:p1:a", [ONE_TWO], "a"),
    ("controller spark1:b", [ONE_TWO, THREE_ONE], "b"),
    ("node spark1", [ONE_TWO, THREE_ONE], "ab"),
    ("plane b", [ONE_TWO, TWO_THREE, THREE_ONE], "b"),
    ("common cause", [ONE_TWO, TWO_THREE, THREE_ONE], "ab"),
]


@pytest.mark.parametrize(("suspect", "ways", "halves"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_table(suspect, ways, halves):
    failing = {way.format(half) for way in ways for half in halves}
    assert explain(TRIANGLE, failing)[0] == [suspect]


@pytest.mark.parametrize(
    ("plan", "count"),
    [
        pytest.param(TRIANGLE, 21, id="triangle"),
        pytest.param(builders.plan("switch", 3), 12, id="three behind a switch"),
        pytest.param(builders.plan("switch", 4), 15, id="four behind a switch"),
    ],
)
def test_every_single_fault_has_a_signature_of_its_own(plan, count):
    known = parts(plan)
    assert len(known) == count
    assert len({part.footprint for part in known}) == count
    for part in known:
        assert explain(plan, part.footprint)[0] == [part.name]


@pytest.mark.parametrize(
    ("topology", "nodes", "counts"),
    [
        pytest.param("triangle", 3, {1: 21, 2: 42}, id="triangle"),
        # 12 parts, and 9 ways through the switch that only count when no part explains it.
        pytest.param("switch", 3, {1: 21, 2: 42}, id="three behind a switch"),
        pytest.param("direct", 2, {1: 3}, id="direct"),
        pytest.param("switch", 2, {1: 3}, id="two behind a switch"),
    ],
)
def test_all_patterns_are_explained_by_at_most_two_suspects(topology, nodes, counts):
    plan = builders.plan(topology, nodes)
    paths = [path["id"] for path in plan["paths"]]
    sizes = [len(isolate(plan, failing, set(paths) - failing).explanations[0]) for failing in patterns(paths)]
    assert len(sizes) == 2 ** len(paths) - 1
    assert {size: sizes.count(size) for size in sizes} == counts


def test_no_pattern_of_four_nodes_takes_long():
    """12 paths: without what is forced taken first there would be millions of combinations."""
    plan = builders.plan("switch", 4)
    paths = [path["id"] for path in plan["paths"]]
    for failing in [*patterns(paths)[::61], set(paths[:7]), set(paths[1:])]:
        started = time.process_time()
        isolation = isolate(plan, failing, set(paths) - failing)
        assert time.process_time() - started < 0.5
        assert frozenset().union(*(part.footprint for part in isolation.explanations[0])) == failing


@pytest.mark.parametrize(("topology", "nodes"), [("triangle", 3), ("switch", 2), ("switch", 3), ("direct", 2)], ids=str)
def test_an_explanation_covers_what_fails_and_clears_what_passes(topology, nodes):
    plan = builders.plan(topology, nodes)
    paths = {path["id"] for path in plan["paths"]}
    for failing in patterns(sorted(paths)):
        isolation = isolate(plan, failing, paths - failing)
        assert isolation.explanations
        for chosen in isolation.explanations:
            assert frozenset().union(*(part.footprint for part in chosen)) == failing
            assert not set(chosen) & set(isolation.cleared)


def test_nothing_fails_nothing_is_suspected():
    assert isolate(TRIANGLE, [], PATHS).explanations == ()
    assert len(isolate(TRIANGLE, [], PATHS).cleared) == 21


def test_paths_that_say_nothing_neither_clear_nor_accuse():
    """One path fails, one passes, the others are explained elsewhere: the smallest part that claims nothing more."""
    failing, passing = {ONE_TWO.format("a")}, {TWO_THREE.format("a")}
    isolation = isolate(TRIANGLE, failing, passing)
    assert [part.name for chosen in isolation.explanations for part in chosen] == ["half-link spark1:p0:a-spark2:p1:a"]


def test_two_nodes_on_one_cable_cannot_be_told_apart():
    """Health-checks 5.3: no third party."""
    plan = builders.plan("direct")
    paths = [path["id"] for path in plan["paths"]]
    assert explain(plan, set(paths))[0] == ["node spark1", "node spark2", "link spark1:p0-spark2:p1", "common cause"]
    assert explain(plan, {paths[1]})[0] == [
        "controller spark1:b",
        "controller spark2:b",
        "half-link spark1:p0:b-spark2:p1:b",
        "plane b",
    ]


def test_behind_a_switch_two_good_nodes_can_miss_each_other():
    plan = builders.plan("switch", 3)
    path = plan["paths"][0]["id"]
    assert explain(plan, {path})[0] == [f"path {path}"]


def test_a_single_node_has_no_matrix():
    plan = builders.plan("single")
    assert parts(plan) == []
    assert isolate(plan, [], []).explanations == ()
