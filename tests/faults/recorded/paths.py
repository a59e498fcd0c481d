"""What the pair matrix shows: parts that are slow, and in which pattern."""

from __future__ import annotations

from ansible_collections.gb10.cluster.tests.unit.builders import direction_of, set_bandwidth, set_both_halves

from tests.faults.case import Expected
from tests.faults.recorded.words import LINKS, PATH, case, measured, paths_of, slow

ONE_TWO, TWO_THREE, THREE_ONE = LINKS
HALF_LINK = (f"half-link {PATH}",)
WAY = "spark1:p0:a>spark2:p1:a"
EVERY_PATH = [path for link in LINKS for path in paths_of(link)]


def stops_beside_the_other(reading):
    for sender, receiver in (("spark1", "spark2"), ("spark1", "spark3")):
        set_both_halves(reading, sender, receiver, 55.0, 55.0)


def everything(gbps: float):
    return measured(lambda reading: [set_bandwidth(reading, path["id"], gbps) for path in reading.plan["paths"]])


def counters(**growth: int):
    return measured(lambda reading: reading.measurements["spark1"]["counter_deltas"]["rocep1s0f0"].update(growth))


CASES = [
    case(
        "slow: 13.3 Gb/s on every path of a node (init clamp)",
        slow(13.3, *paths_of(ONE_TWO), *paths_of(THREE_ONE)),
        Expected(
            f"P02 {WAY}",
            ("node spark1",),
            "reboot spark1 with both cables attached",
            cause="hardware",
            signature="cx7-init-clamp",
            also=("P02 *spark1*",),
        ),
        sample=True,
    ),
    case(
        "slow: a cable",
        slow(60, *paths_of(ONE_TWO)),
        Expected(
            f"P02 {WAY}",
            ("link spark1:p0-spark2:p1",),
            "swap cable spark1:p0-spark2:p1 with cable spark2:p0-spark3:p1",
            cause="hardware",
            also=("P02 spark[12]:p[01]:?>spark[12]:p[01]:?",),
        ),
    ),
    case(
        "slow: one half of a cable, one way",
        slow(60, PATH, sender="spark2"),
        Expected(
            "P02 spark2:p1:a>spark1:p0:a",
            HALF_LINK,
            f"compare PCIe (N03) and carrier (L01) at both ends of {PATH}",
            cause="hardware",
        ),
    ),
    case(
        "slow: half b of a node on both cables",
        slow(60, *paths_of(ONE_TWO, "b"), *paths_of(THREE_ONE, "b")),
        Expected(
            "P02 spark1:p0:b>spark2:p1:b",
            ("controller spark1:b",),
            "read N03 on spark1",
            cause="hardware",
            also=("P02 *spark1:p?:b*",),
        ),
    ),
    case(
        "slow: half b everywhere",
        slow(92.6, *[path for link in LINKS for path in paths_of(link, "b")]),
        Expected(
            "P02 spark1:p0:b>spark2:p1:b",
            ("plane b",),
            "compare addresses, subnets and MTU of half b on all nodes",
            outcome="degraded",
            cause="hardware",
            also=("P02 *:b>*:b",),
        ),
    ),
    case(
        "slow: everything, so it is the measurement",
        slow(60, *EVERY_PATH),
        Expected(f"P02 {WAY}", ("common cause",), "everything fails alike", cause="hardware", also=("P02 *",)),
    ),
    case(
        "slow: one half stops beside the other on one node",
        measured(stops_beside_the_other),
        Expected(
            "P03 spark1:p0>spark2:p1",
            ("node spark1",),
            "compare the PCIe links (N03) of spark1 and spark2",
            cause="hardware",
            signature="one-half",
            also=("P03 spark1:p1>spark3:p0",),
        ),
    ),
    case(
        "switch: it forwards by its CPU",
        everything(4.85),
        Expected(
            "P02 spark1:p0:a>spark2:p0:a",
            ("switch crs812",),
            "see that all fabric ports are in one bridge and offloaded to hardware",
            cause="hardware",
            signature="switch-cpu-path",
            also=("P02 *",),
        ),
        topology="switch",
    ),
    case(
        "errors: packets out of order on a cable",
        counters(packet_seq_err=12),
        Expected("L08 spark1:p0:a", HALF_LINK, "reseat or swap the cable of spark1 p0", cause="hardware"),
    ),
    case(
        "latency: 9 us on one path",
        measured(lambda reading: direction_of(reading, PATH, "spark1")["latency"].update(typical_us=9.0)),
        Expected(f"P04 {WAY}", HALF_LINK, "compare PCIe (N03) and carrier (L01)", cause="hardware"),
    ),
]
