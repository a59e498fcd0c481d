"""Three nodes with a fake torch, for the tests of the NCCL measurement: one probe each, as processes on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl import measure
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_runtime import Docker, Venv
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.module_utils.measure.node_processes import NodeProcesses

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[3]
FAKES = REPOSITORY / "tests/fakes"
LOGS = REPOSITORY / "tests/fixtures/nccl"
NODES = ("spark1", "spark2", "spark3")
IMAGE_ID = "sha256:9834876dcfb0"
GPU = 'case "$1" in *clocks.sm*) echo "2411, 57.25, 97, P0";; esac'  # healthy under load (spark-facts 5), no process


class RankProcesses(NodeProcesses):
    """What the ranks of both harnesses have: a node's folder, its commands and memory, and results."""

    def script(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def command(self, node: str, name: str, script: str) -> None:
        self.script(self.folder / node / "bin" / name, f"#!/bin/sh\n{script}\n")

    def memory(self, node: str, kib: int) -> None:
        (self.folder / node / "proc/meminfo").write_text(f"MemTotal: {2 * kib} kB\nMemAvailable: {kib} kB\n")

    def behave(self, node: str, **how: object) -> None:
        (self.folder / node / "behaviour.json").write_text(json.dumps(how))

    def launch(self, node: str, argv: list[str], environment: dict[str, str]) -> None:
        self.processes[node] = subprocess.Popen(
            [sys.executable, *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY / ".collections")} | environment,
        )

    def results(self, timeout_s: float = 100) -> dict[str, dict]:
        found = {}
        for node, process in self.processes.items():
            out, err = process.communicate(timeout=timeout_s)
            assert process.returncode == 0, err
            found[node] = json.loads(out)
        return found


class Ranks(RankProcesses):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.plan = builders.plan("triangle")
        for node in self.plan["nodes"].values():
            node["mgmt_ip"] = "127.0.0.1"
        self.profile = builders.profile() | {"rendezvous_s": 40, "thresholds": {}}
        self.nccl = {"sizes_bytes": [4096], "iterations": 1, "warmup": 1, "repeats": 2, "timeout_s": 60}
        for node in NODES:
            for part in ("bin", "proc", "tmp", "dev/infiniband"):
                (folder / node / part).mkdir(parents=True)
            self.memory(node, 1 << 20)
            self.command(node, "nvidia-smi", GPU)
            python = f"{os.path.realpath(sys.executable)} -S"
            fakes = f"PYTHONPATH={FAKES / 'torch_over_tcp'} FAKE_TORCH={folder / node / 'behaviour.json'}"
            self.command(node, "python", f'{fakes} exec {python} "$@"')
            here = folder / node
            self.command(node, "docker", f'exec {python} {FAKES / "docker.py"} {here} {here / "bin/python"} "$@"')
            (here / "images").write_text(f"vllm:1 {IMAGE_ID} NCCL_CROSS_NIC=1\n")
            self.behave(node)

    def here(self, node: str, runtime: str = "venv") -> dict:
        """One rank in this process, for what ends before the others matter."""
        host = Host(self.folder / node, path=f"{self.folder / node / 'bin'}:/usr/bin:/bin")
        where = Docker("vllm:1") if runtime == "docker" else Venv(str(self.folder / node / "bin/python"))
        profile = t.cast("t.Any", self.profile | {"nccl": self.nccl})
        return dict(measure(host, node, self.plan, profile, where, free_port()))

    def start(
        self, *nodes: str, runtime: str = "venv", environment: dict[str, str] | None = None, soak_s: int = 0
    ) -> None:
        (self.folder / "plan.json").write_text(json.dumps(self.plan))
        (self.folder / "profile.json").write_text(json.dumps(self.profile | {"nccl": self.nccl}))
        port = str(free_port())
        for node in nodes or NODES:
            argv = [str(HERE / "run_nccl.py"), str(self.folder), node, runtime, port, str(soak_s)]
            self.launch(node, argv, environment or {})

    def run(self, *nodes: str, **options) -> dict[str, dict]:
        self.start(*nodes, **options)
        return self.results()

    def docker_calls(self, node: str) -> list[list[str]]:
        calls = self.folder / node / "calls"
        return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
