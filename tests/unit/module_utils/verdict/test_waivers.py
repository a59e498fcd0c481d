"""What the operator may accept, and how every other waiver is named and helps nothing."""

from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.records import title
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import set_bandwidth
from ansible_collections.gb10.cluster.tests.unit.spark_tree import NOW

SLOW = "spark1:p0:a>spark2:p1:a"
WAIVER = {"check": "P02", "subject": SLOW, "reason": "new cable on the 10th", "expires": "2026-12-11"}


def judged(*waivers, spoil=None):
    reading = builders.healthy_reading(builders.plan())
    (spoil or (lambda r: set_bandwidth(r, "spark1:p0:a-spark2:p1:a", 90.0, "spark1")))(reading)
    return decide(reading, "run", waivers=waivers, now=NOW)


def test_a_degraded_finding_that_is_waived_admits_and_stays_degraded():
    evidence = judged(WAIVER)
    assert evidence["verdict"]["outcome"] == "admit"
    assert evidence["verdict"]["blocked_by"] == evidence["verdict"]["notices"] == []
    assert evidence["verdict"]["valid_pools"][0] == ["spark1", "spark2", "spark3"]
    (record,) = (record for record in evidence["records"] if "waiver" in record)
    assert (title(record), record["outcome"]) == (f"P02 {SLOW}", "degraded")
    assert record["waiver"] == {"reason": "new cable on the 10th", "expires": "2026-12-12T00:00:00Z"}


def test_a_waiver_is_for_one_finding():
    def two(reading):
        set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 90.0)

    verdict = judged(WAIVER, spoil=two)["verdict"]
    assert (verdict["outcome"], verdict["blocked_by"]) == ("refuse", ["P02 spark2:p1:a>spark1:p0:a"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"expires": "2026-11-23"}, f"waiver P02 {SLOW} does not help: it ended at 2026-11-24T00:00:00Z"),
        ({"expires": "2026-11-24T12:00:00Z"}, "it ended at 2026-11-24T12:00:00Z"),
        ({"expires": "2026-11-24T11:59:59"}, "it ended at 2026-11-24T11:59:59Z"),
        ({"expires": "never"}, "expires is 'never', expected a date like 2026-12-31"),
        ({"expires": None}, "it needs check, subject, reason and expires"),
        ({"reason": "  "}, "it needs check, subject, reason and expires"),
        ({"check": 7}, "it needs check, subject, reason and expires"),
        ({"subject": "spark1"}, "waiver P02 spark1 is not used: there is no such check and subject"),
        ({"subject": None}, "waiver P02 is not used: there is no such check and subject"),
        ({"check": "X99"}, f"waiver X99 {SLOW} is not used"),
        ({"check": "P04"}, f"waiver P04 {SLOW} is not used: nothing refuses there"),
    ],
)
def test_a_waiver_that_does_not_help_is_named(change, says):
    verdict = judged(WAIVER | change)["verdict"]
    assert verdict["outcome"] == "refuse"
    (notice,) = verdict["notices"]
    assert says in notice


@pytest.mark.parametrize("waiver", ["P02", None, ["P02"], 7])
def test_what_is_no_waiver_is_named(waiver):
    verdict = judged(waiver)["verdict"]
    assert verdict["outcome"] == "refuse"
    assert verdict["notices"] == [f"waiver {waiver!r} does not help: it needs check, subject, reason and expires"]


@pytest.mark.parametrize(
    ("check", "subject", "spoil", "outcome"),
    [
        ("N00", "spark3", lambda r: r.facts.pop("spark3"), "fail"),
        ("P02", SLOW, lambda r: set_bandwidth(r, "spark1:p0:a-spark2:p1:a", 13.3, "spark1"), "fail"),
        ("P02", SLOW, lambda r: r.measurements.pop("spark1"), "skipped"),
        ("P01", SLOW, lambda r: r.measurements.pop("spark1"), "skipped"),
    ],
)
def test_what_fails_or_is_not_known_cannot_be_waived(check, subject, spoil, outcome):
    verdict = judged(WAIVER | {"check": check, "subject": subject}, spoil=spoil)["verdict"]
    assert verdict["outcome"] == "refuse"
    assert verdict["notices"] == [
        f"waiver {check} {subject} does not help: only degraded can be waived, and this is {outcome}"
    ]


def test_a_record_of_the_whole_cluster_has_no_subject():
    def differ(reading):
        reading.facts["spark1"]["kernel"] = reading.facts["spark1"]["newest_kernel"] = "6.17.0-1"

    verdict = judged({**WAIVER, "check": "C01", "subject": ""}, spoil=differ)["verdict"]
    assert verdict["notices"] == ["waiver C01 does not help: only degraded can be waived, and this is fail"]


def test_a_mark_in_a_record_that_fails_does_not_admit():
    evidence = judged(WAIVER, spoil=lambda r: set_bandwidth(r, "spark1:p0:a-spark2:p1:a", 13.3, "spark1"))
    assert all("waiver" not in record for record in evidence["records"])
