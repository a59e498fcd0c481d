"""ping of iputils. The recorded ones come from Debian 12 (iputils 20221126), over a veth pair of MTU 9000 and 1500."""

from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.error import ProbeError
from ansible_collections.gb10.cluster.plugins.module_utils.probe.ping import (
    local_mtu,
    parse_received,
    payload,
    ping_argv,
)

UNREACHABLE = """PING 10.210.0.2 (10.210.0.2) from 10.210.0.1 enp1s0f0np0: 56(84) bytes of data.
From 10.210.0.1 icmp_seq=1 Destination Host Unreachable

--- 10.210.0.2 ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms
"""
BUSYBOX = """PING 10.210.0.2 (10.210.0.2): 56 data bytes
64 bytes from 10.210.0.2: seq=0 ttl=64 time=0.069 ms

--- 10.210.0.2 ping statistics ---
1 packets transmitted, 1 packets received, 0% packet loss
"""


@pytest.mark.parametrize(
    ("name", "received", "mtu"),
    [("jumbo", 3, None), ("small", 3, None), ("jumbo-lost", 0, None), ("nobody", 0, None), ("too-long", 0, 1500)],
)
def test_recorded(recorded, name: str, received: int, mtu: int | None) -> None:
    text = recorded(f"real-debian12-ping-{name}.txt")
    assert (parse_received(text), local_mtu(text)) == (received, mtu)


def test_errors_are_no_answers() -> None:
    assert parse_received(UNREACHABLE) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        BUSYBOX,  # synthetic: format of busybox 1.36, whose -M does not exist
        "ping: SO_BINDTODEVICE enp1s0f0np0: No such device\n",  # real, iputils 20221126
        "ping: connect: Network is unreachable\n",  # real, iputils 20221126
    ],
)
def test_what_is_no_statistics_of_iputils_is_no_number(text: str) -> None:
    with pytest.raises(ProbeError, match="no statistics of iputils"):
        parse_received(text)


def test_the_payload_fills_the_mtu() -> None:
    assert (payload(9000), payload(1500)) == (8972, 1472)


def test_no_packet_may_be_split_and_no_other_interface_used() -> None:
    argv = ping_argv("enp1s0f0np0", "10.210.0.2", 8972)
    assert argv[argv.index("-M") + 1] == "do"
    assert argv[argv.index("-I") + 1] == "enp1s0f0np0"
    assert argv[argv.index("-s") + 1] == "8972"
    assert argv[-1] == "10.210.0.2"
