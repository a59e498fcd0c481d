"""What is live, against what is planned."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import HalfPlan, Plan
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.errors import FabricError
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.live import (
    Address,
    Link,
    gid_differences,
    link_differences,
    read_links,
    route_differences,
)
from ansible_collections.gb10.cluster.plugins.module_utils.host import CommandResult, Host

from tests.fakes.fabric_node import FakeNode

# Recorded: iproute2 6.15 in a Debian trixie container, veth under systemd-networkd 257; shortened to one fabric link.
RECORDED = """[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"qdisc":"noqueue",
"operstate":"UNKNOWN","group":"default","txqlen":1000,"link_type":"loopback","address":"00:00:00:00:00:00",
"broadcast":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host",
"label":"lo","valid_life_time":4294967295,"preferred_life_time":4294967295}]},
{"ifindex":2,"link_index":2,"ifname":"enp1s0f0np0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":9000,
"qdisc":"noqueue","operstate":"UP","group":"default","txqlen":1000,"link_type":"ether","address":"3e:ef:28:a7:5a:75",
"broadcast":"ff:ff:ff:ff:ff:ff","link_netnsid":0,"addr_info":[{"family":"inet","local":"10.210.0.1","prefixlen":24,
"broadcast":"10.210.0.255","scope":"global","label":"enp1s0f0np0","valid_life_time":4294967295,
"preferred_life_time":4294967295}]},
{"ifindex":3,"link_index":3,"ifname":"enp1s0f1np1","flags":["NO-CARRIER","BROADCAST","MULTICAST","UP"],"mtu":1500,
"qdisc":"noqueue","operstate":"DOWN","group":"default","txqlen":1000,"link_type":"ether",
"address":"BE:1E:DA:25:8F:08","broadcast":"ff:ff:ff:ff:ff:ff","link_netnsid":1,"addr_info":[]}]"""


class OneAnswer(Host):
    def __init__(self, rc: int, stdout: str, stderr: str = "") -> None:
        super().__init__("/nonexistent")
        self.answer = CommandResult(["ip"], rc, stdout, stderr, 0.0)

    def run(self, argv: object, timeout_s: float = 10) -> CommandResult:
        return self.answer


def test_recorded_addresses_are_read() -> None:
    links = read_links(OneAnswer(0, RECORDED))
    assert links["enp1s0f0np0"] == Link(
        "enp1s0f0np0", 9000, True, "3e:ef:28:a7:5a:75", (Address("10.210.0.1/24", True, "global", False),)
    )
    assert links["enp1s0f1np1"] == Link("enp1s0f1np1", 1500, False, "be:1e:da:25:8f:08", ())


@pytest.mark.parametrize(
    ("rc", "stdout", "said"),
    [
        pytest.param(127, "", "ip: command not found", id="no-iproute2"),
        pytest.param(1, "", "exit code 1", id="failed-silently"),
        pytest.param(0, "not json", "Expecting value", id="old-ip-without-json"),
        pytest.param(0, '[{"ifname": "lo"}]', "'flags'", id="a-field-is-missing"),
    ],
)
def test_an_answer_that_is_none_is_an_error(rc: int, stdout: str, said: str) -> None:
    with pytest.raises(FabricError, match="gave no list of links") as caught:
        read_links(OneAnswer(rc, stdout, "ip: command not found" if rc == 127 else ""))
    assert said in str(caught.value)


def half_of(plan: Plan) -> HalfPlan:
    return plan["nodes"]["spark1"]["halves"][0]


def address(cidr: str, scope: str = "global") -> Address:
    return Address(cidr, ":" not in cidr, scope, False)


PLANNED = address("10.210.0.1/24")


@pytest.mark.parametrize(
    ("mtu", "carrier", "addresses", "expected"),
    [
        pytest.param(9000, True, [PLANNED], [], id="as-planned"),
        pytest.param(9000, True, [PLANNED, address("fe80::1/64", "link")], [], id="fe80-is-the-kernels"),
        pytest.param(1500, True, [PLANNED], ["has MTU 1500, planned is 9000"], id="L04-nm-kept-it-in-the-profile"),
        pytest.param(9000, True, [], ["lacks its address 10.210.0.1/24"], id="L05-no-address"),
        pytest.param(
            9000,
            True,
            [address("10.210.0.1/16")],
            ["lacks its address 10.210.0.1/24", "holds the extra address 10.210.0.1/16"],
            id="L05-wrong-prefix",
        ),
        pytest.param(
            9000, True, [PLANNED, address("fd00::5/64")], ["holds the extra address fd00::5/64"], id="L05-global-ipv6"
        ),
        pytest.param(9000, False, [PLANNED], ["has no carrier"], id="L01-unplugged"),
    ],
)
def test_link_differences(plan: Plan, mtu: int, carrier: bool, addresses: list[Address], expected: list[str]) -> None:
    link = Link("enp1s0f0np0", mtu, carrier, "", tuple(addresses))
    found = link_differences({"enp1s0f0np0": link}, [half_of(plan)], 9000)
    assert len(found) == len(expected)
    for sentence, part in zip(found, expected, strict=True):
        assert sentence.startswith("enp1s0f0np0 (cage p0 half a) ") and part in sentence


def test_a_link_that_vanished_is_named(plan: Plan) -> None:
    assert link_differences({}, [half_of(plan)], 9000) == ["enp1s0f0np0 (cage p0 half a) is gone"]


# Recorded from Linux 6.18 (columns as the kernel writes them), device names changed.
ROUTE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
{device}\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
enp1s0f0np0\t0000D20A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ROUTE6 = (
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 "
    "00000400 00000001 00000000 00000003 {device:>8}\n"
    "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 "
    "00000100 00000001 00000000 00000001 enp1s0f0np0\n"
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 "
    "ffffffff 00000001 00000000 00200200       lo\n"
)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "bad"),
    [
        pytest.param("enP7s7", "enP7s7", False, id="both-over-management"),
        pytest.param("enp1s0f0np0", "enP7s7", True, id="ipv4-over-the-fabric"),
        pytest.param("enP7s7", "enp1s0f0np0", True, id="ipv6-over-the-fabric"),
    ],
)
def test_default_routes(host: Host, node: FakeNode, plan: Plan, ipv4: str, ipv6: str, bad: bool) -> None:
    node.write("/proc/net/route", ROUTE.format(device=ipv4))
    node.write("/proc/net/ipv6_route", ROUTE6.format(device=ipv6))
    found = route_differences(host, plan["nodes"]["spark1"]["halves"])
    assert [sentence.split(";")[0] for sentence in found] == (
        ["enp1s0f0np0 (cage p0 half a) carries a default route"] if bad else []
    )


GID_FE80 = "fe80:0000:0000:0000:4ebb:47ff:fe2d:1a16"
GID_IPV4 = "0000:0000:0000:0000:0000:ffff:0ad2:0001"


def write_gids(node: FakeNode, gids: list[tuple[str, str, str]]) -> None:
    port = "/sys/class/infiniband/rocep1s0f0/ports/1"
    node.write(f"{port}/gids/0", "0000:0000:0000:0000:0000:0000:0000:0000\n")
    for index, (kind, gid, netdev) in enumerate(gids):
        node.write(f"{port}/gids/{index}", f"{gid}\n")
        node.write(f"{port}/gid_attrs/types/{index}", f"{kind}\n" if kind else "")
        node.write(f"{port}/gid_attrs/ndevs/{index}", f"{netdev}\n")


LINK_LOCAL = [("IB/RoCE v1", GID_FE80, "enp1s0f0np0"), ("RoCE v2", GID_FE80, "enp1s0f0np0")]


@pytest.mark.parametrize(
    ("gids", "good"),
    [
        pytest.param([*LINK_LOCAL, ("RoCE v2", GID_IPV4, "enp1s0f0np0")], True, id="there"),
        pytest.param(
            [*LINK_LOCAL, *[("", "", "")] * 4, ("RoCE v2", GID_IPV4, "enp1s0f0np0")],
            True,
            id="index-6-as-recorded-on-gb10",
        ),
        pytest.param(LINK_LOCAL, False, id="active-without-ipv4"),
        pytest.param([("IB/RoCE v1", GID_IPV4, "enp1s0f0np0")], False, id="v1-only"),
        pytest.param([("RoCE v2", GID_IPV4, "enp1s0f1np1")], False, id="bound-to-another-netdev"),
        pytest.param([*[("", "", "")] * 16, ("RoCE v2", GID_IPV4, "enp1s0f0np0")], False, id="behind-16-empty-slots"),
    ],
)
def test_gids(host: Host, node: FakeNode, plan: Plan, gids: list[tuple[str, str, str]], good: bool) -> None:
    write_gids(node, gids)
    found = gid_differences(host, plan["nodes"]["spark1"]["halves"])
    assert bool(found) is not good
    assert good or "no RoCE v2 GID of rocep1s0f0 stands for 10.210.0.1" in found[0]


def test_without_an_rdma_device_there_is_nothing_to_say(host: Host, plan: Plan) -> None:
    assert gid_differences(host, plan["nodes"]["spark1"]["halves"]) == []


def test_a_link_describes_itself() -> None:
    held = (address("10.210.0.1/24"), address("fe80::1/64", "link"))
    assert Link("enp1s0f0np0", 9000, True, "", held).describe() == "enp1s0f0np0: MTU 9000, 10.210.0.1/24"


def test_ip_output_without_local_address_is_skipped() -> None:
    entries = json.loads(RECORDED)
    entries[1]["addr_info"].append({"family": "inet6", "prefixlen": 64})
    assert read_links(OneAnswer(0, json.dumps(copy.deepcopy(entries)))) == read_links(OneAnswer(0, RECORDED))
