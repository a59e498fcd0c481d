"""Where the other end of a slot is, by what it said last."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.measure.hello import DONE, FAILED, LEFT, LISTENING, WAITING
from ansible_collections.gb10.cluster.plugins.module_utils.measure.station import Station
from ansible_collections.gb10.cluster.plugins.module_utils.probe.schedule import Slot, Way

END: t.Any = {"node": "spark1", "ipv4": "10.210.0.1"}
SLOT = Slot(5, 5, (Way(5, "spark1:p0:a-spark2:p1:a", "a", END, END),))


def station_that_heard(position: tuple[int, int, str]) -> Station:
    station = Station.__new__(Station)
    station.hellos = t.cast("t.Any", types.SimpleNamespace(position=lambda _path: position))
    return station


@pytest.mark.parametrize(
    ("position", "beyond"),
    [
        ((4, 9, DONE), False),
        ((4, 9, LEFT), False),  # it never came to this slot
        ((5, 0, WAITING), False),
        ((5, 2, LISTENING), False),
        ((5, 2, DONE), False),
        ((5, 0, FAILED), False),
        ((5, 2, LEFT), True),  # its last word about the last slot was overtaken by its leave
        ((6, 0, WAITING), True),
    ],
)
def test_is_beyond(position: tuple[int, int, str], beyond: bool) -> None:
    assert station_that_heard(position).is_beyond(SLOT) is beyond
