"""One measurement at a time, with two real processes on one lock file."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.lock import LOCK, alone

REPOSITORY = Path(__file__).parents[4]
HOLDER = """
import subprocess, sys, time
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.lock import alone
host = Host(sys.argv[1])
with alone(host, "rdma_probe") as locked_out:
    tool = host.start(["sleep", "60"], limit_s=60)
    print(locked_out, tool._popen.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> t.Iterator[subprocess.Popen[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "SUDO_USER"}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONPATH": str(REPOSITORY / ".collections")},
    )
    assert process.stdout is not None
    free, tool = process.stdout.readline().split()
    assert free == "None"
    yield process
    process.kill()
    process.wait()
    os.killpg(int(tool), signal.SIGKILL)


def test_the_second_is_told_who_measures_since_when(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with alone(Host(tmp_path), "nccl_probe") as locked_out:
        assert locked_out is not None
        assert locked_out.startswith(f"busy: another measurement runs on this node (pid {holder.pid}, since 20")
        assert locked_out.endswith("Z, rdma_probe)")


def test_a_holder_that_is_killed_leaves_nothing_behind(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    """Not even while a tool that it started still runs."""
    holder.kill()
    holder.wait()
    with alone(Host(tmp_path), "nccl_probe") as locked_out:
        assert locked_out is None
    assert f"pid {os.getpid()}, since 20" in (tmp_path / LOCK.lstrip("/")).read_text()


def test_one_after_the_other_is_no_conflict(tmp_path: Path) -> None:
    for who in ("rdma_probe", "nccl_probe"):
        with alone(Host(tmp_path), who) as locked_out:
            assert locked_out is None


def test_the_holder_names_who_became_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "nvidia")
    with alone(Host(tmp_path), "rdma_probe"), alone(Host(tmp_path), "rdma_probe") as locked_out:
        assert str(locked_out).endswith("Z, rdma_probe run by nvidia)")


def test_a_file_system_without_locks_is_the_reason_not_to_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone(Host(tmp_path), "rdma_probe") as locked_out:
        assert locked_out == f"the maintenance lock {LOCK} cannot be taken: No locks available"


def test_it_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), alone(Host(tmp_path), "rdma_probe"):
        raise RuntimeError("it broke")
    with alone(Host(tmp_path), "rdma_probe") as locked_out:
        assert locked_out is None


def test_a_lock_that_cannot_be_opened_is_the_reason_not_to_measure(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder should be")
    with alone(Host(tmp_path), "rdma_probe") as locked_out:
        assert locked_out == f"the maintenance lock {LOCK} cannot be opened: Not a directory"
