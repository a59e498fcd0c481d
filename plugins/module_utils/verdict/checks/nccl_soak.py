# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C08: collectives and matrices in turn, for minutes."""

from __future__ import annotations

import typing as t

from ...contracts import NcclSoak
from ..limits import AtLeast, Growth, Limits
from ..outcome import Outcome, failed, passed, unknown
from ..registry import check
from ..signatures import WEDGE, remedies
from ..views import RankView

_Details = dict[str, t.Any]


@check(
    "C08",
    scope="rank",
    needs=("rank.soak", "rank.log.void"),
    parents=("N00", "N10", "C02", "C03", "C05"),
    gap_parents=("N14",),
    limits={"growth": Growth, "busy_utilisation": AtLeast, "busy_power_w": AtLeast, "samples": AtLeast},
    active=True,
)
def soak(rank: RankView, limits: Limits) -> Outcome:
    """Under minutes of mixed load no error counter grows, no address changes, and the GPU keeps its power.

    It is made only when the operator asks for it.
    """
    done = t.cast(NcclSoak, rank.rank["soak"])  # `needs` has seen it
    asked_s = rank.reading.soak_s
    details: _Details = {
        "measured": {key: value for key, value in done.items() if key not in ("problem", "samples")}
        | {"samples": len(done["samples"])},
        "threshold": {"seconds": asked_s},
    }
    log = rank.rank["log"]
    if log is not None and log["void"]:
        return failed(
            "the addresses changed under the load (GID table changed)",
            cause="configuration",
            remedy=[f"find what set up the network of {rank.node} again: a hand, NVIDIA Sync or an update"],
            signature="gid-table-changed",
            **details,
        )
    if done["wrong"]:
        return failed(
            f"{done['wrong']} wrong elements in {done['rounds']} rounds",
            cause="hardware",
            remedy=["serve nothing on these nodes; swap cables, then nodes: with which one do the wrong data go?"],
            signature="wrong-data",
            **details,
        )
    return (
        _grown(rank, done, limits, details) or _starved(rank, done, limits, details) or _whole(done, asked_s, details)
    )


def _grown(rank: RankView, done: NcclSoak, limits: Limits, details: _Details) -> Outcome | None:
    """Errors that were counted on a planned half; unknown when nobody counted them."""
    limit = limits.get(Growth, "growth")
    absent, grown = [], []
    for half in rank.planned:
        growth = done["counter_deltas"].get(half["rdma"], {})
        absent += [f"{half['rdma']} {name}" for name in limit.max if name not in growth]
        judged = limit.max | limit.if_present
        grown += [f"{half['rdma']} {name} +{n}" for name, n in growth.items() if n > judged.get(name, n)]
    if grown:
        return failed(
            f"errors under load: {', '.join(grown)}",
            cause="hardware",
            remedy=[f"reseat or swap the cable behind {grown[0].split()[0]} of {rank.node}, then soak again"],
            signature="errors-under-load",
            **details,
        )
    if absent:
        return unknown(f"not counted: {', '.join(absent[:3])}{' ...' if len(absent) > 3 else ''}", **details)
    return None


def _starved(rank: RankView, done: NcclSoak, limits: Limits, details: _Details) -> Outcome | None:
    """Full utilisation on little power, at any moment; unknown when nobody looked often enough."""
    busy, power = limits.get(AtLeast, "busy_utilisation"), limits.get(AtLeast, "busy_power_w")
    known = [
        (sample["utilisation"], sample["power_w"])
        for sample in done["samples"]
        if sample["utilisation"] is not None and sample["power_w"] is not None
    ]
    starved = [watts for load, watts in known if busy.grade(load) == "pass" and power.grade(watts) != "pass"]
    if starved:
        return failed(
            f"{busy.min:.0f} % and more of the GPU on {min(starved):.0f} W, in {len(starved)} of {len(known)} samples",
            cause="hardware",
            remedy=remedies(WEDGE, rank.node),
            signature=WEDGE,
            **details,
        )
    if limits.get(AtLeast, "samples").grade(len(known)) != "pass":
        why = f": {done['problem']}" if done["problem"] else ""
        return unknown(f"load and power of the GPU are known of {len(known)} moments only{why}", **details)
    return None


def _whole(done: NcclSoak, asked_s: int, details: _Details) -> Outcome:
    if done["seconds"] < asked_s or done["rounds"] < 1:
        return unknown(f"{done['seconds']:.0f} s of {asked_s} were done", **details)
    return passed(f"clean for {done['seconds'] / 60:.0f} min", **details)
