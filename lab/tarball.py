"""Tar archives that are the same bytes for the same content: what goes into the image and into a node's seed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A file; ``owner`` is a numeric user and group id."""

    path: str
    content: bytes
    mode: int = 0o644
    owner: int = 0


def pack(entries: Iterable[Entry], folders: Iterable[tuple[str, int, int]] = ()) -> bytes:
    """A tar archive of the entries; ``folders`` are (path, mode, owner), where the default will not do."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, mode, owner in folders:
            folder = tarfile.TarInfo(path.lstrip("/"))
            folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, mode, owner, owner
            archive.addfile(folder)
        for entry in sorted(entries, key=lambda entry: entry.path):
            file = tarfile.TarInfo(entry.path.lstrip("/"))
            file.size, file.mode, file.uid, file.gid = len(entry.content), entry.mode, entry.owner, entry.owner
            archive.addfile(file, io.BytesIO(entry.content))
    return buffer.getvalue()


def tree(root: Path, special_modes: dict[str, int]) -> list[Entry]:
    """Every file below a folder; executable files become 0755, the others 0644, unless ``special_modes`` names them."""
    entries = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = "/" + path.relative_to(root).as_posix()
            usual = 0o755 if path.stat().st_mode & 0o100 else 0o644
            entries.append(Entry(name, path.read_bytes(), special_modes.get(name, usual)))
    return entries
