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
_world: dict = {}


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


class _Group:
    def __init__(self, name: str, ranks: list[int]) -> None:
        self.name = name
        self.ranks = ranks
        self.operations = 0


def _write_log(what: str) -> None:
    if what in BEHAVIOUR:
        with Path(os.environ["NCCL_DEBUG_FILE"]).open("a") as log:
            log.write(Path(BEHAVIOUR[what]).read_text())


def init_process_group(backend: str, store: TCPStore, rank: int, world_size: int, timeout: timedelta) -> None:
    assert backend == "nccl"
    _world.update(store=store, rank=rank, group=_Group("all", list(range(world_size))))
    _write_log("log")
    Path(os.environ["FAKE_TORCH"]).with_name("seen-environment.json").write_text(json.dumps(dict(os.environ)))
    misbehave("init")


def new_group(ranks: list[int], timeout: timedelta) -> _Group | None:
    """As in torch: every rank makes every group, and gets nothing to use for one that it is not in."""
    _world["groups"] = number = _world.get("groups", 0) + 1
    name = f"group{number}-{ranks}"
    _world["store"].set(f"made/{name}/{_world['rank']}", 1)
    everyone = _world["group"].ranks
    _world["store"].wait([f"made/{name}/{rank}" for rank in everyone], timedelta(seconds=60))
    return _Group(name, ranks) if _world["rank"] in ranks else None


def _from_all(values: list, group: _Group | None) -> list[list]:
    store, group = _world["store"], group or _world["group"]
    if group.operations == 0 and group is not _world["group"]:
        _write_log("pair_log")
        misbehave("pairs")
    group.operations += 1
    prefix = f"{group.name}/{group.operations}"
    store.set(f"{prefix}/{_world['rank']}", values)
    names = [f"{prefix}/{rank}" for rank in group.ranks]
    store.wait(names, timedelta(seconds=60))
    return [store.get(name) for name in names]


def all_gather_into_tensor(received: Tensor, sent: Tensor, group: _Group | None = None) -> None:
    misbehave("all_gather")
    values = [value for part in _from_all(sent.values(), group) for value in part]
    if BEHAVIOUR.get("corrupt") == ("all_gather" if group is None else "pairs"):
        values[:5] = values[1:6]
    received.put(values)


def all_reduce(buffer: Tensor, op: str = ReduceOp.SUM, group: _Group | None = None) -> None:
    together = min if op == ReduceOp.MIN else sum
    if len(buffer) > 1:
        misbehave("all_reduce")
    values = [together(column) for column in zip(*_from_all(buffer.values(), group), strict=True)]
    if BEHAVIOUR.get("corrupt") == "all_reduce" and len(buffer) > 1:
        values[7] += 1
    buffer.put(values)
