"""Three ranks on one H100 over sockets, as nccl_probe recorded them: TCP must never pass for the fabric."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import NcclMeasurement
from ansible_collections.gb10.cluster.plugins.module_utils.shape import fits
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.records import title
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit import builders

FOLDER = builders.ROOT / "tests/fixtures/nccl/real-three-ranks"
NODES = ("spark1", "spark2", "spark3")


@pytest.fixture
def ranks() -> dict[str, t.Any]:
    """Recorded before a measurement said in which boot, when and beside which clock it was made."""
    return {node: json.loads((FOLDER / f"{node}.json").read_text(encoding="utf-8")) for node in NODES}


def read_behind_a_switch(ranks: dict[str, t.Any]) -> Reading:
    """There the older NCCL of that machine is no finding of its own."""
    return builders.healthy_reading(builders.plan("switch"), nccl=ranks)


def as_of_now(reading: Reading) -> Reading:
    """With what was not recorded, made up: that all was measured after the nodes were read, and no clock was set."""
    ranks = t.cast("dict[str, t.Any]", reading.nccl)
    builders.measured_after(reading, ranks)
    for rank in ranks.values():
        rank["clock_step_s"] = 0.0
    return reading


def test_what_was_recorded_is_whole_and_right(ranks: dict[str, t.Any]) -> None:
    unsaid = {"boot_id": None, "uptime_s": None, "clock_step_s": 0.0}
    for node, rank in ranks.items():
        assert not unsaid.keys() & rank.keys()
        assert fits(rank | unsaid, NcclMeasurement)
        assert rank["failure"] is None
        assert {pair["peer"] for pair in rank["pairs"]} == {*NODES} - {node}
        runs = [*rank["runs"], *(run for pair in rank["pairs"] for run in pair["runs"])]
        assert sum(run["wrong"] for run in runs) == 0
        assert rank["gpu_load"]["samples"] >= 5
        assert rank["gpu_load"]["clock_mhz"] is not None
        assert {*rank["log"]["transports"], *rank["pair_transports"]} == {"NET/Socket"}


def test_as_recorded_nobody_knows_when_it_was(ranks: dict[str, t.Any]) -> None:
    evidence = decide(read_behind_a_switch(ranks), "run")
    assert evidence["verdict"]["blocked_by"] == [f"N14 {node}" for node in NODES]
    found = {title(record): record for record in evidence["records"]}
    for node in NODES:
        assert found[f"N14 {node}"]["outcome"] == "unknown"
        assert found[f"N14 {node}"]["message"] == f"in which boot of {node} it was read and measured is not known"
        assert found[f"C02 {node}"]["message"].startswith("blocked by N14")


def test_it_is_tcp_on_every_rank(ranks: dict[str, t.Any]) -> None:
    evidence = decide(as_of_now(read_behind_a_switch(ranks)), "run")
    assert evidence["verdict"]["outcome"] == "refuse"
    records = {title(record): record for record in evidence["records"]}
    for node in NODES:
        found = records[f"C02 {node}"]
        assert (found["outcome"], found["signature"]) == ("fail", "tcp")
        assert found["message"].startswith("goes over TCP")
        assert found["measured"]["networks"] == ["Socket"]
        assert f"C02 {node}" in evidence["verdict"]["blocked_by"]
    assert records["P06 spark1+spark2"]["message"] == "blocked by C02 spark1"
    assert all(len(pool) == 1 for pool in evidence["verdict"]["valid_pools"])
