"""The three questions for GPU, image, pairs and soak: pass when it should, fail when it should, stay unknown."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.checks import CHECKS
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.judge import judge
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.outcome import BLOCKED, NOT_ASKED
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.records import title
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.module_utils.verdict.nccl_cases import (
    ALL,
    Case,
    Spoil,
    ask,
    both,
    check_case,
    failure,
    leaves,
    log,
    mesh_log,
    of_rank,
    rank,
    speed,
)

MINE = ("N10", "N15", "N16", "N17", "P06", "C06", "C08")
NAMES = ("spark1", "spark2", "spark3")


def gpu(**values: t.Any) -> Spoil:
    return lambda reading: rank(reading)["gpu_load"].update(values)


def inside(**values: t.Any) -> Spoil:
    return lambda reading: rank(reading)["inside"].update(values)


def conf(**settings: str) -> Spoil:
    return inside(nccl_files=[{"path": "/etc/nccl.conf", "settings": settings}])


def pair_speed(one: str, other: str, *values: float) -> Spoil:
    """What the repeats of two ranks reached, as both of them saw it."""

    def spoil(reading: Reading) -> None:
        for node, peer in ((one, other), (other, one)):
            (pair,) = (pair for pair in rank(reading, node)["pairs"] if pair["peer"] == peer)
            counted = [run for run in pair["runs"] if not run["warmup"]]
            for run, value in zip(counted, values * len(counted), strict=False):
                run["busbw_gbs"] = value

    return spoil


def every_pair(*values: float) -> Spoil:
    return both(*(pair_speed(*pair, *values) for pair in (NAMES[:2], NAMES[1:], NAMES[::2])))


def pairs_over(**channels: int) -> Spoil:
    return of_rank(pair_transports={name.replace("_", "/"): count for name, count in channels.items()})


def no_pair(reading: Reading) -> None:
    rank(reading)["pairs"].pop(0)


def fast_latency(us: float) -> Spoil:
    def spoil(reading: Reading) -> None:
        for measurement in reading.measurements.values():
            for direction in measurement["directions"]:
                t.cast("dict[str, t.Any]", direction["latency"])["typical_us"] = us

    return spoil


def mesh(reading: Reading) -> None:
    mesh_log(reading)
    for measurement in (reading.nccl or {}).values():
        measurement["pair_transports"] = {"NET/Mesh": 8}


def soak(**values: t.Any) -> Spoil:
    return lambda reading: rank(reading)["soak"].update(values)


def sample(**values: t.Any) -> Spoil:
    return lambda reading: rank(reading)["soak"]["samples"][7].update(values)


def samples(**values: t.Any) -> Spoil:
    return lambda reading: [each.update(values) for each in rank(reading)["soak"]["samples"]]


def grown(device: str = "rocep1s0f0", **counters: t.Any) -> Spoil:
    return lambda reading: rank(reading)["soak"]["counter_deltas"][device].update(counters)


def without_counter(name: str) -> Spoil:
    return lambda reading: rank(reading)["soak"]["counter_deltas"]["rocep1s0f0"].pop(name)


CASES = [
    # Numbers of health-checks N10 and of spark-facts 5.
    Case("healthy", "N10", gpu(), "pass", "2411 MHz and 57 W under load"),
    Case("just enough", "N10", gpu(clock_mhz=2000.0), "pass"),
    Case("slow", "N10", gpu(clock_mhz=1690.0), "degraded", "1690 MHz and 57 W"),
    Case("wedged", "N10", gpu(clock_mhz=611.0, power_w=11.8), "fail", "611 MHz and 12 W", "usb-pd-wedge"),
    Case("wedged, 850", "N10", gpu(clock_mhz=850.0, power_w=15.0), "fail", "stuck", "usb-pd-wedge"),
    Case("hot", "N10", gpu(clock_mhz=1100.0, power_w=78.0), "degraded", "not for want of power"),
    Case("at the edge of power", "N10", gpu(clock_mhz=1399.0, power_w=40.0), "degraded", "not for want"),
    Case("fast, power [N/A]", "N10", gpu(power_w=None), "pass", "2411 MHz under load"),
    Case("slow, power [N/A]", "N10", gpu(clock_mhz=611.0, power_w=None), "unknown", "does not tell the power"),
    Case("clock [N/A]", "N10", gpu(clock_mhz=None), "unknown", "does not tell the clock"),
    Case("utilisation [N/A]", "N10", gpu(utilisation=None), "pass"),
    # Idle clocks prove nothing, in either direction.
    Case("idle", "N10", gpu(utilisation=3.0, clock_mhz=208.0, power_w=4.0), "unknown", "at 3 %"),
    Case("few samples", "N10", gpu(samples=4), "unknown", "only 4 samples"),
    Case("no sample", "N10", gpu(samples=0, clock_mhz=None, problem="it ended with 9"), "unknown", "it ended with 9"),
    Case("no memory", "N10", gpu(samples=0, problem="only 7 MiB of memory"), "unknown", "only 7 MiB"),
    Case("no word why", "N10", gpu(samples=0), "unknown", "nobody looked"),
    Case("never loaded", "N10", of_rank(gpu_load=None), "unknown", "gpu_load is not known"),
    Case("died in it", "N10", of_rank(gpu_load=None, failure=failure("software")), "unknown", "init: it broke"),
    Case("garbled", "N10", gpu(clock_mhz="2411"), "unknown"),
    Case("one node", "N10", gpu(clock_mhz=611.0, power_w=11.8), "fail", signature="usb-pd-wedge", topology="single"),
    #
    Case("unlimited", "N15", inside(), "pass", "unlimited"),
    Case("capped", "N15", inside(memlock_kib=64 << 20), "degraded", "64 GiB in vllm:1, expected unlimited"),
    Case("as docker leaves it", "N15", inside(memlock_kib=8192), "fail", "0.00781 GiB"),
    Case("no word", "N15", inside(memlock_kib=None), "unknown", "memlock_kib is not known"),
    Case("died before", "N15", of_rank(inside=None), "unknown", "is not known"),
    #
    Case("all", "N16", inside(), "pass", "4 devices"),
    Case("no --device", "N16", inside(uverbs=[]), "fail", "vllm:1: 0 uverbs files for 4 halves", "no-verbs"),
    Case("some", "N16", inside(uverbs=["uverbs0", "uverbs1"]), "fail", "2 uverbs files for 4", "no-verbs"),
    Case("one cable", "N16", inside(uverbs=["uverbs0", "uverbs1"]), "pass", "2 devices", topology="direct"),
    Case("no libibverbs", "N16", inside(verbs_library=False), "fail", "libibverbs does not load", "no-verbs"),
    Case("no word", "N16", inside(verbs_library=None), "unknown", "verbs_library is not known"),
    Case("no list", "N16", inside(uverbs="uverbs0"), "unknown"),
    #
    Case("of nvidia/cuda", "N17", inside(), "pass"),
    Case("file against", "N17", conf(NCCL_IB_DISABLE="1"), "fail", "NCCL_IB_DISABLE=1 in /etc/nccl.conf", "nccl-residue"),
    Case("environment against", "N17", inside(environment={"NCCL_NET": "Socket"}), "fail", "the environment", "nccl-residue"),
    Case("pinned GID", "N17", inside(environment={"NCCL_IB_GID_INDEX": "3"}), "fail", "GID_INDEX=3", "nccl-residue"),
    Case("against the plan", "N17", conf(NCCL_IB_MERGE_NICS="1"), "fail", "MERGE_NICS=1", "nccl-residue"),
    Case("as planned", "N17", conf(NCCL_IB_MERGE_NICS="0"), "pass"),
    Case("nobody's key", "N17", conf(NCCL_ALGO="Ring"), "degraded", "nobody planned NCCL_ALGO in /etc/nccl.conf"),
    Case("files not read", "N17", inside(nccl_files=None), "unknown", "nccl_files is not known"),
    #
    Case("healthy", "P06", pair_speed(*NAMES[:2], 9.2), "pass", "9.2 GB/s"),
    Case("two devices of four", "P06", pair_speed(*NAMES[:2], 4.6), "fail", "looks like one half", "one-half"),
    Case("throttled", "P06", pair_speed(*NAMES[:2], 0.69), "fail", "a throttled NIC", "cx7-init-clamp"),
    Case(
        "as slow, with slow latency", "P06", both(pair_speed(*NAMES[:2], 0.69), fast_latency(9.0)), "fail", "0.69 GB/s"
    ),
    Case("slow, nobody knows why", "P06", pair_speed(*NAMES[:2], 3.0), "fail", "3 GB/s, expected at least 8.3"),
    Case("low", "P06", pair_speed(*NAMES[:2], 7.0), "degraded", "7 GB/s"),
    Case("the median decides", "P06", pair_speed(*NAMES[:2], 9.4, 8.4, 9.5), "pass", "9.4 GB/s"),
    Case("runs differ", "P06", pair_speed(*NAMES[:2], 9.4, 6.0, 9.5), "unknown", "differ by 37%"),
    Case("differ, all too low", "P06", pair_speed(*NAMES[:2], 1.0, 2.0, 3.0), "fail", "2 GB/s"),
    Case("TCP", "P06", pairs_over(NET_Socket=8), "fail", "goes over NET/Socket", "tcp"),
    Case("shared memory", "P06", pairs_over(NET_IB=6, SHM=2), "fail", "goes over SHM", "other-transport"),
    Case("mesh plugin", "P06", mesh, "pass", "9.4 GB/s"),
    Case("no channel", "P06", pairs_over(), "unknown", "spark1 names no channel of a pair"),
    Case("not run", "P06", no_pair, "unknown", "fewer than 3 runs at 64 MiB: spark1 0"),
    Case("another harness", "P06", of_rank(harness="nccl_tests"), "unknown"),
    Case("not told", "P06", of_rank(pairs=None), "unknown", "pairs is not known"),
    Case("of two", "P06", log(), "pass", "9.4 GB/s", topology="direct"),
    Case("of two, slow", "P06", speed(3.0), "fail", "3 GB/s", topology="direct"),
    Case("of two, throttled", "P06", speed(0.69), "fail", "throttled", "cx7-init-clamp", topology="direct"),
    #
    # 5.8 beside 9.2-9.7 is healthy, 0.49 beside 0.68-0.71 throttled, 3.25 beside 4.6 half dead (health-checks 2.4).
    Case("healthy", "C06", every_pair(9.7), "pass", "0.60 of the slowest pair"),
    Case("all throttled", "C06", both(speed(0.49), every_pair(0.71)), "pass", "0.69"),
    Case("slow among three", "C06", speed(3.0), "fail", "0.32 of the slowest pair, expected at least 0.48"),
    Case("two", "C06", speed(1.0), "pass", "the only pair", topology="direct"),
    Case("a pair is missing", "C06", no_pair, "unknown", "not every pair"),
    Case("no run", "C06", of_rank(runs=[]), "unknown", "not every pair"),
    Case("not told", "C06", of_rank(pairs=None), "unknown", "pairs is not known"),
    Case("another harness", "C06", of_rank(harness="nccl_tests"), "unknown", "is not by the harness torch"),
    #
    Case("clean", "C08", soak(), "pass", "clean for 10 min"),
    Case("errors", "C08", grown(packet_seq_err=2), "fail", "rocep1s0f0 packet_seq_err +2", "errors-under-load"),
    Case("link went", "C08", grown(link_downed=1), "fail", "link_downed +1", "errors-under-load"),
    # At any teardown of a queue pair, and on good cables (health-checks 2.2, L08).
    Case("no error", "C08", grown(req_cqe_flush_error=32, rx_corrected_bits_phy=4671), "pass"),
    Case("addresses", "C08", log(void=True), "fail", "GID table changed", "gid-table-changed"),
    Case("wrong data", "C08", soak(wrong=3), "fail", "3 wrong elements", "wrong-data"),
    Case("starved", "C08", sample(utilisation=96.0, power_w=13.0), "fail", "on 13 W, in 1 of 120", "usb-pd-wedge"),
    Case("idle for a moment", "C08", sample(utilisation=40.0, power_w=13.0), "pass"),
    Case("at the edge", "C08", sample(utilisation=97.0, power_w=25.0), "pass"),
    Case("one is [N/A]", "C08", sample(power_w=None), "pass"),
    Case("all [N/A]", "C08", samples(power_w=None), "unknown", "of 0 moments only"),
    Case("nobody looked", "C08", soak(samples=[], problem="it ended with 9"), "unknown", "it ended with 9"),
    Case("cut short", "C08", soak(seconds=301.0), "unknown", "301 s of 600 were done"),
    Case("no round", "C08", soak(rounds=0), "unknown"),
    Case("not counted", "C08", soak(counter_deltas={}), "unknown", "not counted: rocep1s0f0 packet_seq_err"),
    Case("one not counted", "C08", without_counter("out_of_sequence"), "unknown", "rocep1s0f0 out_of_sequence"),
    Case("not done", "C08", of_rank(soak=None), "unknown", "soak is not known"),
    Case("died in it", "C08", of_rank(soak=None, failure=failure("environment")), "unknown", "init: it broke"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}/{case.id}")
def test_check(case: Case) -> None:
    check_case(case, builders.soaked(builders.healthy_reading(builders.plan(case.topology))))


def test_the_table_asks_every_check_whether_it_can_pass_refuse_and_stay_unknown() -> None:
    for check_id in MINE:
        assert {case.want for case in CASES if case.check == check_id} >= {"pass", "fail", "unknown"}, check_id


@pytest.mark.parametrize("check_id", MINE)
def test_without_a_measurement_of_a_node_it_is_unknown(check_id: str) -> None:
    reading = builders.soaked(builders.healthy_reading(builders.plan()))
    t.cast("dict[str, t.Any]", reading.nccl).pop("spark1")
    key = {"collective": ALL, "rank_pair": "spark1+spark2"}.get(CHECKS[check_id].scope, "spark1")
    outcome = ask(reading, check_id, key)
    assert (outcome.name, outcome.message) == ("unknown", "spark1 sent no NCCL measurement")


def test_four_ranks_have_no_ratio_yet() -> None:
    reading = builders.healthy_reading(builders.plan("switch", 4))
    outcome = ask(reading, "C06", "spark1+spark2+spark3+spark4")
    assert (outcome.name, outcome.message) == ("unknown", "the profile has no ratio for 4 ranks")


def test_a_profile_without_a_number_for_pairs_judges_none() -> None:
    reading = builders.healthy_reading(builders.plan())
    del reading.profile["thresholds"]["P06"]["torch_pair"]
    assert "no threshold for two ranks" in ask(reading, "P06", "spark1+spark2").message


@pytest.mark.parametrize("check_id", ["N10", "N15", "N16", "N17", "P06", "C08"])
def test_what_is_missing_never_admits(check_id: str) -> None:
    for need in CHECKS[check_id].needs:
        for garbage in (None, "garbage", 7, {"garbage": []}, ["garbage"]):
            reading = builders.soaked(builders.healthy_reading(builders.plan()))
            at, parts = rank(reading), need.split(".")[1:]
            for part in parts[:-1]:
                at = at[part]
            at[parts[-1]] = garbage
            if garbage == 7 and parts[-1] == "memlock_kib":
                continue  # a number, and too small
            assert decide(reading, "run")["verdict"]["outcome"] == "refuse", (need, garbage)


# --- whether it is asked ---


def test_a_soak_that_nobody_asked_for_refuses_nothing_and_the_record_says_so() -> None:
    reading = builders.healthy_reading(builders.plan())
    evidence = decide(reading, "run")
    assert evidence["verdict"]["outcome"] == "admit"
    mine = [record for record in evidence["records"] if record["check"] == "C08"]
    assert {(r["outcome"], r["required"], r["signature"], r["message"]) for r in mine} == {
        ("unknown", False, NOT_ASKED, "no soak was asked for")
    }


def test_a_soak_that_was_asked_for_and_not_made_refuses() -> None:
    reading = builders.soaked(builders.healthy_reading(builders.plan()))
    assert decide(reading, "run")["verdict"]["outcome"] == "admit"
    for node in NAMES:
        rank(reading, node).update(soak=None)
    assert decide(reading, "run")["verdict"]["blocked_by"] == [f"C08 {node}" for node in NAMES]


def test_a_soak_without_a_runtime_to_make_it_in_refuses() -> None:
    reading = builders.soaked(builders.healthy_reading(builders.plan(), nccl=None))
    verdict = decide(reading, "run")["verdict"]
    assert verdict["outcome"] == "refuse"
    assert verdict["blocked_by"] == [f"C08 {node}" for node in NAMES]


# --- one cause, one finding ---


def image_without_devices(reading: Reading) -> None:
    for node in NAMES:
        rank(reading, node)["inside"].update(uverbs=[], verbs_library=False)
        rank(reading, node)["log"].update(transports={"NET/Socket": 8}, networks=["Socket"])
        rank(reading, node).update(pair_transports={"NET/Socket": 8})
    both(speed(0.9), every_pair(0.9))(reading)


def too_little_memlock(reading: Reading) -> None:
    inside(memlock_kib=64)(reading)
    for node in NAMES:
        rank(reading, node)["log"].update(transports={}, networks=[], queue_pairs=[], connections=[])
        rank(reading, node).update(runs=[], pairs=[], failure=failure("configuration"))


def slow_node(reading: Reading) -> None:
    """D1 of health-checks 5.1: 0.69, 0.71 and 4.6 GB/s."""
    both(pair_speed("spark1", "spark2", 0.71), pair_speed("spark1", "spark3", 0.69), speed(0.49))(reading)


@pytest.mark.parametrize(
    ("spoil", "blocked_by"),
    [
        pytest.param(image_without_devices, ["C02 spark1", "C02 spark2", "C02 spark3"], id="image without devices"),
        pytest.param(too_little_memlock, ["N15 spark1"], id="memlock"),
        pytest.param(both(gpu(clock_mhz=611.0, power_w=9.0), speed(2.0)), ["N10 spark1"], id="wedge"),
        pytest.param(
            both(conf(NCCL_NET="Socket"), log(networks=["Socket"], transports={"NET/Socket": 8})),
            ["N17 spark1"],
            id="image that chooses TCP",
        ),
        pytest.param(slow_node, ["P06 spark1+spark2", "P06 spark1+spark3"], id="a slow node"),
        pytest.param(speed(3.0), ["C04"], id="slow among three"),
    ],
)
def test_one_cause_is_one_finding(spoil: Spoil, blocked_by: list[str]) -> None:
    reading = builders.healthy_reading(builders.plan())
    spoil(reading)
    assert decide(reading, "run")["verdict"]["blocked_by"] == blocked_by


def test_tcp_says_what_the_image_lacks() -> None:
    reading = builders.healthy_reading(builders.plan())
    image_without_devices(reading)
    records = {title(record): record for record in judge(reading, "run")}
    assert records["C02 spark1"]["message"] == "goes over TCP: 0 uverbs files for 4 halves where it runs"
    assert (records["N16 spark1"]["outcome"], records["N16 spark1"]["signature"]) == ("skipped", BLOCKED)
    assert records["N16 spark1"]["measured"]["uverbs"] == []


@pytest.mark.parametrize(
    ("spoil", "suspects", "pools"),
    [
        pytest.param(slow_node, ["node spark1"], [["spark2", "spark3"]], id="one with every peer"),
        pytest.param(
            pair_speed("spark1", "spark2", 3.0),
            ["pair spark1+spark2"],
            [["spark1", "spark3"], ["spark2", "spark3"]],
            id="between two",
        ),
        pytest.param(every_pair(3.0), [], [], id="all alike"),
    ],
)
def test_a_slow_pair_is_lost_and_no_node(spoil: Spoil, suspects: list[str], pools: list[list[str]]) -> None:
    reading = builders.healthy_reading(builders.plan())
    spoil(reading)
    verdict = decide(reading, "run")["verdict"]
    assert verdict["diagnosis"]["suspects"] == suspects
    assert verdict["diagnosis"]["failing_paths"] == []
    assert verdict["diagnosis"]["next_action"]
    assert verdict["valid_pools"] == [*pools, ["spark1"], ["spark2"], ["spark3"]]


def test_a_wedged_gpu_serves_nothing_not_even_alone() -> None:
    reading = builders.healthy_reading(builders.plan())
    gpu(clock_mhz=611.0, power_w=9.0)(reading)
    verdict = decide(reading, "run")["verdict"]
    assert verdict["diagnosis"]["suspects"] == ["node spark1"]
    assert "unplug its power brick" in verdict["diagnosis"]["next_action"]
    assert verdict["valid_pools"] == [["spark2", "spark3"], ["spark2"], ["spark3"]]


def test_every_leaf_of_pairs_and_soak_matters_or_is_known_not_to() -> None:
    harmless = {
        "iterations", "seconds", "algbw_gbs",  # of a run: its bandwidth is judged
        "warmup", "collective", "size_bytes", "busbw_gbs",  # of a warm-up
        "clock_mhz", "pstate", "utilisation", "power_w",  # of one sample among many
        "problem", "rx_crc_errors_phy",  # judged where the driver has it
    }  # fmt: skip
    healthy = builders.soaked(builders.healthy_reading(builders.plan()), 60)
    silent = set()
    for part in ("pairs", "soak", "pair_transports"):
        for path in leaves(rank(healthy)[part]):
            reading = copy.deepcopy(healthy)
            at: t.Any = rank(reading)[part]
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = "garbage"
            if decide(reading, "run")["verdict"]["outcome"] == "admit":
                silent.add(next(key for key in reversed(path) if isinstance(key, str)))
    assert silent <= harmless
