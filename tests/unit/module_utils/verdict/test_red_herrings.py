"""What looks like a fault on a Spark and is none (health-checks 0, 2, 3 and 8). Each is put into a healthy reading.

Where no probe reads it at all, the case says so and proves it: what is parsed is the same with it and without.
"""

from __future__ import annotations

import copy
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils import contracts
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_summary import summary
from ansible_collections.gb10.cluster.plugins.module_utils.probe.counters import MLX5
from ansible_collections.gb10.cluster.plugins.module_utils.probe.devinfo import parse_devinfo
from ansible_collections.gb10.cluster.plugins.module_utils.probe.ethtool import parse_module
from ansible_collections.gb10.cluster.plugins.module_utils.probe.kernel_log import matching_lines
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_log import read_nccl_log
from ansible_collections.gb10.cluster.plugins.module_utils.probe.system import parse_gpus
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.commands_in_source import python_commands

ROOT = Path(__file__).parents[4]
FIXTURES = ROOT / "tests/fixtures"
RESIDUE = {
    "local_ack_timeout_err": 192,
    "req_cqe_error": 64,
    "req_cqe_flush_error": 32,
    "resp_cqe_error": 128,
    "resp_cqe_flush_error": 96,
}


@dataclass(frozen=True)
class Herring:
    id: str  # what, and where it was seen on healthy nodes
    put: t.Callable[[Reading], t.Any]
    topology: str = "triangle"


def of_nodes(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda r: [facts.update(t.cast("t.Any", copy.deepcopy(values))) for facts in r.facts.values()]


def of_halves(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda r: [
        half.update(t.cast("t.Any", copy.deepcopy(values)))
        for facts in r.facts.values()
        for half in facts["halves"]
        if half["carrier"]
    ]


def growth(**values: int) -> t.Callable[[Reading], t.Any]:
    return lambda r: [
        deltas.update(values) for entry in r.measurements.values() for deltas in entry["counter_deltas"].values()
    ]


def log_lines(*lines: str) -> t.Callable[[Reading], t.Any]:
    """The findings of a real form of log with these lines in it, on every rank."""

    def put(reading: Reading) -> None:
        text = (FIXTURES / "nccl/triangle-rank0.log").read_text().splitlines(keepends=True)
        findings = summary(read_nccl_log([*text, *(f"{line}\n" for line in lines)]))["findings"]
        for rank in (reading.nccl or {}).values():
            assert rank["log"] is not None
            rank["log"]["findings"] = copy.deepcopy(findings)

    return put


def plug(text: str) -> t.Callable[[Reading], t.Any]:
    return of_halves(module=parse_module(text))


def peer_was_rebooted(reading: Reading) -> None:
    """It dropped the carrier of its neighbours; its own boot is minutes old."""
    reading.facts["spark2"]["uptime_s"] = 300.0
    for node in ("spark1", "spark3"):
        for half in reading.facts[node]["halves"]:
            half["carrier_down_count"] = (half["carrier_down_count"] or 0) + 1


POWER = "mlx5_core 0000:01:00.0: mlx5_pcie_event:326:(pid 12): Detected insufficient power on the PCIe slot (27W)."
HOTPLUG = "cx7-pcie-hotplug MTKP0001:00: Cable plugin"
PCIE = "mlx5_core 0000:01:00.0: 126.028 Gb/s available PCIe bandwidth (32.0 GT/s PCIe x4 link)"
NCCL = "host:60:71 [0] NCCL INFO"

HERRINGS = [
    Herring("the 27 W line / forum 363461, capetron", of_nodes(kernel_log=[POWER])),
    Herring("what the probe keeps of it", of_nodes(kernel_log=matching_lines([POWER, HOTPLUG, PCIE]))),
    Herring(
        "40G text of a good cable / health-checks 8", plug((FIXTURES / "probe/ethtool-m-qsfp28.txt").read_text())
    ),
    Herring("40G text behind a switch", plug((FIXTURES / "probe/ethtool-m-qsfp28.txt").read_text()), "switch"),
    Herring("a plug that says nothing", of_halves(module=None)),
    Herring("[N/A] for what nvidia-smi does not know / ArcticTraining#345", of_nodes(gpus=parse_gpus("NVIDIA GB10, 12.1, 580.95.05\n"))),
    Herring("corrected bits under load / capetron 04", growth(rx_corrected_bits_phy=4671)),
    Herring("errors of lanes that FEC corrects / health-checks 8", growth(rx_err_lane_0_phy=6, rx_err_lane_2_phy=190)),
    Herring("flush errors of ended queue pairs / health-checks L08", growth(req_cqe_flush_error=32, resp_cqe_flush_error=96)),
    Herring("residue of healthy nodes / colonel-otto rdma-delta.json", of_halves(counters=RESIDUE)),
    Herring("pauses on a cable / spark-facts 2.5", growth(rx_pause_ctrl_phy=12)),
    Herring("no GPUDirect / health-checks 3.6", log_lines(f"{NCCL} NET/IB : GPU Direct RDMA Disabled for HCA 0 'rocep1s0f0'")),
    Herring("the variant without a quote", log_lines(f"{NCCL} NET/IB : GPU Direct RDMA Disabled for HCA 0 'rocep1s0f0")),
    Herring("no external plugin / health-checks 3.6", log_lines(f"{NCCL} NET/Plugin: Could not find: libnccl-net.so.")),
    Herring("a peer was rebooted / health-checks L07", peer_was_rebooted),
    Herring("another maker's name / health-checks N01", of_nodes(dgx_release={"DGX_NAME": "ASUS Ascent GX10"})),
    Herring("a GID index of its own on each device / colonel-otto", lambda r: [
        gid.update(index=6) for gid in builders.half_of(r, "spark1", "p0", "a")["rdma"]["gids"][-1:]  # type: ignore[index]
    ]),
]  # fmt: skip


def outcomes(reading: Reading) -> dict[tuple[str, str], str]:
    return {(r["check"], str(r["subject"])): r["outcome"] for r in decide(reading, "run")["records"] if r["required"]}


@pytest.mark.parametrize("herring", HERRINGS, ids=lambda herring: herring.id)
def test_a_red_herring_changes_nothing(herring: Herring) -> None:
    healthy = builders.healthy_reading(builders.plan(herring.topology))
    reading = copy.deepcopy(healthy)
    herring.put(reading)
    assert outcomes(reading) == outcomes(healthy)
    verdict = decide(reading, "run")["verdict"]
    assert (verdict["outcome"], verdict["blocked_by"], verdict["diagnosis"]["suspects"]) == ("admit", [], [])


def test_all_at_once_change_nothing_either() -> None:
    reading = builders.healthy_reading(builders.plan())
    for herring in HERRINGS:
        if herring.topology == "triangle":
            herring.put(reading)
    assert decide(reading, "run")["verdict"]["outcome"] == "admit"


# --- what no probe reads ---


def test_the_power_line_does_not_leave_the_node() -> None:
    assert matching_lines([POWER, HOTPLUG, PCIE]) == []


def test_active_width_and_speed_are_not_read() -> None:
    """`active_width: 2X (16)` and 4X are both seen on healthy nodes (health-checks 3.2)."""
    text = (FIXTURES / "probe/ibv_devinfo-gb10.txt").read_text()
    first_mtu = next(line for line in text.splitlines(keepends=True) if "active_mtu" in line)
    more = "\t\t\tactive_width:\t\t2X (16)\n\t\t\tactive_speed:\t\t100.0 Gbps (128)\n"
    assert parse_devinfo(text.replace(first_mtu, first_mtu + more)) == parse_devinfo(text)


def test_memory_clock_and_pcie_of_the_gpu_are_not_read() -> None:
    """[N/A] memory, an idle clock, PCIe Gen1 x1: nvidia-smi is asked for none of them (health-checks 3.7)."""
    assert set(contracts.GpuFacts.__annotations__) == {"name", "compute_cap", "driver"}
    asked = [command for command in commands_of("measure/facts.py") if command.startswith("nvidia-smi ")]
    assert asked == [
        "nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader",
        "nvidia-smi --query-compute-apps=pid,used_memory --format=csv,noheader,nounits",
    ]


def test_no_tcp_stream_is_measured() -> None:
    """One stream makes 12 Gb/s on healthy nodes, which looks like a throttled NIC (health-checks 4.4)."""
    for file in sorted((ROOT / "plugins").rglob("*.py")):
        tools = [
            each for each in python_commands(file.read_text()) if each.split(" ")[0] in ("iperf", "iperf3", "netperf")
        ]
        assert tools == [], file


def test_flush_errors_are_not_read() -> None:
    assert not [name for name in MLX5.errors if name.endswith("_flush_error")]


def commands_of(file: str) -> list[str]:
    return list(python_commands((ROOT / "plugins/module_utils" / file).read_text(encoding="utf-8")))
