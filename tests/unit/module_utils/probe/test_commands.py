from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.commands import (
    Endpoint,
    Run,
    ToolOptions,
    bandwidth_runs_of,
    client_argv,
    clock_failed,
    explain_failure,
    runs_of,
    server_argv,
)

PROFILE = {
    "bandwidth": {"qps": 4, "size_bytes": 65536, "duration_s": 5, "warmup": 1, "repeats": 2},
    "latency": {"size_bytes": 8, "iterations": 5000},
}
OWN = Endpoint("rocep1s0f0", 6, "10.210.0.1")
NEW = ToolOptions("6.24", json=True, bind_source_ip=True)
OLD = ToolOptions("6.10", json=False, bind_source_ip=False)


def test_latency_comes_first_then_warmup_and_repeats() -> None:
    assert runs_of(PROFILE) == [
        Run("latency", False),
        Run("bandwidth", True),
        Run("bandwidth", False),
        Run("bandwidth", False),
    ]


def test_without_latency_the_same_bandwidth_runs_remain() -> None:
    assert bandwidth_runs_of(PROFILE) == runs_of(PROFILE)[1:]


def test_a_bandwidth_client_with_everything() -> None:
    assert client_argv(Run("bandwidth", True), PROFILE, OWN, "10.210.0.2", 18701, NEW, "/tmp/x/result.json") == [
        "ib_write_bw",
        "-d",
        "rocep1s0f0",
        "-x",
        "6",
        "-p",
        "18701",
        "-F",
        "--report_gbits",
        "-q",
        "4",
        "-s",
        "65536",
        "-D",
        "5",
        "--bind_source_ip=10.210.0.1",
        "--out_json",
        "--out_json_file=/tmp/x/result.json",
        "10.210.0.2",
    ]


def test_depth_and_timeout_of_the_profile() -> None:
    deep = PROFILE | {"bandwidth": PROFILE["bandwidth"] | {"tx_depth": 8, "qp_timeout": 18}}
    argv = server_argv(Run("bandwidth", False), deep, OWN, 18701, OLD)
    assert argv[-4:] == ["-t", "8", "-u", "18"]
    assert "-t" not in server_argv(Run("latency", False), deep, OWN, 18701, OLD)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("Correlation coefficient r^2: 0.843015 < 0.9\n", True),
        ("", False),
        ("Conflicting CPU frequency values detected", False),
    ],
)
def test_a_failed_clock_is_seen(text: str, failed: bool) -> None:
    assert clock_failed(text) is failed


def test_an_old_perftest_gets_no_option_that_it_does_not_know() -> None:
    assert client_argv(Run("latency", False), PROFILE, OWN, "10.210.0.2", 18700, OLD, "/tmp/x") == [
        "ib_write_lat",
        "-d",
        "rocep1s0f0",
        "-x",
        "6",
        "-p",
        "18700",
        "-F",
        "-s",
        "8",
        "-n",
        "5000",
        "10.210.0.2",
    ]


def test_both_ends_run_the_same_test() -> None:
    run = Run("bandwidth", True)
    server = server_argv(run, PROFILE, OWN, 18701, NEW)
    client = client_argv(run, PROFILE, OWN, "10.210.0.2", 18701, NEW, "/tmp/x")
    assert client[: len(server)] == server


# Texts of health-checks 3.4 and 7.1.
FAILURES = [
    (
        1,
        "Failed to modify QP 17 to RTR\n Unable to Connect the HCA's through the link",
        "configuration",
        "wrong cable, device or GID",
    ),
    (1, "Couldn't connect to 10.210.0.2:18700", "environment", "takes no connection"),
    (1, "Failed to bind socket", "environment", "not free here"),
    (1, "IB device rocep1s0f9 not found", "configuration", "not there"),
    (1, " Port number 1 state is Down", "hardware", "port is down"),
    (1, "Couldn't allocate MR", "software", "N05, N06"),
    (1, " Completion with error at client\n Failed status 12: wr_id 0 syndrom 0x81", "hardware", "no acknowledgement"),
    (1, "Failed status-transport retry counter exceeded (12): wr_id 0 syndrom 0x81", "hardware", "no acknowledgement"),
    (1, " Completion with error at client\n Failed status 10: wr_id 0 syndrom 0x88", "hardware", "ended in error"),
    (124, "", "instrument", "no result within 60 s"),
    (127, "ib_write_bw: command not found", "software", "perftest"),
    (1, "", "instrument", "ended with 1 and said nothing"),
    (139, "", "instrument", "was ended by signal 11"),
    (-9, "", "instrument", "was ended by signal 9"),
]


@pytest.mark.parametrize(
    ("rc", "text", "cause", "says"), FAILURES, ids=[f"{rc}/{text.strip()[:30]}" for rc, text, _, _ in FAILURES]
)
def test_a_failure_is_explained(rc: int, text: str, cause: str, says: str) -> None:
    found_cause, message = explain_failure("ib_write_bw", rc, text, 60)
    assert found_cause == cause
    assert says in message
    assert message.startswith("ib_write_bw")
