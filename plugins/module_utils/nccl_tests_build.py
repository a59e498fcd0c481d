# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the programs of nccl-tests on a node, for the MPICH, CUDA and NCCL that it has.

A build is known by its stamp: the archive and everything it was built with. The same stamp is not built again. The
programs appear in their place in one step, when all of them are built.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import typing as t
from pathlib import Path

from ansible.module_utils.urls import open_url

from .probe.error import excerpt
from .probe.nccl_programs import PROGRAMS

if t.TYPE_CHECKING:
    from .host import Host

ROOT = "/usr/local/lib/gb10/nccl-tests"
STAMP = "stamp.json"
TAG = re.compile(r"v[0-9]+(\.[0-9]+){1,3}")
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_ARCHIVE = 64 << 20
FETCH_S, BUILD_S, SHOW_S = 120, 1800, 20
WRAPPERS = ("mpicc.mpich", "mpicc")


class Refused(Exception):
    """It cannot be built; the message says what is missing and what to do."""


class Source(t.NamedTuple):
    tag: str
    archive: str  # https://..., or a path on the node
    sha256: str


class Tools(t.NamedTuple):
    """What the node has to build with."""

    make: str
    cuda_home: str
    nccl_home: str
    mpi_include: str
    mpi_library: str
    versions: dict[str, str]


def stamp_of(source: Source, tools: Tools, gencode: str) -> dict[str, t.Any]:
    built_with = {name: value for name, value in tools._asdict().items() if name != "make"}
    return {"tag": source.tag, "sha256": source.sha256, "gencode": gencode} | built_with


def folder_of(tag: str) -> str:
    return f"{ROOT}/{tag}"


def check_source(source: Source) -> None:
    if not TAG.fullmatch(source.tag):
        raise Refused(f"{source.tag!r} is no tag of nccl-tests, which look like v2.18.3")
    if not SHA256.fullmatch(source.sha256):
        raise Refused(
            f"the sha256 of the archive of {source.tag} must be 64 hexadecimal digits, found {source.sha256!r}"
        )
    if not source.archive.startswith(("https://", "/")):
        raise Refused(f"the archive must be an https URL or a path on the node, found {source.archive!r}")


# --- what the node has ---


def find_tools(host: Host, cuda_home: str, nccl_home: str) -> Tools:
    make = host.which("make")
    if make is None:
        raise Refused("make is not installed: install the package make")
    nvcc = f"{cuda_home}/bin/nvcc"
    if not host.exists(nvcc):
        raise Refused(f"there is no {nvcc}: install the CUDA toolkit, or name its folder")
    header = host.read(f"{nccl_home}/include/nccl.h")
    if header is None:
        raise Refused(f"there is no {nccl_home}/include/nccl.h: install the package libnccl-dev, or name NCCL's folder")
    include, library = _mpich(host)
    nvcc_says = host.run([str(host.path(nvcc)), "--version"], timeout_s=SHOW_S).stdout.strip().splitlines()
    versions = {
        "cuda": nvcc_says[-1] if nvcc_says else "",
        "nccl": _nccl_version(header),
        "mpich": _so_name(host, library),
    }
    return Tools(make, cuda_home, nccl_home, include, library, versions)


def _mpich(host: Host) -> tuple[str, str]:
    """The folder of mpi.h and the library, as MPICH's own compiler wrapper names them."""
    for wrapper in WRAPPERS:
        shown = host.run([wrapper, "-show"], timeout_s=SHOW_S)
        words = shlex.split(shown.stdout) if shown.ok else []
        includes = [word[2:] for word in words if word.startswith("-I")]
        folders = [word[2:] for word in words if word.startswith("-L")]
        found = next((f"{folder}/libmpich.so" for folder in folders if host.exists(f"{folder}/libmpich.so")), None)
        include = next((folder for folder in includes if host.exists(f"{folder}/mpi.h")), None)
        if found and include:
            return include, found
    raise Refused("MPICH is not installed with its headers: install the packages mpich and libmpich-dev")


def _nccl_version(header: str) -> str:
    numbers = [re.search(rf"#define NCCL_{part}\s+([0-9]+)", header) for part in ("MAJOR", "MINOR", "PATCH")]
    return ".".join(number[1] for number in numbers if number)


def _so_name(host: Host, library: str) -> str:
    return host.link_name(library) or Path(library).name


# --- states ---


def is_built(host: Host, stamp: dict[str, t.Any]) -> bool:
    folder = folder_of(stamp["tag"])
    try:
        known = json.loads(host.read(f"{folder}/{STAMP}") or "")
    except ValueError:
        return False
    return bool(known == stamp) and all(host.exists(f"{folder}/{name}") for name in PROGRAMS.values())


def build(host: Host, source: Source, tools: Tools, gencode: str) -> None:
    """Fetch, compare, unpack, build, and put into place."""
    with host.scratch("/var/tmp") as scratch:  # noqa: S108 - private, and larger than what a /tmp in memory may be
        work = host.path(scratch)
        archive = work / "archive.tar.gz"
        _fetch(host, source, archive)
        tree = _unpack(host, archive, work / "source")
        _make(host, tree, _mpi_home(host, tools, work / "mpi"), tools, gencode)
        _install(host, tree / "build", stamp_of(source, tools, gencode))


def remove(host: Host) -> bool:
    """All builds; whether there was one."""
    if not host.exists(ROOT):
        return False
    shutil.rmtree(host.path(ROOT))
    return True


def _fetch(host: Host, source: Source, to: Path) -> None:
    try:
        if source.archive.startswith("/"):
            data = host.read_bytes(source.archive, 0, MAX_ARCHIVE + 1)
        else:
            with open_url(source.archive, timeout=FETCH_S) as answer:
                data = answer.read(MAX_ARCHIVE + 1)
    except OSError as error:
        raise Refused(f"{source.archive} cannot be read: {getattr(error, 'reason', None) or error}") from error
    if len(data) > MAX_ARCHIVE:
        raise Refused(f"{source.archive} is larger than {MAX_ARCHIVE >> 20} MiB, which no nccl-tests is")
    found = hashlib.sha256(data).hexdigest()
    if found != source.sha256:
        raise Refused(f"{source.archive} has the sha256 {found}, expected {source.sha256}: it is not what was pinned")
    to.write_bytes(data)


def _unpack(host: Host, archive: Path, to: Path) -> Path:
    """The one folder in the archive, nccl-tests-VERSION in those of GitHub."""
    to.mkdir()
    # tar leaves out what would land outside of the folder; the filters of tarfile are missing in Python 3.11.2.
    result = host.run(
        ["tar", "--extract", "--no-same-owner", f"--file={archive}", f"--directory={to}"], timeout_s=FETCH_S
    )
    if not result.ok:
        raise Refused(f"the archive cannot be unpacked: {excerpt(result.stderr, 300)}")
    trees = [folder for folder in to.iterdir() if (folder / "src/Makefile").is_file()]
    if len(trees) != 1:
        raise Refused(f"the archive has {len(trees)} folders with a src/Makefile instead of one: is it nccl-tests?")
    return trees[0]


def _mpi_home(host: Host, tools: Tools, home: Path) -> Path:
    """The Makefile links -lmpi of one folder. Debian has it elsewhere, and there it may be that of Open MPI."""
    (home / "lib").mkdir(parents=True)
    (home / "include").symlink_to(host.path(tools.mpi_include))
    (home / "lib/libmpi.so").symlink_to(host.path(tools.mpi_library))
    return home


def _make(host: Host, tree: Path, mpi_home: Path, tools: Tools, gencode: str) -> None:
    settings = {
        "MPI": "1",
        "MPI_HOME": str(mpi_home),
        "CUDA_HOME": str(host.path(tools.cuda_home)),
        "NCCL_HOME": str(host.path(tools.nccl_home)),
        "NVCC_GENCODE": gencode,
    }
    jobs = f"-j{os.cpu_count() or 1}"
    argv = [tools.make, "-C", str(tree), jobs, *(f"{name}={value}" for name, value in settings.items())]
    result = host.run(argv, timeout_s=BUILD_S)
    if not result.ok:
        lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise Refused(f"make ended with {result.rc}: {excerpt(lines[-1] if lines else 'no word', 300)}")
    absent = [name for name in PROGRAMS.values() if not (tree / "build" / name).is_file()]
    if absent:
        raise Refused(f"make built no {absent[0]}")


def _install(host: Host, built: Path, stamp: dict[str, t.Any]) -> None:
    """Beside its place first, so that a build that breaks off leaves what was there."""
    place = host.path(folder_of(stamp["tag"]))
    new, old = place.with_name(f".{place.name}.new"), place.with_name(f".{place.name}.old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(parents=True, mode=0o755)
    for file in (*(built / name for name in PROGRAMS.values()), *built.glob("*.so*")):
        shutil.copy2(file, new / file.name)
    (new / STAMP).write_text(json.dumps(stamp, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)
