# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NCCL did with the fabric."""

from __future__ import annotations

import typing as t

from .fabric import Failure
from .facts import NcclFileFacts

NcclHarness = t.Literal["torch", "nccl_tests"]  # the numbers of one are not those of the other


class NcclRuntime(t.TypedDict):
    """Where the rank ran: in the image or the virtual environment that will serve, or as a program of the host."""

    kind: t.Literal["docker", "venv", "host"]
    image: str | None  # as it was asked for
    image_id: str | None  # of the image that was run
    python: str  # on the host the folder of the programs


class NcclLibrary(t.TypedDict):
    """The NCCL that the rank had mapped (N14)."""

    version: str | None  # the file's own answer, "2.30.7"
    headers: str | None  # what torch, or the programs, were built with
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


class NcclGpuSample(t.TypedDict):
    """What nvidia-smi said at one moment; what it does not provide is not known."""

    clock_mhz: float | None
    power_w: float | None
    utilisation: float | None  # per cent
    pstate: str | None


class NcclGpuLoad(t.TypedDict):
    """The GPU while it multiplied matrices for some seconds (N10). Numbers are medians of the samples."""

    seconds: float
    samples: int
    clock_mhz: float | None
    power_w: float | None
    utilisation: float | None
    problem: str | None  # why there was no load, or why nobody saw it


class NcclInside(t.TypedDict):
    """What the rank found where it ran (N15-N17); of settings those of NCCL alone."""

    memlock_kib: int | None  # -1: unlimited
    uverbs: list[str]
    verbs_library: bool | None  # libibverbs loads
    nccl_files: list[NcclFileFacts]
    environment: dict[str, str]  # NCCL_* that the image sets by itself


class NcclPair(t.TypedDict):
    """Two ranks by themselves, in a communicator of their own (P06)."""

    peer: str  # node
    runs: list[NcclRun]


class NcclSoak(t.TypedDict):
    """Collectives and matrices in turn, for minutes (C08)."""

    seconds: float
    rounds: int
    wrong: int  # elements
    samples: list[NcclGpuSample]
    counter_deltas: dict[str, dict[str, int]]  # RDMA device -> error counter -> growth
    problem: str | None  # why it was not done, or why nobody saw it


class NcclMeasurement(t.TypedDict):
    """One rank; written by the node that ran it."""

    schema: str
    node: str
    rank: int
    world_size: int
    profile: str
    boot_id: str | None  # as in RdmaMeasurement
    uptime_s: float | None
    clock_step_s: float
    harness: NcclHarness
    runtime: NcclRuntime
    torch: str | None
    library: NcclLibrary | None
    inside: NcclInside | None
    gpu_load: NcclGpuLoad | None
    runs: list[NcclRun]  # of all ranks together
    pairs: list[NcclPair]  # of this rank; empty where two ranks are all
    soak: NcclSoak | None  # None: not asked for, or not reached
    left_out: list[int]  # sizes for which some rank has too little memory
    tx_bytes: dict[str, int | None]  # every RDMA device of the node -> bytes sent for the runs of all ranks together
    rx_bytes: dict[str, int | None]
    log: NcclLogSummary | None  # what all ranks did together; None: nothing was started
    pair_transports: dict[str, int]  # "NET/IB" -> channels of the pairs
    failure: Failure | None  # start, import, gpu_load, rendezvous, init, all_gather, all_reduce, counted, pairs, soak
    skipped: str | None  # why nothing was measured (check mode, busy ...)
    duration_s: float
