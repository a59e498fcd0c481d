"""An admitted cluster of virtual Sparks that every fault starts from, and validate.yml on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import EvidenceFile
from ansible_collections.gb10.cluster.tests.unit.builders import LAB, ROOT, profile

from lab.api import Lab
from lab.errors import LabError
from tests.faults.case import Result, false_alarms
from tests.faults.live import Live, Refusal
from tests.faults.report import Clean
from tests.lab.conftest import start

PATIENCE_S = 900
ONCE = ROOT / ".build/faults/once.yml"


@dataclass
class Run:
    rc: int
    evidence: EvidenceFile | None
    output: str
    seconds: float


class Machines:
    """The lab, as it was admitted and kept."""

    def __init__(self) -> None:
        # Masters of SSH connections do not survive a reset: each run has a folder of its own for them.
        self._scratch = tempfile.TemporaryDirectory(prefix="gb10-faults-")
        _write_profile()
        self.lab = _kept() or self._admitted()

    def _admitted(self) -> Lab:
        lab = Lab.up("triangle", 3)
        lab.reset()
        run = self._play("site.yml")
        if run.evidence is None or run.evidence["verdict"]["outcome"] != "admit":
            raise LabError(f"The healthy lab was not admitted, so no fault can be judged on it.\n{run.output}")
        lab.keep()
        return lab

    def validate(self, cases: t.Sequence[Live], levels: t.Sequence[str]) -> Run:
        """Go back to the admitted cluster, inject, judge."""
        self.lab.reset()
        for case in cases:
            if not case.when_serving:
                case.inject(self.lab)
        tags = ["--tags", ",".join(levels)] if levels else []
        late = [case for case in cases if case.when_serving]
        return self._play(
            "playbooks/validate.yml", *tags, "-e", f"gate_profile=../{ONCE.relative_to(ROOT)}"[:-4], late=late
        )

    def refused(self, case: Live, refusal: Refusal) -> Result:
        """Inject, and let site.yml meet it: it must fail with a sentence and leave things as they were."""
        self.lab.reset()
        case.inject(self.lab)
        before = self._shown(refusal)
        run = self._play("site.yml")
        output = " ".join(run.output.split())  # as it was before it was fitted to a screen
        said = run.rc != 0 and all(words in output for words in refusal.says)
        print("" if said else run.output, flush=True)
        after = self._shown(refusal)
        told = {"rc": run.rc, "before": before, "after": after}
        return Result(case, detected=said, localised=said and before == after, seconds=run.seconds, said=told)

    def _shown(self, refusal: Refusal) -> str:
        return self.lab.run(refusal.node, ["sudo", "sh", "-c", refusal.unchanged]).stdout

    def clean(self, levels: t.Sequence[str]) -> Clean:
        """Judge the admitted cluster as it is."""
        run = self.validate([], levels)
        alarms = ["no verdict"] if run.evidence is None else false_alarms(run.evidence, [])
        if not alarms and run.rc != 0:
            alarms = ["refused without a finding"]
        return Clean(f"levels {', '.join(levels) or 'all'}", "live", alarms, run.seconds)

    def close(self) -> None:
        self.lab.down()
        self._scratch.cleanup()

    def _play(self, playbook: str, *options: str, late: t.Sequence[Live] = ()) -> Run:
        folder = Path(tempfile.mkdtemp(dir=self._scratch.name))
        os.environ["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(folder / "c")
        started = time.monotonic()
        process = start(playbook, *options, "-e", f"gate_evidence_dir={folder / 'evidence'}")
        try:
            if late:
                _inject_late(self.lab, late, process)
            output = process.communicate(timeout=PATIENCE_S)[0]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        seconds = time.monotonic() - started
        _hang_up(folder / "c")
        found = list((folder / "evidence").glob("[0-9]*[0-9].json"))  # run ids; a run of levels has no latest.json
        evidence = json.loads(found[0].read_text()) if found else None
        return Run(process.returncode, evidence, output, seconds)


def _kept() -> Lab | None:
    """The lab of an earlier run that broke off: whoever develops a case does not wait for an admission each time."""
    try:
        lab = Lab.current()
    except LabError:
        return None
    return lab if lab.state.kept else None


def _write_profile() -> None:
    """The lab's profile, but everything measured once: a fault shows in the first run, and there are many of them."""
    once = profile(LAB)
    once["bandwidth"] |= {"warmup": 0, "repeats": 1}
    ONCE.parent.mkdir(parents=True, exist_ok=True)
    ONCE.write_text(yaml.safe_dump(dict(once)))


def _inject_late(lab: Lab, cases: t.Sequence[Live], process: subprocess.Popen[str]) -> None:
    """Inject each when the node that it waits for serves a path."""
    waiting = list(cases)
    while waiting and process.poll() is None:
        for case in list(waiting):
            if lab.run(case.when_serving, ["pgrep", "-x", "ib_write_bw"]).returncode == 0:
                case.inject(lab)
                waiting.remove(case)
        time.sleep(1)


def _hang_up(folder: Path) -> None:
    """End the masters of the SSH connections of a run."""
    for socket in folder.glob("*"):
        subprocess.run(
            ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "node"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
