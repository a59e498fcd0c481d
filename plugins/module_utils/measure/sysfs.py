# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RDMA devices as sysfs shows them: driver, GIDs, counters. Read-only, no command is started."""

from __future__ import annotations

import typing as t

from ..probe.counters import CounterRules, counter_rules, to_bytes
from ..probe.gids import read_gids

if t.TYPE_CHECKING:
    from ..contracts import GidFacts
    from ..host import Host

INFINIBAND = "/sys/class/infiniband"


def rdma_devices(host: Host) -> list[str]:
    return host.names(INFINIBAND)


def rdma_driver(host: Host, device: str) -> str | None:
    """The driver of the PCI function; rxe has none, but counters that only it has (health-checks 3.1)."""
    driver = host.link_name(f"{INFINIBAND}/{device}/device/driver")
    if driver is None and host.exists(f"{_port(device)}/hw_counters/sent_pkts"):
        return "rdma_rxe"
    return driver


def gids_of(host: Host, device: str) -> list[GidFacts]:
    return read_gids(lambda path: host.read_line(f"{_port(device)}/{path}"))


def error_counters(host: Host, device: str) -> dict[str, int]:
    """The error counters that the driver provides; one that is missing is not in the answer."""
    rules = counter_rules(rdma_driver(host, device))
    if rules is None:
        return {}
    found: dict[str, int] = {}
    for folder in ("counters", "hw_counters"):
        for name in host.names(f"{_port(device)}/{folder}"):
            value = host.read_int(f"{_port(device)}/{folder}/{name}") if name in rules.errors else None
            if value is not None:
                found[name] = value
    return found


def sent_bytes(host: Host, device: str, path_mtu: int | None) -> int | None:
    return _bytes(host, device, path_mtu, lambda rules: rules.sent)


def received_bytes(host: Host, device: str, path_mtu: int | None) -> int | None:
    return _bytes(host, device, path_mtu, lambda rules: rules.received)


def growth(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None or after < before else after - before


def _bytes(host: Host, device: str, path_mtu: int | None, which: t.Callable[[CounterRules], str]) -> int | None:
    rules = counter_rules(rdma_driver(host, device))
    return None if rules is None else to_bytes(host.read_int(f"{_port(device)}/{which(rules)}"), rules, path_mtu)


def _port(device: str) -> str:
    return f"{INFINIBAND}/{device}/ports/1"
