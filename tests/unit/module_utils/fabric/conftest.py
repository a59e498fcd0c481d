from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Plan
from ansible_collections.gb10.cluster.plugins.module_utils.fabric import transaction
from ansible_collections.gb10.cluster.plugins.module_utils.host import CommandResult, Host
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan

from tests.fakes.fabric_node import COMMANDS, FakeNode, run_here

HOSTVARS = {f"spark{number}": {"ansible_host": f"192.0.2.{10 + number}"} for number in (1, 2, 3)}


@pytest.fixture
def plan() -> Plan:
    return build_plan(list(HOSTVARS), HOSTVARS, Declaration("triangle"))


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


class QuickHost(Host):
    """Runs the fake commands without a process each; scripts run as they are."""

    def run(self, argv: t.Sequence[str], timeout_s: float = 10) -> CommandResult:
        if argv[0] not in COMMANDS or self.which(argv[0]) is None:
            return super().run(argv, timeout_s)
        rc, stdout, stderr = run_here(self.root.parent, list(argv))
        return CommandResult(list(argv), rc, stdout, stderr, 0.0)


@pytest.fixture
def host(node: FakeNode) -> Host:
    return QuickHost(node.root, node.path)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fakes act at once; what is not there then will not come."""
    for name in ("SETTLE_S", "CONFIRM_S", "POLL_S"):
        monkeypatch.setattr(transaction, name, 0.01)
