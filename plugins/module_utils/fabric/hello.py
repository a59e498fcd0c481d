# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes say to each other on the wire before any address exists. Pure: bytes in, neighbours out.

A hello names the half it left from and the halves that were heard there. So each end learns that the other end has
heard it, and may stop listening early without leaving its peer deaf.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from ..contracts import Cage, HalfName, Neighbour, Plan

ETHERTYPE = 0x88B5  # IEEE 802 local experimental; NVIDIA's own script uses it too, hence the magic (spark-facts 2.2)
MAGIC = b"gb10.cluster/1 "


@dataclass(frozen=True, order=True)
class Plug:
    """One half of a cage of a node: what a hello is sent from."""

    node: str
    cage: Cage
    half: HalfName


@dataclass(frozen=True)
class Port:
    """A fabric netdev of this node, and the plugs that the plan puts at its far end (none where nothing is planned)."""

    netdev: str
    plug: Plug
    expected: frozenset[Plug] = frozenset()


@dataclass(frozen=True)
class Hello:
    cluster: str
    sender: Plug
    heard: frozenset[Plug]


def cluster_id(plan: Plan) -> str:
    """The same on all nodes of one plan, so that another cluster behind the same switch is not taken for ours."""
    text = json.dumps([sorted(plan["nodes"]), sorted(link["id"] for link in plan["links"])])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def encode(hello: Hello) -> bytes:
    body = {
        "cluster": hello.cluster,
        "sender": _fields(hello.sender),
        "heard": [_fields(plug) for plug in sorted(hello.heard)],
    }
    return MAGIC + json.dumps(body, separators=(",", ":")).encode()


def decode(payload: bytes) -> Hello | None:
    """The hello in a payload, padded or not; None for anything else that uses this ethertype."""
    if not payload.startswith(MAGIC):
        return None
    try:
        body = json.loads(payload[len(MAGIC) :].rstrip(b"\0"))
        return Hello(str(body["cluster"]), _plug(body["sender"]), frozenset(map(_plug, body["heard"])))
    except (ValueError, KeyError, TypeError):
        return None


def _fields(plug: Plug) -> list[str]:
    return [plug.node, plug.cage, plug.half]


def _plug(fields: t.Any) -> Plug:
    node, cage, half = fields
    if not isinstance(node, str) or cage not in ("p0", "p1") or half not in ("a", "b"):
        raise ValueError(f"not a plug: {fields!r}")
    return Plug(node, cage, half)


@dataclass
class Conversation:
    """Everything that was said and heard on the ports of one node."""

    cluster: str
    ports: list[Port]
    _heard: dict[str, set[Plug]] = field(default_factory=dict)
    _answered: dict[str, set[Plug]] = field(default_factory=dict)

    def hello(self, port: Port) -> bytes:
        return encode(Hello(self.cluster, port.plug, frozenset(self._heard.get(port.netdev, ()))))

    def hear(self, netdev: str, payload: bytes) -> None:
        hello = decode(payload)
        port = next((port for port in self.ports if port.netdev == netdev), None)
        if hello is None or port is None or hello.cluster != self.cluster:
            return
        # Twins share the wire and may hear each other; the other cage of the same node would be a cable to oneself.
        if (hello.sender.node, hello.sender.cage) == (port.plug.node, port.plug.cage):
            return
        self._heard.setdefault(netdev, set()).add(hello.sender)
        if port.plug in hello.heard:
            self._answered.setdefault(netdev, set()).add(hello.sender)

    @property
    def settled(self) -> bool:
        """Every planned far end was heard and says that it has heard us."""
        planned = [port for port in self.ports if port.expected]
        return bool(planned) and all(port.expected <= self._answered.get(port.netdev, set()) for port in planned)

    def heard_on(self, netdev: str) -> bool:
        return netdev in self._heard

    def neighbours(self) -> list[Neighbour]:
        return [
            {
                "netdev": port.netdev,
                "cage": port.plug.cage,
                "half": port.plug.half,
                "peer_node": peer.node,
                "peer_cage": peer.cage,
                "peer_half": peer.half,
            }
            for port in self.ports
            for peer in sorted(self._heard.get(port.netdev, ()))
        ]
