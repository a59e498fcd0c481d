# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""P06, C06: what every two ranks reached by themselves, and whether all together are as fast as that allows."""

from __future__ import annotations

import statistics
import typing as t

from ...contracts import NcclRun
from ..limits import AtLeast, AtMost, Bands, Equals, Limits
from ..outcome import Outcome, failed, graded, passed, unknown
from ..registry import check
from ..signatures import classify
from ..spread import spread_of
from ..views import CollectiveView, RankPairView
from .nccl_collective import HARNESSES, MIB, gathers, judged_size, no_size

_Details = dict[str, t.Any]


@check(
    "P06",
    scope="rank_pair",
    needs=("ranks.runs", "ranks.pairs", "ranks.pair_transports", "ranks.harness"),
    parents=("N00", "N10", "N14", "C02", "C03", "C05", "P01", "P02", "P03"),
    limits={"size_bytes": Equals, "spread": AtMost},
    optional_limits={
        "torch_pair": AtLeast,
        "signatures": Bands,
        "nccl_tests_size_bytes": Equals,
        "nccl_tests_pair": AtLeast,
        "nccl_tests_signatures": Bands,
    },
    active=True,
)
def pair_bandwidth(pair: RankPairView, limits: Limits) -> Outcome:
    """The bus bandwidth of an all_gather of two ranks: the median of the repeats, of the slower of both.

    It sees what no passive check does: a node at 15 % of its bandwidth for weeks, with every counter at 0. Where two
    ranks are all there are, it is the run of all. With torch the numbers are those at 64 MiB, with nccl-tests at 1 GiB.
    """
    size = judged_size(pair.reading, limits)
    if size is None:
        return no_size(pair.reading)
    repeats = pair.reading.nccl_settings["repeats"]
    runs = {rank["node"]: gathers(pair.runs(rank), size) for rank in pair.ranks}
    details: _Details = {"measured": {"size_bytes": size, "run_of_all": pair.are_all}}
    short = [f"{node} {len(found)}" for node, found in runs.items() if len(found) < repeats]
    if short:
        return unknown(f"fewer than {repeats} runs at {size // MIB} MiB: {', '.join(short)}", **details)
    elsewhere = None if pair.are_all else _elsewhere(pair, details)
    if elsewhere is not None:
        return elsewhere
    slower = min(runs, key=lambda node: _median(runs[node]))
    values = [run["busbw_gbs"] for run in runs[slower]]
    details["measured"] |= {"busbw_gbs": statistics.median(values), "slower": slower, "runs": values}
    return _grade(pair, limits, values, details)


def _elsewhere(pair: RankPairView, details: _Details) -> Outcome | None:
    """Where the pairs of a rank went, when it was not over the planned network alone."""
    expected = f"NET/{pair.env.get('NCCL_NET', 'IB')}"
    transports = {rank["node"]: rank["pair_transports"] for rank in pair.ranks}
    details["measured"]["transports"] = transports
    silent = [node for node, found in transports.items() if not found]
    if silent:
        return unknown(f"the log of {', '.join(silent)} names no channel of a pair", **details)
    others = sorted({name for found in transports.values() for name in found} - {expected})
    if not others:
        return None
    return failed(
        f"goes over {', '.join(others)}, expected {expected} alone",
        cause="configuration",
        remedy=[f"see that what serves on {' and '.join(pair.nodes)} has /dev/infiniband and libibverbs"],
        signature="tcp" if any(name.startswith("NET/Socket") for name in others) else "other-transport",
        **details,
    )


def _grade(pair: RankPairView, limits: Limits, values: list[float], details: _Details) -> Outcome:
    median, nodes = statistics.median(values), " and ".join(pair.nodes)
    again = [f"measure again, with nothing else running on {nodes}"]
    key = f"{pair.reading.harness}_pair"
    limit, most = limits.find(AtLeast, key), limits.get(AtMost, "spread")
    if limit is None:
        how = f"name P06.{key} in a copy of the profile, with the source of the number"
        return unknown("the profile has no threshold for two ranks", remedy=[how], **details)
    details |= {"threshold": limit.shown() | {"spread": most.max}}
    if most.grade(spread_of(values)) != "pass" and limit.grade(max(values)) != "fail":
        return unknown(f"the runs differ by {spread_of(values):.0%}", remedy=again, **details)
    bands = limits.find(Bands, "signatures" if pair.reading.harness == "torch" else "nccl_tests_signatures")
    grade = limit.grade(median)
    known = None
    if bands is not None and grade == "fail":
        known = classify(bands, median, pair.latency_is_normal, pair.reading.plan["topology"])
    looks = f": looks like {known.says}" if known else ""
    return graded(
        grade,
        f"{median:.3g} GB/s, expected at least {limit.min:.3g}{looks}",
        cause="hardware",
        remedy=known.for_nodes(nodes) if known else [*again, f"if unchanged: reboot {nodes} with the cables attached"],
        signature=known.name if known else None,
        **details,
    )


@check(
    "C06",
    scope="collective",
    needs=("ranks.runs", "ranks.pairs", "ranks.harness"),
    parents=("N00", "C04", "C05", "P06"),
    limits={"size_bytes": Equals},
    optional_limits={
        "nccl_tests_size_bytes": Equals,
        **{f"{harness}_{ranks}_ranks": AtLeast for harness in HARNESSES for ranks in (3, 4)},
    },
    active=True,
)
def consistency(collective: CollectiveView, limits: Limits) -> Outcome:
    """All ranks together are as fast as the slowest pair of them allows: a collective is paced by its slowest member.

    What it allows depends on the harness. With nccl-tests three ranks reach what two do, so 0.8 of it is asked; with
    torch three reach 0.6 of it on a healthy triangle.
    """
    if collective.are_pair_at_most:
        return passed("the only pair is all of them")
    size, ranks = judged_size(collective.reading, limits), len(collective.ranks)
    if size is None:
        return no_size(collective.reading)
    together = {rank["node"]: gathers(rank["runs"], size) for rank in collective.ranks}
    apart = {
        f"{rank['node']}>{pair['peer']}": gathers(pair["runs"], size)
        for rank in collective.ranks
        for pair in rank["pairs"]
    }
    found = [*together.values(), *apart.values()]
    if len(apart) < ranks * (ranks - 1) or not all(found):
        return unknown(f"not every pair, or not all ranks together, ran at {size // MIB} MiB")
    all_gbs, pair_gbs = min(map(_median, together.values())), min(map(_median, apart.values()))
    details: _Details = {"measured": {"busbw_gbs": all_gbs, "slowest_pair_gbs": pair_gbs, "size_bytes": size}}
    key = f"{collective.reading.harness}_{ranks}_ranks"
    limit = limits.find(AtLeast, key)
    if limit is None:
        how = f"name C06.{key} in a copy of the profile, with the source of the number"
        return unknown(f"the profile has no ratio for {ranks} ranks", remedy=[how], **details)
    ratio = all_gbs / pair_gbs
    details["measured"] |= {"ratio": round(ratio, 3)}
    return graded(
        limit.grade(ratio),
        f"all ranks reach {ratio:.2f} of the slowest pair, expected at least {limit.min:.2f}",
        cause="hardware",
        remedy=["measure again; if it stays so, leave out one node after the other: with which one does it go?"],
        threshold=limit.shown(),
        **details,
    )


def _median(runs: t.Sequence[NcclRun]) -> float:
    return statistics.median(run["busbw_gbs"] for run in runs)
