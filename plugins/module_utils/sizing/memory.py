# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node can give to the engine. Units are bytes; GiB are 2^30 and GB 10^9 (spark-facts 6, rows 3 and 4)."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..contracts.serving import MemoryPlan
from .errors import SizingError

GIB = 2**30
MIB = 2**20

# NVIDIA's and the community's value on Spark: 0.8 (spark-facts 4.5). 0.82 is the most that a churned node gave.
UTILISATION = 0.80
RESERVE = 8 * GIB  # the system, its caches and a shell when things go wrong (spark-facts 6.1)
# CUDA context and NCCL 1-2 GiB, activations 1-4, CUDA graphs 0.5-3 (serving 2.4); spark-facts 6.1 reckons with 4.
OVERHEAD = 4 * GIB
SMALL_NODE = 70 * GIB  # below it the engine's own defaults are smaller (serving 1.9)


@dataclass(frozen=True, slots=True)
class NodeMemory:
    name: str
    total: int
    free: int | None = None  # measured with nothing running and the page cache dropped

    def budget(self, utilisation: float) -> int:
        """A share of the whole, but never more than what is free less the reserve."""
        share = int(self.total * utilisation)
        return share if self.free is None else min(share, self.free - RESERVE)


def smallest(nodes: t.Sequence[NodeMemory], utilisation: float) -> NodeMemory:
    """The node that decides: all ranks get the same flags."""
    if not nodes:
        raise SizingError("no node to plan for; give at least one")
    for node in nodes:
        if node.free is not None and node.free > node.total:
            raise SizingError(f"{node.name} has {node.free} bytes free of {node.total}; the free memory is wrong")
    return min(nodes, key=lambda node: node.budget(utilisation))


def memory_plan(nodes: t.Sequence[NodeMemory], utilisation: float) -> MemoryPlan:
    node = smallest(nodes, utilisation)
    return {
        "node": node.name,
        "total_bytes": node.total,
        "free_bytes": node.free,
        "reserve_bytes": RESERVE,
        "budget_bytes": max(0, node.budget(utilisation)),
        "overhead_bytes": OVERHEAD,
    }


def batched_tokens(nodes: t.Sequence[NodeMemory]) -> int:
    """Tokens that one step computes at most: the engine's default for such a node, given so that it cannot move."""
    return 8192 if min(node.total for node in nodes) >= SMALL_NODE else 2048
