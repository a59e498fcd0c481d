# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node says about itself."""

from __future__ import annotations

import typing as t

from .admission import AdmissionFacts
from .words import Cage, HalfName


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


class ModuleFacts(t.TypedDict):
    """What the plug says it is (L12), without what identifies the piece. Its speed class means nothing."""

    identifier: str  # "0x11 (QSFP28)"
    type: str | None
    vendor: str | None
    part_number: str | None
    length: str | None


class PauseFacts(t.TypedDict):
    """Link pause (802.3x) of a port (L13)."""

    autonegotiate: bool
    rx: bool
    tx: bool


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
    ipv4: list[str] | None  # CIDR; None: not known
    rdma: RdmaFacts | None
    pcie: PcieFacts | None
    counters: dict[str, int]  # error counters by the driver's own name; absent means not provided
    module: t.NotRequired[ModuleFacts | None]  # of hardware with a carrier only, as is the next
    pause: t.NotRequired[PauseFacts | None]


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
    addresses: dict[str, list[str]] | None  # every netdev -> CIDRs; None: ip is missing or did not answer
    routes: list[RouteFacts] | None
    lldp: list[LldpNeighbour] | None
    nccl_files: list[NcclFileFacts]
    netplan_files: list[NetplanFile]
    renderer: str | None  # networkd, NetworkManager: who manages the fabric netdevs
    packages: dict[str, str | None]  # asked for -> installed version
    tools: dict[str, str | None]  # ib_write_bw ... -> path
    reboot_required: bool
    time_sync: t.NotRequired[str | None]  # the time service that runs; None: none does
    newest_kernel: str | None
    ota_torn_percent: t.NotRequired[int | None]  # how much of an update of DGX OS is missing, where its tool is there
    hazards: list[str]
    kernel_log: list[str] | None  # matching lines only; None: journal not readable
    gpu_module: str | None  # version of the loaded nvidia kernel module
    admission: AdmissionFacts  # as it was before this run
    problems: list[str]  # what could not be read, one sentence each
