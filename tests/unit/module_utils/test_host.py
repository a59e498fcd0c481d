from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.host import NOT_FOUND, TIMED_OUT, Host


def fake(folder: Path, name: str, script: str) -> None:
    command = folder / name
    command.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    command.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "bin").mkdir()
    return Host(tmp_path, path=f"{tmp_path / 'bin'}:/usr/bin:/bin")


def test_a_command_runs_in_the_c_locale(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    fake(tmp_path / "bin", "say", 'echo "$LC_ALL $1"; echo hm >&2; exit 3')
    result = Host(tmp_path, path=f"{tmp_path / 'bin'}:/usr/bin:/bin").run(["say", "$HOME; ls"])
    assert (result.rc, result.stdout, result.stderr, result.ok) == (3, "C $HOME; ls\n", "hm\n", False)


def test_an_environment_takes_the_place_of_what_was_inherited(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCCL_IB_DISABLE", "1")
    fake(tmp_path / "bin", "say", 'echo "$LC_ALL ${NCCL_IB_DISABLE-unset} $NCCL_NET ${HOME-unset}"')
    process = Host(tmp_path, path=f"{tmp_path / 'bin'}:/usr/bin:/bin").start(
        ["say"], limit_s=5, environment={"NCCL_NET": "IB", "LC_ALL": "de_DE.UTF-8", "PATH": "/nowhere"}
    )
    assert process.wait(5).stdout == "C unset IB unset\n"


def test_lines_keep_their_ends_and_foreign_bytes(host: Host, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\r\ntwo \xff\nthree")
    lines = list(host.lines("/log"))
    assert [line.encode("utf-8", "surrogateescape") for line in lines] == [b"one\r\n", b"two \xff\n", b"three"]
    assert list(host.lines("/gone")) == []


def test_a_missing_command_is_127(host: Host) -> None:
    result = host.run(["no-such-command", "x"])
    assert result.rc == NOT_FOUND
    assert "no-such-command" in result.stderr


def test_a_slow_command_dies_with_its_children(host: Host, tmp_path: Path) -> None:
    child = tmp_path / "child"
    fake(tmp_path / "bin", "slow", f"sleep 60 & echo $! > {child}; wait")
    result = host.run(["slow"], timeout_s=0.5)
    assert result.rc == TIMED_OUT
    assert result.duration_s < 5
    time.sleep(0.1)
    assert not alive(int(child.read_text(encoding="utf-8")))


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def test_a_started_process_can_be_killed_twice(host: Host) -> None:
    process = host.start(["sleep", "60"])
    assert process.running
    assert process.kill().rc != 0
    assert not process.running
    process.kill()


def test_commands_of_an_ordinary_login_find_sbin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert Host().which("ldconfig") is not None


def test_which_takes_a_path(tmp_path: Path, host: Host) -> None:
    fake(tmp_path / "bin", "tool", "true")
    assert host.which(str(tmp_path / "bin/tool")) == str(tmp_path / "bin/tool")
    assert host.which(str(tmp_path / "bin/other")) is None


def test_files_are_read_under_the_root(host: Host, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/number").write_text("42\n", encoding="utf-8")
    (tmp_path / "etc/driver").symlink_to("../bus/drivers/mlx5_core")
    assert host.read("/etc/number") == "42\n"
    assert host.read_line("/etc/number") == "42"
    assert host.read_int("/etc/number") == 42
    assert host.link_name("/etc/driver") == "mlx5_core"
    assert host.names("/etc") == ["driver", "number"]
    assert host.exists("/etc/number")


def test_what_is_missing_is_none(host: Host) -> None:
    assert host.read("/etc/none") is None
    assert host.read_line("/etc/none") is None
    assert host.read_int("/etc/none") is None
    assert host.link_name("/etc/none") is None
    assert host.names("/etc/none") == []
    assert not host.exists("/etc/none")


def test_a_write_replaces_in_one_step(host: Host, tmp_path: Path) -> None:
    host.write("/etc/deep/file", "one", mode=0o600)
    host.write("/etc/deep/file", "two", mode=0o600)
    target = tmp_path / "etc/deep/file"
    assert target.read_text(encoding="utf-8") == "two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert host.names("/etc/deep") == ["file"]
    host.remove("/etc/deep/file")
    host.remove("/etc/deep/file")
    assert host.names("/etc/deep") == []


def test_a_failed_write_leaves_the_old_file(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("/etc/file", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        host.write("/etc/file", "new")
    assert host.read("/etc/file") == "old"
    assert host.names("/etc") == ["file"]


def test_foreign_bytes_survive_reading_and_writing(host: Host, tmp_path: Path) -> None:
    raw = b"caf\xe9\r\nplain\n\x0btab"
    (tmp_path / "file").write_bytes(raw)
    host.write("/file", host.read_exact("/file"), owner=(os.getuid(), os.getgid()))
    assert (tmp_path / "file").read_bytes() == raw


def test_a_mount_point_is_filled_in_place(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """podman mounts /etc/hosts into a container: rename answers EBUSY."""

    def busy(*_paths: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    (tmp_path / "hosts").write_text("old\n", encoding="utf-8")
    monkeypatch.setattr(os, "replace", busy)
    host.write("/hosts", "new\n")
    assert (tmp_path / "hosts").read_text(encoding="utf-8") == "new\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "hosts"]


def test_a_piece_of_a_file(tmp_path):
    (tmp_path / "weights").write_bytes(b"0123456789")
    host = Host(tmp_path)
    assert host.read_bytes("/weights", 2, 3) == b"234"
    assert host.read_bytes("/weights", 8, 100) == b"89"
    assert host.size("/weights") == 10
    assert host.size("/nothing") is None


# --- several files at once ---


def tree(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_several_files_are_replaced_together(host: Host, tmp_path: Path) -> None:
    host.write_all({"/run/a": "1", "/run/b": "2"}, mode=0o600)
    host.write_all({"/run/b": "3", "/run/c": "4"}, mode=0o600)
    assert tree(tmp_path / "run") == {"a": "1", "b": "3", "c": "4"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()} == {0o600}


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_when_one_file_fails_all_are_as_before(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, call: str, links: bool
) -> None:
    host.write_all({"/run/a": "1", "/run/b": "2"})
    real, calls = getattr(os, call), iter(range(1, 100))

    def full(*arguments: object) -> object:
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(f"os.{call}", full)
    if not links:
        monkeypatch.setattr("os.link", refuse)
    with pytest.raises(OSError, match="No space left"):
        host.write_all({"/run/b": "3", "/run/c": "4", "/run/a": "5"})
    assert tree(tmp_path / "run") == {"a": "1", "b": "2"}
