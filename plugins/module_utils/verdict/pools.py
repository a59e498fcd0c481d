# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes could still serve together."""

from __future__ import annotations

import itertools

from .checks import CHECKS
from .judge import cluster_outcomes
from .records import Records, concerns, is_of_two_ranks, is_root, pair_nodes, path_nodes, refuses
from .registry import Scope
from .views import Reading


def valid_pools(reading: Reading, records: Records) -> list[list[str]]:
    """Every set of nodes against which nothing was found, the largest first.

    What NCCL did wrong on a node leaves that node alone as it is, and between two nodes both of them. A collective over
    all nodes that fails says nothing about fewer of them; those are measured when they are the plan.
    """
    nodes = list(reading.plan["nodes"])
    refused = [record for record in records if refuses(record)]
    roots = list(filter(is_root, refused))
    bad, alone = _with_findings(roots, "node"), _with_findings(roots, "rank")
    broken = {
        frozenset(path_nodes(path))
        for path in reading.plan["paths"]
        if any(concerns(record, path) for record in refused)
    }
    broken |= {frozenset(pair_nodes(record)) for record in roots if is_of_two_ranks(record)}
    joined = {frozenset(path_nodes(path)) for path in reading.plan["paths"]} - broken
    good = [node for node in nodes if node not in bad]
    return [
        list(pool)
        for size in range(len(good), 0, -1)
        for pool in itertools.combinations(good, size)
        if not (refused and len(pool) == len(nodes) > 1)
        and (len(pool) == 1 or alone.isdisjoint(pool))
        and all(frozenset(pair) in joined for pair in itertools.combinations(pool, 2))
        and (
            (not refused and len(pool) == len(nodes))
            or all(outcome.name == "pass" for outcome in cluster_outcomes(reading, pool))
        )
    ]


def _with_findings(records: Records, scope: Scope) -> set[str]:
    """The nodes that these records of one scope are about."""
    return {record["subject"]["node"] for record in records if CHECKS[record["check"]].scope == scope}
