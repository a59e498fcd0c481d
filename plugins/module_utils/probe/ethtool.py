# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ethtool`, read as text: its JSON does not cover what is asked here (health-checks 3.3)."""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

from .error import ProbeError, excerpt

if t.TYPE_CHECKING:
    from ..contracts import ModuleFacts, PauseFacts

_SPEED = re.compile(r"^(\d+)Mb/s$")
_STATISTIC = re.compile(r"^\s*([^:\s][^:]*):\s*(\S.*?)\s*$")


@dataclass(frozen=True)
class EthtoolLink:
    speed_mbps: int | None
    lanes: int | None
    port: str | None
    link: bool | None


@dataclass(frozen=True)
class EthtoolDriver:
    driver: str
    version: str | None
    firmware: str | None
    bus: str | None


def parse_link(text: str) -> EthtoolLink:
    """Parse `ethtool IF`."""
    if not text.lstrip().startswith("Settings for "):
        raise ProbeError(f"`ethtool` did not print settings but {excerpt(text)}")
    fields = _fields(text)
    speed = _SPEED.match(fields.get("Speed", ""))
    lanes = fields.get("Lanes", "")
    return EthtoolLink(
        speed_mbps=int(speed[1]) if speed else None,
        lanes=int(lanes) if lanes.isdigit() else None,
        port=fields.get("Port"),
        link={"yes": True, "no": False}.get(fields.get("Link detected", "")),
    )


def parse_driver(text: str) -> EthtoolDriver:
    """Parse `ethtool -i IF`."""
    fields = _fields(text)
    if "driver" not in fields:
        raise ProbeError(f"`ethtool -i` named no driver but printed {excerpt(text)}")
    return EthtoolDriver(
        driver=fields["driver"],
        version=fields.get("version") or None,
        firmware=fields.get("firmware-version") or None,
        bus=fields.get("bus-info") or None,
    )


def parse_statistics(text: str) -> dict[str, int]:
    """Parse `ethtool -S IF`. A value that is no integer is left out: not provided, never 0."""
    if "NIC statistics:" not in text:
        if "no stats available" in text:
            return {}
        raise ProbeError(f"`ethtool -S` printed no statistics but {excerpt(text)}")
    body = text.split("NIC statistics:", 1)[1]
    pairs = (match.groups() for match in map(_STATISTIC.match, body.splitlines()) if match)
    return {name: int(value) for name, value in pairs if value.isdigit()}


def parse_module(text: str) -> ModuleFacts:
    """Parse `ethtool -m IF`. The serial number stays on the node."""
    fields = _fields(text)
    if not fields.get("Identifier"):
        raise ProbeError(f"`ethtool -m` identified no module but printed {excerpt(text)}")
    return {
        "identifier": fields["Identifier"],
        "type": fields.get("Transceiver type"),
        "vendor": fields.get("Vendor name"),
        "part_number": fields.get("Vendor PN"),
        # SFF-8636 and CMIS name it differently.
        "length": fields.get("Length (Copper or Active cable)") or fields.get("Cable assembly length"),
    }


def parse_pause(text: str) -> PauseFacts:
    """Parse `ethtool -a IF`."""
    fields = _fields(text)
    found = {name: {"on": True, "off": False}.get(fields.get(name, "")) for name in ("Autonegotiate", "RX", "TX")}
    autonegotiate, rx, tx = found.values()
    if autonegotiate is None or rx is None or tx is None:
        raise ProbeError(f"`ethtool -a` printed no pause parameters but {excerpt(text)}")
    return {"autonegotiate": autonegotiate, "rx": rx, "tx": tx}


def parse_fec(text: str) -> str | None:
    """Parse `ethtool --show-fec IF`, or `ethtool --json --show-fec IF`. None: the driver names no active encoding."""
    if text.lstrip().startswith("["):
        return _fec_from_json(text)
    if "FEC parameters for" not in text:
        raise ProbeError(f"`ethtool --show-fec` printed no FEC parameters but {excerpt(text)}")
    fields = _fields(text)
    # Up to 5.12 the title says "encoding", later "encodings".
    return fields.get("Active FEC encoding") or fields.get("Active FEC encodings") or None


def _fec_from_json(text: str) -> str | None:
    try:
        active = json.loads(text)[0].get("active-fec")
    except (ValueError, LookupError, AttributeError):
        raise ProbeError(f"`ethtool --json --show-fec` did not print its JSON but {excerpt(text)}") from None
    if isinstance(active, list):
        return ",".join(str(item) for item in active) or None
    return str(active) if active else None


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields
