"""Three recorded nodes that measure each other for real: the probes as processes on loopback, with a fake perftest."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Plan
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.lock import alone
from ansible_collections.gb10.cluster.plugins.module_utils.probe.schedule import TURNS_PER_SLOT, schedule
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.module_utils.measure.node_processes import NodeProcesses

from tests.faults.spark import Spark

HERE = Path(__file__).resolve().parent
FAKE = HERE.parents[1] / "tests/unit/module_utils/measure/fake_perftest.py"
POOL = "10.210."
PATIENCE_S = 120


class Probes(NodeProcesses):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        # The fabric is this machine's loopback, a network for each process that runs the matrix; the unit tests of the
        # measurement have those below 220.
        network = f"127.{220 + os.getpid() % 34}."
        self.plan = json.loads(json.dumps(builders.plan()).replace(POOL, network))
        self.profile = builders.profile()
        self.profile["bandwidth"] |= {"warmup": 0, "repeats": 1}
        self.profile["rendezvous_s"], self.profile["command_timeout_s"] = 20, 20
        self.sparks = {name: Spark(folder, self.plan, name) for name in self.plan["nodes"]}
        self.behaviour: dict[str, dict[str, str]] = {name: {} for name in self.sparks}
        self.silence_s = 20.0
        self.without: set[str] = set()  # tools that the nodes do not have: "spark2 ib_write_bw"
        self.clock_step_s: dict[str, float] = {}  # of a node, in the middle of the measurement
        self.locked: str | None = None  # a node whose maintenance lock somebody holds
        self.killed: tuple[str, int] | None = None  # a node, and after how many turns as a client

    def misbehave(self, node: str, device: str, how: str) -> None:
        """What ib_write_bw and ib_write_lat do wrong as the client on a device; "serve:DEVICE" as its server."""
        self.behaviour[node][device] = how

    def reading(self) -> Reading:
        for name, spark in self.sparks.items():
            spark.write()
            self._perftest(name)
        with self._lock():
            self._start()
            if self.killed:
                self._kill(*self.killed)
            answers = self._answers()
        facts = {name: json.loads(said[0]) for name, said in answers.items() if said}
        measured = {name: json.loads(said[1]) for name, said in answers.items() if len(said) > 1}
        reading = builders.healthy_reading(self.plan, facts=facts, measurements=measured)
        reading.profile["bandwidth"] |= self.profile["bandwidth"]
        return reading

    @contextlib.contextmanager
    def _lock(self) -> t.Iterator[None]:
        """As another run on the node would hold it."""
        if self.locked is None:
            yield
            return
        with alone(Host(self.folder / self.locked), "somebody else") as locked_out:
            assert locked_out is None, locked_out
            yield

    def _perftest(self, name: str) -> None:
        for tool in ("ib_write_bw", "ib_write_lat"):
            if f"{name} {tool}" in self.without:
                continue
            # -IS: neither site-packages nor a version manager's shim, because the tools start some hundred times.
            text = FAKE.read_text().split("\n", 1)[1]
            path = self.folder / name / "bin" / tool
            path.write_text(f"#!{os.path.realpath(sys.executable)} -IS\n{text}")
            path.chmod(0o755)
        (self.folder / name / "behaviour.json").write_text(json.dumps(self.behaviour[name]))
        net = self.folder / name / "proc/net"
        net.symlink_to("/proc/net")

    def _start(self) -> None:
        here = json.loads(json.dumps(self.plan))
        for path in here["paths"]:
            for end in path["ends"]:
                end["netdev"] = "lo"
        (self.folder / "plan.json").write_text(json.dumps(here))
        (self.folder / "profile.json").write_text(json.dumps(self.profile))
        for name in self.sparks:
            environment = os.environ | {
                "FAKE_ROOT": str(self.folder / name),
                "FAKE_PERFTEST": str(self.folder / name / "behaviour.json"),
                "FAKE_AT_ONCE": " ".join(map(str, _ports_of_pairs(here))),
                "FAKE_SECONDS": "0.5" if self.killed or self.clock_step_s else "0",
                "FAKE_CLOCK_STEP": str(self.clock_step_s.get(name, 0)),
                "PYTHONPATH": str(HERE.parents[1] / ".collections"),
            }
            self.processes[name] = subprocess.Popen(
                [sys.executable, str(HERE / "run_probe.py"), str(self.folder), name, str(self.silence_s)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )

    def _kill(self, node: str, times: int) -> None:
        """The probe of a node dies in the middle: after it has transmitted so often."""
        log, deadline = self.folder / node / "transmitted", time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.processes[node].poll() is None:
            if log.exists() and len(log.read_text().splitlines()) >= times:
                break
            time.sleep(0.05)
        self.processes[node].kill()

    def _answers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, process in self.processes.items():
            out, err = process.communicate(timeout=PATIENCE_S)
            if process.returncode not in (0, -9):
                raise RuntimeError(f"the probe of {name} ended with {process.returncode}: {err}")
            found[name] = t.cast("list[str]", out.splitlines())
        return found


def _ports_of_pairs(plan: Plan) -> list[int]:
    """Where both halves of a cable are measured at once."""
    ways = [way for slot in schedule(plan) if len(slot.ways) > 1 for way in slot.ways]
    return [way.port(turn) for way in ways for turn in range(TURNS_PER_SLOT)]
