"""A healthy cluster of recorded nodes, what they measured and how they are cabled: to be broken, then judged."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Topology
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit import builders

from tests.faults.spark import Spark

Plug = tuple[str, str]


class World:
    """Facts come from the probes over recorded trees; what was measured is built, by the profile of real nodes."""

    def __init__(self, folder: Path, topology: Topology = "triangle", nodes: int | None = None) -> None:
        self.plan = builders.plan(topology, nodes)
        self.sparks = {name: Spark(folder, self.plan, name) for name in self.plan["nodes"]}
        self.cables: list[tuple[Plug, Plug]] = [
            t.cast("tuple[Plug, Plug]", tuple((end["device"], end["port"]) for end in link["ends"]))
            for link in self.plan["links"]
        ]
        self.spoils: list[t.Callable[[Reading], t.Any]] = []

    def swap(self, one: Plug, other: Plug) -> None:
        """Exchange two plugs."""
        names = {one: other, other: one}
        self.cables = [(names.get(first, first), names.get(second, second)) for first, second in self.cables]

    def unplug(self, plug: Plug) -> None:
        """Take a cable away."""
        self.cables.remove(next(cable for cable in self.cables if plug in cable))

    def move(self, source: Plug, target: Plug) -> None:
        """Take the cable out of a cage and put the plug into another, whose own cable is taken away."""
        self.unplug(target)
        names = {source: target}
        self.cables = [(names.get(first, first), names.get(second, second)) for first, second in self.cables]

    def spoil(self, change: t.Callable[[Reading], t.Any]) -> None:
        """Change what was measured, or give another reading."""
        self.spoils.append(change)

    def reading(self) -> Reading:
        self._darken()
        for spark in self.sparks.values():
            spark.write()
        facts = {name: spark.facts() for name, spark in self.sparks.items()}
        reading = builders.healthy_reading(self.plan, facts=facts, discoveries=self._discoveries())
        for change in self.spoils:
            changed = change(reading)
            reading = changed if isinstance(changed, Reading) else reading
        return reading

    def _darken(self) -> None:
        """Planned cages without a plug have no carrier. Behind a switch nobody takes a cable away."""
        plugged = {end for cable in self.cables for end in cable}
        for node, spark in self.sparks.items():
            for name, half in spark.halves.items():
                empty = (node, name.partition(":")[0]) not in plugged
                if half.address is not None and empty and self.plan["topology"] != "switch":
                    spark.half(name, carrier=False, speed=-1, state="DOWN", physical="DISABLED")

    def _discoveries(self) -> t.Any:
        if self.plan["topology"] == "switch":
            return builders.healthy_discoveries(self.plan)
        return builders.cabled(self.plan, self.cables)
