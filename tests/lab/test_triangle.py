"""Three nodes, three cables: from a wrong plug to an admitted cluster, through faults, and back.

The tests run in this order on one lab: each finds the nodes as the one before left them.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

import pytest

from lab.api import Lab
from tests.faults import live
from tests.faults.case import hold_against
from tests.lab.conftest import LATEST, Run, admitted, on, play, up

NODES = ("spark1", "spark2", "spark3")
STATE = """
find /etc -type f -exec sha256sum {} + | sort -k2
ip -o -4 addr show | cut -d' ' -f2,7; cat /sys/class/net/en*/mtu
"""
STEP = re.compile(r"(spark\d): (move the plug|swap the plugs)")


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    LATEST.unlink(missing_ok=True)
    yield up("triangle", 3, "p0-p0")


def state(lab: Lab) -> dict[str, str]:
    """What a run may change on a node: files, addresses, MTUs."""
    return {node: on(lab, node, STATE) for node in NODES}


def test_a_wrong_plug_stops_before_anything_changes(lab: Lab) -> None:
    before = state(lab)
    run = play("site.yml")
    assert run.rc != 0
    assert run.evidence is None
    assert "STOP  cabling differs from the plan; nothing was changed" in run.output
    assert state(lab) == before
    # Both plugs of spark2 are in the other cage: one exchange mends both cables.
    assert set(STEP.findall(run.output)) == {("spark2", "swap the plugs")}
    lab.swap("spark2:p0", "spark2:p1")


def test_check_mode_tells_the_truth_and_changes_nothing(lab: Lab) -> None:
    before = state(lab)
    run = play("site.yml", "--check", "--diff")
    assert run.rc == 0
    assert "WOULD NOT ADMIT" in run.output
    assert "+++ after: /etc/nccl.conf" in run.output
    assert "-NCCL_IB_DISABLE=1" in run.output
    assert "10.210.0.1/24" in run.output
    assert state(lab) == before


def test_after_the_move_it_admits(lab: Lab) -> None:
    run = play("site.yml")
    assert admitted(run)
    assert run.evidence is not None
    directions = run.records("P02", "pass")
    assert len(directions) == 12
    assert all(record["measured"]["bw_gbps"] > 0 for record in directions)
    assert len(run.records("P04", "pass")) == 12
    both_halves = [record for record in run.evidence["records"] if record["check"] == "P03"]
    assert len(both_halves) == 3
    assert all(record["measured"]["sum_gbps"] > 0 for record in both_halves)
    assert run.evidence["verdict"]["valid_pools"][0] == list(NODES)
    assert not on(lab, "spark1", "grep NCCL_IB_DISABLE /etc/nccl.conf || true")


def test_the_second_run_changes_nothing(lab: Lab) -> None:
    run = play("site.yml")
    assert admitted(run)
    assert run.changed == dict.fromkeys(NODES, 0)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong in an admitted cluster, and the findings that must name it."""

    name: str
    inject: t.Callable[[Lab], object]
    undo: t.Callable[[Lab], object]
    findings: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


SMALL_MTU = Fault(
    "MTU 1500 on one end",
    lambda lab: on(lab, "spark1", "ip link set enp1s0f0np0 mtu 1500"),
    lambda lab: on(lab, "spark1", "ip link set enp1s0f0np0 mtu 9000"),
    ("L04 spark1:p0:a",),
)
TWINS = Fault(
    "twins in one subnet",
    lambda lab: on(lab, "spark2", "ip addr add 10.210.0.77/24 dev enP2p1s0f1np1"),
    lambda lab: on(lab, "spark2", "ip addr del 10.210.0.77/24 dev enP2p1s0f1np1"),
    ("L05 spark2:p1:b",),
)
TCP_AGAIN = Fault(
    "NCCL_IB_DISABLE=1 is back",
    lambda lab: on(lab, "spark3", "echo NCCL_IB_DISABLE=1 >> /etc/nccl.conf"),
    lambda lab: on(lab, "spark3", "sed -i /NCCL_IB_DISABLE/d /etc/nccl.conf"),
    ("N08 spark3",),
)
HALF_DOWN = Fault(
    "one half down",
    lambda lab: lab.half("spark2:p0:a", on=False),
    lambda lab: lab.half("spark2:p0:a", on=True),
    ("L01 spark2:p0:a",),
)
LOSSY = Fault(
    "a lossy link",
    lambda lab: lab.loss("spark3:p0:b", 0.02),
    lambda lab: lab.loss("spark3:p0:b", 0.0),
    ("P02 spark3:p0:b",),
)
POWER_OFF = Fault(
    "a node without power",
    lambda lab: lab.power("spark3", on=False),
    lambda lab: lab.power("spark3", on=True),
    ("N00 spark3",),
)


def assert_refused_for(run: Run, *faults: Fault) -> None:
    assert run.rc != 0
    assert run.outcome == "refuse"
    for finding in (finding for fault in faults for finding in fault.findings):
        assert any(blocked.startswith(finding) for blocked in run.blocked_by), (finding, run.blocked_by)


def test_configuration_faults_refuse_and_site_repairs_them(lab: Lab) -> None:
    faults = (SMALL_MTU, TWINS, TCP_AGAIN)
    for fault in faults:
        fault.inject(lab)
    assert_refused_for(play("playbooks/validate.yml"), *faults)
    run = play("site.yml")
    assert admitted(run)
    assert all(run.changed[node] > 0 for node in NODES)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [HALF_DOWN, LOSSY, POWER_OFF, SMALL_MTU, TWINS, TCP_AGAIN], ids=str)
def test_each_fault_alone_refuses(lab: Lab, fault: Fault) -> None:
    fault.inject(lab)
    try:
        assert_refused_for(play("playbooks/validate.yml"), fault)
    finally:
        fault.undo(lab)


def test_a_fault_of_the_matrix_is_named_and_localised(lab: Lab) -> None:
    (fault,) = [case for case in live.CASES if case.sample]
    fault.inject(lab)
    try:
        run = play("playbooks/validate.yml")
    finally:
        lab.restore()
    assert run.evidence is not None
    (result,), alarms = hold_against(t.cast("t.Any", run.evidence), [fault], run.seconds)
    assert result.detected, result.said
    assert result.localised, result.said
    assert alarms == []
