"""Three nodes of a triangle on loopback addresses, each with a recorded tree of its own and fake perftest commands."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.tests.unit.module_utils.measure.node_processes import NodeProcesses

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[3]
FIXTURES = REPOSITORY / "tests/fixtures/probe"
TRIANGLE = (("spark1", "spark2"), ("spark2", "spark3"), ("spark3", "spark1"))
HALVES = {
    ("p0", "a"): "rocep1s0f0",
    ("p0", "b"): "roceP2p1s0f0",
    ("p1", "a"): "rocep1s0f1",
    ("p1", "b"): "roceP2p1s0f1",
}
_networks = itertools.count(1 + os.getpid() % 200)

PROFILE = {
    "schema": "1",
    "name": "test",
    "description": "",
    "bandwidth": {"qps": 4, "size_bytes": 65536, "duration_s": 1, "warmup": 0, "repeats": 1},
    "latency": {"size_bytes": 8, "iterations": 100},
    "rendezvous_s": 40,
    "command_timeout_s": 20,
    "required": [],
    "observe": [],
    "thresholds": {},
}


def gid(address: str) -> str:
    first, second, third, fourth = (int(part) for part in address.split("."))
    return f"0000:0000:0000:0000:0000:ffff:{first:02x}{second:02x}:{third:02x}{fourth:02x}"


class Cluster(NodeProcesses):
    """What three Sparks in a triangle look like to the probe."""

    def __init__(self, folder: Path, halves: str) -> None:
        super().__init__(folder)
        self.behaviour = folder / "behaviour.json"
        self.silence_s = 20.0  # a busy machine must not look like a dead peer
        self.profile = json.loads(json.dumps(PROFILE))
        network = next(_networks) % 200 + 20
        self.paths = []
        for subnet, ((first, second), half) in enumerate(itertools.product(TRIANGLE, halves)):
            ends = [
                self._end(first, "p0", half, f"127.{network}.{subnet}.1"),
                self._end(second, "p1", half, f"127.{network}.{subnet}.2"),
            ]
            path = f"{first}:p0:{half}-{second}:p1:{half}"
            self.paths.append({"id": path, "half": half, "subnet": f"127.{network}.{subnet}.0/24", "ends": ends})
        nodes = {f"spark{n}": {"rank": n - 1, "number": n} for n in (1, 2, 3)}
        self.plan = {"mtu": 9000, "nodes": nodes, "paths": self.paths}
        self._commands()
        self.misbehave({})

    def _end(self, node: str, cage: str, half: str, address: str) -> dict[str, str]:
        rdma = HALVES[cage, half]
        port = self.folder / node / f"sys/class/infiniband/{rdma}/ports/1"
        for folder in ("hw_counters", "gids", "gid_attrs/types", "gid_attrs/ndevs"):
            (port / folder).mkdir(parents=True, exist_ok=True)
        for counter in ("sent_pkts", "rcvd_pkts", "completer_retry_err", "out_of_seq_request", "ack_deferred"):
            (port / "hw_counters" / counter).write_text("0\n")
        for index, (text, kind) in enumerate(
            (
                ("fe80:0000:0000:0000:5054:00ff:fe00:0001", "RoCE v2"),
                (gid(address), "IB/RoCE v1"),
                (gid(address), "RoCE v2"),
            )
        ):
            (port / f"gids/{index}").write_text(f"{text}\n")
            (port / f"gid_attrs/types/{index}").write_text(f"{kind}\n")
            (port / f"gid_attrs/ndevs/{index}").write_text("lo\n")
        return {"node": node, "cage": cage, "half": half, "netdev": "lo", "rdma": rdma, "ipv4": address}

    def _commands(self) -> None:
        commands = self.folder / "bin"
        commands.mkdir()
        for name in ("ib_write_bw", "ib_write_lat"):
            # -IS: neither site-packages nor a version manager's shim, because the tools start some hundred times.
            text = (HERE / "fake_perftest.py").read_text().split("\n", 1)[1]
            (commands / name).write_text(f"#!{os.path.realpath(sys.executable)} -IS\n{text}")
            (commands / name).chmod(0o755)
        for number in (1, 2, 3):
            tree = self.folder / f"spark{number}"
            (tree / "tmp").mkdir()
            (tree / "proc").mkdir()
            (tree / "proc/net").symlink_to("/proc/net")
            (tree / "proc/meminfo").write_text("MemTotal: 1000000 kB\nMemAvailable: 500000 kB\n")
        ports = "\n".join(
            f"hca_id:\t{rdma}\n\tfw_ver:\t\t0.0.0\n\t\tport:\t1\n\t\t\tstate:\t\t\tPORT_ACTIVE (4)\n\t\t\tactive_mtu:\t\t4096 (5)\n"
            for rdma in HALVES.values()
        )
        self.command("ping", f"cat {FIXTURES / 'real-debian12-ping-jumbo.txt'}")
        self.command("ibv_devinfo", f"cat <<'END'\n{ports}END")

    def command(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def misbehave(self, how: dict[str, dict[str, str]]) -> None:
        for number in (1, 2, 3):
            node = f"spark{number}"
            (self.folder / node / "behaviour.json").write_text(json.dumps(how.get(node, {})))

    def start(self, *nodes: str, seconds: float = 0.0, plan: dict | None = None) -> None:
        (self.folder / "profile.json").write_text(json.dumps(self.profile))
        for node in nodes:
            tree = self.folder / node
            (tree / "plan.json").write_text(json.dumps(plan or self.plan))
            environment = os.environ | {
                "FAKE_ROOT": str(tree),
                "FAKE_PERFTEST": str(tree / "behaviour.json"),
                "FAKE_SECONDS": str(seconds),
                "PYTHONPATH": f"{REPOSITORY / '.collections'}",
            }
            self.processes[node] = subprocess.Popen(
                [sys.executable, str(HERE / "run_measure.py"), str(self.folder), node, str(self.silence_s)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )

    def results(self, *nodes: str, timeout: float = 110) -> dict[str, dict]:
        found = {}
        for node in nodes or self.processes:
            out, err = self.processes[node].communicate(timeout=timeout)
            assert self.processes[node].returncode == 0, err
            found[node] = json.loads(out)
        return found

    def run(self, **options) -> dict[str, dict]:
        self.start("spark1", "spark2", "spark3", **options)
        return self.results()

    def transmitted(self, node: str) -> dict[int, tuple[float, float]]:
        """When the clients of a node transmitted: port -> begin and end, on one clock for all processes."""
        lines = [line.split() for line in (self.folder / node / "transmitted").read_text().splitlines()]
        return {int(port): (float(begin), float(end)) for port, begin, end in lines}


@pytest.fixture
def cluster(tmp_path: Path):
    """Half a only, one bandwidth run for each direction: enough for most questions."""
    three = Cluster(tmp_path, "a")
    yield three
    three.end()


@pytest.fixture
def two_nodes(tmp_path: Path):
    """Both halves of one cable, and nobody else."""
    two = Cluster(tmp_path, "ab")
    two.plan = {
        "mtu": 9000,
        "nodes": {name: two.plan["nodes"][name] for name in ("spark1", "spark2")},
        "paths": [path for path in two.paths if "spark3" not in path["id"]],
    }
    yield two
    two.end()


@pytest.fixture
def full_cluster(tmp_path: Path):
    three = Cluster(tmp_path, "ab")
    three.profile["bandwidth"] |= {"warmup": 1, "repeats": 3}
    yield three
    three.end()
