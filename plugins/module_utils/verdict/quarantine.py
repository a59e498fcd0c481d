# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes are kept out, and what lets them in again (health-checks 4.1, hysteresis).

A node enters at one hard failure of hardware that can only be its own, or when its hardware is degraded in two runs one
after the other. What site.yml repairs never brings it here, nor does a cable. It leaves after two full passes that lie
apart, and where a device was lost or a link flapped only after somebody has said that they know.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..contracts import CheckRecord, EvidenceFile, Plan, QuarantineEntry, QuarantineFile
from ..shape import fits
from .admission import moment
from .diagnosis import both_halves, explains_itself, isolated
from .records import Records, concerns, is_root, title

SCHEMA = "1"
LATCHING = ("N02", "L07")  # a lost device and a flapping link come back (NVSentinel, gpud)
_OF_A_NODE = ("node", "controller")


@dataclass(frozen=True)
class Policy:
    """What the operator has asked for."""

    readmit_interval_s: int
    acknowledged: tuple[str, ...] = ()
    operator: str = ""


@dataclass(frozen=True)
class Memory:
    """What is remembered between two runs, and what this run has to say about it."""

    nodes: dict[str, QuarantineEntry]
    degraded: dict[str, str]
    notices: tuple[str, ...] = ()


def empty() -> Memory:
    return Memory({}, {})


def parsed(text: str, where: str) -> Memory:
    """What the file says. Raises ValueError: a file that cannot be read says nothing about who is kept out."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not fits(document, QuarantineFile) or document["schema"] != SCHEMA or not _times_are_times(document):
        raise ValueError(
            f"{where} does not say which nodes are in quarantine; restore it,"
            " or remove it if you know that none is (the evidence of earlier runs names them)"
        )
    return Memory(document["nodes"], document["degraded"])


def written(memory: Memory) -> str:
    document: QuarantineFile = {"schema": SCHEMA, "nodes": memory.nodes, "degraded": memory.degraded}
    return json.dumps(document, indent=1) + "\n"


def _times_are_times(document: QuarantineFile) -> bool:
    times = [time for entry in document["nodes"].values() for time in (entry["since"], entry["first_pass"]) if time]
    try:
        return all(datetime.fromisoformat(time).tzinfo is not None for time in times)
    except ValueError:
        return False


# --- one run further ---


def advance(memory: Memory, evidence: EvidenceFile, policy: Policy, now: datetime) -> Memory:
    """What is remembered after a run. Other nodes than those of its plan stay as they are."""
    records, plan, run_id = evidence["records"], evidence["plan"], evidence["run_id"]
    failed = culprits(plan, records, "fail")
    degraded = culprits(plan, records, "degraded")
    memory = _acknowledge(memory, policy, now)
    if evidence["verdict"]["outcome"] == "admit":
        memory = _count_pass(memory, list(plan["nodes"]), policy, now)
        return replace(memory, degraded=_without(memory.degraded, plan["nodes"]))
    nodes = dict(memory.nodes)
    for node in plan["nodes"]:
        found = failed.get(node) or (degraded.get(node) if node in memory.degraded else None)
        if found is not None:
            nodes[node] = _entered(nodes.get(node), node, run_id, found, now)
        elif node in nodes:
            nodes[node] = {**nodes[node], "first_pass": None}
    # A run that says nothing about a node, because it was off, does not end a row of degraded ones.
    marks = memory.degraded | dict.fromkeys(degraded, run_id)
    answered = {record["subject"].get("node") for record in records if record["outcome"] == "pass"}
    cleared = [node for node in plan["nodes"] if node not in degraded and node in answered]
    return replace(memory, nodes=nodes, degraded=_without(marks, cleared))


def culprits(plan: Plan, records: Records, outcome: str) -> dict[str, CheckRecord]:
    """Nodes that alone explain a failure of hardware, with the record that shows it. A suspect link names no node."""
    bad = [record for record in records if is_root(record) and record["cause"] == "hardware"]
    own = [record for record in bad if explains_itself(record) and "node" in record["subject"]]
    named = [(record["subject"]["node"], [record]) for record in own]
    named += [*_isolated(plan, records, bad), *_at_once(plan, records, bad)]
    found: dict[str, CheckRecord] = {}
    for node, shown in named:
        mine = [record for record in shown if record["outcome"] == outcome]
        latching = [record for record in mine if record["check"] in LATCHING]
        if mine and (latching or node not in found):
            found[node] = (latching or mine)[0]
    return found


def _isolated(plan: Plan, records: Records, bad: Records) -> list[tuple[str, list[CheckRecord]]]:
    """By the matrix. Of several explanations nobody knows which holds, so they accuse nobody."""
    explanations = isolated(plan, records).explanations
    named = []
    for part in explanations[0] if len(explanations) == 1 else ():
        paths = [path for path in plan["paths"] if path["id"] in part.footprint]
        # A path that was not measured is not a failure of hardware.
        if part.kind in _OF_A_NODE and all(any(concerns(record, path) for record in bad) for path in paths):
            shown = [record for record in bad if any(concerns(record, path) for path in paths)]
            named.append((part.what.partition(":")[0], shown))
    return named


def _at_once(plan: Plan, records: Records, bad: Records) -> list[tuple[str, list[CheckRecord]]]:
    """By both halves at once, where a single node fails with every peer."""
    found, suspects = both_halves(plan, records)
    shown = [record for record in found if record in bad]
    return [(suspects[0].partition(" ")[2], shown)] if len(suspects) == 1 and shown == found else []


def _entered(
    entry: QuarantineEntry | None, node: str, run_id: str, record: CheckRecord, now: datetime
) -> QuarantineEntry:
    """A new entry, or one that starts to wait anew. A device that is lost again wants to be acknowledged again."""
    latching = record["check"] in LATCHING
    if entry is None:
        return {
            "node": node,
            "since": moment(now),
            "run_id": run_id,
            "reason": f"{title(record)}: {record['message']}",
            "latched": latching,
            "acknowledged": None,
            "first_pass": None,
        }
    acknowledged = None if latching else entry["acknowledged"]
    return {**entry, "latched": entry["latched"] or latching, "acknowledged": acknowledged, "first_pass": None}


def _acknowledge(memory: Memory, policy: Policy, now: datetime) -> Memory:
    nodes, notices = dict(memory.nodes), list(memory.notices)
    for name in policy.acknowledged:
        if name in nodes:
            nodes[name] = {**nodes[name], "acknowledged": {"by": policy.operator, "at": moment(now)}}
        else:
            notices.append(f"nothing to acknowledge: {name} is not in quarantine")
    return replace(memory, nodes=nodes, notices=tuple(notices))


def _count_pass(memory: Memory, names: t.Sequence[str], policy: Policy, now: datetime) -> Memory:
    nodes, notices = dict(memory.nodes), list(memory.notices)
    for name in names:
        entry = nodes.get(name)
        if entry is None:
            continue
        first = datetime.fromisoformat(entry["first_pass"]) if entry["first_pass"] else None
        apart = first is not None and now - first >= timedelta(seconds=policy.readmit_interval_s)
        if apart and (entry["acknowledged"] or not entry["latched"]):
            del nodes[name]
            notices.append(f"{name} is released from quarantine ({entry['reason']})")
        elif first is None or first > now:  # a clock that went back has not waited
            nodes[name] = {**entry, "first_pass": moment(now)}
    return replace(memory, nodes=nodes, notices=tuple(notices))


def _without(marks: t.Mapping[str, str], names: t.Iterable[str]) -> dict[str, str]:
    gone = set(names)
    return {node: run_id for node, run_id in marks.items() if node not in gone}


# --- what it means for the verdict ---


def kept_out(evidence: EvidenceFile, memory: Memory, interval_s: int) -> EvidenceFile:
    """The evidence with a verdict that lets no node of the plan in that is in quarantine."""
    verdict = evidence["verdict"]
    entries = [memory.nodes[node] for node in evidence["plan"]["nodes"] if node in memory.nodes]
    out = {entry["node"] for entry in entries}
    return {
        **evidence,
        "verdict": {
            **verdict,
            "outcome": "refuse" if entries else verdict["outcome"],
            "valid_pools": [pool for pool in verdict["valid_pools"] if out.isdisjoint(pool)],
            "blocked_by": [*verdict["blocked_by"], *(f"quarantine {entry['node']}" for entry in entries)],
            "quarantine": [{**entry, "release": _release(entry, interval_s)} for entry in entries],
            "notices": [*verdict.get("notices", []), *memory.notices],
        },
    }


def _release(entry: QuarantineEntry, interval_s: int) -> str:
    """What lets the node in again, as one sentence."""
    steps = []
    if entry["latched"] and entry["acknowledged"] is None:
        steps.append(f"see to it, then acknowledge it with -e gate_acknowledge={entry['node']}")
    if entry["first_pass"] is None:
        steps.append(f"two full passes at least {interval_s} s apart release {entry['node']}")
    else:
        due = datetime.fromisoformat(entry["first_pass"]) + timedelta(seconds=interval_s)
        steps.append(f"one more full pass after {moment(due)} releases {entry['node']}")
    return "; ".join(steps)
