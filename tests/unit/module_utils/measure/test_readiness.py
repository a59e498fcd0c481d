"""Whether the fabric may be loaded now, on a tree that looks like a node."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.readiness import why_not_now

PROFILE: dict[str, t.Any] = {
    "bandwidth": {"qps": 4, "size_bytes": 65536, "duration_s": 1, "warmup": 1, "repeats": 3},
    "thresholds": {},
}


class Node:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for path in ("bin", "proc", "sys/class/infiniband/rocep1s0f0"):
            (folder / path).mkdir(parents=True)
        for tool in ("ib_write_bw", "ib_write_lat"):
            self.command(tool, "exit 0")
        self.command("nvidia-smi", "exit 0")
        self.memory(1 << 20)

    def command(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def memory(self, kib: int) -> None:
        (self.folder / "proc/meminfo").write_text(f"MemTotal: {2 * kib} kB\nMemAvailable: {kib} kB\n")

    def why_not(self, **changes: t.Any) -> str | None:
        host = Host(self.folder, path=f"{self.folder / 'bin'}:/usr/bin:/bin")
        return why_not_now(host, t.cast("t.Any", PROFILE | changes))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_drained_node_may_be_measured(node: Node) -> None:
    assert node.why_not() is None


@pytest.mark.parametrize("tool", ["ib_write_bw", "ib_write_lat"])
def test_a_missing_tool_is_named_with_its_package(node: Node, tool: str) -> None:
    (node.folder / "bin" / tool).unlink()
    assert node.why_not() == f"{tool} is not installed: install the package perftest"


def test_without_an_rdma_device_there_is_nothing_to_measure(node: Node) -> None:
    (node.folder / "sys/class/infiniband/rocep1s0f0").rmdir()
    assert node.why_not() == "this node has no RDMA device"


def test_more_runs_than_ports_are_refused(node: Node) -> None:
    many = PROFILE["bandwidth"] | {"repeats": 64}
    assert "asks for more than" in (node.why_not(bandwidth=many) or "")


def test_memory_below_three_times_the_test_refuses(node: Node) -> None:
    needed = 2 * (64 * 1024 + 3 * 2 * 4 * 64)  # a tool for each half
    node.memory(needed)
    assert node.why_not() is None
    node.memory(needed - 1)
    assert node.why_not() == f"busy: only {needed - 1} KiB of memory are available, {needed} are wanted"


def test_what_the_profile_wants_to_stay_free_counts(node: Node) -> None:
    wanted = {"N09": {"available_gib": {"min": 8}}}
    assert node.why_not(thresholds=wanted) == f"busy: only {1 << 20} KiB of memory are available, {8 << 20} are wanted"


def test_memory_that_cannot_be_read_refuses(node: Node) -> None:
    (node.folder / "proc/meminfo").write_text("MemAvailable: a lot\n")
    assert node.why_not() is not None
    (node.folder / "proc/meminfo").unlink()
    assert node.why_not() is not None


def test_a_process_on_the_gpu_refuses(node: Node) -> None:
    node.command("nvidia-smi", "echo '4242, 1024'")
    assert node.why_not() == "busy: a process is using the GPU (pid 4242): drain the node first"


@pytest.mark.parametrize("script", ["exit 9", "echo nonsense"])
def test_an_nvidia_smi_that_says_nothing_is_left_to_the_gate(node: Node, script: str) -> None:
    node.command("nvidia-smi", script)
    assert node.why_not() is None
