"""The whole on virtual Sparks: ansible-playbook as the operator types it, real SSH, real RDMA writes, injected faults."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.api import Lab

ROOT = Path(__file__).resolve().parents[2]
LATEST = ROOT / "evidence/latest.json"
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass
class Run:
    """One ansible-playbook run: what it printed, and the evidence if it left any."""

    rc: int
    output: str
    seconds: float
    evidence: dict[str, t.Any] | None

    @property
    def changed(self) -> dict[str, int]:
        return {host: int(changed) for host, _ok, changed, _unreachable, _failed in RECAP.findall(self.output)}

    @property
    def outcome(self) -> str | None:
        return self.evidence["verdict"]["outcome"] if self.evidence else None

    @property
    def blocked_by(self) -> list[str]:
        assert self.evidence is not None, self.output
        return self.evidence["verdict"]["blocked_by"]

    def records(self, check: str, outcome: str) -> list[dict[str, t.Any]]:
        assert self.evidence is not None, self.output
        return [r for r in self.evidence["records"] if r["check"] == check and r["outcome"] == outcome]


def start(playbook: str, *options: str) -> subprocess.Popen[str]:
    """Start ansible-playbook in a session of its own, as `setsid` would, so that it can be killed with its children."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), playbook, *options]
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def play(playbook: str, *options: str) -> Run:
    before = LATEST.stat().st_mtime_ns if LATEST.exists() else 0
    started = time.monotonic()
    process = start(playbook, *options)
    output, _ = process.communicate(timeout=900)
    fresh = LATEST.exists() and LATEST.stat().st_mtime_ns != before
    evidence = json.loads(LATEST.read_text(encoding="utf-8")) if fresh else None
    run = Run(process.returncode, output, time.monotonic() - started, evidence)
    print(f"{playbook} {' '.join(options)}: rc {run.rc}, {run.seconds:.0f} s\n{output}")
    return run


def admitted(run: Run) -> bool:
    return run.rc == 0 and run.outcome == "admit"


def up(topology: str, nodes: int, cabling: str = "planned") -> Lab:
    """A lab of pristine nodes, whatever ran before: nobody remembers anything about them."""
    (ROOT / "evidence/quarantine.json").unlink(missing_ok=True)
    fresh = Lab.up(topology, nodes, cabling)
    fresh.reset()
    return fresh


@pytest.fixture(scope="session", autouse=True)
def no_lab_afterwards() -> t.Iterator[None]:
    yield
    Lab.last().down()


def on(lab: Lab, node: str, command: str) -> str:
    """Run a shell command as root on a node; what it prints."""
    done = lab.run(node, ["sudo", "sh", "-c", command])
    assert done.returncode == 0, done.stderr
    return done.stdout
