# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks need of one rank's NCCL log, as plain data."""

from __future__ import annotations

import typing as t
from collections import Counter

from ..probe.nccl_log import read_nccl_log

if t.TYPE_CHECKING:
    from ..contracts import NcclConnection, NcclHca, NcclLogSummary
    from ..probe.nccl_records import Connection, Hca, NcclLog

# How we ask for the log says nothing about where data goes.
_LOGGING = "NCCL_DEBUG"


def read_log(
    lines: t.Callable[[], t.Iterable[str]], together_bytes: int | None
) -> tuple[NcclLogSummary, dict[str, int]]:
    """The log of a rank, and the channels by transport of what it did after its first so many bytes.

    Up to there all ranks worked together. What pairs of them do later is no part of where data went then; what went
    wrong is. None: it did nothing else.
    """
    whole = read_nccl_log(lines())
    if together_bytes is None:
        return summary(whole), {}
    first = read_nccl_log(_first(lines(), together_bytes))
    later = Counter(whole.transports)
    later.subtract(first.transports)
    about_all = summary(whole)
    of_whole: tuple[t.Literal["findings", "env", "void", "folded", "lines", "sha256"], ...]
    of_whole = ("findings", "env", "void", "folded", "lines", "sha256")
    together = summary(first)
    for key in of_whole:
        together[key] = about_all[key]
    return together, {name: count for name, count in later.items() if count}


def _first(lines: t.Iterable[str], length: int) -> t.Iterator[str]:
    """The lines that end within so many bytes."""
    read = 0
    for line in lines:
        read += len(line.encode("utf-8", "surrogateescape"))
        if read > length:
            return
        yield line


def summary(log: NcclLog) -> NcclLogSummary:
    bootstrap = log.bootstrap
    return {
        "version": log.version,
        "init_complete": log.init_complete,
        "networks": list(log.networks),
        "plugins": list(log.plugins),
        "external_plugins": list(log.external_plugins),
        "transports": log.transports,
        "hcas": [_hca(hca) for hca in log.hcas],
        "merged_devices": [list(device.devices) for device in log.merged_devices],
        "bootstrap": {"name": bootstrap.name, "address": bootstrap.address} if bootstrap else None,
        "queue_pairs": [
            {
                "device": pairs.device,
                "sender": pairs.sender,
                "receiver": pairs.receiver,
                "undirected": pairs.undirected,
            }
            for pairs in log.queue_pairs
        ],
        "connections": [_connection(connection) for connection in log.connections],
        "overrides": [
            {
                "from_devices": list(override.from_devices),
                "to_devices": list(override.to_devices),
                "crosses_domain": override.crosses_domain,
                "lines": override.lines,
            }
            for override in log.overrides
        ],
        "findings": [
            {"kind": finding.kind, "device": finding.device, "count": finding.count, "excerpt": finding.excerpt}
            for finding in log.findings
        ],
        "env": {name: value for name, value in log.env.items() if not name.startswith(_LOGGING)},
        "void": log.void,
        "folded": log.folded,
        "lines": log.lines,
        "sha256": log.sha256,
    }


def _hca(hca: Hca) -> NcclHca:
    return {
        "device": hca.device,
        "port": hca.port,
        "link_layer": hca.link_layer,
        "speed_mbps": hca.speed_mbps,
        "pci_domain": hca.pci_domain,
    }


def _connection(connection: Connection) -> NcclConnection:
    return {
        "device": connection.device,
        "port": connection.port,
        "mtu_bytes": connection.mtu_bytes,
        "gid_index": connection.gid_index,
        "ipv4": connection.ipv4,
        "queue_pairs": connection.queue_pairs,
    }
