# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The GID table of an RDMA port. Its index differs between devices of one host, so it is looked up by address (L06)."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ..contracts import GidFacts

ROCE_V2 = "RoCE v2"
# rxe has 1024 slots and reading them all takes seconds under emulation (health-checks 3.1).
EMPTY_SLOTS_BEFORE_END = 16

_MAPPED = ("0000", "0000", "0000", "0000", "0000", "ffff")


def gid_ipv4(gid: str) -> str | None:
    """The IPv4 address in an IPv4-mapped GID: 0000:...:ffff:0ad2:0001 is 10.210.0.1."""
    groups = tuple(gid.strip().lower().split(":"))
    if len(groups) != 8 or groups[:6] != _MAPPED:
        return None
    try:
        high, low = (int(group, 16) for group in groups[6:])
    except ValueError:
        return None
    return f"{high >> 8}.{high & 0xFF}.{low >> 8}.{low & 0xFF}"


def is_empty(gid: str | None) -> bool:
    return not gid or not gid.replace(":", "").strip("0")


def read_gids(read: t.Callable[[str], str | None]) -> list[GidFacts]:
    """Collect the used slots. ``read`` takes a path below `ports/N/`, for example `gids/3`, and may answer None."""
    found: list[GidFacts] = []
    index = empty = 0
    while empty < EMPTY_SLOTS_BEFORE_END:
        gid = read(f"gids/{index}")
        if gid is None or is_empty(gid):
            empty += 1
        else:
            empty = 0
            found.append(
                {
                    "index": index,
                    "type": read(f"gid_attrs/types/{index}") or "",
                    "netdev": read(f"gid_attrs/ndevs/{index}") or None,
                    "gid": gid,
                    "ipv4": gid_ipv4(gid),
                }
            )
        index += 1
    return found


def gid_index(gids: t.Sequence[GidFacts], ipv4: str) -> int | None:
    """The slot that holds an address as RoCE v2."""
    return next((gid["index"] for gid in gids if gid["ipv4"] == ipv4 and gid["type"] == ROCE_V2), None)
