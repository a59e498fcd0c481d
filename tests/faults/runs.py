"""One case on this machine alone, from the spoilt world to its verdict."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.contracts import EvidenceFile
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading

from tests.faults.probes import Probes
from tests.faults.recorded.words import Recorded
from tests.faults.tools import Tool
from tests.faults.world import World


def evidence_of(case: Recorded | Tool) -> tuple[EvidenceFile, float]:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gb10-faults-") as folder:
        place = Path(folder)
        reading = _recorded(case, place) if isinstance(case, Recorded) else _with_tools(case, place)
        evidence = decide(reading, "faults")
    return evidence, time.monotonic() - started


def _recorded(case: Recorded, folder: Path) -> Reading:
    world = World(folder, case.topology, case.nodes)
    case.spoil(world)
    return world.reading()


def _with_tools(case: Tool, folder: Path) -> Reading:
    probes = Probes(folder)
    case.spoil(probes)
    try:
        return probes.reading()
    finally:
        probes.end()
