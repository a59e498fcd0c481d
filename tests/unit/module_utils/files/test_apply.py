from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.files.apply import (
    FileRefused,
    FileSpec,
    apply_changes,
    plan_changes,
)
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host


def spec(path: str, **given: t.Any) -> FileSpec:
    empty: dict[str, t.Any] = dict.fromkeys(
        ["content", "mode", "block", "disable_lines", "settings", "absent", "validate"]
    )
    return t.cast(FileSpec, empty | {"path": path, "marker": "m", "backup": False, "restore": False} | given)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "etc").mkdir()
    (tmp_path / "tmp").mkdir()
    return Host(tmp_path)


def run(host: Host, *specs: FileSpec) -> list[str]:
    changes = plan_changes(host, specs)
    apply_changes(host, changes)
    return [change.action for change in changes]


def tree(host: Host) -> dict[str, bytes]:
    return {str(p.relative_to(host.root)): p.read_bytes() for p in host.root.rglob("*") if p.is_file()}


CASES = [
    spec("/etc/gb10/own.env", content="A=1\n"),
    spec("/etc/hosts", block="192.0.2.11 spark1", disable_lines=["^127.*spark1"]),
    spec("/etc/nccl.conf", settings={"set": {"A": "1"}, "unset": ["B"]}),
]


@pytest.mark.parametrize("case", CASES, ids=["content", "block", "settings"])
def test_created_then_unchanged_then_removed(host: Host, case: FileSpec) -> None:
    path = case["path"]
    assert run(host, case) == ["created"]
    assert stat.S_IMODE(host.path(path).stat().st_mode) == 0o644
    inode = host.path(path).stat().st_ino
    assert run(host, case) == ["unchanged"]
    assert host.path(path).stat().st_ino == inode
    assert run(host, spec(path, absent=True)) == ["removed"]
    assert run(host, spec(path, absent=True)) == ["unchanged"]
    assert not host.exists(path)


def test_planning_writes_nothing(host: Host) -> None:
    changes = plan_changes(host, CASES)
    assert [change.action for change in changes] == ["created"] * 3
    assert tree(host) == {}


def test_a_foreign_file_keeps_mode_owner_and_bytes(host: Host) -> None:
    target = host.path("/etc/nccl.conf")
    target.write_bytes(b"# caf\xe9\r\nNCCL_DEBUG=WARN\nNCCL_IB_DISABLE=1\n")
    target.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(target, 12, 34)
    before = target.stat()
    settings = {"set": {"NCCL_NET": "IB"}, "unset": ["NCCL_IB_DISABLE"]}
    assert run(host, spec("/etc/nccl.conf", settings=settings, backup=True)) == ["updated"]
    after = target.stat()
    assert target.read_bytes() == b"# caf\xe9\r\nNCCL_DEBUG=WARN\nNCCL_NET=IB\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    backup = host.path("/etc/nccl.conf.gb10-original")
    assert backup.read_bytes() == b"# caf\xe9\r\nNCCL_DEBUG=WARN\nNCCL_IB_DISABLE=1\n"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o640


def test_the_backup_is_the_original(host: Host) -> None:
    host.write("/etc/hosts", "first\n")
    run(host, spec("/etc/hosts", block="one", backup=True))
    run(host, spec("/etc/hosts", block="two", backup=True))
    assert host.read("/etc/hosts.gb10-original") == "first\n"


def test_no_file_is_kept_as_an_empty_one(host: Host) -> None:
    run(host, spec("/etc/nccl.conf", content="x", backup=True))
    assert host.read_exact("/etc/nccl.conf.gb10-original") == ""


def test_own_content_gets_its_mode_back(host: Host) -> None:
    own = spec("/etc/own", content="x\n", mode="0600")
    run(host, own)
    host.path("/etc/own").chmod(0o644)
    assert run(host, own) == ["updated"]
    assert stat.S_IMODE(host.path("/etc/own").stat().st_mode) == 0o600


def test_a_file_with_only_our_keys_is_removed_with_them(host: Host) -> None:
    run(host, spec("/etc/nccl.conf", settings={"set": {"A": "1"}, "unset": None}))
    assert run(host, spec("/etc/nccl.conf", settings={"set": None, "unset": ["A"]})) == ["removed"]


def test_an_empty_foreign_file_stays(host: Host) -> None:
    host.write("/etc/nccl.conf", "")
    assert run(host, spec("/etc/nccl.conf", settings={"set": None, "unset": ["A"]})) == ["unchanged"]
    assert host.exists("/etc/nccl.conf")


def test_nothing_to_take_back_makes_no_file(host: Host) -> None:
    assert run(host, spec("/etc/nccl.conf", settings={"set": None, "unset": ["A"]})) == ["unchanged"]
    assert run(host, spec("/etc/hosts", block="")) == ["unchanged"]
    assert tree(host) == {}


REFUSED = [
    ("relative", spec("etc/x", content=""), "not an absolute path"),
    ("link", spec("/etc/link", content=""), "is a symbolic link"),
    ("folder", spec("/etc/folder", content=""), "not a regular file"),
    ("below-a-file", spec("/etc/plain/x", content=""), "cannot be read"),
    ("twice", spec("/etc/good", absent=True), "listed twice"),
    ("mode-number", spec("/etc/x", content="", mode="420"), "four octal digits in quotes"),
    ("marks", spec("/etc/damaged", block="x"), "/etc/damaged has 1 times"),
    (
        "validator-says-no",
        spec("/etc/x", content="", validate=["sh", "-c", "echo bad line >&2; exit 3"]),
        "ended with 3: bad line",
    ),
    ("validator-missing", spec("/etc/x", content="", validate=["no-such-checker", "%s"]), "command not found"),
]


@pytest.mark.parametrize(("bad", "says"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_one_refused_file_and_nothing_is_written(host: Host, bad: FileSpec, says: str) -> None:
    host.path("/etc/folder").mkdir()
    host.path("/etc/link").symlink_to("plain")
    host.write("/etc/plain", "plain\n")
    host.write("/etc/damaged", "# BEGIN m\n")
    before = tree(host)
    with pytest.raises(FileRefused, match=says):
        plan_changes(host, [spec("/etc/good", content="good\n"), bad])
    assert tree(host) == before


def test_the_validator_sees_the_new_text(host: Host) -> None:
    check = ["grep", "-q", "new", "%s"]
    assert run(host, spec("/etc/x", content="new\n", validate=check)) == ["created"]
    assert list(tree(host)) == ["etc/x"]


def test_a_full_disk_leaves_all_files_as_before(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("/etc/one", "old\n")
    changes = plan_changes(
        host, [spec("/etc/one", content="new\n"), spec("/etc/two", content="two\n"), spec("/etc/three", content="x\n")]
    )
    write = Host.write

    def fail_on_three(self: Host, path: str, *args: t.Any) -> None:
        if path == "/etc/three":
            raise OSError(28, "No space left on device")
        write(self, path, *args)

    monkeypatch.setattr(Host, "write", fail_on_three)
    with pytest.raises(FileRefused, match=r"/etc/three could not be written, and all files are as before.*No space"):
        apply_changes(host, changes)
    assert tree(host) == {"etc/one": b"old\n"}


# --- giving a foreign file back ---

NCCL = "NCCL_DEBUG=WARN\nNCCL_IB_DISABLE=1\nNCCL_NET=Socket"
OURS = {"set": {"NCCL_NET": "IB"}, "unset": ["NCCL_IB_DISABLE"]}
NOT_OURS = {"set": None, "unset": ["NCCL_IB_DISABLE", "NCCL_NET"]}
CONF = "/etc/nccl.conf"


def test_the_original_comes_back_byte_for_byte_and_its_copy_goes(host: Host) -> None:
    host.write(CONF, NCCL)
    run(host, spec(CONF, settings=OURS, backup=True))
    assert run(host, spec(CONF, settings=NOT_OURS, restore=True)) == ["updated"]
    assert host.read_exact(CONF) == NCCL
    assert not host.exists(CONF + ".gb10-original")
    assert run(host, spec(CONF, settings=NOT_OURS, restore=True)) == ["unchanged"]


def test_settings_that_were_never_ours_stay(host: Host) -> None:
    host.write(CONF, NCCL)
    assert run(host, spec(CONF, settings=NOT_OURS, restore=True)) == ["unchanged"]


def test_a_file_that_somebody_has_changed_since_keeps_their_change(host: Host) -> None:
    host.write(CONF, NCCL)
    run(host, spec(CONF, settings=OURS, backup=True))
    host.write(CONF, host.read_exact(CONF) + "NCCL_TIMEOUT=5\n")
    run(host, spec(CONF, settings=NOT_OURS, restore=True))
    assert host.read_exact(CONF) == "NCCL_DEBUG=WARN\nNCCL_TIMEOUT=5\n"
    assert host.read_exact(CONF + ".gb10-original") == NCCL


def test_an_original_of_which_nothing_was_left_comes_back(host: Host) -> None:
    host.write(CONF, "NCCL_IB_DISABLE=1\n")
    run(host, spec(CONF, settings=OURS, backup=True))
    run(host, spec(CONF, settings=NOT_OURS, restore=True))
    assert host.read_exact(CONF) == "NCCL_IB_DISABLE=1\n"


def test_a_file_that_was_not_there_is_gone_again(host: Host) -> None:
    run(host, spec(CONF, settings=OURS, backup=True))
    assert run(host, spec(CONF, settings=NOT_OURS, restore=True)) == ["removed"]
    assert tree(host) == {}


def test_a_copy_without_any_other_change_goes(host: Host) -> None:
    host.write("/etc/hosts", "127.0.1.1 spark")
    run(host, spec("/etc/hosts", block="x", disable_lines=["spark"], backup=True))
    assert run(host, spec("/etc/hosts", block="", restore=True)) == ["updated"]
    assert host.read_exact("/etc/hosts") == "127.0.1.1 spark"
    assert host.names("/etc") == ["hosts"]


def test_folders_of_ours_go_with_their_last_file_and_those_of_others_stay(host: Host) -> None:
    paths = ["/etc/gb10/a/b.conf", "/etc/gb10/c.conf", "/etc/systemd/system/x.service.d/9.conf", "/etc/other/d.conf"]
    run(host, *(spec(path, content="x") for path in paths))
    run(host, spec(paths[0], absent=True))
    assert host.names("/etc/gb10") == ["c.conf"]
    run(host, *(spec(path, absent=True) for path in paths[1:]))
    assert (host.names("/etc"), host.names("/etc/systemd/system")) == (["other", "systemd"], [])
