# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen and measured on the wire."""

from __future__ import annotations

import typing as t

from .words import Cage, Cause, HalfName


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
    duration_s: t.NotRequired[float]  # of the tool, its connecting included


class LatencyRun(t.TypedDict):
    typical_us: float
    p99_us: float | None
    iterations: int
    size_bytes: int
    argv: list[str]
    rc: int
    raw_sha256: str
    duration_s: t.NotRequired[float]  # of the tool, its connecting included


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


class Ping(t.TypedDict):
    """Echo requests that may not be split, over a planned interface, while nothing else was measured (L11)."""

    path: str
    from_node: str
    to_node: str
    size_bytes: int  # of the payload that fills the planned MTU
    asked: int  # answers of each size that were waited for
    received: int | None  # None: ping did not say
    small_received: int | None
    problem: str | None  # why one of them is not known, or what kept the large ones from leaving
    argv: list[str]  # of the large ones
    rc: int
    raw_sha256: str


class RdmaMeasurement(t.TypedDict):
    schema: str
    node: str
    profile: str
    boot_id: str | None  # in which boot this was measured, and how long after it that began
    uptime_s: float | None
    clock_step_s: float  # by how much the clock was set meanwhile
    tool_versions: dict[str, str | None]
    directions: list[Direction]
    served: list[Served]
    pairs: list[Pair]
    pairs_served: list[PairServed]
    pings: list[Ping]
    counter_deltas: dict[str, dict[str, int]]  # RDMA device -> error or pause counter -> growth over the test window
    skipped: str | None  # why nothing was measured (check mode, busy ...)
    duration_s: float
