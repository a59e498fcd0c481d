"""Three nodes that start at different times, each in a thread, on a wire in memory."""

from __future__ import annotations

import queue
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Discovery, Plan
from ansible_collections.gb10.cluster.plugins.module_utils.fabric import discovery
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.discovery import discover
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host

from tests.fakes.fabric_node import FABRIC, FakeNode

Ends = dict[tuple[str, str], list[tuple[str, str]]]


class Ether:
    """Cables between (node, netdev) ends; what is sent while nobody listens is lost, as on a real one."""

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
        self.inboxes: dict[str, queue.Queue[tuple[str, bytes]]] = {}

    def open(self, node: str) -> t.Callable[[list[str]], MemoryWire]:
        return lambda netdevs: MemoryWire(self, node)


class MemoryWire:
    def __init__(self, ether: Ether, node: str) -> None:
        self.ether, self.node = ether, node
        self.inbox = ether.inboxes[node] = queue.Queue()
        self.closed = False

    def send(self, netdev: str, payload: bytes) -> None:
        for far_node, far_netdev in self.ether.ends.get((self.node, netdev), []):
            if far_node in self.ether.inboxes:
                self.ether.inboxes[far_node].put((far_netdev, payload))

    def receive(self, timeout_s: float) -> list[tuple[str, bytes]]:
        try:
            return [self.inbox.get(timeout=max(timeout_s, 0.001))]
        except queue.Empty:
            return []

    def close(self) -> None:
        self.closed = True


def planned_ends(plan: Plan) -> Ends:
    ends: Ends = {}
    for one in plan["half_links"]:
        left, right = ((end["node"], end["netdev"]) for end in one["ends"])
        ends[left], ends[right] = [right], [left]
    return ends


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "INTERVAL_S", 0.02)
    monkeypatch.setattr(discovery, "FAREWELL_S", 0.1)


def run_all(plan: Plan, folder: Path, ends: Ends, listen_s: float, starts: dict[str, float]) -> dict[str, Discovery]:
    ether = Ether(ends)
    found: dict[str, Discovery] = {}

    def one(name: str, delay_s: float) -> None:
        host = Host(FakeNode(folder / name).root)
        time.sleep(delay_s)
        found[name] = discover(host, plan, name, listen_s, False, ether.open(name), lambda netdev: None)

    threads = [threading.Thread(target=one, args=start) for start in starts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_nodes_that_start_one_after_the_other_find_each_other_and_end_early(plan: Plan, tmp_path: Path) -> None:
    starts = {"spark1": 0.0, "spark2": 0.5, "spark3": 1.0}
    found = run_all(plan, tmp_path, planned_ends(plan), 20.0, starts)
    for name, one in found.items():
        halves = plan["nodes"][name]["halves"]
        assert one["silent"] == [] and one["down"] == []
        assert one["listened_s"] < 10
        assert {(n["netdev"], n["peer_node"], n["peer_cage"], n["peer_half"]) for n in one["neighbours"]} == {
            (half["netdev"], half["peer"]["node"], half["peer"]["cage"], half["peer"]["half"])
            for half in halves
            if half["peer"]
        }


def test_a_missing_node_leaves_silence_after_the_whole_time(plan: Plan, tmp_path: Path) -> None:
    found = run_all(plan, tmp_path, planned_ends(plan), 0.5, {"spark1": 0.0, "spark2": 0.0})
    assert found["spark1"]["silent"] == ["enp1s0f1np1", "enP2p1s0f1np1"]
    assert found["spark1"]["listened_s"] >= 0.5
    assert {one["peer_node"] for one in found["spark1"]["neighbours"]} == {"spark2"}


def look(plan: Plan, node: FakeNode, look_only: bool) -> tuple[Discovery, list[str], MemoryWire]:
    wire = MemoryWire(Ether({}), "spark1")
    raised: list[str] = []
    found = discover(Host(node.root), plan, "spark1", 0.05, look_only, lambda netdevs: wire, raised.append)
    return found, raised, wire


@pytest.mark.parametrize(("look_only", "expected"), [(False, ["enp1s0f0np0"]), (True, [])], ids=["run", "check-mode"])
def test_a_link_that_is_down_is_raised_to_look_but_not_in_check_mode(
    plan: Plan, node: FakeNode, look_only: bool, expected: list[str]
) -> None:
    node.write("/sys/class/net/enp1s0f0np0/flags", "0x1002\n")
    found, raised, wire = look(plan, node, look_only)
    assert raised == expected
    assert wire.closed
    assert found["silent"] == FABRIC


def test_no_carrier_and_no_netdev_are_both_down(plan: Plan, node: FakeNode) -> None:
    node.unplug("enp1s0f0np0")
    for file in (node.root / "sys/class/net/enP2p1s0f0np0").iterdir():
        file.unlink()
    (node.root / "sys/class/net/enP2p1s0f0np0").rmdir()
    found, _, _ = look(plan, node, False)
    assert found["down"] == ["enp1s0f0np0", "enP2p1s0f0np0"]
    assert found["silent"] == ["enp1s0f1np1", "enP2p1s0f1np1"]


def test_a_node_without_the_nic_does_not_wait(plan: Plan, tmp_path: Path) -> None:
    wire = MemoryWire(Ether({}), "spark1")
    found = discover(Host(tmp_path), plan, "spark1", 60.0, False, lambda netdevs: wire, lambda netdev: None)
    assert (found["listened_s"], found["silent"], found["down"]) == (0.0, [], FABRIC)


def test_behind_a_switch_every_other_node_is_expected(plan: Plan) -> None:
    from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan

    hostvars = {name: {"ansible_host": node["mgmt_ip"]} for name, node in plan["nodes"].items()}
    ports = discovery.fabric_ports(build_plan(list(hostvars), hostvars, Declaration("switch")), "spark1")
    assert {port.netdev: sorted((plug.node, plug.cage, plug.half) for plug in port.expected) for port in ports} == {
        "enp1s0f0np0": [("spark2", "p0", "a"), ("spark3", "p0", "a")],
        "enP2p1s0f0np0": [("spark2", "p0", "b"), ("spark3", "p0", "b")],
        "enp1s0f1np1": [],
        "enP2p1s0f1np1": [],
    }
