# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring all parts of the base to their declared state in one go, and tell what each of them has done.

Everything is worked out and checked before the first file is written. Parts that cannot cut the way in come first. For
firewall and SSH a timer on the node is armed that takes them back unless `confirmed` comes over a new connection.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from .. import revert
from ..files.apply import FileRefused, apply_changes, plan_changes, prune
from . import undo
from .part import FINGERPRINT, BaseRefused
from .parts import work_out
from .read import fingerprint, see

if t.TYPE_CHECKING:
    from ..files.apply import Change
    from ..host import Host
    from .part import Declared, Live, Part

RECORD = f"{undo.STATE}/before.json"
COMMAND_S = 120  # update-grub and swapoff are slow


@dataclass
class Job:
    """A part with the changes to its files."""

    part: Part
    changes: list[Change]

    @property
    def changed_files(self) -> list[Change]:
        return [change for change in self.changes if change.changed]

    @property
    def changed(self) -> bool:
        part = self.part
        return bool(self.changed_files or part.first or part.live or part.final)

    @property
    def live(self) -> list[Live]:
        return [*self.part.first, *self.part.live, *self.part.final]


@dataclass(frozen=True)
class Outcome:
    changed: bool
    parts: dict[str, dict[str, str]]
    changes: list[Change] = field(default_factory=list)
    live: list[Live] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reboot: list[str] = field(default_factory=list)
    revert_unit: str | None = None


def present(host: Host, declared: Declared, revert_after_s: int, check_mode: bool) -> Outcome:
    records = load_records(host)
    jobs = plan(host, declared, records)
    guarded = {name: job for name, job in jobs.items() if job.part.guarded and job.changed}
    # A change that was never confirmed goes back by itself, however much it looks as declared.
    pending = undo.is_pending(host)
    changed = pending or any(job.changed for job in jobs.values())
    unit = None
    if not check_mode:
        wanted = {name: job.part.record for name, job in jobs.items() if job.part.record is not None}
        # What is needed to go back is kept before anything changes, and what is needed no more until all is done.
        kept = records | wanted
        _save_records(host, records, kept)
        for job in jobs.values():
            if not job.part.guarded:
                _apply(host, job)
        if guarded or pending:
            unit = _apply_guarded(host, guarded, wanted, revert_after_s)
        _save_records(host, kept, wanted)
    return _outcome(jobs, changed, unit)


def confirmed(host: Host, check_mode: bool) -> Outcome:
    """The node was reached again: stop the timer, and start at boot what was only in force until now."""
    if not check_mode:
        revert.disarm(host, undo.UNIT)
    way = undo.load(host)  # read after the timer is stopped: it removes this when it fires
    if way is None:
        raise BaseRefused("The change was taken back before it was confirmed; run again, or raise dgx_os_revert_after")
    if not check_mode:
        _run_all(host, way["final"])
        undo.forget(host)
    return Outcome(True, {})


def plan(host: Host, declared: Declared, records: t.Mapping[str, t.Any]) -> dict[str, Job]:
    """What every part would do. Nothing has been touched when this refuses."""
    seen = see(host, declared, records)
    if seen.broken:
        raise BaseRefused(f"{'; '.join(seen.broken)}; nothing was changed")
    parts = work_out(declared, seen, records)
    try:
        return {name: Job(part, plan_changes(host, part.files)) for name, part in parts.items()}
    except FileRefused as refusal:
        raise BaseRefused(str(refusal)) from refusal


# --- doing it ---


def _apply(host: Host, job: Job) -> None:
    part = job.part
    _run_all(host, [argv for live in part.first for argv in live.commands])
    try:
        apply_changes(host, job.changes)
    except FileRefused as refusal:
        raise BaseRefused(str(refusal)) from refusal
    if job.changed_files:
        _run_all(host, part.after_files)
    _run_all(host, [argv for live in part.live for argv in live.commands])
    for proof in part.proofs if job.changed_files else []:
        said = host.run(proof.argv)
        if not any(line.startswith(proof.line) for line in said.stdout.splitlines()):
            raise BaseRefused(f"`{' '.join(proof.argv)}` does not say {proof.line!r}; another file comes before ours")


def _apply_guarded(host: Host, jobs: t.Mapping[str, Job], records: dict[str, t.Any], after_s: int) -> str:
    changes = [change for job in jobs.values() for change in job.changed_files]
    final = [argv for job in jobs.values() for live in job.part.final for argv in live.commands]
    unit = undo.prepare(host, changes, _way_back(jobs.values()), final, after_s)
    try:
        for name, job in jobs.items():
            _apply(host, job)
            if job.part.fingerprint:
                found = fingerprint(host, job.part.fingerprint)
                records[name] = {**(job.part.record or {}), FINGERPRINT: found}
    except (BaseRefused, OSError) as error:
        raise BaseRefused(f"{error}. {undo.restore_now(host)}") from error
    return unit


def _way_back(jobs: t.Iterable[Job]) -> list[list[str]]:
    """Run once the files are back."""
    return [
        argv
        for job in jobs
        for argv in [*(one for live in [*job.part.live, *job.part.first] for one in live.undo), *job.part.back]
    ]


def _run_all(host: Host, commands: t.Iterable[list[str]]) -> None:
    for argv in commands:
        result = host.run(undo.rooted(host, argv), COMMAND_S)
        if not result.ok:
            said = (result.stderr or result.stdout).strip().splitlines()
            raise BaseRefused(f"`{' '.join(argv)}` ended with {result.rc}: {said[-1] if said else 'it said nothing'}")


# --- the record ---


def load_records(host: Host) -> dict[str, t.Any]:
    text = host.read(RECORD)
    if text is None:
        return {}
    try:
        records = json.loads(text)
        if not isinstance(records, dict):
            raise ValueError("it is not an object")
    except ValueError as error:
        raise BaseRefused(
            f"{RECORD} cannot be read ({error}); it holds what this node was before us. Put it back, or remove it "
            "to go on without"
        ) from error
    return records


def _save_records(host: Host, before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> None:
    if before == after:
        return
    if after:
        host.write(RECORD, json.dumps(after, indent=1, sort_keys=True) + "\n", 0o600)
    else:
        host.remove(RECORD)
        prune(host, RECORD)


# --- telling it ---


def _outcome(jobs: t.Mapping[str, Job], changed: bool, unit: str | None) -> Outcome:
    parts = [job.part for job in jobs.values()]
    skipped = [f"{part.name}: asked for and not done: {part.skipped}" for part in parts if part.asked and part.skipped]
    return Outcome(
        changed,
        {name: _state(job) for name, job in jobs.items()},
        [change for job in jobs.values() for change in job.changed_files],
        [live for job in jobs.values() for live in job.live],
        [
            *skipped,
            *(
                f"{part.name}: {note}"
                for part in parts
                for note in [*part.notes, *([part.reboot] if part.reboot else [])]
            ),
        ],
        [part.reboot for part in parts if part.reboot],
        unit,
    )


def _state(job: Job) -> dict[str, str]:
    """Skipped, and yet changed: what the part had done before is taken back."""
    state = "changed" if job.changed else "skipped" if job.part.skipped else "kept"
    return {"name": job.part.name, "state": state, "reason": job.part.skipped or ""}
