# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which netdev is which half of which cage.

Told by the hardware where it can be: the PCI domain says the half, `phys_port_name` the cage, and twins share it and
`phys_switch_id` (spark-facts 2.1). Names may change with an update, so they only decide where the hardware is silent.
"""

from __future__ import annotations

import re
import typing as t

from ..plan.hardware import HALF_PORTS

if t.TYPE_CHECKING:
    from ..contracts import Cage, HalfName

KNOWN_NAMES: dict[str, tuple[Cage, HalfName]] = {port.netdev: (port.cage, port.half) for port in HALF_PORTS}

_PCI = re.compile(r"^([0-9a-f]{4}):[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
_CAGES: dict[str, Cage] = {"p0": "p0", "p1": "p1"}
_DOMAINS: dict[str, HalfName] = {"0000": "a", "0002": "b"}


def is_pci_address(name: str | None) -> bool:
    return bool(name and _PCI.match(name))


def place(netdev: str, phys_port_name: str | None, pci: str | None) -> tuple[Cage | None, HalfName | None]:
    """Cage and half of a fabric netdev; None for what neither the hardware nor the name tells."""
    known_cage, known_half = KNOWN_NAMES.get(netdev, (None, None))
    cage = _CAGES.get(phys_port_name or "", known_cage)
    match = _PCI.match(pci or "")
    # The domain tells a half only of a port that says which one it is: a virtual NIC sits in domain 0000 as well.
    half = _DOMAINS.get(match[1], known_half) if match and phys_port_name else known_half
    return cage, half


def kernel_order(release: str) -> list[tuple[int, int | str]]:
    """A sort key for kernel releases: 6.17.0-1029-nvidia is newer than 6.17.0-1008-nvidia."""
    return [(1, int(part)) if part.isdigit() else (0, part) for part in re.findall(r"\d+|[a-z]+", release.lower())]


def parse_speed_gts(text: str | None) -> float | None:
    """`32.0 GT/s PCIe`; `Unknown` is no speed."""
    match = re.match(r"^([\d.]+) GT/s", text or "")
    return float(match[1]) if match else None
