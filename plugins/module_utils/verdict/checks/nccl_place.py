# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""N15-N17: what a rank found in the image or virtual environment that will serve. N06-N08 ask the same of the host."""

from __future__ import annotations

import typing as t

from ...contracts import NcclInside
from ..limits import AtLeast, Limits, OneOf
from ..outcome import Outcome, degraded, failed, passed
from ..registry import check
from ..views import RankView
from .node import against_the_fabric, unlimited


def _inside(rank: RankView) -> NcclInside:
    return t.cast(NcclInside, rank.rank["inside"])  # `needs` has seen it


def _place(rank: RankView) -> str:
    runtime = rank.rank["runtime"]
    return runtime["image"] or runtime["python"]


@check(
    "N15",
    scope="rank",
    needs=("rank.inside.memlock_kib", "rank.runtime"),
    parents=("N00",),
    gap_parents=("N14",),
    limits={"memlock_gib": AtLeast},
    active=True,
)
def memlock_inside(rank: RankView, limits: Limits) -> Outcome:
    """What serves may lock as much memory as RDMA registers: unlimited, in its image, with its run flags."""
    remedy = f"run what serves on {rank.node} with --ulimit memlock=-1, or as a unit with LimitMEMLOCK=infinity"
    return unlimited(_inside(rank)["memlock_kib"], limits, f" in {_place(rank)}", remedy)


@check(
    "N16",
    scope="rank",
    needs=("rank.inside.uverbs", "rank.inside.verbs_library", "rank.runtime"),
    parents=("N00", "N07"),
    explained_by=("C02",),
    gap_parents=("N14",),
    active=True,
)
def verbs_inside(rank: RankView, limits: Limits) -> Outcome:
    """What serves sees a uverbs file for each planned half, and libibverbs loads. Else NCCL goes over TCP silently.

    Where it did, C02 is the finding, and this is the reason that it names.
    """
    missing = missing_verbs(rank)
    inside = _inside(rank)
    measured = {"uverbs": inside["uverbs"], "verbs_library": inside["verbs_library"], "planned": len(rank.planned)}
    if missing is None:
        return passed(f"{len(inside['uverbs'])} devices", measured=measured)
    return failed(
        f"{_place(rank)}: {missing}",
        cause="configuration",
        remedy=[f"see that what serves on {rank.node} has /dev/infiniband and libibverbs"],
        measured=measured,
        signature="no-verbs",
    )


def missing_verbs(rank: RankView) -> str | None:
    """What a rank lacks for RDMA where it runs; None when it has all."""
    inside = _inside(rank)
    if len(inside["uverbs"]) < len(rank.planned):
        return f"{len(inside['uverbs'])} uverbs files for {len(rank.planned)} halves"
    return None if inside["verbs_library"] else "libibverbs does not load"


@check(
    "N17",
    scope="rank",
    needs=("rank.inside.nccl_files", "rank.inside.environment", "rank.runtime"),
    parents=("N00", "N08"),
    gap_parents=("N14",),
    limits={"harmless": OneOf},
    active=True,
)
def settings_inside(rank: RankView, limits: Limits) -> Outcome:
    """Neither the environment of the image nor an nccl.conf in it sets NCCL against the fabric (N08)."""
    inside, place = _inside(rank), _place(rank)
    sources = [(file["path"], file["settings"]) for file in inside["nccl_files"]]
    sources.append(("the environment", inside["environment"]))
    wrong, foreign = against_the_fabric(sources, rank.env, limits.get(OneOf, "harmless").values)
    measured = {"files": [file["path"] for file in inside["nccl_files"]], "wrong": wrong, "foreign": foreign}
    if wrong:
        return failed(
            f"{place}: {', '.join(wrong)}",
            cause="configuration",
            remedy=[f"take {wrong[0].split('=')[0]} out of what serves on {rank.node}, or use an image without it"],
            measured=measured,
            signature="nccl-residue",
        )
    if foreign:
        return degraded(
            f"{place}: nobody planned {', '.join(foreign)}",
            cause="configuration",
            remedy=[f"take these keys out of what serves on {rank.node}, or list them as N17.harmless in the profile"],
            measured=measured,
        )
    return passed("nothing set against the fabric", measured=measured)
