"""python -m tests.faults: the whole matrix. -k NAME, --where recorded and --sample ask for a part of it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.contracts import EvidenceFile

from lab.errors import LabError
from tests.faults import clean, keeping, live, recorded, tools
from tests.faults.case import Case, Result, hold_against, missing
from tests.faults.live import PASSIVE, WHOLE
from tests.faults.machines import Machines, Run
from tests.faults.report import WHERE, Bar, Clean, Matrix, line
from tests.faults.runs import evidence_of

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "evidence/faults.json"
CLEAN_EVERY = 2  # faults on virtual Sparks; the runs between them prove that nothing of them is left


def main(argv: list[str] | None = None) -> int:
    asked = _parser().parse_args(argv)
    whole = not (asked.name or asked.where or asked.sample)
    started = time.monotonic()
    matrix = Matrix()
    try:
        _fill(matrix, asked)
    finally:
        matrix.seconds = time.monotonic() - started
        if whole:
            _write(REPORT, matrix.as_json())
    missed = matrix.shortfalls(Bar() if whole else None)
    print("\n".join(["", *matrix.table(), *(f"  MISSED  {reason}" for reason in missed)]))
    return 1 if missed or not matrix.results else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="The fault matrix.")
    parser.add_argument(
        "-k", dest="name", default="", help="only cases whose name, or the run that they share, has this in it"
    )
    parser.add_argument("--where", choices=WHERE, help="only faults of one place")
    parser.add_argument("--sample", action="store_true", help="only the few that CI runs")
    parser.add_argument("--keep-lab", action="store_true", help="leave the admitted virtual Sparks up for the next run")
    return parser


def _fill(matrix: Matrix, asked: argparse.Namespace) -> None:
    for case in [*_chosen(recorded.CASES, asked), *_chosen(tools.CASES, asked)]:
        evidence, seconds = evidence_of(case)
        _take(matrix, evidence, [case], seconds)
    for kept in _chosen(keeping.CASES, asked):
        _keep(matrix, [keeping.result_of(kept)], [])
    if not (asked.name or asked.where or asked.sample):
        for run in clean.runs():
            _take_clean(matrix, run)
    cases = _chosen(live.CASES, asked)
    if cases:
        _on_virtual_sparks(matrix, cases, asked)


def _on_virtual_sparks(matrix: Matrix, cases: list[live.Live], asked: argparse.Namespace) -> None:
    machines = Machines()
    try:
        for place, group in enumerate(_together(cases)):
            _inject(matrix, machines, group)
            if not asked.name and place % CLEAN_EVERY == 0:
                _take_clean(matrix, machines.clean(PASSIVE if place else WHOLE))
    finally:
        if not asked.keep_lab:
            machines.close()


def _inject(matrix: Matrix, machines: Machines, group: list[live.Live]) -> None:
    levels = () if any(not case.levels for case in group) else group[0].levels
    first, run = group[0], Run(1, None, "", 0.0)
    try:
        if first.refusal is not None:
            _keep(matrix, [machines.refused(first, first.refusal)], [])
            return
        run = machines.validate(group, levels)
    except (LabError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        run.output = f"could not be injected or judged: {error}"
    if run.evidence is None:
        print(run.output, flush=True)
    _take(matrix, run.evidence, group, run.seconds)


def _together(cases: t.Sequence[live.Live]) -> list[list[live.Live]]:
    """Cases of one run belong together; a case without one is alone."""
    groups: dict[str, list[live.Live]] = {}
    for case in cases:
        groups.setdefault(case.run or case.name, []).append(case)
    return list(groups.values())


def _take(matrix: Matrix, evidence: EvidenceFile | None, cases: t.Sequence[Case], seconds: float) -> None:
    if evidence is None:
        results, alarms = [missing(case) for case in cases], []
    else:
        results, alarms = hold_against(evidence, cases, seconds)
    _keep(matrix, results, alarms)


def _keep(matrix: Matrix, results: list[Result], alarms: list[str]) -> None:
    matrix.results += results
    matrix.alarms += [f"{' + '.join(str(result.case) for result in results)}: {alarm}" for alarm in alarms]
    print("\n".join([*map(line, results), *(f"  FALSE ALARM   {alarm}" for alarm in alarms)]), flush=True)


def _take_clean(matrix: Matrix, run: Clean) -> None:
    matrix.clean.append(run)
    state = "FALSE ALARM" if run.alarms else "clean"
    print(
        f"  {state:<14}{run.seconds:>6.1f} s  {run.where:<9} {run.name}{''.join(f'  {alarm}' for alarm in run.alarms)}",
        flush=True,
    )


CaseT = t.TypeVar("CaseT", bound=Case)


def _chosen(cases: t.Sequence[CaseT], asked: argparse.Namespace) -> list[CaseT]:
    return [
        case
        for case in cases
        if asked.name in f"{case.name} {getattr(case, 'run', '')}"
        and asked.where in (None, case.where)
        and (case.sample or not asked.sample)
    ]


def _write(path: Path, content: dict[str, t.Any]) -> None:
    """Replace the report in one step, for its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp: 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
