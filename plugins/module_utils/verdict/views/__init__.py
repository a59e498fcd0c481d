# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check gets to see: one subject of the plan with everything that was read and measured about it.

Subjects come from the plan alone. A node that did not answer is still a subject; only its sources are empty.
"""

from __future__ import annotations

import typing as t

from ..registry import Scope
from .half import CageView, HalfView, planned_cages
from .node import ClusterView, NodeView
from .number import NumberView, measured_numbers, number_views
from .rank import OF_FABRIC, CollectiveView, RankPairView, RankView, collective_views, rank_pair_views, rank_views
from .reading import OF_NCCL, Reading, judged_runs
from .view import View
from .way import DirectionView, PairView

__all__ = [
    "OF_NCCL",
    "CageView",
    "ClusterView",
    "CollectiveView",
    "DirectionView",
    "HalfView",
    "NodeView",
    "NumberView",
    "PairView",
    "RankPairView",
    "RankView",
    "Reading",
    "View",
    "judged_runs",
    "measured_numbers",
    "planned_cages",
    "views",
]

_SUBJECTS: dict[Scope, t.Callable[[Reading], t.Iterator[View]]] = {
    **OF_FABRIC,
    "rank": rank_views,
    "rank_pair": rank_pair_views,
    "collective": collective_views,
    "number": number_views,
}


def views(scope: Scope, reading: Reading) -> t.Iterator[View]:
    """Every subject of a scope, in the order of the plan."""
    return _SUBJECTS[scope](reading)
