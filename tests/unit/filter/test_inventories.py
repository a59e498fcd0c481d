"""The inventories that people start from are whole declarations, and short."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.gb10.cluster.plugins.filter.fabric_plan import fabric_plan

INVENTORIES = Path(__file__).resolve().parents[3] / "inventories"


@pytest.mark.parametrize(("topology", "nodes", "paths"), [("direct", 2, 2), ("triangle", 3, 6), ("switch", 4, 12)])
def test_an_inventory_is_a_plan(topology: str, nodes: int, paths: int) -> None:
    text = (INVENTORIES / topology / "hosts.yml").read_text(encoding="utf-8")
    sparks: dict[str, t.Any] = yaml.safe_load(text)["sparks"]
    plan = fabric_plan(list(sparks["hosts"]), sparks["hosts"], sparks["vars"]["fabric_topology"])
    assert (plan["topology"], len(plan["nodes"]), len(plan["paths"])) == (topology, nodes, paths)
    assert len(text.splitlines()) <= 10
    assert all(node["mgmt_ip"].startswith("192.0.2.") for node in plan["nodes"].values())
