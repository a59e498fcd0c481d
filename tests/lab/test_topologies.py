"""The same run on the other topologies, and a controller that dies half way."""

from __future__ import annotations

import os
import signal
import time

import pytest

from lab.api import Lab
from tests.lab.conftest import admitted, on, play, start, up

FABRIC_FILE = "/etc/netplan/60-gb10-fabric.yaml"


@pytest.mark.slow
def test_direct() -> None:
    up("direct", 2)
    run = play("site.yml")
    assert admitted(run)
    assert len(run.records("P02", "pass")) == 4


@pytest.mark.slow
def test_switch() -> None:
    up("switch", 3)
    run = play("site.yml")
    assert admitted(run)
    assert len(run.records("P02", "pass")) == 12


def wait_for(lab: Lab, node: str, command: str, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if lab.run(node, ["sudo", "sh", "-c", command]).returncode == 0:
            return True
        time.sleep(1)
    return False


@pytest.mark.slow
def test_a_killed_controller_leaves_the_nodes_reachable() -> None:
    lab = up("direct", 2)
    process = start("site.yml")
    assert wait_for(lab, "spark1", f"test -e {FABRIC_FILE}", 240), "the fabric was never applied"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert on(lab, "spark1", "true") == ""
    assert on(lab, "spark2", "true") == ""
    assert admitted(play("site.yml"))
