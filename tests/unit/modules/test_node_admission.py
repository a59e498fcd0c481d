"""node_admission on a node as a folder: given, kept, renewed, taken back, and the same in check mode."""

from __future__ import annotations

import json
import stat
import typing as t
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import ADMISSION_FILE, issue
from ansible_collections.gb10.cluster.plugins.modules import node_admission
from ansible_collections.gb10.cluster.tests.unit.spark_tree import admit, grant, grow, put

Call = t.Callable[..., dict[str, t.Any]]
WRITE = "ansible_collections.gb10.cluster.plugins.module_utils.host.Host.write"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    return grow(tmp_path)


@pytest.fixture
def call(node: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        words = {"node": "spark1", "root": str(node), "_ansible_check_mode": check, **arguments}
        with patch_module_args(words), pytest.raises(SystemExit):
            node_admission.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return result

    return run


def text(node: Path) -> str:
    file = node / ADMISSION_FILE.lstrip("/")
    return file.read_text() if file.exists() else ""


def refusal(*reasons: str, run_id: str = "run") -> dict[str, t.Any]:
    return {"revoke": list(reasons), "run_id": run_id}


def test_check_give_check_keep(node: Path, call: Call) -> None:
    checked = call(check=True, grant=grant())
    assert text(node) == ""
    given = call(grant=grant())
    token = json.loads(text(node))
    again = [call(check=True, grant=grant()), call(grant=grant())]
    assert [checked["changed"], given["changed"]] + [result["changed"] for result in again] == [
        True,
        True,
        False,
        False,
    ]
    assert [checked["action"], given["action"], again[1]["action"]] == ["given", "given", "kept"]
    assert given["expires"] == again[1]["expires"] == token["expires"]
    assert json.loads(text(node)) == token
    assert given["diff"]["before"] == ""
    assert given["diff"]["after"] == text(node)
    assert again[1]["diff"] == {}


def test_only_root_can_read_it(node: Path, call: Call) -> None:
    call(grant=grant())
    assert stat.S_IMODE((node / ADMISSION_FILE.lstrip("/")).stat().st_mode) == 0o600


def test_it_is_stamped_by_the_clock_of_the_node(node: Path, call: Call) -> None:
    call(grant=grant())
    age = datetime.now(UTC) - datetime.fromisoformat(json.loads(text(node))["issued"])
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_one_that_is_half_over_is_renewed(node: Path, call: Call) -> None:
    admit(node, datetime.now(UTC) - timedelta(days=4))
    assert call(grant=grant())["action"] == "renewed"
    assert call(grant=grant())["action"] == "kept"


@pytest.mark.parametrize("found", ["", "{", "[]", '{"schema": "0"}'])
def test_what_is_no_admission_is_replaced(node: Path, call: Call, found: str) -> None:
    put(node, ADMISSION_FILE, found)
    assert call(grant=grant())["action"] == "given"
    assert json.loads(text(node))["node"] == "spark1"


def test_a_refusal_takes_it_back_and_says_why(node: Path, call: Call) -> None:
    admit(node, datetime.now(UTC))
    before = text(node)
    checked = call(check=True, **refusal("P02 x"))
    assert (checked["changed"], text(node)) == (True, before)
    result = call(**refusal("P02 x"))
    assert (result["changed"], result["action"], result["expires"]) == (True, "revoked", None)
    found = json.loads(text(node))
    assert (found["reasons"], found["run_id"]) == (["P02 x"], "run")
    assert "bound" not in found
    assert "P02 x" in result["diff"]["after"]


def test_a_second_refusal_for_the_same_changes_nothing(node: Path, call: Call) -> None:
    assert call(**refusal("P02 x"))["changed"]
    assert not call(**refusal("P02 x", run_id="later"))["changed"]
    assert json.loads(text(node))["run_id"] == "run"
    assert call(**refusal("P02 y", run_id="later"))["changed"]


def test_after_a_refusal_it_is_given_anew(node: Path, call: Call) -> None:
    call(**refusal("P02 x"))
    assert call(grant=grant())["action"] == "given"


def test_a_refusal_without_a_reason_is_one(node: Path, call: Call) -> None:
    admit(node, datetime.now(UTC))
    assert call(**refusal())["action"] == "revoked"


def test_a_node_that_was_started_again_gets_none(node: Path, call: Call) -> None:
    put(node, "/proc/sys/kernel/random/boot_id", "another\n")
    result = call(grant=grant())
    assert result["failed"]
    assert result["msg"] == "spark1 was started again while it was measured; measure again"
    assert text(node) == ""


def test_the_admission_of_another_node_is_refused(node: Path, call: Call) -> None:
    result = call(grant=grant(node="spark2"))
    assert result["failed"]
    assert "this is spark1, and the admission is for spark2" in result["msg"]
    assert text(node) == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"grant": grant()}, "nothing was given"),
        (refusal("P02 x"), "an old admission may still hold until it expires"),
    ],
    ids=["give", "revoke"],
)
def test_a_disk_that_takes_nothing_is_a_failure(node: Path, call: Call, arguments: dict[str, t.Any], says: str) -> None:
    with mock.patch(WRITE, side_effect=OSError(28, "No space left on device")):
        result = call(**arguments)
    assert result["failed"]
    assert f"{ADMISSION_FILE} cannot be written" in result["msg"]
    assert says in result["msg"]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"grant": grant(), **refusal("x")}, {"revoke": ["x"]}],
    ids=["neither", "both", "without a run"],
)
def test_it_gives_or_takes_back(call: Call, arguments: dict[str, t.Any]) -> None:
    assert call(**arguments)["failed"]


def test_what_is_kept_is_byte_for_byte_the_same(node: Path, call: Call) -> None:
    written = json.dumps(issue(grant(), datetime.now(UTC)))  # by an earlier version, in one line
    put(node, ADMISSION_FILE, written)
    assert not call(grant=grant())["changed"]
    assert text(node) == written
