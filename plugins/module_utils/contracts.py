# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes that cross a boundary: plan, facts, measurements, records, verdict.

Everything here is plain JSON data. The schemas under docs/schema say the same for other tools, and a test holds the two
together. Units are in the key (``gbps``, ``us``, ``s``, ``kib``, ``bytes``); ``None`` always means "not known".
"""

from __future__ import annotations

import typing as t

SCHEMA = "1"

Topology = t.Literal["single", "direct", "triangle", "switch"]
Cage = t.Literal["p0", "p1"]
HalfName = t.Literal["a", "b"]
Level = t.Literal["node", "half-link", "pair", "cluster"]
OutcomeName = t.Literal["pass", "degraded", "fail", "unknown", "skipped"]
Cause = t.Literal["hardware", "configuration", "software", "instrument", "environment"]


# --- contract 1: fabric plan ------------------------------------------------------------------------------------------


class PeerPlan(t.TypedDict):
    """The far end of a half that is cabled straight to another node."""

    node: str
    cage: Cage
    half: HalfName
    ipv4: str  # without prefix length


class HalfPlan(t.TypedDict):
    """One planned half of a node; halves without a cable are not in the plan."""

    cage: Cage
    half: HalfName
    netdev: str
    rdma: str
    pci: str
    ipv4: str  # without prefix length
    prefix: int
    subnet: str  # CIDR
    peer: PeerPlan | None  # None behind a switch
    switch_port: str | None


class NodePlan(t.TypedDict):
    mgmt_ip: str
    mgmt_netdev: str
    number: int  # stable identity: the last octet of every fabric address
    rank: int  # dense, 0-based, by number
    halves: list[HalfPlan]


class LinkEnd(t.TypedDict):
    device: str  # a node, or the switch
    port: str  # a cage, or a switch port


class LinkPlan(t.TypedDict):
    """A cable."""

    id: str  # "spark1:p0-spark2:p1"
    ends: list[LinkEnd]  # two


class PathEnd(t.TypedDict):
    node: str
    cage: Cage
    half: HalfName
    netdev: str
    rdma: str
    ipv4: str


class HalfLinkPlan(t.TypedDict):
    """One half of a cable. Behind a switch it has one end."""

    id: str  # "spark1:p0:a-spark2:p1:a", behind a switch "spark1:p0:a-crs812:qsfp56-1-1:a"
    link: str
    half: HalfName
    subnet: str
    ends: list[PathEnd]


class PathPlan(t.TypedDict):
    """What the pair matrix measures: two nodes that share a subnet of one half. On a cable it is the half-link."""

    id: str  # "spark1:p0:a-spark2:p1:a"
    half: HalfName
    subnet: str
    ends: list[PathEnd]  # two; the lower rank first, the triangle's closing path (rank 2 -> rank 0) excepted


class SwitchPortPlan(t.TypedDict):
    port: str  # lane master, for example "qsfp56-1-1"
    node: str
    cage: Cage
    speed: str  # "200G-baseCR4" (spark-facts 3.2)
    l2mtu: int


class Plan(t.TypedDict):
    schema: str
    topology: Topology
    mtu: int
    nodes: dict[str, NodePlan]
    links: list[LinkPlan]
    half_links: list[HalfLinkPlan]
    paths: list[PathPlan]
    nccl_env: dict[str, dict[str, str]]
    switch_ports: list[SwitchPortPlan]


# --- what a node says about itself ------------------------------------------------------------------------------------


class GidFacts(t.TypedDict):
    index: int
    type: str  # "RoCE v2", "IB/RoCE v1"
    netdev: str | None
    gid: str  # eight groups of hex
    ipv4: str | None  # decoded from an IPv4-mapped GID


class RdmaFacts(t.TypedDict):
    device: str
    port: int
    state: str  # ACTIVE, DOWN ...
    physical_state: str
    netdev: str | None
    link_layer: str | None
    active_mtu: int | None  # bytes
    fw_ver: str | None
    board_id: str | None
    gids: list[GidFacts]


class PcieFacts(t.TypedDict):
    address: str
    current_speed_gts: float | None
    current_width: int | None
    max_speed_gts: float | None
    max_width: int | None


class HalfFacts(t.TypedDict):
    """A fabric netdev as it is, planned or not."""

    netdev: str
    mac: str | None
    driver: str | None
    cage: Cage | None  # from phys_port_name, else from the known name
    half: HalfName | None
    phys_port_name: str | None
    phys_switch_id: str | None
    carrier: bool | None
    operstate: str | None
    speed_mbps: int | None
    lanes: int | None
    fec: str | None
    mtu: int | None
    carrier_down_count: int | None
    ipv4: list[str]  # CIDR
    rdma: RdmaFacts | None
    pcie: PcieFacts | None
    counters: dict[str, int]  # error counters by the driver's own name; absent means not provided


class RouteFacts(t.TypedDict):
    dst: str  # "default" or CIDR
    dev: str
    gateway: str | None
    linkdown: bool


class LldpNeighbour(t.TypedDict):
    netdev: str
    chassis: str
    port: str


class GpuFacts(t.TypedDict):
    name: str
    compute_cap: str | None
    driver: str | None


class GpuProcess(t.TypedDict):
    pid: int
    used_mib: int | None


class NcclFileFacts(t.TypedDict):
    path: str
    settings: dict[str, str]


class NetplanFile(t.TypedDict):
    path: str
    interfaces: list[str]  # of the fabric, named or matched in this file
    owned: bool  # ours, by its header
    sha256: str


class NodeFacts(t.TypedDict):
    """One read of everything passive (health-checks 2.1 and 2.2)."""

    schema: str
    node: str  # inventory name
    hostname: str
    boot_id: str | None
    uptime_s: float | None
    kernel: str
    cmdline: str
    architecture: str
    os_id: str | None
    os_version: str | None
    python: str
    dmi: dict[str, str]
    dgx_release: dict[str, str]  # without serial numbers
    fastos_version: str | None
    gpus: list[GpuFacts] | None  # None: nvidia-smi is missing or did not answer
    gpu_processes: list[GpuProcess] | None
    memory_kib: dict[str, int]  # /proc/meminfo by its own names
    memlock_kib: int | None  # -1: unlimited
    uverbs: list[str]
    halves: list[HalfFacts]
    addresses: dict[str, list[str]]  # every netdev -> CIDRs
    routes: list[RouteFacts]
    lldp: list[LldpNeighbour] | None
    nccl_files: list[NcclFileFacts]
    netplan_files: list[NetplanFile]
    renderer: str | None  # networkd, NetworkManager: who manages the fabric netdevs
    packages: dict[str, str | None]  # asked for -> installed version
    tools: dict[str, str | None]  # ib_write_bw ... -> path
    reboot_required: bool
    time_sync: t.NotRequired[str | None]  # the time service that runs; None: none does
    newest_kernel: str | None
    hazards: list[str]
    kernel_log: list[str] | None  # matching lines only; None: journal not readable
    problems: list[str]  # what could not be read, one sentence each


# --- what was seen on the wire ----------------------------------------------------------------------------------------


class Neighbour(t.TypedDict):
    """A hello frame heard on a fabric netdev."""

    netdev: str
    cage: Cage
    half: HalfName
    peer_node: str
    peer_cage: Cage
    peer_half: HalfName


class Discovery(t.TypedDict):
    node: str
    neighbours: list[Neighbour]
    silent: list[str]  # netdevs with carrier on which nothing was heard
    down: list[str]  # netdevs without carrier
    listened_s: float


class BandwidthRun(t.TypedDict):
    warmup: bool
    gbps: float
    iterations: int
    size_bytes: int
    qps: int
    mtu: int
    local_ipv4: str | None  # decoded from the GID lines
    remote_ipv4: str | None
    agrees: bool | None  # text and JSON output say the same; None: the tool gave no JSON
    argv: list[str]
    rc: int
    raw_sha256: str


class LatencyRun(t.TypedDict):
    typical_us: float
    p99_us: float | None
    iterations: int
    size_bytes: int
    argv: list[str]
    rc: int
    raw_sha256: str


class Failure(t.TypedDict):
    stage: str  # rendezvous, latency, bandwidth
    cause: Cause
    message: str
    argv: list[str]
    rc: int | None
    raw_sha256: str | None


class Direction(t.TypedDict):
    """One path measured one way; written by the node that transmits."""

    path: str
    from_node: str
    to_node: str
    half: HalfName
    bandwidth: list[BandwidthRun]
    latency: LatencyRun | None
    tx_bytes: dict[str, int | None]  # own RDMA device -> bytes sent while the bandwidth runs lasted
    failure: Failure | None
    repeated: t.NotRequired[list[Failure]]  # runs done again because the tool had failed, not the path
    duration_s: float


class Served(t.TypedDict):
    """The same way, as the receiving node saw it."""

    path: str
    from_node: str
    to_node: str
    rx_bytes: dict[str, int | None]
    rcs: list[int]
    failure: Failure | None


class PairHalf(t.TypedDict):
    path: str
    half: HalfName
    bandwidth: list[BandwidthRun]  # the n-th run of one half lasted while the n-th of the other did


class Pair(t.TypedDict):
    """Both halves of a cable, or of the way through the switch, at once; written by the node that transmits."""

    from_node: str
    to_node: str
    halves: list[PairHalf]  # a, b
    failure: Failure | None
    repeated: t.NotRequired[list[Failure]]
    duration_s: float


class PairServed(t.TypedDict):
    """The same, as the receiving node saw it."""

    paths: list[str]  # half a, half b
    from_node: str
    to_node: str
    rcs: list[int]  # of every process, in the order of the runs
    failure: Failure | None


class RdmaMeasurement(t.TypedDict):
    schema: str
    node: str
    profile: str
    tool_versions: dict[str, str | None]
    directions: list[Direction]
    served: list[Served]
    pairs: list[Pair]
    pairs_served: list[PairServed]
    counter_deltas: dict[str, dict[str, int]]  # RDMA device -> error counter -> growth over the test window
    skipped: str | None  # why nothing was measured (check mode, busy ...)
    duration_s: float


# --- what NCCL did with the fabric ------------------------------------------------------------------------------------


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


# --- contracts 2 and 3: check record and verdict ----------------------------------------------------------------------


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


class EvidenceFile(t.TypedDict):
    schema: str
    run_id: str
    plan: Plan
    profile: str
    records: list[CheckRecord]
    verdict: Verdict


# --- thresholds -------------------------------------------------------------------------------------------------------


class BandwidthSettings(t.TypedDict):
    qps: int
    tx_depth: t.NotRequired[int]  # messages under way for each queue pair; else the tool's own 128
    qp_timeout: t.NotRequired[int]  # 4 us * 2^n without acknowledgement; else the tool's own 14, 67 ms
    size_bytes: int
    duration_s: int
    warmup: int
    repeats: int


class LatencySettings(t.TypedDict):
    size_bytes: int
    iterations: int


class NcclSettings(t.TypedDict):
    """Sizes are those of nccl-tests: what an all_gather leaves on each rank, what an all_reduce sums up."""

    sizes_bytes: list[int]
    iterations: int  # operations in one run
    warmup: int  # runs
    repeats: int  # runs
    timeout_s: int  # from the start of the program to its end


class Profile(t.TypedDict):
    """A file of profiles/: how to measure and what to expect. Every number in thresholds carries its source."""

    schema: str
    name: str
    description: str
    bandwidth: BandwidthSettings
    latency: LatencySettings
    nccl: t.NotRequired[NcclSettings]  # without it NCCL is not measured
    rendezvous_s: int  # how long a peer may be late
    command_timeout_s: int
    required: list[str]  # check ids: anything but pass refuses
    observe: list[str]  # recorded and shown, never refuses
    required_with_nccl: t.NotRequired[list[str]]  # required when NCCL was to be measured, else only observed
    thresholds: dict[str, dict[str, t.Any]]
