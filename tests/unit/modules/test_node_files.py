from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gb10.cluster.plugins.modules import node_files


def call(capsys: pytest.CaptureFixture[str], root: Path, files: t.Any, check: bool = False) -> dict[str, t.Any]:
    arguments = {"files": files, "root": str(root), "_ansible_check_mode": check}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        node_files.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


FILES = [
    {"path": "/etc/nccl.conf", "settings": {"set": {"NCCL_NET": "IB"}, "unset": ["NCCL_IB_DISABLE"]}, "backup": True},
    {"path": "/etc/gb10/nccl.env", "content": "NCCL_NET=IB\n"},
    {"path": "/etc/old", "absent": True},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nccl.conf").write_bytes(b"# \xe9\nNCCL_IB_DISABLE=1\n")
    return tmp_path


def test_check_run_check_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checked = call(capsys, root, FILES, check=True)
    assert (root / "etc/nccl.conf").read_bytes() == b"# \xe9\nNCCL_IB_DISABLE=1\n"
    first = call(capsys, root, FILES)
    assert (root / "etc/nccl.conf").read_bytes() == b"# \xe9\nNCCL_NET=IB\n"
    again = [call(capsys, root, FILES, check=True), call(capsys, root, FILES)]
    assert [checked["changed"], first["changed"]] + [result["changed"] for result in again] == [
        True,
        True,
        False,
        False,
    ]
    assert checked["diff"] == first["diff"]
    assert first["files"] == [
        {"path": "/etc/nccl.conf", "changed": True, "action": "updated"},
        {"path": "/etc/gb10/nccl.env", "changed": True, "action": "created"},
        {"path": "/etc/old", "changed": False, "action": "unchanged"},
    ]
    assert again[1]["diff"] == []


def test_the_diff_shows_text_and_mode(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "etc/nccl.conf").chmod(0o640)
    result = call(capsys, root, FILES, check=True)
    assert result["diff"] == [
        {
            "before_header": "/etc/nccl.conf (mode 0640)",
            "after_header": "/etc/nccl.conf (mode 0640)",
            "before": "# �\nNCCL_IB_DISABLE=1\n",
            "after": "# �\nNCCL_NET=IB\n",
        },
        {
            "before_header": "/etc/gb10/nccl.env (no file)",
            "after_header": "/etc/gb10/nccl.env (mode 0644)",
            "before": "",
            "after": "NCCL_NET=IB\n",
        },
    ]


def test_a_refusal_is_a_failure(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "etc/hosts").symlink_to("nccl.conf")
    result = call(capsys, root, [*FILES, {"path": "/etc/hosts", "block": "x"}])
    assert result["failed"]
    assert "/etc/hosts is a symbolic link" in result["msg"]
    assert not (root / "etc/gb10").exists()


@pytest.mark.parametrize(
    "item",
    [
        {"path": "/x"},
        {"path": "/x", "content": "", "block": ""},
        {"path": "/x", "absent": False},
        {"path": "/x", "content": "", "disable_lines": ["y"]},
    ],
    ids=["no-kind", "two-kinds", "absent-false", "disable-without-block"],
)
def test_each_item_is_of_one_kind(root: Path, capsys: pytest.CaptureFixture[str], item: dict[str, t.Any]) -> None:
    assert call(capsys, root, [item])["failed"]
