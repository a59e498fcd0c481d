# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of several nodes is the odd one."""

from __future__ import annotations

import collections
import typing as t

ODD = "odd_nodes"  # where a comparison of nodes keeps it among what it measured


def odd_ones(values: t.Mapping[str, object]) -> list[str]:
    """The nodes that are not as more than half of them are; none when there is no such majority."""
    counts = collections.Counter(str(value) for value in values.values())
    common, count = counts.most_common(1)[0]
    return [node for node, value in values.items() if str(value) != common] if 2 * count > len(values) else []
