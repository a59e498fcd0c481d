# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pair matrix of a plan, as one node measures its part of it.

All nodes run this at the same time. Each computes the same schedule, works its own slots off in that order, serves or
transmits, and says over the fabric where it is (``hello``). Nothing else is needed between the nodes. Every wait ends:
a tool has a time limit, a peer that falls silent is given up, and the whole has a deadline.
"""

from __future__ import annotations

import typing as t

from ..host import Host
from ..probe.counters import deltas, pause_counters, phy_errors
from ..probe.error import ProbeError
from ..probe.ethtool import parse_statistics
from ..probe.schedule import schedule
from .ending import ending_on_signals
from .lock import alone
from .pings import ping_peers
from .readiness import why_not_now
from .serve import Server
from .station import Station
from .sysfs import error_counters, rdma_devices, rdma_driver
from .transmit import Transmitter
from .window import Window

if t.TYPE_CHECKING:
    from ..contracts import Plan, Profile, RdmaMeasurement
    from ..probe.schedule import Slot

SCHEMA = "1"


def measure(host: Host, node: str, plan: Plan, profile: Profile) -> RdmaMeasurement:
    """Measure every planned path of a node, both ways and both halves at once, together with its peers."""
    window = Window(host)
    with alone(host, "rdma_probe") as locked_out:
        measurement = not_measured(node, profile, locked_out or why_not_now(host, profile))
        if measurement["skipped"] is None:
            with ending_on_signals(), host.scratch() as scratch:
                _fill(measurement, host, plan, profile, scratch)
    window.stamp(measurement)
    return measurement


def not_measured(node: str, profile: Profile, why: str | None) -> RdmaMeasurement:
    return {
        "schema": SCHEMA,
        "node": node,
        "profile": profile["name"],
        "boot_id": None,
        "uptime_s": None,
        "clock_step_s": 0.0,
        "tool_versions": {},
        "directions": [],
        "served": [],
        "pairs": [],
        "pairs_served": [],
        "pings": [],
        "counter_deltas": {},
        "skipped": why,
        "duration_s": 0.0,
    }


def _fill(measurement: RdmaMeasurement, host: Host, plan: Plan, profile: Profile, scratch: str) -> None:
    node, slots = measurement["node"], schedule(plan)
    station = Station(host, node, plan, profile, len(slots))
    transmitter, server = Transmitter(station, scratch), Server(station)
    measurement["tool_versions"]["perftest"] = station.options.version
    try:
        station.rendezvous()
        measurement["pings"] = ping_peers(host, node, station.links, plan["mtu"], station.listen)
        before = _errors(host, station.netdevs)
        for slot in slots:
            if slot.sender == node:
                _transmit(measurement, transmitter, slot)
            elif slot.receiver == node:
                _serve(measurement, server, slot)
        after = _errors(host, station.netdevs)
        measurement["counter_deltas"] = {name: deltas(before[name], after[name]) for name in before}
    finally:
        station.close()


def _transmit(measurement: RdmaMeasurement, transmitter: Transmitter, slot: Slot) -> None:
    if len(slot.ways) == 1:
        measurement["directions"].append(transmitter.transmit(slot))
    else:
        measurement["pairs"].append(transmitter.transmit_pair(slot))


def _serve(measurement: RdmaMeasurement, server: Server, slot: Slot) -> None:
    if len(slot.ways) == 1:
        measurement["served"].append(server.serve(slot))
    else:
        measurement["pairs_served"].append(server.serve_pair(slot))


def _errors(host: Host, netdevs: dict[str, str]) -> dict[str, dict[str, int]]:
    present = rdma_devices(host)
    return {
        device: error_counters(host, device) | _phy_counters(host, device, netdev)
        for device, netdev in netdevs.items()
        if device in present
    }


def _phy_counters(host: Host, device: str, netdev: str) -> dict[str, int]:
    if rdma_driver(host, device) != "mlx5_core":
        return {}
    try:
        statistics = parse_statistics(host.run(["ethtool", "-S", netdev]).stdout)
    except ProbeError:
        return {}
    return phy_errors(statistics) | pause_counters(statistics)
