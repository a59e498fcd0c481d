"""The evidence folder: what is there is read or refused, never guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.evidence import EvidenceFolder
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.memory import Memory, remember
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.test_schema import validate


def test_a_folder_that_is_not_there_remembers_nothing(tmp_path: Path) -> None:
    assert EvidenceFolder(str(tmp_path / "evidence")).memory() == Memory({}, {})
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize("name", ["baseline.json", "carriers.json"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"{name} cannot be read: .*directory"):
        EvidenceFolder(str(tmp_path)).memory()


def test_what_a_run_writes_the_next_one_reads_and_the_schemas_know(tmp_path: Path) -> None:
    folder = EvidenceFolder(str(tmp_path))
    reading = builders.healthy_reading(builders.plan(), baseline={}, carriers={})
    evidence = decide(reading, "run")
    remembered = remember(reading, evidence, folder.memory(), "2026-11-24T10:00:00+00:00", renew=False)
    assert folder.write(evidence, folder.memory(), remembered, folder.kept_out()) == str(tmp_path / "run.json")
    assert folder.memory() == Memory(remembered.kept.numbers, remembered.marks)
    for schema, name in (
        ("evidence", "latest.json"),
        ("shared-evidence", "run.share.json"),
        ("baseline", "baseline.json"),
        ("carriers", "carriers.json"),
    ):
        validate(schema, json.loads((tmp_path / name).read_text()))


def test_a_run_that_leaves_nothing_new_does_not_touch_the_memory(tmp_path: Path) -> None:
    folder = EvidenceFolder(str(tmp_path))
    reading = builders.healthy_reading(builders.plan())
    evidence, before = decide(reading, "run"), Memory(reading.baseline, reading.carriers)
    remembered = remember(
        reading, evidence | {"verdict": evidence["verdict"] | {"outcome": "refuse"}}, before, "now", False
    )
    folder.write(evidence, before, remembered, folder.kept_out())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest.json", "run.json", "run.share.json"]
