"""Which flags which machine needs; the containers themselves are molecule's affair."""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "molecule"))

import containers  # noqa: E402

LAPTOP = containers.Machine(unified_cgroups=True, sys_resource=False, nofile=524288, nproc=62000, root=False)
# Real: a Debian 12 virtual machine with hybrid cgroups and without CAP_SYS_RESOURCE.
OLD = containers.Machine(unified_cgroups=False, sys_resource=False, nofile=20000, nproc=96343, root=True)
PLAIN = ["--systemd=always", "--privileged", "--network", "none"]


def test_a_laptop_runs_podmans_defaults() -> None:
    assert containers.engine_flags(LAPTOP) == []
    assert containers.run_flags(LAPTOP) == PLAIN


def test_root_with_all_capabilities_needs_nothing_more() -> None:
    machine = dataclasses.replace(LAPTOP, root=True, sys_resource=True)
    assert containers.run_flags(machine) == PLAIN


def test_an_old_machine_gets_what_was_seen_to_work_there() -> None:
    assert containers.engine_flags(OLD) == ["--runtime", "runc"]
    assert containers.run_flags(OLD) == [
        *PLAIN,
        *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096"),
        "--env",
        "SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
    ]


def test_no_limit_is_a_number_that_podman_takes() -> None:
    machine = dataclasses.replace(OLD, nofile=resource.RLIM_INFINITY, nproc=512)
    assert [flag for flag in containers.run_flags(machine) if ":" in flag] == [
        "nofile=1048576:1048576",
        "nproc=512:512",
    ]


@pytest.mark.parametrize(
    ("machine", "prefix"),
    [(OLD, ["nsenter"]), (LAPTOP, ["podman", "unshare", "nsenter"])],
    ids=["root", "rootless"],
)
def test_wires_are_laid_from_the_namespace_that_owns_them(machine: containers.Machine, prefix: list[str]) -> None:
    assert containers.in_namespace(machine, "4711") == [*prefix, "--target", "4711", "--net"]


def test_the_image_is_named_by_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    first = containers.image_name()
    assert containers.image_name() == first
    monkeypatch.setattr(containers, "PACKAGES", [*containers.PACKAGES, "chrony"])
    assert containers.image_name() != first


def test_this_machine_can_be_looked_at() -> None:
    shown = subprocess.run([sys.executable, containers.__file__, "flags"], capture_output=True, text=True, check=True)
    machine = containers.look()
    assert shown.stdout.split()[:1] == ["podman"]
    assert ("runc" in shown.stdout) is not machine.unified_cgroups
    assert machine.nofile >= resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_wrong_word_is_answered_with_the_usage() -> None:
    result = subprocess.run([sys.executable, containers.__file__, "sideways"], capture_output=True, text=True)
    assert result.returncode == 1 and "up|down|flags" in result.stderr
