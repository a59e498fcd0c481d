"""Both halves of a cable at once: two clients and two servers, real sockets on loopback, fake perftest commands."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.schedule import Slot, schedule
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parents[4] / "docs/schema"
SCHEMA = Draft202012Validator(json.loads((FOLDER / "rdma-measurement.schema.json").read_text(encoding="utf-8")))
PATHS = ("spark1:p0:a-spark2:p1:a", "spark1:p0:b-spark2:p1:b")


def pair_slot(cluster) -> Slot:
    (slot,) = [slot for slot in schedule(cluster.plan) if len(slot.ways) == 2]
    return slot


def port(cluster, half: str, turn: int = 0) -> str:
    return str(next(way for way in pair_slot(cluster).ways if way.half == half).port(turn))


def run_two(cluster, **options) -> tuple[dict, dict]:
    """What either end says of its pair."""
    cluster.start("spark1", "spark2", **options)
    results = cluster.results("spark1", "spark2")
    assert all(entry["failure"] is None for result in results.values() for entry in result["directions"])
    for result in results.values():
        SCHEMA.validate(result)
    assert results["spark2"]["pairs"] == results["spark1"]["pairs_served"] == []
    (pair,), (served,) = results["spark1"]["pairs"], results["spark2"]["pairs_served"]
    return pair, served


def numbers(pair: dict) -> list[list[float]]:
    return [[run["gbps"] for run in half["bandwidth"]] for half in pair["halves"]]


def test_every_cable_carries_both_halves_at_the_same_time(full_cluster):
    full_cluster.profile["bandwidth"]["repeats"] = 1
    results = full_cluster.run(seconds=0.3)
    pairs = {(pair["from_node"], pair["to_node"]): pair for result in results.values() for pair in result["pairs"]}
    assert sorted(pairs) == [("spark1", "spark2"), ("spark1", "spark3"), ("spark2", "spark3")]
    for slot in schedule(full_cluster.plan):
        if len(slot.ways) != 2:
            continue
        pair = pairs[slot.sender, slot.receiver]
        assert pair["failure"] is None
        assert [half["path"] for half in pair["halves"]] == [way.path for way in slot.ways]
        assert [half["half"] for half in pair["halves"]] == ["a", "b"]
        times = full_cluster.transmitted(slot.sender)
        for half, way in zip(pair["halves"], slot.ways, strict=True):
            assert [run["warmup"] for run in half["bandwidth"]] == [True, False]
            addresses = {(run["local_ipv4"], run["remote_ipv4"]) for run in half["bandwidth"]}
            assert addresses == {(way.client["ipv4"], way.server["ipv4"])}
        for turn in range(2):
            (begin_a, end_a), (begin_b, end_b) = (times[way.port(turn)] for way in slot.ways)
            assert max(begin_a, begin_b) < min(end_a, end_b), "one after the other proves nothing"
    served = [entry for result in results.values() for entry in result["pairs_served"]]
    assert [entry["rcs"] for entry in served] == [[0] * 4] * 3
    assert full_cluster.leftovers() == []


def test_only_bandwidth_is_measured(two_nodes):
    pair, served = run_two(two_nodes)
    assert {run["argv"][0] for half in pair["halves"] for run in half["bandwidth"]} == {"ib_write_bw"}
    assert numbers(pair) == [[111.86], [111.86]]
    assert (pair["repeated"], served["rcs"], served["paths"]) == ([], [0, 0], list(PATHS))


def test_the_bytes_of_a_single_half_are_those_of_its_own_slot(two_nodes):
    two_nodes.start("spark1", "spark2")
    results = two_nodes.results("spark1", "spark2")
    for entry in results["spark1"]["directions"]:
        assert sum(entry["tx_bytes"].values()) == 1000 * 16 * 4096


def test_a_failed_clock_of_one_half_repeats_both(two_nodes):
    two_nodes.misbehave({"spark1": {port(two_nodes, "b"): "clock 1"}})
    pair, served = run_two(two_nodes)
    assert pair["failure"] is None
    assert [(failure["stage"], failure["cause"]) for failure in pair["repeated"]] == [("bandwidth", "instrument")]
    assert numbers(pair) == [[111.86], [111.86]]
    assert served["rcs"] == [0, 0, 0, 0]


def test_a_clock_that_failed_beside_a_path_that_failed_is_no_reason_to_repeat(two_nodes):
    two_nodes.misbehave({"spark1": {port(two_nodes, "a"): "clock 9", port(two_nodes, "b"): "retry exceeded"}})
    pair, _served = run_two(two_nodes)
    assert (pair["failure"]["cause"], pair["repeated"]) == ("hardware", [])


def test_a_tool_that_always_fails_ends_after_some_attempts(two_nodes):
    two_nodes.misbehave({"spark1": {port(two_nodes, "b", turn): "garbage" for turn in range(9)}})
    pair, served = run_two(two_nodes)
    assert (pair["failure"]["cause"], len(pair["repeated"])) == ("instrument", 3)
    assert numbers(pair) == [[], []]
    assert "spark1 has given up" in served["failure"]["message"]


@pytest.mark.parametrize(
    ("how", "cause", "says"),
    [
        ("hang", "instrument", "half b: ib_write_bw gave no result within 3 s"),
        ("no route", "environment", "half b: ib_write_bw: the peer's test port takes no connection"),
        ("retry exceeded", "hardware", "half b: ib_write_bw: no acknowledgement"),
    ],
)
def test_a_half_that_fails_fails_the_pair_and_ends_its_twin(two_nodes, how, cause, says):
    two_nodes.profile["command_timeout_s"] = 3 if how == "hang" else 20
    two_nodes.misbehave({"spark1": {port(two_nodes, "b"): how}})
    pair, _served = run_two(two_nodes)
    assert (pair["failure"]["stage"], pair["failure"]["cause"]) == ("bandwidth", cause)
    assert says in pair["failure"]["message"]
    assert pair["repeated"] == []
    assert two_nodes.leftovers() == []


def test_a_server_that_fails_is_told_to_the_client_at_once(two_nodes):
    two_nodes.misbehave({"spark2": {f"serve:{port(two_nodes, 'b')}": "fail"}})
    pair, served = run_two(two_nodes)
    assert "spark2 has given up" in pair["failure"]["message"]
    assert "half b: ib_write_bw: the test port" in served["failure"]["message"]
    assert two_nodes.leftovers() == []


@pytest.mark.parametrize(("node", "number"), [("spark1", 0), ("spark2", 1)])
def test_a_half_that_one_end_cannot_measure_is_the_reason(two_nodes, node, number):
    end = next(path for path in two_nodes.paths if path["id"] == PATHS[1])["ends"][number]
    (two_nodes.folder / node / f"sys/class/infiniband/{end['rdma']}/ports/1/gids/2").unlink()
    two_nodes.start("spark1", "spark2")
    results = two_nodes.results("spark1", "spark2")
    (pair,), (served,) = results["spark1"]["pairs"], results["spark2"]["pairs_served"]
    reason = f"{end['rdma']} has no RoCE v2 GID for {end['ipv4']}"
    for failure, own in ((pair["failure"], "spark1"), (served["failure"], "spark2")):
        assert (failure["stage"], failure["cause"]) == ("rendezvous", "configuration")
        assert failure["message"] == (reason if own == node else f"{node} says: {reason}")
    assert numbers(pair) == [[], []]
    assert max(result["duration_s"] for result in results.values()) < two_nodes.profile["rendezvous_s"]


def test_a_missing_peer_costs_the_rendezvous_once(two_nodes):
    two_nodes.profile["rendezvous_s"] = 6
    started = time.monotonic()
    two_nodes.start("spark1")
    (pair,) = two_nodes.results("spark1")["spark1"]["pairs"]
    assert time.monotonic() - started < 30
    assert (pair["failure"]["stage"], pair["failure"]["cause"]) == ("rendezvous", "environment")
    assert "no word from spark2" in pair["failure"]["message"]


def test_terminated_it_ends_both_tools_of_both_ends(two_nodes):
    hanging = {port(two_nodes, half): "hang" for half in "ab"}
    two_nodes.profile["command_timeout_s"] = 60
    two_nodes.misbehave({"spark1": hanging})
    two_nodes.start("spark1", "spark2")
    deadline = time.monotonic() + 80
    while len(tools(two_nodes)) < 4 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(tools(two_nodes)) == 4  # two clients that hang and their servers
    for process in two_nodes.processes.values():
        process.send_signal(signal.SIGTERM)
    codes = [process.wait(timeout=30) for process in two_nodes.processes.values()]
    assert codes == [128 + signal.SIGTERM] * 2
    deadline = time.monotonic() + 5
    while two_nodes.leftovers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert two_nodes.leftovers() == []


def tools(cluster) -> set[int]:
    """The processes of the pair's first turn, without those that only limit their time."""
    wanted = {str(way.port(0)).encode() for way in pair_slot(cluster).ways}
    found = set()
    for pid in cluster.leftovers():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted & set(words) and b"timeout" not in words[0]:
            found.add(pid)
    return found
