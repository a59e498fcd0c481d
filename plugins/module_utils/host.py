# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that runs a command or touches a file on a node.

Commands are lists, never shell strings; they run in the C locale, in a process group of their own that is killed when
the time is up. Files are read under a root, so that a recorded tree is a node.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TIMED_OUT = 124
NOT_FOUND = 127


@dataclass(frozen=True)
class CommandResult:
    """What a command left behind. ``rc`` is 124 when its time was up and 127 when it does not exist."""

    argv: list[str]
    rc: int
    stdout: str
    stderr: str
    duration_s: float

    @property
    def ok(self) -> bool:
        return self.rc == 0


class Process:
    """A started command; whoever started it ends it."""

    def __init__(self, argv: t.Sequence[str], popen: subprocess.Popen[str] | None) -> None:
        self.argv = list(argv)
        self._popen = popen
        self._started = time.monotonic()

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def wait(self, timeout_s: float) -> CommandResult:
        """Collect the result; when the time is up the whole process group is killed and rc is 124."""
        if self._popen is None:
            return CommandResult(self.argv, NOT_FOUND, "", f"{self.argv[0]}: command not found", 0.0)
        try:
            stdout, stderr = self._popen.communicate(timeout=timeout_s)
            rc = self._popen.returncode
        except subprocess.TimeoutExpired:
            self._kill_group()
            stdout, stderr = self._popen.communicate()
            rc = TIMED_OUT
        return CommandResult(self.argv, rc, stdout, stderr, time.monotonic() - self._started)

    def kill(self) -> CommandResult:
        self._kill_group()
        return self.wait(timeout_s=5)

    def _kill_group(self) -> None:
        if self._popen is None:
            return
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Host:
    """A node: the live one (``root="/"``), or a recorded tree with fake commands on ``path``."""

    def __init__(self, root: str | Path = "/", path: str | None = None) -> None:
        self.root = Path(root)
        self._environment = os.environ | {"LC_ALL": "C", "LANGUAGE": "C"}
        self._environment["PATH"] = path if path is not None else _with_sbin(os.environ.get("PATH", os.defpath))

    # --- commands ---

    def start(
        self, argv: t.Sequence[str], limit_s: int | None = None, environment: t.Mapping[str, str] | None = None
    ) -> Process:
        """Start a command in a process group of its own. A command that does not exist ends with rc 127.

        With a limit it also ends by itself after so many seconds, should we be killed before we can end it. An
        environment takes the place of what this process has inherited; locale and search path stay ours.
        """
        binary = self.which(argv[0])
        if binary is None:
            return Process(argv, None)
        guard = ["timeout", "--signal=KILL", str(limit_s)] if limit_s is not None else []
        popen = subprocess.Popen(
            [*guard, binary, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self._environment if environment is None else self._with(environment),
            start_new_session=True,
        )
        return Process(argv, popen)

    def run(self, argv: t.Sequence[str], timeout_s: float = 10) -> CommandResult:
        return self.start(argv).wait(timeout_s)

    def _with(self, environment: t.Mapping[str, str]) -> dict[str, str]:
        return dict(environment) | {name: self._environment[name] for name in ("LC_ALL", "LANGUAGE", "PATH")}

    def which(self, command: str) -> str | None:
        if os.sep in command:
            return command if os.access(command, os.X_OK) else None
        for folder in self._environment["PATH"].split(os.pathsep):
            candidate = os.path.join(folder, command)
            if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
                return candidate
        return None

    @contextmanager
    def scratch(self, where: str = "/tmp") -> t.Iterator[str]:  # noqa: S108 - mkdtemp makes it private
        """A private folder for the files that a command writes, removed with everything in it."""
        folder = tempfile.mkdtemp(prefix="gb10-", dir=self.path(where))
        try:
            yield "/" + os.path.relpath(folder, self.root)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # --- files ---

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """The text of a file, or None when it is missing or refuses to be read (an unused GID answers EINVAL)."""
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def lines(self, path: str) -> t.Iterator[str]:
        """The lines of a file with their ends, one at a time; none when it is missing. Foreign bytes are kept."""
        try:
            with self.path(path).open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                yield from file
        except OSError:
            return

    def read_exact(self, path: str) -> str:
        """The text of a file that writing back leaves as it was: foreign bytes and line ends included."""
        return self.path(path).read_bytes().decode("utf-8", "surrogateescape")

    def read_bytes(self, path: str, start: int, count: int) -> bytes:
        """A piece of a file, shorter where the file ends."""
        with self.path(path).open("rb") as file:
            file.seek(start)
            return file.read(count)

    def size(self, path: str) -> int | None:
        try:
            return self.path(path).stat().st_size
        except OSError:
            return None

    def read_line(self, path: str) -> str | None:
        text = self.read(path)
        return None if text is None else text.strip()

    def read_int(self, path: str) -> int | None:
        try:
            return int(self.read_line(path) or "")
        except ValueError:
            return None

    def link_name(self, path: str) -> str | None:
        """The last part of what a symbolic link points to, as sysfs names a driver or a device."""
        try:
            return os.path.basename(os.readlink(self.path(path)))
        except OSError:
            return None

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder; empty when there is none."""
        try:
            return sorted(os.listdir(self.path(path)))
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        return self.path(path).exists()

    def write(self, path: str, text: str, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
        """Replace a file in one step: after a crash there is the old text or the new one, never half of it."""
        target = self.path(path)
        temporary = _stage(target, text, mode, owner)
        try:
            _put(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise

    def write_all(self, files: t.Mapping[str, str], mode: int = 0o644) -> None:
        """Replace several files, or none of them when one cannot be written. A full disk shows before the first."""
        staged: list[tuple[str, Path]] = []
        try:
            for path, text in files.items():
                target = self.path(path)
                staged.append((_stage(target, text, mode), target))
            _put_all(staged)
        finally:
            for temporary, _target in staged:
                Path(temporary).unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        self.path(path).unlink(missing_ok=True)


def _stage(target: Path, text: str, mode: int, owner: tuple[int, int] | None = None) -> str:
    """The text on the disk, beside its target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def _put_all(staged: t.Sequence[tuple[str, Path]]) -> None:
    """Put every file in its place; when one refuses, put back what was there, from a second name of the same data."""
    with contextlib.ExitStack() as undo:
        kept = [undo.enter_context(_second_name(target)) for _temporary, target in staged]
        put: list[tuple[Path, str | None]] = []
        try:
            for (temporary, target), before in zip(staged, kept, strict=True):
                os.replace(temporary, target)
                put.append((target, before))
        except OSError:
            for target, before in reversed(put):
                target.unlink() if before is None else os.replace(before, target)
            raise


@contextmanager
def _second_name(target: Path) -> t.Iterator[str | None]:
    """Another name for a file while it may be replaced; None when there is no file."""
    if not target.exists():
        yield None
        return
    name = f"{target.parent}/.{target.name}.{os.getpid()}.before"
    try:
        try:
            os.link(target, name)
        except OSError:  # a file system without hard links
            shutil.copy2(target, name)
        yield name
    finally:
        Path(name).unlink(missing_ok=True)


def _put(temporary: str, target: Path) -> None:
    try:
        os.replace(temporary, target)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # A mount point, as /etc/hosts is in a container, cannot be replaced, only filled anew.
        target.write_bytes(Path(temporary).read_bytes())
        os.unlink(temporary)


def _with_sbin(path: str) -> str:
    """Add the system folders that a login of an ordinary user leaves out."""
    folders = path.split(os.pathsep)
    return os.pathsep.join(folders + [folder for folder in ("/usr/sbin", "/sbin") if folder not in folders])
