"""L07: carriers that went away by themselves, and those that a boot or our own change took away (health-checks L07)."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.judge import evaluate, judge
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.profiles import parsed_limits
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.records import title
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.registry import CHECKS
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading, views
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import half_of

HALF = "spark1:p0:a"  # its peer is spark2
MINUTE = 60


def healthy(topology: str = "triangle", **changes: t.Any) -> Reading:
    return builders.healthy_reading(builders.plan(topology), **changes)


def ask(reading: Reading, key: str = HALF):
    view = next(view for view in views("half", reading) if view.key == key)
    return evaluate(CHECKS["L07"], view, parsed_limits(reading.profile)["L07"])


def count(value: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: half_of(reading, "spark1", "p0", "a").update(carrier_down_count=value)


def booted(node: str, uptime_s: float | None = 86400.0, boot_id: str | None = "another boot"):
    return lambda reading: reading.facts[node].update(boot_id=boot_id, uptime_s=uptime_s)


def first_run(reading: Reading) -> None:
    t.cast("dict[str, t.Any]", reading.carriers).clear()


def passed_with(drops: int):
    return lambda reading: reading.carriers[HALF].update(carrier_down_count=drops)


@dataclasses.dataclass(frozen=True)
class Case:
    id: str
    spoil: tuple[t.Callable[[Reading], t.Any], ...]
    want: str
    says: str = ""
    topology: str = "triangle"


CASES = [
    # 0 / 1-3 / more since the last pass: health-checks L07, spark-facts 2.9.
    Case("none since the last pass", (), "pass", "0 times since run first"),
    Case("old residue", (count(21), passed_with(21)), "pass", "0 times"),
    Case("one", (count(1),), "degraded", "lost its carrier 1 time since run first"),
    Case("three", (count(24), passed_with(21)), "degraded", "3 times"),
    Case("four", (count(4),), "fail", "4 times"),
    Case("21 drops at 200G up (capetron)", (count(21),), "fail", "21 times"),
    # A boot at either end takes the carrier away too.
    Case("this end has booted", (count(3), booted("spark1")), "pass", "3 times since a boot of either end"),
    Case("the peer has booted", (count(3), booted("spark2")), "pass", "since a boot of either end"),
    Case("another node has booted", (count(3), booted("spark3")), "degraded", "since run first"),
    Case("booted, and more than that", (count(4), booted("spark2")), "degraded", "since a boot of either end"),
    Case("booted, and 21", (count(21), booted("spark1")), "fail", "21 times since a boot"),
    Case("booted 5 min ago", (count(9), booted("spark1", 5 * MINUTE)), "pass", "spark1 booted 5 min ago"),
    Case("the peer booted 29 min ago", (count(9), booted("spark2", 29 * MINUTE)), "pass", "spark2 booted 29 min ago"),
    Case("the peer booted 30 min ago", (count(9), booted("spark2", 30 * MINUTE)), "degraded", "since a boot"),
    Case("the driver was loaded anew", (count(2), passed_with(9)), "pass", "2 times since a boot"),
    Case("a first run", (first_run,), "pass", "0 times since a boot of either end"),
    Case("a first run on a bad cable", (first_run, count(21)), "fail", "21 times"),
    # Behind a switch nobody knows the other end.
    Case("switch", (count(2),), "degraded", "2 times since run first", "switch"),
    Case("switch, booted", (count(2), booted("spark1")), "pass", "since a boot", "switch"),
    Case("switch, another node booted", (count(2), booted("spark2")), "degraded", "since run first", "switch"),
    # Missing inputs.
    Case("no counter", (count(None),), "unknown", "carrier_down_count is not known"),
    Case("the counter is a text", (count("0"),), "unknown", "carrier_down_count is not known"),
    Case("no boot id", (booted("spark1", boot_id=None),), "unknown", "boot"),
    Case("no uptime of the peer", (booted("spark2", None),), "unknown", ""),
    Case("no facts of the peer", (lambda r: r.facts.pop("spark2"),), "unknown", "did not report its boot"),
    Case("no facts", (lambda r: r.facts.pop("spark1"),), "unknown", "did not report"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_flaps(case):
    reading = healthy(case.topology)
    for spoil in case.spoil:
        spoil(reading)
    outcome = ask(reading)
    assert outcome.name == case.want, outcome.message
    assert case.says in outcome.message
    assert outcome.signature == ("flaps" if case.want in ("degraded", "fail") else None)
    assert bool(outcome.remedy) == (case.want in ("degraded", "fail"))


@pytest.mark.parametrize("node", ["spark1", "spark2"])
def test_what_this_run_changed_is_not_held_against_the_cable(node):
    reading = dataclasses.replace(healthy(), changed=[node])
    count(7)(reading)
    assert (ask(reading).name, "changed in this run" in ask(reading).message) == ("pass", True)


def test_what_this_run_changed_elsewhere_is_no_excuse():
    reading = dataclasses.replace(healthy(), changed=["spark3"])
    count(7)(reading)
    assert ask(reading).name == "fail"


def required(reading: Reading) -> Reading:
    reading.profile["observe"].remove("L07")
    reading.profile["required"].append("L07")
    return reading


@pytest.mark.parametrize("case", [case for case in CASES if case.want == "unknown"], ids=lambda case: case.id)
def test_unknown_never_admits(case):
    reading = required(healthy())
    for spoil in case.spoil:
        spoil(reading)
    assert decide(reading, "run")["verdict"]["outcome"] == "refuse"


def test_where_it_is_required_a_flapping_link_is_the_suspect():
    reading = required(healthy())
    for node, cage in (("spark1", "p0"), ("spark2", "p1")):
        half_of(reading, node, cage, "a")["carrier_down_count"] = 21
    verdict = decide(reading, "run")["verdict"]
    assert verdict["blocked_by"] == ["L07 spark1:p0:a", "L07 spark2:p1:a"]
    assert verdict["diagnosis"]["suspects"] == ["half-link spark1:p0:a-spark2:p1:a"]
    assert verdict["diagnosis"]["next_action"].startswith("reseat the plug of spark1 p0")


def test_it_is_only_noted_for_now():
    reading = healthy()
    count(21)(reading)
    evidence = decide(reading, "run")
    assert [title(record) for record in evidence["records"] if record["outcome"] == "fail"] == [f"L07 {HALF}"]
    assert evidence["verdict"]["outcome"] == "admit"


def test_a_dead_link_is_the_nearer_finding():
    reading = required(healthy())
    half_of(reading, "spark1", "p0", "a").update(carrier=False, carrier_down_count=21)
    outcomes = {title(record): record["outcome"] for record in judge(reading, "run") if record["check"] == "L07"}
    assert outcomes["L07 spark1:p0:a"] == "skipped"
