"""A container has no verbs: nothing about RDMA can be known here, and so nothing may be admitted."""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

import pytest
from conftest import ROOT
from nodes import HOSTS
from testinfra.host import Host

Run = t.Callable[..., subprocess.CompletedProcess[str]]
testinfra_hosts = HOSTS
VERIFY = "/usr/local/lib/gb10/admission verify"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def judged(playbook: Run, folder: Path) -> tuple[subprocess.CompletedProcess[str], t.Any]:
    result = playbook(ROOT / "playbooks/validate.yml", "-e", f"gate_evidence_dir={folder}")
    evidence = folder / "latest.json"
    assert evidence.exists(), result.stdout + result.stderr
    return result, json.loads(evidence.read_text())


@pytest.fixture(scope="module")
def judged_again(judged: object, playbook: Run, folder: Path) -> subprocess.CompletedProcess[str]:
    return playbook(ROOT / "playbooks/validate.yml", "-e", f"gate_evidence_dir={folder}")


def outcomes(evidence: t.Any, check: str) -> set[str]:
    return {record["outcome"] for record in evidence["records"] if record["check"].startswith(check)}


def test_the_gate_refuses(judged: tuple[subprocess.CompletedProcess[str], t.Any]) -> None:
    result, evidence = judged
    assert result.returncode == 2
    assert "REFUSE" in result.stdout
    assert evidence["verdict"]["outcome"] == "refuse"
    assert {"N07 spark1", "N07 spark2", "N07 spark3"} <= set(evidence["verdict"]["blocked_by"])


def test_what_cannot_be_seen_is_unknown_and_what_hangs_on_it_is_not_judged(
    judged: tuple[subprocess.CompletedProcess[str], t.Any],
) -> None:
    assert outcomes(judged[1], "N07") == {"unknown"}
    assert outcomes(judged[1], "L01") == {"unknown"}
    assert outcomes(judged[1], "L06") == {"skipped"}
    paths = {"P01", "P02", "P03", "P04", "P05", "P07"}
    assert {check: outcomes(judged[1], check) for check in paths} == {check: {"skipped"} for check in paths}
    assert outcomes(judged[1], "P06") == {"unknown"}  # nobody asked what NCCL does


def test_what_can_be_seen_passes(judged: tuple[subprocess.CompletedProcess[str], t.Any]) -> None:
    assert outcomes(judged[1], "L09") == outcomes(judged[1], "L10") == {"pass"}


def recap(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stdout.splitlines() if line.startswith("spark") and " changed=" in line]


def test_judging_leaves_the_refusal_and_what_verifies_and_a_second_time_nothing(
    judged: tuple[subprocess.CompletedProcess[str], t.Any], judged_again: subprocess.CompletedProcess[str]
) -> None:
    assert len(recap(judged[0])) == len(recap(judged_again)) == 3
    assert all(" changed=2 " in line for line in recap(judged[0])), judged[0].stdout
    assert all(" changed=0 " in line for line in recap(judged_again)), judged_again.stdout
    assert judged_again.returncode == 2


def test_a_refused_node_says_why_it_may_not_serve(judged: object, host: Host) -> None:
    done = host.run(VERIFY)
    assert done.rc == 1
    assert done.stdout == ""
    assert done.stderr.startswith("not admitted: run 2")
    assert "refused: N0" in done.stderr
    assert done.stderr.count("\n") == 1
    assert host.file("/var/lib/gb10/admission.json").mode == 0o600


def test_a_unit_that_asks_first_fails_to_start(judged: object, host: Host) -> None:
    lines = f"[Service]\nType=exec\nExecStartPre=+{VERIFY}\nExecStart=/bin/sleep 60\n"
    host.run_expect([0], f"printf '{lines}' > /run/systemd/system/gb10-probe.service && systemctl daemon-reload")
    assert host.run("systemctl start gb10-probe").rc != 0
    assert host.run("systemctl is-failed gb10-probe").rc == 0
    host.run_expect([0], "rm /run/systemd/system/gb10-probe.service && systemctl daemon-reload")
