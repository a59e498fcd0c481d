# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NCCL did with the fabric."""

from __future__ import annotations

import typing as t

from .fabric import Failure


class NcclRuntime(t.TypedDict):
    """Where the rank ran: in the image or the virtual environment that will serve."""

    kind: t.Literal["docker", "venv"]
    image: str | None  # as it was asked for
    image_id: str | None  # of the image that was run
    python: str


class NcclLibrary(t.TypedDict):
    """The NCCL that the rank had mapped (N14)."""

    version: str | None  # the file's own answer, "2.30.7"
    headers: str | None  # what torch was built with
    path: str | None  # None: linked into torch, or not found
    build_id: str | None
    size_bytes: int | None
    subnet_aware_routing: bool | None  # the file knows NCCL_IB_SUBNET_AWARE_ROUTING
    others: list[str]  # further libnccl.so that the same process had mapped


class NcclRun(t.TypedDict):
    collective: t.Literal["all_gather", "all_reduce"]
    size_bytes: int
    warmup: bool
    iterations: int
    seconds: float  # of one operation
    algbw_gbs: float
    busbw_gbs: float
    wrong: int  # elements


class NcclInterface(t.TypedDict):
    name: str
    address: str


class NcclHca(t.TypedDict):
    device: str
    port: int
    link_layer: str
    speed_mbps: int | None
    pci_domain: str | None


class NcclQueuePairs(t.TypedDict):
    """Where data really went. Before 2.30 NCCL names no side (``undirected``)."""

    device: str
    sender: int
    receiver: int
    undirected: int


class NcclConnection(t.TypedDict):
    device: str | None
    port: int
    mtu_bytes: int | None  # the port's active MTU
    gid_index: int | None
    ipv4: str | None  # decoded from the GID
    queue_pairs: int


class NcclOverride(t.TypedDict):
    """Subnet-aware routing took other devices than planned."""

    from_devices: list[str]
    to_devices: list[str]
    crosses_domain: bool | None  # True: two halves share one PCIe link
    lines: int


class NcclFinding(t.TypedDict):
    kind: str  # FindingKind of probe/nccl_records.py
    device: str | None
    count: int
    excerpt: str


class NcclLogSummary(t.TypedDict):
    """The log of this rank. Without one everything is empty and ``lines`` is 0."""

    version: str | None
    init_complete: bool
    networks: list[str]
    plugins: list[str]
    external_plugins: list[str]
    transports: dict[str, int]  # "NET/IB" -> channels; empty: nothing is known
    hcas: list[NcclHca]
    merged_devices: list[list[str]]
    bootstrap: NcclInterface | None
    queue_pairs: list[NcclQueuePairs]
    connections: list[NcclConnection]
    overrides: list[NcclOverride]
    findings: list[NcclFinding]
    env: dict[str, str]  # NCCL_* as NCCL took them, from the environment and its files
    void: bool  # the addresses changed under the run
    folded: bool  # equal lines were folded into one: counts and absences prove nothing
    lines: int
    sha256: str


class NcclMeasurement(t.TypedDict):
    """One rank; written by the node that ran it."""

    schema: str
    node: str
    rank: int
    world_size: int
    profile: str
    harness: t.Literal["torch"]  # its numbers are not those of nccl-tests
    runtime: NcclRuntime
    torch: str | None
    library: NcclLibrary | None
    runs: list[NcclRun]
    left_out: list[int]  # sizes for which some rank has too little memory
    tx_bytes: dict[str, int | None]  # every RDMA device of the node -> bytes sent from the start to the end of the rank
    rx_bytes: dict[str, int | None]
    log: NcclLogSummary | None  # None: nothing was started
    failure: Failure | None  # start, import, rendezvous, init, all_gather, all_reduce
    skipped: str | None  # why nothing was measured (check mode, busy ...)
    duration_s: float
