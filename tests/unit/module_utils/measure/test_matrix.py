"""Whole runs of the probe: one process for each node, real sockets on loopback, fake perftest commands."""

from __future__ import annotations

import signal
import time

import pytest
from ansible_collections.gb10.cluster.tests.unit.module_utils.measure.conftest import FIXTURES

NODES = ("spark1", "spark2", "spark3")


def directions(results: dict[str, dict]) -> dict[tuple[str, str], dict]:
    return {(entry["path"], entry["from_node"]): entry for result in results.values() for entry in result["directions"]}


def served(results: dict[str, dict]) -> dict[tuple[str, str], dict]:
    return {(entry["path"], entry["from_node"]): entry for result in results.values() for entry in result["served"]}


def failures(results: dict[str, dict]) -> dict[tuple[str, str], str]:
    return {key: entry["failure"]["message"] for key, entry in directions(results).items() if entry["failure"]}


def test_a_healthy_triangle_yields_the_whole_matrix(full_cluster):
    cluster = full_cluster
    results = cluster.run()
    measured = directions(results)
    assert len(measured) == 12
    assert failures(results) == {}
    for (path, sender), entry in measured.items():
        assert [run["warmup"] for run in entry["bandwidth"]] == [True, False, False, False]
        ends = {end["node"]: end["ipv4"] for plan in cluster.paths if plan["id"] == path for end in plan["ends"]}
        # The time of the tools, for what the matrix costs beside them.
        assert 0 < sum(run["duration_s"] for run in (*entry["bandwidth"], entry["latency"])) <= entry["duration_s"]
        for run in entry["bandwidth"]:
            assert (run["gbps"], run["mtu"], run["qps"], run["iterations"], run["agrees"]) == (
                111.86,
                4096,
                4,
                1000,
                True,
            )
            assert (run["local_ipv4"], run["remote_ipv4"]) == (ends[sender], ends[entry["to_node"]])
        assert entry["latency"]["typical_us"] == 1.62
        assert entry["latency"]["p99_us"] == 1.81
    assert all(entry["repeated"] == [] for entry in measured.values())
    assert all(result["tool_versions"] == {"perftest": "6.24"} for result in results.values())

    # P05: bytes are counted on every device of both ends, those of the latency test are not.
    sent = measured["spark1:p0:b-spark2:p1:b", "spark1"]["tx_bytes"]
    received = served(results)["spark1:p0:b-spark2:p1:b", "spark1"]["rx_bytes"]
    volume = 4 * 1000 * 16 * 4096
    assert sent == {"rocep1s0f0": 0, "roceP2p1s0f0": volume, "rocep1s0f1": 0, "roceP2p1s0f1": 0}
    assert received == {"rocep1s0f0": 0, "roceP2p1s0f0": 0, "rocep1s0f1": 0, "roceP2p1s0f1": volume}
    assert cluster.leftovers() == []


def test_the_command_uses_the_gid_of_the_planned_address_and_binds_to_it(cluster):
    measured = directions(cluster.run())
    argv = measured["spark1:p0:a-spark2:p1:a", "spark1"]["bandwidth"][0]["argv"]
    assert argv[argv.index("-x") + 1] == "2"  # index 0 is link-local, index 1 is RoCE v1
    assert f"--bind_source_ip={cluster.paths[0]['ends'][0]['ipv4']}" in argv
    assert argv[-1] == cluster.paths[0]["ends"][1]["ipv4"]


def test_without_a_path_mtu_bytes_are_unknown_and_never_zero(cluster):
    cluster.command("ibv_devinfo", "exit 1")
    sent = directions(cluster.run())["spark1:p0:a-spark2:p1:a", "spark1"]["tx_bytes"]
    assert set(sent.values()) == {None}


def test_only_error_counters_that_exist_are_reported(cluster):
    deltas = cluster.run()["spark1"]["counter_deltas"]
    assert set(deltas) == {"rocep1s0f0", "rocep1s0f1"}
    assert deltas["rocep1s0f0"] == {"completer_retry_err": 0, "out_of_seq_request": 0}


def test_a_missing_peer_costs_the_rendezvous_and_leaves_the_other_pair_measured(cluster):
    cluster.profile["rendezvous_s"] = 8
    started = time.monotonic()
    cluster.start("spark1", "spark2")
    results = cluster.results()
    assert time.monotonic() - started < 40
    measured = directions(results)
    assert measured["spark1:p0:a-spark2:p1:a", "spark1"]["failure"] is None
    lost = measured["spark3:p0:a-spark1:p1:a", "spark1"]
    assert lost["failure"]["stage"] == "rendezvous"
    assert lost["failure"]["cause"] == "environment"
    assert "no word from spark3" in lost["failure"]["message"]
    assert lost["bandwidth"] == []
    assert lost["latency"] is None


def test_a_node_killed_in_the_middle_costs_seconds_and_leaves_nothing(cluster):
    cluster.profile["command_timeout_s"] = 5
    cluster.silence_s = 3.0
    cluster.start(*NODES, seconds=1.0)
    time.sleep(2.5)
    cluster.processes["spark3"].send_signal(signal.SIGKILL)
    started = time.monotonic()
    results = cluster.results("spark1", "spark2", timeout=60)
    assert time.monotonic() - started < 40
    assert all("spark3" in path for path, _ in failures(results))
    assert failures(results)
    assert {path for path, _ in directions(results) if "spark1" in path and "spark2" in path}
    assert all(entry["failure"] is None for (path, _), entry in directions(results).items() if "spark3" not in path)


def settled(cluster, count: int, patience_s: float) -> bool:
    """Whether at least so many processes are there and stay for a second: while probes meet, short-lived ones come and go."""
    deadline = time.monotonic() + patience_s
    before: set[int] = set()
    while time.monotonic() < deadline:
        now = set(cluster.leftovers())
        if len(now) >= count and now == before:
            return True
        before = now
        time.sleep(1)
    return False


def test_terminated_it_ends_what_it_started(cluster):
    cluster.misbehave({node: {"rocep1s0f0": "hang"} for node in NODES})
    cluster.profile["command_timeout_s"] = 30
    cluster.start(*NODES)
    assert settled(cluster, 5, patience_s=80)  # three probes, a client and a server that hang
    for process in cluster.processes.values():
        process.send_signal(signal.SIGTERM)
    codes = [process.wait(timeout=30) for process in cluster.processes.values()]
    assert codes == [128 + signal.SIGTERM] * 3
    deadline = time.monotonic() + 5
    while cluster.leftovers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cluster.leftovers() == []


@pytest.mark.parametrize(
    ("how", "stage", "cause", "says"),
    [
        ("hang", "latency", "instrument", "no result within 3 s"),
        ("garbage", "latency", "instrument", "0 tables"),
        ("disagree", "latency", "instrument", "one thing as text and another as JSON"),
        ("no route", "latency", "environment", "takes no connection"),
        ("retry exceeded", "latency", "hardware", "no acknowledgement"),
    ],
)
def test_a_tool_that_fails_fails_its_direction_only(cluster, how, stage, cause, says):
    if how == "hang":
        cluster.profile["command_timeout_s"] = 3
    cluster.misbehave({"spark1": {"rocep1s0f0": how}})
    results = cluster.run()
    assert list(failures(results)) == [("spark1:p0:a-spark2:p1:a", "spark1")]
    failure = directions(results)["spark1:p0:a-spark2:p1:a", "spark1"]["failure"]
    assert (failure["stage"], failure["cause"]) == (stage, cause)
    assert says in failure["message"]
    assert len(failure["raw_sha256"]) == 64
    assert failure["argv"][0] == "ib_write_lat"
    assert cluster.leftovers() == []


def test_a_server_that_fails_is_told_to_the_client_at_once(cluster):
    cluster.misbehave({"spark2": {"serve:rocep1s0f1": "fail"}})
    results = cluster.run()
    key = ("spark1:p0:a-spark2:p1:a", "spark1")
    assert list(failures(results)) == [key]
    assert "spark2 has given up" in failures(results)[key]
    assert "not free here" in served(results)[key]["failure"]["message"]


def test_zero_bandwidth_is_a_measurement_not_a_failure(cluster):
    cluster.misbehave({"spark1": {"rocep1s0f0": "zero"}})
    results = cluster.run()
    assert failures(results) == {}
    runs = directions(results)["spark1:p0:a-spark2:p1:a", "spark1"]["bandwidth"]
    assert {(run["gbps"], run["rc"], run["agrees"]) for run in runs} == {(0.0, 0, True)}


def test_a_run_whose_clock_failed_is_done_again(cluster):
    cluster.misbehave({"spark1": {"rocep1s0f0": "clock 2"}})
    results = cluster.run()
    assert failures(results) == {}
    key = ("spark1:p0:a-spark2:p1:a", "spark1")
    assert [failure["cause"] for failure in directions(results)[key]["repeated"]] == ["instrument", "instrument"]
    assert "could not measure its clock" in directions(results)[key]["repeated"][0]["message"]
    assert [run["gbps"] for run in directions(results)[key]["bandwidth"]] == [111.86]
    assert served(results)[key]["rcs"] == [0, 0, 0, 0]


def test_a_clock_that_always_fails_ends_after_some_attempts(cluster):
    cluster.misbehave({"spark1": {"rocep1s0f0": "clock 99"}})
    results = cluster.run()
    key = ("spark1:p0:a-spark2:p1:a", "spark1")
    assert list(failures(results)) == [key]
    entry = directions(results)[key]
    assert (entry["failure"]["stage"], entry["failure"]["cause"], len(entry["repeated"])) == (
        "latency",
        "instrument",
        3,
    )


def test_without_json_nothing_agrees_or_disagrees(cluster):
    cluster.misbehave({"spark1": {"rocep1s0f0": "no json"}})
    results = cluster.run()
    assert failures(results) == {}
    runs = directions(results)["spark1:p0:a-spark2:p1:a", "spark1"]["bandwidth"]
    assert {run["agrees"] for run in runs} == {None}


def test_a_path_that_one_end_cannot_measure_is_settled_without_waiting(cluster):
    address = cluster.paths[0]["ends"][1]["ipv4"]
    port = cluster.folder / "spark2/sys/class/infiniband/rocep1s0f1/ports/1"
    (port / "gids/2").unlink()
    results = cluster.run()
    assert max(result["duration_s"] for result in results.values()) < cluster.profile["rendezvous_s"]
    expected = f"rocep1s0f1 has no RoCE v2 GID for {address}"
    assert failures(results) == {
        ("spark1:p0:a-spark2:p1:a", "spark1"): f"spark2 says: {expected}",
        ("spark1:p0:a-spark2:p1:a", "spark2"): expected,
    }


def test_nodes_with_different_plans_do_not_measure_each_other(cluster):
    cluster.profile["rendezvous_s"] = 8
    cluster.start("spark1", "spark2")
    cluster.start("spark3", plan=cluster.plan | {"mtu": 1500})
    results = cluster.results()
    messages = {message for (path, _), message in failures(results).items() if "spark3" in path}
    assert any("measures another plan" in message for message in messages)
    assert all("spark3" in path for path, _ in failures(results))


# --- ping ---


def test_every_node_pings_its_peers_with_what_fills_the_planned_mtu(cluster):
    results = cluster.run()
    pings = {(ping["path"], ping["from_node"]): ping for result in results.values() for ping in result["pings"]}
    assert len(pings) == 6
    ping = pings["spark1:p0:a-spark2:p1:a", "spark2"]
    assert (ping["to_node"], ping["size_bytes"], ping["asked"], ping["received"], ping["small_received"]) == (
        "spark1",
        8972,
        3,
        3,
        3,
    )
    assert (ping["problem"], ping["rc"], len(ping["raw_sha256"])) == (None, 0, 64)
    peer = cluster.paths[0]["ends"][0]["ipv4"]
    assert " ".join(ping["argv"]) == f"ping -n -c 3 -i 0.3 -w 10 -M do -s 8972 -I lo {peer}"


def test_large_packets_that_are_lost_end_nothing(two_nodes):
    lost, small = (FIXTURES / f"real-debian12-ping-{name}.txt" for name in ("jumbo-lost", "small"))
    two_nodes.command("ping", f'case "$*" in *8972*) cat {lost}; exit 1;; esac; cat {small}')
    two_nodes.start("spark1", "spark2")
    results = two_nodes.results()
    assert failures(results) == {}
    pings = [ping for result in results.values() for ping in result["pings"]]
    assert [(ping["received"], ping["small_received"], ping["rc"]) for ping in pings] == [(0, 3, 1)] * 4


def test_two_measurements_at_once_measure_once(cluster):
    """The second is refused at once, the first goes on."""
    cluster.profile["rendezvous_s"] = 8
    cluster.start("spark1")
    first = cluster.processes["spark1"]
    lock = cluster.folder / "spark1/run/gb10-cluster/measurement.lock"
    deadline = time.monotonic() + 30
    while not (lock.exists() and lock.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    cluster.start("spark1")
    second = cluster.results("spark1")["spark1"]
    cluster.processes["spark1"] = first
    assert second["skipped"].startswith(f"busy: another measurement runs on this node (pid {first.pid}, since ")
    assert second["directions"] == []
    assert cluster.results("spark1")["spark1"]["skipped"] is None


def test_a_busy_gpu_is_left_alone(cluster):
    cluster.command("nvidia-smi", "echo '4242, [N/A]'")
    cluster.start("spark1")
    result = cluster.results()["spark1"]
    assert result["skipped"] == "busy: a process is using the GPU (pid 4242): drain the node first"
    assert result["directions"] == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda cluster: (cluster.folder / "bin/ib_write_lat").unlink(), "ib_write_lat is not installed"),
        (
            lambda cluster: (cluster.folder / "spark1/proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 5 kB\n"),
            "busy: only 5 KiB",
        ),
        (lambda cluster: (cluster.folder / "spark1/proc/meminfo").unlink(), "no MemTotal"),
        (
            lambda cluster: (cluster.folder / "spark1/sys/class/infiniband").rename(cluster.folder / "gone"),
            "no RDMA device",
        ),
    ],
    ids=["no tool", "no memory", "no meminfo", "no device"],
)
def test_what_cannot_be_measured_is_skipped_with_the_reason(cluster, spoil, says):
    spoil(cluster)
    cluster.start("spark1")
    result = cluster.results()["spark1"]
    assert says in result["skipped"]
    assert result["directions"] == result["served"] == []
