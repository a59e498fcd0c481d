"""Whole measurements: one process for each node, real sockets on loopback, a fake torch and a fake docker."""

from __future__ import annotations

import ast
import copy
import json
import re
import resource
import signal
import subprocess
import sys
import time
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import NcclMeasurement
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure import nccl
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_runtime import Docker, Venv
from ansible_collections.gb10.cluster.plugins.module_utils.shape import fits
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.module_utils.measure.nccl_ranks import (
    IMAGE_ID,
    LOGS,
    NODES,
    REPOSITORY,
    Ranks,
)


@pytest.fixture
def ranks(tmp_path: Path) -> t.Iterator[Ranks]:
    three = Ranks(tmp_path)
    yield three
    three.end()


def failures(results: dict[str, dict]) -> dict[str, tuple[str, str]]:
    return {
        node: (result["failure"]["stage"], result["failure"]["cause"])
        for node, result in results.items()
        if result["failure"]
    }


# --- what is measured ---


def test_three_ranks_yield_every_run_with_nothing_wrong(ranks: Ranks) -> None:
    ranks.nccl |= {"sizes_bytes": [8192, 4096], "iterations": 2}
    library = ranks.folder / "libnccl.so.2"
    library.write_bytes(b"no ELF, but mapped")
    ranks.behave("spark1", library=str(library), log=str(LOGS / "triangle-rank0.log"))
    results = ranks.run()
    for number, node in enumerate(NODES):
        result = results[node]
        assert fits(result, NcclMeasurement)
        assert (result["rank"], result["world_size"], result["failure"], result["skipped"]) == (number, 3, None, None)
        assert result["torch"] == "2.11.0+fake"
        taken = [(run["collective"], run["size_bytes"], run["warmup"]) for run in result["runs"]]
        assert taken == [
            (collective, size, warmup)
            for collective, size in (
                ("all_gather", 4080),
                ("all_reduce", 4096),
                ("all_gather", 8160),
                ("all_reduce", 8192),
            )
            for warmup in (True, False, False)
        ]
        for run in result["runs"]:
            share = 2 / 3 if run["collective"] == "all_gather" else 4 / 3
            assert run["algbw_gbs"] == pytest.approx(run["size_bytes"] / 1e9 / run["seconds"])
            assert run["busbw_gbs"] == pytest.approx(run["algbw_gbs"] * share)
            assert (run["wrong"], run["iterations"]) == (0, 2)
    assert results["spark1"]["library"] == {
        "version": None,
        "headers": "2.30.7",
        "path": str(library),
        "build_id": None,
        "size_bytes": 18,
        "subnet_aware_routing": False,
        "others": [],
    }
    assert ranks.leftovers() == []


def test_the_log_of_the_rank_is_read_and_a_missing_one_is_empty(ranks: Ranks) -> None:
    ranks.behave("spark1", log=str(LOGS / "triangle-rank0.log"))
    ranks.behave("spark2", log=str(LOGS / "collapsed-rank0.log"))
    results = ranks.run()
    log = results["spark1"]["log"]
    assert (log["transports"], log["networks"], log["init_complete"], log["void"]) == (
        {"NET/IB": 8},
        ["IB"],
        True,
        False,
    )
    assert {pairs["device"]: pairs["sender"] + pairs["receiver"] for pairs in log["queue_pairs"]} == {
        "rocep1s0f0": 2,
        "roceP2p1s0f0": 2,
        "rocep1s0f1": 2,
        "roceP2p1s0f1": 2,
    }
    assert {(each["mtu_bytes"], each["ipv4"]) for each in log["connections"]} == {
        (4096, "192.168.100.1"),
        (4096, "192.168.110.1"),
    }
    assert {each["crosses_domain"] for each in log["overrides"]} == {False}
    assert log["env"]["NCCL_IB_MERGE_NICS"] == "0"
    assert not [name for name in log["env"] if name.startswith("NCCL_DEBUG")]
    assert any(each["crosses_domain"] for each in results["spark2"]["log"]["overrides"])
    missing = results["spark3"]["log"]
    assert (missing["transports"], missing["queue_pairs"], missing["lines"]) == ({}, [], 0)


def test_the_rank_gets_the_environment_of_the_plan_and_nothing_of_the_login(ranks: Ranks) -> None:
    ranks.run(environment={"NCCL_IB_DISABLE": "1", "NCCL_P2P_LEVEL": "SYS"})
    seen = json.loads((ranks.folder / "spark2/seen-environment.json").read_text())
    planned = ranks.plan["nccl_env"]["spark2"]
    assert {name: seen.get(name) for name in planned} == planned
    assert (seen["NCCL_NET"], seen["NCCL_IB_DISABLE"]) == ("IB", "0")
    assert (seen["NCCL_DEBUG"], seen["NCCL_DEBUG_SUBSYS"]) == ("INFO", "INIT,ENV,NET")
    assert seen["NCCL_DEBUG_FILE"].endswith("/nccl.log")
    assert "NCCL_P2P_LEVEL" not in seen


def test_a_network_that_the_plan_names_is_kept() -> None:
    plan = builders.plan("triangle", nccl_routing="mesh_plugin")
    assert nccl.rank_environment(plan, "spark1", "/x")["NCCL_NET"] == "Mesh"


@pytest.mark.parametrize("collective", ["all_gather", "all_reduce"])
def test_wrong_data_is_counted_by_the_rank_that_has_it(ranks: Ranks, collective: str) -> None:
    ranks.behave("spark2", corrupt=collective)
    results = ranks.run()
    wrong = {(node, run["collective"]) for node, result in results.items() for run in result["runs"] if run["wrong"]}
    assert wrong == {("spark2", collective)}
    assert failures(results) == {}


def test_sizes_that_one_rank_cannot_afford_are_left_out_on_all(ranks: Ranks) -> None:
    """The fake torch runs here, so the memory that counts inside is this machine's."""
    ranks.nccl["sizes_bytes"] = [4096, 1 << 45]
    results = ranks.run()
    assert [result["left_out"] for result in results.values()] == [[1 << 45]] * 3
    assert {run["size_bytes"] for run in results["spark1"]["runs"]} == {4080, 4096}
    assert failures(results) == {}


# --- the GPU under load ---


def test_the_clock_is_sampled_while_the_gpu_multiplies(ranks: Ranks) -> None:
    ranks.nccl["gpu_load_s"] = 4
    results = ranks.run()
    assert failures(results) == {}
    for result in results.values():
        load = result["gpu_load"]
        assert (load["clock_mhz"], load["power_w"], load["utilisation"], load["problem"]) == (2411, 57.25, 97, None)
        assert 2 <= load["samples"] <= 5
        assert 4 <= load["seconds"] < 8


@pytest.mark.parametrize(
    ("smi", "known", "says"),
    [
        # GB10 answers so for what it does not provide (health-checks 3.7).
        pytest.param("echo '2411, [N/A], 97, P0'", (2411, None, 97), None, id="no power"),
        pytest.param("echo '[N/A], [Unknown Error], , '", (None, None, None), None, id="nothing is provided"),
        pytest.param("echo 'Unable to determine the device handle'", (None,) * 3, "no single row", id="no row"),
        pytest.param("echo '1, 2, 3, P0'; echo '1, 2, 3, P0'", (None,) * 3, "no single row", id="two GPUs"),
        pytest.param("echo 'driver is gone' >&2; exit 9", (None,) * 3, "ended with 9: 'driver is gone'", id="fails"),
    ],
)
def test_what_nvidia_smi_does_not_say_is_not_known(ranks: Ranks, smi: str, known: tuple, says: str | None) -> None:
    ranks.nccl["gpu_load_s"] = 2
    ranks.profile["rendezvous_s"] = 1
    ranks.command("spark1", "nvidia-smi", f'case "$1" in *clocks.sm*) {smi};; esac')
    load = ranks.here("spark1")["gpu_load"]
    assert (load["clock_mhz"], load["power_w"], load["utilisation"]) == known
    assert says is None if load["problem"] is None else says is not None and says in load["problem"]
    assert (load["samples"] > 0) == (says is None)


def test_without_memory_to_spare_the_gpu_is_not_loaded(ranks: Ranks) -> None:
    """The fake torch runs here, so the memory that counts inside is this machine's."""
    ranks.nccl["gpu_load_s"] = 2
    ranks.profile |= {"rendezvous_s": 1, "thresholds": {"N09": {"available_gib": {"min": 1 << 12}}}}
    ranks.memory("spark1", 1 << 34)
    load = ranks.here("spark1")["gpu_load"]
    assert (load["seconds"], load["samples"], load["clock_mhz"]) == (0, 0, None)
    assert "of memory to spare, 288 are wanted" in load["problem"]


def test_without_the_setting_the_gpu_is_left_alone(ranks: Ranks) -> None:
    ranks.profile["rendezvous_s"] = 1
    assert ranks.here("spark1")["gpu_load"] is None


# --- pairs ---


def test_every_two_ranks_also_run_by_themselves(ranks: Ranks) -> None:
    ranks.nccl["pair_sizes_bytes"] = [4096]
    ranks.behave("spark1", log=str(LOGS / "triangle-rank0.log"), pair_log=str(LOGS / "socket-rank0.log"))
    results = ranks.run()
    assert failures(results) == {}
    for node, result in results.items():
        assert fits(result, NcclMeasurement)
        assert {pair["peer"] for pair in result["pairs"]} == {*NODES} - {node}
        for pair in result["pairs"]:
            taken = [(run["collective"], run["size_bytes"], run["warmup"], run["wrong"]) for run in pair["runs"]]
            assert taken == [("all_gather", 4096, warmup, 0) for warmup in (True, False, False)]
            assert all(run["busbw_gbs"] == pytest.approx(run["algbw_gbs"] / 2) for run in pair["runs"])
    # What the pairs did is no part of where the data of all ranks went.
    log = results["spark1"]["log"]
    assert (log["transports"], log["networks"]) == ({"NET/IB": 8}, ["IB"])
    assert {name for name, count in results["spark1"]["pair_transports"].items() if count > 0} == {"NET/Socket"}
    assert results["spark2"]["pair_transports"] == {}
    assert "no_device" in {finding["kind"] for finding in log["findings"]}
    assert ranks.leftovers() == []


def test_a_rank_says_in_which_boot_and_when_it_measured(ranks: Ranks) -> None:
    ranks.profile["rendezvous_s"] = 1
    for path, text in (("sys/kernel/random/boot_id", "c82c1b05\n"), ("uptime", "4711.25 900.00\n")):
        file = ranks.folder / "spark1/proc" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    result = ranks.here("spark1")
    assert (result["boot_id"], result["uptime_s"]) == ("c82c1b05", 4711.25)
    assert abs(result["clock_step_s"]) < 0.5
    assert result["duration_s"] > 0.5


def test_wrong_data_of_a_pair_is_counted_there(ranks: Ranks) -> None:
    ranks.nccl["pair_sizes_bytes"] = [4096]
    ranks.behave("spark2", corrupt="pairs")
    results = ranks.run()
    wrong = {(node, pair["peer"]) for node, r in results.items() for pair in r["pairs"] if pair["runs"][1]["wrong"]}
    assert wrong == {("spark2", "spark1"), ("spark2", "spark3")}


def test_a_pair_that_hangs_keeps_what_all_ranks_did(ranks: Ranks) -> None:
    ranks.nccl |= {"pair_sizes_bytes": [4096], "timeout_s": 25}
    ranks.behave("spark3", hang="pairs")
    results = ranks.run()
    assert failures(results) == dict.fromkeys(NODES, ("pairs", "environment"))
    assert [len(result["runs"]) for result in results.values()] == [6, 6, 6]


def test_bytes_of_the_pairs_are_not_counted(ranks: Ranks) -> None:
    ranks.nccl["pair_sizes_bytes"] = [4096]
    counter = counted(ranks, "spark1", "port_xmit_data")
    # 250 words before the rank starts and its pairs, many more once what all ranks did has been counted.
    python = (ranks.folder / "spark1/bin/python").read_text().splitlines()[1]
    follow = f"""(until [ -e "$(dirname "$1")/counted.seen" ]; do sleep 0.1; done; echo 999999 > {counter}) &"""
    ranks.command("spark1", "python", f"echo 1250 > {counter}\n{follow}\n{python}")
    assert ranks.run()["spark1"]["tx_bytes"] == {"rocep1s0f0": 1000}


# --- what it finds where it runs ---


def test_limits_devices_and_settings_are_those_inside(ranks: Ranks) -> None:
    ranks.profile["rendezvous_s"] = 1
    result = ranks.here("spark1", "docker")
    assert result["inside"]["environment"] == {"NCCL_CROSS_NIC": "1"}
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    assert result["inside"]["memlock_kib"] == (-1 if soft == resource.RLIM_INFINITY else soft // 1024)
    assert isinstance(result["inside"]["verbs_library"], bool)


# --- a soak ---


def test_a_soak_keeps_on_for_its_time_and_counts_errors(ranks: Ranks) -> None:
    counter = counted(ranks, "spark1", "../hw_counters/out_of_sequence")
    python = (ranks.folder / "spark1/bin/python").read_text().splitlines()[1]
    follow = f"""(until [ -e "$(dirname "$1")/soak_begins.seen" ]; do sleep 0.1; done; echo 1007 > {counter}) &"""
    ranks.command("spark1", "python", f"{follow}\n{python}")
    results = ranks.run(soak_s=6)
    assert failures(results) == {}
    for node, result in results.items():
        soak = result["soak"]
        assert fits(result, NcclMeasurement)
        assert 6 <= soak["seconds"] < 20
        assert (soak["wrong"], soak["problem"]) == (0, None)
        assert soak["rounds"] > 1
        assert {(sample["utilisation"], sample["power_w"]) for sample in soak["samples"]} == {(97, 57.25)}
        assert soak["counter_deltas"] == ({"rocep1s0f0": {"out_of_sequence": 7}} if node == "spark1" else {})
    assert ranks.leftovers() == []


def counted(ranks: Ranks, node: str, name: str) -> Path:
    """A counter of a device of mlx5, at 1000."""
    device = ranks.folder / node / "sys/class/infiniband/rocep1s0f0"
    path = (device / "ports/1/counters" / name).resolve()
    for folder in (path.parent, device / "ports/1/counters", device / "device"):
        folder.mkdir(parents=True, exist_ok=True)
    (device / "device/driver").symlink_to("../../../../bus/pci/drivers/mlx5_core")
    path.write_text("1000\n")
    return path


# --- what breaks ---


def test_a_rank_that_never_comes_costs_the_rendezvous_and_is_named(ranks: Ranks) -> None:
    ranks.profile["rendezvous_s"] = 10
    started = time.monotonic()
    results = ranks.run("spark1", "spark2")
    assert time.monotonic() - started < 60
    assert failures(results) == dict.fromkeys(("spark1", "spark2"), ("rendezvous", "environment"))
    assert results["spark1"]["failure"]["message"] == "TimeoutError: rank 2 did not come within 10 s"
    assert results["spark1"]["runs"] == []


def test_without_rank_0_the_others_wait_no_longer(ranks: Ranks) -> None:
    ranks.profile["rendezvous_s"] = 3
    assert failures(ranks.run("spark2")) == {"spark2": ("rendezvous", "environment")}


def test_a_rank_that_hangs_ends_all_at_their_deadline_and_the_runs_before_are_kept(ranks: Ranks) -> None:
    ranks.nccl["timeout_s"] = 25  # a busy machine takes its time to start three ranks
    ranks.behave("spark3", hang="all_reduce")
    results = ranks.run()
    assert failures(results) == dict.fromkeys(NODES, ("all_reduce", "environment"))
    # The others may see the first of them go, so only one that hangs says this for certain.
    assert results["spark3"]["failure"]["message"] == "the 25 s of the profile were up"
    for result in results.values():
        assert result["failure"]["rc"] == 1  # it ended by itself
        assert {run["collective"] for run in result["runs"]} == {"all_gather"}
    assert ranks.leftovers() == []


@pytest.mark.parametrize(
    ("how", "stage", "cause", "says"),
    [
        ({"gpu": False}, "import", "software", "RuntimeError: torch sees no GPU"),
        ({"raise": "import"}, "import", "software", "RuntimeError: NCCL error: unhandled system error"),
        ({"crash": "import"}, "import", "software", "the rank ended with"),
    ],
)
def test_a_rank_that_breaks_early_says_where(ranks: Ranks, how: dict, stage: str, cause: str, says: str) -> None:
    ranks.behave("spark1", **how)
    result = ranks.here("spark1")
    assert (result["failure"]["stage"], result["failure"]["cause"]) == (stage, cause)
    assert result["failure"]["message"].startswith(says)
    assert "long story" not in result["failure"]["message"]
    assert fits(result, NcclMeasurement)


@pytest.mark.parametrize("how", [{"raise": "init"}, {"crash": "init"}])
def test_what_fails_while_nccl_connects_is_a_matter_of_configuration(ranks: Ranks, how: dict) -> None:
    for node in NODES:
        ranks.behave(node, **how, log=str(LOGS / "miscabled-rank0.log"))
    results = ranks.run()
    assert failures(results) == dict.fromkeys(NODES, ("init", "configuration"))
    assert "wrong_neighbour" in {finding["kind"] for finding in results["spark1"]["log"]["findings"]}


def test_a_python_that_runs_nothing_is_no_measurement(ranks: Ranks) -> None:
    ranks.command("spark1", "python", "echo 'exec format error' >&2; exit 126")
    result = ranks.here("spark1")
    assert (result["failure"]["stage"], result["failure"]["cause"]) == ("start", "software")
    assert result["failure"]["message"] == "no rank came to run: it ended with 126 and said 'exec format error'"
    assert result["failure"]["argv"][0].endswith("/bin/python")


def test_bytes_are_counted_on_every_device_whatever_became_of_the_rank(ranks: Ranks) -> None:
    tree = ranks.folder / "spark1/sys/class/infiniband"
    for device in ("rocep1s0f0", "roceP2p1s0f0"):
        counters = tree / device / "ports/1/counters"
        counters.mkdir(parents=True)
        (tree / device / "device").mkdir()
        (tree / device / "device/driver").symlink_to("../../../../bus/pci/drivers/mlx5_core")
        (counters / "port_xmit_data").write_text("1000\n")
    script = f"echo 1250 > {tree}/rocep1s0f0/ports/1/counters/port_xmit_data"
    ranks.command("spark1", "python", script)
    result = ranks.here("spark1")
    assert result["tx_bytes"] == {"rocep1s0f0": 1000, "roceP2p1s0f0": 0}  # the counter counts words of four bytes
    assert result["rx_bytes"] == {"rocep1s0f0": None, "roceP2p1s0f0": None}
    assert fits(result, NcclMeasurement)


# --- ending ---


def settled(ranks: Ranks, count: int) -> bool:
    """Whether that many ranks sit in their first collective."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if len(list(ranks.folder.glob("*/seen-environment.json"))) >= count:
            return True
        time.sleep(0.2)
    return False


@pytest.mark.parametrize("runtime", ["venv", "docker"])
def test_terminated_it_ends_what_it_started(ranks: Ranks, runtime: str) -> None:
    for node in NODES:
        ranks.behave(node, hang="all_gather")
    ranks.start(runtime=runtime)
    assert settled(ranks, 3)
    for process in ranks.processes.values():
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=30) for process in ranks.processes.values()] == [128 + signal.SIGTERM] * 3
    assert ranks.leftovers() == []
    assert not list(ranks.folder.glob("*/tmp/*"))


def test_a_second_request_to_end_does_not_stop_the_first(ranks: Ranks) -> None:
    ranks.behave("spark1", hang="import")
    ranks.start("spark1", runtime="docker")
    deadline = time.monotonic() + 30
    while not list(ranks.folder.glob("spark1/containers/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    for _ in range(3):
        ranks.processes["spark1"].send_signal(signal.SIGTERM)
        time.sleep(0.2)
    assert ranks.processes["spark1"].wait(timeout=30) == 128 + signal.SIGTERM
    assert ranks.leftovers() == []


# --- docker ---


def test_in_an_image_the_same_comes_out(ranks: Ranks) -> None:
    ranks.behave("spark1", log=str(LOGS / "triangle-rank0.log"))
    results = ranks.run(runtime="docker")
    assert failures(results) == {}
    result = results["spark1"]
    assert len(result["runs"]) == 6
    assert result["log"]["transports"] == {"NET/IB": 8}
    assert result["runtime"] == {"kind": "docker", "image": "vllm:1", "image_id": IMAGE_ID, "python": "python3"}
    seen = json.loads((ranks.folder / "spark1/seen-environment.json").read_text())
    assert {name for name in seen if name.startswith("NCCL_")} >= {"NCCL_NET", "NCCL_IB_HCA", "NCCL_DEBUG_FILE"}
    assert "HOME" not in seen
    inspected, run, removed = ranks.docker_calls("spark1")
    assert (inspected[:2], removed[:2]) == (["image", "inspect"], ["rm", "--force"])
    assert removed[2] == run[run.index("--name") + 1]


def test_a_container_that_cannot_start_is_a_failure_with_dockers_words(ranks: Ranks) -> None:
    (ranks.folder / "spark1/run-fails").touch()
    result = ranks.here("spark1", "docker")
    assert (result["failure"]["stage"], result["failure"]["cause"], result["failure"]["rc"]) == (
        "start",
        "software",
        125,
    )
    assert "could not select device driver" in result["failure"]["message"]


def test_the_arguments_of_a_container(tmp_path: Path) -> None:
    argv = Docker("registry.example.com/vllm@sha256:5f70", "/opt/bin/python").argv("/tmp/gb10-x")
    name = argv[argv.index("--name") + 1]
    assert argv == [
        *("docker", "run", "--rm", "--pull", "never", "--name", name, "--network", "host", "--ipc", "host"),
        *("--gpus", "all", "--device", "/dev/infiniband", "--ulimit", "memlock=-1", "--cap-add", "IPC_LOCK"),
        *("--user", "0:0", "--volume", "/tmp/gb10-x:/gb10", "--env-file", "/tmp/gb10-x/environment"),
        *("--entrypoint", "/opt/bin/python", "registry.example.com/vllm@sha256:5f70"),
        *("/gb10/nccl_bench.py", "/gb10/job.json"),
    ]
    assert name.startswith("gb10-nccl-")
    assert Docker("other").argv("/x")[6] != name


# --- when not to ---


def why_not(ranks: Ranks, runtime: Docker | Venv | None = None, **nccl_settings: t.Any) -> str | None:
    host = Host(ranks.folder / "spark1", path=f"{ranks.folder / 'spark1/bin'}:/usr/bin:/bin")
    profile = copy.deepcopy(ranks.profile) | {"nccl": ranks.nccl | nccl_settings}
    return nccl.why_not_now(host, ranks.plan, t.cast("t.Any", profile), runtime or Docker("vllm:1"))


def test_a_drained_node_with_the_image_may_be_measured(ranks: Ranks) -> None:
    assert why_not(ranks) is None
    assert why_not(ranks, Venv(str(ranks.folder / "spark1/bin/python"))) is None


def test_a_process_on_the_gpu_refuses(ranks: Ranks) -> None:
    ranks.command("spark1", "nvidia-smi", "echo '4242, 1024'")
    assert why_not(ranks) == "busy: a process is using the GPU (pid 4242): drain the node first"


def test_memory_below_three_times_the_smallest_size_refuses(ranks: Ranks) -> None:
    ranks.profile["thresholds"] = {"N09": {"available_gib": {"min": 1}}}
    assert why_not(ranks, sizes_bytes=[1 << 40, 1 << 20]) == (
        f"busy: only {1 << 20} KiB of memory are available, {(1 << 20) + 3 * 1024} are wanted"
    )


def test_an_image_that_is_not_there_is_not_pulled(ranks: Ranks) -> None:
    assert why_not(ranks, Docker("vllm:2")) == "the image vllm:2 is not on this node, and measuring pulls none"
    assert {call[0] for call in ranks.docker_calls("spark1")} == {"image"}


def test_a_docker_that_does_not_answer_is_quoted(ranks: Ranks) -> None:
    (ranks.folder / "spark1/daemon-down").touch()
    assert "Cannot connect to the Docker daemon" in (why_not(ranks) or "")


def test_a_node_without_docker_or_devices(ranks: Ranks) -> None:
    (ranks.folder / "spark1/dev/infiniband").rmdir()
    assert why_not(ranks) == "there is no /dev/infiniband that a container could be given"
    host = Host(ranks.folder / "spark1", path="/nowhere")
    assert Docker("vllm:1").why_not(host) == "docker is not installed"


def test_a_virtual_environment_that_is_not_there(ranks: Ranks) -> None:
    assert why_not(ranks, Venv("/opt/vllm/bin/python")) == "there is no /opt/vllm/bin/python"


def test_one_node_alone_has_only_its_gpu_to_measure(ranks: Ranks) -> None:
    ranks.plan = builders.plan("single")
    assert why_not(ranks) == "one node alone has no fabric to measure"
    ranks.nccl["gpu_load_s"] = 3
    result = ranks.here("spark1")
    assert (result["skipped"], result["failure"], result["world_size"]) == (None, None, 1)
    assert result["gpu_load"]["clock_mhz"] == 2411
    assert result["inside"] is not None
    assert (result["runs"], result["pairs"]) == ([], [])
    assert fits(result, NcclMeasurement)


def test_a_profile_without_nccl_measures_none(ranks: Ranks) -> None:
    plan, profile = builders.plan("triangle"), builders.profile(builders.LAB)
    result = nccl.measure(Host(ranks.folder / "spark1", path="/nowhere"), "spark1", plan, profile, Docker("vllm:1"))
    assert result["skipped"] == f"the profile {builders.LAB} does not say how to measure NCCL"
    assert (result["log"], result["library"], result["runs"], result["failure"]) == (None, None, [], None)
    assert fits(result, NcclMeasurement)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sizes_bytes": []}, "at least one size"),
        ({"sizes_bytes": ["64M"]}, "does not have the form"),
        ({"repeats": 0}, "at least one size"),
        ({"warmup": -1}, "at least one size"),
        ({"warmup": 0}, None),
        ({"timeout_s": True}, "does not have the form"),
        ({"gpu_load_s": 0}, "nothing in it below 1"),
        ({"gpu_load_s": "10"}, "does not have the form"),
        ({"pair_sizes_bytes": [0]}, "nothing in it below 1"),
        ({"pair_sizes_bytes": []}, None),
    ],
)
def test_settings_that_measure_nothing_are_refused(ranks: Ranks, settings: dict, says: str | None) -> None:
    why = why_not(ranks, **settings)
    assert why is None if says is None else says in (why or "")


def test_the_shipped_profile_says_how(ranks: Ranks) -> None:
    ranks.nccl = builders.profile()["nccl"]
    ranks.memory("spark1", 4 << 20)
    assert why_not(ranks) is None


# --- the program ---


@pytest.mark.parametrize("name", nccl.PROGRAMS)
def test_the_program_is_found_in_the_zip_file_of_a_module(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "module.zip"
    package = "ansible_collections/gb10/cluster/plugins/module_utils"
    source = REPOSITORY / "plugins/module_utils"
    with zipfile.ZipFile(archive, "w") as file:
        for folder in ("ansible_collections", "ansible_collections/gb10", "ansible_collections/gb10/cluster"):
            file.writestr(f"{folder}/__init__.py", "")
        file.writestr("ansible_collections/gb10/cluster/plugins/__init__.py", "")
        for path in source.rglob("*.py"):
            file.write(path, f"{package}/{path.relative_to(source)}")
    script = f"import sys; sys.path.insert(0, {str(archive)!r})\nfrom {package.replace('/', '.')}.measure import nccl\n"
    out = subprocess.run(
        [sys.executable, "-I", "-c", script + "sys.stdout.write(nccl.program(sys.argv[1]))", name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout == (source / "measure" / name).read_text()


@pytest.mark.parametrize("name", nccl.PROGRAMS)
def test_the_program_needs_nothing_of_the_collection(name: str) -> None:
    text = nccl.program(name)
    assert text.startswith("# Copyright")
    assert "ansible" not in text.split('"""', 2)[2]
    assert "from ." not in text
    assert not re.search(r"^(import|from) nccl_", text, re.MULTILINE)  # found only once it has said where
    ast.parse(text, feature_version=(3, 10))
