"""As much of torch as nccl_bench.py uses: tensors are lists, ranks are processes that talk through their store.

FAKE_TORCH names a JSON file that says how this rank behaves: {"hang": STAGE}, {"crash": STAGE}, {"raise": STAGE},
{"corrupt": COLLECTIVE}, {"gpu": false}, {"library": PATH} to map, {"log": PATH} to write as NCCL's log, {"pair_log":
PATH} to write behind it when two ranks meet by themselves.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import time
from pathlib import Path
from types import SimpleNamespace

__version__ = "2.11.0+fake"
BEHAVIOUR = json.loads(Path(os.environ["FAKE_TORCH"]).read_text())

int32, int64, float32, bfloat16 = "int32", "int64", "float32", "bfloat16"


def misbehave(stage: str) -> None:
    if BEHAVIOUR.get("hang") == stage:
        ctypes.PyDLL(None).sleep(3600)  # does not let go of the interpreter, as a driver may not
    if BEHAVIOUR.get("crash") == stage:
        os.abort()
    if BEHAVIOUR.get("raise") == stage:
        raise RuntimeError("NCCL error: unhandled system error\nand a long story")


class Tensor:
    def __init__(self, storage: list, start: int = 0, stop: int | None = None) -> None:
        self.storage = storage
        self.start = start
        self.stop = len(storage) if stop is None else stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> Tensor:
        start, stop, _step = part.indices(len(self))
        return Tensor(self.storage, self.start + start, self.start + stop)

    def values(self) -> list:
        return self.storage[self.start : self.stop]

    def put(self, values: list) -> Tensor:
        assert len(values) == len(self)
        self.storage[self.start : self.stop] = values
        return self

    def copy_(self, other: Tensor) -> Tensor:
        return self.put(other.values())

    def fill_(self, value: float) -> Tensor:
        return self.put([value] * len(self))

    def add_(self, number: int) -> Tensor:
        return self.put([value + number for value in self.values()])

    def mul_(self, number: int) -> Tensor:
        return self.put([value * number for value in self.values()])

    def remainder_(self, number: int) -> Tensor:
        return self.put([value % number for value in self.values()])

    def ne(self, other: Tensor) -> Tensor:
        return Tensor([one != two for one, two in zip(self.values(), other.values(), strict=True)])

    def sum(self) -> Tensor:
        return Tensor([sum(self.values())])

    def item(self) -> float:
        (value,) = self.values()
        return value


def empty(elements: int, dtype: str, device: str) -> Tensor:
    return Tensor([float("nan")] * elements)


def rand(shape: tuple[int, int], dtype: str, device: str) -> Tensor:
    return Tensor([0.5])


def mm(left: Tensor, right: Tensor, out: Tensor) -> None:
    misbehave("gpu_load")
    time.sleep(0.001)
    out.fill_(left.item() * right.item())


def arange(elements: int, dtype: str, device: str) -> Tensor:
    return Tensor(list(range(elements)))


def tensor(values: list, dtype: str, device: str) -> Tensor:
    return Tensor(list(values))


class Event:
    def __init__(self, enable_timing: bool) -> None:
        self.moment = 0.0

    def record(self) -> None:
        self.moment = time.perf_counter()

    def elapsed_time(self, other: Event) -> float:
        return (other.moment - self.moment) * 1000


cuda = SimpleNamespace(
    is_available=lambda: BEHAVIOUR.get("gpu", True),
    set_device=lambda index: None,
    synchronize=lambda: None,
    empty_cache=lambda: None,
    Event=Event,
    nccl=SimpleNamespace(version=lambda: (2, 30, 7)),
)

misbehave("import")
if "library" in BEHAVIOUR:
    with Path(BEHAVIOUR["library"]).open("rb") as _file:
        _mapped = mmap.mmap(_file.fileno(), 0, access=mmap.ACCESS_READ)
