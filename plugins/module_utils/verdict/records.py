# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions about check records that more than one part asks."""

from __future__ import annotations

import typing as t

from ..contracts import CheckRecord, PathPlan, Plan
from .outcome import BLOCKED, CHECK_MODE

Records = t.Sequence[CheckRecord]


def subject_key(record: CheckRecord) -> str:
    """ "spark1", "spark1:p0:a", "spark1:p0", "spark1:p0:a>spark2:p1:a", "spark1:p0>spark2:p1",
    "spark1+spark2", or nothing."""
    subject = record["subject"]
    if is_of_two_ranks(record):
        return "+".join(pair_nodes(record))
    if "from" in subject:
        return f"{subject['from']}>{subject['to']}"
    return ":".join(subject[part] for part in ("node", "cage", "half") if part in subject)


def title(record: CheckRecord) -> str:
    """As verdict.blocked_by names it: "P02 spark1:p0:a>spark2:p1:a"."""
    return f"{record['check']} {subject_key(record)}".strip()


def about(record: CheckRecord) -> str:
    """The same for a sentence: "P02 spark1 p0 a -> spark2 p1 a"."""
    return title(record).replace(">", " -> ").replace(":", " ")


def refuses(record: CheckRecord) -> bool:
    return record["required"] and record["outcome"] != "pass" and not waived(record)


def waived(record: CheckRecord) -> bool:
    """The operator accepts it for now. What fails or is not known cannot be waived."""
    return record["outcome"] == "degraded" and "waiver" in record


def is_root(record: CheckRecord) -> bool:
    """A finding of its own, not one that stands on another."""
    return refuses(record) and record["signature"] not in (BLOCKED, CHECK_MODE)


def concerns(record: CheckRecord, path: PathPlan) -> bool:
    """Is the record about this path, one of its ends, or a cage of these? Node and cluster records are not."""
    subject = record["subject"]
    if "path" in subject:
        return subject["path"] == path["id"]
    if is_of_both_halves(record):
        return {subject["from"], subject["to"]} == {f"{end['node']}:{end['cage']}" for end in path["ends"]}
    if "cage" not in subject:
        return False
    return any(
        (subject["node"], subject["cage"]) == (end["node"], end["cage"])
        and subject.get("half", end["half"]) == end["half"]
        for end in path["ends"]
    )


def is_of_both_halves(record: CheckRecord) -> bool:
    """Is the record about the two paths of a cable at once, and about neither of them alone?"""
    return "from" in record["subject"] and "path" not in record["subject"]


def is_of_two_ranks(record: CheckRecord) -> bool:
    """Is the record about what NCCL did between two nodes?"""
    return "pair" in record["subject"]


def pair_nodes(record: CheckRecord) -> list[str]:
    """The two nodes of a record about both halves of a cable, or about two ranks."""
    subject = record["subject"]
    if is_of_two_ranks(record):
        return subject["pair"].split()
    return [subject[end].partition(":")[0] for end in ("from", "to")]


def path_nodes(path: PathPlan) -> set[str]:
    return {end["node"] for end in path["ends"]}


def check_plan(plan: Plan) -> None:
    """Refuse a plan in which two nodes share no path: nothing would be measured between them, so nothing could fail."""
    nodes = list(plan["nodes"])
    if not nodes:
        raise ValueError("the plan has no node")
    joined = {frozenset(path_nodes(path)) for path in plan["paths"]}
    for index, one in enumerate(nodes):
        for other in nodes[index + 1 :]:
            if frozenset({one, other}) not in joined:
                raise ValueError(f"the plan has no path between {one} and {other}")
