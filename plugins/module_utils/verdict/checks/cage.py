# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""L: a cage, that is both halves behind one plug."""

from __future__ import annotations

from ...contracts import Cause
from ..cabling import cabling_steps, cage_finding
from ..limits import Limits
from ..outcome import Outcome, failed, passed, unknown
from ..registry import check
from ..views import CageView


@check("L03", scope="cage", needs=("halves.carrier",), parents=("N00", "N02"))
def twins(cage: CageView, limits: Limits) -> Outcome:
    """Both halves of a cage agree about the carrier: one cable feeds both, so a difference is driver or setting."""
    carriers = {half["netdev"]: half["carrier"] for half in cage.halves if half is not None}
    measured = {"carrier": carriers}
    if len(set(carriers.values())) == 1:
        return passed("both halves agree", measured=measured)
    up = [netdev for netdev, carrier in carriers.items() if carrier]
    down = [netdev for netdev, carrier in carriers.items() if not carrier]
    return failed(
        f"{' '.join(up)} is up and {' '.join(down)} is down on one cable",
        cause="configuration",
        remedy=[f"see why the driver holds {' '.join(down)} of {cage.node} down; the cable is good"],
        measured=measured,
    )


@check(
    "L09",
    scope="cage",
    needs=("discovery.neighbours", "discovery.silent", "discovery.down"),
    parents=("N00",),
    far_parents=("N00",),
)
def cabling(cage: CageView, limits: Limits) -> Outcome:
    """The cable leads where the plan says, cage for cage.

    A triangle joins p0 to p1 on every cable. With p0 to p0 every link comes up and NCCL fails with error 110.
    """
    reading = cage.reading
    finding = cage_finding(reading.plan, reading.discoveries, (cage.node, cage.cage))
    measured = {"heard": [":".join(plug) for plug in finding.heard]}
    threshold = {"planned": [":".join(plug) for plug in finding.expected]}
    if finding.state == "right":
        return passed(finding.sentence, measured=measured, threshold=threshold)
    remedy = [step.action for step in cabling_steps(reading.plan, reading.discoveries)]
    if finding.state in ("silent", "absent"):
        return unknown(finding.sentence, cause="environment", remedy=remedy, measured=measured, threshold=threshold)
    # A cable to a switch that is seen by nobody is no plug in a wrong cage.
    lost = reading.plan["topology"] == "switch" and finding.state == "down"
    cause: Cause = "hardware" if lost else "configuration"
    return failed(finding.sentence, cause=cause, remedy=remedy, measured=measured, threshold=threshold)
