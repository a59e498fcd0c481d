"""nccl-tests are built with a real make and a Makefile that stands for theirs; nvcc and mpicc are scripts."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils import nccl_tests_build as building
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host

MAKEFILE = """all:
\t@test "$(MPI)" = 1 && test -e "$(MPI_HOME)/include/mpi.h" && test -e "$(MPI_HOME)/lib/libmpi.so"
\t@test -x "$(CUDA_HOME)/bin/nvcc" && test -e "$(NCCL_HOME)/include/nccl.h"
\t@mkdir -p build && echo "$(NVCC_GENCODE)" > build/all_gather_perf && cp build/all_gather_perf build/all_reduce_perf
\t@chmod 755 build/*_perf && touch build/all_gather.o
"""
BROKEN = "all:\n\t@echo 'nvcc fatal: Unsupported gpu architecture' >&2; exit 2\n"
GENCODE = "-gencode=arch=compute_121,code=sm_121"
HEADER = "#define NCCL_MAJOR 2\n#define NCCL_MINOR 30\n#define NCCL_PATCH 7\n"

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def archive(folder: Path, makefile: str, trees: t.Sequence[str] = ("nccl-tests-2.18.3",)) -> building.Source:
    """As those of GitHub: one folder with the version in its name (NVIDIA/nccl-tests v2.18.3)."""
    file = folder / "v2.18.3.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for tree in trees:
            for name, text in ((f"{tree}/Makefile", makefile), (f"{tree}/src/Makefile", "")):
                entry = tarfile.TarInfo(name)
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
    return building.Source("v2.18.3", f"/{file.name}", hashlib.sha256(file.read_bytes()).hexdigest())


class Node:
    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("bin", "var/tmp", "usr/local/cuda/bin", "usr/include/mpich", "usr/lib"):
            (root / folder).mkdir(parents=True)
        self.script("usr/local/cuda/bin/nvcc", "echo 'Cuda compilation tools, release 13.0, V13.0.88'")
        (root / "usr/include/nccl.h").write_text(HEADER)
        (root / "usr/include/mpich/mpi.h").write_text("")
        (root / "usr/lib/libmpich.so").symlink_to("libmpich.so.12.2.2")
        (root / "usr/lib/libmpich.so.12.2.2").write_text("")
        # What Debian's mpich 4.0.2 says.
        self.script("bin/mpicc.mpich", "echo gcc -Wl,-z,relro -I/usr/include/mpich -L/usr/lib -lmpich")
        (root / "bin/make").symlink_to(shutil.which("make") or "/usr/bin/make")
        self.host = Host(root, path=f"{root}/bin:/usr/bin:/bin")

    def script(self, path: str, text: str) -> None:
        (self.root / path).write_text(f"#!/bin/sh\n{text}\n")
        (self.root / path).chmod(0o755)

    def tools(self) -> building.Tools:
        return building.find_tools(self.host, "/usr/local/cuda", "/usr")

    @property
    def place(self) -> Path:
        return self.root / "usr/local/lib/gb10/nccl-tests/v2.18.3"

    def leftovers(self) -> list[str]:
        return [*os.listdir(self.root / "var/tmp"), *(name for name in os.listdir(self.place.parent) if name[0] == ".")]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@needs_make
def test_a_build_is_installed_with_its_stamp_and_known_again(node: Node) -> None:
    source, tools = archive(node.root, MAKEFILE), node.tools()
    stamp = building.stamp_of(source, tools, GENCODE)
    assert not building.is_built(node.host, stamp)
    building.build(node.host, source, tools, GENCODE)
    assert sorted(os.listdir(node.place)) == ["all_gather_perf", "all_reduce_perf", "stamp.json"]
    assert (node.place / "all_reduce_perf").read_text().strip() == GENCODE
    assert os.access(node.place / "all_gather_perf", os.X_OK)
    versions = json.loads((node.place / "stamp.json").read_text())["versions"]
    assert versions == {
        "cuda": "Cuda compilation tools, release 13.0, V13.0.88",
        "nccl": "2.30.7",
        "mpich": "libmpich.so.12.2.2",
    }
    assert building.is_built(node.host, building.stamp_of(source, node.tools(), GENCODE))
    assert node.leftovers() == []


@needs_make
@pytest.mark.parametrize("change", ["nccl", "gencode", "program", "stamp"])
def test_what_it_was_built_with_or_what_it_is_has_changed(node: Node, change: str) -> None:
    source, gencode = archive(node.root, MAKEFILE), GENCODE
    building.build(node.host, source, node.tools(), GENCODE)
    if change == "nccl":
        (node.root / "usr/include/nccl.h").write_text(HEADER.replace("30", "31"))
    elif change == "gencode":
        gencode = "-gencode=arch=compute_90,code=sm_90"
    elif change == "program":
        (node.place / "all_reduce_perf").unlink()
    else:
        (node.place / "stamp.json").write_text("{")
    stamp = building.stamp_of(source, node.tools(), gencode)
    assert not building.is_built(node.host, stamp)
    building.build(node.host, source, node.tools(), gencode)
    assert building.is_built(node.host, stamp)
    assert node.leftovers() == []


@needs_make
def test_a_build_that_breaks_leaves_what_was_there(node: Node) -> None:
    building.build(node.host, archive(node.root, MAKEFILE), node.tools(), GENCODE)
    with pytest.raises(building.Refused, match="make ended with 2: "):
        building.build(node.host, archive(node.root, BROKEN), node.tools(), GENCODE)
    assert (node.place / "all_gather_perf").exists()
    assert node.leftovers() == []
    with pytest.raises(building.Refused, match="make built no all_gather_perf"):
        building.build(node.host, archive(node.root, "all:\n\t@true\n"), node.tools(), GENCODE)


def test_all_builds_are_removed_once(node: Node) -> None:
    node.place.mkdir(parents=True)
    assert building.remove(node.host)
    assert not node.place.parent.exists()
    assert not building.remove(node.host)


MISSING = [
    ("bin/make", "make is not installed"),
    ("usr/local/cuda/bin/nvcc", "there is no /usr/local/cuda/bin/nvcc: install the CUDA toolkit"),
    ("usr/include/nccl.h", "there is no /usr/include/nccl.h: install the package libnccl-dev"),
    ("usr/lib/libmpich.so", "MPICH is not installed with its headers: install the packages mpich and libmpich-dev"),
    ("usr/include/mpich/mpi.h", "MPICH is not installed with its headers"),
]


@pytest.mark.parametrize(("path", "says"), MISSING)
def test_what_is_missing_is_named_with_its_package(node: Node, path: str, says: str) -> None:
    (node.root / path).unlink()
    node.script("bin/mpicc", "exit 127")  # the one of this machine, if it has one, is not asked
    host = Host(node.root, path=f"{node.root}/bin")
    with pytest.raises(building.Refused, match=says):
        building.find_tools(host, "/usr/local/cuda", "/usr")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tag": "master"}, "'master' is no tag of nccl-tests"),
        ({"tag": "v2/../.."}, "is no tag"),
        ({"sha256": "abc"}, "must be 64 hexadecimal digits, found 'abc'"),
        ({"archive": "http://example.com/a.tar.gz"}, "must be an https URL or a path on the node"),
    ],
)
def test_a_source_that_is_not_pinned_is_refused(change: dict[str, str], says: str) -> None:
    source = building.Source("v2.18.3", "https://example.com/a.tar.gz", "0" * 64)
    building.check_source(source)
    with pytest.raises(building.Refused, match=says):
        building.check_source(source._replace(**change))


def test_another_archive_than_the_pinned_one_is_not_unpacked(node: Node) -> None:
    source = archive(node.root, MAKEFILE)._replace(sha256="0" * 64)
    with pytest.raises(building.Refused, match=r"has the sha256 [0-9a-f]{64}, expected 0{64}"):
        building.build(node.host, source, node.tools(), GENCODE)
    assert not node.place.exists()


@pytest.mark.parametrize("trees", [(), ("one", "two")], ids=["none", "two"])
def test_an_archive_of_something_else_is_refused(node: Node, trees: tuple[str, ...]) -> None:
    source = archive(node.root, MAKEFILE, trees)
    with pytest.raises(building.Refused, match=f"has {len(trees)} folders with a src/Makefile"):
        building.build(node.host, source, node.tools(), GENCODE)


def test_what_is_no_archive_or_not_there_is_refused(node: Node) -> None:
    (node.root / "broken.tar.gz").write_bytes(b"not an archive")
    digest = hashlib.sha256(b"not an archive").hexdigest()
    with pytest.raises(building.Refused, match="cannot be unpacked"):
        building.build(node.host, building.Source("v1.0", "/broken.tar.gz", digest), node.tools(), GENCODE)
    with pytest.raises(building.Refused, match=r"/absent\.tar\.gz cannot be read"):
        building.build(node.host, building.Source("v1.0", "/absent.tar.gz", digest), node.tools(), GENCODE)


def test_an_archive_comes_over_https(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (node.root / archive(node.root, MAKEFILE).archive[1:]).read_bytes()
    asked: list[str] = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(content)

    monkeypatch.setattr(building, "open_url", answer)
    source = building.Source("v2.18.3", "https://example.com/a.tar.gz", hashlib.sha256(content).hexdigest())
    if shutil.which("make"):
        building.build(node.host, source, node.tools(), GENCODE)
        assert (node.place / "all_gather_perf").exists()
    monkeypatch.setattr(building, "MAX_ARCHIVE", 10)
    with pytest.raises(building.Refused, match="larger than"):
        building.build(node.host, source, node.tools(), GENCODE)
    assert set(asked) == {source.archive}
