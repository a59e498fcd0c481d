# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far repeats of one measurement lie apart."""

from __future__ import annotations

import statistics
import typing as t


def spread_of(values: t.Sequence[float]) -> float:
    """As a part of the median."""
    median = statistics.median(values)
    return (max(values) - min(values)) / median if median > 0 else 0.0
