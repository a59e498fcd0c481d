"""Playbooks that only look, as an operator starts them: on this machine, which is no Spark, and on one that is off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

INVENTORY = """
sparks:
  hosts:
    spark1: {{fabric_mgmt_ip: 192.0.2.11}}
    spark2: {{fabric_mgmt_ip: 192.0.2.12, ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}}
  vars:
    ansible_connection: local
    ansible_become: false
    ansible_python_interpreter: {python}
    fabric_topology: direct
    fabric_listen: 1
    gate_listen: 1
    gate_evidence_dir: {folder}/evidence
"""


def play(folder: Path, playbook: str, *options: str) -> subprocess.CompletedProcess[str]:
    inventory = folder / "hosts.yml"
    inventory.write_text(INVENTORY.format(python=sys.executable, folder=folder), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    command = [program, "-i", str(inventory), *options, f"playbooks/{playbook}.yml"]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=110)


def evidence(folder: Path) -> list[Path]:
    return sorted((folder / "evidence").glob("*")) if (folder / "evidence").exists() else []


@pytest.fixture(scope="module")
def preflight(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("preflight")
    return play(folder, "preflight"), folder


Preflight = tuple[subprocess.CompletedProcess[str], Path]


def test_preflight_answers_about_a_node_that_is_off_and_one_without_any_tool(preflight: Preflight) -> None:
    done, _folder = preflight
    assert done.returncode == 2, done.stdout + done.stderr
    assert "spark2  did not answer" in done.stdout
    assert "in the way  N00 spark2: did not answer" in done.stdout
    assert "N01 spark1:" in done.stdout
    assert "STOP  " in done.stdout
    assert "FAILED" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_preflight_names_what_would_be_installed(preflight: Preflight) -> None:
    done, _folder = preflight
    assert "would do    role dgx_os installs " in done.stdout
    assert "netplan.io" in done.stdout


def test_preflight_writes_nothing(preflight: Preflight) -> None:
    done, folder = preflight
    assert [path.name for path in folder.iterdir()] == ["hosts.yml"]
    assert "changed=0" in done.stdout
    assert "changed=1" not in done.stdout


def test_one_level_reads_and_judges_that_level_alone(tmp_path: Path) -> None:
    done = play(tmp_path, "validate", "--tags", "node")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "N00 spark2: did not answer" in done.stdout
    assert "REFUSE" in done.stdout
    kept, _shareable = evidence(tmp_path)
    found: dict[str, t.Any] = json.loads(kept.read_text(encoding="utf-8"))
    assert kept.name == f"{found['run_id']}.json"
    assert (found["levels"], found["verdict"]["outcome"]) == (["node"], "refuse")
    assert {record["level"] for record in found["records"]} == {"node"}


def test_levels_together(tmp_path: Path) -> None:
    done = play(tmp_path, "validate", "--tags", "half-link,node", "-e", "gate_enforce=false")
    assert done.returncode == 0, done.stdout + done.stderr
    kept, _shareable = evidence(tmp_path)
    assert json.loads(kept.read_text(encoding="utf-8"))["levels"] == ["node", "half-link"]


def test_a_level_that_there_is_not_is_refused_and_not_a_run_of_nothing(tmp_path: Path) -> None:
    done = play(tmp_path, "validate", "--tags", "nodes")
    assert done.returncode == 2
    assert "--tags takes the levels node, half-link, pair and cluster; found nodes" in done.stdout
    assert evidence(tmp_path) == []


@pytest.mark.parametrize("level", ["node", "half-link", "pair", "cluster"])
def test_a_level_runs_its_own_probe_and_no_other(tmp_path: Path, level: str) -> None:
    shown = play(tmp_path, "validate", "--tags", level, "--list-tasks").stdout
    probes = {
        "half-link": "Listen for the neighbours",
        "pair": "Measure every path of the fabric",
        "cluster": "Measure NCCL in what will serve",
    }
    assert [other for other, task in probes.items() if task in shown] == [level] * (level in probes)
    for always in ("Derive the fabric plan", "Read the nodes", "Admit or refuse"):
        assert always in shown


def test_an_ordinary_run_has_every_probe(tmp_path: Path) -> None:
    shown = play(tmp_path, "validate", "--list-tasks").stdout
    for task in ("Read the nodes", "Listen", "Measure every path", "Measure NCCL", "Admit or refuse"):
        assert task in shown
