# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""N10: the clock of the GPU under load."""

from __future__ import annotations

import typing as t

from ...contracts import NcclGpuLoad
from ..limits import AtLeast, Limits
from ..outcome import Outcome, degraded, failed, graded, unknown
from ..registry import check
from ..signatures import WEDGE, remedies
from ..views import NodeView


@check(
    "N10",
    scope="node",
    needs=("rank.gpu_load",),
    parents=("N00", "N09"),
    gap_parents=("N14",),
    limits={"clock_mhz": AtLeast, "power_w": AtLeast, "utilisation": AtLeast, "samples": AtLeast},
    active=True,
)
def clock_under_load(node: NodeView, limits: Limits) -> Outcome:
    """The GPU reaches its clock while it multiplies matrices, by the median of a look each second.

    A power brick whose USB-PD controller is wedged leaves 507-850 MHz and 5-15 W at full utilisation, and no throttle
    flag. Idle clocks and throttle flags prove nothing, and are not read. A value that is [N/A] is not known.
    """
    load = t.cast(NcclGpuLoad, node.rank["gpu_load"])  # `needs` has seen it
    clock, power = limits.get(AtLeast, "clock_mhz"), limits.get(AtLeast, "power_w")
    details: dict[str, t.Any] = {
        "measured": {key: value for key, value in load.items() if key != "problem"},
        "threshold": clock.shown() | {"power_w": power.min},
    }
    why = _says_nothing(load, limits)
    if why is not None or load["clock_mhz"] is None:
        again = [f"see what nvidia-smi says on {node.node} under load, and measure again"]
        return unknown(why or "nvidia-smi does not tell the clock", remedy=again, **details)
    found = f"{load['clock_mhz']:.0f} MHz" + ("" if load["power_w"] is None else f" and {load['power_w']:.0f} W")
    grade = clock.grade(load["clock_mhz"])
    if grade != "fail":
        cooler = [f"see that {node.node} gets air and measure again; below {clock.degraded_min:.0f} MHz it is a fault"]
        return graded(grade, f"{found} under load", cause="environment", remedy=cooler, **details)
    if load["power_w"] is None:
        return unknown(f"{found} under load, and nvidia-smi does not tell the power", **details)
    if power.grade(load["power_w"]) == "pass":
        # The catalogue calls a low clock a fault only with little power: this one has its power and spends it.
        return degraded(
            f"{found} under load: too slow, but not for want of power",
            cause="environment",
            remedy=[f"see that {node.node} gets air and nobody limits its clock (nvidia-smi -rgc), then measure again"],
            **details,
        )
    return failed(
        f"{found} under load, expected {clock.min:.0f} MHz: its power supply is stuck",
        cause="hardware",
        remedy=remedies(WEDGE, node.node),
        signature=WEDGE,
        **details,
    )


def _says_nothing(load: NcclGpuLoad, limits: Limits) -> str | None:
    if load["samples"] == 0:
        return f"no clock under load: {load['problem'] or 'nobody looked'}"
    if limits.get(AtLeast, "samples").grade(load["samples"]) != "pass":
        return f"only {load['samples']} samples of the clock under load"
    if load["utilisation"] is not None and limits.get(AtLeast, "utilisation").grade(load["utilisation"]) != "pass":
        return f"the GPU was at {load['utilisation']:.0f} %, so its clock says nothing"
    return None
