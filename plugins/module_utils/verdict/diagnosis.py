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
from .matrix import Isolation, Part, isolate
from .outcome import CHECK_MODE
from .records import Records, concerns, is_of_both_halves, is_root, refuses, subject_key

_SHOWN_ALTERNATIVES = 4


def diagnose(plan: Plan, records: Records) -> Diagnosis:
    """The smallest set of suspects for everything that is not in order."""
    roots = [record for record in records if is_root(record)]
    plain = [record for record in roots if explains_itself(record)]
    symptoms = [record for record in roots if not (explains_itself(record) or is_of_both_halves(record))]
    failing = [path["id"] for path in plan["paths"] if any(concerns(record, path) for record in symptoms)]
    passing = [path["id"] for path in plan["paths"] if path["id"] not in failing and _proven(path, records)]
    isolation = isolate(plan, failing, passing)
    # Nodes that could not be compared do not differ, and a collective that fails accuses none of its ranks.
    accused = [record for record in plain if record["level"] != "cluster" or _differ(record)]
    suspects = list(dict.fromkeys(_suspect(record) for record in accused))
    suspects += [_together(explanation) for explanation in isolation.explanations[:_SHOWN_ALTERNATIVES]]
    at_once = [record for record in roots if is_of_both_halves(record) and not _explained(record, plan, failing)]
    suspects += [name for name in _suspects_at_once(at_once, records) if name not in suspects]
    return {
        "suspects": suspects,
        "exonerated": [
            part.name
            for part in isolation.cleared
            if part.kind != "common cause" and not _within(part, " and ".join(suspects))
        ],
        "failing_paths": [path["id"] for path in plan["paths"] if _refused(path, records)],
        "next_action": _next_action(plan, records, plain, symptoms, isolation) or _first_remedy(at_once),
    }


def explains_itself(record: CheckRecord) -> bool:
    """A finding that needs no matrix: a node, a difference between nodes, a setting."""
    if record["level"] in ("node", "cluster"):
        return True
    return record["level"] == "half-link" and record["cause"] in ("configuration", "software")


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
        for node in _pair_nodes(record)
    }
    pairs = [_pair_nodes(record) for record in failing]
    nodes = [node for pair in pairs for node in pair]
    left = [node for node in nodes if node not in passing]
    certain = all(any(node in left for node in pair) for pair in pairs)
    return [f"node {node}" for node in dict.fromkeys(left if certain else nodes)]


def _pair_nodes(record: CheckRecord) -> list[str]:
    return [record["subject"][end].partition(":")[0] for end in ("from", "to")]


def _first_remedy(found: t.Sequence[CheckRecord]) -> str | None:
    return next((record["remedy"][0] for record in found if record["remedy"]), None)


def _proven(path: PathPlan, records: Records) -> bool:
    mine = [record for record in records if record["required"] and record["subject"].get("path") == path["id"]]
    return bool(mine) and all(record["outcome"] == "pass" for record in mine)


def _refused(path: PathPlan, records: Records) -> bool:
    # Where one half fails, the check of both is blocked; that says nothing about the other half.
    mine = [
        record for record in records if concerns(record, path) and (is_root(record) or not is_of_both_halves(record))
    ]
    return any(refuses(record) and record["signature"] != CHECK_MODE for record in mine)


def _suspect(record: CheckRecord) -> str:
    if record["level"] == "cluster":
        return f"difference between {record['subject']['nodes'].replace(' ', ' and ')}"
    kind = {1: "node", 2: "cage", 3: "port"}[len(record["subject"])]
    return f"{kind} {subject_key(record)}"


def _within(part: Part, suspects: str) -> bool:
    """A cleared whole with a suspect piece would read as a contradiction: spark1, and spark1:p0:a of it."""
    halves = [f"half-link {path}" for path in part.footprint] if part.kind == "link" else []
    pieces = [f"port {part.what}:", f"cage {part.what}:"] if part.kind == "node" else halves
    return any(name in suspects for name in (part.name, *pieces))


def _together(explanation: tuple[Part, ...]) -> str:
    return " and ".join(part.name for part in explanation)


def _next_action(
    plan: Plan, records: Records, plain: list[CheckRecord], symptoms: list[CheckRecord], isolation: Isolation
) -> str | None:
    for record in plain:
        if record["remedy"]:
            return record["remedy"][0]
    if plain:
        return f"{plain[0]['check']} {subject_key(plain[0])}: {plain[0]['message']}".replace("  ", " ")
    at_plug = [record for record in symptoms if record["level"] == "half-link" and record["remedy"]]
    if at_plug and any(part.kind in ("link", "half-link") for chosen in isolation.explanations for part in chosen):
        return at_plug[0]["remedy"][0]  # to look at a plug is less than to swap a cable
    if len(isolation.explanations) > 1 and len(plan["nodes"]) > 2:
        first = " or ".join(_together(explanation) for explanation in isolation.explanations[:_SHOWN_ALTERNATIVES])
        return f"tell {first} apart: {_discriminate(isolation.explanations)}"
    if isolation.explanations:
        return _action(plan, isolation.explanations[0][0])
    if any(record["signature"] == CHECK_MODE and refuses(record) for record in records):
        return "run without --check to measure"
    return None


def _discriminate(explanations: t.Sequence[tuple[Part, ...]]) -> str:
    nodes = sorted({part.what for chosen in explanations for part in chosen if part.kind == "node"})
    if nodes:
        return f"reboot {nodes[0]} with its cables attached and measure again"
    return "swap two cables and measure again: the fault moves with a cable and stays with a node"


def _action(plan: Plan, part: Part) -> str:
    if len(plan["nodes"]) == 2 and part.kind in ("node", "link", "common cause"):
        return "both halves of the only cable fail: move its plugs to the other cages; if unchanged, try another cable"
    return _ACTIONS[part.kind](plan, part)


def _other_link(plan: Plan, part: Part) -> str:
    return next((link["id"] for link in plan["links"] if link["id"] != part.what), "another one")


def _node_action(plan: Plan, part: Part) -> str:
    if plan["topology"] == "switch":
        return (
            f"move the cable of {part.what} to a spare switch port; if unchanged, reboot {part.what} with it attached"
        )
    return f"reboot {part.what} with both cables attached; if unchanged power it off and unplug it for 60 s"


_ACTIONS: dict[str, t.Callable[[Plan, Part], str]] = {
    "node": _node_action,
    "controller": lambda plan, part: (
        f"read N03 on {part.what.partition(':')[0]} (expect 32 GT/s x4 on half {part.what.partition(':')[2]})"
    ),
    "link": lambda plan, part: (
        f"swap cable {part.what} with cable {_other_link(plan, part)} and measure again:"
        " if the fault moves, it is the cable, else a cage"
    ),
    "half-link": lambda plan, part: (
        f"compare PCIe (N03) and carrier (L01) at both ends of {part.what}; if both are right,"
        " move one plug to the other cage"
    ),
    "plane": lambda plan, part: f"compare addresses, subnets and MTU of half {part.what} on all nodes",
    "common cause": lambda plan, part: (
        "everything fails alike: look at the node checks and at the measurement itself before any cable"
    ),
    "path": lambda plan, part: f"look at the switch between the ends of {part.what}; both reach the other nodes",
}
