"""One rank's NCCL log. The fixtures and most lines are constructed: tests/fixtures/nccl/README.md."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_log import (
    MAX_EXCERPT,
    decode_gid,
    pci_domain,
    read_nccl_log,
)
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_records import (
    Channels,
    Communicator,
    Connection,
    Finding,
    Hca,
    Interface,
    NcclLog,
    Override,
    QueuePairs,
    VirtualDevice,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "nccl"
LOGS = ["triangle-rank0.log", "collapsed-rank0.log", "socket-rank0.log", "miscabled-rank0.log"]
PREFIX = "spark1:60:71 [0] "
USING = "NET/IB : Using [0]rocep1s0f0:1/RoCE [1]rocep1s0f1:1/RoCE [2]roceP2p1s0f0:1/RoCE [3]roceP2p1s0f1:1/RoCE [RO]; OOB enP7s7:192.0.2.1<0>"


def lines_of(name: str) -> list[str]:
    return (FIXTURES / name).read_text(encoding="utf-8").splitlines(keepends=True)


def read(name: str) -> NcclLog:
    return read_nccl_log(lines_of(name))


def info(*messages: str) -> NcclLog:
    return read_nccl_log(f"{PREFIX}NCCL INFO {message}\n" for message in messages)


def warn(message: str) -> tuple[Finding, ...]:
    return read_nccl_log([f"{PREFIX}misc/ibvwrap.cc:317 NCCL WARN {message}\n"]).findings


# --- whole logs ---


def test_a_healthy_rank_of_a_triangle() -> None:
    log = read("triangle-rank0.log")
    assert (log.version, log.git) == ("2.30.7+cuda13.3", "a5187fa2e")
    assert (log.plugins, log.networks, log.external_plugins) == (("IB",), ("IB",), ())
    assert log.communicators == (Communicator(0, 3),)
    assert log.init_complete and not log.void and not log.folded
    assert log.findings == ()
    assert (log.oob, log.bootstrap) == (Interface("enP7s7", "192.0.2.1"), Interface("enP7s7", "192.0.2.1"))
    assert log.env == {
        "NCCL_NET_PLUGIN": "none",
        "NCCL_NET": "IB",
        "NCCL_SOCKET_IFNAME": "enP7s7",
        "NCCL_IB_SUBNET_AWARE_ROUTING": "1",
        "NCCL_IB_MERGE_NICS": "0",
        "NCCL_IB_HCA": "=rocep1s0f0,roceP2p1s0f0,rocep1s0f1,roceP2p1s0f1",
    }
    assert log.transports == {"NET/IB": 8}
    assert log.channels[0] == Channels("NET/IB", "", 0, "receive", 2, 1)
    assert {(group.direction, group.peer) for group in log.channels} == {("receive", 2), ("send", 1)}
    assert log.queue_pairs == (
        QueuePairs("rocep1s0f0", 2, 0, 0),
        QueuePairs("roceP2p1s0f0", 2, 0, 0),
        QueuePairs("rocep1s0f1", 0, 2, 0),
        QueuePairs("roceP2p1s0f1", 0, 2, 0),
    )
    # quoted/colonel-otto gate-four-hca.json: the addresses of these two devices at that site
    assert [(c.device, c.mtu_bytes, c.gid_index, c.ipv4, c.queue_pairs) for c in log.connections] == [
        ("rocep1s0f0", 4096, 6, "192.168.100.1", 2),
        ("roceP2p1s0f0", 4096, 3, "192.168.110.1", 2),
    ]
    assert [(o.from_index, o.to_index, o.crosses_domain) for o in log.overrides] == [
        (1, 0, False),
        (3, 2, False),
        (0, 1, False),
        (2, 3, False),
    ]


def test_indexes_are_those_of_the_sorted_list() -> None:
    # The device lines count in the order of libibverbs: there roceP2p1s0f0 is 0.
    assert read("triangle-rank0.log").hcas[0] == Hca(
        0, "rocep1s0f0", 1, "RoCE", 200000, "/sys/devices/pci0000:00/0000:00:00.0/0000:01:00.0", "0000"
    )
    assert [hca.pci_domain for hca in read("triangle-rank0.log").hcas] == ["0000", "0000", "0002", "0002"]


def test_a_collapsed_second_domain() -> None:
    log = read("collapsed-rank0.log")
    assert {(o.from_index, o.to_index) for o in log.overrides if o.crosses_domain} == {(2, 0), (3, 0), (2, 1), (3, 1)}
    assert {pairs.device for pairs in log.queue_pairs} == {"rocep1s0f0", "rocep1s0f1"}
    # The plan still names the devices of both domains: channels prove nothing about rails.
    assert {group.device for group in log.channels} == {0, 1, 2, 3}


def test_everything_over_tcp() -> None:
    log = read("socket-rank0.log")
    assert log.transports == {"NET/Socket": 4}
    assert (log.networks, log.plugins, log.hcas) == (("Socket",), ("Socket",), ())
    assert log.sockets == (Interface("enP7s7", "192.0.2.1"), Interface("enp1s0f0np0", "10.210.0.1"))
    assert [(finding.kind, finding.count) for finding in log.findings] == [("no_device", 1), ("plugin_failed", 1)]
    assert log.oob == Interface("enP7s7", "192.0.2.1")
    assert log.init_complete


def test_a_cable_to_the_wrong_neighbour() -> None:
    log = read("miscabled-rank0.log")
    assert [(f.kind, f.device, f.count) for f in log.findings] == [
        ("connect_retried", "rocep1s0f0", 2),
        ("wrong_neighbour", "rocep1s0f0", 1),
    ]
    assert log.findings[1].excerpt.startswith("NCCL WARN Call to ibv_modify_qp failed with 110")
    assert "::ffff:10.210.2.2" in log.findings[1].excerpt
    assert not log.init_complete


def test_nothing_is_known_of_an_empty_log() -> None:
    log = read_nccl_log([])
    assert log.transports == {} and log.queue_pairs == () and log.networks == ()
    assert (log.version, log.init_complete, log.lines) == (None, False, 0)
    assert log.sha256 == hashlib.sha256(b"").hexdigest()


def test_a_summary_becomes_json() -> None:
    assert json.loads(json.dumps(dataclasses.asdict(read("triangle-rank0.log"))))["init_complete"] is True


def test_the_hash_is_that_of_the_file() -> None:
    data = b"NCCL version 2.30.7\n\xff\xfe broken\n"
    log = read_nccl_log(data.decode("utf-8", "surrogateescape").splitlines(keepends=True))
    assert (log.sha256, log.lines) == (hashlib.sha256(data).hexdigest(), 2)


def test_the_log_is_never_held_whole() -> None:
    channel = lines_of("triangle-rank0.log")
    log = read_nccl_log(line for _ in range(2000) for line in channel)
    assert log.transports == {"NET/IB": 16000}
    assert (len(log.channels), len(log.connections), len(log.overrides)) == (8, 2, 4)


# --- channels ---

# (id, message, transport, kind, device, direction, peer); formats of transport/{net,p2p,shm,coll_net}.cc
CHANNELS = [
    ("plain", "Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/1", "NET/IB", "", 1, "send", 1),
    (
        "receive",
        "Channel 63/1 : 2[0] -> 0[0] [receive] via NET/IB/3/Shared",
        "NET/IB",
        "Shared",
        3,
        "receive",
        2,
    ),
    (
        "gdrdma",
        "Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/0/GDRDMA(PCI)/Shared",
        "NET/IB",
        "GDRDMA(PCI)/Shared",
        0,
        "send",
        1,
    ),
    ("proxy rank", "Channel 00/0 : 0[0] -> 9[1] [send] via NET/IB/2(8)/GDRDMA", "NET/IB", "GDRDMA", 2, "send", 9),
    ("tcp", "Channel 00/0 : 0[0] -> 1[0] [send] via NET/Socket/0", "NET/Socket", "", 0, "send", 1),
    (
        "name with a space",
        "Channel 00/0 : 0[0] -> 1[0] [send] via NET/AWS Libfabric/0",
        "NET/AWS Libfabric",
        "",
        0,
        "send",
        1,
    ),
    ("hpc-x", "Channel 00/0 : 0[0] -> 1[0] [send] via NET/IBext_v10/0", "NET/IBext_v10", "", 0, "send", 1),
    (
        "unknown net",
        "Channel 00/0 : 0[0] -> 1[0] [send] via NET/Socket later",
        "NET/Socket",
        "",
        None,
        "send",
        1,
    ),
    ("no net", "Channel 00/0 : 0[0] -> 1[0] [send] via NET", "NET/", "", None, "send", 1),
    ("p2p", "Channel 00/1 : 0[0] -> 1[1] via P2P/CUMEM/read", "P2P", "CUMEM/read", None, "send", 1),
    ("shm", "Channel 00 : 0[0] -> 1[1] via SHM/direct/direct", "SHM", "direct/direct", None, "send", 1),
    ("bus id", "Channel 00 : 0[f000001000] -> 1[f000001000] via P2P/IPC", "P2P", "IPC", None, "send", 1),
    ("collnet", "Channel 00/0 : 0 [send] via COLLNET/SHARP/0", "COLLNET", "SHARP/0", None, "send", None),
]


@pytest.mark.parametrize("case", CHANNELS, ids=[case[0] for case in CHANNELS])
def test_channel(case: tuple[object, ...]) -> None:
    _id, message, *expected = case
    assert [dataclasses.astuple(group) for group in info(str(message)).channels] == [(*expected, 1)]


def test_the_rings_are_no_channels() -> None:
    assert info("Channel 00/64 : 0 1 2", "Trees [0] 1/-1/-1->0->-1").channels == ()


# --- devices ---


def test_speeds_of_a_log_without_device_lines() -> None:
    log = info(USING, "NET/IB : Made virtual device [0] name=rocep1s0f0 speed=200000 ndevs=1")
    assert [hca.speed_mbps for hca in log.hcas] == [200000, None, None, None]
    assert [hca.pci_domain for hca in log.hcas] == ["0000", "0000", "0002", "0002"]


def test_merged_devices() -> None:
    log = info(
        USING,
        "NET/IB : Made virtual device [4] name=rocep1s0f0+rocep1s0f1 speed=400000 ndevs=2",
        "NET/IB : Made virtual device [0] name=rocep1s0f0+roceP2p1s0f0 speed=400000 ndevs=2",
        "NET/IB: Subnet-aware routing: overriding dev 4 with dev 1",
        "NET/IB: Subnet-aware routing: overriding dev 0 with dev 1",
        "NET/IB: Subnet-aware routing: overriding dev 0 with dev 1",
    )
    assert log.merged_devices[1] == VirtualDevice(4, ("rocep1s0f0", "rocep1s0f1"), 400000)
    assert log.hcas[0].speed_mbps is None
    assert log.overrides == (
        Override(4, 1, ("rocep1s0f0", "rocep1s0f1"), ("rocep1s0f1",), False, 1),
        Override(0, 1, ("rocep1s0f0", "roceP2p1s0f0"), ("rocep1s0f1",), True, 2),
    )


# quoted/unnamed public source: the second domain collapsed onto the first
@pytest.mark.parametrize(
    ("before", "after", "crosses"), [(1, 0, False), (3, 2, False), (2, 0, True), (3, 0, True), (3, 1, True)]
)
def test_override_by_device_names(before: int, after: int, crosses: bool) -> None:
    override = f"NET/IB: Subnet-aware routing: overriding dev {before} with dev {after}"
    assert [item.crosses_domain for item in info(override, USING).overrides] == [crosses]


@pytest.mark.parametrize(
    "using",
    ["no list", "NET/IB : Using [0]rocep1s0f0:1/RoCE [1]mlx5_1:1/RoCE [RO]; OOB eth0:192.0.2.1<0>"],
    ids=["no device list", "a name without a domain"],
)
def test_override_between_unknown_domains(using: str) -> None:
    assert info(using, "NET/IB: Subnet-aware routing: overriding dev 1 with dev 0").overrides[0].crosses_domain is None


DOMAINS = [
    ("rocep1s0f0", None, "0000"),
    ("roceP2p1s0f1", None, "0002"),
    ("roceP18p1s0f1", None, "0012"),
    ("ibp3s0", "", "0000"),
    ("mlx5_0", "", None),
    ("mlx5_0", "/sys/devices/pci0002:00/0002:00:00.0/0002:01:00.0", "0002"),
    ("rocep1s0f0", "/sys/devices/pci000F:00/000F:00:00.0", "000f"),
]


@pytest.mark.parametrize(("device", "path", "domain"), DOMAINS)
def test_pci_domain(device: str, path: str | None, domain: str | None) -> None:
    assert pci_domain(device, path) == domain


def test_rails_and_planes_in_the_device_list() -> None:
    log = info("NET/IB : Using [0]mlx5_0:1:3/RoCE [1]mlx5_1:1::2/IB [2]mlx5_2:2:1:2/RoCE ; OOB eth0:fe80::1%eth0<0>")
    assert [(hca.device, hca.port, hca.link_layer) for hca in log.hcas] == [
        ("mlx5_0", 1, "RoCE"),
        ("mlx5_1", 1, "IB"),
        ("mlx5_2", 2, "RoCE"),
    ]
    assert log.oob == Interface("eth0", "fe80::1%eth0")


def test_lists_without_an_address() -> None:
    log = info("NET/IB : Using [0]rocep1s0f0:1/RoCE ; OOB none", "Bootstrap: Using nothing")
    assert (log.oob, log.bootstrap) == (None, None)


# --- connections and queue pairs ---

GIDS = [
    ("0", "164A8C0FFFF0000", "192.168.100.1"),  # quoted/colonel-otto
    ("0", "16EA8C0FFFF0000", "192.168.110.1"),  # quoted/colonel-otto
    ("0", "100D20AFFFF0000", "10.210.0.1"),
    ("80FE", "100FFFEFF008450", None),
    ("0", "0", None),
    ("1", "164A8C0FFFF0000", None),
]


@pytest.mark.parametrize(("prefix", "interface", "ipv4"), GIDS)
def test_gid(prefix: str, interface: str, ipv4: str | None) -> None:
    line = f"NET/IB: ncclIbConnectImpl: NCCL Dev 0 IbDev 0 Port 1 qp_num 1 mtu 5 GID 3 ({prefix}/{interface}) ctsFifoRkey=0x1"
    assert [connection.ipv4 for connection in info(line).connections] == [ipv4]


def test_a_link_local_gid_reads_as_in_sysfs() -> None:
    assert decode_gid("80FE", "100FFFEFF008450") == "fe80:0000:0000:0000:5084:00ff:feff:0001"


@given(address=st.ip_addresses(v=4))
def test_every_ipv4_comes_back(address: object) -> None:
    raw = bytes.fromhex("0000ffff") + address.packed  # type: ignore[attr-defined]
    printed = f"{int.from_bytes(raw, 'little'):X}"
    line = f"NET/IB: NCCL Dev 0 IbDev 0 Port 1 qpn 1 mtu 5 GID 3 (0/{printed}) fifoRkey=0x1"
    assert info(line).connections[0].ipv4 == str(address)


def test_connections_of_other_versions() -> None:
    log = info(
        "NET/IB: NCCL Dev 0 IbDev 2 Port 1 qpn 77 mtu 3 GID 1 (80FE/100FFFEFF008450) fifoRkey=0x1 fifoLkey=0x1",
        "NET/IB: ncclIbConnectImpl: NCCL MergedDev 4 IbDev 0 Port 1 qp_num 7 mtu 9 LID 3 subnet-prefix 1 FLID 0",
    )
    assert log.connections == (
        Connection(0, 2, None, 1, 3, 1024, 1, "fe80:0000:0000:0000:5084:00ff:feff:0001", None, 1),
        Connection(4, 0, None, 1, 9, None, None, None, None, 1),
    )


def test_queue_pairs() -> None:
    common = "port=1 dev=2 devName=roceP2p1s0f0 ndevs=4 nmdevs=4"
    log = info(
        f"NET/IB: ncclIbSenderQpsCreate: QP created: {common} qp_num=46159 pkey=0 pd=0x1 oooRq=0",
        f"NET/IB: ncclIbReceiverQpsCreateToRts: QP created: {common} qp_num=46160 pkey=0 pd=0x1 oooRq=0",
        f"NET/IB: ncclIbReceiverQpsCreateToRts: Flush QP created: {common} qp_num=46161 pkey=0 pd=0x1",
        f"NET/IB : ncclIbCreateQp {common} qpn=46162 pkey=0 pd=0x1",
        "NET/IB: NCCL Dev 2 IbDev 2 Port 1 qpn 46162 mtu 5 GID 3 (0/164A8C0FFFF0000) fifoRkey=0x1",
    )
    assert log.queue_pairs == (QueuePairs("roceP2p1s0f0", 1, 1, 1),)
    assert log.connections[0].device == "roceP2p1s0f0"  # known from the queue pair


# --- environment, plugins, init ---


def test_environment() -> None:
    log = info(
        "NCCL_IB_GID_INDEX set by environment to 3.",
        "NCCL_SOCKET_IFNAME set by environment to enP7s7.",
        "NCCL_EMPTY set by environment to ",
        "NCCL_IB_HCA set to =rocep1s0f0",
        "LD_PRELOAD set by environment to /tmp/x.so",
        "AWS_SECRET set to made-up-secret",
        "NCCL_LONG set by environment to " + "x" * 1000,
    )
    assert log.env == {
        "NCCL_IB_GID_INDEX": "3",
        "NCCL_SOCKET_IFNAME": "enP7s7.",
        "NCCL_EMPTY": "",
        "NCCL_IB_HCA": "=rocep1s0f0",
        "NCCL_LONG": "x" * MAX_EXCERPT,
    }


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Successfully loaded external network plugin libnccl-net.so", "libnccl-net.so"),
        ("Successfully loaded external plugin libnccl-net.so", "libnccl-net.so"),
        ("NET/Plugin: Loaded net plugin IBext_v10 (v10)", "IBext_v10"),
    ],
)
def test_external_plugin(message: str, name: str) -> None:
    log = info(message, "Initialized NET plugin IBext_v10", "Using network IBext_v10")
    assert (log.external_plugins, log.plugins, log.networks) == ((name,), ("IBext_v10",), ("IBext_v10",))


def test_the_first_version_and_git_head_stay() -> None:
    log = info(
        "NCCL version 2.30.7+cuda13.3",
        "NCCL version 2.28.9",
        "NCCL git version HEAD a5187fa2e",
        "NCCL git version HEAD b",
    )
    assert (log.version, log.git) == ("2.30.7+cuda13.3", "a5187fa2e")


START = "ncclCommInitRank comm 0x1 rank 0 nranks 3 cudaDev 0 - Init START"
COMPLETE = "ncclCommInitRank comm 0x1 rank 0 nranks 3 cudaDev 0 - Init COMPLETE"
SPLIT = "ncclCommSplit comm 0x2 rank 1 nranks 2 cudaDev 0 parent 0x1 - Init START"


@pytest.mark.parametrize(
    ("messages", "complete"),
    [
        ([START, COMPLETE], True),
        ([COMPLETE], True),
        (["comm 0x1 - Init COMPLETE"], True),
        ([START], False),
        ([START, COMPLETE, SPLIT], False),
        ([], False),
    ],
)
def test_init(messages: list[str], complete: bool) -> None:
    assert info(*messages).init_complete is complete


def test_communicators() -> None:
    assert info(START, COMPLETE, SPLIT).communicators == (Communicator(0, 3), Communicator(1, 2))


# --- findings ---

# (id, message, kind, device)
WARNINGS = [
    (
        "old timed out",
        "Call to ibv_modify_qp failed with error Connection timed out errno 110",
        "wrong_neighbour",
        None,
    ),
    ("quoted timed out", "Call to ibv_modify_qp failed with error Connection timed out/110", "wrong_neighbour", None),
    (
        "new timed out",
        "Call to ibv_modify_qp failed with 110 Connection timed out, on dev rocep1s0f0:1, curr state INIT, next state RTR",
        "wrong_neighbour",
        "rocep1s0f0",
    ),
    ("old gid", "Call to ibv_modify_qp failed with error Invalid argument errno 22", "wrong_gid", None),
    (
        "new gid",
        "Call to ibv_modify_qp failed with 22 Invalid argument, on dev roceP2p1s0f0:1, local GID index 0",
        "wrong_gid",
        "roceP2p1s0f0",
    ),
    (
        "memory",
        "Call to ibv_reg_mr_iova2 failed with error Cannot allocate memory",
        "memory_registration",
        None,
    ),
    ("memory, old", "Call to ibv_reg_mr failed with error Cannot allocate memory", "memory_registration", None),
    (
        "retry exceeded",
        "NET/IB: Got completion from peer 10.210.0.2<55921> with status=12 opcode=0 len=0 vendor err 129 (Send)",
        "retry_exceeded",
        None,
    ),
    (
        "retry exceeded by name",
        "NET/IB: Got completion from peer 10.210.0.2<1> with status=IBV_WC_RETRY_EXC_ERR(12) opcode=IBV_WC_SEND(0) vendor_err=129  localGid ::ffff:10.210.0.1 hca rocep1s0f0",
        "retry_exceeded",
        "rocep1s0f0",
    ),
    ("flushed", "NET/IB: Got completion from peer 10.210.0.2<1> with status=5 opcode=0", "unclassified", None),
    ("not 12", "NET/IB: Got completion from peer 10.210.0.2<1> with status=129 opcode=0", "unclassified", None),
    ("gid table", "NET/IB : rocep1s0f1:1 GID table changed", "gid_table_changed", "rocep1s0f1"),
    ("no plugin", "Failed to initialize any NET plugin", "plugin_failed", None),
    ("other", "Cuda failure 'out of memory'", "unclassified", None),
]


@pytest.mark.parametrize("case", WARNINGS, ids=[case[0] for case in WARNINGS])
def test_warning(case: tuple[str, str, str, str | None]) -> None:
    _id, message, kind, device = case
    assert warn(message) == (Finding(kind, device, 1, f"NCCL WARN {message}"[:MAX_EXCERPT]),)  # type: ignore[arg-type]


def test_a_changed_gid_table_voids_the_run() -> None:
    assert read_nccl_log(["NCCL WARN NET/IB : rocep1s0f1:1 GID table changed"]).void


def test_a_program_that_repeats_itself_is_one_finding() -> None:
    message = f"{PREFIX}NCCL WARN Call to ibv_reg_mr failed with error Cannot allocate memory {'x' * 9999}"
    (finding,) = read_nccl_log([message] * 500).findings
    assert (finding.count, len(finding.excerpt)) == (500, MAX_EXCERPT)


# Published as alarming and seen on healthy Sparks (health-checks 3.6); one variant lacks the closing quote.
RED_HERRINGS = [
    "GPU Direct RDMA Disabled for HCA 0 'rocep1s0f0'",
    "NET/IB : GPU Direct RDMA Disabled for HCA 0 'rocep1s0f0",
    "NET/Plugin: Could not find: libnccl-net.so",
    "NET/IB : Skipping makeVDevice, NCCL_IB_MERGE_NICS=0",
]


@pytest.mark.parametrize("message", RED_HERRINGS)
def test_red_herrings(message: str) -> None:
    assert info(message).findings == ()
    assert warn(message) == ()


NOTHING = [
    "NET/IB: [0] rocep1s0f0 without provider=",
    "Using network ",
    "a program that talks of NCCL",
    "NCCL_NET set by environment to Socket",
    "NCCL DEBUG Using network Socket",
]


@pytest.mark.parametrize("line", NOTHING)
def test_what_is_no_message_of_nccl(line: str) -> None:
    empty = dataclasses.replace(read_nccl_log([line]), lines=0, sha256="")
    assert empty == dataclasses.replace(read_nccl_log([]), lines=0, sha256="")


# --- prefixes ---

PREFIXES = st.one_of(
    st.sampled_from(
        [
            "(RayWorkerWrapper pid=214, ip=192.0.2.1) ",
            "\x1b[36m(RayWorkerWrapper pid=214)\x1b[0m ",
            "[2026-08-01 10:00:00] ",
            "[1,0]<stdout>:",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=40).filter(
        lambda text: "NCCL" not in text and "[repeated" not in text
    ),
)


def without_hash(log: NcclLog) -> NcclLog:
    return dataclasses.replace(log, sha256="")


@pytest.mark.parametrize("name", LOGS)
@given(data=st.data())
def test_prefixes_do_not_matter(name: str, data: st.DataObject) -> None:
    lines = lines_of(name)
    chosen = data.draw(st.lists(PREFIXES, min_size=1, max_size=3))
    prefixed = [chosen[number % len(chosen)] + line for number, line in enumerate(lines)]
    assert without_hash(read_nccl_log(prefixed)) == without_hash(read_nccl_log(lines))


@pytest.mark.parametrize(
    "suffix", [" [repeated 2x across cluster]", " \x1b[32m [repeated 64x across cluster] (Ray deduplicates)\x1b[0m"]
)
def test_lines_that_ray_folded_are_told(suffix: str) -> None:
    log = read_nccl_log([f"{PREFIX}NCCL INFO Using network IB{suffix}\n", f"{PREFIX}NCCL INFO [repeated later]\n"])
    assert (log.networks, log.folded) == (("IB",), True)


# --- whatever comes ---

VOCABULARY = [
    "NCCL",
    "INFO",
    "WARN",
    "version",
    "NET/IB",
    ":",
    "Using",
    "; OOB ",
    "[0]",
    "Channel",
    " via ",
    "->",
    "1[0]",
    "00/0",
    "NET/",
    "99999999999",
    "dev",
    "IbDev",
    "GID",
    "(0/FFFFFFFFFFFFFFFFF)",
    "devName=",
    "QP created:",
    "set by environment to",
    "NCCL_X",
    "Init COMPLETE",
    "rank",
    "\x1b[0m",
    "\ud800",
    "\udcff",
    "\x00",
    "²",
]


@given(
    st.lists(
        st.one_of(st.text(max_size=80), st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join)), max_size=20
    )
)
def test_arbitrary_lines_never_raise(lines: list[str]) -> None:
    assert read_nccl_log(lines).lines == len(lines)


@given(st.data())
def test_damaged_logs_never_raise(data: st.DataObject) -> None:
    text = "".join(lines_of(data.draw(st.sampled_from(LOGS))))
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.text(max_size=5)) + text[at + data.draw(st.integers(0, 60)) :]
    log = read_nccl_log(damaged.splitlines(keepends=True))
    assert log.lines == len(damaged.splitlines())


def test_recorded_tcp_over_loopback() -> None:
    log = read("real-socket-rank0.log")
    assert (log.version, log.init_complete) == ("2.28.9+cuda13.0", True)
    assert (log.networks, log.plugins, log.hcas, log.queue_pairs) == (("Socket",), ("Socket",), (), ())
    assert log.transports == {"NET/Socket": 7}
    assert {(group.peer, group.direction, group.count) for group in log.channels} == {
        (1, "receive", 1),
        (1, "send", 2),
        (2, "receive", 2),
        (2, "send", 2),
    }
    assert log.env["NCCL_P2P_DISABLE"] == "1"
    assert log.findings == ()


def test_recorded_refusal_without_an_rdma_device() -> None:
    log = read("real-no-device-rank0.log")
    assert (log.init_complete, log.networks, log.transports) == (False, (), {})
    assert {finding.kind for finding in log.findings} == {"no_device", "plugin_failed"}
