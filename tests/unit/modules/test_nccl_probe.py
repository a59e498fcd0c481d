from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import NcclMeasurement
from ansible_collections.gb10.cluster.plugins.module_utils.shape import fits
from ansible_collections.gb10.cluster.plugins.modules import nccl_probe as module
from ansible_collections.gb10.cluster.tests.unit import builders


@pytest.fixture
def exited(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    def run(**arguments: object) -> dict:
        given = {"node": "spark2", "plan": builders.plan(), "profile": builders.profile(), "image": "vllm:1"}
        given = {name: value for name, value in (given | arguments).items() if value is not None}
        with patch_module_args(given), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_check_mode_measures_nothing_and_says_so(exited: Callable[..., dict]) -> None:
    result = exited(_ansible_check_mode=True)
    assert result["changed"] is False
    measurement = result["measurement"]
    assert fits(measurement, NcclMeasurement)
    assert measurement["skipped"] == "check mode: nothing was measured"
    assert (measurement["rank"], measurement["world_size"]) == (1, 3)
    assert measurement["runtime"] == {"kind": "docker", "image": "vllm:1", "image_id": None, "python": "python3"}


def test_a_virtual_environment_is_named_by_its_python(exited: Callable[..., dict]) -> None:
    result = exited(_ansible_check_mode=True, runtime="venv", python="/opt/vllm/bin/python", image=None)
    assert result["measurement"]["runtime"] == {
        "kind": "venv",
        "image": None,
        "image_id": None,
        "python": "/opt/vllm/bin/python",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"node": "spark9"}, "node 'spark9' is not in the plan: it has spark1, spark2, spark3"),
        ({"soak_s": -1}, "soak_s must not be below 0, found -1"),
        ({"image": None}, "runtime is docker but all of the following are missing: image"),
        ({"runtime": "venv"}, "runtime is venv but all of the following are missing: python"),
        ({"harness": "nccl_tests"}, "harness is nccl_tests but all of the following are missing: programs"),
        (
            {"harness": "nccl_tests", "programs": "/opt/nccl-tests", "soak_s": 60},
            "soak_s needs harness=torch: nccl-tests have no soak",
        ),
    ],
)
def test_what_the_caller_got_wrong_fails(exited: Callable[..., dict], arguments: dict, says: str) -> None:
    result = exited(**arguments)
    assert result["failed"] is True
    assert result["msg"] == says


def test_without_docker_the_measurement_is_skipped_and_the_task_is_fine(
    exited: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ansible_collections.gb10.cluster.plugins.module_utils.host.Host.which", lambda self, command: None
    )
    profile = builders.profile() | {"thresholds": {}}
    profile["nccl"]["sizes_bytes"] = [4096]
    result = exited(profile=profile)
    assert "failed" not in result
    assert result["measurement"]["skipped"] == "docker is not installed"


def test_programs_need_no_image(exited: Callable[..., dict]) -> None:
    result = exited(_ansible_check_mode=True, harness="nccl_tests", programs="/opt/nccl-tests/", image=None)
    measurement = result["measurement"]
    assert fits(measurement, NcclMeasurement)
    assert (measurement["harness"], measurement["skipped"]) == ("nccl_tests", "check mode: nothing was measured")
    assert measurement["runtime"] == {"kind": "host", "image": None, "image_id": None, "python": "/opt/nccl-tests"}


def test_missing_programs_are_a_skipped_measurement_and_the_task_is_fine(exited: Callable[..., dict]) -> None:
    profile = builders.profile() | {"thresholds": {}}
    profile["nccl_tests"]["sizes_bytes"] = [4096]
    result = exited(profile=profile, harness="nccl_tests", programs="/nonexistent", image=None)
    assert "failed" not in result
    said = "there is no /nonexistent/all_gather_perf: role nccl_env builds it, see nccl_env_tests_tag"
    assert result["measurement"]["skipped"] == said
