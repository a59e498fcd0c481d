# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which programs of nccl-tests are run, how, and what comes of their output (health-checks 3.5, P06, C04, C05)."""

from __future__ import annotations

import typing as t

from .error import ProbeError
from .nccl_tests import NcclTests, agrees, parse_json, parse_text

if t.TYPE_CHECKING:
    from ..contracts import NcclRun, NcclTestsSettings
    from .nccl_tests import Row

PROGRAMS: dict[t.Literal["all_gather", "all_reduce"], str] = {
    "all_gather": "all_gather_perf",
    "all_reduce": "all_reduce_perf",
}
WARMUP_OPERATIONS = 5  # P06 of health-checks; beside the cycles of the profile that do not count
_CUT = 1024  # a size is cut to equal shares of whole 16 bytes
_JSON_OPTION = "-J,"


class Job(t.NamedTuple):
    """One program, of some ranks."""

    collective: t.Literal["all_gather", "all_reduce"]
    size: int
    ranks: tuple[int, ...]


class Step(t.NamedTuple):
    """What is run at the same time: one program of all ranks, or one of each of some pairs."""

    stage: str
    jobs: tuple[Job, ...]

    def job_of(self, rank: int) -> Job | None:
        return next((job for job in self.jobs if rank in job.ranks), None)


def steps(
    world_size: int,
    sizes: t.Sequence[int],
    pair_sizes: t.Sequence[int],
    rounds: t.Sequence[t.Sequence[tuple[int, int]]],
) -> list[Step]:
    """First what all ranks do together. Two ranks are one pair, and all of them."""
    everyone = tuple(range(world_size))
    found = [Step(collective, (Job(collective, size, everyone),)) for size in sizes for collective in PROGRAMS]
    if world_size > 2:
        found += [
            Step("pairs", tuple(Job("all_gather", size, pair) for pair in pairs))
            for pairs in rounds
            for size in pair_sizes
        ]
    return found


def program_argv(folder: str, job: Job, settings: NcclTestsSettings, json_file: str | None) -> list[str]:
    """One process a node with one GPU. The time is that of the slowest rank, as that of the torch harness is."""
    size, cycles = str(job.size), settings["warmup"] + settings["repeats"]
    return [
        *(f"{folder}/{PROGRAMS[job.collective]}", "-t", "1", "-g", "1", "-b", size, "-e", size),
        *("-n", str(settings["iterations"]), "-w", str(WARMUP_OPERATIONS), "-N", str(cycles), "-c", "1", "-a", "3"),
        *(("-J", json_file) if json_file else ()),
    ]


def writes_json(usage: str) -> bool:
    """Whether the program has -J (since 2.17.3), by what it says of itself."""
    return _JSON_OPTION in usage


def read_output(text: str, json_text: str | None, job: Job, settings: NcclTestsSettings) -> NcclTests:
    """What the program printed, once it is complete and says the same in its JSON. ProbeError when it does not."""
    found = parse_text(text)
    if json_text is not None and not agrees(found, parse_json(json_text)):
        raise ProbeError(f"{PROGRAMS[job.collective]} says one thing as text and another as JSON")
    if len(found.devices) != len(job.ranks):
        raise ProbeError(
            f"{PROGRAMS[job.collective]} names {len(found.devices)} ranks instead of {len(job.ranks)}:"
            " is it built with MPI=1, for the MPICH of this node?"
        )
    cycles = settings["warmup"] + settings["repeats"]
    if len(found.rows) != cycles or any(not 0 <= job.size - row.size_bytes <= _CUT for row in found.rows):
        raise ProbeError(f"{PROGRAMS[job.collective]} printed {len(found.rows)} rows, expected {cycles} of {job.size}")
    if found.correct is None:
        raise ProbeError(f"{PROGRAMS[job.collective]} did not check its data")
    return found


def runs_of(found: NcclTests, job: Job, settings: NcclTestsSettings) -> list[NcclRun]:
    """One run for each cycle. Speed is that of the operation out of place; data count in both places."""
    runs = [_run(row, job, settings, number < settings["warmup"]) for number, row in enumerate(found.rows)]
    if found.out_of_bounds and not any(run["wrong"] for run in runs):
        runs[-1]["wrong"] = found.out_of_bounds
    return runs


def _run(row: Row, job: Job, settings: NcclTestsSettings, warmup: bool) -> NcclRun:
    return {
        "collective": job.collective,
        "size_bytes": row.size_bytes,
        "warmup": warmup,
        "iterations": settings["iterations"],
        "seconds": row.out_of_place.time_us / 1e6,
        "algbw_gbs": row.out_of_place.algbw,
        "busbw_gbs": row.out_of_place.busbw,
        "wrong": (row.out_of_place.wrong or 0) + (row.in_place.wrong or 0),
    }
