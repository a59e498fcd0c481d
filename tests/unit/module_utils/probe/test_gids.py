from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.gids import gid_index, gid_ipv4, is_empty, read_gids
from hypothesis import given
from hypothesis import strategies as st

MAPPED = "0000:0000:0000:0000:0000:ffff:c0a8:640a"  # quoted: show_gids, health-checks 8
LINK_LOCAL = "fe80:0000:0000:0000:5054:00ff:fe00:0001"
NOTHING = "0000:0000:0000:0000:0000:0000:0000:0000"


def table(entries: dict[int, tuple[str, str]]):
    asked: list[str] = []

    def read(path: str) -> str | None:
        asked.append(path)
        kind, _, index = path.rpartition("/")
        entry = entries.get(int(index))
        if kind == "gids":
            return entry[0] if entry else NOTHING
        if entry is None:
            return None
        return entry[1] if kind == "gid_attrs/types" else "enp1s0f0np0"

    return read, asked


def test_the_address_in_a_gid() -> None:
    assert gid_ipv4(MAPPED) == "192.168.100.10"
    assert gid_ipv4(f"{MAPPED.upper()}\n") == "192.168.100.10"


@pytest.mark.parametrize(
    "gid", [LINK_LOCAL, NOTHING, "", "0000:0000:0000:0000:0000:ffff:c0a8", MAPPED.replace("640a", "zzzz")]
)
def test_no_address_in_a_gid(gid: str) -> None:
    assert gid_ipv4(gid) is None


@given(st.ip_addresses(v=4))
def test_every_mapped_address_comes_back(address: ipaddress.IPv4Address) -> None:
    groups = ipaddress.IPv6Address(f"::ffff:{address}").exploded
    assert gid_ipv4(groups) == str(address)


@pytest.mark.parametrize(
    ("gid", "empty"), [(None, True), ("", True), (NOTHING, True), (MAPPED, False), (LINK_LOCAL, False)]
)
def test_empty(gid: str | None, empty: bool) -> None:
    assert is_empty(gid) is empty


def test_the_table_of_a_connectx_with_version_one_and_two() -> None:
    read, _ = table(
        {0: (LINK_LOCAL, "IB/RoCE v1"), 1: (LINK_LOCAL, "RoCE v2"), 2: (MAPPED, "IB/RoCE v1"), 3: (MAPPED, "RoCE v2")}
    )
    gids = read_gids(read)
    assert [(gid["index"], gid["type"], gid["ipv4"]) for gid in gids] == [
        (0, "IB/RoCE v1", None),
        (1, "RoCE v2", None),
        (2, "IB/RoCE v1", "192.168.100.10"),
        (3, "RoCE v2", "192.168.100.10"),
    ]
    assert {gid["netdev"] for gid in gids} == {"enp1s0f0np0"}
    assert gid_index(gids, "192.168.100.10") == 3


def test_reading_stops_after_sixteen_empty_slots() -> None:
    read, asked = table({0: (LINK_LOCAL, "RoCE v2"), 6: (MAPPED, "RoCE v2"), 40: (MAPPED, "RoCE v2")})
    gids = read_gids(read)
    assert [gid["index"] for gid in gids] == [0, 6]  # a gap is normal: 6 was recorded on rocep1s0f0
    assert [path for path in asked if path.startswith("gids/")][-1] == "gids/22"


def test_an_address_without_a_version_two_entry_has_no_index() -> None:
    read, _ = table({2: (MAPPED, "IB/RoCE v1")})
    assert gid_index(read_gids(read), "192.168.100.10") is None
    assert gid_index([], "192.168.100.10") is None


def test_an_entry_without_type_or_netdev_is_kept() -> None:
    gids = read_gids(lambda path: MAPPED if path == "gids/0" else None)
    assert gids == [{"index": 0, "type": "", "netdev": None, "gid": MAPPED, "ipv4": "192.168.100.10"}]
