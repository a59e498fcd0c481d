"""What a run leaves: nothing of a refused one, and never less than was there."""

from __future__ import annotations

import copy
import dataclasses

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.memory import Memory, remember
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import measured_numbers
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import GB10, LAB, half_of, set_bandwidth

NOTHING = Memory({}, {})
PATH = "spark1:p0:a-spark2:p1:a"


def first(name=GB10, **changes):
    return builders.healthy_reading(builders.plan(), name, baseline={}, carriers={}, **changes)


def left(reading, before=NOTHING, renew=False, run_id="run"):
    return remember(reading, decide(reading, run_id), before, "2026-11-24T10:00:00+00:00", renew)


def counted(reading, value):
    for facts in reading.facts.values():
        for half in facts["halves"]:
            half["carrier_down_count"] = value
    return reading


@pytest.mark.parametrize("name", [GB10, LAB])
def test_the_first_admitted_run_sets_everything(name):
    reading = first(name)
    memory = left(reading)
    assert {key: number["value"] for key, number in memory.kept.numbers.items()} == measured_numbers(reading)
    assert memory.kept.added == len(memory.kept.numbers) == (31 if name == GB10 else 27)
    assert len(memory.marks) == 12


def test_a_refused_run_leaves_nothing():
    reading = first()
    set_bandwidth(reading, PATH, 13.3)
    memory = left(reading)
    assert (memory.kept.numbers, memory.kept.changed, memory.marks) == ({}, False, {})


def test_a_refused_run_takes_nothing_away():
    before = left(first())
    reading = counted(builders.healthy_reading(builders.plan()), 5)
    set_bandwidth(reading, PATH, 13.3)
    after = left(reading, Memory(before.kept.numbers, before.marks), renew=True)
    assert (after.kept.numbers, after.kept.changed, after.marks) == (before.kept.numbers, False, before.marks)


def test_drift_does_not_creep():
    """Ten admitted runs, each 1 % slower than the one before: the baseline stays that of the first."""
    memory = left(first(), run_id="run0")
    for step in range(1, 11):
        reading = builders.healthy_reading(builders.plan(), baseline=memory.kept.numbers)
        set_bandwidth(reading, PATH, 111.8 * 0.99**step)
        evidence = decide(reading, f"run{step}")
        assert evidence["verdict"]["outcome"] == "admit"
        memory = left(reading, Memory(memory.kept.numbers, memory.marks))
    worst = next(r for r in evidence["records"] if r["check"] == "C07" and r["subject"].get("path") == PATH)
    assert (worst["outcome"], worst["measured"]["baseline_run"]) == ("degraded", "run0")


def test_to_renew_keeps_what_this_run_did_not_measure():
    direct = builders.healthy_reading(builders.plan("direct"), baseline={}, carriers={})
    before = left(direct, run_id="direct")
    after = left(first(), Memory(before.kept.numbers, before.marks), renew=True, run_id="triangle")
    assert after.kept.renewed == 0
    assert {number["run_id"] for number in after.kept.numbers.values()} == {"direct", "triangle"}


# --- carriers ---


@pytest.mark.parametrize(("changed", "marked"), [([], set()), (["spark1"], {"spark1", "spark2", "spark3"})])
def test_what_a_refused_run_changed_itself_is_counted_from_there(changed, marked):
    """Else the next run would find the drops of the apply and blame the cables."""
    reading = dataclasses.replace(counted(first(), 3), changed=changed)
    set_bandwidth(reading, PATH, 13.3)
    marks = left(reading).marks
    assert {half.partition(":")[0] for half in marks} == marked
    assert all(mark["carrier_down_count"] == 3 for mark in marks.values())


def test_soon_after_a_boot_nothing_is_marked():
    """A carrier that the boot still takes away after the mark would count against the cable later."""
    reading = first()
    reading.facts["spark3"]["uptime_s"] = 600.0
    assert {half.partition(":")[0] for half in left(reading).marks} == {"spark1", "spark2"}
    assert all("spark3" not in half for half in left(reading).marks)
    assert len(left(reading).marks) == 4


def test_a_first_run_and_one_after_an_apply_are_admitted_and_the_third_counts():
    applied = dataclasses.replace(counted(first(), 2), changed=["spark1", "spark2", "spark3"])
    memory = left(applied)
    again = counted(builders.healthy_reading(builders.plan(), carriers=memory.marks), 2)
    assert {r["outcome"] for r in decide(again, "again")["records"] if r["check"] == "L07"} == {"pass"}
    dropped = copy.deepcopy(again)
    half_of(dropped, "spark1", "p0", "a")["carrier_down_count"] = 3
    outcomes = [r["outcome"] for r in decide(dropped, "third")["records"] if r["check"] == "L07"]
    assert sorted(set(outcomes)) == ["degraded", "pass"]


def test_a_profile_without_the_check_marks_nothing():
    reading = first()
    reading.profile["observe"].remove("L07")
    del reading.profile["thresholds"]["L07"]
    assert left(reading).marks == {}


def test_what_is_not_known_is_not_marked():
    reading = dataclasses.replace(first(), changed=["spark1", "spark2", "spark3"])
    half_of(reading, "spark1", "p0", "a")["carrier_down_count"] = None
    reading.facts["spark3"]["boot_id"] = None
    assert set(left(reading).marks) == {"spark1:p0:b", "spark2:p1:a", "spark2:p1:b"}
