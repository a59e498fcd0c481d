"""Wall time of the pair matrix against the time of its tools."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.cost import matrix_cost
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.tests.unit import builders

PROBE = builders.ROOT / "tests/fixtures/probe"


def measured(topology: str = "direct", run_s: float = 5.0, **whole: t.Any) -> dict[str, t.Any]:
    plan = builders.plan(topology)
    found: dict[str, t.Any] = t.cast("t.Any", builders.healthy_measurements(plan, builders.profile()))
    for measurement in found.values():
        measurement.update(whole)
        for direction in measurement["directions"]:
            for run in (*direction["bandwidth"], direction["latency"]):
                run["duration_s"] = run_s
        for pair in measurement["pairs"]:
            for half, longer in zip(pair["halves"], (0.0, 1.0), strict=True):
                for run in half["bandwidth"]:
                    run["duration_s"] = run_s + longer
    return found


def test_tools_side_by_side_count_once_as_the_longer() -> None:
    """Two paths both ways, five tools each, and four runs of both halves at once."""
    cost = matrix_cost(["spark1", "spark2"], measured(duration_s=150.0))
    assert cost == {"wall_s": 150.0, "slots_s": 4 * 21.0 + 24.0, "tools_s": 4 * 5 * 5.0 + 4 * 6.0, "ratio": 1.21}


def test_the_node_that_took_longest_is_the_wall_time() -> None:
    found = measured(duration_s=130.0)
    found["spark2"]["duration_s"] = 142.0
    cost = matrix_cost(["spark1", "spark2"], found)
    assert cost is not None
    assert (cost["wall_s"], cost["ratio"]) == (142.0, 1.145)


def test_a_tool_that_did_not_say_leaves_the_ratio_open() -> None:
    for where in ("directions", "pairs"):
        found = measured()
        (entry, *_rest) = found["spark1"][where]
        del (entry if where == "directions" else entry["halves"][0])["bandwidth"][0]["duration_s"]
        cost = matrix_cost(["spark1", "spark2"], found)
        assert cost is not None
        assert (cost["tools_s"], cost["ratio"]) == (None, None)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda found: found.pop("spark2"), id="a node sent nothing"),
        pytest.param(lambda found: found["spark1"].update(directions="many"), id="garbled"),
        pytest.param(lambda found: [each.update(directions=[], pairs=[]) for each in found.values()], id="nothing ran"),
    ],
)
def test_what_was_not_measured_has_no_cost(spoil: t.Callable[[t.Any], t.Any]) -> None:
    found = measured()
    spoil(found)
    assert matrix_cost(["spark1", "spark2"], found) is None


def test_a_direction_without_latency() -> None:
    found = measured()
    for measurement in found.values():
        for direction in measurement["directions"]:
            direction["latency"] = None
    cost = matrix_cost(["spark1", "spark2"], found)
    assert cost is not None
    assert cost["tools_s"] == 4 * 4 * 5.0 + 4 * 6.0


def test_the_evidence_tells_it() -> None:
    plan = builders.plan("direct")
    evidence = decide(builders.healthy_reading(plan, measurements=measured()), "run")
    assert evidence["matrix_cost"]["tools_s"] == 124.0
    assert "matrix_cost" not in decide(builders.healthy_reading(plan, measurements={}), "run")


def test_two_recorded_virtual_sparks_lose_little_between_slots() -> None:
    """Recorded before both halves at once, before pings and before tools were timed: what was lost between the slots."""
    found = {
        node: json.loads((PROBE / f"real-virtual-{node}-measurement.json").read_text(encoding="utf-8"))
        | {"pairs": [], "pairs_served": [], "pings": [], "boot_id": None, "uptime_s": None, "clock_step_s": 0.0}
        for node in ("spark1", "spark2")
    }
    cost = matrix_cost(found, found)
    assert cost == {"wall_s": 94.07, "slots_s": 90.6, "tools_s": None, "ratio": None}
    assert cost["wall_s"] / cost["slots_s"] < 1.04
