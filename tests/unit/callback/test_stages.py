"""The terminal output, seen as an operator sees it: a real ansible-playbook run on the controller itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

PLAYBOOK = """
- name: First stage
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Say nothing
      ansible.builtin.set_fact: {quick: true}
    - name: Write a file
      ansible.builtin.copy: {content: "new\\n", dest: "{{ target }}", mode: "0600"}
    - name: Stop here
      ansible.builtin.fail: {msg: "spark2: what was found\\nand what to do"}
      when: stop | bool
"""


def play(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    playbook = folder / "play.yml"
    playbook.write_text(PLAYBOOK, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local"]
    variables = ["-e", f"target={folder / 'target'}", "-e", f"ansible_python_interpreter={sys.executable}"]
    return subprocess.run(
        [*command, *variables, *options, str(playbook)],
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stages")


def test_a_change_is_one_line_and_quick_steps_are_none(folder: Path) -> None:
    result = play(folder, "-e", "stop=false", "--diff")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "\nFirst stage\n" in result.stdout
    assert "changed localhost" in result.stdout
    assert "+new" in result.stdout
    assert "Say nothing" not in result.stdout
    assert "TASK [" not in result.stdout


def test_a_failure_is_the_modules_sentence(folder: Path) -> None:
    result = play(folder, "-e", "stop=true")
    assert result.returncode == 2
    assert "FAILED localhost: Stop here\n    spark2: what was found\n    and what to do\n" in result.stdout
    assert "Traceback" not in result.stdout
    assert "failed=1" in result.stdout


def test_check_mode_says_so(folder: Path) -> None:
    assert "nothing is changed" in play(folder, "-e", "stop=false", "--check").stdout


def test_verbose_is_the_default_output(folder: Path) -> None:
    assert "TASK [Write a file]" in play(folder, "-e", "stop=false", "-v").stdout
