# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `ib_write_bw` and `ib_write_lat` print, as text (the reference) and as JSON (the cross-check).

Rules of health-checks 3.4: the unit stands in the column title only, with `-D` the peak is 0 and means nothing, GID
lines are decimal octets, 0.000000 with rc 0 happens and is a measurement, and JSON before perftest 24.01 is not JSON.
"""

from __future__ import annotations

import json
import math
import re
import typing as t
from dataclasses import dataclass

from .error import ProbeError, excerpt

_TITLE = re.compile(r"^\s*#bytes\s+#iterations\s+(.*)$", re.MULTILINE)
_UNIT = re.compile(r"BW average\[([A-Za-z]+)/sec\]")
_BW_ROW = re.compile(r"^\s*(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s+(\S+)\s*$")
_LAT_ROW = re.compile(r"^\s*(\d+)\s+(\d+)((?:\s+\S+){7})\s*$")
_SIDE = re.compile(r"^\s*(local|remote) address:")
_GID = re.compile(r"^\s*GID:\s*([0-9:]+)\s*$")

# perftest's MB is 2^20 bytes in every version; 26.01 only corrects the name.
_GBPS = {"Gb": 1.0, "MB": 2**20 * 8 / 1e9, "MiB": 2**20 * 8 / 1e9}

_LAT_COLUMNS = ("t_min", "t_max", "t_typical", "t_avg", "t_stdev", "percentile_99", "percentile_99.9")


@dataclass(frozen=True)
class Bandwidth:
    gbps: float
    iterations: int
    size_bytes: int
    qps: int
    mtu: int
    local_ipv4: str | None
    remote_ipv4: str | None


@dataclass(frozen=True)
class Latency:
    typical_us: float
    p99_us: float | None
    iterations: int
    size_bytes: int


def parse_bandwidth(text: str) -> Bandwidth:
    """Parse the text of `ib_write_bw`. Exactly one result row is a result."""
    rest = _after_title(text, "ib_write_bw")
    unit = _UNIT.search(rest[0])
    if unit is None or unit[1] not in _GBPS:
        raise ProbeError(f"ib_write_bw named no known unit in {excerpt(rest[0])}")
    size, iterations, _peak, average, _rate = _one_row(rest[1], _BW_ROW, "ib_write_bw")
    addresses = _gid_addresses(text)
    return Bandwidth(
        gbps=_number(average, "ib_write_bw") * _GBPS[unit[1]],
        iterations=int(iterations),
        size_bytes=int(size),
        qps=_header(text, r"Number of qps"),
        mtu=_header(text, r"Mtu"),
        local_ipv4=addresses.get("local"),
        remote_ipv4=addresses.get("remote"),
    )


def parse_latency(text: str) -> Latency:
    """Parse the text of `ib_write_lat -n N` (with -D there are other columns and no typical value)."""
    title, rows = _after_title(text, "ib_write_lat")
    if "t_typical[usec]" not in title:
        raise ProbeError(f"ib_write_lat named no t_typical[usec] column in {excerpt(title)}")
    size, iterations, values = _one_row(rows, _LAT_ROW, "ib_write_lat")
    row = dict(zip(_LAT_COLUMNS, values.split(), strict=True))
    return Latency(
        typical_us=_number(row["t_typical"], "ib_write_lat"),
        p99_us=_number(row["percentile_99"], "ib_write_lat") if "99%" in title else None,
        iterations=int(iterations),
        size_bytes=int(size),
    )


def bandwidth_agrees(result: Bandwidth, json_text: str | None) -> bool | None:
    """Whether the JSON says the same as the text. It has no unit, so it is read in gigabits as asked for.

    None: there is no JSON, or what an old version prints instead of it.
    """
    data = _json_results(json_text)
    if data is None:
        return None
    info, results = data
    return (
        _same(info.get("Mtu"), result.mtu)
        and _same(info.get("Number_of_qps"), result.qps)
        and _same(results.get("MsgSize"), result.size_bytes)
        and _same(results.get("n_iterations"), result.iterations)
        and _same(results.get("BW_average"), result.gbps)
    )


def latency_agrees(result: Latency, json_text: str | None) -> bool | None:
    data = _json_results(json_text)
    if data is None:
        return None
    results = data[1]
    return (
        _same(results.get("MsgSize"), result.size_bytes)
        and _same(results.get("n_iterations"), result.iterations)
        and _same(results.get("t_typical"), result.typical_us)
        and (result.p99_us is None or _same(results.get("percentile_99"), result.p99_us))
    )


def parse_version(text: str) -> str | None:
    """`ib_write_bw --version` prints `Version: 6.24`."""
    match = re.search(r"Version:\s*(\S+)", text)
    return match[1] if match else None


def _after_title(text: str, tool: str) -> tuple[str, str]:
    titles = list(_TITLE.finditer(text))
    if len(titles) != 1:
        raise ProbeError(f"{tool} printed {len(titles)} tables instead of one: {excerpt(text)}")
    return titles[0][1], text[titles[0].end() :]


def _one_row(text: str, pattern: re.Pattern[str], tool: str) -> tuple[str, ...]:
    rows = [match for match in map(pattern.match, text.splitlines()) if match]
    if len(rows) != 1:
        raise ProbeError(f"{tool} printed {len(rows)} result rows instead of one: {excerpt(text)}")
    return t.cast("tuple[str, ...]", rows[0].groups())


def _number(text: str, tool: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ProbeError(f"{tool} printed {text!r} where a number belongs") from None
    if not math.isfinite(value) or value < 0:
        raise ProbeError(f"{tool} printed {text!r} where a number belongs")
    return value


def _header(text: str, name: str) -> int:
    match = re.search(rf"(?:^|\s){name}\s*:\s*(\d+)", text)
    if match is None:
        raise ProbeError(f"ib_write_bw printed no {name!r} in its header: {excerpt(text)}")
    return int(match[1])


def _gid_addresses(text: str) -> dict[str, str | None]:
    """The IPv4 address of either side; None when a side's GID lines differ or are not IPv4-mapped."""
    seen: dict[str, set[str | None]] = {}
    side: str | None = None
    for line in text.splitlines():
        address = _SIDE.match(line)
        if address:
            side = address[1]
            continue
        gid = _GID.match(line)
        if gid and side:
            seen.setdefault(side, set()).add(_decimal_gid_ipv4(gid[1]))
    return {name: next(iter(values)) if len(values) == 1 else None for name, values in seen.items()}


def _decimal_gid_ipv4(gid: str) -> str | None:
    octets = [int(octet) for octet in gid.split(":") if octet]
    if len(octets) != 16 or octets[:12] != [0] * 10 + [255, 255]:
        return None
    return ".".join(str(octet) for octet in octets[12:])


def _json_results(text: str | None) -> tuple[dict[str, t.Any], dict[str, t.Any]] | None:
    try:
        data = json.loads(text or "")
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    info, results = data.get("test_info"), data.get("results")
    if not isinstance(info, dict) or not isinstance(results, dict):
        return None
    return info, results


def _same(reported: t.Any, parsed: float) -> bool:
    """Both outputs print one variable in one format; half a unit of the last digit covers the unit conversion."""
    return isinstance(reported, (int, float)) and abs(reported - parsed) <= 0.006
