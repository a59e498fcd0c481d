# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ranks do with the fabric and their GPU: collectives, timed and checked, and matrices.

Copied beside nccl_bench.py: nothing but the standard library and torch, Python 3.10 or newer.
"""

from __future__ import annotations

import time
import typing as t

FLOAT_BYTES = 4
ALIGNMENT = 4  # elements: nccl-tests cuts a share to 16 bytes
# A prime: data that NCCL puts a whole number of its chunks too far is wrong then too.
PERIOD = 65521
BLOCK = 1 << 22  # elements that are filled or compared at once
POISON = -1

SIDE = 4096  # of a matrix: a product of two takes a GB10 some milliseconds
MATRICES_BYTES = 3 * SIDE * SIDE * 2
BATCH = 20  # products between two looks at the clock

Job = dict[str, t.Any]
Run = dict[str, t.Any]


class Operation(t.NamedTuple):
    """A collective on buffers of its own."""

    size: int  # bytes
    operate: t.Callable[[], None]
    check: t.Callable[[], int]  # once more, on known data: the number of wrong elements


class Collectives:
    """The collectives of some ranks; all of them call the same in the same order."""

    def __init__(self, torch: t.Any, dist: t.Any, job: Job, ranks: t.Sequence[int], group: t.Any = None) -> None:
        self._torch = torch
        self._dist = dist
        self._job = job
        self._group = group
        self._rank = list(ranks).index(job["rank"])
        self._ranks = len(ranks)
        self._token = self._empty(1).fill_(0)

    def least(self, number: int) -> int:
        """The smallest that any rank has; asking also makes NCCL connect."""
        agreed = self._torch.tensor([number], dtype=self._torch.int64, device="cuda")
        self._dist.all_reduce(agreed, op=self._dist.ReduceOp.MIN, group=self._group)
        return int(agreed.item())

    def meet(self) -> None:
        """Go on when all ranks have come so far."""
        self._dist.all_reduce(self._token, group=self._group)
        self._torch.cuda.synchronize()

    def all_gather(self, size: int) -> Operation:
        share = share_elements(size, self._ranks)
        sent, received = self._empty(share), self._empty(share * self._ranks)
        self._fill(sent)

        def gather() -> None:
            self._dist.all_gather_into_tensor(received, sent, group=self._group)

        def check() -> int:
            received.fill_(POISON)
            gather()
            parts = (received[rank * share : (rank + 1) * share] for rank in range(self._ranks))
            return sum(self._wrong(part, rank + 1, rank) for rank, part in enumerate(parts))

        return Operation(share * self._ranks * FLOAT_BYTES, gather, check)

    def all_reduce(self, size: int) -> Operation:
        buffer = self._empty(size // FLOAT_BYTES)
        factor, offset = self._ranks * (self._ranks + 1) // 2, self._ranks * (self._ranks - 1) // 2

        def reduce() -> None:
            self._dist.all_reduce(buffer, group=self._group)

        def check() -> int:
            self._fill(buffer)
            reduce()
            return self._wrong(buffer, factor, offset)

        self._fill(buffer)
        return Operation(size // FLOAT_BYTES * FLOAT_BYTES, reduce, check)

    def runs(self, collective: str, size: int) -> t.Iterator[Run]:
        """Each run is timed first and checked with one more operation after: a sum over its own result is no sum."""
        operation: Operation = getattr(self, collective)(size)
        warmups = self._job["warmup"]
        for number in range(warmups + self._job["repeats"]):
            seconds = self._seconds(operation.operate)
            algbw, busbw = bandwidths(collective, operation.size, seconds, self._ranks)
            yield {
                "collective": collective,
                "size_bytes": operation.size,
                "warmup": number < warmups,
                "iterations": self._job["iterations"],
                "seconds": seconds,
                "algbw_gbs": algbw,
                "busbw_gbs": busbw,
                "wrong": operation.check(),
            }
        del operation
        self._torch.cuda.empty_cache()

    def _seconds(self, operate: t.Callable[[], None]) -> float:
        """Of one operation. A small one before it, so that nobody's clock runs while a rank is still checking."""
        iterations: int = self._job["iterations"]
        begin, end = (self._torch.cuda.Event(enable_timing=True), self._torch.cuda.Event(enable_timing=True))
        self._dist.all_reduce(self._token, group=self._group)
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


class Matrices:
    """Work for the GPU alone. Random numbers: equal ones take less power than real work does."""

    def __init__(self, torch: t.Any) -> None:
        self._torch = torch
        self._left, self._right, self._product = (
            torch.rand((SIDE, SIDE), dtype=torch.bfloat16, device="cuda") for _matrix in range(3)
        )

    def multiply(self, seconds: float) -> float:
        """Multiply for so long; returns how long it was."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            for _product in range(BATCH):
                self._torch.mm(self._left, self._right, out=self._product)
            self._torch.cuda.synchronize()
        return time.monotonic() - began


def rounds_of_pairs(ranks: int) -> list[list[tuple[int, int]]]:
    """The circle method: a rank is in one pair of a round at most, and all rounds together pair every two once."""
    seats: list[int | None] = [*range(ranks), *([None] if ranks % 2 else [])]  # whoever meets None has a bye
    rounds = []
    for _round in range(len(seats) - 1):
        met = zip(seats[: len(seats) // 2], reversed(seats[len(seats) // 2 :]), strict=True)
        rounds.append([(min(one, two), max(one, two)) for one, two in met if one is not None and two is not None])
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return rounds


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
