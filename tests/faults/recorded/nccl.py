"""What NCCL did, by its logs: four different ways to be slow, two of them real recordings."""

from __future__ import annotations

import typing as t

from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_summary import summary
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_log import read_nccl_log
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import ROOT

from tests.faults.case import Expected
from tests.faults.recorded.words import Spoil, both, case, measured

SPARK1, SPARK2 = ("node spark1",), ("node spark2",)
BRICK = "shut spark2 down and unplug its power brick"
OFF_TCP = "see that what serves on spark1 has /dev/infiniband and libibverbs"
EXPIRED = {"stage": "init", "cause": "software", "message": "ncclSystemError", "argv": [], "rc": 1, "raw_sha256": None}


def rank(change: t.Callable[[t.Any], t.Any], node: str = "spark1") -> Spoil:
    return measured(lambda reading: change((reading.nccl or {})[node]))


def log(name: str) -> Spoil:
    """The log of a fixture in place of the healthy one."""
    lines = (ROOT / f"tests/fixtures/nccl/{name}.log").read_text(encoding="utf-8").splitlines(keepends=True)
    return rank(lambda measurement: measurement.update(log=summary(read_nccl_log(lines))))


def library(**values: t.Any) -> Spoil:
    return rank(lambda measurement: measurement["library"].update(values))


def carries_nothing(measurement: t.Any) -> None:
    for counted in ("tx_bytes", "rx_bytes"):
        measurement[counted]["roceP2p1s0f0"] = 0


def slow(reading: t.Any) -> None:
    for measurement in reading.nccl.values():
        for run in measurement["runs"]:
            run["busbw_gbs"] = 0.49


def slow_with_every_peer(reading: t.Any) -> None:
    """As recorded: 0.69 and 0.71 GB/s with one node, 4.6 and more without it, everything passive right (D1)."""
    for node, measurement in reading.nccl.items():
        for run in measurement["runs"]:
            run["busbw_gbs"] = 0.49
        for pair in measurement["pairs"]:
            if "spark1" in (node, pair["peer"]):
                for run in pair["runs"]:
                    run["busbw_gbs"] = 0.7


def soaking(change: t.Callable[[t.Any], t.Any]) -> Spoil:
    """spark2 in a soak of ten minutes."""

    def soak(reading: Reading) -> Reading:
        soaked = builders.soaked(reading)
        assert soaked.nccl is not None
        change(soaked.nccl["spark2"])
        return soaked

    return measured(soak)


def load(**values: t.Any) -> Spoil:
    return rank(lambda measurement: measurement["gpu_load"].update(values), "spark2")


def inside(**values: t.Any) -> Spoil:
    return rank(lambda measurement: measurement["inside"].update(values), "spark2")


CASES = [
    case(
        "NCCL: falls back to TCP (recorded)",
        log("real-socket-rank0"),
        Expected("C02 spark1", SPARK1, OFF_TCP, signature="tcp", also=("C02 *",)),
        sample=True,
    ),
    case(
        "NCCL: finds no RDMA device (recorded)",
        log("real-no-device-rank0"),
        Expected("C02 spark1", SPARK1, OFF_TCP, signature="no-rdma"),
    ),
    case(
        "NCCL: the second plane collapsed onto the first",
        log("collapsed-rank0"),
        Expected("C03 spark1", SPARK1, "compare addresses and subnets of both halves", signature="collapsed-plane"),
    ),
    case(
        "NCCL: a dead half",
        rank(carries_nothing),
        Expected("C03 spark1", SPARK1, "see that NCCL_IB_HCA names every planned device", signature="dead-half"),
    ),
    case(
        "NCCL: cannot connect over a cable to the wrong neighbour",
        both(log("miscabled-rank0"), rank(lambda measurement: measurement.update(failure=EXPIRED))),
        Expected("C05", (), "look at what serves on spark1", cause="software"),
    ),
    case(
        "NCCL: too old for a triangle",
        library(version="2.28.9", headers="2.28.9"),
        Expected(
            "N14 spark1",
            SPARK1,
            "use an image for spark1 with NCCL 2.30.7 or newer",
            cause="software",
            signature="wrong-library",
        ),
    ),
    case(
        "NCCL: two libraries in one process",
        library(others=["/usr/lib/aarch64-linux-gnu/libnccl.so.2.28.9"]),
        Expected("N14 spark1", SPARK1, "take LD_PRELOAD and VLLM_NCCL_SO_PATH out", cause="software"),
    ),
    case(
        "NCCL: another build on one node",
        library(build_id="0000000000000000"),
        Expected(
            "C11",
            SPARK1,
            "bring the image, or the virtual environment, of the others to spark1",
            cause="software",
            signature="different-libraries",
        ),
    ),
    case(
        "NCCL: wrong data",
        rank(lambda measurement: measurement["runs"][3].update(wrong=17), "spark2"),
        Expected("C05", (), "serve nothing on these nodes", cause="hardware", signature="wrong-data"),
    ),
    case(
        "NCCL: a rank left no measurement",
        measured(lambda reading: reading.nccl.pop("spark2")),
        Expected(
            "N14 spark2",
            ("node spark2",),
            "N14 spark2: spark2 sent no NCCL measurement",
            outcome="unknown",
            cause="instrument",
            also=("C*",),
        ),
    ),
    case(
        "NCCL: slow, with every path as it should be",
        measured(slow),
        Expected("C04", (), "measure again, with nothing else running on any node", cause="hardware"),
    ),
    case(
        "NCCL: one node is slow with every peer, and nothing passive shows it",
        measured(slow_with_every_peer),
        Expected(
            "P06 spark1+spark2",
            SPARK1,
            "reboot spark1",
            cause="hardware",
            signature="cx7-init-clamp",
            also=("P06 spark1+spark3", "C04"),
        ),
    ),
    case(
        "NCCL: two nodes are slow with each other alone",
        rank(
            lambda measurement: [
                run.update(busbw_gbs=4.6)
                for pair in measurement["pairs"]
                if pair["peer"] == "spark2"
                for run in pair["runs"]
            ]
        ),
        Expected("P06 spark1+spark2", ("pair spark1+spark2",), "compare", cause="hardware", signature="one-half"),
    ),
    case(
        "GPU: its power supply is stuck",
        load(clock_mhz=680.0, power_w=9.0),
        Expected("N10 spark2", SPARK2, BRICK, cause="hardware", signature="usb-pd-wedge"),
    ),
    case(
        "GPU: too warm for its clock",
        load(clock_mhz=1700.0),
        Expected("N10 spark2", SPARK2, "see that spark2 gets air", outcome="degraded", cause="environment"),
    ),
    case(
        "GPU: nvidia-smi says nothing under load",
        load(samples=0, clock_mhz=None, problem="nvidia-smi ended with 9"),
        Expected(
            "N10 spark2",
            SPARK2,
            "see what nvidia-smi says on spark2 under load",
            outcome="unknown",
            cause="instrument",
        ),
    ),
    case(
        "image: 8 MiB of memlock inside",
        inside(memlock_kib=8192),
        Expected("N15 spark2", SPARK2, "run what serves on spark2 with --ulimit memlock=-1"),
    ),
    case(
        "image: no /dev/infiniband inside",
        inside(uverbs=[]),
        Expected("N16 spark2", SPARK2, "see that what serves on spark2 has /dev/infiniband", signature="no-verbs"),
    ),
    case(
        "image: libibverbs does not load inside",
        inside(verbs_library=False),
        Expected("N16 spark2", SPARK2, "see that what serves on spark2 has /dev/infiniband", signature="no-verbs"),
    ),
    case(
        "image: NCCL_IB_DISABLE=1 in its environment",
        inside(environment={"NCCL_IB_DISABLE": "1"}),
        Expected("N17 spark2", SPARK2, "take NCCL_IB_DISABLE out of what serves", signature="nccl-residue"),
    ),
    case(
        "image: a key in its nccl.conf that nobody planned",
        inside(nccl_files=[{"path": "/etc/nccl.conf", "settings": {"NCCL_ALGO": "Tree"}}]),
        Expected("N17 spark2", SPARK2, "take these keys out of what serves on spark2", outcome="degraded"),
    ),
    case(
        "soak: errors under load",
        soaking(lambda measurement: measurement["soak"]["counter_deltas"]["rocep1s0f1"].update(packet_seq_err=9)),
        Expected(
            "C08 spark2",
            SPARK2,
            "reseat or swap the cable behind rocep1s0f1 of spark2",
            cause="hardware",
            signature="errors-under-load",
        ),
    ),
    case(
        "soak: the GPU has no power for minutes",
        soaking(lambda measurement: [sample.update(power_w=9.0) for sample in measurement["soak"]["samples"][40:60]]),
        Expected("C08 spark2", SPARK2, BRICK, cause="hardware", signature="usb-pd-wedge"),
    ),
    case(
        "soak: it ended too soon",
        soaking(lambda measurement: measurement["soak"].update(seconds=62.0)),
        Expected("C08 spark2", SPARK2, "C08 spark2: 62 s of 600 were done", outcome="unknown", cause="instrument"),
    ),
]
