"""Three ranks on loopback, one thread each, and strangers."""

from __future__ import annotations

import json
import socket
import threading
import time
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.measure import meeting
from ansible_collections.gb10.cluster.plugins.module_utils.measure.meeting import Meeting
from ansible_collections.gb10.cluster.plugins.module_utils.measure.results import Broken

MEMBERS = [("spark1", "127.0.0.1"), ("spark2", "127.0.0.2"), ("spark3", "127.0.0.3")]
Act = t.Callable[[Meeting], t.Any]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def together(port: int, acts: dict[int, Act], nonces: dict[int, str] | None = None) -> dict[int, t.Any]:
    """What each rank got, or the sentence with which it broke."""

    def take(rank: int, act: Act) -> t.Any:
        here = Meeting(rank, MEMBERS, port, (nonces or {}).get(rank, "plan"))
        try:
            return act(here)
        except Broken as broken:
            return broken.message
        finally:
            here.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        futures: dict[int, Future[t.Any]] = {rank: pool.submit(take, rank, act) for rank, act in acts.items()}
        return {rank: future.result(timeout=60) for rank, future in futures.items()}


def begin(within_s: float = 20) -> Act:
    return lambda here: here.begin(here.named(here._rank), within_s)


def test_every_rank_gets_the_values_of_all_in_their_order_step_by_step(port: int) -> None:
    def act(here: Meeting) -> list[t.Any]:
        return [here.begin(here._rank, 20), *(here.exchange([step, here._rank], 20) for step in range(3))]

    expected = [[0, 1, 2], *([[step, rank] for rank in range(3)] for step in range(3))]
    assert together(port, dict.fromkeys(range(3), act)) == dict.fromkeys(range(3), expected)


def test_a_rank_that_goes_away_between_two_steps_is_named(port: int) -> None:
    def stay(here: Meeting) -> t.Any:
        here.begin(None, 20)
        return here.exchange(None, 20)

    began = time.monotonic()
    found = together(port, {0: stay, 1: begin(), 2: stay})
    assert time.monotonic() - began < 15
    assert found[0] == "rank 1 (spark2) did not come within 20 s"
    assert found[2] == "rank 1 (spark2) did not come"


def test_a_rank_that_is_silent_costs_the_time_of_the_step(port: int) -> None:
    over = threading.Event()

    def silent(here: Meeting) -> None:
        here.begin(None, 20)
        over.wait(20)

    def wait(here: Meeting) -> t.Any:
        here.begin(None, 20)
        try:
            return here.exchange(None, 1)
        finally:
            over.set()

    found = together(port, {0: wait, 1: silent, 2: wait})
    assert found[0] == "rank 1 (spark2) did not come within 1 s"
    assert found[2] == "rank 1 (spark2) did not come"


def test_rank_0_that_goes_away_is_named(port: int) -> None:
    def stay(here: Meeting) -> t.Any:
        here.begin(None, 20)
        return here.exchange(None, 20)

    found = together(port, {0: begin(), 1: stay, 2: stay})
    assert found[1] == found[2] == "rank 0 (spark1) went away, or has another plan"


def test_another_plan_is_nobody(port: int) -> None:
    found = together(port, {rank: begin(2) for rank in range(3)}, {2: "another plan"})
    assert found[0] == "rank 2 (spark3) did not come within 2 s"
    assert found[2] == "rank 0 (spark1) went away, or has another plan"


@pytest.mark.parametrize(
    "hello",
    [b'[1, "plan"]\n', b"garbage\n", b"{}\n", b'[0, "plan"]\n', b"[true]\n", b'["1", "plan"]\n', b""],
    ids=["rank-1-from-elsewhere", "garbage", "object", "rank-0", "short", "text", "nothing"],
)
def test_a_stranger_takes_no_place(port: int, hello: bytes) -> None:
    def knock(_here: Meeting) -> bytes:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
                    stranger.sendall(hello)
                    stranger.settimeout(10)
                    return stranger.recv(100)
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise AssertionError("nobody listens")

    members = MEMBERS[:2]

    def rank_0(_here: Meeting) -> t.Any:
        here = Meeting(0, members, port, "plan")
        try:
            return here.begin(None, 2)
        finally:
            here.close()

    found = together(port, {0: rank_0, 1: knock})
    assert found[0] == "rank 1 (spark2) did not come within 2 s"
    assert found[1] == b""


def test_an_answer_that_is_none_is_the_instrument(port: int) -> None:
    def lie(_here: Meeting) -> None:
        with socket.create_server(("127.0.0.1", port)) as server:
            connection, _address = server.accept()
            connection.recv(1000)
            connection.sendall(json.dumps({"values": [1]}).encode() + b"\n")
            time.sleep(0.5)
            connection.close()

    assert together(port, {0: lie, 1: begin()})[1] == "rank 0 (spark1) sent no answer"


def test_a_line_without_an_end_is_not_held(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "MAX_LINE", 1000)

    def flood(_here: Meeting) -> None:
        with socket.create_server(("127.0.0.1", port)) as server:
            connection, _address = server.accept()
            connection.recv(1000)
            connection.sendall(b"x" * 5000)
            time.sleep(0.5)
            connection.close()

    assert together(port, {0: flood, 1: begin()})[1] == "rank 0 (spark1) went away, or has another plan"


def test_a_port_that_is_taken_says_so(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        found = together(port, {0: begin(1)})
    assert found[0] == f"cannot listen at 127.0.0.1:{port}: Address already in use"
