"""C07: the same numbers as the run that set the baseline, or worse. Limits: SuperBench 5 % (health-checks C07, 4.7)."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.judge import evaluate, judge
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.outcome import NO_BASELINE
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.profiles import parsed_limits
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.records import title
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.registry import CHECKS
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading, measured_numbers, views
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import LAB, direction_of, set_bandwidth, set_both_halves

PATH = "spark1:p0:a-spark2:p1:a"
WAY = "spark1:p0:a>spark2:p1:a"
BOTH = "spark1:p0>spark2:p1"
ALL = "spark1+spark2+spark3"


def healthy(topology: str = "triangle", **changes: t.Any) -> Reading:
    return builders.healthy_reading(builders.plan(topology), **changes)


def ask(reading: Reading, key: str = WAY):
    view = next(view for view in views("number", reading) if view.key == key)
    return evaluate(CHECKS["C07"], view, parsed_limits(reading.profile)["C07"])


def required(reading: Reading) -> Reading:
    """The check in the place that it is to have once it has been observed for long enough."""
    reading.profile["observe"].remove("C07")
    reading.profile["required"].append("C07")
    return reading


def slower(reading: Reading, part: float) -> Reading:
    set_bandwidth(reading, PATH, 111.9118 * part, "spark1")
    for number, run in enumerate(direction_of(reading, PATH, "spark1")["bandwidth"]):
        run["gbps"] = 111.9118 * part if number else 20.0  # a slow warm-up decides nothing
    return reading


@pytest.mark.parametrize(
    ("part", "want"),
    [
        (1.5, "pass"),
        (1.0, "pass"),
        (0.951, "pass"),
        (0.95, "pass"),
        (0.949, "degraded"),
        (0.9, "degraded"),
        (0.899, "fail"),
        (0.01, "fail"),
    ],
)
def test_bandwidth_of_a_path(part, want):
    outcome = ask(slower(healthy(), part))
    assert outcome.name == want, outcome.message
    assert outcome.measured["baseline_run"] == "first"
    assert outcome.signature == (None if want == "pass" else "regression")


def test_the_finding_names_both_numbers_and_what_to_do():
    outcome = ask(slower(healthy(), 0.89))
    assert outcome.message == "99.6 Gb/s, 11.0% less than the 111.9 of run first"
    assert (
        outcome.remedy[0] == "see what changed on spark1 and spark2 since 2026-11-20: an update, a cable, another load"
    )
    assert outcome.remedy[-1].endswith("run with gate_baseline=renew")
    assert outcome.measured["loss"]["bw_gbps ib_write_bw 65536"] == pytest.approx(0.11)
    assert outcome.threshold["bandwidth_drop"] == {"pass": 0.05, "degraded": 0.10}


@pytest.mark.parametrize(("us", "want"), [(0.9, "pass"), (2.0, "pass"), (2.01, "degraded"), (2.41, "fail")])
def test_latency_the_other_way_round(us, want):
    reading = healthy()
    direction_of(reading, PATH, "spark1")["latency"]["typical_us"] = us  # 1.6 before
    outcome = ask(reading)
    assert outcome.name == want
    says = "more than the 1.6 of run first" if us > 1.6 else "111.9 Gb/s as in run first"
    assert says in outcome.message


def test_only_the_direction_that_lost_is_named():
    reading = slower(healthy(), 0.85)
    failing = [title(record) for record in judge(reading, "run") if record["outcome"] == "fail"]
    assert failing == [f"C07 {WAY}"]


def test_both_halves_at_once():
    reading = healthy()
    set_both_halves(reading, "spark1", "spark2", 97.9, 92.0)
    outcome = ask(reading, BOTH)
    assert (outcome.name, outcome.measured["sum_gbps"]) == ("pass", pytest.approx(189.9))
    set_both_halves(reading, "spark1", "spark2", 97.9, 82.0)
    assert ask(reading, BOTH).name == "degraded"


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("collective", ["all_gather", "all_reduce"])
def test_each_collective_at_each_size_by_its_slowest_rank(size, collective):
    reading = healthy()
    sizes = sorted({run["size_bytes"] for run in reading.nccl["spark2"]["runs"]})
    for run in reading.nccl["spark2"]["runs"]:
        if (run["size_bytes"], run["collective"]) == (sizes[size], collective):
            run["busbw_gbs"] *= 0.8
    outcome = ask(reading, ALL)
    assert outcome.name == "fail"
    losses = {name: loss for name, loss in outcome.measured["loss"].items() if loss}
    assert losses == {f"busbw_gbs torch {collective} {sizes[size]}": pytest.approx(0.2)}


@pytest.mark.parametrize(
    ("topology", "nccl", "subjects"),
    [
        ("single", True, 0),
        ("direct", True, 4 + 1 + 1),
        ("triangle", True, 12 + 3 + 1),
        ("triangle", False, 12 + 3),
        ("switch", False, 12 + 3),
    ],
)
def test_every_number_of_the_run_has_its_subject(topology, nccl, subjects):
    reading = healthy(topology) if nccl else healthy(topology, nccl=None)
    records = [record for record in judge(reading, "run") if record["check"] == "C07"]
    assert len(records) == subjects
    assert all(record["outcome"] == "pass" for record in records)
    levels = {record["level"] for record in records}
    assert levels <= {"pair", "cluster"}
    assert ("cluster" in levels) == (nccl and topology != "single")


# --- without a baseline ---


def test_a_first_run_is_not_asked_and_is_admitted_where_the_check_is_required():
    reading = required(healthy(baseline={}))
    evidence = decide(reading, "run")
    records = [record for record in evidence["records"] if record["check"] == "C07"]
    assert {(r["outcome"], r["signature"], r["required"]) for r in records} == {("skipped", NO_BASELINE, False)}
    assert evidence["verdict"]["outcome"] == "admit"


@pytest.mark.parametrize("position", range(5))
def test_only_the_same_key_is_compared(position):
    """Another profile, topology, subject, tool or size is another number."""
    reading = slower(healthy(), 0.5)
    moved = {
        key._replace(**{key._fields[position]: 1 if key._fields[position] == "size_bytes" else "another"}): number
        for key, number in reading.baseline.items()
    }
    assert ask(dataclasses.replace(reading, baseline=moved)).signature == NO_BASELINE


def test_what_was_never_measured_before_is_not_compared():
    """NCCL that is asked for since today."""
    reading = healthy()
    old = {key: number for key, number in reading.baseline.items() if key.number != "busbw_gbs"}
    reading = required(dataclasses.replace(reading, baseline=old))
    assert ask(reading, ALL).signature == NO_BASELINE
    assert decide(reading, "run")["verdict"]["outcome"] == "admit"


# --- where it is required ---


def test_a_loss_refuses_and_is_localised():
    reading = required(healthy())
    for sender in ("spark1", "spark2"):
        set_bandwidth(reading, PATH, 99.0, sender)
    verdict = decide(reading, "run")["verdict"]
    assert verdict["blocked_by"] == [f"C07 {WAY}", "C07 spark2:p1:a>spark1:p0:a"]
    assert verdict["diagnosis"]["failing_paths"] == [PATH]
    assert verdict["diagnosis"]["suspects"] == [f"half-link {PATH}"]
    assert ["spark1", "spark2"] not in verdict["valid_pools"]
    assert ["spark2", "spark3"] in verdict["valid_pools"]


def test_a_collective_that_lost_accuses_no_node():
    reading = required(healthy())
    for rank in reading.nccl.values():
        for run in rank["runs"]:
            run["busbw_gbs"] *= 0.93
    verdict = decide(reading, "run")["verdict"]
    assert verdict["blocked_by"] == ["C07"]
    assert verdict["diagnosis"]["suspects"] == []


def test_a_number_that_fails_by_itself_is_one_finding():
    reading = required(healthy())
    set_bandwidth(reading, PATH, 13.3, "spark1")
    assert decide(reading, "run")["verdict"]["blocked_by"] == [f"P02 {WAY}"]


def spoil_direction(reading, key, value):
    for run in direction_of(reading, PATH, "spark1")["bandwidth"]:
        run[key] = value


MISSING = [
    pytest.param(WAY, lambda r: r.measurements.pop("spark1"), "spark1 sent no measurement", id="no measurement"),
    pytest.param(WAY, lambda r: spoil_direction(r, "gbps", None), "not measured in full", id="no bandwidth"),
    pytest.param(WAY, lambda r: spoil_direction(r, "gbps", "fast"), "not measured in full", id="bandwidth is a text"),
    pytest.param(WAY, lambda r: spoil_direction(r, "warmup", True), "not measured in full", id="warm-ups only"),
    pytest.param(
        WAY,
        lambda r: direction_of(r, PATH, "spark1").update(latency=None),
        "not measured in full",
        id="no latency",
    ),
    pytest.param(
        WAY,
        lambda r: direction_of(r, PATH, "spark1")["latency"].update(typical_us=float("nan")),
        "not measured in full",
        id="latency is not a number",
    ),
    pytest.param(BOTH, lambda r: r.measurements["spark1"].update(pairs=[]), "not measured in full", id="no pair"),
    pytest.param(
        BOTH,
        lambda r: builders.pair_of(r, "spark1", "spark2")["halves"].pop(),
        "not measured in full",
        id="one half of two",
    ),
    pytest.param(ALL, lambda r: r.nccl.pop("spark3"), "spark3 sent no NCCL measurement", id="a rank is missing"),
    pytest.param(ALL, lambda r: r.nccl["spark3"].update(runs=[]), "not every node", id="no run"),
    pytest.param(ALL, lambda r: r.nccl["spark3"].update(runs="fast"), "not every node", id="runs are a text"),
    pytest.param(ALL, lambda r: r.nccl["spark3"]["runs"][0].pop("busbw_gbs"), "not every node", id="half a run"),
]


@pytest.mark.parametrize(("key", "spoil", "says"), MISSING)
def test_a_number_that_is_missing_is_unknown_and_never_admits(key, spoil, says):
    reading = required(healthy())
    spoil(reading)
    outcome = ask(reading, key)
    assert outcome.name == "unknown"
    assert says in outcome.message
    assert decide(reading, "run")["verdict"]["outcome"] == "refuse"


def test_it_is_not_asked_in_check_mode():
    reading = dataclasses.replace(healthy(), check_mode=True)
    assert ask(reading).signature == "check-mode"


def test_in_the_lab_only_a_collapse_is_noted():
    reading = builders.healthy_reading(builders.plan(), LAB)
    set_bandwidth(reading, PATH, 0.05, "spark1")  # 0.12 before
    assert ask(reading).name == "pass"
    set_bandwidth(reading, PATH, 0.002, "spark1")
    assert ask(reading).name in ("degraded", "fail")


def test_the_numbers_of_a_run_do_not_depend_on_the_baseline():
    reading = healthy()
    assert measured_numbers(reading) == measured_numbers(dataclasses.replace(copy.deepcopy(reading), baseline={}))
    assert len(measured_numbers(reading)) == 12 * 2 + 3 + 4
