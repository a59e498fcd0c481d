"""What the matrix showed, as lines and as evidence/faults.json; and whether it is enough."""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import dataclass, field

from tests.faults.case import Result, Where

WHERE: tuple[Where, ...] = ("recorded", "tool", "live")


@dataclass(frozen=True)
class Bar:
    """The least that a whole run must show."""

    injected: int = 60
    live: int = 25
    clean: int = 50
    clean_live: int = 10


@dataclass
class Clean:
    """A run in which nothing was wrong."""

    name: str
    where: Where
    alarms: list[str]
    seconds: float


@dataclass
class Matrix:
    results: list[Result] = field(default_factory=list)
    clean: list[Clean] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)  # beside a fault: "case: finding"
    seconds: float = 0.0

    @property
    def false_alarms(self) -> int:
        return len(self.alarms) + sum(len(run.alarms) for run in self.clean)

    def shortfalls(self, needed: Bar | None) -> list[str]:
        """Why this is not good enough. Without it (a part was asked for) only what went wrong counts."""
        missed = [f"{result.case}: not detected" for result in self.results if not result.detected]
        missed += [f"{r.case}: detected, but not localised" for r in self.results if r.detected and not r.localised]
        missed += [f"false alarm, {alarm}" for alarm in self.alarms]
        missed += [f"false alarm, {run.name}: {alarm}" for run in self.clean for alarm in run.alarms]
        if needed is not None:
            counted = {
                "faults": (len(self.results), needed.injected),
                "faults on virtual Sparks": (self._injected("live"), needed.live),
                "clean runs": (len(self.clean), needed.clean),
                "clean runs on virtual Sparks": (sum(run.where == "live" for run in self.clean), needed.clean_live),
            }
            missed += [
                f"{count} {what}, and the bar is {least}" for what, (count, least) in counted.items() if count < least
            ]
        return missed

    def as_json(self) -> dict[str, t.Any]:
        return {
            "schema": "1",
            "injected": len(self.results),
            "detected": sum(result.detected for result in self.results),
            "localised": sum(result.localised for result in self.results),
            "false_alarms": self.false_alarms,
            "clean_runs": len(self.clean),
            "live": {"injected": self._injected("live"), "clean_runs": sum(run.where == "live" for run in self.clean)},
            "seconds": round(self.seconds, 1),
            "alarms": self.alarms,
            "cases": [_case(result) for result in self.results],
            "clean": [
                {"name": run.name, "where": run.where, "alarms": run.alarms, "seconds": round(run.seconds, 1)}
                for run in self.clean
            ],
        }

    def table(self) -> list[str]:
        """One line for each place, and the sum."""
        lines = [f"  {'':<10}{'injected':>10}{'detected':>10}{'localised':>11}{'clean runs':>12}"]
        clean = Counter(run.where for run in self.clean)
        for where in WHERE:
            mine = [result for result in self.results if result.case.where == where]
            lines.append(_row(where, mine, clean[where]))
        lines.append(_row("all", self.results, len(self.clean)))
        return [*lines, f"  false alarms: {self.false_alarms}   {self.seconds:.0f} s"]

    def _injected(self, where: Where) -> int:
        return sum(result.case.where == where for result in self.results)


def line(result: Result) -> str:
    """What is printed as soon as a case is over."""
    state = "ok" if result.localised else "NOT LOCALISED" if result.detected else "NOT DETECTED"
    found = result.case.expected.finding
    text = f"  {state:<14}{result.seconds:>6.1f} s  {result.case.where:<9} {result.case.name}  [{found}]"
    if result.localised:
        return text
    return text + "".join(f"\n{'':<26}{key}: {value}" for key, value in result.said.items())


def _row(name: str, results: list[Result], clean: int) -> str:
    detected, localised = (sum(getattr(r, key) for r in results) for key in ("detected", "localised"))
    return f"  {name:<10}{len(results):>10}{detected:>10}{localised:>11}{clean:>12}"


def _case(result: Result) -> dict[str, t.Any]:
    expected = result.case.expected
    return {
        "name": result.case.name,
        "where": result.case.where,
        "expected": {
            "finding": expected.finding,
            "outcome": expected.outcome,
            "cause": expected.cause,
            "suspects": list(expected.suspects),
            "next_action": expected.action,
        },
        "detected": result.detected,
        "localised": result.localised,
        "seconds": round(result.seconds, 1),
        **result.said,
    }
