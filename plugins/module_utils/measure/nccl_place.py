# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rank finds where it runs: its NCCL, its limits, its devices, and settings that its image brings along.

Copied beside nccl_bench.py: nothing but the standard library, Python 3.10 or newer.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import resource
import struct
import typing as t
from pathlib import Path

PT_NOTE = 4
NT_GNU_BUILD_ID = 3
UNLIMITED = -1
CONF = "/etc/nccl.conf"
VERBS = "libibverbs.so.1"
DEVICES = "/dev/infiniband"

_SETTING = re.compile(r"\s*(NCCL_\w+)\s*=\s*(.*?)\s*")


def inside(brought: dict[str, str], environment: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Limits, devices and settings (N15-N17). ``brought`` is what the image sets; anything else is not told."""
    return {
        "memlock_kib": memlock_kib(),
        "uverbs": sorted(name for name in _names(DEVICES) if name.startswith("uverbs")),
        "verbs_library": _loads(VERBS),
        "nccl_files": nccl_files(environment),
        "environment": brought,
    }


def memlock_kib() -> int | None:
    soft, _hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft // 1024


def nccl_files(environment: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """The files NCCL reads here, in its order, with the settings of NCCL in them."""
    home = f"{environment.get('HOME') or '/root'}/.nccl.conf"
    found = []
    for path in dict.fromkeys(filter(None, (environment.get("NCCL_CONF_FILE"), home, CONF))):
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found.append({"path": path, "settings": settings(text)})
    return found


def settings(text: str) -> dict[str, str]:
    matches = (_SETTING.fullmatch(line.split("#", 1)[0]) for line in text.splitlines())
    return {match[1]: match[2] for match in matches if match}


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _loads(library_name: str) -> bool:
    try:
        ctypes.CDLL(library_name)
    except OSError:
        return False
    return True


def library(maps: str, built_against: t.Any) -> dict[str, t.Any]:
    """The NCCL that this process has mapped. Its version is the file's own answer, the headers are those of torch."""
    paths = mapped(maps, "libnccl.so")
    path = paths[0] if paths else None
    return {
        "version": _version_of(path) if path else None,
        "headers": ".".join(map(str, built_against)) if isinstance(built_against, tuple) else None,
        "path": path,
        "build_id": build_id(path) if path else None,
        "size_bytes": _size_of(path) if path else None,
        "subnet_aware_routing": _knows(path, b"NCCL_IB_SUBNET_AWARE_ROUTING") if path else None,
        "others": paths[1:],
    }


def mapped(maps: str, name: str) -> list[str]:
    """The files of this name in /proc/self/maps."""
    fields = (line.split(maxsplit=5) for line in maps.splitlines())
    paths = (field[5].removesuffix(" (deleted)") for field in fields if len(field) == 6)
    return list(dict.fromkeys(path for path in paths if Path(path).name.startswith(name)))


def build_id(path: str) -> str | None:
    """The GNU build-id of a 64-bit little-endian ELF file."""
    try:
        with Path(path).open("rb") as file:
            for notes, align in _note_segments(file):
                for owner, kind, content in _notes(notes, align):
                    if (owner, kind) == (b"GNU\0", NT_GNU_BUILD_ID):
                        return content.hex()
    except (OSError, struct.error):
        pass
    return None


def _note_segments(file: t.BinaryIO) -> t.Iterator[tuple[bytes, int]]:
    head = file.read(64)
    if head[:6] != b"\x7fELF\x02\x01":
        return
    (table,) = struct.unpack_from("<Q", head, 32)
    entry_size, entries = struct.unpack_from("<HH", head, 54)
    for number in range(entries):
        file.seek(table + number * entry_size)
        kind, _flags, offset, _virtual, _physical, size, _memory, align = struct.unpack("<II6Q", file.read(56))
        if kind == PT_NOTE:
            file.seek(offset)
            yield file.read(min(size, 1 << 20)), 8 if align == 8 else 4


def _notes(data: bytes, align: int) -> t.Iterator[tuple[bytes, int, bytes]]:
    at = 0
    while at + 12 <= len(data):
        owner_size, size, kind = struct.unpack_from("<III", data, at)
        content = at + 12 + _padded(owner_size, align)
        yield data[at + 12 : at + 12 + owner_size], kind, data[content : content + size]
        at = content + _padded(size, align)


def _padded(size: int, align: int) -> int:
    return -(-size // align) * align


def _version_of(path: str) -> str | None:
    try:
        code = ctypes.c_int()
        if ctypes.CDLL(path).ncclGetVersion(ctypes.byref(code)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return f"{code.value // 10000}.{code.value // 100 % 100}.{code.value % 100}"


def _knows(path: str, name: bytes) -> bool | None:
    """Whether the library has a setting. Its version number says less: a build may carry it early, or not at all."""
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(name) >= 0
    except (OSError, ValueError):
        return None


def _size_of(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except OSError:
        return None
