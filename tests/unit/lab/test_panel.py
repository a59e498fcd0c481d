"""The patch panel over real socket pairs, as QEMU uses them; no machine is needed."""

from __future__ import annotations

import collections.abc
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.panel import Panel, PanelClient, nic_link

JUMBO = 9014
BROADCAST = bytes.fromhex("ffffffffffff")
LLDP = bytes.fromhex("0180c200000e")


def mac(number: int) -> bytes:
    return bytes([0x52, 0x54, 0, 0, 0, number])


def frame(to: bytes, source: bytes, payload: bytes = b"hello") -> bytes:
    return to + source + b"\x88\xb5" + payload


class Bench:
    """A panel with NICs plugged in; frames are moved by hand, so nothing depends on timing."""

    def __init__(self, *names: str) -> None:
        self.panel = Panel()
        self.nics: dict[str, socket.socket] = {}
        for name in names:
            self.plug_in(name)

    def plug_in(self, name: str) -> None:
        self.nics[name], far = nic_link()
        self.nics[name].setblocking(False)
        self.panel.attach(name, far)

    def wire(self, *wires: list[str], switch: list[list[str]] | None = None, **impairments: dict[str, float]) -> None:
        self.panel.configure(list(wires), {"sw": switch or []}, impairments)

    def send(self, name: str, data: bytes) -> None:
        self.nics[name].send(data)
        self.panel.poll(0)

    def received(self, name: str) -> list[bytes]:
        frames = []
        while True:
            try:
                frames.append(self.nics[name].recv(65536))
            except BlockingIOError:
                return frames

    def all_received(self) -> dict[str, list[bytes]]:
        return {name: frames for name in self.nics if (frames := self.received(name))}


def test_a_wire_carries_frames_both_ways_unchanged() -> None:
    bench = Bench("a", "b", "c")
    bench.wire(["a", "b"])
    jumbo = frame(mac(2), mac(1), bytes(JUMBO - 14))
    bench.send("a", jumbo)
    bench.send("b", frame(mac(1), mac(2)))
    assert bench.all_received() == {"b": [jumbo], "a": [frame(mac(1), mac(2))]}


def test_an_unplugged_nic_talks_to_nobody_and_that_is_counted() -> None:
    bench = Bench("a", "b")
    bench.send("a", frame(mac(2), mac(1)))
    assert bench.all_received() == {}
    assert bench.panel.counters()["a"]["unwired"] == 1


def test_a_cable_moves_while_frames_flow() -> None:
    bench = Bench("a", "b", "c")
    bench.wire(["a", "b"])
    bench.send("a", b"first" * 4)
    bench.wire(["a", "c"])
    bench.send("a", b"second" * 4)
    assert bench.all_received() == {"b": [b"first" * 4], "c": [b"second" * 4]}


def test_counters_count_frames_and_bytes_on_both_sides() -> None:
    bench = Bench("a", "b")
    bench.wire(["a", "b"])
    for _ in range(3):
        bench.send("a", bytes(100))
    counters = bench.panel.counters()
    assert (counters["a"]["received"], counters["a"]["received_bytes"], counters["a"]["sent"]) == (3, 300, 0)
    assert (counters["b"]["sent"], counters["b"]["sent_bytes"], counters["b"]["received"]) == (3, 300, 0)


def test_loss_is_one_way_and_of_the_asked_size() -> None:
    bench = Bench("a", "b")
    bench.wire(["a", "b"], a={"loss": 0.25})
    for _ in range(1000):
        bench.send("a", bytes(60))
        bench.send("b", bytes(60))
    lost = bench.panel.counters()["a"]["lost"]
    assert 180 < lost < 320
    assert len(bench.received("b")) == 1000 - lost
    assert len(bench.received("a")) == 1000
    assert bench.panel.counters()["b"]["lost"] == 0


def test_all_is_lost_at_100_percent() -> None:
    bench = Bench("a", "b")
    bench.wire(["a", "b"], a={"loss": 1.0})
    bench.send("a", bytes(60))
    assert bench.all_received() == {}


def test_a_delayed_frame_comes_later_and_in_order() -> None:
    bench = Bench("a", "b")
    bench.wire(["a", "b"], a={"delay_ms": 40})
    started = time.monotonic()
    bench.send("a", b"one" * 20)
    bench.send("a", b"two" * 20)
    assert bench.received("b") == []
    assert 0 < bench.panel.next_due(10) <= 0.04
    while bench.panel.next_due(10) < 10:
        bench.panel.poll(1)
    assert time.monotonic() - started >= 0.04
    assert bench.received("b") == [b"one" * 20, b"two" * 20]


def test_frames_wait_for_a_slow_node_and_none_is_lost() -> None:
    bench = Bench("a", "b")
    bench.wire(["a", "b"])
    count = 2000  # 18 MB, more than any socket holds
    sent = 0
    while sent < count:
        try:
            bench.nics["a"].send(sent.to_bytes(4, "big") + bytes(JUMBO - 4))
            sent += 1
        except BlockingIOError:
            bench.panel.poll(0)
    got: list[bytes] = []
    deadline = time.monotonic() + 20
    while len(got) < count and time.monotonic() < deadline:
        bench.panel.poll(0)
        got += bench.received("b")
    assert [int.from_bytes(data[:4], "big") for data in got] == list(range(count))
    assert bench.panel.counters()["b"]["overflow"] == 0


def test_a_node_that_takes_nothing_is_bounded() -> None:
    bench = Bench("a", "b")
    bench.wire(["a", "b"])
    for _ in range(8000):
        bench.send("a", bytes(JUMBO))
    assert bench.panel.counters()["b"]["overflow"] > 0


def test_a_restarted_node_takes_its_old_place() -> None:
    bench = Bench("a", "b")
    bench.wire(["a", "b"])
    bench.nics["b"].close()
    bench.send("a", bytes(60))  # into the void, without harm
    bench.plug_in("b")
    bench.send("a", b"again" * 12)
    assert bench.received("b") == [b"again" * 12]


class TestSwitch:
    """One layer-2 domain; both halves of a cage are behind one port."""

    PORTS = (["1a", "1b"], ["2a", "2b"], ["3a", "3b"])

    @pytest.fixture
    def bench(self) -> Bench:
        bench = Bench(*(name for port in self.PORTS for name in port))
        bench.wire(switch=list(self.PORTS))
        return bench

    def test_broadcast_reaches_both_halves_of_every_other_port(self, bench: Bench) -> None:
        bench.send("1a", frame(BROADCAST, mac(1)))
        assert sorted(bench.all_received()) == ["2a", "2b", "3a", "3b"]

    def test_unknown_destination_floods_and_a_learned_one_does_not(self, bench: Bench) -> None:
        bench.send("1a", frame(mac(2), mac(1)))
        assert sorted(bench.all_received()) == ["2a", "2b", "3a", "3b"]
        bench.send("2a", frame(mac(1), mac(2)))
        assert sorted(bench.all_received()) == ["1a"]
        bench.send("1a", frame(mac(2), mac(1)))
        assert sorted(bench.all_received()) == ["2a"]

    def test_a_station_that_moved_is_learned_anew(self, bench: Bench) -> None:
        bench.send("2a", frame(BROADCAST, mac(2)))
        bench.send("3a", frame(BROADCAST, mac(2)))
        bench.all_received()
        bench.send("1a", frame(mac(2), mac(1)))
        assert sorted(bench.all_received()) == ["3a"]

    def test_no_frame_returns_to_the_port_it_came_from(self, bench: Bench) -> None:
        bench.send("1b", frame(BROADCAST, mac(9)))
        bench.all_received()
        bench.send("1a", frame(mac(9), mac(1)))
        assert bench.all_received() == {}

    def test_lldp_is_not_forwarded(self, bench: Bench) -> None:
        bench.send("1a", frame(LLDP, mac(1)))
        assert bench.all_received() == {}


@pytest.fixture
def served(tmp_path: Path) -> collections.abc.Iterator[PanelClient]:
    path = tmp_path / "p"
    process = subprocess.Popen([sys.executable, "-m", "lab.panel", str(path)], cwd=Path(__file__).parents[3])
    try:
        yield PanelClient(path)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_the_process_takes_nics_tables_and_questions(served: PanelClient) -> None:
    nics = {}
    for name in ("a", "b"):
        nics[name], far = nic_link()
        served.attach(name, far)
        far.close()
    served.configure([("a", "b")], {}, {})
    nics["b"].settimeout(10)
    nics["a"].send(bytes(JUMBO))
    assert nics["b"].recv(65536) == bytes(JUMBO)
    assert served.counters()["a"]["received_bytes"] == JUMBO
    served.detach("b")
    assert list(served.counters()) == ["a"]


def test_a_bad_request_does_not_stop_the_panel(served: PanelClient) -> None:
    with pytest.raises((OSError, ValueError)):
        served._ask({"action": "attach", "name": "no descriptor beside it"})
    assert served.counters() == {}


def test_a_panel_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="patch panel does not answer"):
        PanelClient(tmp_path / "p", patience=0.1).counters()
