"""Runs of some levels: they judge what they measure, and never admit."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.levels import decide_levels, levels_pass, of_level
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.screen import levels_message, levels_screen
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import GB10, LAB, half_of, set_bandwidth

LEVELS = ("node", "half-link", "pair", "cluster")
EVERY = [chosen for size in range(1, 5) for chosen in itertools.combinations(LEVELS, size)]


def reading(levels=LEVELS, profile=GB10, topology="triangle", **changes):
    """What a run of these levels has read: the facts always, the rest where its probe ran."""
    changes |= {} if "half-link" in levels else {"discoveries": {}}
    changes |= {} if "pair" in levels else {"measurements": {}}
    changes |= {} if "cluster" in levels or profile == LAB else {"nccl": {}}
    return builders.healthy_reading(builders.plan(topology), profile, **changes)


def text(evidence, check_mode=False):
    return "\n".join(line.text for line in levels_screen(evidence, "evidence/run.json", 100, check_mode))


@pytest.mark.parametrize("profile", [GB10, LAB])
@pytest.mark.parametrize("levels", EVERY, ids="+".join)
def test_a_healthy_cluster_passes_at_every_level_and_is_never_admitted(levels, profile):
    evidence = decide_levels(reading(levels, profile), "run", levels)
    assert levels_pass(evidence), evidence["verdict"]["blocked_by"]
    assert evidence["levels"] == list(levels)
    assert (evidence["verdict"]["outcome"], evidence["verdict"]["valid_pools"]) == ("refuse", [])
    assert f"PARTIAL  {levels_message(evidence)}; only a whole run admits" in text(evidence)
    assert "ADMIT" not in text(evidence)


def test_every_check_belongs_to_one_level():
    evidence = decide_levels(reading(), "run", LEVELS)
    assert sum(len(of_level(evidence["records"], level)) for level in LEVELS) == len(evidence["records"])


@pytest.mark.parametrize(
    ("check", "level"),
    [
        pytest.param("N08", "node", id="facts"),
        pytest.param("L09", "half-link", id="cables"),
        pytest.param("L08", "pair", id="error counters grow over the pair matrix"),
        pytest.param("P03", "pair", id="both halves"),
        pytest.param("N14", "cluster", id="the library of a rank"),
        pytest.param("C02", "cluster", id="the transport of a rank"),
        pytest.param("C01", "cluster", id="nodes compared"),
    ],
)
def test_a_check_runs_with_the_level_that_measures_it(check, level):
    ran = [
        other
        for other in LEVELS
        if check in {record["check"] for record in decide_levels(reading(), "run", [other])["records"]}
    ]
    assert ran == [level]


@pytest.mark.parametrize("level", LEVELS)
def test_a_node_that_does_not_answer_refuses_at_every_level(level):
    broken = reading((level,))
    del broken.facts["spark3"]
    evidence = decide_levels(broken, "run", [level])
    assert not levels_pass(evidence)
    assert "N00 spark3" in evidence["verdict"]["blocked_by"]


@pytest.mark.parametrize(
    ("level", "lost", "check"),
    [("half-link", "discoveries", "L09"), ("pair", "measurements", "L11"), ("cluster", "nccl", "N14")],
)
def test_what_a_level_did_not_measure_refuses(level, lost, check):
    evidence = decide_levels(reading((level,), **{lost: {}}), "run", [level])
    assert not levels_pass(evidence)
    assert check in {title.partition(" ")[0] for title in evidence["verdict"]["blocked_by"]}
    assert text(evidence).count("REFUSE") == 1


def test_a_level_is_blind_to_the_others():
    broken = reading()
    set_bandwidth(broken, "spark1:p0:a-spark2:p1:a", 13.3)
    assert levels_pass(decide_levels(broken, "run", ["node", "half-link"]))
    assert not levels_pass(decide_levels(broken, "run", ["pair"]))


def test_a_fault_of_a_level_has_its_diagnosis_and_no_pools():
    broken = reading()
    half_of(broken, "spark1", "p0", "a").update(mtu=1500)
    shown = text(decide_levels(broken, "run", ["half-link"]))
    assert "fail  L04" in shown
    assert "L04 spark1 p0 a: enp1s0f0np0 has MTU 1500" in shown
    assert "run site.yml: role fabric sets MTU 9000" in shown
    assert "can serve" not in shown


def test_the_screen_of_two_levels():
    evidence = decide_levels(reading(), "run", ["half-link", "node"])
    node, half = (f"{len(of_level(evidence['records'], level))} checks" for level in ("node", "half-link"))
    lines = text(evidence).splitlines()
    assert lines[2:] == [
        f"{f'  node        {node}':<64}   pass",
        f"{f'  half-link   {half}':<64}   pass",
        "",
        "PARTIAL  node and half-link checks pass; only a whole run admits",
        "evidence evidence/run.json",
    ]


def test_the_matrix_is_shown_where_it_was_measured():
    assert "->  Gb/s" in text(decide_levels(reading(), "run", ["pair"]))
    assert "->  Gb/s" not in text(decide_levels(reading(), "run", ["node", "half-link", "cluster"]))
    assert "NCCL was not measured" in text(decide_levels(reading(nccl=None), "run", ["cluster"]))


def test_one_node_has_no_pairs_to_check():
    evidence = decide_levels(reading(topology="single"), "run", ["pair"])
    assert [record["check"] for record in evidence["records"]] == ["N00"]
    assert "  pair        0 checks\n" in text(evidence)


def test_active_checks_do_not_pass_in_check_mode():
    evidence = decide_levels(reading(measurements={}, check_mode=True), "run", ["pair"])
    assert not levels_pass(evidence)
    assert "WOULD NOT ADMIT" in text(evidence, check_mode=True)


@pytest.mark.parametrize("levels", [[], ["nodes"], ["node", "all"]])
def test_what_is_no_level_is_refused(levels):
    with pytest.raises(ValueError, match="levels are node, half-link, pair, cluster; found"):
        decide_levels(reading(), "run", levels)
