"""What is remembered between commands, and that only our own processes are ended."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cabling import Cabling, Impairment, cables_for
from lab.errors import LabError
from lab.state import Process, State, Store, exclusive, write


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_known_by_pid_and_start_time(sleeper: subprocess.Popen[bytes]) -> None:
    process = Process.of(sleeper.pid)
    assert process.alive
    assert not Process(sleeper.pid, process.started - 1).alive


def test_end_ends_ours(sleeper: subprocess.Popen[bytes]) -> None:
    process = Process.of(sleeper.pid)
    process.end()
    assert not process.alive
    process.end()  # a second time: nothing to do


def test_end_spares_a_process_that_only_has_the_pid(sleeper: subprocess.Popen[bytes]) -> None:
    Process(sleeper.pid, Process.of(sleeper.pid).started - 1).end()
    assert sleeper.poll() is None


def test_end_kills_what_ignores_the_polite_signal() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    stubborn = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    with stubborn.stdout as output:
        output.readline()
        Process.of(stubborn.pid).end(signal.SIGTERM, patience=0.2)
    assert stubborn.wait(5) in (-signal.SIGKILL, 0)  # 0: end() collected it already


def test_a_process_that_is_gone_cannot_be_recorded() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(LabError, match="ended as soon as it was started"):
        Process.of(gone.pid)


def state() -> State:
    made = State("triangle", "planned", "/run/lab", {"spark1": 4001})
    made.processes = {"panel": Process(1, 2)}
    made.cabling = Cabling(["spark1", "spark2", "spark3"], cables_for("triangle", 3), ["spark1:p0:a"], ["spark3"])
    made.impairments = {"spark1:p0:b": Impairment(0.05, 3.0)}
    made.accelerator, made.accelerator_arguments = "tcg", ["-accel", "tcg"]
    return made


def test_state_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / ".lab")
    assert store.load() is None
    store.save(state())
    assert store.load() == state()
    store.forget()
    assert store.load() is None


def test_a_process_of_an_earlier_boot_is_not_alive() -> None:
    assert not state().alive("panel")
    assert not state().alive("spark1")


def test_files_are_replaced_in_one_step_and_private(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "key"
    write(file, "one")
    write(file, b"two")
    assert file.read_text() == "two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == ["key"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "file", "old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_two_commands_do_not_change_one_lab(tmp_path: Path) -> None:
    store = Store(tmp_path / ".lab")
    with store.lock(), pytest.raises(LabError, match="Another lab command is at work"), store.lock():
        pass
    with store.lock():
        pass


def test_a_lock_without_refusal_waits(tmp_path: Path) -> None:
    code = (
        "import sys, time, pathlib; from lab.state import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(0.5)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert holder.stdout is not None
    with holder.stdout as output:
        output.readline()
        started = time.monotonic()
        with exclusive(tmp_path / "lock"):
            assert time.monotonic() - started > 0.2
    holder.wait()
