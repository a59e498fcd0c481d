"""Outputs of a virtual Spark, as they were (tests/fixtures/probe/README.md)."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils import contracts
from ansible_collections.gb10.cluster.plugins.module_utils.probe.commands import explain_failure
from ansible_collections.gb10.cluster.plugins.module_utils.probe.devinfo import parse_devinfo
from ansible_collections.gb10.cluster.plugins.module_utils.probe.ethtool import (
    parse_driver,
    parse_link,
    parse_statistics,
)
from ansible_collections.gb10.cluster.plugins.module_utils.probe.links import (
    parse_addresses,
    parse_lldp,
    parse_rdma_links,
    parse_routes,
)
from ansible_collections.gb10.cluster.plugins.module_utils.probe.perftest import (
    Bandwidth,
    bandwidth_agrees,
    latency_agrees,
    parse_bandwidth,
    parse_latency,
)
from ansible_collections.gb10.cluster.plugins.module_utils.probe.system import parse_gpus, parse_memlock_kib
from ansible_collections.gb10.cluster.plugins.module_utils.shape import optional_keys


def test_bandwidth_by_duration(recorded) -> None:
    parsed = parse_bandwidth(recorded("real-debian13-ib_write_bw-D.txt"))
    assert parsed == Bandwidth(0.060071, 116, 65536, 4, 4096, "10.210.0.1", "10.210.0.2")
    assert bandwidth_agrees(parsed, recorded("real-debian13-ib_write_bw-D.json")) is True


def test_bandwidth_in_mebibytes(recorded) -> None:
    parsed = parse_bandwidth(recorded("real-debian13-ib_write_bw-mib.txt"))
    assert parsed.gbps == pytest.approx(5.94 * 2**20 * 8 / 1e9)
    # JSON has no unit: without --report_gbits it cannot agree, and the module always asks for gigabits
    assert bandwidth_agrees(parsed, recorded("real-debian13-ib_write_bw-mib.json")) is False


def test_latency(recorded) -> None:
    parsed = parse_latency(recorded("real-debian13-ib_write_lat.txt"))
    assert (parsed.typical_us, parsed.p99_us, parsed.iterations, parsed.size_bytes) == (8984.29, 56185.38, 100, 8)
    assert latency_agrees(parsed, recorded("real-debian13-ib_write_lat.json")) is True


@pytest.mark.parametrize(("name", "cause"), [("noserver", "environment"), ("nodevice", "configuration")])
def test_failures(recorded, name: str, cause: str) -> None:
    assert explain_failure("ib_write_bw", 1, recorded(f"real-debian13-ib_write_bw-{name}.txt"), 60)[0] == cause


def test_rdma_and_devinfo_name_the_same_devices(recorded) -> None:
    links = parse_rdma_links(recorded("real-debian13-rdma-link.json"))
    infos = parse_devinfo(recorded("real-debian13-ibv_devinfo.txt"))
    assert {link.device for link in links} == {info.device for info in infos}
    assert len(links) == 4
    mtus = {info.device: info.active_mtu for info in infos}
    assert mtus == {"rocep1s0f0": 4096, "roceP2p1s0f0": 4096, "rocep1s0f1": 1024, "roceP2p1s0f1": 1024}


def test_addresses_and_routes(recorded) -> None:
    interfaces = {item.name: item for item in parse_addresses(recorded("real-debian13-ip-addr.json"))}
    assert interfaces["enp1s0f0np0"].addresses == ("10.210.0.1/24",)
    assert interfaces["enp1s0f0np0"].mtu == 9000
    routes = parse_routes(recorded("real-debian13-ip-route.json"))
    assert [(route.dst, route.dev) for route in routes if route.dst == "default"] == [("default", "enP7s7")]


def test_lldp(recorded) -> None:
    peers = parse_lldp(recorded("real-debian13-lldp.json"))
    assert ("enp1s0f0np0", "spark2") in {(peer.netdev, peer.chassis) for peer in peers}


def test_ethtool_of_a_virtual_port(recorded) -> None:
    link = parse_link(recorded("real-debian13-ethtool.txt"))
    assert (link.speed_mbps, link.lanes, link.link) == (200000, None, True)
    assert parse_driver(recorded("real-debian13-ethtool-i.txt")).driver == "virtio_net"
    assert "rx_drops" in parse_statistics(recorded("real-debian13-ethtool-S.txt"))


def test_other_files(recorded) -> None:
    assert parse_gpus(recorded("real-debian13-nvidia-smi.csv"))[0]["name"] == "NVIDIA GB10"
    assert parse_memlock_kib(recorded("real-debian13-limits.txt")) is not None


MEASURED_SINCE = {"pairs", "pairs_served", "pings", "boot_id", "uptime_s", "clock_step_s"}  # these were recorded


@pytest.mark.parametrize("node", ["spark1", "spark2"])
@pytest.mark.parametrize(
    ("kind", "shape"), [("facts", contracts.NodeFacts), ("measurement", contracts.RdmaMeasurement)]
)
def test_whole_results_have_the_shape_of_the_contract(recorded, node: str, kind: str, shape: t.Any) -> None:
    result = json.loads(recorded(f"real-virtual-{node}-{kind}.json"))
    since_recorded = {"facts": {"admission", "gpu_module"}, "measurement": MEASURED_SINCE}[kind]
    fields = set(t.get_type_hints(shape))
    assert fields - optional_keys(shape) - since_recorded <= set(result) <= fields
    parts = {"directions": contracts.Direction, "served": contracts.Served, "halves": contracts.HalfFacts}
    for key, part in parts.items():
        for entry in result.get(key, []):
            named = set(t.get_type_hints(part))
            assert named - optional_keys(part) <= set(entry) <= named


def test_a_busy_pair_was_measured_all_the_same(recorded) -> None:
    results = [json.loads(recorded(f"real-virtual-{node}-measurement.json")) for node in ("spark1", "spark2")]
    directions = [entry for result in results for entry in result["directions"]]
    assert len(directions) == 4
    assert all(entry["failure"] is None and len(entry["bandwidth"]) == 4 and entry["latency"] for entry in directions)
    assert [failure["cause"] for entry in directions for failure in entry["repeated"]] == ["instrument"]
