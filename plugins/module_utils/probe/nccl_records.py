# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log of one NCCL rank says, as values. What it does not say is None, empty or 0, never a guess."""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import dataclass

FindingKind = t.Literal[
    "wrong_neighbour",
    "connect_retried",
    "wrong_gid",
    "memory_registration",
    "retry_exceeded",
    "gid_table_changed",
    "no_device",
    "plugin_failed",
    "unclassified",
]


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Communicator:
    rank: int
    nranks: int


@dataclass(frozen=True, slots=True)
class Hca:
    """A chosen device. Its index is NCCL's, sorted by PCI address; the device lines before count otherwise."""

    index: int
    device: str
    port: int
    link_layer: str
    speed_mbps: int | None
    pci_path: str | None
    pci_domain: str | None


@dataclass(frozen=True, slots=True)
class VirtualDevice:
    """What channels and overrides call a device. Since 2.30 each chosen one is listed, alone, before the merged."""

    index: int
    devices: tuple[str, ...]
    speed_mbps: int


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels to or from one peer over one transport. `device` is a net device index, and only the plan."""

    transport: str
    kind: str
    device: int | None
    direction: t.Literal["send", "receive"]
    peer: int | None
    count: int


@dataclass(frozen=True, slots=True)
class QueuePairs:
    """Where data really goes. `undirected`: NCCL before 2.30 names no side and counts those of flushes too."""

    device: str
    sender: int
    receiver: int
    undirected: int


@dataclass(frozen=True, slots=True)
class Connection:
    """Queue pairs as their sender set them up; the receiving side prints no GID. `mtu` is the port's active_mtu."""

    device_index: int
    hca_index: int
    device: str | None
    port: int
    mtu: int
    mtu_bytes: int | None
    gid_index: int | None
    gid: str | None
    ipv4: str | None
    queue_pairs: int


@dataclass(frozen=True, slots=True)
class Override:
    """Subnet-aware routing took another device than planned.

    NCCL repeats the line while it waits for the peer, so `lines` is no number of connections. To the other port of
    the same PCI domain is how a triangle works; across domains, two halves share one x4 link (C03).
    """

    from_index: int
    to_index: int
    from_devices: tuple[str, ...]
    to_devices: tuple[str, ...]
    crosses_domain: bool | None
    lines: int


@dataclass(frozen=True, slots=True)
class Finding:
    kind: FindingKind
    device: str | None
    count: int
    excerpt: str


@dataclass(frozen=True, slots=True)
class NcclLog:
    version: str | None
    git: str | None
    communicators: tuple[Communicator, ...]
    init_complete: bool
    networks: tuple[str, ...]
    plugins: tuple[str, ...]
    external_plugins: tuple[str, ...]
    hcas: tuple[Hca, ...]
    virtual_devices: tuple[VirtualDevice, ...]
    oob: Interface | None
    bootstrap: Interface | None
    sockets: tuple[Interface, ...]
    env: dict[str, str]
    channels: tuple[Channels, ...]
    queue_pairs: tuple[QueuePairs, ...]
    connections: tuple[Connection, ...]
    overrides: tuple[Override, ...]
    findings: tuple[Finding, ...]
    # Ray folds equal lines of several workers into one: counts and absences prove nothing then.
    folded: bool
    lines: int
    sha256: str

    @property
    def transports(self) -> dict[str, int]:
        """Number of channels by transport. Empty: no channel line was seen, so nothing is known about the transport."""
        found: Counter[str] = Counter()
        for group in self.channels:
            found[group.transport] += group.count
        return dict(found)

    @property
    def merged_devices(self) -> tuple[VirtualDevice, ...]:
        return tuple(device for device in self.virtual_devices if len(device.devices) > 1)

    @property
    def void(self) -> bool:
        """The addresses changed under the run: it measured nothing."""
        return any(finding.kind == "gid_table_changed" for finding in self.findings)
