# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Spark is made of, as far as the fabric is concerned (spark-facts 2.1). Standard library only."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from ..contracts import Cage, HalfName

MGMT_NETDEV = "enP7s7"
CAGES: tuple[Cage, ...] = ("p0", "p1")
HALF_NAMES: tuple[HalfName, ...] = ("a", "b")


@dataclass(frozen=True)
class HalfPort:
    """One of the two PCIe x4 functions behind a cage."""

    cage: Cage
    half: HalfName
    netdev: str
    rdma: str
    pci: str


HALF_PORTS = (
    HalfPort("p0", "a", "enp1s0f0np0", "rocep1s0f0", "0000:01:00.0"),
    HalfPort("p0", "b", "enP2p1s0f0np0", "roceP2p1s0f0", "0002:01:00.0"),
    HalfPort("p1", "a", "enp1s0f1np1", "rocep1s0f1", "0000:01:00.1"),
    HalfPort("p1", "b", "enP2p1s0f1np1", "roceP2p1s0f1", "0002:01:00.1"),
)

# Lane masters of a MikroTik CRS812, in the order in which nodes are plugged in (spark-facts 3.1). A QSFP56-DD cage
# carries two of them on a breakout cable.
SWITCH_PORTS = (
    "qsfp56-1-1",
    "qsfp56-2-1",
    "qsfp56-dd-1-1",
    "qsfp56-dd-1-5",
    "qsfp56-dd-2-1",
    "qsfp56-dd-2-5",
)
SWITCH_SPEED = "200G-baseCR4"
SWITCH_L2MTU = 9216


def half_port(cage: Cage, half: HalfName) -> HalfPort:
    return next(port for port in HALF_PORTS if (port.cage, port.half) == (cage, half))
