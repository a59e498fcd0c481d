"""The program that a unit runs first: on a node as a folder, every way in which an admission stops to hold."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict import admission as core
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import ADMISSION_FILE, revocation
from ansible_collections.gb10.cluster.tests.unit.spark_tree import NOW, OWN, VERIFIER_SOURCE, admit, grow, put


def _load() -> t.Any:
    spec = importlib.util.spec_from_file_location("gb10_admission", VERIFIER_SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


program = _load()


@pytest.fixture
def node(tmp_path: Path) -> Path:
    return grow(tmp_path / "node")


def ask(root: Path, *words: str, now: datetime = NOW) -> tuple[str, str]:
    """The state and the reason, with the arguments of `verify`."""
    asked = program.arguments(["--root", str(root), "verify", *words])
    try:
        program.admit(program.Node(asked.root), now, asked.pool, asked.expect_nccl_build_id)
    except program.NotAdmitted as refused:
        return refused.state, str(refused)
    return "valid", ""


def test_an_admitted_node_may_serve(node):
    admit(node)
    assert ask(node) == ("valid", "")
    assert ask(node, now=NOW + timedelta(days=6, hours=23)) == ("valid", "")


def test_none(node):
    assert ask(node) == ("absent", "there is no admission; run site.yml on the controller")


def edit(path: str, text: str) -> t.Callable[[Path], None]:
    return lambda root: put(root, path, text)


def gone(path: str) -> t.Callable[[Path], None]:
    return lambda root: (root / path.lstrip("/")).unlink()


CHANGES = [
    pytest.param(
        edit("/proc/sys/kernel/random/boot_id", "other\n"),
        "the node was started again after it was admitted",
        id="boot",
    ),
    pytest.param(
        edit("/proc/sys/kernel/osrelease", "6.17.0-1031-nvidia\n"),
        "the kernel is 6.17.0-1031-nvidia, admitted was 6.17.0-1029-nvidia",
        id="kernel",
    ),
    pytest.param(edit("/sys/module/nvidia/version", "590.1\n"), "the GPU driver is 590.1", id="driver"),
    pytest.param(gone("/sys/module/nvidia/version"), "the GPU driver is not there", id="driver not loaded"),
    pytest.param(
        edit("/sys/class/infiniband/rocep1s0f0/fw_ver", "28.40.1000\n"),
        "the firmware of rocep1s0f0 is 28.40.1000, admitted was 28.45.4028",
        id="firmware",
    ),
    pytest.param(gone("/sys/class/infiniband/rocep1s0f0/fw_ver"), "firmware of rocep1s0f0 is not there", id="NIC lost"),
    pytest.param(
        edit("/etc/netplan/60-gb10-fabric.yaml", OWN + "# edited\n"),
        "/etc/netplan/60-gb10-fabric.yaml has changed",
        id="netplan",
    ),
    pytest.param(
        gone("/etc/netplan/60-gb10-fabric.yaml"), "/etc/netplan/60-gb10-fabric.yaml is gone", id="netplan gone"
    ),
    pytest.param(
        edit("/run/netplan/x.yaml", "network: {ethernets: {enp1s0f0np0: {mtu: 1500}}}\n"),
        "/run/netplan/x.yaml is new and names enp1s0f0np0",
        id="new file by name",
    ),
    pytest.param(
        edit("/etc/netplan/99.yaml", 'network:\n ethernets:\n  all:\n   match: {name: "enp*"}\n'),
        "/etc/netplan/99.yaml is new and names enp1s0f0np0",
        id="new file by pattern",
    ),
    pytest.param(
        edit("/etc/netplan/99.yaml", "network:\n ethernets:\n  all:\n   match:\n    driver: [mlx5*, e1000]\n"),
        "names enp1s0f0np0",
        id="new file by driver",
    ),
    pytest.param(
        edit("/etc/netplan/99.yaml", "network:\n ethernets:\n  all:\n   match:\n    macaddress: 4C:BB:47:00:00:01\n"),
        "names enp1s0f0np0",
        id="new file by address",
    ),
]


@pytest.mark.parametrize(("change", "says"), CHANGES)
def test_another_node_than_the_one_that_was_measured(node, change, says):
    admit(node)
    change(node)
    state, reason = ask(node)
    assert state == "different"
    assert says in reason
    assert "; r" in reason  # what to do next: run ..., remove ...


@pytest.mark.parametrize(
    "text",
    ["network: {wifis: {wlP9s9: {}}}\n", "# enp1s0f0np0\n", 'network: {ethernets: {all: {match: {name: "enP7*"}}}}\n'],
    ids=["other interface", "comment", "other pattern"],
)
def test_a_new_netplan_file_of_others_does_not_matter(node, text):
    admit(node)
    put(node, "/etc/netplan/90-other.yaml", text)
    assert ask(node) == ("valid", "")


def test_a_node_without_a_gpu_driver_was_admitted_as_that(node):
    bound = {**core_bound(node), "gpu_driver": None, "firmware": {}}
    admit(node, bound=bound)
    assert ask(node)[1].startswith("the GPU driver is 580.142, admitted was a node without it")
    gone("/sys/module/nvidia/version")(node)
    assert ask(node) == ("valid", "")


def core_bound(node: Path) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", admit(node)["bound"])


# --- time ---


def test_its_time_is_up(node):
    admit(node)
    assert ask(node, now=NOW + timedelta(days=7)) == (
        "expired",
        "the admission ended at 2026-12-01T12:00:00Z; run playbooks/validate.yml on the controller",
    )


def test_the_clock_went_back(node):
    admit(node)
    state, reason = ask(node, now=NOW - timedelta(hours=1))
    assert state == "different"
    assert "admitted at 2026-11-24T12:00:00Z, and it is 2026-11-24T11:00:00Z here: the clock went back" in reason
    assert ask(node, now=NOW - timedelta(seconds=30)) == ("valid", "")


# --- the file ---


def test_a_refusal_says_why(node):
    reasons = ["N07 spark1", "L01 spark1:p0:a", "P02 x", "P02 y"]
    put(node, ADMISSION_FILE, json.dumps(revocation("spark1", "20261124-130000", reasons, NOW)))
    assert ask(node) == (
        "revoked",
        "run 20261124-130000 refused: N07 spark1, L01 spark1:p0:a, P02 x and 1 more;"
        " repair what the gate names and run site.yml on the controller",
    )


@pytest.mark.parametrize("key", ["node", "pool", "expires", "bound"])
def test_an_edit_breaks_the_seal(node, key):
    token = t.cast("dict[str, t.Any]", admit(node))
    token[key] = {"expires": "2036-01-01T00:00:00Z"}.get(key, [])
    put(node, ADMISSION_FILE, json.dumps(token))
    assert ask(node)[0] == "different"
    assert "is not as it was written" in ask(node)[1]


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"schema": "2"}', "\x00\xff"], ids=repr)
def test_what_is_no_admission_is_not_readable(node, text):
    put(node, ADMISSION_FILE, text)
    state, reason = ask(node)
    assert state == "unreadable"
    assert "is not an admission" in reason


def sealed(document: dict[str, t.Any]) -> str:
    return json.dumps({**document, "seal": core.seal(document)})


@pytest.mark.parametrize(
    "change",
    [
        {"issued": None},
        {"issued": "yesterday"},
        {"expires": "2026-12-01"},
        {"bound": None},
        {"bound": {}},
        {"bound": {"boot_id": "c82c1b05-a9b9-4f27-a39c-96317639d457"}},
    ],
    ids=repr,
)
def test_a_sealed_file_of_another_shape_is_not_readable(node, change):
    put(node, ADMISSION_FILE, sealed({**t.cast("dict[str, t.Any]", admit(node)), **change}))
    assert ask(node)[0] == "unreadable"


def test_a_revocation_of_another_shape_is_not_readable(node):
    put(node, ADMISSION_FILE, json.dumps({"schema": "1", "revoked": True}))
    assert ask(node)[0] == "unreadable"


def test_only_root_can_compare(node, monkeypatch):
    admit(node)
    monkeypatch.setattr("builtins.open", mock.Mock(side_effect=PermissionError(13, "denied")))
    assert ask(node) == ("unreadable", f"{ADMISSION_FILE} is only for root; ask as root")


def test_a_disk_that_fails(node, monkeypatch):
    admit(node)
    monkeypatch.setattr("builtins.open", mock.Mock(side_effect=OSError(5, "Input/output error")))
    assert ask(node)[1].startswith(f"{ADMISSION_FILE} cannot be read (Input/output error)")


def test_a_folder_that_cannot_be_looked_into(node, monkeypatch):
    admit(node)
    monkeypatch.setattr("os.listdir", mock.Mock(side_effect=PermissionError(13, "Permission denied")))
    assert ask(node) == ("unreadable", "/etc/netplan cannot be read (Permission denied); ask as root")


# --- what serves ---


@pytest.mark.parametrize("pool", [["spark1"], ["spark2", "spark1"]])
def test_nodes_that_were_admitted_together_may_serve_in_fewer(node, pool):
    admit(node)
    assert ask(node, "--pool", *pool) == ("valid", "")


@pytest.mark.parametrize(
    ("pool", "says"),
    [
        (["spark1", "spark3"], "spark3 was not admitted together with this node (spark1 spark2 were)"),
        (["spark2"], "this node, spark1, is not one of the nodes that shall serve"),
        (["x" * 500], "x" * 20 + " was not admitted"),
    ],
)
def test_another_pool_is_not_admitted(node, pool, says):
    admit(node)
    state, reason = ask(node, "--pool", *pool)
    assert state == "different"
    assert says in reason


def test_an_nccl_that_was_never_measured(node):
    admit(node, bound={**core_bound(node), "nccl_build_id": None})
    assert ask(node) == ("valid", "")
    state, reason = ask(node, "--expect-nccl-build-id", "ffff")
    assert state == "different"
    assert reason.startswith("NCCL was not measured on this node; set gate_nccl_runtime and run")


def test_another_nccl_than_was_measured(node):
    admit(node)
    assert ask(node, "--expect-nccl-build-id", "a7f420a1") == ("valid", "")
    state, reason = ask(node, "--expect-nccl-build-id", "ffff")
    assert (state, reason.partition(";")[0]) == (
        "different",
        "the NCCL that will serve is ffff, admitted was a7f420a1",
    )


# --- as a command ---


def command(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-IS", str(VERIFIER_SOURCE), "--root", str(root), *words],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": "/nonexistent"},
    )


def test_silence_or_one_line(node):
    admit(node, datetime.now(UTC))
    done = command(node, "verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    edit("/proc/sys/kernel/random/boot_id", "other\n")(node)
    done = command(node, "verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "not admitted: the node was started again after it was admitted; run playbooks/validate.yml on the controller\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("renew",),
        ("verify", "x"),
        ("verify", "--pool"),
        ("verify", "--po", "spark1"),
        ("verify", "--pool", "spark1", "--root", "/elsewhere"),
        ("verify", "--expect-nccl-build-id"),
    ],
)
def test_it_does_only_what_it_knows(node, words):
    admit(node, datetime.now(UTC))
    assert command(node, *words).returncode == 2


def test_the_state_as_json(node):
    assert json.loads(command(node, "state").stdout)["state"] == "absent"
    token = admit(node, datetime.now(UTC))
    assert json.loads(command(node, "state").stdout) == {"state": "valid", "reason": None, "expires": token["expires"]}


def test_it_writes_nothing_and_is_quick(node):
    admit(node, datetime.now(UTC))
    before = {path: path.lstat().st_mtime_ns for path in node.rglob("*")}
    started = time.process_time(), time.monotonic()
    assert command(node, "verify").returncode == 0
    assert time.monotonic() - started[1] < 1.0 + 10 * float(os.getloadavg()[0] > 1)  # a busy machine is not its fault
    assert {path: path.lstat().st_mtime_ns for path in node.rglob("*")} == before


def test_it_needs_nothing_but_the_standard_library():
    tree = ast.parse(VERIFIER_SOURCE.read_text())
    imported = {
        alias.name.partition(".")[0]
        for statement in ast.walk(tree)
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for alias in ([ast.alias(statement.module or "")] if isinstance(statement, ast.ImportFrom) else statement.names)
    }
    assert imported <= sys.stdlib_module_names
    assert not imported & {"subprocess", "shutil", "socket", "tempfile"}


def test_it_seals_as_the_core_does_and_reads_where_the_core_writes(node):
    token = admit(node)
    assert program.seal(token) == core.seal(token) == token["seal"]
    assert (program.FILE, program.SCHEMA) == (core.ADMISSION_FILE, core.SCHEMA)


# --- the unit ---


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_the_lines_for_a_unit_are_valid(tmp_path):
    lines = (VERIFIER_SOURCE.parent / "unit.conf").read_text()
    verifier = tmp_path / "admission"
    verifier.write_text("#!/bin/sh\n")
    verifier.chmod(0o755)
    unit = tmp_path / "gb10-probe.service"
    unit.write_text(
        "[Unit]\nDescription=Serve\n" + lines.replace(core.VERIFIER, str(verifier)) + "Type=exec\nExecStart=/bin/true\n"
    )
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert f"ExecStartPre=+{core.VERIFIER} verify" in lines.splitlines()
    assert "gb10-probe" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
