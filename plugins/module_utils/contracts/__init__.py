# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes that cross a boundary: plan, facts, measurements, records, verdict.

Everything here is plain JSON data. The schemas under docs/schema say the same for other tools, and a test holds the two
together. Units are in the key (``gbps``, ``us``, ``s``, ``kib``, ``bytes``); ``None`` always means "not known".
"""

from __future__ import annotations

from .fabric import (
    BandwidthRun,
    Direction,
    Discovery,
    Failure,
    LatencyRun,
    Neighbour,
    Pair,
    PairHalf,
    PairServed,
    Ping,
    RdmaMeasurement,
    Served,
)
from .facts import (
    GidFacts,
    GpuFacts,
    GpuProcess,
    HalfFacts,
    LldpNeighbour,
    ModuleFacts,
    NcclFileFacts,
    NetplanFile,
    NodeFacts,
    PauseFacts,
    PcieFacts,
    RdmaFacts,
    RouteFacts,
)
from .nccl import (
    NcclConnection,
    NcclFinding,
    NcclHca,
    NcclInterface,
    NcclLibrary,
    NcclLogSummary,
    NcclMeasurement,
    NcclOverride,
    NcclQueuePairs,
    NcclRun,
    NcclRuntime,
)
from .plan import HalfLinkPlan, HalfPlan, LinkEnd, LinkPlan, NodePlan, PathEnd, PathPlan, PeerPlan, Plan, SwitchPortPlan
from .profile import BandwidthSettings, LatencySettings, NcclSettings, Profile
from .verdict import CheckRecord, Diagnosis, Evidence, EvidenceFile, MatrixCost, Verdict
from .words import SCHEMA, Cage, Cause, HalfName, Level, OutcomeName, Topology

__all__ = [
    "SCHEMA",
    "BandwidthRun",
    "BandwidthSettings",
    "Cage",
    "Cause",
    "CheckRecord",
    "Diagnosis",
    "Direction",
    "Discovery",
    "Evidence",
    "EvidenceFile",
    "Failure",
    "GidFacts",
    "GpuFacts",
    "GpuProcess",
    "HalfFacts",
    "HalfLinkPlan",
    "HalfName",
    "HalfPlan",
    "LatencyRun",
    "LatencySettings",
    "Level",
    "LinkEnd",
    "LinkPlan",
    "LldpNeighbour",
    "MatrixCost",
    "ModuleFacts",
    "NcclConnection",
    "NcclFileFacts",
    "NcclFinding",
    "NcclHca",
    "NcclInterface",
    "NcclLibrary",
    "NcclLogSummary",
    "NcclMeasurement",
    "NcclOverride",
    "NcclQueuePairs",
    "NcclRun",
    "NcclRuntime",
    "NcclSettings",
    "Neighbour",
    "NetplanFile",
    "NodeFacts",
    "NodePlan",
    "OutcomeName",
    "Pair",
    "PairHalf",
    "PairServed",
    "PathEnd",
    "PathPlan",
    "PauseFacts",
    "PcieFacts",
    "PeerPlan",
    "Ping",
    "Plan",
    "Profile",
    "RdmaFacts",
    "RdmaMeasurement",
    "RouteFacts",
    "Served",
    "SwitchPortPlan",
    "Topology",
    "Verdict",
]
