from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gb10.cluster.plugins.module_utils.measure import lock
from ansible_collections.gb10.cluster.plugins.modules import rdma_probe as module

PROFILE = {
    "name": "test",
    "bandwidth": {"qps": 4, "size_bytes": 65536, "duration_s": 1, "warmup": 1, "repeats": 3},
    "latency": {"size_bytes": 8, "iterations": 100},
    "rendezvous_s": 1,
    "command_timeout_s": 1,
    "thresholds": {},
}
PLAN = {"nodes": {"spark1": {"rank": 0}}, "paths": []}


@pytest.fixture
def exited(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict]:
    monkeypatch.setattr(lock, "LOCK", str(tmp_path / "lock"))

    def run(**arguments: object) -> dict:
        with (
            patch_module_args({"node": "spark1", "plan": PLAN, "profile": PROFILE} | arguments),
            pytest.raises(SystemExit),
        ):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_check_mode_measures_nothing_and_says_so(exited: Callable[..., dict]) -> None:
    result = exited(_ansible_check_mode=True)
    assert result["changed"] is False
    assert result["measurement"]["skipped"] == "check mode: nothing was measured"
    assert result["measurement"]["node"] == "spark1"
    assert all(result["measurement"][kind] == [] for kind in ("directions", "served", "pairs", "pairs_served", "pings"))


def test_a_node_outside_the_plan_is_an_error_of_the_caller(exited: Callable[..., dict]) -> None:
    result = exited(node="spark9")
    assert result["failed"] is True
    assert result["msg"] == "node 'spark9' is not in the plan: it has spark1"


def test_without_the_tool_the_measurement_is_skipped_and_the_task_is_fine(
    exited: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ansible_collections.gb10.cluster.plugins.module_utils.host.Host.which", lambda self, command: None
    )
    result = exited()
    assert "failed" not in result
    assert result["measurement"]["skipped"] == "ib_write_bw is not installed: install the package perftest"
