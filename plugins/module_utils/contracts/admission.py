# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lets a node serve, what takes that back, and who is kept out. Times are UTC, "2026-11-30T14:20:00Z"."""

from __future__ import annotations

import typing as t


class ProfileMark(t.TypedDict):
    name: str
    sha256: str


class AdmissionBinding(t.TypedDict):
    """What was measured. Where the node differs from it, the admission does not hold."""

    boot_id: str
    kernel: str
    firmware: dict[str, str]  # RDMA device -> version; devices without firmware are left out
    gpu_driver: str | None  # of the loaded module
    nccl_build_id: str | None  # None: not measured, or not told
    netdevs: list[str]  # planned; a new netplan file that names one ends the admission
    netplan: dict[str, str]  # file that names one of them -> sha256
    cabling: dict[str, str]  # "p0:a" -> "spark2:p1:a" or "switch port qsfp56-1-1"
    plan_sha256: str
    profile: ProfileMark


class Grant(t.TypedDict):
    """What the gate decides for a node; the node stamps it with its own clock, by which it will be verified."""

    node: str
    pool: list[str]
    run_id: str
    lifetime_s: int
    not_after: str | None  # when a waiver ends on which the verdict stands
    bound: AdmissionBinding


class Admission(t.TypedDict):
    """The token on a node, /var/lib/gb10/admission.json."""

    schema: str
    node: str
    pool: list[str]
    run_id: str
    issued: str
    expires: str
    bound: AdmissionBinding
    seal: str  # sha256 of all the rest as canonical JSON; shows damage, keeps no secret


class Revocation(t.TypedDict):
    """What stands in the same file after a refusal."""

    schema: str
    node: str
    run_id: str  # the first one that refused for these reasons
    revoked: str
    reasons: list[str]


AdmissionState = t.Literal["valid", "expired", "absent", "revoked", "different", "unreadable"]


class AdmissionFacts(t.TypedDict):
    """What the program on the node says about its admission."""

    state: AdmissionState
    reason: str | None
    expires: str | None


class Acknowledgement(t.TypedDict):
    by: str
    at: str


class QuarantineEntry(t.TypedDict):
    node: str
    since: str
    run_id: str
    reason: str  # "N02 spark3: 2 of 4 NIC functions found"
    latched: bool  # released only after somebody has acknowledged it
    acknowledged: Acknowledgement | None
    first_pass: str | None  # of the two full passes that release it


class KeptOut(QuarantineEntry):
    """The same in a verdict."""

    release: str  # what lets the node in again


class QuarantineFile(t.TypedDict):
    """quarantine.json beside the evidence: what the gate remembers from run to run."""

    schema: str
    nodes: dict[str, QuarantineEntry]
    degraded: dict[str, str]  # node -> the last run, when its hardware was degraded in that


class Waiver(t.TypedDict):
    """A degraded finding that the operator accepts for a while."""

    reason: str
    expires: str
