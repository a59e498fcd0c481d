"""The three questions for what NCCL did: does a check pass when it should, fail when it should, and stay unknown?

Logs are those of tests/fixtures/nccl, numbers those of health-checks 2.4 and 3.6.
"""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.checks import CHECKS
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.judge import judge
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.outcome import NOT_ASKED
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import half_of, set_bandwidth
from ansible_collections.gb10.cluster.tests.unit.module_utils.verdict.nccl_cases import (
    ALL,
    MIB,
    Case,
    Spoil,
    ask,
    both,
    check_case,
    connection,
    failure,
    findings,
    leaves,
    library,
    log,
    mesh_log,
    mesh_plugin,
    moved,
    of_rank,
    override,
    rank,
    recorded,
    run_is_missing,
    speed,
    without_pairs,
)

NCCL = ("N14", "C02", "C03", "C04", "C05", "C11")

OLD, OTHER = library(version="2.28.9"), "/usr/lib/aarch64-linux-gnu/libnccl.so.2"
IMAGE_OF_28 = library(version="2.28.9", headers="2.28.9", subnet_aware_routing=False)

CASES = [
    Case("too old for a triangle", "N14", IMAGE_OF_28, "fail", "2.28.9 cannot route a triangle", "wrong-library"),
    Case("2.30.4", "N14", library(version="2.30.4", headers="2.30.4"), "fail", "2.30.7 can", "wrong-library"),
    Case("newer", "N14", library(version="2.31.2", headers="2.31.2"), "pass", "NCCL 2.31.2"),
    Case("old behind a switch", "N14", IMAGE_OF_28, "pass", "2.28.9", topology="switch"),
    Case("old with the mesh plugin", "N14", both(mesh_plugin, IMAGE_OF_28), "pass", "2.28.9"),
    Case("built without routing", "N14", library(subnet_aware_routing=False), "fail", "without", "wrong-library"),
    Case("routing garbled", "N14", library(subnet_aware_routing="yes"), "fail", "without", "wrong-library"),
    Case("routing unknown", "N14", library(subnet_aware_routing=None), "unknown", "is not known"),
    # The loader picked the system's 2.28.9 under 2.30.7 headers (colonel-otto).
    Case("old under new headers", "N14", OLD, "fail", "built with 2.30.7", "wrong-library", "switch"),
    Case("new over old headers", "N14", library(headers="2.28.9"), "fail", "built with 2.28.9", "wrong-library"),
    Case("two are mapped", "N14", library(others=[OTHER]), "fail", OTHER, "two-libraries"),
    Case("no word of a version", "N14", library(version="abc"), "unknown", "cannot be judged"),
    Case("linked into torch", "N14", library(path=None, version=None), "unknown", "version is not known"),
    Case("nothing mapped", "N14", of_rank(library=None, failure=failure("software")), "unknown", "init: it broke"),
    Case("busy", "N14", of_rank(skipped="a process uses the GPU"), "unknown", "a process uses the GPU"),
    Case("of another node", "N14", of_rank(node="spark2"), "unknown", "of another node or plan"),
    Case("of fewer ranks", "N14", of_rank(world_size=2), "unknown", "of another node or plan"),
    Case("of another profile", "N14", of_rank(profile="mine"), "unknown", "by another profile"),
    #
    Case("TCP", "C02", recorded("real-socket-rank0"), "fail", "goes over TCP", "tcp"),
    Case("TCP, no device", "C02", recorded("socket-rank0"), "fail", "goes over TCP", "tcp"),
    Case("one channel over TCP", "C02", log(transports={"NET/IB": 7, "NET/Socket": 1}), "fail", "TCP", "tcp"),
    Case("TCP in a folded log", "C02", log(folded=True, networks=["Socket"]), "fail", "TCP", "tcp"),
    Case("no device", "C02", recorded("real-no-device-rank0"), "fail", "no RDMA device", "no-rdma"),
    Case("shared memory", "C02", log(transports={"NET/IB": 6, "SHM": 2}), "fail", "over SHM", "other-transport"),
    Case("no network is named", "C02", log(networks=[]), "fail", "does not name", "other-transport"),
    Case("recorded triangle", "C02", recorded("triangle-rank0"), "pass", "IB on all 8 channels"),
    Case("mesh plugin", "C02", mesh_log, "pass", "Mesh on all 8 channels"),
    Case("mesh planned, IB used", "C02", mesh_plugin, "fail", "NET/IB", "other-transport"),
    Case("no channel", "C02", log(transports={}), "unknown", "names no channel"),
    Case(
        "no channel, with a reason",
        "C02",
        both(log(transports={}, findings=findings("wrong_neighbour")), of_rank(failure=failure("environment"))),
        "unknown",
        "(wrong neighbour; init: it broke)",
    ),
    Case("folded", "C02", log(folded=True), "unknown", "folded"),
    Case("void", "C02", log(void=True), "unknown", "addresses changed"),
    Case("no log", "C02", of_rank(log=None), "unknown", "log.networks is not known"),
    #
    Case("collapsed, recorded", "C03", recorded("collapsed-rank0"), "fail", "share one PCIe link", "collapsed-plane"),
    Case("an override across", "C03", override(True), "fail", "rocep1s0f0 for roceP2p1s0f0", "collapsed-plane"),
    Case("an override within", "C03", override(False), "pass"),
    Case("an override, who knows where", "C03", override(None), "pass"),
    Case("no queue pair", "C03", without_pairs("roceP2p1s0f0"), "fail", "p0 b (roceP2p1s0f0)", "dead-half"),
    Case("no bytes", "C03", moved(rocep1s0f1=0), "fail", "p1 a (rocep1s0f1)", "dead-half"),
    Case("recorded, elsewhere", "C03", recorded("triangle-rank0"), "fail", "192.168.100.1", "unplanned-address"),
    Case("no IPv4", "C03", connection(ipv4=None), "fail", "rocep1s0f0, which", "unplanned-address"),
    Case("another device", "C03", connection(device="mlx5_9"), "fail", "mlx5_9", "wrong-hca"),
    Case("small packets", "C03", connection(mtu_bytes=1024), "fail", "1024 bytes", "small-packets"),
    Case("a third", "C03", moved(roceP2p1s0f0=5 * 10**8, roceP2p1s0f1=5 * 10**8), "degraded", "expected 40%", "uneven-halves"),
    Case("a trickle", "C03", moved(roceP2p1s0f0=10**6, roceP2p1s0f1=10**6), "fail", "by half b", "uneven-halves"),
    Case("mesh plugin", "C03", mesh_log, "pass", "its share"),
    Case("mesh plugin, half dead", "C03", both(mesh_log, moved(rocep1s0f1=0)), "fail", "p1 a", "dead-half"),
    Case("direct", "C03", log(), "pass", "its share", topology="direct"),
    Case("nobody counted", "C03", moved(rocep1s0f0=None), "unknown", "nobody counted"),
    Case("no connection", "C03", log(connections=[]), "unknown", "are not known"),
    Case("no GID", "C03", connection(gid_index=None), "unknown", "are not known"),
    Case("nothing was sent", "C03", of_rank(tx_bytes={"rocep1s0f0": 0, "roceP2p1s0f0": 0}, rx_bytes={
        "rocep1s0f0": 9, "roceP2p1s0f0": 9}), "unknown", "bytes sent", topology="direct"),
    Case("folded", "C03", log(folded=True), "unknown", "proves nothing"),
    Case("void", "C03", log(void=True), "unknown", "proves nothing"),
    #
    Case("two devices of four", "C04", speed(3.25), "fail", "3.25 GB/s, expected at least 5.2"),
    Case("throttled", "C04", speed(0.49), "fail", "0.49 GB/s"),
    Case("low", "C04", speed(4.6), "degraded", "4.6 GB/s"),
    Case("the slowest rank decides", "C04", speed(3.25, node="spark2"), "fail", "3.25 GB/s"),
    Case("the median decides", "C04", speed(5.8, 5.3, 5.9), "pass", "5.8 GB/s"),
    Case("runs differ", "C04", speed(5.8, 4.1, 5.9), "unknown", "differ by 31%"),
    Case("differ, all too low", "C04", speed(1.0, 2.0, 3.0), "fail", "2 GB/s"),
    Case("two ranks", "C04", log(), "pass", "9.4 GB/s", topology="direct"),
    Case("two ranks, two of four", "C04", speed(4.6), "fail", "at least 8.3", topology="direct"),
    Case("a run is missing", "C04", run_is_missing, "unknown", "fewer than 3 runs at 64 MiB: spark1 2"),
    Case("another harness", "C04", of_rank(harness="nccl_tests"), "unknown"),
    #
    Case("wrong data", "C05", lambda r: rank(r)["runs"][0].update(wrong=3), "fail", "3 elements on spark1", "wrong-data"),
    Case("software", "C05", of_rank(failure=failure("software")), "fail", "spark1: init: it broke"),
    Case("lost a rank", "C05", of_rank(failure=failure("environment")), "unknown", "spark1: init: it broke"),
    Case(
        "lost a rank that broke",
        "C05",
        both(of_rank(failure=failure("environment")), lambda r: rank(r, "spark3").update(failure=failure("software"))),
        "fail",
        "spark3: init",
    ),
    Case("a run is missing", "C05", run_is_missing, "unknown", "some runs of spark1"),
    Case("no run", "C05", of_rank(runs=[]), "unknown", "some runs of spark1"),
    Case("failure is not what it should be", "C05", of_rank(failure="bad"), "unknown", "cannot be judged"),
    #
    # Both say the same version and are different binaries; only one of them hung (vllm #42354).
    Case("one differs", "C11", library(build_id="c0db9360"), "fail", "spark1 2.30.7 c0db9360", "different-libraries"),
    Case("one is not known", "C11", library(build_id=None), "unknown", "build_id is not known"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}/{case.id}")
def test_check(case: Case) -> None:
    check_case(case, builders.healthy_reading(builders.plan(case.topology)))


def test_the_table_asks_every_check_whether_it_can_refuse_and_stay_unknown() -> None:
    for check_id in NCCL:
        assert {case.want for case in CASES if case.check == check_id} >= {"fail", "unknown"}, check_id
        for node in ("spark1", "spark2"):
            reading = builders.healthy_reading(builders.plan())
            t.cast("dict[str, t.Any]", reading.nccl).pop(node)
            key = node if CHECKS[check_id].scope == "rank" else ALL
            assert ask(reading, check_id, key).message == f"{node} sent no NCCL measurement"


@pytest.mark.parametrize("topology", ["single", "direct", "triangle", "switch"])
def test_a_healthy_cluster_is_admitted(topology: str) -> None:
    verdict = decide(builders.healthy_reading(builders.plan(topology)), "run")["verdict"]
    assert (verdict["outcome"], verdict["blocked_by"]) == ("admit", [])


def test_four_ranks_need_a_number_of_their_own() -> None:
    reading = builders.healthy_reading(builders.plan("switch", 4))
    key = "spark1+spark2+spark3+spark4"
    outcome = ask(reading, "C04", key)
    assert outcome.message == "the profile has no threshold for 4 ranks with this harness"
    assert "C04.torch_4_ranks" in outcome.remedy[0]
    reading.profile["thresholds"]["C04"]["torch_4_ranks"] = {"min": 5, "source": "made up for this test"}
    assert ask(reading, "C04", key).name == "pass"


def test_a_larger_size_is_recorded_and_not_judged() -> None:
    reading = builders.healthy_reading(builders.plan())
    for measurement in (reading.nccl or {}).values():
        for run in measurement["runs"]:
            run["busbw_gbs"] = 0.1 if run["size_bytes"] > 64 * MIB else run["busbw_gbs"]
    outcome = ask(reading, "C04", ALL)
    assert (outcome.name, outcome.measured["others"]) == ("pass", {"1024 MiB": 0.1})


def test_a_mounted_library_is_named_by_its_build_id() -> None:
    reading = builders.healthy_reading(builders.plan())
    library(headers="2.28.9")(reading)
    mounted = {"values": ["a7f420a1c09e4f3d"], "source": "made up for this test"}
    reading.profile["thresholds"]["N14"]["mounted"] = mounted
    assert ask(reading, "N14", "spark1").name == "pass"
    mounted["values"] = ["another"]
    assert ask(reading, "N14", "spark1").signature == "wrong-library"


def test_a_library_that_is_too_old_has_three_ways_out() -> None:
    reading = builders.healthy_reading(builders.plan())
    IMAGE_OF_28(reading)
    ways_out = ask(reading, "N14", "spark1").remedy
    assert [word in sentence for word, sentence in zip(("image", "mount", "mesh_plugin"), ways_out, strict=True)]


# --- whether it is asked ---


def test_without_a_runtime_it_is_unknown_and_refuses_nothing() -> None:
    records = judge(builders.healthy_reading(builders.plan(), nccl=None), "run")
    mine = [record for record in records if record["check"] in NCCL]
    assert {(r["outcome"], r["required"], r["signature"]) for r in mine} == {("unknown", False, NOT_ASKED)}
    assert {record["message"] for record in mine} == {
        "NCCL was not measured: no image or virtual environment that will serve was named"
    }


def test_a_profile_that_requires_it_always_refuses_without() -> None:
    reading = builders.healthy_reading(builders.plan(), nccl=None)
    reading.profile["required"] += reading.profile.pop("required_with_nccl")
    reading.profile["required_with_nccl_tests"] = []
    verdict = decide(reading, "run")["verdict"]
    assert verdict["outcome"] == "refuse"
    assert {title.partition(" ")[0] for title in verdict["blocked_by"]} == {
        *("N10", "N14", "N15", "N16", "N17", "P06"),
        *NCCL,
    }


def test_with_a_runtime_and_no_answer_it_refuses() -> None:
    verdict = decide(builders.healthy_reading(builders.plan(), nccl={}), "run")["verdict"]
    assert verdict["outcome"] == "refuse"
    assert verdict["blocked_by"] == ["N14 spark1", "N14 spark2", "N14 spark3"]
    assert verdict["valid_pools"] == [["spark1"], ["spark2"], ["spark3"]]


# --- one cause, one finding ---


def busy(reading: Reading) -> None:
    """One node is busy; the others wait for it in vain."""
    reading.facts["spark1"]["gpu_processes"] = [{"pid": 7, "used_mib": 1}]
    rank(reading).update(skipped="a process uses the GPU", library=None, log=None, runs=[])
    for node in ("spark2", "spark3"):
        rank(reading, node).update(runs=[], failure=failure("environment"))
        rank(reading, node)["log"].update(transports={}, queue_pairs=[], connections=[])


def dead_path(reading: Reading) -> None:
    """A cable without carrier; NCCL does not come up."""
    half_of(reading, "spark1", "p0", "a")["carrier"] = False
    for node in reading.plan["nodes"]:
        rank(reading, node).update(runs=[], failure=failure("environment"))


@pytest.mark.parametrize(
    ("spoil", "blocked_by"),
    [
        pytest.param(busy, ["N09 spark1"], id="busy"),
        pytest.param(dead_path, ["L01 spark1:p0:a"], id="dead path"),
        pytest.param(both(IMAGE_OF_28, recorded("collapsed-rank0"), speed(3.0)), ["N14 spark1"], id="wrong library"),
        pytest.param(both(recorded("real-socket-rank0"), speed(2.0)), ["C02 spark1"], id="TCP"),
        pytest.param(both(without_pairs("roceP2p1s0f0"), speed(3.0)), ["C03 spark1"], id="dead half"),
        pytest.param(
            both(recorded("miscabled-rank0"), of_rank(runs=[], failure=failure("software"))), ["C05"], id="init"
        ),
        pytest.param(library(build_id="c0db9360"), ["C11"], id="two builds"),
        pytest.param(speed(3.25), ["C04"], id="slow, and nobody knows why"),
    ],
)
def test_one_cause_is_one_finding(spoil: Spoil, blocked_by: list[str]) -> None:
    reading = builders.healthy_reading(builders.plan())
    spoil(reading)
    assert decide(reading, "run")["verdict"]["blocked_by"] == blocked_by


def test_a_throttled_nic_is_not_blamed_on_nccl() -> None:
    reading = builders.healthy_reading(builders.plan())
    for path in reading.plan["paths"]:
        if "spark3" in path["id"]:
            set_bandwidth(reading, path["id"], 13.3)
    speed(0.49)(reading)
    verdict = decide(reading, "run")["verdict"]
    assert {title.partition(" ")[0] for title in verdict["blocked_by"]} == {"P02"}
    assert verdict["valid_pools"][0] == ["spark1", "spark2"]


def test_no_finding_of_nccl_accuses_a_cable() -> None:
    for case in CASES:
        if case.want in ("fail", "degraded") and case.topology == "triangle":
            reading = builders.healthy_reading(builders.plan())
            case.spoil(reading)
            diagnosis = decide(reading, "run")["verdict"]["diagnosis"]
            assert diagnosis["failing_paths"] == [], case.id
            assert not any("link" in name or "port" in name for name in diagnosis["suspects"]), case.id
            assert diagnosis["next_action"], case.id


def test_every_leaf_of_a_rank_matters_or_is_known_not_to() -> None:
    """Garble each leaf of one rank: either it refuses, or it is on this list with a reason."""
    harmless = {
        "schema",
        "torch", "kind", "image", "image_id", "python", "duration_s", "sha256",  # evidence for a reader
        "size_bytes", "path",  # of the library; the size of a run is compared
        "subnet_aware_routing",  # asked on a triangle
        "iterations", "seconds", "algbw_gbs", "warmup",  # of all_reduce runs: their data are judged, not their speed
        "collective",  # of a warm-up
        "busbw_gbs",  # of a warm-up or another size
        "version",  # of the log: the library says it by itself
        "init_complete", "plugins", "external_plugins", "hcas", "merged_devices", "name", "address", "env", "lines",
        "port", "sender", "receiver", "undirected",  # where a queue pair is, it carries
        "soak",  # nobody asked for it
        "problem",  # what there is no number for says so by itself
        "uverbs", "NCCL_VERSION",  # counted; harmless by its name
    }  # fmt: skip
    healthy = builders.healthy_reading(builders.plan("direct"))
    silent = set()
    for path in leaves(rank(healthy)):
        reading = copy.deepcopy(healthy)
        at: t.Any = rank(reading)
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = "garbage"
        if decide(reading, "run")["verdict"]["outcome"] == "admit":
            silent.add(next(part for part in reversed(path) if isinstance(part, str)))
    assert silent <= harmless
