"""The program of one rank: what it computes, and which library it says it has mapped."""

from __future__ import annotations

import itertools
import re
import struct
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.measure import nccl_bench as bench
from ansible_collections.gb10.cluster.plugins.module_utils.measure import nccl_collectives as work
from ansible_collections.gb10.cluster.plugins.module_utils.measure import nccl_place as place

GIB = 1 << 30


@pytest.mark.parametrize(
    ("size", "ranks", "total"),
    [
        # nccl-tests 2.19.7 prints 17179869168 for 16 GiB on three ranks (health-checks 3.5).
        (16 * GIB, 3, 17179869168),
        (GIB, 3, 1073741808),
        (GIB, 2, GIB),
        (GIB, 4, GIB),
        (64 << 20, 3, 67108848),
        (4096, 3, 4080),
        (47, 3, 0),
    ],
)
def test_a_gather_is_cut_as_nccl_tests_cuts_it(size: int, ranks: int, total: int) -> None:
    assert work.share_elements(size, ranks) * ranks * work.FLOAT_BYTES == total


@pytest.mark.parametrize(
    ("collective", "size", "seconds", "ranks", "algbw", "busbw"),
    [
        ("all_gather", 1_000_000_000, 1.0, 2, 1.0, 0.5),
        ("all_gather", 1_000_000_000, 1.0, 3, 1.0, 2 / 3),
        ("all_gather", 1_000_000_000, 1.0, 4, 1.0, 0.75),
        ("all_reduce", 1_000_000_000, 1.0, 2, 1.0, 1.0),
        ("all_reduce", 1_000_000_000, 1.0, 3, 1.0, 4 / 3),
        ("all_reduce", 1_000_000_000, 1.0, 4, 1.0, 1.5),
        ("all_gather", 17179869168, 0.479, 3, 35.866, 23.911),
    ],
)
def test_bandwidths_are_those_of_nccl_tests(
    collective: str, size: int, seconds: float, ranks: int, algbw: float, busbw: float
) -> None:
    assert work.bandwidths(collective, size, seconds, ranks) == pytest.approx((algbw, busbw), rel=1e-4)


@pytest.mark.parametrize("ranks", range(2, 9))
def test_every_expected_value_is_exact_in_a_float(ranks: int) -> None:
    largest = (work.PERIOD - 1) * ranks * (ranks + 1) // 2 + ranks * (ranks - 1) // 2
    assert largest < 1 << 24


@pytest.mark.parametrize(
    ("text", "available"),
    [("MemTotal: 9 kB\nMemAvailable:    2048 kB\n", 2 << 20), ("MemTotal: 9 kB\n", 0), ("", 0)],
)
def test_memory_that_is_not_named_is_none(text: str, available: int) -> None:
    assert bench.available_bytes(text) == available


@pytest.mark.parametrize("ranks", range(2, 8))
def test_every_two_ranks_meet_once_and_no_rank_is_in_two_pairs_at_once(ranks: int) -> None:
    rounds = work.rounds_of_pairs(ranks)
    assert sorted(pair for pairs in rounds for pair in pairs) == list(itertools.combinations(range(ranks), 2))
    for pairs in rounds:
        assert len({rank for pair in pairs for rank in pair}) == 2 * len(pairs)
    assert len(rounds) == ranks - 1 + ranks % 2


# --- a soak ---


class Note:
    """A report."""

    def __init__(self) -> None:
        self.soak: dict[str, t.Any] = {}
        self.stages: list[str] = []

    def put(self, soak: dict[str, t.Any]) -> None:
        self.soak = soak

    def hold(self, stage: str) -> None:
        self.stages.append(stage)


@pytest.mark.parametrize(
    ("reserve", "says"),
    [(0, "another rank has too little memory for it"), (1 << 60, "of memory to spare, 288 are wanted")],
)
def test_a_soak_that_one_rank_cannot_afford_is_done_by_none(reserve: int, says: str) -> None:
    note = Note()
    nobody = types.SimpleNamespace(least=lambda number: 0)  # some rank said no
    bench.soak(None, work, {"reserve_bytes": reserve, "soak_s": 60}, t.cast("t.Any", note), nobody, 4096)
    assert says in note.soak["problem"]
    assert (note.soak["rounds"], note.stages) == (0, [])


# --- what it finds where it runs ---


def test_of_a_file_of_settings_those_of_nccl_are_told() -> None:
    text = "NCCL_IB_DISABLE=1\n # NCCL_NET=Socket\nHF_TOKEN=secret\n NCCL_NET = IB # by hand\nNCCL_DEBUG\n\n"
    assert place.settings(text) == {"NCCL_IB_DISABLE": "1", "NCCL_NET": "IB"}


def test_files_are_those_that_nccl_reads(tmp_path: Path) -> None:
    named, home = tmp_path / "named.conf", tmp_path / ".nccl.conf"
    named.write_text("NCCL_NET=Socket\n")
    home.write_text("NCCL_IB_GID_INDEX=3\n")
    found = place.nccl_files({"NCCL_CONF_FILE": str(named), "HOME": str(tmp_path)})
    assert found[:2] == [
        {"path": str(named), "settings": {"NCCL_NET": "Socket"}},
        {"path": str(home), "settings": {"NCCL_IB_GID_INDEX": "3"}},
    ]
    assert place.nccl_files({"NCCL_CONF_FILE": str(tmp_path / "gone"), "HOME": "/nowhere"}) == found[2:]


# --- the library ---

MAPS = """\
55d0c0a00000-55d0c0a01000 r--p 00000000 08:01 1234 /usr/bin/python3.12
7f1000000000-7f1001000000 r--p 00000000 08:01 77   /opt/a b/nvidia/nccl/lib/libnccl.so.2
7f1001000000-7f1002000000 r-xp 01000000 08:01 77   /opt/a b/nvidia/nccl/lib/libnccl.so.2
7f1003000000-7f1004000000 r-xp 01000000 08:01 78   /usr/lib/aarch64-linux-gnu/libnccl.so.2.28.9 (deleted)
7f1005000000-7f1006000000 r-xp 01000000 08:01 79   /opt/hpcx/libnccl-net.so
7f1007000000-7f1008000000 rw-p 00000000 00:00 0
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0    [stack]
"""


def test_each_mapped_library_is_named_once() -> None:
    assert place.mapped(MAPS, "libnccl.so") == [
        "/opt/a b/nvidia/nccl/lib/libnccl.so.2",
        "/usr/lib/aarch64-linux-gnu/libnccl.so.2.28.9",
    ]


def note(owner: bytes, kind: int, content: bytes, align: int = 4) -> bytes:
    def padded(data: bytes) -> bytes:
        return data + b"\0" * (-len(data) % align)

    return struct.pack("<III", len(owner), len(content), kind) + padded(owner) + padded(content)


def elf(*segments: tuple[int, bytes, int]) -> bytes:
    """A 64-bit little-endian ELF of program headers (kind, content, alignment) and nothing else."""
    head = b"\x7fELF\x02\x01\x01" + b"\0" * 9
    head += struct.pack("<HHIQQQIHHHHHH", 3, 183, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    table, contents, offset = b"", b"", 64 + 56 * len(segments)
    for kind, content, align in segments:
        table += struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, len(content), len(content), align)
        contents += content
        offset += len(content)
    return head + table + contents


ID = bytes.fromhex("a7f420a1c09e4f3d5b1e6c7d8a9b0c1d2e3f4051")
ABI = note(b"GNU\0", 1, b"\0" * 16)
BUILD_ID = note(b"GNU\0", 3, ID)
PROPERTY = note(b"GNU\0", 5, b"\x02\0\0\xc0" + b"\0" * 12, align=8)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(elf((4, BUILD_ID, 4)), ID.hex(), id="alone"),
        pytest.param(elf((1, b"code", 4096), (4, ABI + BUILD_ID, 4)), ID.hex(), id="behind another note"),
        pytest.param(elf((4, PROPERTY, 8), (4, BUILD_ID, 4)), ID.hex(), id="in the second segment of notes"),
        pytest.param(elf((4, note(b"Go\0", 3, b"12345678") + BUILD_ID, 4)), ID.hex(), id="of another owner before"),
        pytest.param(elf((4, ABI, 4)), None, id="no build-id"),
        pytest.param(elf((1, BUILD_ID, 4)), None, id="no notes"),
        pytest.param(elf((4, BUILD_ID, 4))[:70], None, id="cut in the table"),
        pytest.param(elf((4, struct.pack("<III", 1 << 31, 1 << 31, 3), 4)), None, id="sizes beyond the file"),
        pytest.param(b"\x7fELF\x01\x01" + b"\0" * 60, None, id="32 bits"),
        pytest.param(b"\x7fELF\x02\x02" + b"\0" * 60, None, id="big-endian"),
        pytest.param(b"#!/bin/sh\n", None, id="a script"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_the_build_id_is_read_from_the_notes(tmp_path: Path, content: bytes, found: str | None) -> None:
    path = tmp_path / "libnccl.so.2"
    path.write_bytes(content)
    assert place.build_id(str(path)) == found


def test_a_missing_file_has_no_build_id(tmp_path: Path) -> None:
    assert place.build_id(str(tmp_path / "gone")) is None


def test_the_build_id_of_a_library_of_this_machine() -> None:
    libraries = place.mapped(Path("/proc/self/maps").read_text(), "libc.so")
    data = Path(libraries[0]).read_bytes()
    match = re.search(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", data, re.DOTALL)
    assert match is not None
    assert place.build_id(libraries[0]) == match[1].hex()


def test_what_is_mapped_is_described(tmp_path: Path) -> None:
    path = tmp_path / "libnccl.so.2"
    path.write_bytes(elf((4, BUILD_ID, 4)) + b"\0NCCL_IB_SUBNET_AWARE_ROUTING\0")
    other = tmp_path / "libnccl.so.2.28.9"
    maps = "".join(f"7f10-7f20 r-xp 0 08:01 77 {each}\n" for each in (path, other))
    assert place.library(maps, (2, 30, 7)) == {
        "version": None,  # no code in it that could be asked
        "headers": "2.30.7",
        "path": str(path),
        "build_id": ID.hex(),
        "size_bytes": path.stat().st_size,
        "subnet_aware_routing": True,
        "others": [str(other)],
    }


def test_a_library_without_the_setting_cannot_route_a_triangle(tmp_path: Path) -> None:
    path = tmp_path / "libnccl.so.2"
    path.write_bytes(elf((4, BUILD_ID, 4)))
    assert place.library(f"7f10-7f20 r-xp 0 08:01 77 {path}\n", 22809)["subnet_aware_routing"] is False


def test_nothing_mapped_is_nothing_known() -> None:
    assert place.library("", 22809) == {
        "version": None,
        "headers": None,
        "path": None,
        "build_id": None,
        "size_bytes": None,
        "subnet_aware_routing": None,
        "others": [],
    }


def test_a_library_that_is_gone_keeps_its_path(tmp_path: Path) -> None:
    gone = place.library(f"7f10-7f20 r-xp 0 08:01 77 {tmp_path}/libnccl.so.2 (deleted)\n", (2, 30, 7))
    assert gone["path"] == f"{tmp_path}/libnccl.so.2"
    assert (gone["build_id"], gone["size_bytes"], gone["subnet_aware_routing"]) == (None, None, None)
