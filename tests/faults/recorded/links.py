"""Cables, halves, MTU, addresses, GIDs, routes."""

from __future__ import annotations

from tests.faults.case import Expected
from tests.faults.recorded.words import DARK, HALVES, address, both, case, half, measured, on, ports, requiring, route

HALF_LINK = ("half-link spark1:p0:a-spark2:p1:a",)
MISCABLED = ("cage spark1:p0", "cage spark2:p0", "cage spark2:p1", "cage spark3:p1")
SMALL = {"mtu": 1500, "active_mtu": 1024}
PLANNED_MTU = "run site.yml: role fabric sets MTU 9000 live on spark1"
PLANNED_ADDRESSES = "run site.yml: role fabric writes the planned addresses of spark2"
DRIVERS = "see whether the drivers of the NIC (mlx5_core, mlx5_ib) are loaded on spark1"

FLAPS = {"cause": "hardware", "signature": "flaps"}


def lost_once(reading):
    """Since a pass in the same boots of both ends."""
    boots = {name: reading.facts[name]["boot_id"] for name in ("spark1", "spark2")}
    reading.carriers["spark1:p0:a"] |= {"boot_id": boots["spark1"], "peer_boot_id": boots["spark2"]}


def pauses(reading):
    reading.measurements["spark1"]["counter_deltas"]["rocep1s0f0"]["rx_prio3_pause"] = 40961


CASES = [
    case(
        "cabling: p0 to p0 and p1 to p1, both plugs of spark2 in the other cage",
        lambda world: world.swap(("spark2", "p0"), ("spark2", "p1")),
        Expected("L09 spark2:p0", MISCABLED, "spark2: swap the plugs of p0 and p1", also=("L09 *",)),
        sample=True,
    ),
    case(
        "cabling: a cable from a node to itself",
        lambda world: world.swap(("spark2", "p1"), ("spark3", "p1")),
        Expected("L09 spark2:p0", MISCABLED, "swap the plugs of spark3 p1 and spark2 p1", also=("L09 *",)),
    ),
    case(
        "cabling: one plug in the wrong cage of the right node",
        lambda world: world.move(("spark2", "p1"), ("spark2", "p0")),
        Expected(
            "L09 spark1:p0",
            (*MISCABLED, "node spark2"),
            "spark2: move the plug from p0 to p1",
            also=("L09 spark2:p[01]", "L09 spark3:p1", "L01 spark2:p1:?", "L01 spark3:p1:?"),
        ),
    ),
    case(
        "cabling: unplugged",
        lambda world: world.unplug(("spark2", "p0")),
        Expected(
            "L09 spark2:p0",
            ("cage spark2:p0", "cage spark3:p1", "link spark2:p0-spark3:p1"),
            "spark2 p0: no cable seen",
            also=("L09 spark3:p1", "L01 spark2:p0:?", "L01 spark3:p1:?"),
        ),
    ),
    case(
        "cabling: a 100G cable",
        both(half("spark2", "p0:a", "p0:b", speed=100000), half("spark3", "p1:a", "p1:b", speed=100000)),
        Expected(
            "L01 spark2:p0:a",
            ("link spark2:p0-spark3:p1",),
            "use a 200G cable at spark2 p0",
            cause="hardware",
            also=("L01 spark2:p0:b", "L01 spark3:p1:?"),
        ),
    ),
    case(
        "cabling: two lanes of four",
        half("spark1", "p0:a", lanes=2),
        Expected("L01 spark1:p0:a", HALF_LINK, "use a 200G cable at spark1 p0", cause="hardware"),
    ),
    case(
        "cabling: no FEC",
        half("spark1", "p0:a", fec="None"),
        Expected("L01 spark1:p0:a", HALF_LINK, "use a 200G cable at spark1 p0", cause="hardware"),
    ),
    case(
        "halves: one half dark",
        half("spark1", "p0:a", **DARK),
        Expected(
            "L01 spark1:p0:a",
            HALF_LINK,
            "see that the plug is seated in spark1 p0 and at the far end",
            cause="hardware",
        ),
    ),
    case(
        "halves: a PCI function has vanished",
        half("spark3", "p0:b", vanished=True),
        Expected("N02 spark3", ("node spark3",), "power spark3 off, unplug it for 60 s", cause="hardware"),
    ),
    case(
        "halves: the whole NIC is off",
        half("spark3", *HALVES, vanished=True),
        Expected("N02 spark3", ("node spark3",), "plug the cables of spark3 in", cause="hardware", also=("C01",)),
    ),
    case(
        "halves: RDMA device gone, driver unbound",
        half("spark1", "p0:a", without_rdma=True),
        Expected("N07 spark1", ("node spark1",), DRIVERS, cause="software"),
    ),
    case(
        "halves: RDMA device bound to another interface",
        half("spark1", "p0:a", bound_to="eth9"),
        Expected("N07 spark1", ("node spark1",), DRIVERS, cause="software"),
    ),
    case(
        "halves: RDMA port down under a carrier",
        half("spark1", "p0:a", state="DOWN", physical="POLLING"),
        Expected("L02 spark1:p0:a", HALF_LINK, "see that enp1s0f0np0 of spark1 is up", cause="hardware"),
    ),
    case(
        "halves: a uverbs file is missing",
        half("spark1", "p1:b", without_uverbs=True),
        Expected("N07 spark1", ("node spark1",), "load ib_uverbs on spark1", cause="software"),
    ),
    case(
        "MTU: 1500 on one end",
        half("spark1", "p0:a", **SMALL),
        Expected("L04 spark1:p0:a", ports("spark1", "p0:a"), PLANNED_MTU),
        sample=True,
    ),
    case(
        "MTU: 1500 on both ends",
        both(half("spark1", "p0:a", **SMALL), half("spark2", "p1:a", **SMALL)),
        Expected(
            "L04 spark2:p1:a",
            (*ports("spark1", "p0:a"), *ports("spark2", "p1:a")),
            PLANNED_MTU,
            also=("L04 spark1:p0:a",),
        ),
    ),
    case(
        "MTU: 9000, but RDMA packets of 1024 bytes",
        half("spark1", "p0:a", active_mtu=1024),
        Expected("L04 spark1:p0:a", ports("spark1", "p0:a"), PLANNED_MTU),
    ),
    case(
        "subnet: twins in one subnet",
        half("spark2", "p1:b", addresses=["10.210.0.77/24"]),
        Expected("L05 spark2:p1:b", ports("spark2", "p1:a", "p1:b"), PLANNED_ADDRESSES, also=("L05 spark2:p1:a",)),
    ),
    case(
        "subnet: wrong address",
        half("spark2", "p1:a", addresses=["10.210.0.9/24"]),
        Expected("L05 spark2:p1:a", ports("spark2", "p1:a"), PLANNED_ADDRESSES),
    ),
    case(
        "subnet: no address",
        half("spark2", "p1:a", addresses=[]),
        Expected("L05 spark2:p1:a", ports("spark2", "p1:a"), PLANNED_ADDRESSES),
    ),
    case(
        "subnet: a second address",
        address("spark2", "p1:a", "192.168.7.7/24"),
        Expected(
            "L05 spark2:p1:a",
            ports("spark2", "p1:a"),
            "find who adds 192.168.7.7/24 on spark2",
            outcome="degraded",
        ),
    ),
    case(
        "subnet: Wi-Fi in a network around the fabric",
        on("spark2", lambda spark: spark.other_addresses.update(wlP9s9=["10.0.0.5/8"])),
        Expected("L05 spark2:p1:a", ports("spark2", *HALVES), PLANNED_ADDRESSES, also=("L05 spark2:*",)),
    ),
    case(
        "routes: a default route over the fabric",
        route("spark1", "default", "enp1s0f0np0"),
        Expected("L05 spark1:p0:a", ports("spark1", "p0:a"), "remove a default route over enp1s0f0np0 on spark1"),
    ),
    case(
        "routes: the subnet over a stale bond",
        route("spark1", "10.210.0.0/24", "bond0"),
        Expected("L05 spark1:p0:a", ports("spark1", "p0:a"), "remove a route to 10.210.0.0/24 over bond0 on spark1"),
    ),
    case(
        "routes: the peer alone over management",
        route("spark1", "10.210.0.2", "enP7s7"),
        Expected("P07 spark1:p0:a>spark2:p1:a", HALF_LINK, "remove the route to 10.210.0.2 over enP7s7 on spark1"),
    ),
    case(
        "GID: none for the planned address",
        on("spark1", lambda spark: spark.half("p0:a", gids=spark.halves["p0:a"].gids[:2])),
        Expected(
            "L06 spark1:p0:a",
            ports("spark1", "p0:a"),
            "run site.yml: role fabric writes the address of enp1s0f0np0 on spark1",
        ),
    ),
    case(
        "GID: RoCE v1 only",
        on("spark1", lambda spark: spark.half("p0:a", gids=spark.halves["p0:a"].gids[:3])),
        Expected("L06 spark1:p0:a", ports("spark1", "p0:a"), "run site.yml: role fabric writes the address"),
    ),
    case(
        "GID: two for one address",
        on("spark1", lambda spark: spark.halves["p0:a"].gids.append(spark.halves["p0:a"].gids[-1])),
        Expected(
            "L06 spark1:p0:a",
            ports("spark1", "p0:a"),
            "see which address of enp1s0f0np0 on spark1 was added twice",
            outcome="degraded",
        ),
    ),
    case(
        "flaps: a cable lost its carrier 21 times since the boot",
        both(
            half("spark1", "p0:a", "p0:b", drops=21),
            half("spark2", "p1:a", "p1:b", drops=21),
            requiring("L07"),
        ),
        Expected(
            "L07 spark1:p0:a",
            ("link spark1:p0-spark2:p1",),
            "reseat the plug of spark1 p0",
            also=("L07 spark1:p0:b", "L07 spark2:p1:?"),
            **FLAPS,
        ),
    ),
    case(
        "flaps: a carrier was lost once since the last pass",
        both(measured(lost_once), requiring("L07")),
        Expected("L07 spark1:p0:a", HALF_LINK, "reseat the plug of spark1 p0", outcome="degraded", **FLAPS),
    ),
    case(
        "flaps: noted where the profile only observes them",
        half("spark1", "p0:a", drops=21),
        Expected("L07 spark1:p0:a", (), "reseat the plug of spark1 p0", noted=True, **FLAPS),
    ),
    case(
        "pauses: behind a switch, without bandwidth lost",
        measured(pauses),
        Expected(
            "L13 spark1:p0:a",
            (),
            "see which node behind the switch takes data slower than spark1 sends it",
            outcome="degraded",
            noted=True,
        ),
        topology="switch",
    ),
]
