# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The next thing to do with the hands: what tells the suspects of this topology apart, or mends the only one."""

from __future__ import annotations

import typing as t

from ..contracts import CheckRecord, Plan
from .direction import OneWay, common_way
from .matrix import Isolation, Part
from .records import Records, title

SHOWN_ALTERNATIVES = 4


def together(explanation: tuple[Part, ...]) -> str:
    return " and ".join(part.name for part in explanation)


def action(plan: Plan, records: Records, symptoms: Records, isolation: Isolation) -> str | None:
    """What to do about the explanations of the matrix; None when there are none."""
    if not isolation.explanations:
        return None
    parts = [part for chosen in isolation.explanations for part in chosen]
    way = next(filter(None, (common_way(part, records) for part in parts if part.kind in ("link", "half-link"))), None)
    if way is not None and way.sign == "lost order":
        return _wire(way)
    kinds = {part.kind for part in parts}
    at_plug = [record for record in symptoms if record["level"] == "half-link" and record["remedy"]]
    if at_plug and kinds & {"link", "half-link", *(["node"] if plan["topology"] == "switch" else [])}:
        return at_plug[0]["remedy"][0]  # to look at a plug is less than to swap a cable or to take another port
    settings = [record for record in symptoms if record["cause"] in ("configuration", "software") and record["remedy"]]
    if settings:
        return settings[0]["remedy"][0]  # no cable mends a setting
    if all(record["outcome"] == "unknown" for record in symptoms):
        return _measure_again(symptoms)
    ambiguous = plan["topology"] == "direct" or kinds & {"common cause", "switch"}
    if ambiguous and not kinds & {"cage", "port"} and (known := _known_cause(symptoms)):
        return known
    if plan["topology"] == "direct" and not kinds & {"port", "cage"}:
        return _two_nodes_on_a_cable(plan, kinds)
    if len(isolation.explanations) > 1:
        names = dict.fromkeys(together(chosen) for chosen in isolation.explanations[:SHOWN_ALTERNATIVES])
        return f"tell {' or '.join(names)} apart: {_discriminate(plan, parts)}"
    return _ACTIONS[parts[0].kind](plan, parts[0])


def _measure_again(symptoms: Records) -> str:
    """Nothing was seen to fail, so nothing is to be moved: what kept the instrument from measuring comes first."""
    with_remedy = [record["remedy"][0] for record in symptoms if record["remedy"]]
    return with_remedy[0] if with_remedy else f"{title(symptoms[0])}: {symptoms[0]['message']}"


def _known_cause(symptoms: Records) -> str | None:
    """Where the matrix cannot tell places apart but all paths carry the same known signature, its own first remedy."""
    slow = [record for record in symptoms if "path" in record["subject"]]
    signatures = {record["signature"] for record in slow}
    known = len(signatures) == 1 and None not in signatures and slow[0]["remedy"]
    return _of_all_nodes(slow) if known else None


def _of_all_nodes(slow: t.Sequence[CheckRecord]) -> str:
    """The first remedy names the two nodes of its path; here it is about all."""
    first = slow[0]
    nodes = sorted({name for record in slow for name in _ends(record)})
    all_of_them = ", ".join(nodes) if len(nodes) > 2 else " and ".join(nodes)
    return first["remedy"][0].replace(" and ".join(_ends(first)), all_of_them)


def _ends(record: CheckRecord) -> list[str]:
    return [record["subject"][end].partition(":")[0] for end in ("from", "to")]


def _wire(way: OneWay) -> str:
    sender, receiver = way.sender.replace(":", " "), way.receiver.replace(":", " ")
    return (
        f"only {sender} -> {receiver} fails, and {receiver} counts lost order, so it is the wire or the transmitter of"
        f" {sender}: reseat the plug there; if unchanged, turn the cable round: a fault that turns too is the cable"
    )


def _two_nodes_on_a_cable(plan: Plan, kinds: t.Collection[str]) -> str:
    """Without a third node half against half tells plane from cable, and the other cages tell the rest apart (5.3)."""
    first, second = plan["nodes"]
    cages = "move both plugs of the only cable to the other cages and declare that in fabric_cabling"
    if "link" in kinds:
        return (
            f"reboot {first} and {second} with the cable attached; if unchanged, {cages}: a fault that goes was in a"
            " cage, one that stays is the cable or a node, so try another cable"
        )
    return (
        f"compare PCIe (N03), address and MTU of this half on {first} and {second}; if all are right, {cages}:"
        " a fault that goes was in a cage, one that stays with the half is its PCI domain"
    )


def _discriminate(plan: Plan, parts: t.Sequence[Part]) -> str:
    nodes = sorted({part.what for part in parts if part.kind == "node"})
    if plan["topology"] == "switch":
        return _discriminate_behind_switch(nodes, parts)
    if nodes:
        return f"reboot {nodes[0]} with its cables attached and measure again"
    return "swap two cables and measure again: the fault moves with a cable and stays with a node"


def _discriminate_behind_switch(nodes: list[str], parts: t.Sequence[Part]) -> str:
    if nodes:
        return f"move the cable of {nodes[0]} to a spare switch port and measure again"
    halves = sorted({part.what.partition(":")[0] for part in parts if part.kind == "controller"})
    if halves:
        return (
            f"reboot {halves[0]} with its cable attached and measure again; if unchanged, compare its addresses and MTU"
        )
    return "move the cable of one of them to a spare switch port and measure again"


def _other_link(plan: Plan, part: Part) -> str:
    own = {half_link["link"] for half_link in plan["half_links"] if half_link["id"] in part.footprint}
    return next(link["id"] for link in plan["links"] if link["id"] not in own)


def _node(plan: Plan, part: Part) -> str:
    if plan["topology"] == "switch":
        return (
            f"move the cable of {part.what} to a spare switch port; if unchanged, use its other cage and declare that"
            f" in fabric_cabling; if unchanged, reboot {part.what} with the cable attached"
        )
    return f"reboot {part.what} with both cables attached; if unchanged power it off and unplug it for 60 s"


def _receiver(_plan: Plan, part: Part) -> str:
    where = part.what.replace(":", " ")
    return f"the packets arrive and {where} drops them: see what keeps it busy, and N03, before any cable"


_ACTIONS: dict[str, t.Callable[[Plan, Part], str]] = {
    "node": _node,
    "controller": lambda plan, part: (
        f"read N03 on {part.what.partition(':')[0]} (expect 32 GT/s x4 on half {part.what.partition(':')[2]})"
    ),
    "link": lambda plan, part: (
        f"swap cable {part.what} with cable {_other_link(plan, part)} and measure again:"
        " if the fault moves, it is the cable, else a cage"
    ),
    "half-link": lambda plan, part: (
        f"compare PCIe (N03) and carrier (L01) at both ends of {part.what}; if both are right, swap its cable with"
        f" cable {_other_link(plan, part)}: a fault that moves is the cable, one that stays a cage or PCI function"
    ),
    "plane": lambda plan, part: f"compare addresses, subnets and MTU of half {part.what} on all nodes",
    "common cause": lambda plan, part: (
        "everything fails alike: look at the node checks and at the measurement itself before any cable"
    ),
    "switch": lambda plan, part: (
        f"no node is to blame, so look at {part.what}: it is on, and all fabric ports are in one bridge, offloaded to"
        " hardware, at 200G-baseCR4 and without drops"
    ),
    "path": lambda plan, part: (
        f"look at the switch between the ends of {part.what}, which both reach others: one bridge, hardware offload"
    ),
    "cage": _receiver,
    "port": _receiver,
}
