# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From check records to suspects and the next thing to do.

A finding about settings, software or a whole node explains itself. A missing carrier, a lost packet and a slow path are
symptoms: those go into the matrix, which says what part they have in common.
"""

from __future__ import annotations

import typing as t

from ..contracts import CheckRecord, Diagnosis, PathPlan, Plan
from .actions import SHOWN_ALTERNATIVES, action, together
from .checks import CHECKS
from .direction import refined
from .majority import ODD
from .matrix import Isolation, Part, isolate
from .outcome import CHECK_MODE
from .records import (
    Records,
    concerns,
    is_of_both_halves,
    is_of_two_ranks,
    is_root,
    pair_nodes,
    refuses,
    subject_key,
    title,
)


def diagnose(plan: Plan, records: Records) -> Diagnosis:
    """The smallest set of suspects for everything that is not in order."""
    roots = [record for record in records if is_root(record)]
    plain = [record for record in roots if explains_itself(record)]
    symptoms = _symptoms(records)
    isolation = isolated(plan, records)
    suspects = list(dict.fromkeys(name for record in _accused(plain) for name in _suspects(record)))
    found = [together(explanation) for explanation in isolation.explanations[:SHOWN_ALTERNATIVES]]
    suspects += [name for name in found if name not in suspects]
    at_once, suspects_at_once = both_halves(plan, records)
    of_two = [record for record in roots if is_of_two_ranks(record)]
    suspects_at_once = [*suspects_at_once, *_slow_together(of_two, records)]
    suspects += [name for name in dict.fromkeys(suspects_at_once) if name not in suspects]
    return {
        "suspects": suspects,
        "exonerated": [
            part.name
            for part in isolation.cleared
            if part.kind != "common cause" and not _within(part, " and ".join(suspects))
        ],
        "failing_paths": [path["id"] for path in plan["paths"] if _refused(path, records)],
        "next_action": _next_action(plan, records, plain, symptoms, isolation) or _first_remedy([*at_once, *of_two]),
    }


def isolated(plan: Plan, records: Records) -> Isolation:
    """Which parts explain the symptoms, and which are cleared."""
    failing = _failing(plan, _symptoms(records))
    passing = [path["id"] for path in plan["paths"] if path["id"] not in failing and _proven(path, records)]
    return refined(isolate(plan, failing, passing), plan, records)


def both_halves(plan: Plan, records: Records) -> tuple[list[CheckRecord], list[str]]:
    """What only both halves at once show, and the nodes that are suspect for it."""
    failing = _failing(plan, _symptoms(records))
    found = [
        record
        for record in records
        if is_root(record) and is_of_both_halves(record) and not _explained(record, plan, failing)
    ]
    return found, _suspects_at_once(found, records)


def _symptoms(records: Records) -> list[CheckRecord]:
    return [
        record
        for record in records
        if is_root(record) and not (explains_itself(record) or is_of_both_halves(record) or is_of_two_ranks(record))
    ]


def _failing(plan: Plan, symptoms: Records) -> list[str]:
    return [path["id"] for path in plan["paths"] if any(concerns(record, path) for record in symptoms)]


def explains_itself(record: CheckRecord) -> bool:
    """A finding that needs no matrix: a node, a difference between nodes, a setting, what could not be read."""
    if record["level"] in ("node", "cluster"):
        return True
    return record["level"] == "half-link" and (_is_unread(record) or record["cause"] in ("configuration", "software"))


def _is_unread(record: CheckRecord) -> bool:
    return record["cause"] == "instrument" and not CHECKS[record["check"]].active


def _accused(plain: t.Sequence[CheckRecord]) -> list[CheckRecord]:
    """Nodes that could not be compared do not differ, and a collective that fails accuses none of its ranks.

    What could not be read of a port is the same gap as what could not be read of its node.
    """
    nodes = {record["subject"]["node"] for record in plain if record["level"] == "node"}
    return [
        record
        for record in plain
        if (record["level"] != "cluster" or _differ(record))
        and not (record["level"] == "half-link" and _is_unread(record) and record["subject"]["node"] in nodes)
    ]


def _differ(record: CheckRecord) -> bool:
    return record["outcome"] == "fail" and "nodes" in record["subject"]


def _explained(record: CheckRecord, plan: Plan, failing: t.Collection[str]) -> bool:
    """A half that fails alone is the nearer reason."""
    return any(path["id"] in failing and concerns(record, path) for path in plan["paths"])


def _suspects_at_once(failing: t.Sequence[CheckRecord], records: Records) -> list[str]:
    """Each half passes alone, so it is a node that cannot do both: one that fails with every peer, if there is one."""
    passing = {
        node
        for record in records
        if is_of_both_halves(record) and record["outcome"] == "pass"
        for node in pair_nodes(record)
    }
    pairs = [pair_nodes(record) for record in failing]
    nodes = [node for pair in pairs for node in pair]
    left = [node for node in nodes if node not in passing]
    certain = all(any(node in left for node in pair) for pair in pairs)
    return [f"node {node}" for node in dict.fromkeys(left if certain else nodes)]


def _slow_together(failing: t.Sequence[CheckRecord], records: Records) -> list[str]:
    """A node that is slow with every peer (health-checks 5.1), else what is between two. Nobody, if no pair is fast."""
    passing = [r for r in records if is_of_two_ranks(r) and r["outcome"] == "pass"]
    fast = {node for record in passing for node in pair_nodes(record)}
    if not fast:
        return []
    pairs = [pair_nodes(record) for record in failing]
    slow = dict.fromkeys(node for pair in pairs for node in pair if node not in fast)
    unexplained = [pair for pair in pairs if slow.keys().isdisjoint(pair)]
    return [f"node {node}" for node in slow] + [f"pair {'+'.join(pair)}" for pair in unexplained]


def _first_remedy(found: t.Sequence[CheckRecord]) -> str | None:
    return next((record["remedy"][0] for record in found if record["remedy"]), None)


def _proven(path: PathPlan, records: Records) -> bool:
    mine = [record for record in records if record["required"] and record["subject"].get("path") == path["id"]]
    return bool(mine) and all(record["outcome"] == "pass" for record in mine)


def _refused(path: PathPlan, records: Records) -> bool:
    refusing = [record for record in records if refuses(record) and record["signature"] != CHECK_MODE]
    # Where one half fails, the check of both is blocked; that says nothing about the other half.
    mine = [record for record in refusing if is_root(record) or not is_of_both_halves(record)]
    return any(concerns(record, path) for record in mine)


def _suspects(record: CheckRecord) -> list[str]:
    if record["level"] == "cluster":
        odd = [f"node {node}" for node in record["measured"].get(ODD, [])]
        return odd or [f"difference between {record['subject']['nodes'].replace(' ', ' and ')}"]
    if "path" in record["subject"]:
        return [f"path {record['subject']['path']}"]
    kind = {1: "node", 2: "cage", 3: "port"}[len(record["subject"])]
    return [f"{kind} {subject_key(record)}"]


def _within(part: Part, suspects: str) -> bool:
    """A cleared whole with a suspect piece would read as a contradiction: spark1, and spark1:p0:a of it."""
    halves = [f"half-link {path}" for path in part.footprint] if part.kind == "link" else []
    pieces = [f"{kind} {part.what}:" for kind in ("controller", "cage", "port")] if part.kind == "node" else halves
    return any(name in suspects for name in (part.name, *pieces))


def _next_action(
    plan: Plan, records: Records, plain: list[CheckRecord], symptoms: list[CheckRecord], isolation: Isolation
) -> str | None:
    for record in plain:
        if record["remedy"]:
            return record["remedy"][0]
    if plain:
        return f"{title(plain[0])}: {plain[0]['message']}"
    found = action(plan, records, symptoms, isolation)
    if found is not None:
        return found
    if any(record["signature"] == CHECK_MODE and refuses(record) for record in records):
        return "run without --check to measure"
    return None
