# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder on the controller that keeps what runs found, and what later runs are held against."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from .contracts import EvidenceFile
from .host import Host
from .verdict import quarantine
from .verdict.baseline import (
    BASELINE_FILE,
    CARRIERS_FILE,
    baseline_document,
    carriers_document,
    parse_baseline,
    parse_carriers,
)
from .verdict.memory import Memory, Remembered
from .verdict.share import shareable

LATEST = "latest.json"
QUARANTINE_FILE = "quarantine.json"


class EvidenceFolder:
    """One file for each run, the latest of them, and the memory of the gate. All for their owner alone."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._host = Host(folder)

    def memory(self) -> Memory:
        """What earlier runs left. Raises ValueError when a file is there and is not what a run has written."""
        return Memory(
            numbers=parse_baseline(self._text(BASELINE_FILE), self._where(BASELINE_FILE)),
            marks=parse_carriers(self._text(CARRIERS_FILE), self._where(CARRIERS_FILE)),
        )

    def kept_out(self) -> quarantine.Memory:
        """Who is kept out. Only a file that is not there is empty; ValueError as above."""
        text = self._text(QUARANTINE_FILE)
        return quarantine.empty() if text is None else quarantine.parsed(text, self._where(QUARANTINE_FILE))

    def write(self, evidence: EvidenceFile, before: Memory, remembered: Remembered, kept_out: quarantine.Memory) -> str:
        """Keep a run and what it leaves: all of it or, with an OSError, nothing. Returns the name of its file."""
        name, files = _of_run(evidence)
        if remembered.kept.changed:
            files[BASELINE_FILE] = _text(baseline_document(remembered.kept.numbers))
        if remembered.marks != before.marks:
            files[CARRIERS_FILE] = _text(carriers_document(remembered.marks))
        if kept_out.nodes or kept_out.degraded or (self.folder / QUARANTINE_FILE).exists():
            files[QUARANTINE_FILE] = quarantine.written(kept_out)
        return self._write_all(name, files | {LATEST: files[name]})

    def write_levels(self, evidence: EvidenceFile) -> str:
        """Keep a run of some levels. What the last whole run said stays the latest."""
        return self._write_all(*_of_run(evidence))

    def _write_all(self, name: str, files: dict[str, str]) -> str:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._host.write_all(files, mode=0o600)
        return self._where(name)

    def _where(self, name: str) -> str:
        return str(self.folder / name)

    def _text(self, name: str) -> str | None:
        try:
            return self._host.read_exact(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(f"{self._where(name)} cannot be read: {error}") from error


def _of_run(evidence: EvidenceFile) -> tuple[str, dict[str, str]]:
    """The name of a run's file, and its files."""
    name = f"{evidence['run_id']}.json"
    return name, {name: _text(evidence), f"{evidence['run_id']}.share.json": _text(shareable(evidence))}


def _text(document: t.Any) -> str:
    return json.dumps(document, indent=1, sort_keys=False) + "\n"
