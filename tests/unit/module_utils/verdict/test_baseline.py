"""The files in which a run remembers an earlier one, and what may get into them."""

from __future__ import annotations

import json
import math

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.baseline import (
    NumberKey,
    baseline_document,
    carriers_document,
    keep,
    parse_baseline,
    parse_carriers,
)
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import measured_numbers
from ansible_collections.gb10.cluster.tests.unit import builders
from hypothesis import given
from hypothesis import strategies as st

WHERE = "evidence/baseline.json"
KEY = NumberKey("p", "triangle", "spark1:p0:a>spark2:p1:a", "ib_write_bw", 65536, "bw_gbps")
KEYS = st.builds(
    NumberKey,
    st.just("p"),
    st.sampled_from(["triangle", "direct"]),
    st.sampled_from(["one", "two"]),
    st.sampled_from(["ib_write_bw", "torch all_gather"]),
    st.sampled_from([8, 65536]),
    st.sampled_from(["bw_gbps", "lat_us"]),
)
MEASURED = st.dictionaries(KEYS, st.floats(min_value=0.001, max_value=1000))


def known(measured, run_id="first"):
    return keep({}, measured, run_id, "2026-11-20T10:00:00+00:00", renew=False).numbers


def values(numbers):
    return {key: number["value"] for key, number in numbers.items()}


@given(MEASURED, MEASURED)
def test_a_later_run_adds_and_never_replaces(first, second):
    kept = keep(known(first), second, "second", "2026-11-21T10:00:00+00:00", renew=False)
    assert values(kept.numbers) == second | first
    assert (kept.added, kept.renewed) == (len(second.keys() - first.keys()), 0)
    assert all(kept.numbers[key]["run_id"] == "first" for key in first)
    assert kept.changed == (kept.added > 0)


@given(MEASURED, MEASURED)
def test_to_renew_replaces_what_was_measured_and_nothing_else(first, second):
    kept = keep(known(first), second, "second", "2026-11-21T10:00:00+00:00", renew=True)
    assert values(kept.numbers) == first | second
    assert {key for key, number in kept.numbers.items() if number["run_id"] == "second"} == second.keys()
    assert kept.added + kept.renewed == len(second)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
def test_what_nothing_can_be_compared_with_is_not_kept(value):
    assert keep({}, {KEY: value}, "run", "date", renew=True).numbers == {}


@given(MEASURED)
def test_what_is_written_is_read(measured):
    assert parse_baseline(json.dumps(baseline_document(known(measured))), WHERE) == known(measured)


def test_the_file_has_an_order_of_its_own():
    """So that two files can be compared by eye."""
    plan = builders.plan()
    numbers = known(measured_numbers(builders.healthy_reading(plan)))
    upside_down = dict(reversed(numbers.items()))
    assert baseline_document(numbers) == baseline_document(upside_down)


def test_no_file_is_an_empty_baseline():
    assert parse_baseline(None, WHERE) == {}
    assert parse_carriers(None, WHERE) == {}


NUMBER = baseline_document(known({KEY: 111.8}))["numbers"][0]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut off"),
        pytest.param("[]", id="a list"),
        pytest.param("{}", id="no schema"),
        pytest.param('{"schema": "1"}', id="no numbers"),
        pytest.param('{"schema": "2", "numbers": []}', id="of a later version"),
        pytest.param('{"schema": "1", "numbers": {}}', id="numbers are no list"),
        pytest.param(json.dumps({"schema": "1", "numbers": [NUMBER | {"value": "111.8"}]}), id="a text for a number"),
        pytest.param(json.dumps({"schema": "1", "numbers": [NUMBER | {"value": math.nan}]}), id="not a number"),
        pytest.param(json.dumps({"schema": "1", "numbers": [NUMBER | {"value": 0}]}), id="zero"),
        pytest.param(json.dumps({"schema": "1", "numbers": [{"value": 1.0}]}), id="a number of nothing"),
        pytest.param(json.dumps({"schema": "1", "numbers": [NUMBER, NUMBER | {"value": 1}]}), id="one key twice"),
    ],
)
def test_a_file_that_no_run_wrote_never_counts_as_empty(text):
    with pytest.raises(ValueError, match=r"baseline\.json .*; move it away"):
        parse_baseline(text, WHERE)


MARKS = builders.healthy_carriers(builders.plan(), builders.healthy_facts(builders.plan()))


def test_marks_that_are_written_are_read():
    assert parse_carriers(json.dumps(carriers_document(MARKS)), WHERE) == MARKS
    assert len(MARKS) == 12


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("garbage", id="not JSON"),
        pytest.param('{"schema": "1", "numbers": []}', id="another file"),
        pytest.param(
            json.dumps({"schema": "1", "marks": [MARKS["spark1:p0:a"] | {"carrier_down_count": None}]}), id="no count"
        ),
        pytest.param(json.dumps({"schema": "1", "marks": [MARKS["spark1:p0:a"]] * 2}), id="one half twice"),
    ],
)
def test_marks_that_no_run_wrote_are_refused(text):
    with pytest.raises(ValueError, match=r"carriers\.json .*; move it away"):
        parse_carriers(text, "evidence/carriers.json")
