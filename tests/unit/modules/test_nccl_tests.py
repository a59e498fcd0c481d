from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.modules import nccl_tests as module
from ansible_collections.gb10.cluster.tests.unit.module_utils.test_nccl_tests_build import (
    MAKEFILE,
    Node,
    archive,
    needs_make,
)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    there = Node(tmp_path)
    monkeypatch.setattr(module, "Host", lambda: Host(there.root, path=f"{there.root}/bin:/usr/bin:/bin"))
    return there


@pytest.fixture
def exited(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict]:
    def run(**arguments: object) -> dict:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


@needs_make
def test_it_is_built_once_and_removed_once(node: Node, exited: Callable[..., dict]) -> None:
    wanted = archive(node.root, MAKEFILE)._asdict()
    assert exited(**wanted, _ansible_check_mode=True)["changed"] is True
    assert not node.place.exists()
    first = exited(**wanted)
    assert (first["changed"], first["folder"]) == (True, "/usr/local/lib/gb10/nccl-tests/v2.18.3")
    assert exited(**wanted)["changed"] is False
    assert exited(state="absent", _ansible_check_mode=True)["changed"] is True
    assert node.place.exists()
    assert exited(state="absent")["changed"] is True
    assert exited(state="absent")["changed"] is False


def test_what_is_missing_fails_with_a_sentence(node: Node, exited: Callable[..., dict]) -> None:
    wanted = archive(node.root, MAKEFILE)._asdict()
    (node.root / "usr/local/cuda/bin/nvcc").unlink()
    result = exited(**wanted)
    assert result["failed"] is True
    said = "there is no /usr/local/cuda/bin/nvcc: install the CUDA toolkit, or name its folder"
    assert result["msg"] == f"nccl-tests v2.18.3: {said}"


def test_an_archive_without_a_checksum_is_not_asked_for(exited: Callable[..., dict]) -> None:
    result = exited(tag="v2.18.3", archive="https://example.com/a.tar.gz")
    assert result["msg"] == "state is present but all of the following are missing: sha256"
