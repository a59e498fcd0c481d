# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The admission of a node as a file: given, kept, or taken back with the reason."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from ..verdict.admission import ADMISSION_FILE, issue, revocation, still_good, still_revoked

if t.TYPE_CHECKING:
    from datetime import datetime

    from ..contracts import Admission, Grant, Revocation
    from ..host import Host

# Only root can compare it with the netplan files, which are root's; nobody else needs to read it.
MODE = 0o600


class AdmissionRefused(Exception):
    """Why the file is not what it was to become; one sentence."""


@dataclass(frozen=True)
class Step:
    """What became of the file, or would."""

    action: str  # given, renewed, kept, revoked
    before: str
    after: str
    expires: str | None

    @property
    def changed(self) -> bool:
        return self.before != self.after


def give(host: Host, grant: Grant, now: datetime) -> Step:
    """A node that was started again since it was read is not the one that was measured: it gets nothing."""
    boot_id = host.read_line("/proc/sys/kernel/random/boot_id")
    if boot_id != grant["bound"]["boot_id"]:
        raise AdmissionRefused(f"{grant['node']} was started again while it was measured; measure again")
    before, wanted = host.read(ADMISSION_FILE) or "", issue(grant, now)
    found = _parsed(before)
    if still_good(found, wanted, now):
        return Step("kept", before, before, found["expires"])
    known = isinstance(found, dict) and "bound" in found
    return Step("renewed" if known else "given", before, _text(wanted), wanted["expires"])


def revoke(host: Host, node: str, run_id: str, reasons: t.Sequence[str], now: datetime) -> Step:
    before, wanted = host.read(ADMISSION_FILE) or "", revocation(node, run_id, reasons, now)
    kept = still_revoked(_parsed(before), wanted)
    return Step("kept" if kept else "revoked", before, before if kept else _text(wanted), None)


def write(host: Host, step: Step) -> None:
    try:
        host.write(ADMISSION_FILE, step.after, MODE)
    except OSError as error:
        left = "an old admission may still hold until it expires" if step.action == "revoked" else "nothing was given"
        raise AdmissionRefused(f"{ADMISSION_FILE} cannot be written ({error}); {left}") from error


def _text(document: Admission | Revocation) -> str:
    return json.dumps(document, indent=1) + "\n"


def _parsed(text: str) -> t.Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
