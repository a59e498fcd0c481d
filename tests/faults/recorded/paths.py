"""What the pair matrix shows: parts that are slow, and in which pattern."""

from __future__ import annotations

import dataclasses

from ansible_collections.gb10.cluster.tests.unit.builders import direction_of, set_bandwidth, set_both_halves

from tests.faults.case import Expected
from tests.faults.recorded.words import DARK, LINKS, PATH, Spoil, both, case, half, measured, paths_of, requiring, slow

# For four ranks no number of torch is public, so four nodes are measured without NCCL.
without_nccl = measured(lambda reading: dataclasses.replace(reading, nccl=None))

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


def unheard(*nodes: str, carrier: bool = False) -> Spoil:
    """Nobody hears them, and they hear nobody."""

    def change(reading):
        for name, discovery in reading.discoveries.items():
            known = [heard for heard in discovery["neighbours"] if not {name, heard["peer_node"]} & {*nodes}]
            quiet = {heard["netdev"] for heard in discovery["neighbours"]} - {heard["netdev"] for heard in known}
            discovery["neighbours"] = known
            discovery["silent" if carrier else "down"] += sorted(quiet)

    return measured(change)


def dark(*nodes: str) -> Spoil:
    """Their switch ports give no light."""
    return both(*(half(node, "p0:a", "p0:b", **DARK) for node in nodes), unheard(*nodes))


def unreached(node: str):
    """No packet of a node comes through, whichever side measures."""

    def change(reading):
        for measurement in reading.measurements.values():
            for direction in measurement["directions"]:
                if node in (direction["from_node"], direction["to_node"]):
                    said = f"no word from {direction['to_node']} within 60 s"
                    failure = {"stage": "rendezvous", "cause": "environment", "message": said}
                    direction["failure"] = failure | {"argv": [], "rc": None, "raw_sha256": None}
                    direction |= {"bandwidth": [], "latency": None, "tx_bytes": {}}

    return measured(change)


FOUR = {"topology": "switch", "nodes": 4}
SWITCH, LOOK_AT_IT = ("switch crs812",), "no node is to blame, so look at crs812: it is on"
ALL_FOUR = tuple(f"spark{number}" for number in range(1, 5))

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
    case(
        "slow: one half at half speed, its twin at full",
        slow(55.9, PATH),
        Expected(
            f"P02 {WAY}",
            HALF_LINK,
            f"compare PCIe (N03) and carrier (L01) at both ends of {PATH}",
            cause="hardware",
            also=("P02 spark2:p1:a>spark1:p0:a",),
        ),
    ),
    case(
        "regression: 8 % less than in the run of the baseline",
        both(slow(103, PATH), requiring("C07")),
        Expected(
            f"C07 {WAY}",
            HALF_LINK,
            "compare",
            outcome="degraded",
            cause="hardware",
            signature="regression",
            also=("C07 spark2:p1:a>spark1:p0:a",),
        ),
    ),
    case(
        "regression: 12 % less, one way",
        both(slow(98, PATH, sender="spark1"), requiring("C07")),
        Expected(f"C07 {WAY}", HALF_LINK, "compare", cause="hardware", signature="regression"),
    ),
    case(
        "regression: noted where the profile only observes it",
        slow(98, PATH, sender="spark1"),
        Expected(
            f"C07 {WAY}",
            (),
            "see what changed on spark1 and spark2 since 2026-11-20",
            cause="hardware",
            signature="regression",
            noted=True,
        ),
    ),
    case(
        "switch: one port of four is dark",
        both(dark("spark4"), without_nccl),
        Expected(
            "L01 spark4:p0:a",
            ("node spark4",),
            "see that the plug is seated in spark4 p0",
            cause="hardware",
            also=("L01 spark4:p0:b", "L09 spark4:p0"),
        ),
        **FOUR,
    ),
    case(
        "switch: one port of four at 100G",
        both(half("spark4", "p0:a", "p0:b", speed=100000), without_nccl),
        Expected(
            "L01 spark4:p0:a",
            ("node spark4",),
            "use a 200G cable at spark4 p0",
            cause="hardware",
            also=("L01 spark4:p0:b",),
        ),
        **FOUR,
    ),
    case(
        "switch: one port of four loses packets",
        both(
            slow(60, *(f"spark{number}:p0:{part}-spark4:p0:{part}" for number in (1, 2, 3) for part in "ab")),
            without_nccl,
        ),
        Expected(
            "P02 spark1:p0:a>spark4:p0:a",
            ("node spark4",),
            "move the cable of spark4 to a spare switch port",
            cause="hardware",
            also=("P02 *spark4*",),
        ),
        **FOUR,
    ),
    case(
        "switch: one port of four in another VLAN",
        both(unheard("spark4", carrier=True), unreached("spark4"), without_nccl),
        Expected(
            "L09 spark4:p0",
            ("node spark4",),
            "spark4 p0: has a carrier, but nothing was heard",
            outcome="unknown",
            cause="environment",
            also=("P01 *spark4*",),
        ),
        **FOUR,
    ),
    case(
        "switch: it is off",
        both(dark(*ALL_FOUR), without_nccl),
        Expected("L01 spark1:p0:a", SWITCH, LOOK_AT_IT, cause="hardware", also=("L01 *", "L09 *")),
        **FOUR,
    ),
    case(
        "switch: it is off, with three nodes",
        dark(*ALL_FOUR[:3]),
        Expected("L01 spark1:p0:a", SWITCH, LOOK_AT_IT, cause="hardware", also=("L01 *", "L09 *")),
        topology="switch",
    ),
    case(
        "switch: a node behind it is off",
        measured(
            lambda reading: [
                parts.pop("spark2")
                for parts in (reading.facts, reading.measurements, reading.discoveries, reading.nccl)
            ]
        ),
        Expected("N00 spark2", ("node spark2",), "see whether spark2 is powered on", cause="environment"),
        topology="switch",
    ),
]
