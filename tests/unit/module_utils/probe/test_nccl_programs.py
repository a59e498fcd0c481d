from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_collectives import rounds_of_pairs
from ansible_collections.gb10.cluster.plugins.module_utils.probe.error import ProbeError
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_programs import (
    Job,
    Step,
    program_argv,
    read_output,
    runs_of,
    steps,
    writes_json,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures/nccl"
TEXT = (FIXTURES / "all_gather.txt").read_text(encoding="utf-8")
JSON = (FIXTURES / "all_gather.json").read_text(encoding="utf-8")
LARGE = " 17179869168    1431655764     float    none      -1   478885   35.87   23.92       0   474170   36.23   24.15       0"
SMALL = next(line for line in TEXT.splitlines() if line.startswith("    33554400"))
SETTINGS: t.Any = {
    "sizes_bytes": [1 << 34],
    "pair_sizes_bytes": [],
    "iterations": 20,
    "warmup": 1,
    "repeats": 1,
    "timeout_s": 300,
}
JOB = Job("all_gather", 1 << 34, (0, 1, 2))
CYCLES = TEXT.replace(SMALL, LARGE)  # two cycles of 16 GiB


def test_all_ranks_together_come_before_pairs() -> None:
    found = steps(3, [64, 1024], [64], rounds_of_pairs(3))
    assert [(step.stage, [(job.collective, job.size) for job in step.jobs]) for step in found[:4]] == [
        ("all_gather", [("all_gather", 64)]),
        ("all_reduce", [("all_reduce", 64)]),
        ("all_gather", [("all_gather", 1024)]),
        ("all_reduce", [("all_reduce", 1024)]),
    ]
    assert {step.stage for step in found[4:]} == {"pairs"}
    assert sorted(job.ranks for step in found[4:] for job in step.jobs) == [(0, 1), (0, 2), (1, 2)]


def test_two_ranks_are_one_pair_and_all_of_them() -> None:
    assert [step.stage for step in steps(2, [64], [64], rounds_of_pairs(2))] == ["all_gather", "all_reduce"]


@given(st.integers(2, 8))
def test_no_rank_is_in_two_programs_at_once(ranks: int) -> None:
    for step in steps(ranks, [64], [64], rounds_of_pairs(ranks)):
        taken = [rank for job in step.jobs for rank in job.ranks]
        assert len(taken) == len(set(taken))
        assert all((step.job_of(rank) is not None) == (rank in taken) for rank in range(ranks))


def test_the_command_is_that_of_the_catalogue() -> None:
    argv = program_argv("/opt/nccl-tests", Job("all_gather", 1 << 30, (0, 1)), SETTINGS, "/run/x/0.json")
    assert argv[0] == "/opt/nccl-tests/all_gather_perf"
    said = dict(zip(argv[1::2], argv[2::2], strict=True))
    assert said == {
        **{"-t": "1", "-g": "1", "-b": "1073741824", "-e": "1073741824"},
        **{"-n": "20", "-w": "5", "-N": "2", "-c": "1", "-a": "3", "-J": "/run/x/0.json"},
    }
    assert "-J" not in program_argv("/opt/nccl-tests", JOB, SETTINGS, None)


def test_json_is_asked_for_where_the_program_knows_it() -> None:
    assert writes_json("[-J,--output_file <file>]")
    assert not writes_json("[-c,--check <check iteration count>]")


def test_recorded_cycles_become_runs() -> None:
    first, second = runs_of(read_output(CYCLES, None, JOB, SETTINGS), JOB, SETTINGS)
    assert (first["warmup"], second["warmup"]) == (True, False)
    assert second == {
        "collective": "all_gather",
        "size_bytes": 17179869168,
        "warmup": False,
        "iterations": 20,
        "seconds": pytest.approx(0.478885),
        "algbw_gbs": 35.87,
        "busbw_gbs": 23.92,
        "wrong": 0,
    }


def test_wrong_data_of_both_places_count_and_bounds_alone_too() -> None:
    wrong = LARGE.replace("23.92       0", "23.92       7").replace("24.15       0", "24.15       2")
    found = read_output(CYCLES.replace(LARGE, wrong).replace("values : 0 OK", "values : 9 FAILED"), None, JOB, SETTINGS)
    assert [run["wrong"] for run in runs_of(found, JOB, SETTINGS)] == [9, 9]
    bounds = read_output(CYCLES.replace("values : 0 OK", "values : 9 FAILED"), None, JOB, SETTINGS)
    assert [run["wrong"] for run in runs_of(bounds, JOB, SETTINGS)] == [0, 9]


@pytest.mark.parametrize(
    ("text", "json_text", "says"),
    [
        pytest.param(CYCLES, JSON, "one thing as text and another as JSON", id="json-of-another-run"),
        pytest.param(CYCLES, JSON[:500], "not one object", id="json-cut-short"),
        pytest.param(CYCLES, "", "not one object", id="no-json"),
        pytest.param(TEXT, None, "printed 2 rows, expected 2 of 17179869184", id="another-size"),
        pytest.param(CYCLES.replace(LARGE, "", 1), None, "printed 1 rows, expected 2", id="a-cycle-is-missing"),
        pytest.param(CYCLES.replace("       0", "     N/A"), None, "did not check its data", id="not-checked"),
        pytest.param(CYCLES.replace("#  Rank  2", "#  rank  2"), None, "names 2 ranks instead of 3", id="rank-missing"),
        pytest.param("", None, "printed 0 tables", id="nothing"),
    ],
)
def test_what_is_not_complete_is_no_result(text: str, json_text: str | None, says: str) -> None:
    with pytest.raises(ProbeError, match=says):
        read_output(text, json_text, JOB, SETTINGS)


def test_a_step_knows_its_program_of_a_rank() -> None:
    step = Step("pairs", (Job("all_gather", 64, (0, 1)),))
    assert step.job_of(1) == step.jobs[0]
    assert step.job_of(2) is None
