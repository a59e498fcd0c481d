"""The checks on what the programs of nccl-tests measured: numbers of their own, and nothing of what will serve."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import grants
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.checks import CHECKS
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.limits import ProfileError
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.outcome import NOT_ASKED
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.profiles import validated
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.records import title
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading, views
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.module_utils.verdict.nccl_cases import (
    MIB,
    Case,
    Spoil,
    both,
    check_case,
    failure,
    library,
    of_rank,
    rank,
    run_is_missing,
    speed,
)
from ansible_collections.gb10.cluster.tests.unit.module_utils.verdict.test_judge import (
    blank,
    delete,
    garble,
    holders,
    nest,
)

REQUIRED = ["N14", "N15", "N16", "N17", "P06", "C02", "C03", "C04", "C05", "C11"]


def healthy(topology: str = "triangle") -> Reading:
    return builders.by_nccl_tests(builders.healthy_reading(builders.plan(topology)))


def gib(*values: float) -> Spoil:
    return speed(*values, at_most=1024 * MIB)


def pair_speed(*values: float) -> Spoil:
    """The judged cycles of the pair of spark1 and spark2, on both."""

    def spoil(reading: Reading) -> None:
        for node, peer in (("spark1", "spark2"), ("spark2", "spark1")):
            (pair,) = [pair for pair in rank(reading, node)["pairs"] if pair["peer"] == peer]
            for run, value in zip([run for run in pair["runs"] if not run["warmup"]], values, strict=True):
                run["busbw_gbs"] = value

    return spoil


def no_threshold(check: str, key: str) -> Spoil:
    return lambda reading: reading.profile["thresholds"][check].pop(key)


def wrong_data(reading: Reading) -> None:
    rank(reading)["runs"][1]["wrong"] = 7


def no_runs(reading: Reading) -> None:
    rank(reading)["runs"] = []


CASES = [
    Case("19.9 at 1 GiB is healthy (health-checks P06)", "P06", pair_speed(19.9, 19.8, 19.9), "pass"),
    Case("15 GB/s", "P06", pair_speed(15.0, 15.1, 15.0), "degraded", "15 GB/s, expected at least 18"),
    Case("13.5 is one half", "P06", pair_speed(13.5, 13.4, 13.5), "fail", "looks like", "one-half"),
    Case("1.6 is a throttled NIC", "P06", pair_speed(1.6, 1.6, 1.6), "fail", "looks like", "cx7-init-clamp"),
    Case("0.9 is TCP or worse, no band", "P06", pair_speed(0.9, 0.9, 0.9), "fail", "0.9 GB/s"),
    Case("runs apart", "P06", pair_speed(19.0, 23.0, 23.5), "unknown", "the runs differ by"),
    Case(
        "no size", "P06", no_threshold("P06", "nccl_tests_size_bytes"), "unknown", "no size for the harness nccl_tests"
    ),
    Case("no number", "P06", no_threshold("P06", "nccl_tests_pair"), "unknown", "no threshold for two ranks"),
    Case("no pair", "P06", lambda reading: rank(reading).update(pairs=[]), "unknown", "fewer than 3 runs at 1024 MiB"),
    Case("healthy", "C04", lambda reading: None, "pass", "22 GB/s"),
    Case("what torch calls healthy is a fault here", "C04", gib(5.8), "fail", "expected at least 18"),
    Case("16 GB/s", "C04", gib(16.0), "degraded"),
    Case("no runs", "C04", no_runs, "unknown", "fewer than 3 runs at 1024 MiB: spark1 0"),
    Case(
        "no size", "C04", no_threshold("C04", "nccl_tests_size_bytes"), "unknown", "no size for the harness nccl_tests"
    ),
    Case("no number", "C04", no_threshold("C04", "nccl_tests_3_ranks"), "unknown", "no threshold for 3 ranks"),
    Case("torch measured", "C04", of_rank(harness="torch"), "unknown", "not by the harness nccl_tests"),
    Case("healthy", "C05", lambda reading: None, "pass"),
    Case("wrong column", "C05", wrong_data, "fail", "7 elements on spark1", "wrong-data"),
    Case("killed", "C05", of_rank(failure=failure("environment")), "unknown", "it broke"),
    Case("a cycle is missing", "C05", run_is_missing, "unknown", "some runs of spark1 are missing"),
    Case("as fast as pairs", "C06", lambda reading: None, "pass", "1.10 of the slowest pair"),
    Case("0.6, which torch may have", "C06", gib(12.0), "fail", "0.60 of the slowest pair, expected at least 0.80"),
    Case("no size", "C06", no_threshold("C06", "nccl_tests_size_bytes"), "unknown", "no size for the harness"),
    Case("no runs", "C06", no_runs, "unknown", "not every pair"),
    Case("healthy", "N14", lambda reading: None, "pass", "NCCL 2.30.7"),
    Case("headers", "N14", library(headers="2.28.9"), "fail", "was built with 2.28.9", "wrong-library"),
    Case("another file on this node", "N14", library(headers=None), "unknown", "library.headers is not known"),
    Case("one library", "C11", lambda reading: None, "pass"),
    Case("two builds", "C11", library(build_id="ffff"), "fail", "the NCCL differs", "different-libraries"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}-{case.id}")
def test_each_harness_has_its_own_numbers(case: Case) -> None:
    check_case(case, healthy())


@pytest.mark.parametrize("topology", ["triangle", "direct"])
def test_a_healthy_cluster_is_admitted_and_nothing_is_said_of_what_serves(topology: str) -> None:
    reading = healthy(topology)
    evidence = decide(reading, "run")
    assert evidence["verdict"]["blocked_by"] == []
    assert evidence["verdict"]["outcome"] == "admit"
    for node in reading.plan["nodes"]:
        assert (evidence["nodes"][node]["nccl_build_id"], evidence["nodes"][node]["image_id"]) == (None, None)
        assert grants(evidence, reading, 7)[node]["bound"]["nccl_build_id"] is None
    load = [record for record in evidence["records"] if record["check"] == "N10"]
    assert {(record["outcome"], record["required"], record["signature"]) for record in load} == {
        ("unknown", False, NOT_ASKED)
    }


def test_the_required_checks_are_those_of_the_harness() -> None:
    reading = healthy()
    assert set(REQUIRED) <= set(reading.required)
    assert "N10" not in reading.required
    del reading.profile["required_with_nccl_tests"]
    assert "N10" in reading.required


@pytest.mark.parametrize("mutate", [delete, blank, garble, nest])
@pytest.mark.parametrize(("check_id", "need"), [(check, need) for check in REQUIRED for need in CHECKS[check].needs])
def test_an_input_that_is_missing_or_garbled_never_admits(
    check_id: str, need: str, mutate: t.Callable[[dict[str, t.Any], str], None]
) -> None:
    reading = healthy()
    view = next(iter(views(CHECKS[check_id].scope, reading)))
    mutate(*holders(view, need)[0])
    evidence = decide(reading, "run")
    assert evidence["verdict"]["outcome"] == "refuse"
    mine = [r for r in evidence["records"] if r["check"] == check_id and r["subject"] == view.subject]
    assert [record["outcome"] for record in mine] != ["pass"]


UNSEEN = [
    pytest.param(of_rank(skipped="there is no /opt/nccl-tests/all_gather_perf"), id="missing-program"),
    pytest.param(both(no_runs, of_rank(failure=failure("instrument"))), id="json-cut-short"),
    pytest.param(both(no_runs, of_rank(failure=failure("environment"))), id="killed-or-hung"),
    pytest.param(both(no_runs, of_rank(failure=failure("environment"), library=None)), id="never-met"),
    pytest.param(of_rank(harness="torch"), id="torch-came"),
    pytest.param(wrong_data, id="wrong-column"),
    pytest.param(lambda reading: (reading.nccl or {}).clear(), id="nobody-came"),
]


@pytest.mark.parametrize("spoil", UNSEEN)
def test_what_was_not_measured_is_not_admitted(spoil: Spoil) -> None:
    reading = healthy()
    spoil(reading)
    evidence = decide(reading, "run")
    assert evidence["verdict"]["outcome"] == "refuse"
    assert ["spark1", "spark2", "spark3"] not in evidence["verdict"]["valid_pools"]
    passed = {title(record) for record in evidence["records"] if record["outcome"] == "pass"}
    assert "C05 spark1 spark2 spark3" not in passed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"required_with_nccl_tests": None}, "required_with_nccl_tests missing"),
        ({"nccl_tests": {"sizes_bytes": [1]}}, "nccl_tests: iterations"),
        ({"required_with_nccl_tests": ["C04", "C07"]}, "C07: listed twice"),
        ({"required_with_nccl_tests": ["C99"]}, "unknown check 'C99'"),
    ],
)
def test_a_profile_that_could_not_refuse_is_refused(change: dict[str, t.Any], says: str) -> None:
    raw = {key: value for key, value in (builders.profile() | change).items() if value is not None}
    with pytest.raises(ProfileError, match=says):
        validated(raw)
