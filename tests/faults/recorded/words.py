"""What the catalogues are written in: a fault is a change of a healthy world."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Topology
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit.builders import set_bandwidth

from tests.faults.case import Case, Expected
from tests.faults.spark import Spark
from tests.faults.world import World

Spoil = t.Callable[[World], t.Any]

LINKS = ("spark1:p0-spark2:p1", "spark2:p0-spark3:p1", "spark3:p0-spark1:p1")
HALVES = ("p0:a", "p0:b", "p1:a", "p1:b")
DARK = {"carrier": False, "speed": -1, "state": "DOWN", "physical": "DISABLED"}
PATH = "spark1:p0:a-spark2:p1:a"


@dataclass(frozen=True)
class Recorded(Case):
    spoil: Spoil = lambda world: None
    topology: Topology = "triangle"
    nodes: int | None = None  # as many as the topology usually has


def case(
    name: str,
    spoil: Spoil,
    expected: Expected,
    topology: Topology = "triangle",
    sample: bool = False,
    nodes: int | None = None,
) -> Recorded:
    return Recorded(name, "recorded", expected, sample, spoil, topology, nodes)


def both(*spoils: Spoil) -> Spoil:
    return lambda world: [spoil(world) for spoil in spoils]


def on(node: str, change: t.Callable[[Spark], t.Any]) -> Spoil:
    return lambda world: change(world.sparks[node])


def half(node: str, *names: str, **values: t.Any) -> Spoil:
    return on(node, lambda spark: [spark.half(name, **values) for name in names])


def file(node: str, path: str, text: str) -> Spoil:
    return on(node, lambda spark: spark.files.update({path: text}))


def no_file(node: str, path: str) -> Spoil:
    return on(node, lambda spark: spark.files.pop(path))


def command(node: str, name: str, script: str | None) -> Spoil:
    return on(node, lambda spark: spark.commands.update({name: script}))


def route(node: str, dst: str, dev: str) -> Spoil:
    return on(node, lambda spark: spark.routes.append({"dst": dst, "dev": dev, "flags": []}))


def address(node: str, name: str, text: str) -> Spoil:
    return on(node, lambda spark: spark.halves[name].addresses.append(text))


def measured(change: t.Callable[[Reading], t.Any]) -> Spoil:
    return lambda world: world.spoil(change)


def requiring(check: str) -> Spoil:
    """A site's copy of the profile, in which a check that is observed so far refuses."""

    def promote(reading: Reading) -> None:
        reading.profile["observe"].remove(check)
        reading.profile["required"].append(check)

    return measured(promote)


def slow(gbps: float, *paths: str, sender: str | None = None) -> Spoil:
    return measured(lambda reading: [set_bandwidth(reading, path, gbps, sender) for path in paths])


def paths_of(link: str, halves: str = "ab") -> list[str]:
    one, other = link.split("-")
    return [f"{one}:{half}-{other}:{half}" for half in halves]


def ports(node: str, *names: str) -> tuple[str, ...]:
    return tuple(f"port {node}:{name}" for name in names)
