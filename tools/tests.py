"""Run parts of the test suite and count: python tools/tests.py lint|unit|molecule|lab|lab-all ...

Every part runs even when an earlier one failed, so that one run tells everything. The last line counts tests; a failed
linter counts as one failed test.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".build/reports"
COVERAGE_FLOOR = 95  # per cent of branches in the pure core

LINTERS: dict[str, list[str]] = {
    "ruff": ["ruff", "check"],
    "ruff format": ["ruff", "format", "--check"],
    "mypy module_utils": ["mypy", "-p", "ansible_collections.gb10.cluster.plugins.module_utils"],
    "mypy lab": ["mypy", "-p", "lab"],
    "yamllint": ["yamllint", "--strict", "."],
    "ansible-lint": ["ansible-lint", "--offline", "-q"],
    "changelog": ["antsibull-changelog", "lint"],
    "sanity": [sys.executable, "tools/sanity.py"],
}

PYTEST: dict[str, list[str]] = {
    "unit": [
        "-n",
        "2",
        "--cov",
        "--cov-report",
        "term:skip-covered",
        "--cov-fail-under",
        str(COVERAGE_FLOOR),
        "tests/unit",
    ],
    "lab": ["--timeout", "1500", "-v", "-m", "not slow", "tests/lab"],
    "lab-all": ["--timeout", "1500", "-v", "tests/lab"],
}


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run(command: list[str], quiet: bool = False, **environment: str) -> bool:
    """Run a command in the checkout. Quiet ones show their output only when they fail."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
    )
    if quiet and result.returncode:
        print(result.stdout)
    return result.returncode == 0


def read_report(report: Path) -> Count:
    """Count a JUnit report; a part that left none has failed."""
    if not report.exists():
        return Count(failed=1)
    total = Count()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        number = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
        bad = number["failures"] + number["errors"]
        total += Count(number["tests"] - bad - number["skipped"], bad, number["skipped"])
    return total


def lint() -> Count:
    failed = 0
    for name, command in LINTERS.items():
        started = time.monotonic()
        good = run(command, quiet=True)
        failed += not good
        print(f"  {name:<18} {'ok' if good else 'FAILED':<7} {time.monotonic() - started:5.0f} s", flush=True)
    return Count(failed=failed)


def pytest(part: str) -> Count:
    report = REPORTS / f"{part}.xml"
    good = run([sys.executable, "-m", "pytest", f"--junitxml={report}", *PYTEST[part]])
    count = read_report(report)
    return count if good or count.failed else count + Count(failed=1)  # for example coverage below the floor


def molecule() -> Count:
    if not run(["tools/apt-need", "molecule/packages.txt"]):
        return Count(failed=1)
    total = Count()
    for scenario in sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")):
        report = REPORTS / f"molecule-{scenario}.xml"
        good = run(
            ["molecule", "test", "--scenario-name", scenario],
            MOLECULE_GLOB="molecule/*/molecule.yml",  # silences the hint about extensions/molecule
            PYTEST_ADDOPTS=f"--junitxml={report}",
            COVERAGE_CORE="",
        )
        count = read_report(report)
        total += count if good or count.failed else count + Count(failed=1)
    return total


def lab(part: str = "lab") -> Count:
    return pytest(part) if run(["tools/apt-need", "lab/packages.txt"]) else Count(failed=1)


PARTS = {
    "lint": lint,
    "unit": lambda: pytest("unit"),
    "molecule": molecule,
    "lab": lab,
    "lab-all": lambda: lab("lab-all"),
}


def main(names: list[str]) -> int:
    REPORTS.mkdir(parents=True, exist_ok=True)
    for report in REPORTS.glob("*.xml"):
        report.unlink()
    results: list[tuple[str, Count, float]] = []
    for name in names:
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        results.append((name, PARTS[name](), time.monotonic() - started))
    print()
    for name, count, duration in results:
        print(f"{name:<10} {count}   {duration:.0f} s")
    total = sum((count for _, count, _ in results), Count())
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
