"""The way back of every role, as far as it can be seen without a node; molecule/default runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.playbooks.test_playbooks import ROOT, play

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
CHANGED = {
    "gate": "Remove the admission and what verifies it",
    "nccl_env": "Write what NCCL reads",
    "fabric": "Apply the links",
    "dgx_os": "Bring the base of the system to what is declared",
}


def listed(folder: Path, *options: str) -> list[str]:
    shown = play(folder, "absent", "--list-tasks", *options)
    assert shown.returncode == 0, shown.stderr
    return re.findall(r"^      (?:gb10\.cluster\.)?(\w+) : (?:\w+ \| )?(.*?)\t", shown.stdout, re.MULTILINE)


def test_roles_are_taken_back_in_the_reverse_order_of_site(tmp_path: Path) -> None:
    done = [role for role, task in listed(tmp_path) if task == CHANGED.get(role)]
    assert done == list(CHANGED)
    site = (ROOT / "playbooks/site.yml").read_text(encoding="utf-8")
    order = [site.rindex(f"role: gb10.cluster.{role}\n") for role in CHANGED]
    assert order == sorted(order, reverse=True)


def test_every_role_that_changes_a_node_is_taken_back() -> None:
    text = (ROOT / "playbooks/absent.yml").read_text(encoding="utf-8")
    assert [role for role in ROLES if f"gb10.cluster.{role}\n" not in text] == []


@pytest.mark.parametrize("role", CHANGED)
def test_one_role_alone(tmp_path: Path, role: str) -> None:
    shown = listed(tmp_path, "--tags", role)
    assert {name for name, task in shown if not task.startswith("Validating")} == {role}
    assert (role, CHANGED[role]) in shown
