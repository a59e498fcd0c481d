# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence to show to strangers: what was measured and judged, without a word of where."""

from __future__ import annotations

import typing as t

from .verdict import Evidence
from .words import Cause, Level, OutcomeName


class SharedRecord(t.TypedDict):
    """A check record without its sentences: those may quote anything that a node has said."""

    check: str
    level: Level
    subject: dict[str, str]
    outcome: OutcomeName
    required: bool
    cause: Cause | None
    signature: str | None
    measured: dict[str, t.Any]
    threshold: dict[str, t.Any]
    evidence: Evidence


class SharedVerdict(t.TypedDict):
    outcome: t.Literal["admit", "refuse"]
    suspects: list[str]
    failing_paths: list[str]
    valid_pools: list[list[str]]
    blocked_by: list[str]


class SharedNode(t.TypedDict):
    """Versions; "?" stands for what is not one."""

    kernel: str | None
    os_version: str | None
    firmware: str | None
    gpu_driver: str | None
    nccl_version: str | None


class SharedEvidence(t.TypedDict):
    """Nodes are node1 and so on, addresses are those of RFC 5737, "?" stands for what was left out."""

    schema: str
    run_id: str
    duration_s: float | None
    topology: str
    mtu: int
    links: list[str]
    profile: str
    nodes: dict[str, SharedNode]
    records: list[SharedRecord]
    verdict: SharedVerdict
