# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers measure each other, so all nodes must run at the same time. What in the command line or play prevents it?"""

from __future__ import annotations

import typing as t


def obstacles(
    nodes: t.Sequence[str], forks: int, targeted: t.Collection[str], active: t.Collection[str], batch: t.Collection[str]
) -> list[str]:
    """One sentence for each obstacle.

    ``targeted``: the hosts of the play after --limit; ``active``: those still running; ``batch``: those of them that
    run now. A node that was targeted and is no longer active is unreachable, which the verdict says.
    """
    found = []
    left_out = [node for node in nodes if node not in targeted]
    if left_out:
        found.append(
            f"{', '.join(left_out)} {_be(left_out)} not part of this play; the fabric is measured between all"
            f" {len(nodes)} nodes: run without --limit, over the whole group"
        )
    later = [node for node in nodes if node in active and node not in batch]
    if later:
        found.append(
            f"{', '.join(later)} would run in a later batch; peers measure each other at the same time:"
            " remove serial from the play that runs role gate"
        )
    if forks < len(nodes):
        found.append(
            f"forks is {forks}, and {len(nodes)} nodes measure at the same time: set forks = {len(nodes)} or more"
            f" in ansible.cfg, or run with -f {len(nodes)}"
        )
    return found


def _be(nodes: t.Sized) -> str:
    return "is" if len(nodes) == 1 else "are"
