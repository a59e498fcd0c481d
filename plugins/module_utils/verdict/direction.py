# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the counters add to the matrix: which end of a path that fails one way, and whether it is the switch.

``ib_write_bw`` loads the transmitting side. Where only one direction fails, lost order at the receiver points at the
wire or at the sender's transmitter, and what the receiver dropped points at the receiver (health-checks 5.1).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..contracts import CheckRecord, Plan
from ..probe.counters import DROPPED
from .matrix import Isolation, Part
from .records import Records, is_root
from .signatures import CLAMP

# By the names of mlx5 and of rxe.
_LOST_ORDER = frozenset(
    {"packet_seq_err", "out_of_sequence", "rcvd_seq_err", "out_of_seq_request", "rx_crc_errors_phy"}
)

Sign = t.Literal["lost order", "dropped"]


@dataclass(frozen=True, slots=True)
class OneWay:
    """A path that fails in one direction only, and what the receiving end counted."""

    sender: str  # "spark1:p0:a"
    receiver: str
    sign: Sign | None


def one_way(path: str, records: Records) -> OneWay | None:
    """None: both directions fail, or none, or nobody knows of one of them."""
    mine: dict[tuple[str, str], list[CheckRecord]] = {}
    for record in records:
        if record["required"] and record["subject"].get("path") == path:
            mine.setdefault((record["subject"]["from"], record["subject"]["to"]), []).append(record)
    failing = [way for way, found in mine.items() if any(map(is_root, found))]
    passing = [way for way, found in mine.items() if all(record["outcome"] == "pass" for record in found)]
    if len(failing) != 1 or failing[0][::-1] not in passing:
        return None
    sender, receiver = failing[0]
    return OneWay(sender, receiver, _sign(_counted(receiver, records)))


def _sign(grown: t.AbstractSet[str]) -> Sign | None:
    """A receiver that drops also sees gaps, so what it dropped is the nearer reason."""
    if grown & DROPPED:
        return "dropped"
    return "lost order" if grown & _LOST_ORDER else None


def _counted(port: str, records: Records) -> set[str]:
    """The counters of a port that grew by more than the profile allows, or at all where it judges none."""
    node, cage, half = port.split(":")
    grown: set[str] = set()
    for record in records:
        if record["check"] == "L08" and record["subject"] == {"node": node, "cage": cage, "half": half}:
            measured, allowed = record["measured"], record["threshold"]
            grown |= {name for name, value in measured.get("growth", {}).items() if value > allowed.get(name, 0)}
            grown |= {name for name, value in measured.get("dropped", {}).items() if value > allowed.get(name, 0)}
    return grown


def common_way(part: Part, records: Records) -> OneWay | None:
    """The one direction in which all paths of a part fail, with the same sign; the ends are cages."""
    found = [one_way(path, records) for path in sorted(part.footprint)]
    ways = {OneWay(_cage(way.sender), _cage(way.receiver), way.sign) for way in found if way is not None}
    return next(iter(ways)) if len(ways) == 1 and None not in found else None


def refined(isolation: Isolation, plan: Plan, records: Records) -> Isolation:
    """The same explanations, nearer to what the counters say."""
    if all(len(chosen) == 1 for chosen in isolation.explanations):
        parts = [part for (part,) in isolation.explanations]
        for part in parts:
            nearer = _by_direction(part, parts, records)
            if nearer:
                return Isolation(tuple((one,) for one in nearer), isolation.cleared)
    explanations = tuple(
        tuple(_perhaps_switch(part, plan, records) for part in chosen) for chosen in isolation.explanations
    )
    return Isolation(explanations, isolation.cleared)


def _by_direction(part: Part, parts: list[Part], records: Records) -> list[Part]:
    """Those of equally small explanations that fit a failure in one direction; nothing when it tells nothing."""
    way = common_way(part, records)
    if way is None or way.sign is None:
        return []
    halves = {path.rpartition(":")[2] for path in part.footprint}
    (half,) = halves if len(halves) == 1 else ("",)
    if way.sign == "dropped":
        port = Part("port", f"{way.receiver}:{half}", part.footprint)
        return [port if half else Part("cage", way.receiver, part.footprint)]
    node = way.sender.partition(":")[0]
    return [one for one in parts if one.kind in ("link", "half-link") or one.what in (node, f"{node}:{half}")]


def _cage(port: str) -> str:
    return port.rpartition(":")[0]


def _perhaps_switch(part: Part, plan: Plan, records: Records) -> Part:
    behind_switch = part.kind == "common cause" and plan["topology"] == "switch"
    if behind_switch and (_is_dark(plan, records) or _is_between(plan, records)):
        return Part("switch", _switch_name(plan), part.footprint)
    return part


def _is_dark(plan: Plan, records: Records) -> bool:
    """No node has a carrier: what their cables have in common is the switch."""
    dark = [r for r in records if r["check"] == "L01" and is_root(r) and r["measured"].get("carrier") is False]
    return len(dark) == _planned_halves(plan)


def _is_between(plan: Plan, records: Records) -> bool:
    """Everything fails, every planned half was counted, and no host saw an error (CRS804, health-checks 5.2).

    A throttled NIC counts nothing either, and what is set wrong is not the switch's.
    """
    symptoms = [record for record in records if is_root(record) and "path" in record["subject"]]
    of_hosts = any(record["cause"] != "hardware" or record["signature"] == CLAMP for record in symptoms)
    clean = [record for record in records if record["check"] == "L08" and record["outcome"] == "pass"]
    return not of_hosts and len(clean) == _planned_halves(plan)


def _planned_halves(plan: Plan) -> int:
    return sum(len(node["halves"]) for node in plan["nodes"].values())


def _switch_name(plan: Plan) -> str:
    return next(end["device"] for link in plan["links"] for end in link["ends"] if end["device"] not in plan["nodes"])
