# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Before anything is installed or changed: is something in the way, what deserves a look, and what would be done?

In the way is what an installation itself would stop at, or what nobody can mend but hands. A link that is down cannot
be heard; that is neither right nor wrong, and the proof of the cabling sets it up before anything is changed.
"""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass

from ..contracts import CheckRecord, NodeFacts, Plan
from .cabling import CageFinding, cabling_steps, cage_finding
from .checks import CHECKS
from .judge import judge
from .outcome import BLOCKED
from .profiles import parsed_limits
from .records import Records, about, check_plan
from .views import Reading, planned_cages

REPAIRED = "run site.yml: "  # as remedies begin that need nobody's hands
# What only a link shows that is up and has its address.
_OF_LIVE_LINKS = ("L01", "L02", "L03", "L06", "P07")
# At these an installation stops; L09 only where something else was heard than planned.
_IN_THE_WAY = ("N00", "N01", "N02")
_WORST_FIRST = ("fail", "degraded", "unknown", "skipped")
_NODE = "\0"  # stands for a name of a node in a sentence

Missing = t.Mapping[str, t.Sequence[str]]  # node -> packages that would be installed


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence about something, and what to do about it."""

    text: str
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    in_the_way: tuple[Note, ...]
    look_at: tuple[Note, ...]
    not_known: tuple[str, ...]
    would_do: tuple[str, ...]


def preview(reading: Reading, missing: Missing, take_over: bool) -> Preview:
    """Everything that can be said without a measurement. Raises ValueError as ``decide`` does."""
    check_plan(reading.plan)
    asked = [check.id for check in CHECKS.values() if not check.active and check.id not in _OF_LIVE_LINKS]
    listed = parsed_limits(reading.profile)
    records = judge(reading, "passive", [check_id for check_id in asked if check_id in listed])
    found = [record for record in records if record["outcome"] != "pass" and record["signature"] != BLOCKED]
    obstacles = [note for node in reading.plan["nodes"] for note in _refusals(reading, node, missing, take_over)]
    left = [record for record in found if record["check"] not in ("L09", *_IN_THE_WAY)]
    open_questions = [record for record in left if record["outcome"] == "unknown" and not record["remedy"]]
    repaired = [record for record in left if _is_repaired(record)]
    seen = {id(record) for record in (*open_questions, *repaired)}
    # Files of others are named above, by what an installation does about them.
    others = [record for record in left if id(record) not in seen and not _is_about_foreign_files(reading, record)]
    return Preview(
        in_the_way=(*_certain(found), *_moves(reading), *obstacles),
        look_at=_grouped(sorted(others, key=lambda record: _WORST_FIRST.index(record["outcome"]))),
        not_known=_questions(open_questions, missing),
        would_do=(*_installs(missing), *_takes_over(reading, take_over), *_repairs(repaired)),
    )


# --- in the way ---


def _certain(found: Records) -> tuple[Note, ...]:
    notes = _grouped([record for record in found if record["check"] in _IN_THE_WAY])
    return tuple(Note(note.text, note.action or "see that this node is a Spark and runs its DGX OS") for note in notes)


def _moves(reading: Reading) -> list[Note]:
    """What to do about plugs that were heard where they do not belong. An unheard cage may well have its cable."""
    findings = [cage_finding(reading.plan, reading.discoveries, plug) for plug in planned_cages(reading.plan)]
    in_order = tuple(f"{' '.join(each.plug)}:" for each in findings if not is_wrong(reading.plan, each))
    steps = [step for step in cabling_steps(reading.plan, reading.discoveries) if step.heard]
    return [Note(f"{step.action} ({step.reason})") for step in steps if not step.action.startswith(in_order)]


def is_wrong(plan: Plan, finding: CageFinding) -> bool:
    """Does the cage hear somebody who does not belong there? Behind a switch some of the others may only be off."""
    if plan["topology"] == "switch":
        return not {node for node, _cage in finding.heard} <= {node for node, _cage in finding.expected}
    return finding.state == "wrong"


def _refusals(reading: Reading, node: str, missing: Missing, take_over: bool) -> t.Iterator[Note]:
    """What roles dgx_os and fabric refuse before they change anything."""
    facts = reading.facts.get(node)
    if facts is None:
        return
    if node not in missing:
        yield Note(
            f"{node} runs {facts['os_id'] or 'an unknown system'}, which role dgx_os does not know (DGX OS is Ubuntu)",
            f"reinstall DGX OS on {node}, or take it out of the inventory",
        )
    yield from _wrong_addresses(reading.plan, node, facts)
    for path, netdevs, certain in _foreign_files(reading, node):
        if certain or not take_over:
            yield Note(
                f"{path} on {node} configures {netdevs} too",
                f"remove {path} on {node}" + ("" if certain else ", or set fabric_take_over to move it aside"),
            )


def _wrong_addresses(plan: Plan, node: str, facts: NodeFacts) -> t.Iterator[Note]:
    planned = {half["netdev"]: half for half in plan["nodes"][node]["halves"]}
    for netdev, cidrs in (facts["addresses"] or {}).items():
        for own in (ipaddress.ip_interface(cidr) for cidr in cidrs):
            if netdev in planned and str(own.ip) == plan["nodes"][node]["mgmt_ip"]:
                yield Note(f"{node} is managed at {own.ip} over {netdev}", f"manage {node} over its RJ45 port")
            subnets = [] if netdev in planned else [half["subnet"] for half in planned.values()]
            for subnet in subnets:
                network = ipaddress.ip_network(subnet)
                if own.version == network.version and own.network.overlaps(t.cast("t.Any", network)):
                    yield Note(
                        f"{netdev} of {node} has {own}, and {subnet} is planned for the fabric",
                        "choose another network in fabric_pools",
                    )


def _foreign_files(reading: Reading, node: str) -> t.Iterator[tuple[str, str, bool]]:
    """Path, the links it configures, and whether it cannot be moved aside because something generates it."""
    facts = reading.facts.get(node)
    planned = {half["netdev"] for half in reading.plan["nodes"][node]["halves"]}
    for file in facts["netplan_files"] if facts else []:
        named = planned.intersection(file["interfaces"])
        if named and not file["owned"]:
            yield file["path"], ", ".join(sorted(named)), not file["path"].startswith("/etc/")


def _is_about_foreign_files(reading: Reading, record: CheckRecord) -> bool:
    if record["check"] == "L10":
        return True
    node = record["subject"].get("node", "")
    return record["check"] == "N12" and not reading.facts[node]["hazards"]


# --- what would be done ---


def _is_repaired(record: CheckRecord) -> bool:
    certain = record["outcome"] != "unknown" and "node" in record["subject"]
    return certain and bool(record["remedy"]) and record["remedy"][0].startswith(REPAIRED)


def _installs(missing: Missing) -> list[str]:
    nodes: dict[str, list[str]] = {}
    for node, packages in missing.items():
        if packages:
            nodes.setdefault(", ".join(packages), []).append(node)
    return [f"role dgx_os installs {packages} on {', '.join(on)}" for packages, on in nodes.items()]


def _takes_over(reading: Reading, take_over: bool) -> list[str]:
    return [
        f"role fabric moves {path} aside on {node}"
        for node in reading.plan["nodes"]
        for path, _netdevs, certain in _foreign_files(reading, node)
        if take_over and not certain
    ]


def _repairs(repaired: Records) -> list[str]:
    """Each repair once, with its nodes."""
    nodes: dict[str, list[str]] = {}
    for record in repaired:
        node = record["subject"]["node"]
        nodes.setdefault(record["remedy"][0].removeprefix(REPAIRED).replace(node, _NODE), []).append(node)
    return [text.replace(_NODE, ", ".join(dict.fromkeys(of))) for text, of in nodes.items()]


# --- sentences ---


def _questions(records: Records, missing: Missing) -> tuple[str, ...]:
    """What is not known; where tools are missing that would be installed, in few words."""
    later = [record for record in records if missing.get(record["subject"].get("node", ""))]
    checks = ", ".join(dict.fromkeys(record["check"] for record in later))
    nodes = ", ".join(dict.fromkeys(record["subject"]["node"] for record in later))
    now = [note.text for note in _grouped([record for record in records if record not in later])]
    return (*now, *([f"{checks} of {nodes}, before the missing packages are there"] if later else []))


def _grouped(records: Records) -> tuple[Note, ...]:
    """One note for each check and message, with all of its subjects."""
    first: dict[tuple[str, str], CheckRecord] = {}
    more: dict[tuple[str, str], int] = {}
    for record in records:
        key = (record["check"], record["message"].replace(record["subject"].get("node", _NODE), _NODE))
        first.setdefault(key, record)
        more[key] = more.get(key, -1) + 1
    return tuple(
        Note(
            f"{about(record)}: {record['message']}" + (f" (and {more[key]} more)" if more[key] else ""),
            record["remedy"][0] if record["remedy"] else None,
        )
        for key, record in first.items()
    )
