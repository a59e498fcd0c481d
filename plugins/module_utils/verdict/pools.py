# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes could still serve together."""

from __future__ import annotations

import itertools

from .judge import cluster_outcomes
from .records import Records, concerns, path_nodes, refuses
from .views import Reading


def valid_pools(reading: Reading, records: Records) -> list[list[str]]:
    """Every set of nodes whose node checks and paths all pass, the largest first."""
    nodes = list(reading.plan["nodes"])
    refused = [record for record in records if refuses(record)]
    bad = {record["subject"]["node"] for record in refused if set(record["subject"]) == {"node"}}
    broken = {
        frozenset(path_nodes(path))
        for path in reading.plan["paths"]
        if any(concerns(record, path) for record in refused)
    }
    joined = {frozenset(path_nodes(path)) for path in reading.plan["paths"]} - broken
    good = [node for node in nodes if node not in bad]
    return [
        list(pool)
        for size in range(len(good), 0, -1)
        for pool in itertools.combinations(good, size)
        if all(frozenset(pair) in joined for pair in itertools.combinations(pool, 2))
        and all(outcome.name == "pass" for outcome in cluster_outcomes(reading, pool))
    ]
