"""The module as Ansible calls it, with fake commands in PATH."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Plan
from ansible_collections.gb10.cluster.plugins.module_utils.fabric import transaction
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan
from ansible_collections.gb10.cluster.plugins.module_utils.plan.netplan import OWN_NETPLAN
from ansible_collections.gb10.cluster.plugins.modules import fabric_links

from tests.fakes.fabric_node import FakeNode

Call = t.Callable[..., dict[str, t.Any]]


@pytest.fixture(scope="module")
def plan() -> Plan:
    hostvars = {f"spark{number}": {"ansible_host": f"192.0.2.{10 + number}"} for number in (1, 2, 3)}
    return build_plan(list(hostvars), hostvars, Declaration("triangle"))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    node = FakeNode(tmp_path)
    monkeypatch.setenv("PATH", node.path)
    monkeypatch.setattr(transaction, "SETTLE_S", 0.01)
    return node


@pytest.fixture
def call(node: FakeNode, plan: Plan, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        defaults: dict[str, t.Any] = {"node": "spark1", "plan": plan, "root": str(node.root)}
        given = {key: value for key, value in {**defaults, **arguments}.items() if value is not None}
        given["_ansible_check_mode"] = check
        with patch_module_args(given), pytest.raises(SystemExit):
            fabric_links.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def test_apply_confirm_look_again_and_give_back(call: Call, node: FakeNode) -> None:
    checked = call(check=True)
    applied = call(revert_after=60)
    assert applied["revert_unit"] == "gb10-fabric-revert"
    assert node.live("enp1s0f0np0") == (9000, ["10.210.0.1/24"])
    assert checked["diff"] == applied["diff"]
    results = [call(state="confirmed"), call(), call(state="absent"), call(state="absent")]
    assert [one["changed"] for one in [checked, applied, *results]] == [True, True, True, False, True, False]
    assert results[1]["revert_unit"] is None
    assert node.read(OWN_NETPLAN) is None and node.live("enp1s0f0np0") == (1500, [])


def test_the_revert_needs_neither_python_nor_the_controller(call: Call, node: FakeNode) -> None:
    call()
    assert node.armed is not None and node.armed[0] == "/bin/sh"
    node.time_is_up()
    assert node.read(OWN_NETPLAN) is None and node.live("enp1s0f0np0") == (1500, [])


def test_a_refusal_is_a_message_and_a_list(call: Call, node: FakeNode) -> None:
    node.write("/etc/netplan/40-cx7.yaml", "network:\n  ethernets:\n    enp1s0f0np0: {}\n")
    result = call()
    assert result["failed"] is True
    assert len(result["findings"]) == 1
    assert result["msg"].startswith("/etc/netplan/40-cx7.yaml configures enp1s0f0np0 too;")


def test_the_renderer_can_be_forced(call: Call, node: FakeNode) -> None:
    call(renderer="NetworkManager")
    assert "renderer: NetworkManager" in (node.read(OWN_NETPLAN) or "")


@pytest.mark.parametrize("check", [False, True], ids=["run", "check-mode"])
def test_discovered_changes_nothing(call: Call, plan: Plan, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    seen: list[t.Any] = []

    def discover(host: object, *arguments: t.Any) -> dict[str, t.Any]:
        seen.extend(arguments)
        return {"node": "spark1", "neighbours": [], "silent": [], "down": [], "listened_s": 0.0}

    monkeypatch.setattr(fabric_links, "discover", discover)
    result = call(state="discovered", listen=7, check=check)
    assert result["changed"] is False
    assert result["discovery"]["node"] == "spark1"
    assert seen == [plan, "spark1", 7, check]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"node": "spark9"}, "spark9 is not a node of the plan (spark1, spark2, spark3)", id="stranger"),
        pytest.param({"plan": None}, "state is present but all of the following are missing: plan", id="no-plan"),
        pytest.param({"state": "reverted"}, "value of state must be one of", id="no-such-state"),
    ],
)
def test_wrong_arguments(call: Call, arguments: dict[str, t.Any], said: str) -> None:
    result = call(**arguments)
    assert result["failed"] is True and said in result["msg"]
