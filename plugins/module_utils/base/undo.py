# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back from a change that may have cut the way in: a script on the node, and the timer that runs it.

/var/lib/gb10/base/pending    a change that nobody has confirmed yet; survives a reboot, which the timer does not
"""

from __future__ import annotations

import json
import shlex
import shutil
import typing as t

from .. import revert
from ..files.apply import prune
from .part import ROOTED, BaseRefused

if t.TYPE_CHECKING:
    from ..files.apply import Change
    from ..host import Host

STATE = "/var/lib/gb10/base"
PENDING = f"{STATE}/pending"
UNIT = "gb10-base-revert"


class Way(t.TypedDict):
    """What to put back: files by their path (none: remove it) and commands."""

    files: dict[str, tuple[str, int] | None]
    commands: list[list[str]]
    final: list[list[str]]  # once it is confirmed


def rooted(host: Host, argv: t.Sequence[str]) -> list[str]:
    return [str(host.path(word[1:])) if word.startswith(ROOTED + "/") else word for word in argv]


def is_pending(host: Host) -> bool:
    return host.exists(f"{PENDING}/way.json")


def prepare(
    host: Host, changes: t.Sequence[Change], commands: list[list[str]], final: list[list[str]], after_s: int
) -> str:
    """Write the way back and start the countdown. An unconfirmed change is no state to go back to: its way stays."""
    way: Way = {
        "files": {
            change.path: (change.before.text, change.before.mode) if change.before else None for change in changes
        },
        "commands": commands,
        "final": final,
    }
    earlier = load(host)
    if earlier is not None:
        way = {
            "files": way["files"] | earlier["files"],
            "commands": [*way["commands"], *(one for one in earlier["commands"] if one not in way["commands"])],
            "final": way["final"] or earlier["final"],
        }
    _save(host, way)
    try:
        return revert.arm(host, UNIT, f"{PENDING}/restore.sh", after_s)
    except revert.NotArmed as error:
        if earlier is None:
            forget(host)
        raise BaseRefused(str(error)) from error


def load(host: Host) -> Way | None:
    text = host.read(f"{PENDING}/way.json")
    if text is None:
        return None
    try:
        data = json.loads(text)
        files = {path: None if kept is None else (str(kept[0]), int(kept[1])) for path, kept in data["files"].items()}
        commands, final = ([list(map(str, argv)) for argv in data[name]] for name in ("commands", "final"))
        return {"files": files, "commands": commands, "final": final}
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise BaseRefused(
            f"{PENDING}/way.json cannot be read ({error}); it holds the way back from a change that was not confirmed. "
            f"If the firewall and SSH of this node are as they should be, remove {PENDING} and run again"
        ) from error


def _save(host: Host, way: Way) -> None:
    """The script first: a way that can be read has a script beside it."""
    host.write(f"{PENDING}/restore.sh", _script(host, way), 0o700)
    host.write(f"{PENDING}/way.json", json.dumps(way, indent=1) + "\n", 0o600)


def _script(host: Host, way: Way) -> str:
    """On its own feet: it runs when the controller is gone, and goes on whatever fails."""
    lines = [
        "#!/bin/sh",
        "# Written by gb10.cluster, module dgx_base: puts firewall and SSH of this node back to what they were.",
        f"# Run by {UNIT}.timer when a change was not confirmed in time. Safe to run by hand.",
        "export LC_ALL=C",
        "kept=yes",
    ]
    for number, (path, kept) in enumerate(sorted(way["files"].items())):
        target = shlex.quote(str(host.path(path)))
        if kept is None:
            lines.append(f"rm -f {target} || kept=no")
            continue
        aside = f"{PENDING}/file{number}"
        host.write(aside, *kept)
        lines.append(f"mkdir -p {shlex.quote(str(host.path(path).parent))}")
        lines.append(
            f"cp -p {shlex.quote(str(host.path(aside)))} {target}.tmp && mv -f {target}.tmp {target} || kept=no"
        )
    lines += [shlex.join(rooted(host, argv)) for argv in way["commands"]]
    lines.append(f"[ $kept = yes ] && rm -rf {shlex.quote(str(host.path(PENDING)))}")
    return "\n".join(lines) + "\n"


def restore_now(host: Host) -> str:
    """Go back at once, not when the time is up. Returns what became of it; where it fails, the timer tries again."""
    result = host.run(["/bin/sh", str(host.path(f"{PENDING}/restore.sh"))], 120)
    if not result.ok:
        return (
            f"Not all files of firewall and SSH could be put back; {UNIT}.timer tries again, and by hand: "
            f"sh {PENDING}/restore.sh"
        )
    revert.disarm(host, UNIT)
    return "Firewall and SSH are as before"


def forget(host: Host) -> None:
    shutil.rmtree(host.path(PENDING), ignore_errors=True)
    prune(host, PENDING)
