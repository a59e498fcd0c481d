# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""L07: how often a link lost its carrier."""

from __future__ import annotations

import typing as t

from ..limits import AtLeast, AtMost, Limits
from ..outcome import Outcome, graded, passed
from ..registry import check
from ..views import HalfView

_MINUTE = 60


@check(
    "L07",
    scope="half",
    needs=("half.carrier_down_count", "ends.boot_id", "ends.uptime_s"),
    parents=("N00", "L01"),
    far_parents=("N00",),
    limits={"drops": AtMost, "drops_with_boot": AtMost, "settled_min": AtLeast},
)
def flaps(half: HalfView, limits: Limits) -> Outcome:
    """The link has not lost its carrier since the last pass. 21 drops were recorded on a link that was "200G up".

    A boot of either end takes the carrier away too, and so does our own change of the links: neither is held against
    the cable. Without a last pass in the same boots of both ends, the drops since the boot are judged, more mildly.
    """
    count = t.cast(int, half.half["carrier_down_count"])  # `needs` has seen it
    young = _just_booted(half, limits.get(AtLeast, "settled_min"))
    measured: dict[str, t.Any] = {"carrier_down_count": count, "settled": young is None}
    if half.was_changed:
        return passed("its links were changed in this run, which is where the count begins", measured=measured)
    if young:
        return passed(f"{young}, which takes the carrier away; nothing is counted yet", measured=measured)
    mark = half.mark_of_these_boots
    drops = count if mark is None else count - mark["carrier_down_count"]
    since = "since a boot of either end" if mark is None else f"since run {mark['run_id']}"
    limit = limits.get(AtMost, "drops_with_boot" if mark is None else "drops")
    grade = limit.grade(drops)
    return graded(
        grade,
        f"lost its carrier {drops} time{'' if drops == 1 else 's'} {since}",
        cause="hardware",
        remedy=[
            f"reseat the plug of {half.node} {half.planned['cage']} and the one at the far end",
            f"swap the cable of {half.node} {half.planned['cage']} with another one: do the drops move with it?",
        ],
        measured=measured | {"drops": drops, "since": mark["date"] if mark else None},
        threshold=limit.shown(),
        signature=None if grade == "pass" else "flaps",
    )


def _just_booted(half: HalfView, settled: AtLeast) -> str | None:
    """Which end is too young for its drops to mean anything."""
    for facts in half.ends:
        minutes = t.cast(float, facts["uptime_s"]) / _MINUTE
        if settled.grade(minutes) != "pass":
            return f"{facts['node']} booted {minutes:.0f} min ago"
    return None
