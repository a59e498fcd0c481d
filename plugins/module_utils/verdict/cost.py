# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pair matrix cost: its wall time against the time for which its tools ran."""

from __future__ import annotations

import typing as t

from ..contracts import BandwidthRun, MatrixCost, Pair, RdmaMeasurement
from ..shape import fits


def matrix_cost(nodes: t.Iterable[str], measurements: t.Mapping[str, t.Any]) -> MatrixCost | None:
    """None where a node sent no measurement, or nothing was measured.

    Two tools that run side by side on the halves of one cable count once, as the longer of them. Where two pairs of
    four nodes measure at the same time both count, so the ratio can be below 1.
    """
    found = [measurements.get(node) for node in nodes]
    if not found or not all(fits(measurement, RdmaMeasurement) for measurement in found):
        return None
    measured = t.cast("list[RdmaMeasurement]", found)
    slots = [slot["duration_s"] for each in measured for slot in (*each["directions"], *each["pairs"])]
    if not slots:
        return None
    wall, tools = max(each["duration_s"] for each in measured), _sum(_tools(measured))
    return {
        "wall_s": round(wall, 2),
        "slots_s": round(sum(slots), 2),
        "tools_s": tools,
        "ratio": round(wall / tools, 3) if tools else None,
    }


def _tools(measured: t.Iterable[RdmaMeasurement]) -> t.Iterator[float | None]:
    for each in measured:
        for direction in each["directions"]:
            latency = direction["latency"]
            yield from (run.get("duration_s") for run in direction["bandwidth"])
            yield from [] if latency is None else [latency.get("duration_s")]
        for pair in each["pairs"]:
            yield from _side_by_side(pair)


def _side_by_side(pair: Pair) -> t.Iterator[float | None]:
    for together in zip(*(half["bandwidth"] for half in pair["halves"]), strict=False):
        yield _longest(together)


def _longest(runs: t.Iterable[BandwidthRun]) -> float | None:
    durations = [run.get("duration_s") for run in runs]
    return None if None in durations else max(duration or 0.0 for duration in durations)


def _sum(durations: t.Iterable[float | None]) -> float | None:
    """None as soon as one is not known: a part of the tools would make the rest look dear."""
    known = list(durations)
    return None if None in known else round(sum(duration or 0.0 for duration in known), 2)
