"""A container has no verbs: nothing about RDMA can be known here, and so nothing may be admitted."""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

import pytest
from conftest import ROOT

Run = t.Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def judged(playbook: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], t.Any]:
    folder = tmp_path_factory.mktemp("evidence")
    result = playbook(ROOT / "playbooks/validate.yml", "-e", f"gate_evidence_dir={folder}")
    evidence = Path(folder, "latest.json")
    assert evidence.exists(), result.stdout + result.stderr
    return result, json.loads(evidence.read_text())


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
    assert outcomes(judged[1], "P") == {"skipped"}


def test_what_can_be_seen_passes(judged: tuple[subprocess.CompletedProcess[str], t.Any]) -> None:
    assert outcomes(judged[1], "L09") == outcomes(judged[1], "L10") == {"pass"}


def test_judging_changed_nothing(judged: tuple[subprocess.CompletedProcess[str], t.Any]) -> None:
    recap = [line for line in judged[0].stdout.splitlines() if line.startswith("spark") and " changed=" in line]
    assert len(recap) == 3
    assert all(" changed=0 " in line for line in recap)
