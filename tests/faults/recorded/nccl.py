"""What NCCL did, by its logs: four different ways to be slow, two of them real recordings."""

from __future__ import annotations

import typing as t

from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_summary import summary
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_log import read_nccl_log
from ansible_collections.gb10.cluster.tests.unit.builders import ROOT

from tests.faults.case import Expected
from tests.faults.recorded.words import Spoil, both, case, measured

SPARK1 = ("node spark1",)
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
]
