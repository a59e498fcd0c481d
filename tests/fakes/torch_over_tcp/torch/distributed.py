"""torch.distributed over one small server of rank 0 that keeps values by name."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

from . import BEHAVIOUR, Tensor, misbehave

ReduceOp = SimpleNamespace(SUM="sum", MIN="min")
_values: dict[str, object] = {}
_group: dict = {"operations": 0}


class _Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        verb, key, value = json.loads(self.rfile.readline())
        if verb == "set":
            _values[key] = value
        self.wfile.write(json.dumps(_values.get(key)).encode() + b"\n")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class TCPStore:
    def __init__(
        self, host: str, port: int, world_size: int, is_master: bool, timeout: timedelta, wait_for_workers: bool
    ) -> None:
        self._address = (host, port)
        if is_master:
            threading.Thread(target=_Server(("", port), _Answer).serve_forever, daemon=True).start()
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            try:
                self.get("nothing")
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError("The client socket has timed out") from None
                time.sleep(0.05)

    def _ask(self, *words: object) -> object:
        with socket.create_connection(self._address, timeout=5) as connection, connection.makefile("rwb") as stream:
            stream.write(json.dumps(words).encode() + b"\n")
            stream.flush()
            return json.loads(stream.readline())

    def set(self, key: str, value: object) -> None:
        self._ask("set", key, value)

    def get(self, key: str) -> object:
        return self._ask("get", key, None)

    def check(self, keys: list[str]) -> bool:
        return all(self.get(key) is not None for key in keys)

    def wait(self, keys: list[str], timeout: timedelta) -> None:
        deadline = time.monotonic() + timeout.total_seconds()
        while not self.check(keys):
            if time.monotonic() > deadline:
                raise RuntimeError("wait timeout")
            time.sleep(0.02)


def init_process_group(backend: str, store: TCPStore, rank: int, world_size: int, timeout: timedelta) -> None:
    assert backend == "nccl"
    _group.update(store=store, rank=rank, ranks=range(world_size))
    if "log" in BEHAVIOUR:
        Path(os.environ["NCCL_DEBUG_FILE"]).write_text(Path(BEHAVIOUR["log"]).read_text())
    Path(os.environ["FAKE_TORCH"]).with_name("seen-environment.json").write_text(json.dumps(dict(os.environ)))
    misbehave("init")


def _from_all(values: list) -> list[list]:
    store, ranks = _group["store"], _group["ranks"]
    number = _group["operations"] = _group["operations"] + 1
    store.set(f"{number}/{_group['rank']}", values)
    names = [f"{number}/{rank}" for rank in ranks]
    store.wait(names, timedelta(seconds=60))
    return [store.get(name) for name in names]


def all_gather_into_tensor(received: Tensor, sent: Tensor) -> None:
    misbehave("all_gather")
    values = [value for part in _from_all(sent.values()) for value in part]
    if BEHAVIOUR.get("corrupt") == "all_gather":
        values[:5] = values[1:6]
    received.put(values)


def all_reduce(buffer: Tensor, op: str = ReduceOp.SUM) -> None:
    together = min if op == ReduceOp.MIN else sum
    if len(buffer) > 1:
        misbehave("all_reduce")
    values = [together(column) for column in zip(*_from_all(buffer.values()), strict=True)]
    if BEHAVIOUR.get("corrupt") == "all_reduce" and len(buffer) > 1:
        values[7] += 1
    buffer.put(values)
