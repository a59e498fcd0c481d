"""The terminal output, seen as an operator sees it: a real ansible-playbook run on the controller itself."""

from __future__ import annotations

import os
import pty
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


SPEAKING = """
- name: Say something
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Show lines
      ansible.builtin.debug: {msg: ["a table", "  of two lines"]}
    - name: Show a text
      ansible.builtin.debug: {msg: "one text"}
"""


TWO_HOSTS = """
- name: The same on both
  hosts: all
  gather_facts: false
  tasks:
    - name: Write a file
      ansible.builtin.lineinfile: {line: "both", path: "{{ target }}", create: true, mode: "0600"}
      check_mode: true
"""

ENVIRONMENT = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def command(folder: Path, *options: str, playbook: str = PLAYBOOK, hosts: str = "localhost,") -> list[str]:
    path = folder / "play.yml"
    path.write_text(playbook, encoding="utf-8")
    program = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", hosts, "-c", "local"]
    variables = ["-e", f"target={folder / 'target'}", "-e", f"ansible_python_interpreter={sys.executable}"]
    return [*program, *variables, *options, str(path)]


def play(folder: Path, *options: str, **what: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *options, **what), env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )


def play_on_a_terminal(folder: Path, *options: str) -> str:
    """Everything that a terminal is sent, control sequences included."""
    terminal, inner = pty.openpty()
    process = subprocess.Popen(command(folder, *options), env=ENVIRONMENT, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    sent = b""
    try:
        while chunk := os.read(terminal, 65536):
            sent += chunk
    except OSError:
        pass  # the other end is closed
    os.close(terminal)
    assert process.wait(60) == 0, sent.decode()
    return sent.decode()


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


def test_what_is_the_same_on_several_hosts_is_shown_once(folder: Path) -> None:
    output = play(folder, "--diff", playbook=TWO_HOSTS, hosts="one,two,").stdout
    line, _newline, after = output.partition("changed one two")[2].partition("\n")
    assert line == ""
    assert after.startswith("  one two\n")
    assert output.count("+both") == 1


def test_on_a_terminal_the_running_step_is_replaced_by_its_line(folder: Path) -> None:
    (folder / "target").unlink(missing_ok=True)
    sent = play_on_a_terminal(folder, "-e", "stop=false")
    shown = [part.rpartition("\r\033[K")[2] for part in sent.split("\n")]
    assert "\r\033[K  Write a file ... 0 s" in sent
    assert not any("..." in line for line in shown)
    assert any(line.startswith("  Write a file") and "changed localhost" in line for line in shown)


def test_what_a_playbook_says_is_shown_as_it_is(folder: Path) -> None:
    result = play(folder, playbook=SPEAKING)
    assert "\nSay something\na table\n  of two lines\none text\n" in result.stdout
