"""The harness nccl_tests, whole: one process for each node, by hydra on loopback, with fake programs."""

from __future__ import annotations

import shutil
import signal
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import NcclMeasurement
from ansible_collections.gb10.cluster.plugins.module_utils.shape import fits
from ansible_collections.gb10.cluster.tests.unit.module_utils.measure.nccl_programs_ranks import ProgramRanks
from ansible_collections.gb10.cluster.tests.unit.module_utils.measure.nccl_ranks import LOGS, NODES

needs_mpich = pytest.mark.skipif(
    shutil.which("mpiexec.hydra") is None, reason="mpiexec.hydra is not installed: install mpich to run it for real"
)
HYDRAS = [pytest.param(True, id="mpich", marks=needs_mpich), pytest.param(False, id="fake-hydra")]


@pytest.fixture
def ranks(tmp_path: Path, request: pytest.FixtureRequest) -> t.Iterator[ProgramRanks]:
    three = ProgramRanks(tmp_path, real=getattr(request, "param", False))
    yield three
    three.end()


def clean(ranks: ProgramRanks) -> None:
    """Nothing runs any more, and no file is left."""
    assert ranks.leftovers() == []
    for node in NODES:
        assert list((ranks.folder / node / "run").glob("gb10-cluster/gb10-*")) == []


def failures(results: dict[str, dict]) -> dict[str, tuple[str, str]]:
    return {node: (r["failure"]["stage"], r["failure"]["cause"]) for node, r in results.items() if r["failure"]}


@pytest.mark.parametrize("ranks", HYDRAS, indirect=True)
def test_three_ranks_run_every_program_and_know_every_result(ranks: ProgramRanks) -> None:
    ranks.settings["pair_sizes_bytes"] = [4096]
    ranks.behave("spark1", log=str(LOGS / "triangle-rank0.log"))
    results = ranks.run(environment={"NCCL_P2P_LEVEL": "SYS", "NCCL_IB_DISABLE": "1"})
    for number, node in enumerate(NODES):
        result = results[node]
        assert fits(result, NcclMeasurement)
        assert (result["rank"], result["world_size"], result["failure"], result["skipped"]) == (number, 3, None, None)
        assert (result["harness"], result["runtime"]["kind"]) == ("nccl_tests", "host")
        taken = [(run["collective"], run["size_bytes"], run["warmup"], run["wrong"]) for run in result["runs"]]
        assert taken == [
            (collective, 4080, warmup, 0)
            for collective in ("all_gather", "all_reduce")
            for warmup in (True, False, False)
        ]
        assert [round(run["busbw_gbs"], 2) for run in result["runs"]] == [4.78, 23.9, 23.9] * 2
        assert sorted(pair["peer"] for pair in result["pairs"]) == [peer for peer in NODES if peer != node]
        assert {len(pair["runs"]) for pair in result["pairs"]} == {3}
        assert result["library"]["path"] == str(ranks.library)
        assert (result["library"]["headers"], result["library"]["subnet_aware_routing"]) == ("2.30.7", True)
        assert result["inside"]["environment"] == {}
        seen = ranks.seen(node)["environment"]
        planned = ranks.plan["nccl_env"][node]
        assert {name: seen.get(name) for name in planned if name.startswith("NCCL_")} == {
            name: value for name, value in planned.items() if name.startswith("NCCL_")
        }
        assert (seen["NCCL_NET"], seen["NCCL_DEBUG_SUBSYS"], seen["UCX_TLS"]) == ("IB", "INIT,ENV,NET", "tcp,self")
        assert "NCCL_P2P_LEVEL" not in seen
        assert str(ranks.folder / node / "run/gb10-cluster") in seen["NCCL_DEBUG_FILE"]
    # Two programs of all ranks; what pairs do is not counted with them.
    assert results["spark1"]["log"]["transports"] == {"NET/IB": 16}
    assert results["spark1"]["pair_transports"] == {"NET/IB": 16}
    assert results["spark2"]["log"]["lines"] == 0
    assert "made-up-secret" not in str(results)
    clean(ranks)


@pytest.mark.parametrize("ranks", HYDRAS, indirect=True)
def test_a_rank_that_is_killed_ends_all_and_is_named(ranks: ProgramRanks) -> None:
    ranks.behave("spark3", kill=True, **{"in": "all_reduce"})
    results = ranks.run()
    assert failures(results) == dict.fromkeys(NODES, ("all_reduce", "environment"))
    assert "the rank of spark3 ended the others, exit code: 9" in results["spark1"]["failure"]["message"]
    assert "spark1: the rank of spark3 ended the others" in results["spark2"]["failure"]["message"]
    assert [run["collective"] for run in results["spark3"]["runs"]] == ["all_gather"] * 3
    clean(ranks)


@pytest.mark.parametrize("ranks", HYDRAS, indirect=True)
def test_a_rank_that_hangs_costs_the_time_of_the_profile(ranks: ProgramRanks) -> None:
    ranks.settings["timeout_s"] = 3
    ranks.behave("spark2", hang=True)
    began = time.monotonic()
    results = ranks.run()
    assert time.monotonic() - began < 40
    assert failures(results) == dict.fromkeys(NODES, ("all_gather", "environment"))
    assert results["spark1"]["failure"]["message"] == "the 3 s of the profile were up"
    clean(ranks)


@pytest.mark.parametrize("ranks", HYDRAS, indirect=True)
def test_a_probe_that_is_told_to_end_leaves_nothing_and_is_missed(ranks: ProgramRanks) -> None:
    ranks.behave("spark3", hang=True)
    ranks.start()
    seen = ranks.folder / "spark3/seen.json"
    until = time.monotonic() + 60
    while not seen.exists() and time.monotonic() < until:
        time.sleep(0.1)
    ranks.processes["spark3"].send_signal(signal.SIGTERM)
    gone = ranks.processes.pop("spark3")
    gone.communicate(timeout=30)
    results = ranks.results()
    assert gone.returncode == 128 + signal.SIGTERM
    assert {stage for stage, _cause in failures(results).values()} == {"all_gather"}
    assert len(failures(results)) == 2
    clean(ranks)


def test_a_rank_that_never_comes_is_named_in_bounded_time(ranks: ProgramRanks) -> None:
    ranks.profile["rendezvous_s"] = 3
    began = time.monotonic()
    results = ranks.run("spark1", "spark2")
    assert time.monotonic() - began < 30
    assert failures(results) == dict.fromkeys(("spark1", "spark2"), ("rendezvous", "environment"))
    assert results["spark1"]["failure"]["message"] == "rank 2 (spark3) did not come within 3 s"
    assert results["spark2"]["failure"]["message"] == "rank 2 (spark3) did not come"
    clean(ranks)


def test_rank_0_that_never_comes_is_named_too(ranks: ProgramRanks) -> None:
    ranks.profile["rendezvous_s"] = 2
    results = ranks.run("spark2", "spark3")
    for result in results.values():
        assert result["failure"]["stage"] == "rendezvous"
        assert result["failure"]["message"].startswith("rank 0 (spark1) did not come to 127.0.0.1:")


WRONG_OUTPUT = [
    pytest.param({"truncate": True}, "is not one object", id="json-cut-short"),
    pytest.param({"cut": True, "old": True}, "`Out of bounds values` lines", id="text-cut-short"),
    pytest.param({"alone": True}, "names 1 ranks instead of 3: is it built with MPI=1", id="built-without-mpi"),
    pytest.param({"cut": True}, "`Out of bounds values` lines", id="no-json-written"),
]


@pytest.mark.parametrize(("how", "says"), WRONG_OUTPUT)
def test_output_that_is_no_result_is_a_failure_of_the_instrument(ranks: ProgramRanks, how: dict, says: str) -> None:
    ranks.behave("spark1", **how)
    results = ranks.run()
    assert results["spark1"]["failure"]["cause"] == "instrument"
    assert says in results["spark1"]["failure"]["message"]
    assert {each["failure"]["stage"] for each in results.values()} == {"all_gather"}
    assert all(each["runs"] == [] for each in results.values())
    clean(ranks)


def test_wrong_data_are_counted_and_known_to_all(ranks: ProgramRanks) -> None:
    ranks.behave("spark1", wrong=7, rc=1)
    results = ranks.run()
    for result in results.values():
        assert result["failure"] is None
        assert {run["wrong"] for run in result["runs"]} == {14}


def test_a_program_of_before_json_is_read_as_text(ranks: ProgramRanks) -> None:
    ranks.behave("spark1", old=True)
    results = ranks.run()
    assert len(results["spark2"]["runs"]) == 6
    assert "-J" not in ranks.seen("spark1")["argv"]


def test_a_size_for_which_one_rank_has_no_memory_is_left_out_on_all(ranks: ProgramRanks) -> None:
    ranks.settings |= {"sizes_bytes": [4096, 1 << 25], "pair_sizes_bytes": [1 << 25]}
    ranks.memory("spark2", 64 * 1024)
    results = ranks.run()
    for result in results.values():
        assert result["left_out"] == [1 << 25]
        assert {run["size_bytes"] for run in result["runs"]} == {4080}
        assert (result["pairs"], result["failure"]) == ([], None)


def test_what_a_file_was_built_with_is_known_of_equal_files_only(ranks: ProgramRanks) -> None:
    shutil.copytree(ranks.folder / "programs", ranks.folder / "programs-spark3")
    with (ranks.folder / "programs-spark3/all_gather_perf").open("a") as file:
        file.write("# another build\n")
    results = ranks.run()
    headers = {node: result["library"]["headers"] for node, result in results.items()}
    assert headers == {"spark1": "2.30.7", "spark2": "2.30.7", "spark3": None}


def test_a_launcher_that_does_not_listen_is_the_instrument(ranks: ProgramRanks) -> None:
    for node in NODES:
        ranks.command(node, "mpiexec.hydra", "echo 'no such option' >&2; exit 255")
    results = ranks.run()
    assert failures(results)["spark1"] == ("all_gather", "instrument")
    assert "did not open TCP port" in results["spark1"]["failure"]["message"]
    assert "no such option" in results["spark1"]["failure"]["message"]
    assert failures(results)["spark3"] == ("all_gather", "environment")
    clean(ranks)


# --- what ends before it begins ---


def no_program(ranks: ProgramRanks) -> None:
    (ranks.folder / "programs/all_reduce_perf").unlink()


def no_mpich(ranks: ProgramRanks) -> None:
    ranks.command("spark1", "ldd", "echo 'libmpi.so.40 => /lib/libmpi.so.40'")


def small_memory(ranks: ProgramRanks) -> None:
    ranks.memory("spark1", 4)


def busy_gpu(ranks: ProgramRanks) -> None:
    ranks.command("spark1", "nvidia-smi", "echo '4242, 100'")


def no_settings(ranks: ProgramRanks) -> None:
    ranks.settings.pop("repeats")


def no_sizes(ranks: ProgramRanks) -> None:
    ranks.settings["sizes_bytes"] = []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(no_program, "all_reduce_perf: role nccl_env builds it", id="no-program"),
        pytest.param(no_mpich, "is not linked with MPICH", id="another-mpi"),
        pytest.param(small_memory, "busy: only 4 KiB", id="memory"),
        pytest.param(busy_gpu, "busy: a process is using the GPU (pid 4242)", id="gpu"),
        pytest.param(no_settings, "does not have the form of", id="settings"),
        pytest.param(no_sizes, "wants at least one size", id="sizes"),
    ],
)
def test_what_cannot_be_measured_is_skipped_with_the_reason(
    ranks: ProgramRanks, spoil: t.Callable[[ProgramRanks], None], says: str
) -> None:
    spoil(ranks)
    result = ranks.here("spark1")
    assert says in result["skipped"]
    assert (result["runs"], result["failure"], result["log"]) == ([], None, None)
    assert fits(result, NcclMeasurement)
    clean(ranks)


def test_a_rank_says_in_which_boot_and_when_it_measured(ranks: ProgramRanks) -> None:
    proc = ranks.folder / "spark1/proc"
    (proc / "sys/kernel/random").mkdir(parents=True)
    (proc / "sys/kernel/random/boot_id").write_text("c82c1b05\n", encoding="utf-8")
    (proc / "uptime").write_text("4711.25 900.00\n", encoding="utf-8")
    ranks.profile["rendezvous_s"] = 1
    result = ranks.here("spark1")
    assert result["skipped"] is None
    assert (result["boot_id"], result["uptime_s"]) == ("c82c1b05", 4711.25)
    assert abs(result["clock_step_s"]) < 0.5
    assert result["duration_s"] > 0.5


def test_one_node_and_a_profile_without_settings(ranks: ProgramRanks) -> None:
    ranks.plan["nodes"] = {"spark1": ranks.plan["nodes"]["spark1"]}
    assert ranks.here("spark1")["skipped"] == "one node alone has no fabric to measure"
    ranks.settings = t.cast("t.Any", None)
    assert "does not say how to measure with nccl-tests" in ranks.here("spark1")["skipped"]
