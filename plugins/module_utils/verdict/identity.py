# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who the nodes of a run were: what an admission stands on, so that a reader can tell two runs apart."""

from __future__ import annotations

import typing as t

from ..contracts import Discovery, NcclMeasurement, NodeFacts, NodeIdentity
from ..shape import answers, fits
from .cabling import cage_finding
from .views import Reading, planned_cages
from .views.loose import get


def identities(reading: Reading) -> dict[str, NodeIdentity]:
    """Every node of the plan; what it did not say is not known."""
    return {node: _identity(reading, node) for node in reading.plan["nodes"]}


def _identity(reading: Reading, node: str) -> NodeIdentity:
    facts, rank = reading.facts.get(node), reading.rank(node) if reading.harness == "torch" else None
    library = rank["library"] if rank is not None and answers(rank, NcclMeasurement, ["library"]) else None
    runtime = rank["runtime"] if rank is not None and answers(rank, NcclMeasurement, ["runtime"]) else None
    return {
        "boot_id": _text(facts, "boot_id"),
        "kernel": _text(facts, "kernel"),
        "os_version": _text(facts, "os_version"),
        "firmware": firmware_of(facts) if facts is not None and answers(facts, NodeFacts, ["halves"]) else None,
        "gpu_driver": gpu_driver_of(facts) if facts is not None and answers(facts, NodeFacts, ["gpus"]) else None,
        "nccl_version": library["version"] if library else None,
        "nccl_build_id": library["build_id"] if library else None,
        "image_id": runtime["image_id"] if runtime else None,
        "cabling": _cabling(reading, node),
        "tools": _tools(reading, node),
    }


def _text(facts: t.Any, key: str) -> str | None:
    return t.cast("str", facts[key]) if answers(facts, NodeFacts, [key]) else None


def firmware_of(facts: NodeFacts) -> str | None:
    """Of all NICs that have a firmware; None when one does not tell."""
    versions = {half["rdma"]["fw_ver"] for half in facts["halves"] if half["rdma"]}
    return None if not versions or None in versions else "/".join(sorted(map(str, versions)))


def gpu_driver_of(facts: NodeFacts) -> str | None:
    return next((gpu["driver"] for gpu in facts["gpus"] or []), None)


def _cabling(reading: Reading, node: str) -> dict[str, list[str]]:
    """Cage -> the plugs that were heard there."""
    discovery = reading.discoveries.get(node)
    known = {node: discovery} if discovery is not None and fits(discovery, Discovery) else {}
    return {
        cage: [":".join(plug) for plug in cage_finding(reading.plan, known, (name, cage)).heard]
        for name, cage in planned_cages(reading.plan)
        if name == node
    }


def _tools(reading: Reading, node: str) -> dict[str, str | None]:
    """Packages, and what the tools that measured say of themselves."""
    facts = reading.facts.get(node)
    packages = facts["packages"] if facts is not None and answers(facts, NodeFacts, ["packages"]) else {}
    versions = get(reading.measurement(node), "tool_versions")
    return packages | (versions if fits(versions, dict[str, str | None]) else {})
