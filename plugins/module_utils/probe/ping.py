# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ping` of iputils: the command for one path, and what it printed (health-checks L11).

Not that of busybox, which knows no `-M do`, nor that of inetutils. How many requests left is no use: while an interface
refuses them iputils counts none as transmitted, so answers are compared with what was asked for.
"""

from __future__ import annotations

import re

from .error import ProbeError, excerpt

COUNT = 3
SMALL_BYTES = 56
DEADLINE_S = 10  # a request that was lost is sent again until then: loss is for L08 to see, here only the size matters
_HEADERS = 28  # IPv4 and ICMP

_RECEIVED = re.compile(r"^\d+ packets transmitted, (\d+) received\b", re.MULTILINE)
_TOO_LONG = re.compile(r"local error: message too long, mtu=(\d+)")


def payload(mtu: int) -> int:
    """What fills a packet of this MTU."""
    return mtu - _HEADERS


def ping_argv(netdev: str, peer: str, size_bytes: int) -> list[str]:
    """Requests that no router and no host may split, over this interface and no other."""
    limits = ["-n", "-c", str(COUNT), "-i", "0.3", "-w", str(DEADLINE_S)]
    return ["ping", *limits, "-M", "do", "-s", str(size_bytes), "-I", netdev, peer]


def parse_received(text: str) -> int:
    """How many answers came."""
    found = _RECEIVED.search(text)
    if found is None:
        raise ProbeError(f"`ping` printed no statistics of iputils but {excerpt(text)}")
    return int(found[1])


def local_mtu(text: str) -> int | None:
    """The MTU for which this node itself refused to send, if it did."""
    found = _TOO_LONG.search(text)
    return int(found[1]) if found else None
