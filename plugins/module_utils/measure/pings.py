# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every peer of this node pinged over the planned interface, small and as large as the plan's MTU (L11).

All at once, before the matrix; each node does its own, so that both directions are asked.
"""

from __future__ import annotations

import hashlib
import time
import typing as t

from ..probe.error import ProbeError
from ..probe.ping import COUNT, DEADLINE_S, SMALL_BYTES, local_mtu, parse_received, payload, ping_argv

if t.TYPE_CHECKING:
    from ..contracts import Ping
    from ..host import CommandResult, Host, Process
    from .hello import Link

_NOT_FOUND = 127
_GRACE_S = 5.0  # beyond ping's own deadline, on a machine that is busy


def ping_peers(host: Host, node: str, links: t.Sequence[Link], mtu: int, meanwhile: t.Callable[[], None]) -> list[Ping]:
    """Ping the far ends of these links; ``meanwhile`` is called again and again while that lasts."""
    size = payload(mtu)
    limit_s = DEADLINE_S + round(_GRACE_S)
    started = [
        (
            link,
            [
                host.start(ping_argv(link.own["netdev"], link.peer["ipv4"], each), limit_s)
                for each in (size, SMALL_BYTES)
            ],
        )
        for link in links
    ]
    processes = [process for _link, pair in started for process in pair]
    try:
        deadline = time.monotonic() + limit_s
        while any(process.running for process in processes) and time.monotonic() < deadline:
            meanwhile()
    except BaseException:
        _kill(processes)
        raise
    return [
        _ping(node, link, size, *(process.wait(0 if process.running else 5) for process in pair))
        for link, pair in started
    ]


def _kill(processes: t.Iterable[Process]) -> None:
    for process in processes:
        if process.running:
            process.kill()


def _ping(node: str, link: Link, size: int, large: CommandResult, small: CommandResult) -> Ping:
    received, problem = _received(large)
    small_received, small_problem = _received(small)
    return {
        "path": link.path,
        "from_node": node,
        "to_node": link.peer["node"],
        "size_bytes": size,
        "asked": COUNT,
        "received": received,
        "small_received": small_received,
        "problem": problem or small_problem,
        "argv": large.argv,
        "rc": large.rc,
        "raw_sha256": hashlib.sha256((large.stdout + large.stderr).encode()).hexdigest(),
    }


def _received(result: CommandResult) -> tuple[int | None, str | None]:
    if result.rc == _NOT_FOUND:
        return None, "ping is not installed: install the package iputils-ping"
    text = result.stdout + result.stderr
    mtu = local_mtu(text)
    try:
        return parse_received(text), None if mtu is None else f"this node itself sends no more than {mtu} bytes at once"
    except ProbeError as error:
        return None, str(error)
