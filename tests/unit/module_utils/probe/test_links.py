from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.devinfo import PortInfo, parse_devinfo
from ansible_collections.gb10.cluster.plugins.module_utils.probe.error import ProbeError
from ansible_collections.gb10.cluster.plugins.module_utils.probe.links import (
    Interface,
    LldpPeer,
    RdmaLink,
    Route,
    parse_addresses,
    parse_lldp,
    parse_rdma_links,
    parse_routes,
)

RDMA = [
    (
        "health-checks 3.1/active",
        '[{"ifindex":0,"ifname":"rocep1s0f0","port":1,"state":"ACTIVE","physical_state":"LINK_UP","netdev":"enp1s0f0np0","netdev_index":2}]',
        [RdmaLink("rocep1s0f0", 1, "ACTIVE", "LINK_UP", "enp1s0f0np0")],
    ),
    (
        "health-checks 3.1/down",
        '[{"ifindex":1,"ifname":"rocep1s0f1","port":1,"state":"DOWN","physical_state":"DISABLED","netdev":"enp1s0f1np1"}]',
        [RdmaLink("rocep1s0f1", 1, "DOWN", "DISABLED", "enp1s0f1np1")],
    ),
    (
        "synthetic/netdev in another namespace",
        '[{"ifindex":0,"ifname":"rocep1s0f0","port":1,"state":"ACTIVE"}]',
        [RdmaLink("rocep1s0f0", 1, "ACTIVE", "UNKNOWN", None)],
    ),
    ("synthetic/no device", "[]", []),
]


@pytest.mark.parametrize(("text", "links"), [case[1:] for case in RDMA], ids=[case[0] for case in RDMA])
def test_rdma_links(text: str, links: list[RdmaLink]) -> None:
    assert parse_rdma_links(text) == links


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing"),
        ("netns shared copy-on-fork on", "netns shared"),  # real: `rdma -j system` of iproute2 6.1
        ('{"ifname":"x"}', "list of objects"),
        ("[1]", "list of objects"),
        ('[{"ifname":"x","port":1}]', "without state"),
    ],
)
def test_what_rdma_did_not_print_is_refused(text: str, says: str) -> None:
    with pytest.raises(ProbeError, match=says):
        parse_rdma_links(text)


def test_addresses() -> None:
    text = (
        '[{"ifname":"lo","mtu":65536,"operstate":"UNKNOWN","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8}]},'
        '{},{"ifname":"enp1s0f0np0","mtu":9000,"operstate":"UP","addr_info":['
        '{"family":"inet","local":"10.210.0.1","prefixlen":24},{"family":"inet6","local":"fe80::1","prefixlen":64},{"tentative":true}]}]'
    )
    assert parse_addresses(text) == [
        Interface("lo", 65536, "UNKNOWN", ("127.0.0.1/8",)),
        Interface("enp1s0f0np0", 9000, "UP", ("10.210.0.1/24", "fe80::1/64")),
    ]


def test_an_interface_without_a_name_is_refused() -> None:
    with pytest.raises(ProbeError, match="without ifname"):
        parse_addresses('[{"mtu": 1500}]')


def test_routes() -> None:
    text = (
        '[{"dst":"default","gateway":"10.0.2.2","dev":"enP7s7","flags":[]},'
        '{"dst":"10.210.0.0/24","dev":"enp1s0f0np0","protocol":"kernel","scope":"link","flags":["linkdown"]},'
        '{"type":"blackhole","dst":"10.9.0.0/16","flags":[]}]'
    )
    assert parse_routes(text) == [
        Route("default", "enP7s7", "10.0.2.2", False),
        Route("10.210.0.0/24", "enp1s0f0np0", None, True),
    ]


ONE = '{"chassis":{"spark2":{"id":{"type":"mac","value":"52:54:00:00:00:02"}}},"port":{"id":{"type":"ifname","value":"enp1s0f1np1"},"descr":"x"}}'
NAMELESS = '{"chassis":{"id":{"type":"mac","value":"52:54:00:00:00:02"}},"port":{"descr":"port 3"}}'
LLDP = [
    (
        "synthetic/one neighbour",
        f'{{"lldp":{{"interface":{{"enp1s0f0np0":{ONE}}}}}}}',
        [LldpPeer("enp1s0f0np0", "spark2", "enp1s0f1np1")],
    ),
    (
        "synthetic/several neighbours",
        f'{{"lldp":{{"interface":[{{"enp1s0f0np0":{ONE}}},{{"enP7s7":{NAMELESS}}}]}}}}',
        [LldpPeer("enp1s0f0np0", "spark2", "enp1s0f1np1"), LldpPeer("enP7s7", "52:54:00:00:00:02", "port 3")],
    ),
    ("synthetic/nobody", '{"lldp":{}}', []),
    ("synthetic/without chassis", '{"lldp":{"interface":{"enP7s7":{}}}}', [LldpPeer("enP7s7", "", "")]),
]


@pytest.mark.parametrize(("text", "peers"), [case[1:] for case in LLDP], ids=[case[0] for case in LLDP])
def test_lldp(text: str, peers: list[LldpPeer]) -> None:
    assert parse_lldp(text) == peers


@pytest.mark.parametrize("text", ["", "[]", '{"lldp": 1}', "{}"])
def test_what_lldpd_did_not_print_is_refused(text: str) -> None:
    with pytest.raises(ProbeError, match="lldpctl"):
        parse_lldp(text)


def test_devinfo(recorded) -> None:
    assert parse_devinfo(recorded("ibv_devinfo-gb10.txt")) == [
        PortInfo("rocep1s0f0", 1, "ACTIVE", 4096, "Ethernet", "28.45.4028", "NVD0000000087"),
        PortInfo("rocep1s0f1", 1, "DOWN", 1024, "Ethernet", "28.45.4028", "NVD0000000087"),
    ]


def test_a_device_with_two_ports_is_two_entries() -> None:
    text = "hca_id:\tmlx5_0\n\tfw_ver:\t1\n\t\tport:\t1\n\t\t\tstate:\tPORT_DOWN (1)\n\t\tport:\t2\n\t\t\tstate:\tPORT_ACTIVE (4)\n"
    assert [(info.port, info.state, info.active_mtu) for info in parse_devinfo(text)] == [
        (1, "DOWN", None),
        (2, "ACTIVE", None),
    ]


def test_no_device_is_an_empty_list() -> None:
    assert parse_devinfo("No IB devices found\n") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no device"),
        ("Failed to get IB devices list: Unknown error", "no device"),
        ("hca_id:\tx\n\t\tport:\t1\n", "without device or state"),
    ],
)
def test_what_devinfo_did_not_print_is_refused(text: str, says: str) -> None:
    with pytest.raises(ProbeError, match=says):
        parse_devinfo(text)
