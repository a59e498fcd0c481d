"""The peers pinged at once, with a fake ping that prints what iputils printed."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Ping
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure import pings
from ansible_collections.gb10.cluster.plugins.module_utils.measure.hello import Link
from ansible_collections.gb10.cluster.plugins.module_utils.shape import fits
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.module_utils.measure.conftest import FIXTURES


class Pinging:
    """spark1 of a triangle, whose ping is a script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waited = 0
        plan = builders.plan("triangle")
        ends = [(path["id"], *path["ends"]) for path in plan["paths"] if path["ends"][0]["node"] == "spark1"]
        self.links = [Link(name, own, peer) for name, own, peer in ends]
        for tool in ("timeout", "cat", "sleep"):
            (folder / tool).symlink_to(f"/usr/bin/{tool}")

    def ping(self, script: str) -> None:
        path = self.folder / "ping"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def prints(self, name: str, rc: int) -> None:
        self.ping(f"cat {FIXTURES / f'real-debian12-ping-{name}.txt'}; exit {rc}")

    def _meanwhile(self) -> None:
        self.waited += 1
        time.sleep(0.02)

    def run(self) -> list[Ping]:
        host = Host("/", path=str(self.folder))
        found = pings.ping_peers(host, "spark1", self.links, 9000, self._meanwhile)
        assert all(fits(ping, Ping) for ping in found)
        return found


@pytest.fixture
def spark1(tmp_path: Path) -> Pinging:
    return Pinging(tmp_path)


def told(ping: Ping) -> tuple[int | None, int | None, int]:
    return ping["received"], ping["small_received"], ping["rc"]


def test_all_peers_answer(spark1: Pinging) -> None:
    spark1.prints("jumbo", 0)
    found = spark1.run()
    assert [(ping["path"], ping["to_node"]) for ping in found] == [
        ("spark1:p0:a-spark2:p1:a", "spark2"),
        ("spark1:p0:b-spark2:p1:b", "spark2"),
    ]
    assert {told(ping) for ping in found} == {(3, 3, 0)}
    assert {ping["problem"] for ping in found} == {None}


def test_a_node_whose_own_mtu_is_too_small_says_so(spark1: Pinging) -> None:
    spark1.prints("too-long", 1)
    ping = spark1.run()[0]
    assert told(ping) == (0, 0, 1)
    assert ping["problem"] == "this node itself sends no more than 1500 bytes at once"


def test_without_ping_nothing_is_known_and_the_package_is_named(spark1: Pinging) -> None:
    ping = spark1.run()[0]
    assert told(ping) == (None, None, 127)
    assert ping["problem"] == "ping is not installed: install the package iputils-ping"


def test_another_ping_is_no_answer(spark1: Pinging) -> None:
    spark1.ping("echo 'ping: unrecognized option: M' >&2; exit 1")
    ping = spark1.run()[0]
    assert told(ping) == (None, None, 1)
    assert "no statistics of iputils" in str(ping["problem"])


def test_a_ping_that_hangs_is_ended_and_the_others_are_heard_meanwhile(
    spark1: Pinging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pings, "DEADLINE_S", 1)
    monkeypatch.setattr(pings, "_GRACE_S", 0.0)
    spark1.ping("exec sleep 60")
    started = time.monotonic()
    found = spark1.run()
    assert time.monotonic() - started < 8
    assert spark1.waited > 10
    assert {(ping["received"], ping["small_received"]) for ping in found} == {(None, None)}


def test_an_ending_probe_leaves_no_ping_behind(spark1: Pinging) -> None:
    spark1.ping(f"echo $$ >> {spark1.folder}/pids; exec sleep 60")
    pids = spark1.folder / "pids"

    def told_to_end() -> t.NoReturn:
        deadline = time.monotonic() + 10
        while (not pids.exists() or len(pids.read_text().split()) < 4) and time.monotonic() < deadline:
            time.sleep(0.02)
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        pings.ping_peers(Host("/", path=str(spark1.folder)), "spark1", spark1.links, 9000, told_to_end)
    started = pids.read_text().split()
    assert len(started) == 4
    deadline = time.monotonic() + 5
    while any(map(alive, started)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [pid for pid in started if alive(pid)]


def alive(pid: str) -> bool:
    try:
        return bool(Path("/proc", pid, "cmdline").read_bytes())  # a zombie has none
    except OSError:
        return False
