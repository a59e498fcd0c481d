from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import pytest

SCENARIO = Path(__file__).resolve().parent.parent
ROOT = SCENARIO.parent.parent
INVENTORY = SCENARIO / "inventory/hosts.yml"


@pytest.fixture(scope="session")
def playbook() -> t.Callable[..., subprocess.CompletedProcess[str]]:
    """Run a playbook against the containers, as an operator would."""

    def run(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        environment.pop("ANSIBLE_FORCE_COLOR", None)
        environment.pop("PYTEST_ADDOPTS", None)
        command = ["ansible-playbook", "-i", str(INVENTORY), str(file), *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    return run
