# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""N14, C11: which NCCL the ranks had mapped, in the image or virtual environment that will serve."""

from __future__ import annotations

import typing as t

from ...contracts import NcclLibrary
from ..limits import Limits, MinVersion, OneOf
from ..majority import ODD, odd_ones
from ..outcome import Outcome, failed, passed, unknown
from ..registry import check
from ..views import ClusterView, RankView


@check(
    "N14",
    scope="rank",
    needs=(
        "rank.library.version",
        "rank.library.headers",
        "rank.library.path",
        "rank.library.build_id",
        "rank.library.others",
    ),
    parents=("N00", "N09"),
    far_parents=("N00", "N09"),
    limits={"ring_version": MinVersion},
    optional_limits={"mounted": OneOf},
    active=True,
)
def library(rank: RankView, limits: Limits) -> Outcome:
    """One NCCL is mapped, the one that its user was built with, and on a triangle it routes by subnet.

    Two libraries in one process are a split brain, and the loader has picked an old one under new headers. A triangle
    without the mesh plugin needs 2.30.7 and its subnet-aware routing. A library that is mounted over that of the image
    differs from the headers on purpose; the profile then names its build-id.
    """
    mapped = t.cast(NcclLibrary, rank.rank["library"])  # `needs` has seen it
    routes = rank.env.get("NCCL_IB_SUBNET_AWARE_ROUTING") == "1"
    oldest = limits.get(MinVersion, "ring_version")
    details: dict[str, t.Any] = {
        "measured": {key: mapped[key] for key in ("version", "headers", "path", "build_id", "size_bytes", "others")}
        | {"subnet_aware_routing": mapped["subnet_aware_routing"]},
        "threshold": oldest.shown() if routes else {},
    }
    if mapped["others"]:
        return failed(
            f"more than one NCCL is mapped: {', '.join([str(mapped['path']), *mapped['others']])}",
            cause="software",
            remedy=[f"take LD_PRELOAD and VLLM_NCCL_SO_PATH out of what serves on {rank.node}, or all but one library"],
            signature="two-libraries",
            **details,
        )
    if routes and mapped["subnet_aware_routing"] is None:
        return unknown("whether this NCCL has subnet-aware routing is not known", **details)
    wrong = _wrong_version(mapped, limits, routes)
    if wrong is None:
        return passed(f"NCCL {mapped['version']}", **details)
    ways_out = _ways_out(rank, oldest) if routes else [f"use an image for {rank.node} with the NCCL it was built with"]
    return failed(wrong, cause="software", remedy=ways_out, signature="wrong-library", **details)


def _wrong_version(mapped: NcclLibrary, limits: Limits, routes: bool) -> str | None:
    version, oldest, mounted = mapped["version"], limits.get(MinVersion, "ring_version"), limits.find(OneOf, "mounted")
    if routes and oldest.grade(str(version)) != "pass":
        return f"NCCL {version} cannot route a triangle, {oldest.min_version} can"
    if routes and mapped["subnet_aware_routing"] is not True:
        return f"NCCL {version} was built without subnet-aware routing, which a triangle needs"
    if mapped["headers"] != version and not (mounted and mapped["build_id"] in mounted.values):
        return f"NCCL {version} is mapped, and what uses it was built with {mapped['headers']}"
    return None


def _ways_out(rank: RankView, oldest: MinVersion) -> list[str]:
    return [
        f"use an image for {rank.node} with NCCL {oldest.min_version} or newer",
        f"or mount such a library into {rank.node}'s and name its build-id as N14.mounted in a copy of the profile",
        "or set fabric_nccl_routing to mesh_plugin and install that plugin",
    ]


@check("C11", scope="cluster", needs=("ranks.library.build_id",), parents=("N14",), active=True)
def same_library(cluster: ClusterView, limits: Limits) -> Outcome:
    """All ranks have the same NCCL, by its build-id: two that both say 2.28.9 were different and hung.

    Not a part of C01, which must hold where NCCL is not measured, and must not be withheld where one node's library is
    wrong by itself.
    """
    libraries = {rank["node"]: t.cast(NcclLibrary, rank["library"]) for rank in cluster.ranks}
    ids = {node: str(mapped["build_id"]) for node, mapped in libraries.items()}
    images = {rank["node"]: rank["runtime"]["image_id"] for rank in cluster.ranks}
    measured = {"build_ids": ids, "image_ids": images}
    if len(set(ids.values())) <= 1:
        return passed("one NCCL" if ids else "one node has nothing to compare", measured=measured)
    said = ", ".join(f"{node} {mapped['version']} {ids[node][:12]}" for node, mapped in libraries.items())
    odd = odd_ones(ids)
    remedy = "bring the same image, or the same virtual environment, to all nodes"
    if odd:
        remedy = f"bring the image, or the virtual environment, of the others to {' and '.join(odd)}"
    return failed(
        f"the NCCL differs: {said}",
        cause="software",
        remedy=[remedy],
        measured=measured | {ODD: odd},
        signature="different-libraries",
    )
