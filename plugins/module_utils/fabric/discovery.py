# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at the far end of each fabric netdev. All nodes of a plan run this at the same time."""

from __future__ import annotations

import time
import typing as t

from ..plan.hardware import HALF_PORTS
from .hello import Conversation, Plug, Port, cluster_id
from .wire import PacketWire, Wire, raise_link

if t.TYPE_CHECKING:
    from ..contracts import Discovery, Plan
    from ..host import Host

INTERVAL_S = 0.25
# Once settled, keep talking for a few hellos: the peer still has to hear that it was heard.
FAREWELL_S = 1.0


def fabric_ports(plan: Plan, node: str) -> list[Port]:
    """Every fabric netdev of the node, with the far ends that the plan wants there."""
    # The plan names the planned halves; a plug in an unplanned cage has to be found as well.
    places = {port.netdev: (port.cage, port.half) for port in HALF_PORTS}
    places |= {half["netdev"]: (half["cage"], half["half"]) for half in plan["nodes"][node]["halves"]}
    return [Port(netdev, Plug(node, *place), _expected(plan, Plug(node, *place))) for netdev, place in places.items()]


def _expected(plan: Plan, plug: Plug) -> frozenset[Plug]:
    paths = [[Plug(end["node"], end["cage"], end["half"]) for end in path["ends"]] for path in plan["paths"]]
    return frozenset(end for ends in paths if plug in ends for end in ends if end != plug)


def discover(
    host: Host,
    plan: Plan,
    node: str,
    listen_s: float,
    look_only: bool,
    open_wire: t.Callable[[list[str]], Wire] = PacketWire,
    raise_one: t.Callable[[str], None] = raise_link,
) -> Discovery:
    """Send and listen on all fabric netdevs at once. ``look_only`` leaves a link alone that is down."""
    ports = fabric_ports(plan, node)
    present = [port for port in ports if host.exists(f"/sys/class/net/{port.netdev}")]
    if not look_only:
        for port in present:
            if not _is_up(host, port.netdev):
                raise_one(port.netdev)
    talk = Conversation(cluster_id(plan), present)
    wire = open_wire([port.netdev for port in present])
    try:
        listened_s = _converse(talk, wire, listen_s) if present else 0.0
    finally:
        wire.close()
    lit = [port.netdev for port in present if host.read_line(f"/sys/class/net/{port.netdev}/carrier") == "1"]
    return {
        "node": node,
        "neighbours": talk.neighbours(),
        "silent": [netdev for netdev in lit if not talk.heard_on(netdev)],
        "down": [port.netdev for port in ports if port.netdev not in lit],
        "listened_s": round(listened_s, 1),
    }


def _converse(talk: Conversation, wire: Wire, listen_s: float) -> float:
    start = time.monotonic()
    end = start + listen_s
    next_hello = start
    settled = False
    while (now := time.monotonic()) < end:
        if now >= next_hello:
            for port in talk.ports:
                wire.send(port.netdev, talk.hello(port))
            next_hello = now + INTERVAL_S
        for netdev, payload in wire.receive(min(next_hello, end) - now):
            talk.hear(netdev, payload)
        if talk.settled and not settled:
            settled = True
            end = min(end, time.monotonic() + FAREWELL_S)
    return time.monotonic() - start


def _is_up(host: Host, netdev: str) -> bool:
    return bool(int(host.read_line(f"/sys/class/net/{netdev}/flags") or "0", 16) & 1)
