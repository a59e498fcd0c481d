# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contracts 2 and 3: check records, diagnosis, verdict and the file that keeps them."""

from __future__ import annotations

import typing as t

from .admission import KeptOut, Waiver
from .plan import Plan
from .words import Cause, Level, OutcomeName


class Evidence(t.TypedDict):
    argv: list[str]
    rc: int | None
    raw_sha256: str | None


class CheckRecord(t.TypedDict):
    schema: str
    run_id: str
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
    message: str
    remedy: list[str]
    waiver: t.NotRequired[Waiver]  # only a degraded one counts


class Diagnosis(t.TypedDict):
    suspects: list[str]
    exonerated: list[str]
    failing_paths: list[str]
    next_action: str | None


class Verdict(t.TypedDict):
    outcome: t.Literal["admit", "refuse"]
    diagnosis: Diagnosis
    valid_pools: list[list[str]]
    blocked_by: list[str]  # "P02 spark1:p0:a>spark2:p1:a"
    run_id: str
    quarantine: t.NotRequired[list[KeptOut]]  # nodes of the plan that are kept out
    admission_days: t.NotRequired[int]  # how long an admission of this verdict holds at most
    notices: t.NotRequired[list[str]]  # what the operator has asked for and did not get, and who was released


class MatrixCost(t.TypedDict):
    """The time that the pair matrix took."""

    wall_s: float  # of the node that took longest
    slots_s: float  # of everything measured, waiting for the peer included
    tools_s: float | None  # of the measuring tools alone; None: some did not say
    ratio: float | None  # wall_s / tools_s


class NodeIdentity(t.TypedDict):
    """Who a node was when it was judged."""

    boot_id: str | None
    kernel: str | None
    os_version: str | None
    firmware: str | None  # of the NICs
    gpu_driver: str | None
    nccl_version: str | None  # of what will serve
    nccl_build_id: str | None
    image_id: str | None
    cabling: dict[str, list[str]]  # cage -> plugs heard there, "spark2:p1"
    tools: dict[str, str | None]  # package or tool -> version


class EvidenceHashes(t.TypedDict):
    """SHA-256 of canonical JSON. The plan stands for the inventory that it was derived from."""

    plan: str
    profile: str


class EvidenceFile(t.TypedDict):
    schema: str
    run_id: str
    started: str | None  # UTC
    duration_s: float | None  # from there to the verdict
    plan: Plan
    profile: str
    levels: t.NotRequired[list[Level]]  # a run of some levels, which never admits; absent: the whole
    matrix_cost: t.NotRequired[MatrixCost]  # absent where not every node has measured
    hashes: EvidenceHashes
    nodes: dict[str, NodeIdentity]
    records: list[CheckRecord]
    verdict: Verdict
