"""Hello messages between sockets of one process, on loopback."""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.measure import hello
from ansible_collections.gb10.cluster.plugins.module_utils.measure.hello import DONE, FAILED, LISTENING, Hellos, Link

PORT = 18699
_networks = itertools.count(1 + os.getpid() % 200)


def end(node: str, address: str, netdev: str = "lo") -> dict[str, str]:
    return {"node": node, "cage": "p0", "half": "a", "netdev": netdev, "rdma": "rocep1s0f0", "ipv4": address}


class Pair:
    """Two nodes and the paths "a" and "b" between them."""

    def __init__(self) -> None:
        network = next(_networks) % 200 + 20
        self.addresses = {
            (node, path): f"127.{network}.{number}.{node}" for number, path in enumerate("ab") for node in (1, 2)
        }
        self.open: list[Hellos] = []

    def links(self, node: int, problems: dict[str, str] | None = None) -> list[Link]:
        other = 3 - node
        return [
            Link(
                path,
                end(f"spark{node}", self.addresses[node, path]),
                end(f"spark{other}", self.addresses[other, path]),
                (problems or {}).get(path),
            )
            for path in "ab"
        ]

    def node(self, node: int, nonce: str = "plan", problems: dict[str, str] | None = None) -> Hellos:
        hellos = Hellos(f"spark{node}", nonce, self.links(node, problems), PORT)
        self.open.append(hellos)
        return hellos


@pytest.fixture
def pair() -> Iterator[Pair]:
    two = Pair()
    yield two
    for hellos in two.open:
        hellos.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hello, "INTERVAL_S", 0.02)


def talk(*nodes: Hellos, until: Callable[[], bool], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for node in nodes:
            node.pump(0.005)
        if until():
            return True
    return False


def test_both_become_ready(pair: Pair) -> None:
    one, two = pair.node(1), pair.node(2)
    assert not one.settled()
    assert talk(one, two, until=lambda: one.settled() and two.settled())
    assert all(node.ready(path) for node in (one, two) for path in "ab")
    assert not one.gone("a")


def test_hearing_alone_is_not_ready(pair: Pair) -> None:
    one = pair.node(1)
    deaf = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    deaf.bind((pair.addresses[2, "a"], PORT))
    message = {
        "plan": "plan",
        "path": "a",
        "node": "spark2",
        "session": "x",
        "number": 1,
        "heard": "",
        "at": [-1, 0, "waiting"],
        "left": False,
        "problems": {},
    }
    deaf.sendto(json.dumps(message).encode(), (pair.addresses[1, "a"], PORT))
    assert talk(one, until=lambda: bool(one.heard("a").session))
    assert not one.ready("a")
    deaf.close()


def test_the_position_of_the_peer_is_heard(pair: Pair) -> None:
    one, two = pair.node(1), pair.node(2)
    two.announce((3, 1, LISTENING))
    assert talk(one, two, until=lambda: one.position("b") == (3, 1, LISTENING))
    two.announce((3, 0, FAILED))
    assert talk(one, two, until=lambda: one.position("b") == (3, 0, FAILED))


def test_a_problem_settles_the_path_on_both_ends(pair: Pair) -> None:
    one, two = pair.node(1), pair.node(2, problems={"a": "no carrier"})
    assert talk(one, two, until=lambda: one.settled() and two.settled())
    assert one.heard("a").problem == "no carrier"
    assert not one.ready("a")
    assert not two.ready("a")
    assert one.ready("b")


def test_a_dead_half_is_told_over_its_twin(pair: Pair) -> None:
    links = pair.links(2)
    links[0].own["ipv4"] = "192.0.2.77"  # not on this machine: no socket for path a
    two = Hellos("spark2", "plan", links, PORT)
    pair.open.append(two)
    one = pair.node(1)
    assert talk(one, two, until=lambda: one.settled())
    assert one.heard("a").problem == "the planned address 192.0.2.77 is not on this node"
    assert one.ready("b")


def test_silence_and_leaving_are_noticed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = pair.node(1), pair.node(2)
    assert talk(one, two, until=lambda: one.settled() and two.settled())
    two.announce((5, 3, DONE))
    two.close()
    assert talk(one, until=lambda: one.gone("a"))
    # The word about its last turn outlives its leave: without it a server would not know what became of the turn.
    assert one.position("a") == (5, 3, DONE)
    monkeypatch.setattr(hello, "SILENCE_S", 0.1)
    three = pair.node(2)
    assert talk(three, until=lambda: three.ready("a") or three.gone("a"), seconds=0.3)


def test_silence_alone_is_enough(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = pair.node(1), pair.node(2)
    assert talk(one, two, until=lambda: one.settled() and two.settled())
    monkeypatch.setattr(hello, "SILENCE_S", 0.2)
    assert talk(one, until=lambda: one.gone("a"), seconds=2)
    assert not one._peers["spark2"].left


def test_a_peer_that_starts_anew_is_gone(pair: Pair) -> None:
    one, two = pair.node(1), pair.node(2)
    assert talk(one, two, until=lambda: one.settled() and two.settled())
    for udp in two._sockets.values():
        udp.close()  # killed: no last word
    two._sockets.clear()
    again = pair.node(2)
    assert talk(one, again, until=lambda: one.gone("a"))


def test_an_old_message_does_not_turn_the_clock_back() -> None:
    peer = hello.Peer()
    peer.take("x", 5, (3, 1, LISTENING), left=False)
    peer.take("x", 4, (3, 0, LISTENING), left=True)
    assert peer.position == (3, 1, LISTENING)
    assert not peer.left
    peer.take("y", 1, hello.BEFORE, left=False)
    assert peer.position == hello.BEFORE
    assert peer.restarted


def test_one_path_is_enough_to_be_there(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = pair.node(1), pair.node(2)
    assert talk(one, two, until=lambda: one.settled() and two.settled())
    two._sockets.pop(pair.addresses[2, "a"]).close()
    monkeypatch.setattr(hello, "SILENCE_S", 0.3)
    two.announce((7, 2, LISTENING))
    talk(one, two, until=lambda: False, seconds=0.6)
    assert not one.gone("a")
    assert one.position("a") == (7, 2, LISTENING)


def test_another_plan_is_told_apart(pair: Pair) -> None:
    one, two = pair.node(1), pair.node(2, nonce="other plan")
    assert talk(one, two, until=lambda: one.runs_another_plan("a") and two.runs_another_plan("a"))
    assert not one.ready("a")
    assert not one.heard("a").session


WRONG = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"{}",
    b'{"plan": "plan", "path": "a", "node": "spark2", "session": "x", "number": 1, "heard": "", "at": [1], "left": false, "problems": {}}',
    b'{"plan": "plan", "path": "a", "node": "spark2", "session": "x", "number": 1, "heard": "", "at": ["x", 0, ""], "left": false, "problems": {}}',
    b'{"plan": "plan", "path": "a", "node": "spark2", "session": "x", "number": 1, "heard": "", "at": [1, 0, ""], "left": false, "problems": 1}',
    b'{"plan": "plan", "path": "z", "node": "spark2", "session": "x", "number": 1, "heard": "", "at": [1, 0, ""], "left": false, "problems": {}}',
    b'{"plan": "plan", "path": "a", "node": "spark3", "session": "x", "number": 1, "heard": "", "at": [1, 0, ""], "left": false, "problems": {}}',
    b'{"plan": "plan", "path": [], "node": "spark2", "session": "x", "number": 1, "heard": "", "at": [1, 0, ""], "left": false, "problems": {}}',
]


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_foreign_datagrams_are_ignored(pair: Pair, data: bytes) -> None:
    one = pair.node(1)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind((pair.addresses[2, "a"], PORT))
    stranger.sendto(data, (pair.addresses[1, "a"], PORT))
    talk(one, until=lambda: False, seconds=0.1)
    assert one.heard("a").session == ""
    stranger.close()


def test_a_datagram_from_another_address_is_ignored(pair: Pair) -> None:
    one = pair.node(1)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind(("127.0.0.1", 0))
    message = {
        "plan": "plan",
        "path": "a",
        "node": "spark2",
        "session": "x",
        "number": 1,
        "heard": "",
        "at": [1, 0, ""],
        "left": False,
        "problems": {},
    }
    stranger.sendto(json.dumps(message).encode(), (pair.addresses[1, "a"], PORT))
    talk(one, until=lambda: False, seconds=0.1)
    assert one.heard("a").session == ""
    stranger.close()


@pytest.mark.parametrize(
    ("address", "netdev", "says"),
    [("192.0.2.77", "lo", "is not on this node"), ("127.0.0.1", "nosuch0", "nosuch0 does not exist")],
)
def test_a_socket_that_cannot_be_had_is_a_problem_of_its_path(address: str, netdev: str, says: str) -> None:
    link = Link("a", end("spark1", address, netdev), end("spark2", "127.0.0.2"))
    hellos = Hellos("spark1", "plan", [link], PORT)
    assert says in (link.problem or "")
    assert hellos.settled()
    started = time.monotonic()
    hellos.pump(0.1)
    assert time.monotonic() - started >= 0.1
    hellos.close()


def test_a_second_probe_on_the_same_node_is_named(pair: Pair) -> None:
    pair.node(1)
    second = pair.links(1)
    Hellos("spark1", "plan", second, PORT).close()
    assert "another probe is still running" in (second[0].problem or "")
