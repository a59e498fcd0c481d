# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rank of an NCCL measurement: `nccl_bench.py JOB.json`.

The probe copies this file to where the engine will run, into its image or its virtual environment: nothing but the
standard library and torch, Python 3.10 or newer. The report is one JSON document that is replaced as a whole after
every step, so that a rank which is killed or crashes has said how far it came.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import json
import mmap
import os
import struct
import sys
import time
import typing as t
from datetime import timedelta
from pathlib import Path

FLOAT_BYTES = 4
ALIGNMENT = 4  # elements: nccl-tests cuts a share to 16 bytes
# A prime: data that NCCL puts a whole number of its chunks too far is wrong then too.
PERIOD = 65521
BLOCK = 1 << 22  # elements that are filled or compared at once
POISON = -1
END_S = 10
MAX_MESSAGE = 300
NO_WORD = "it ended without a word"

PT_NOTE = 4
NT_GNU_BUILD_ID = 3

# What a failure in a stage is taken for. Within a collective this rank cannot tell a lost peer from a bad path.
CAUSES = {
    "import": "software",
    "rendezvous": "environment",
    "init": "configuration",
    "all_gather": "environment",
    "all_reduce": "environment",
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
            "runs": [],
            "left_out": [],
            "failure": None,
        }

    def enter(self, stage: str) -> None:
        self._document["failure"] = {"stage": stage, "cause": CAUSES[stage], "message": NO_WORD}
        self.write()

    def put(self, **values: t.Any) -> None:
        self._document.update(values)

    def add(self, run: dict[str, t.Any]) -> None:
        self._document["runs"].append(run)
        self.write()

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
    torch, dist = importlib.import_module("torch"), importlib.import_module("torch.distributed")
    report.put(torch=str(torch.__version__))
    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU: is this its CUDA build, and was the GPU given to the container?")
    torch.cuda.set_device(0)
    report.put(library=library(_read("/proc/self/maps"), torch.cuda.nccl.version()))
    report.enter("rendezvous")
    store = join(dist, job)
    report.enter("init")
    dist.init_process_group(
        "nccl",
        store=store,
        rank=job["rank"],
        world_size=job["world_size"],
        # Longer than the deadline, so that it is the deadline that ends a collective which hangs.
        timeout=timedelta(seconds=2 * job["deadline_s"]),
    )
    bench = Bench(torch, dist, job, report)
    sizes = bench.affordable(job["sizes_bytes"])
    report.put(left_out=[size for size in job["sizes_bytes"] if size not in sizes])
    for size in sizes:
        bench.all_gather(size)
        bench.all_reduce(size)
    report.put(failure=None)
    report.write()
    _leave_together(store, job)


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


# --- measuring ---


class Bench:
    def __init__(self, torch: t.Any, dist: t.Any, job: Job, report: Report) -> None:
        self._torch = torch
        self._dist = dist
        self._job = job
        self._report = report
        self._rank: int = job["rank"]
        self._ranks: int = job["world_size"]
        self._token = self._empty(1).fill_(0)

    def affordable(self, sizes: list[int]) -> list[int]:
        """The sizes of which every rank has three times the memory; asking also makes NCCL connect."""
        most = (available_bytes(_read("/proc/meminfo")) - self._job["reserve_bytes"]) // 3
        agreed = self._torch.tensor([most], dtype=self._torch.int64, device="cuda")
        self._dist.all_reduce(agreed, op=self._dist.ReduceOp.MIN)
        limit = int(agreed.item())
        return [size for size in sizes if size <= limit]

    def all_gather(self, size: int) -> None:
        self._report.enter("all_gather")
        share = share_elements(size, self._ranks)
        sent, received = self._empty(share), self._empty(share * self._ranks)
        self._fill(sent)

        def gather() -> None:
            self._dist.all_gather_into_tensor(received, sent)

        def check() -> int:
            received.fill_(POISON)
            gather()
            parts = (received[rank * share : (rank + 1) * share] for rank in range(self._ranks))
            return sum(self._wrong(part, rank + 1, rank) for rank, part in enumerate(parts))

        self._measure("all_gather", share * self._ranks * FLOAT_BYTES, gather, check)

    def all_reduce(self, size: int) -> None:
        self._report.enter("all_reduce")
        buffer = self._empty(size // FLOAT_BYTES)
        factor, offset = self._ranks * (self._ranks + 1) // 2, self._ranks * (self._ranks - 1) // 2

        def reduce() -> None:
            self._dist.all_reduce(buffer)

        def check() -> int:
            self._fill(buffer)
            reduce()
            return self._wrong(buffer, factor, offset)

        self._fill(buffer)
        self._measure("all_reduce", size // FLOAT_BYTES * FLOAT_BYTES, reduce, check)

    def _measure(self, collective: str, size: int, operate: t.Callable[[], None], check: t.Callable[[], int]) -> None:
        """Each run is timed first and checked with one more operation after: a sum over its own result is no sum."""
        warmups = self._job["warmup"]
        for number in range(warmups + self._job["repeats"]):
            seconds = self._seconds(operate)
            algbw, busbw = bandwidths(collective, size, seconds, self._ranks)
            self._report.add(
                {
                    "collective": collective,
                    "size_bytes": size,
                    "warmup": number < warmups,
                    "iterations": self._job["iterations"],
                    "seconds": seconds,
                    "algbw_gbs": algbw,
                    "busbw_gbs": busbw,
                    "wrong": check(),
                }
            )
        self._torch.cuda.empty_cache()

    def _seconds(self, operate: t.Callable[[], None]) -> float:
        """Of one operation. A small one before it, so that nobody's clock runs while a rank is still checking."""
        iterations: int = self._job["iterations"]
        begin, end = (self._torch.cuda.Event(enable_timing=True), self._torch.cuda.Event(enable_timing=True))
        self._dist.all_reduce(self._token)
        begin.record()
        for _iteration in range(iterations):
            operate()
        end.record()
        self._torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) / 1000 / iterations

    # --- values that depend on rank and position: position % PERIOD * factor + offset, exact in a float ---

    def _empty(self, elements: int) -> t.Any:
        return self._torch.empty(elements, dtype=self._torch.float32, device="cuda")

    def _fill(self, buffer: t.Any) -> None:
        for start, part in _blocks(buffer):
            part.copy_(self._pattern(start, len(part), self._rank + 1, self._rank))

    def _wrong(self, buffer: t.Any, factor: int, offset: int) -> int:
        return sum(
            int(part.ne(self._pattern(start, len(part), factor, offset)).sum().item())
            for start, part in _blocks(buffer)
        )

    def _pattern(self, start: int, elements: int, factor: int, offset: int) -> t.Any:
        position = self._torch.arange(elements, dtype=self._torch.int32, device="cuda")
        return position.add_(start % PERIOD).remainder_(PERIOD).mul_(factor).add_(offset)


def _blocks(buffer: t.Any) -> t.Iterator[tuple[int, t.Any]]:
    for start in range(0, len(buffer), BLOCK):
        yield start, buffer[start : start + BLOCK]


def share_elements(size_bytes: int, ranks: int) -> int:
    """What one rank contributes to an all_gather of this size, cut as nccl-tests cuts it."""
    return size_bytes // FLOAT_BYTES // ranks // ALIGNMENT * ALIGNMENT


def bandwidths(collective: str, size_bytes: int, seconds: float, ranks: int) -> tuple[float, float]:
    """algbw and busbw in GB/s as nccl-tests has them. The size of an all_gather is what a rank has in the end."""
    algbw = size_bytes / 1e9 / seconds
    share = (ranks - 1) / ranks
    return algbw, algbw * (2 * share if collective == "all_reduce" else share)


def available_bytes(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


# --- which NCCL this is ---


def library(maps: str, built_against: t.Any) -> dict[str, t.Any]:
    """The NCCL that this process has mapped. Its version is the file's own answer, the headers are those of torch."""
    paths = mapped(maps, "libnccl.so")
    path = paths[0] if paths else None
    return {
        "version": _version_of(path) if path else None,
        "headers": ".".join(map(str, built_against)) if isinstance(built_against, tuple) else None,
        "path": path,
        "build_id": build_id(path) if path else None,
        "size_bytes": _size_of(path) if path else None,
        "subnet_aware_routing": _knows(path, b"NCCL_IB_SUBNET_AWARE_ROUTING") if path else None,
        "others": paths[1:],
    }


def mapped(maps: str, name: str) -> list[str]:
    """The files of this name in /proc/self/maps."""
    fields = (line.split(maxsplit=5) for line in maps.splitlines())
    paths = (field[5].removesuffix(" (deleted)") for field in fields if len(field) == 6)
    return list(dict.fromkeys(path for path in paths if Path(path).name.startswith(name)))


def build_id(path: str) -> str | None:
    """The GNU build-id of a 64-bit little-endian ELF file."""
    try:
        with Path(path).open("rb") as file:
            for notes, align in _note_segments(file):
                for owner, kind, content in _notes(notes, align):
                    if (owner, kind) == (b"GNU\0", NT_GNU_BUILD_ID):
                        return content.hex()
    except (OSError, struct.error):
        pass
    return None


def _note_segments(file: t.BinaryIO) -> t.Iterator[tuple[bytes, int]]:
    head = file.read(64)
    if head[:6] != b"\x7fELF\x02\x01":
        return
    (table,) = struct.unpack_from("<Q", head, 32)
    entry_size, entries = struct.unpack_from("<HH", head, 54)
    for number in range(entries):
        file.seek(table + number * entry_size)
        kind, _flags, offset, _virtual, _physical, size, _memory, align = struct.unpack("<II6Q", file.read(56))
        if kind == PT_NOTE:
            file.seek(offset)
            yield file.read(min(size, 1 << 20)), 8 if align == 8 else 4


def _notes(data: bytes, align: int) -> t.Iterator[tuple[bytes, int, bytes]]:
    at = 0
    while at + 12 <= len(data):
        owner_size, size, kind = struct.unpack_from("<III", data, at)
        content = at + 12 + _padded(owner_size, align)
        yield data[at + 12 : at + 12 + owner_size], kind, data[content : content + size]
        at = content + _padded(size, align)


def _padded(size: int, align: int) -> int:
    return -(-size // align) * align


def _version_of(path: str) -> str | None:
    try:
        code = ctypes.c_int()
        if ctypes.CDLL(path).ncclGetVersion(ctypes.byref(code)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return f"{code.value // 10000}.{code.value // 100 % 100}.{code.value % 100}"


def _knows(path: str, name: bytes) -> bool | None:
    """Whether the library has a setting. Its version number says less: a build may carry it early, or not at all."""
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(name) >= 0
    except (OSError, ValueError):
        return None


def _size_of(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except OSError:
        return None


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    main(sys.argv[1])
