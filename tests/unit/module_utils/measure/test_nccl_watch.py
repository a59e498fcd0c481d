"""Who watches a rank: what it sees, what it says it did not see, and that it ends."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure import nccl_watch
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_watch import Watch


class Node:
    """A node with one device of mlx5, and the report of its rank."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        device = folder / "sys/class/infiniband/rocep1s0f0"
        self.counters = device / "ports/1/counters"
        self.errors = device / "ports/1/hw_counters"
        for each in (self.counters, self.errors, device / "device", folder / "scratch", folder / "bin"):
            each.mkdir(parents=True)
        (device / "device/driver").symlink_to("../../../../bus/pci/drivers/mlx5_core")
        self.count(sent=1000, errors=192)
        self.smi("echo '2411, 57.2, 97, P0'")
        self.host = Host(folder, path=f"{folder / 'bin'}:/usr/bin:/bin")

    def count(self, sent: int, errors: int) -> None:
        (self.counters / "port_xmit_data").write_text(f"{sent}\n")
        (self.counters / "port_rcv_data").write_text(f"{2 * sent}\n")
        (self.errors / "local_ack_timeout_err").write_text(f"{errors}\n")

    def smi(self, script: str) -> None:
        path = self.folder / "bin/nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def enter(self, stage: str) -> None:
        new = self.folder / "scratch/report.new"
        new.write_text(json.dumps({"failure": {"stage": stage}}))
        new.replace(self.folder / "scratch/report.json")

    def hold(self, stage: str) -> None:
        """As the rank does."""
        self.enter(stage)
        deadline = time.monotonic() + 20
        while not (self.folder / f"scratch/{stage}.seen").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(nccl_watch, "TICK_S", 0.05)
    return Node(tmp_path)


def test_bytes_are_those_up_to_the_hold(node: Node) -> None:
    with Watch(node.host, "/scratch") as watch:
        node.enter("all_gather")
        node.count(sent=1250, errors=192)
        node.hold("counted")
        node.count(sent=99999, errors=192)
    assert watch.moved(beyond=True) == ({"rocep1s0f0": 1000}, {"rocep1s0f0": 2000})


def test_a_rank_that_never_came_so_far_moved_what_was_counted_in_the_end(node: Node) -> None:
    with Watch(node.host, "/scratch") as watch:
        node.count(sent=1250, errors=192)
    assert watch.moved(beyond=False) == ({"rocep1s0f0": 1000}, {"rocep1s0f0": 2000})


def test_bytes_that_nobody_counted_in_time_are_not_known(node: Node) -> None:
    with Watch(node.host, "/scratch") as watch:
        node.count(sent=99999, errors=192)
    assert watch.moved(beyond=True) == ({"rocep1s0f0": None}, {"rocep1s0f0": None})


def test_errors_grow_between_the_holds_of_a_soak(node: Node) -> None:
    with Watch(node.host, "/scratch") as watch:
        node.count(sent=1000, errors=200)
        node.hold("soak_begins")
        node.count(sent=1000, errors=203)
        assert watch.errors_in_soak() == {}
        node.hold("soak_ended")
        node.count(sent=1000, errors=900)
    assert watch.errors_in_soak() == {"rocep1s0f0": {"local_ack_timeout_err": 3}}


def test_the_gpu_is_looked_at_under_load_only(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nccl_watch, "SAMPLE_S", {"gpu_load": 0.1, "soak": 0.1})
    with Watch(node.host, "/scratch") as watch:
        node.enter("gpu_load")
        time.sleep(1)
        node.smi("echo '208, 4.1, 0, P8'")  # idle
        node.enter("rendezvous")
        time.sleep(0.5)
    load = watch.gpu_load(1.0, None)
    assert (load["clock_mhz"], load["power_w"], load["utilisation"]) == (2411, 57.2, 97)
    assert load["samples"] > 1
    assert watch.samples["soak"] == []
    assert watch.problem("soak") == "the GPU was not looked at"


def test_a_report_that_is_none_is_no_stage(node: Node) -> None:
    (node.folder / "scratch/report.json").write_text('{"failure": {"sta')
    with Watch(node.host, "/scratch") as watch:
        time.sleep(0.3)
        node.hold("counted")
    assert "counted" in watch.held


def test_nvidia_smi_that_hangs_holds_up_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nccl_watch, "SMI_S", 1)
    node.smi("sleep 600")
    started = time.monotonic()
    with Watch(node.host, "/scratch") as watch:
        node.enter("gpu_load")
        time.sleep(1.5)
    assert time.monotonic() - started < 10
    assert "ended with 124" in (watch.gpu_load(1.0, None)["problem"] or "")
    assert watch.gpu_load(0.0, "no memory")["problem"] == "no memory"
