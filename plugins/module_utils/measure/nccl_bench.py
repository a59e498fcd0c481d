# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rank of an NCCL measurement: `nccl_bench.py JOB.json`.

The probe copies this file and the two it imports to where the engine will run, into its image or its virtual
environment: nothing but the standard library and torch, Python 3.10 or newer. The report is one JSON document that is
replaced as a whole after every step, so that a rank which is killed or crashes has said how far it came.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import sys
import time
import typing as t
from datetime import timedelta
from pathlib import Path

END_S = 10
HOLD_S = 10  # for the probe beside to read counters
SLICE_S = 0.25  # of matrices between the collectives of a soak
NOTE_S = 10  # between two entries of a soak
MAX_MESSAGE = 300
NO_WORD = "it ended without a word"

# What a failure in a stage is taken for. Within a collective this rank cannot tell a lost peer from a bad path.
CAUSES = {
    "import": "software",
    "gpu_load": "software",
    "rendezvous": "environment",
    "init": "configuration",
    "all_gather": "environment",
    "all_reduce": "environment",
    "counted": "instrument",
    "pairs": "environment",
    "soak_begins": "environment",
    "soak": "environment",
    "soak_ended": "environment",
}

Job = dict[str, t.Any]


def main(job_file: str) -> t.NoReturn:
    job: Job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    # A thread of C: it fires also while NCCL does not let go of the interpreter.
    faulthandler.dump_traceback_later(job["deadline_s"], exit=True)
    report, status = Report(Path(job["report"])), 0
    try:
        run(job, report)
    except Exception as error:
        report.fail(error)
        status = 1
    # A broken communicator would hold up the ordinary end.
    os._exit(status)


class Report:
    """The document. While a stage lasts it holds the failure that a sudden end in it would be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._document: dict[str, t.Any] = {
            "torch": None,
            "library": None,
            "inside": None,
            "gpu_load": None,
            "runs": [],
            "pairs": [],
            "soak": None,
            "left_out": [],
            "log_bytes": None,
            "failure": None,
        }

    def enter(self, stage: str) -> None:
        self._document["failure"] = {"stage": stage, "cause": CAUSES[stage], "message": NO_WORD}
        self.write()

    def put(self, **values: t.Any) -> None:
        self._document.update(values)

    def pair(self, peer: int) -> list[dict[str, t.Any]]:
        """Where the runs with one peer go."""
        self._document["pairs"].append({"peer": peer, "runs": []})
        runs: list[dict[str, t.Any]] = self._document["pairs"][-1]["runs"]
        return runs

    def add(self, runs: t.Iterable[dict[str, t.Any]], to: list[dict[str, t.Any]] | None = None) -> None:
        """Each run as it ends."""
        for run in runs:
            (self._document["runs"] if to is None else to).append(run)
            self.write()

    def hold(self, stage: str) -> None:
        """Wait in a stage until the probe beside has seen it: it answers with a file. Should it be gone, go on."""
        self.enter(stage)
        seen, until = self._path.with_name(f"{stage}.seen"), time.monotonic() + HOLD_S
        while not seen.exists() and time.monotonic() < until:
            time.sleep(0.05)

    def fail(self, error: Exception) -> None:
        failure = self._document["failure"] or {"stage": "import", "cause": "software"}
        first_line = (str(error).strip().splitlines() or ["no word"])[0]
        failure["message"] = f"{type(error).__name__}: {first_line}"[:MAX_MESSAGE]
        self.put(failure=failure)
        self.write()

    def write(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._document), encoding="utf-8")
        new.replace(self._path)


def run(job: Job, report: Report) -> None:
    report.enter("import")
    sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH of an image leaves it out
    place, work = importlib.import_module("nccl_place"), importlib.import_module("nccl_collectives")
    report.put(inside=place.inside(job["brought"], os.environ))
    torch, dist = importlib.import_module("torch"), importlib.import_module("torch.distributed")
    report.put(torch=str(torch.__version__))
    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU: is this its CUDA build, and was the GPU given to the container?")
    torch.cuda.set_device(0)
    report.put(library=place.library(_read("/proc/self/maps"), torch.cuda.nccl.version()))
    if job["gpu_load_s"]:
        report.enter("gpu_load")
        report.put(gpu_load=gpu_load(torch, work, job))
    store = together(torch, dist, work, job, report) if job["world_size"] > 1 else None
    report.put(failure=None)
    report.write()
    if store is not None:
        _leave_together(store, job)


def together(torch: t.Any, dist: t.Any, work: t.Any, job: Job, report: Report) -> t.Any:
    """What needs the other ranks; returns the store over which they met."""
    report.enter("rendezvous")
    store = join(dist, job)
    report.enter("init")
    dist.init_process_group("nccl", store=store, rank=job["rank"], world_size=job["world_size"], timeout=_no_limit(job))
    everyone = work.Collectives(torch, dist, job, range(job["world_size"]))
    measure(torch, dist, work, job, report, everyone)
    return store


def measure(torch: t.Any, dist: t.Any, work: t.Any, job: Job, report: Report, everyone: t.Any) -> None:
    sizes = affordable(everyone, job["sizes_bytes"], job)
    pair_sizes = affordable(everyone, job["pair_sizes_bytes"], job)
    report.put(left_out=[size for size in job["sizes_bytes"] if size not in sizes])
    for size in sizes:
        for collective in ("all_gather", "all_reduce"):
            report.enter(collective)
            report.add(everyone.runs(collective, size))
    # What follows makes queue pairs and moves bytes that say nothing about all ranks together.
    report.put(log_bytes=_size_of(os.environ.get("NCCL_DEBUG_FILE", "")))
    report.hold("counted")
    if pair_sizes:
        report.enter("pairs")
        all_pairs(torch, dist, work, job, report, everyone, pair_sizes)
    if job["soak_s"] and sizes:
        soak(torch, work, job, report, everyone, sizes[0])


def _no_limit(job: Job) -> timedelta:
    """Longer than the deadline, so that it is the deadline that ends a collective which hangs."""
    return timedelta(seconds=2 * job["deadline_s"])


# --- what is measured ---


def spare_bytes(job: Job) -> int:
    """What may be used beside what the profile wants free."""
    return available_bytes(_read("/proc/meminfo")) - int(job["reserve_bytes"])


def affordable(everyone: t.Any, sizes: list[int], job: Job) -> list[int]:
    """The sizes of which every rank has three times the memory."""
    limit = everyone.least(spare_bytes(job) // 3) if sizes else 0
    return [size for size in sizes if size <= limit]


def gpu_load(torch: t.Any, work: t.Any, job: Job) -> dict[str, t.Any]:
    """Keep the GPU busy while the probe beside looks at its clock."""
    problem = short_for_matrices(work, job)
    if problem:
        return {"seconds": 0.0, "problem": problem}
    seconds = work.Matrices(torch).multiply(job["gpu_load_s"])
    torch.cuda.empty_cache()
    return {"seconds": seconds, "problem": None}


def short_for_matrices(work: t.Any, job: Job) -> str | None:
    spare, wanted = spare_bytes(job), 3 * work.MATRICES_BYTES
    return None if spare >= wanted else f"only {spare >> 20} MiB of memory to spare, {wanted >> 20} are wanted"


def all_pairs(
    torch: t.Any, dist: t.Any, work: t.Any, job: Job, report: Report, everyone: t.Any, sizes: list[int]
) -> None:
    """Every two ranks by themselves, no rank in two pairs at once. All ranks make all groups, in one order."""
    rounds = work.rounds_of_pairs(job["world_size"])
    groups = {pair: dist.new_group(list(pair), timeout=_no_limit(job)) for pairs in rounds for pair in pairs}
    for pairs in rounds:
        for pair in pairs:
            if job["rank"] in pair:
                (peer,) = {*pair} - {job["rank"]}
                together, to = work.Collectives(torch, dist, job, pair, groups[pair]), report.pair(peer)
                for size in sizes:
                    report.add(together.runs("all_gather", size), to)
        everyone.meet()


def soak(torch: t.Any, work: t.Any, job: Job, report: Report, everyone: t.Any, size: int) -> None:
    """Matrices and collectives in turn until the time is up on every rank."""
    done: dict[str, t.Any] = {"seconds": 0.0, "rounds": 0, "wrong": 0, "problem": short_for_matrices(work, job)}
    report.put(soak=done)
    if not everyone.least(int(done["problem"] is None)):
        done["problem"] = done["problem"] or "another rank has too little memory for it"
        return
    matrices, operations = work.Matrices(torch), (everyone.all_gather(size), everyone.all_reduce(size))
    report.hold("soak_begins")
    report.enter("soak")
    began = noted = time.monotonic()
    while not everyone.least(int(done["seconds"] >= job["soak_s"])):
        matrices.multiply(SLICE_S)
        done["wrong"] += sum(operation.check() for operation in operations)
        done["rounds"] += 1
        done["seconds"] = time.monotonic() - began
        if time.monotonic() - noted > NOTE_S:
            report.write()
            noted = time.monotonic()
    report.hold("soak_ended")


# --- the ranks find each other ---


def join(dist: t.Any, job: Job) -> t.Any:
    """The store of rank 0, once all ranks have come to it."""
    until = time.monotonic() + job["rendezvous_s"]
    ranks = range(job["world_size"])
    store = dist.TCPStore(
        job["address"], job["port"], job["world_size"], job["rank"] == 0, _until(until), wait_for_workers=False
    )
    store.set(f"came/{job['rank']}", "1")
    try:
        store.wait([f"came/{rank}" for rank in ranks], _until(until))
    except Exception as error:
        absent = [str(rank) for rank in ranks if not store.check([f"came/{rank}"])]
        if absent:
            raise TimeoutError(f"rank {', '.join(absent)} did not come within {job['rendezvous_s']} s") from error
        raise
    store.set(f"met/{job['rank']}", "1")
    if job["rank"] == 0:
        # The store goes with rank 0: should it fail at once, the others must have seen that it came.
        store.wait([f"met/{rank}" for rank in ranks], _until(until))
    return store


def _until(moment: float) -> timedelta:
    return timedelta(seconds=max(moment - time.monotonic(), 1))


def _leave_together(store: t.Any, job: Job) -> None:
    """Rank 0 keeps the store: whoever is still on the way to the end must find it."""
    try:
        store.set(f"done/{job['rank']}", "1")
        store.wait([f"done/{rank}" for rank in range(job["world_size"])], timedelta(seconds=END_S))
        if job["rank"] == 0:
            time.sleep(0.5)
    except Exception:  # noqa: S110 - the measurement is complete
        pass


def available_bytes(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    main(sys.argv[1])
