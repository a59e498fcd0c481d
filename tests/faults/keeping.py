"""Results that cannot be kept: then none of them is, what was there stays, and nothing is admitted."""

from __future__ import annotations

import contextlib
import os
import resource
import tempfile
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible_collections.gb10.cluster.plugins.action import gate
from ansible_collections.gb10.cluster.plugins.module_utils.evidence import EvidenceFolder
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.memory import remember
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.tests.unit import builders

from tests.faults.case import Case, Expected, Result

NOBODY = 65534
SMALLER_THAN_A_RUN = 4096


@dataclass(frozen=True)
class Keeping(Case):
    hinder: t.Callable[[Path], contextlib.AbstractContextManager[None]] = lambda folder: contextlib.nullcontext()


@contextlib.contextmanager
def full(_folder: Path) -> t.Iterator[None]:
    """No file may grow any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALLER_THAN_A_RUN, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(folder: Path) -> t.Iterator[None]:
    """For whom the folder does not let write; root it would let, so for a while we are not root."""
    root = os.geteuid() == 0
    folder.parent.chmod(0o711)
    folder.chmod(0o555)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


def case(name: str, hinder: t.Callable[[Path], t.Any], why: str) -> Keeping:
    return Keeping(name, "tool", Expected("evidence", (), why, cause="environment"), False, hinder)


CASES = [
    case("results: the disk is full", full, "File too large"),
    case("results: their folder can only be read", read_only, "Permission denied"),
]


def result_of(case: Keeping) -> Result:
    """An admitted run is there already; the next one cannot be kept."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gb10-faults-") as scratch:
        place = Path(scratch) / "evidence"
        _keep(place, "20261124-060000")
        before, said = _content(place), ""
        with case.hinder(place):
            try:
                _keep(place, "20261124-070000")
            except AnsibleActionFail as error:
                said = str(error)
        after = _content(place)
    detected = said.startswith(f"Cannot write evidence to {place}") and "nothing is admitted" in said
    localised = detected and case.expected.action in said and before == after
    told = {"message": said, "left": sorted(after)}
    return Result(case, detected, localised, time.monotonic() - started, told)


def _keep(place: Path, run_id: str) -> None:
    """As the gate does after it has judged; what earlier runs left it had read before."""
    reading = builders.healthy_reading(builders.plan())
    evidence, folder, fresh = decide(reading, run_id), EvidenceFolder(str(place)), EvidenceFolder(str(place / "none"))
    memory = fresh.memory()
    remembered = remember(reading, evidence, memory, "2026-11-24T06:00:00+00:00", False)
    gate._written(folder, lambda: folder.write(evidence, memory, remembered, fresh.kept_out()))


def _content(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}
