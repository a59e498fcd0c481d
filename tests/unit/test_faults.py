"""The fault matrix judges itself strictly, and a sample of it runs here."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.tests.unit import builders

from tests.faults import clean, keeping, live, recorded, tools
from tests.faults.case import Case, Expected, hold_against, missing
from tests.faults.report import Bar, Clean, Matrix
from tests.faults.runs import evidence_of

SMALL_MTU = Case("MTU", "recorded", Expected("L04 spark1:p0:a", ("port spark1:p0:a",), "run site.yml: role fabric"))
SAMPLE = [case for case in (*recorded.CASES, *tools.CASES) if case.sample]


def evidence(*spoils):
    reading = builders.healthy_reading(builders.plan())
    for spoil in spoils:
        spoil(reading)
    return decide(reading, "run")


def small_mtu(reading):
    builders.half_of(reading, "spark1", "p0", "a")["mtu"] = 1500


def forces_tcp(reading):
    reading.facts["spark3"]["nccl_files"][0]["settings"]["NCCL_IB_DISABLE"] = "1"


def expecting(**changes) -> Case:
    return dataclasses.replace(SMALL_MTU, expected=dataclasses.replace(SMALL_MTU.expected, **changes))


def judged(found, *cases):
    results, alarms = hold_against(found, cases, 1.0)
    return [(result.detected, result.localised) for result in results], alarms


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_a_sample_of_the_matrix(case):
    found, seconds = evidence_of(case)
    (result,), alarms = hold_against(found, [case], seconds)
    assert result.detected, result.said
    assert result.localised, result.said
    assert alarms == []


@pytest.mark.parametrize("case", keeping.CASES, ids=str)
def test_results_that_cannot_be_kept(case):
    result = keeping.result_of(case)
    assert result.localised, result.said


def test_results_that_can_be_kept_are_no_fault():
    kept = dataclasses.replace(keeping.CASES[0], hinder=lambda folder: contextlib.nullcontext())
    assert not keeping.result_of(kept).detected


def test_six_or_more_are_the_sample_and_one_runs_on_virtual_sparks():
    assert 6 <= len(SAMPLE) <= 10
    assert sum(case.sample for case in live.CASES) == 1


def test_healthy_clusters_raise_no_alarm():
    runs = list(clean.runs(gb10=2, virtual=10))
    assert [run.alarms for run in runs] == [[]] * 12


def test_the_catalogue_is_as_large_as_the_bar_and_names_are_unique():
    cases = [*recorded.CASES, *tools.CASES, *keeping.CASES, *live.CASES]
    assert len(cases) >= Bar().injected
    assert len(live.CASES) >= Bar().live
    assert len({(case.where, case.name) for case in cases}) == len(cases)
    alone = [case for case in live.CASES if not case.run]
    assert len(alone) >= 10


def test_every_case_says_what_is_to_be_done():
    unsaid = [case.name for case in (*recorded.CASES, *tools.CASES, *live.CASES) if not case.expected.action]
    assert unsaid == []


# --- the judge of the matrix ---


def test_what_is_as_expected_is_detected_and_localised():
    assert judged(evidence(small_mtu), SMALL_MTU) == ([(True, True)], [])


def test_a_fault_that_nobody_finds_is_not_detected():
    assert judged(evidence(), SMALL_MTU) == ([(False, False)], [])


@pytest.mark.parametrize(
    "changes",
    [
        {"finding": "L04 spark1:p0:b"},
        {"finding": "L05 spark1:p0:a"},
        {"outcome": "unknown"},
        {"cause": "hardware"},
        {"signature": "tcp"},
    ],
    ids=str,
)
def test_another_finding_than_the_expected_one_is_not_a_detection(changes):
    assert judged(evidence(small_mtu), expecting(**changes))[0] == [(False, False)]


@pytest.mark.parametrize("changes", [{"suspects": ("node spark1",)}, {"action": "reboot"}], ids=str)
def test_another_place_or_action_is_not_localised(changes):
    assert judged(evidence(small_mtu), expecting(**changes))[0] == [(True, False)]


def test_a_finding_that_nobody_caused_is_a_false_alarm():
    results, (alarm,) = judged(evidence(small_mtu, forces_tcp), SMALL_MTU)
    assert results == [(True, False)]
    assert alarm.startswith("N08 spark3: ")


def test_a_note_is_held_against_its_own_remedy_and_nothing_refuses():
    flaps = Expected("L07 spark1:p0:a", (), "reseat the plug", cause="hardware", signature="flaps", noted=True)
    case = Case("flaps", "recorded", flaps)

    def lost(reading):
        builders.half_of(reading, "spark1", "p0", "a")["carrier_down_count"] = 21

    assert judged(evidence(lost), case) == ([(True, True)], [])
    assert judged(evidence(), case) == ([(False, False)], [])
    other = dataclasses.replace(case, expected=dataclasses.replace(flaps, action="reboot"))
    assert judged(evidence(lost), other) == ([(True, False)], [])
    refusing = dataclasses.replace(case, expected=dataclasses.replace(flaps, noted=False))
    assert judged(evidence(lost), refusing)[0] == [(False, False)]


def test_two_slow_paths_in_one_run_are_each_a_suspect():
    paths = {"spark1:p0:b-spark2:p1:b": "spark1:p0:b>spark2:p1:b", "spark3:p0:a-spark1:p1:a": "spark3:p0:a>spark1:p1:a"}
    cases = [
        Case(path, "live", Expected(f"P02 {way}", (f"half-link {path}",), "", cause="hardware"))
        for path, way in paths.items()
    ]
    both = evidence(
        lambda reading: [builders.set_bandwidth(reading, path, 60.0, way.split(":")[0]) for path, way in paths.items()]
    )
    assert judged(both, *cases) == ([(True, True), (True, True)], [])


def test_two_faults_at_once_are_each_judged_on_their_own_subject():
    tcp = Case("TCP", "recorded", Expected("N08 spark3", ("node spark3",), "run site.yml: role nccl_env"))
    assert judged(evidence(small_mtu, forces_tcp), SMALL_MTU, tcp) == ([(True, True), (True, True)], [])
    assert judged(evidence(forces_tcp), SMALL_MTU, tcp)[0] == [(False, False), (True, True)]


def matrix(**changes) -> Matrix:
    results, _alarms = hold_against(evidence(small_mtu), [SMALL_MTU], 1.0)
    return dataclasses.replace(Matrix(results, [Clean("clean", "live", [], 1.0)]), **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"results": [missing(SMALL_MTU)]}, "not detected"),
        ({"alarms": ["MTU: N08 spark3"]}, "false alarm"),
        ({"clean": [Clean("clean", "live", ["N08 spark3"], 1.0)]}, "false alarm"),
    ],
    ids=["undetected", "alarm beside a fault", "alarm in a clean run"],
)
def test_what_went_wrong_is_a_shortfall(changes, says):
    assert matrix().shortfalls(None) == []
    (shortfall,) = matrix(**changes).shortfalls(None)
    assert says in shortfall


def test_too_little_is_a_shortfall_of_the_whole():
    missed = matrix().shortfalls(Bar(injected=2, live=1, clean=2, clean_live=2))
    assert len(missed) == 4
    assert matrix().shortfalls(Bar(injected=1, live=0, clean=1, clean_live=1)) == []


def test_the_report_counts():
    report = matrix(alarms=["x"]).as_json()
    counted = {key: report[key] for key in ("injected", "detected", "localised", "false_alarms", "clean_runs")}
    assert counted == {"injected": 1, "detected": 1, "localised": 1, "false_alarms": 1, "clean_runs": 1}
    assert report["cases"][0]["next_action"].startswith("run site.yml: role fabric")
