"""Models for the tests: the presets, the fixtures, and facts about them."""

from __future__ import annotations

import copy
import functools
import json
import typing as t
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.contracts import SCHEMA, ModelFacts
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.architectures import read_model
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.memory import GIB, NodeMemory
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.model import Model
from hypothesis import settings

FEW = settings(max_examples=25, deadline=None)  # a plan is milliseconds, and coverage makes it many
ROOT = Path(__file__).resolve().parents[4]
PRESETS = {path.parent.name: path for path in (ROOT / "presets").glob("*/config.json")}
FIXTURES = {path.stem: path for path in (ROOT / "tests/fixtures/models").glob("*.json")}


@functools.cache
def _read(name: str) -> dict[str, t.Any]:
    if name in PRESETS:
        return json.loads(PRESETS[name].read_text(encoding="utf-8"))
    return json.loads(FIXTURES[name].read_text(encoding="utf-8"))["config"]


def config(name: str, **changes: t.Any) -> dict[str, t.Any]:
    """The config.json of a preset or fixture; None takes a field out."""
    found = copy.deepcopy(_read(name)) | changes
    return {key: value for key, value in found.items() if value is not None or key not in changes}


def model(name: str, **changes: t.Any) -> Model:
    return read_model(config(name, **changes))


def facts(name: str, total_bytes: int | None = None, **changes: t.Any) -> ModelFacts:
    """As the module reads a folder that has config.json and perhaps an index."""
    found = config(name, **changes)
    return {
        "schema": SCHEMA,
        "path": f"/models/{name}",
        "config": found,
        "quantization": found.get("quantization_config"),
        "weights": {
            "source": None if total_bytes is None else "index",
            "total_bytes": total_bytes,
            "files": [],
            "missing": [],
            "parts": [],
        },
        "problems": [],
    }


def nodes(*gib: float, free: float | None = None) -> list[NodeMemory]:
    return [
        NodeMemory(f"node{number + 1}", round(size * GIB), None if free is None else round(free * GIB))
        for number, size in enumerate(gib)
    ]


SPARKS = nodes(119.7, 119.7, 119.7)
