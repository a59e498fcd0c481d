# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C04, C05: what all ranks reached together, and whether their data were right."""

from __future__ import annotations

import statistics
import typing as t

from ...contracts import (
    Evidence,
    Failure,
    NcclHarness,
    NcclMeasurement,
    NcclRun,
    NcclSettings,
    NcclTestsSettings,
)
from ..limits import AtLeast, AtMost, Equals, Limits
from ..outcome import Outcome, failed, graded, passed, unknown
from ..registry import check
from ..spread import spread_of
from ..views import CollectiveView, Reading

_CUT = 1024  # an all_gather is cut to equal shares of whole 16 bytes, so it is a little smaller than asked for
MIB = 1024 * 1024
HARNESSES: tuple[NcclHarness, ...] = ("torch", "nccl_tests")
_BLAMING = ("hardware", "configuration", "software")

_Details = dict[str, t.Any]


@check(
    "C04",
    scope="collective",
    needs=("ranks.runs", "ranks.harness"),
    parents=("N00", "N10", "C02", "C03", "C05", "P01", "P02", "P03", "P06"),
    limits={"size_bytes": Equals, "spread": AtMost},
    optional_limits={
        "nccl_tests_size_bytes": Equals,
        **{f"{harness}_{ranks}_ranks": AtLeast for harness in HARNESSES for ranks in (2, 3, 4)},
    },
    active=True,
)
def bandwidth(collective: CollectiveView, limits: Limits) -> Outcome:
    """The bus bandwidth of an all_gather over all nodes: the median of the repeats, of the slowest rank.

    With torch the number is that at 64 MiB, where three healthy ranks leave 5.8 GB/s; nccl-tests measures four times as
    much of the same fabric, and is judged at 1 GiB. At other sizes it is only recorded.
    """
    if not collective.ranks:
        return passed("one node alone has no fabric")
    size, ranks = judged_size(collective.reading, limits), len(collective.ranks)
    if size is None:
        return no_size(collective.reading)
    runs = {rank["node"]: gathers(rank["runs"], size) for rank in collective.ranks}
    settings = collective.reading.nccl_settings
    details: _Details = {"measured": {"size_bytes": size, "ranks": ranks, "others": _other_sizes(collective, size)}}
    short = [f"{node} {len(found)}" for node, found in runs.items() if len(found) < settings["repeats"]]
    if short:
        return unknown(f"fewer than {settings['repeats']} runs at {size // MIB} MiB: {', '.join(short)}", **details)
    medians = {node: statistics.median(run["busbw_gbs"] for run in found) for node, found in runs.items()}
    slowest = min(medians, key=lambda node: medians[node])
    values = [run["busbw_gbs"] for run in runs[slowest]]
    details["measured"] |= {"busbw_gbs": medians[slowest], "slowest": slowest, "runs": values}
    return _grade(collective, limits, values, details)


def judged_size(reading: Reading, limits: Limits) -> int | None:
    """The size at which the harness is judged; None when the profile does not name it."""
    limit = limits.find(Equals, "size_bytes" if reading.harness == "torch" else f"{reading.harness}_size_bytes")
    return None if limit is None else int(limit.equals)


def no_size(reading: Reading) -> Outcome:
    how = f"name {reading.harness}_size_bytes of this check in a copy of the profile, with its source"
    return unknown(f"the profile has no size for the harness {reading.harness}", remedy=[how])


def gathers(runs: t.Sequence[NcclRun], size: int) -> list[NcclRun]:
    """The runs of an all_gather of this size that count: a warm-up never does."""
    return [
        run
        for run in runs
        if run["collective"] == "all_gather" and not run["warmup"] and 0 <= size - run["size_bytes"] <= _CUT
    ]


def _other_sizes(collective: CollectiveView, judged: int) -> dict[str, float]:
    """The same for every other size of the profile: "1024 MiB" -> GB/s of the slowest rank."""
    found: dict[str, float] = {}
    for size in collective.reading.nccl_settings["sizes_bytes"]:
        runs = [[run["busbw_gbs"] for run in gathers(rank["runs"], size)] for rank in collective.ranks]
        if size != judged and all(runs):
            found[f"{size // MIB} MiB"] = min(map(statistics.median, runs))
    return found


def _grade(collective: CollectiveView, limits: Limits, values: list[float], details: _Details) -> Outcome:
    ranks, median = len(collective.ranks), statistics.median(values)
    again = ["measure again, with nothing else running on any node"]
    key = f"{collective.reading.harness}_{ranks}_ranks"
    limit = limits.find(AtLeast, key)
    if limit is None:
        how = f"name C04.{key} in a copy of the profile, with the source of the number"
        return unknown(f"the profile has no threshold for {ranks} ranks with this harness", remedy=[how], **details)
    most = limits.get(AtMost, "spread")
    details |= {"threshold": limit.shown() | {"spread": most.max}}
    if most.grade(spread_of(values)) != "pass" and limit.grade(max(values)) != "fail":
        return unknown(f"the runs differ by {spread_of(values):.0%}", remedy=again, **details)
    return graded(
        limit.grade(median),
        f"{median:.3g} GB/s, expected at least {limit.min:.3g}",
        cause="hardware",
        remedy=[*again, "see GPU clock and memory of every node: each path and each half is as it should be"],
        **details,
    )


@check(
    "C05",
    scope="collective",
    needs=("ranks.runs", "ranks.pairs", "ranks.left_out"),
    parents=("N00", "N15", "C02", "P01"),
    active=True,
)
def correct(collective: CollectiveView, limits: Limits) -> Outcome:
    """Every run of every rank ended, with the right data."""
    if not collective.ranks:
        return passed("one node alone has no fabric")
    wrong = {rank["node"]: sum(run["wrong"] for run in _all_runs(rank)) for rank in collective.ranks}
    measured = {"wrong": wrong, "runs": {rank["node"]: len(rank["runs"]) for rank in collective.ranks}}
    if any(wrong.values()):
        said = ", ".join(f"{count} elements on {node}" for node, count in wrong.items() if count)
        return failed(
            f"wrong data: {said}",
            cause="hardware",
            remedy=["serve nothing on these nodes; swap cables, then nodes: with which one do the wrong data go?"],
            measured=measured,
            signature="wrong-data",
        )
    failures = [(rank["node"], rank["failure"]) for rank in collective.ranks if rank["failure"] is not None]
    if failures:
        # A rank that only lost another calls that the environment; the other says why.
        return _broken(*min(failures, key=lambda each: each[1]["cause"] not in _BLAMING), measured)
    settings = collective.reading.nccl_settings
    short = [rank["node"] for rank in collective.ranks if len(rank["runs"]) < _expected(settings, rank)]
    if short:
        return unknown(f"some runs of {', '.join(short)} are missing", measured=measured)
    return passed("every element of every run", measured=measured)


def _all_runs(rank: NcclMeasurement) -> list[NcclRun]:
    return [*rank["runs"], *(run for pair in rank["pairs"] for run in pair["runs"])]


def _expected(settings: NcclSettings | NcclTestsSettings, rank: NcclMeasurement) -> int:
    """Both collectives, at every size for which there was memory; at least one."""
    sizes = len(settings["sizes_bytes"]) - len(rank["left_out"])
    return 2 * max(sizes, 1) * (settings["warmup"] + settings["repeats"])


def _broken(node: str, failure: Failure, measured: dict[str, t.Any]) -> Outcome:
    evidence: Evidence = {"argv": failure["argv"], "rc": failure["rc"], "raw_sha256": failure["raw_sha256"]}
    message = f"{node}: {failure['stage']}: {failure['message']}"
    if failure["cause"] in _BLAMING:
        remedy = [f"look at what serves on {node}"]
        return failed(message, cause=failure["cause"], remedy=remedy, measured=measured, evidence=evidence)
    remedy = ["see that all nodes measure at the same time and reach rank 0 over the management network"]
    return unknown(message, cause=failure["cause"], remedy=remedy, measured=measured, evidence=evidence)
