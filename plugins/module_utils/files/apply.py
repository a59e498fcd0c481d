# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a list of files to their declared state: all is worked out and checked before the first one is written."""

from __future__ import annotations

import os
import re
import stat
import typing as t
from dataclasses import dataclass, replace
from pathlib import Path

from .edit import EditError, edit_block, edit_settings

if t.TYPE_CHECKING:
    from ..host import Host

OWN_FOLDER = "gb10"
OWN_DROP_INS = (".service.d", ".slice.d")  # systemd makes none of them itself
BACKUP_SUFFIX = ".gb10-original"
DEFAULT_MODE = "0644"


class Settings(t.TypedDict):
    set: dict[str, str] | None
    unset: list[str] | None


class FileSpec(t.TypedDict):
    """One item of the module's option files. Exactly one of content, block, settings and absent is given."""

    path: str
    content: str | None
    mode: str | None
    block: str | None
    marker: str
    disable_lines: list[str] | None
    settings: Settings | None
    absent: bool | None
    backup: bool
    restore: bool
    validate: list[str] | None


class FileRefused(Exception):
    """Why nothing was written; one sentence with the path."""


@dataclass(frozen=True)
class Content:
    text: str
    mode: int
    owner: tuple[int, int]


NO_FILE = Content("", 0o600, (os.geteuid(), os.getegid()))


@dataclass(frozen=True)
class Change:
    path: str
    before: Content | None
    after: Content | None  # None: no file
    backup: bool
    spent: bool = False  # the original is back in place, so its copy goes

    @property
    def action(self) -> str:
        if not self.changed:
            return "unchanged"
        if self.before is None:
            return "created"
        return "updated" if self.after else "removed"

    @property
    def changed(self) -> bool:
        return self.before != self.after or self.spent


def plan_changes(host: Host, specs: t.Sequence[FileSpec]) -> list[Change]:
    """What would have to be written. Raises FileRefused, and has touched nothing then."""
    changes: list[Change] = []
    for spec in specs:
        if not spec["path"].startswith("/"):
            raise FileRefused(f"{spec['path']} is not an absolute path")
        if any(spec["path"] == change.path for change in changes):
            raise FileRefused(f"{spec['path']} is listed twice; give each file one item")
        before = _found(host, spec["path"])
        change = _change(host, spec, before)
        if change.changed and change.after and spec["validate"]:
            _validate(host, spec["path"], change.after, spec["validate"])
        changes.append(change)
    return changes


def apply_changes(host: Host, changes: t.Sequence[Change]) -> None:
    """Write them in order. When one fails, those before it get their old content back."""
    done: list[Change] = []
    for change in filter(lambda change: change.changed, changes):
        try:
            _back_up(host, change)
            _place(host, change.path, change.after)
        except OSError as error:
            for earlier in reversed(done):
                _place(host, earlier.path, earlier.before)
            raise FileRefused(f"{change.path} could not be written, and all files are as before: {error}") from error
        done.append(change)
    for change in done:
        if change.spent:
            host.remove(change.path + BACKUP_SUFFIX)


# --- what the operator sees with --diff ---


def diff(change: Change) -> dict[str, str]:
    return {
        "before_header": _header(change.path, change.before),
        "after_header": _header(change.path, change.after),
        "before": _printable(change.before),
        "after": _printable(change.after),
    }


def _header(path: str, content: Content | None) -> str:
    return f"{path} (mode {content.mode:04o})" if content else f"{path} (no file)"


def _printable(content: Content | None) -> str:
    """Foreign bytes that are not UTF-8 cannot travel in a module's JSON."""
    return content.text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if content else ""


# --- what is there, what is wanted ---


def _found(host: Host, path: str) -> Content | None:
    target = host.path(path)
    try:
        status = target.lstat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
            raise FileRefused(
                f"{path} is {kind}, and writing it would change something else; replace it by a file first"
            )
        return Content(host.read_exact(path), stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error}") from error


def _change(host: Host, spec: FileSpec, before: Content | None) -> Change:
    wanted = _wanted(spec, before)
    original = _found(host, spec["path"] + BACKUP_SUFFIX) if spec["restore"] else None
    if original is None:
        # A block has our marker; a setting has not, and without a copy it was never ours to take out.
        foreign = spec["restore"] and spec["settings"] is not None
        return Change(spec["path"], before, before if foreign else wanted, spec["backup"])
    # Without us both are the same: nobody else has changed the file since, and the original is right byte for byte.
    untouched = _text(_wanted(spec, original)) == _text(wanted)
    was = original if original.text else None
    return Change(spec["path"], before, was if untouched else wanted, False, spent=untouched)


def _text(content: Content | None) -> str:
    return content.text.rstrip("\n") if content else ""


def _wanted(spec: FileSpec, before: Content | None) -> Content | None:
    own = Content(spec["content"] or "", _mode(spec), (os.geteuid(), os.getegid()))
    if spec["absent"]:
        return None
    if spec["content"] is not None:
        return own
    # A foreign file keeps its mode and owner; one of which we leave nothing is removed.
    start = before or own
    try:
        text = _edited(spec, start.text)
    except EditError as error:
        raise FileRefused(f"{spec['path']} {error}") from None
    if not text and text != start.text:
        return None
    return None if before is None and not text else replace(start, text=text)


def _edited(spec: FileSpec, text: str) -> str:
    settings = spec["settings"]
    if settings is not None:
        return edit_settings(text, settings["set"] or {}, settings["unset"] or [])
    return edit_block(text, spec["block"] or "", spec["marker"], spec["disable_lines"] or [])


def _mode(spec: FileSpec) -> int:
    mode = spec["mode"] or DEFAULT_MODE
    if not re.fullmatch(r"0[0-7]{3}", mode):
        raise FileRefused(f"{spec['path']} is to have mode {mode!r}; expected four octal digits in quotes, like '0644'")
    return int(mode, 8)


def _validate(host: Host, path: str, content: Content, command: t.Sequence[str]) -> None:
    # Host.write places by rename, so a link laid under this name is replaced and not followed.
    scratch = f"/tmp/.gb10-check-{os.getpid()}-{os.path.basename(path)}"  # noqa: S108
    host.write(scratch, content.text, 0o600)
    try:
        result = host.run([word.replace("%s", str(host.path(scratch))) for word in command], timeout_s=60)
    finally:
        host.remove(scratch)
    if not result.ok:
        said = (result.stderr or result.stdout).strip()
        raise FileRefused(
            f"{path} would not be valid, {command[0]} ended with {result.rc}: {said}; nothing was written"
        )


# --- writing ---


def _back_up(host: Host, change: Change) -> None:
    """The original, once: a second run must not replace it by our own version. No file is kept as an empty one."""
    if change.backup and not host.exists(change.path + BACKUP_SUFFIX):
        _place(host, change.path + BACKUP_SUFFIX, change.before or NO_FILE)


def _place(host: Host, path: str, content: Content | None) -> None:
    if content is None:
        host.remove(path)
        prune(host, path)
    else:
        host.write(path, content.text, content.mode, content.owner)


def prune(host: Host, path: str) -> None:
    """Remove folders of ours that a removed file has left empty."""
    for folder in Path(path).parents:
        if not any(part.startswith(OWN_FOLDER) for part in folder.parts) and not folder.name.endswith(OWN_DROP_INS):
            return
        try:
            host.path(str(folder)).rmdir()
        except OSError:  # not empty, or not there
            return
