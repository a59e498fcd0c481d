# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""L: what lies between the two ends of a half-link: packets that fit, the plug, flow control."""

from __future__ import annotations

import typing as t

from ...contracts import Evidence, Ping
from ...probe.ping import payload
from ..limits import Limits
from ..outcome import Outcome, degraded, failed, passed, unknown
from ..registry import check
from ..views import DirectionView


class _Details(t.TypedDict):
    measured: dict[str, t.Any]
    threshold: dict[str, t.Any]
    evidence: Evidence


@check(
    "L11",
    scope="direction",
    level="half-link",
    needs=("ping.asked", "ping.size_bytes", "ping.argv", "ping.rc"),
    parents=("N00", "N02", "L01", "L04", "L05", "L09"),
    explained_by=("N09",),
    active=True,
)
def large_packets(way: DirectionView, limits: Limits) -> Outcome:
    """A packet as large as the planned MTU goes to the peer and back in one piece, over the planned interface.

    Only the way between the ends is asked here: a live MTU that is wrong is L04. From the side with MTU 9000 the ping
    can pass although the peer has 1500, so both ends ask, and P01 looks at the MTU of RDMA itself.
    """
    ping = way.ping
    details: _Details = {
        "measured": {"size_bytes": ping["size_bytes"], "received": ping["received"], "small": ping["small_received"]},
        "threshold": {"pass": ping["asked"], "size_bytes": payload(way.reading.plan["mtu"])},
        "evidence": {"argv": ping["argv"], "rc": ping["rc"], "raw_sha256": ping["raw_sha256"]},
    }
    large, small = ping["received"], ping["small_received"]
    if not isinstance(large, int) or not isinstance(small, int):
        reason = ping["problem"] or "ping did not say how many answers came"
        return unknown(reason, remedy=[f"run role dgx_os on {way.sender['node']}: it installs iputils-ping"], **details)
    if ping["size_bytes"] != payload(way.reading.plan["mtu"]) or ping["asked"] < 1:
        return unknown(f"{ping['size_bytes']} bytes do not fill MTU {way.reading.plan['mtu']}", **details)
    if min(large, small) >= ping["asked"]:
        return passed(f"{ping['size_bytes']} bytes in one piece", **details)
    if large == 0:
        return _too_large(way, ping, details) if small > 0 else _no_answer(way, details)
    return degraded(
        f"{large} packets of {ping['size_bytes']} bytes and {small} small ones came back, expected {ping['asked']}",
        cause="hardware",
        remedy=_reseat(way),
        **details,
    )


def _too_large(way: DirectionView, ping: Ping, details: _Details) -> Outcome:
    own = f": {ping['problem']}" if ping["problem"] else ""
    where = (
        f"set the l2mtu of the switch ports of {way.sender['node']} and {way.receiver['node']} above"
        if way.reading.plan["topology"] == "switch"
        else f"see what holds packets of {way.sender['node']} and {way.receiver['node']} below"
    )
    return failed(
        f"small packets come back, none of {ping['size_bytes']} bytes does{own}",
        cause="configuration",
        remedy=[f"{where} MTU {way.reading.plan['mtu']}, then measure again"],
        **details,
    )


def _no_answer(way: DirectionView, details: _Details) -> Outcome:
    if way.median_gbps:
        return unknown(
            "no ping is answered, although the path carries data",
            cause="configuration",
            remedy=[
                f"let {way.receiver['node']} answer ping on its fabric interfaces (firewall, icmp_echo_ignore_all)"
            ],
            **details,
        )
    return failed("no ping comes back, small or large", cause="hardware", remedy=_reseat(way), **details)


def _reseat(way: DirectionView) -> list[str]:
    plugs = " and ".join(f"{end['node']} {end['cage']}" for end in (way.sender, way.receiver))
    return [f"reseat the plugs in {plugs}, then measure again"]
