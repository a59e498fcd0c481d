"""A fault as data, and how a verdict is held against it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ansible_collections.gb10.cluster.plugins.module_utils.contracts import (
    Cause,
    CheckRecord,
    EvidenceFile,
    OutcomeName,
)
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.records import is_root, title

Where = t.Literal["recorded", "tool", "live"]


@dataclass(frozen=True)
class Expected:
    """What a verdict must say of a fault."""

    finding: str  # check and subject, as blocked_by names them: "L04 spark1:p0:a"
    suspects: tuple[str, ...]  # of the diagnosis, when the fault is alone
    action: str  # how the next action begins
    outcome: OutcomeName = "fail"
    cause: Cause | None = "configuration"
    signature: str | None = None
    also: tuple[str, ...] = ()  # other findings that belong to this fault, as patterns
    noted: bool = False  # the profile only observes the check: nothing refuses, and its record says what to do


@dataclass(frozen=True)
class Case:
    name: str
    where: Where
    expected: Expected
    sample: bool = False  # one of the few that CI runs

    def __str__(self) -> str:
        return self.name


@dataclass
class Result:
    """What became of one case."""

    case: Case
    detected: bool
    localised: bool
    seconds: float
    said: dict[str, t.Any] = field(default_factory=dict)


def hold_against(evidence: EvidenceFile, cases: t.Sequence[Case], seconds: float) -> tuple[list[Result], list[str]]:
    """The results of the cases that one run had, and the false alarms of that run.

    One fault alone must be named exactly. Of several in one run each must be among the findings and among the
    suspects, with its own remedy: the next action is only one.
    """
    results = [_result(evidence, case, len(cases) == 1, seconds) for case in cases]
    return results, false_alarms(evidence, cases)


def false_alarms(evidence: EvidenceFile, cases: t.Sequence[Case]) -> list[str]:
    """Findings that nobody caused, each with what was said of it."""
    meant = [pattern for case in cases for pattern in (case.expected.finding, *case.expected.also)]
    found = [record for record in evidence["records"] if is_root(record)]
    return [
        f"{title(record)}: {record['message']}"
        for record in found
        if not any(fnmatchcase(title(record), pattern) for pattern in meant)
    ]


def missing(case: Case) -> Result:
    """A run that left no evidence has found nothing."""
    return Result(case, detected=False, localised=False, seconds=0.0, said={"blocked_by": None})


def _result(evidence: EvidenceFile, case: Case, alone: bool, seconds: float) -> Result:
    verdict, expected = evidence["verdict"], case.expected
    found = [record for record in evidence["records"] if _is_it(record, expected)]
    diagnosis = verdict["diagnosis"]
    said = {
        "blocked_by": verdict["blocked_by"],
        "suspects": diagnosis["suspects"],
        "next_action": diagnosis["next_action"],
        "message": found[0]["message"] if found else None,
    }
    detected = bool(found) and (expected.noted or verdict["outcome"] == "refuse")
    return Result(case, detected, detected and _localised(evidence, expected, found, alone), seconds, said)


def _is_it(record: CheckRecord, expected: Expected) -> bool:
    return (
        (not record["required"] if expected.noted else is_root(record))
        and title(record) == expected.finding
        and record["outcome"] == expected.outcome
        and record["cause"] == expected.cause
        and expected.signature in (None, record["signature"])
    )


def _localised(evidence: EvidenceFile, expected: Expected, found: list[CheckRecord], alone: bool) -> bool:
    diagnosis = evidence["verdict"]["diagnosis"]
    suspects = set(diagnosis["suspects"])
    if expected.noted:
        return any(record["remedy"][0].startswith(expected.action) for record in found if record["remedy"])
    if alone:
        return suspects == set(expected.suspects) and (diagnosis["next_action"] or "").startswith(expected.action)
    suspects |= {part for name in suspects for part in name.split(" and ")}  # what several faults have in common
    actions = [diagnosis["next_action"] or "", *(f"{title(record)}: {record['message']}" for record in found)]
    actions += [remedy for record in found for remedy in record["remedy"]]
    return set(expected.suspects) <= suspects and any(action.startswith(expected.action) for action in actions)
