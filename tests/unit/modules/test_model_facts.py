from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gb10.cluster.plugins.modules import model_facts as module
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import PRESETS


@pytest.fixture
def exited(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    def run(**arguments: object) -> dict:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_preset(exited: Callable[..., dict], check_mode: bool) -> None:
    result = exited(path=str(PRESETS["llama-3.1-8b"].parent), _ansible_check_mode=check_mode)
    assert result["changed"] is False
    assert result["facts"]["weights"]["total_bytes"] == 16_060_522_496


def test_a_path_from_here(exited: Callable[..., dict], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert exited(path=".")["facts"]["path"] == str(tmp_path)


def test_what_is_wrong_is_the_message(exited: Callable[..., dict], tmp_path: Path) -> None:
    result = exited(path=str(tmp_path))
    assert result["failed"] is True
    assert result["msg"] == f"{tmp_path} has no config.json; give the folder of a model in the Hugging Face format"


def test_a_folder_that_may_not_be_read(
    exited: Callable[..., dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")

    def denied(*_arguments: object) -> bytes:
        raise PermissionError(13, "Permission denied", "config.json")

    monkeypatch.setattr("ansible_collections.gb10.cluster.plugins.module_utils.host.Host.read_bytes", denied)
    assert "Permission denied" in exited(path=str(tmp_path))["msg"]
