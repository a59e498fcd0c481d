# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""L: what lies between the two ends of a half-link: packets that fit, the plug, flow control."""

from __future__ import annotations

import typing as t

from ...contracts import Evidence, ModuleFacts, Ping
from ...probe.counters import is_pause_counter
from ...probe.ping import payload
from ...shape import fits
from ..limits import AtMost, Limits
from ..outcome import Grade, Outcome, degraded, failed, graded, passed, unknown
from ..registry import check
from ..views import CageView, DirectionView, HalfView


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


@check("L12", scope="cage", needs=("halves.netdev",), parents=("N00", "N02"))
def module(cage: CageView, limits: Limits) -> Outcome:
    """What the plug in the cage says it is. For the record only: nothing is judged by it.

    A good 200G cable calls itself 40G Base-CR4 with 25500 Mb/s and 1 m, so its speed class is no signal.
    """
    told = [half["module"] for half in cage.halves if half is not None and half.get("module")]
    if not told or not fits(told[0], ModuleFacts):
        return unknown(f"the plug in {cage.node} {cage.cage} does not tell what it is")
    plug = t.cast(ModuleFacts, told[0])
    words = filter(None, (plug["vendor"], plug["part_number"], plug["length"]))
    return passed(" ".join(words) or plug["identifier"], measured=dict(plug))


@check(
    "L13",
    scope="half",
    parents=("N00", "L01", "L02"),
    explained_by=("N09",),
    limits={"pauses": AtMost, "lossless_pauses_per_s": AtMost},
    active=True,
)
def flow_control(half: HalfView, limits: Limits) -> Outcome:
    """Behind a switch nobody was told to pause while the fabric was measured, by link pause or for a priority.

    Pauses alone are congestion; with bandwidth lost they are the reason. A cable between two nodes is not asked: link
    pause is on there and two ends of one speed do not congest each other.

    Where the plan declares a lossless fabric, pauses of its priority are by design (spark-facts 3.3): some are allowed
    for each second. All others are not.
    """
    if half.reading.plan["topology"] != "switch":
        return passed("no switch, nothing to congest")
    if half.growth is None or not fits(half.growth, dict[str, int]):
        return unknown(half.absence("growth"))
    pauses = {name: value for name, value in half.growth.items() if is_pause_counter(name)}
    priority = half.lossless_priority
    details: dict[str, t.Any] = {
        "measured": {"growth": pauses, "link_pause": half.half.get("pause"), "duration_s": half.measured_s},
        "threshold": limits.get(AtMost, "pauses").shown()
        | ({} if priority is None else {"lossless_pauses_per_s": limits.get(AtMost, "lossless_pauses_per_s").max}),
    }
    why = _uncounted(half, pauses)
    if why is not None:
        return unknown(why, **details)
    grown = _too_many(half, pauses, limits)
    if not grown:
        designed = sum(pauses[name] for name in _by_design(half))
        return passed(f"no more pauses than a lossless priority {priority} has" if designed else "no pauses", **details)
    words = ", ".join(f"{name} +{value}" for name, value in grown.items())
    normal = [way.bandwidth_is_normal for way in half.ways]
    if None in normal:
        return unknown(f"{words}; whether bandwidth was lost is not known", **details)
    return graded(
        "degraded" if all(normal) else "fail",
        f"{words}, {'no bandwidth lost' if all(normal) else 'bandwidth lost'}",
        cause="configuration",
        remedy=[
            f"see which node behind the switch takes data slower than {half.node} sends it",
            f"compare speed, pause and PFC of the switch port of {half.node} {half.planned['cage']} with the others",
        ],
        **details,
    )


def _by_design(half: HalfView) -> list[str]:
    """The counters of pauses that a lossless fabric has by design."""
    priority = half.lossless_priority
    return [] if priority is None else [f"{way}_prio{priority}_pause" for way in ("rx", "tx")]


def _uncounted(half: HalfView, pauses: dict[str, int]) -> str | None:
    """Why the pauses cannot be judged; None when they can. mlx5 counts those of a priority only where PFC is on."""
    if not pauses:
        return f"{half.planned['netdev']} does not count pauses"
    absent = [name for name in _by_design(half) if name not in pauses]
    if absent:
        return f"{half.planned['netdev']} does not count {' and '.join(absent)}: is priority flow control on?"
    if _by_design(half) and not half.measured_s:
        return f"how long {half.node} measured is not known"
    return None


def _too_many(half: HalfView, pauses: dict[str, int], limits: Limits) -> dict[str, int]:
    none, rate = limits.get(AtMost, "pauses"), limits.get(AtMost, "lossless_pauses_per_s")
    seconds, designed = half.measured_s, _by_design(half)

    def grade(name: str, value: int) -> Grade:
        # Without its seconds a count that is by design was not judged before: `_uncounted`.
        return rate.grade(value / seconds) if seconds and name in designed else none.grade(value)

    return {name: value for name, value in pauses.items() if grade(name, value) != "pass"}
