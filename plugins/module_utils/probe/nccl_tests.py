# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nccl-tests prints, as text (the reference) and as `-J` JSON (the cross-check), health-checks 3.5.

The average is read from neither: a cold first run and a warm one make an average of both that nobody measured.
"""

from __future__ import annotations

import json
import math
import re
import typing as t
from dataclasses import dataclass

from .error import ProbeError, excerpt

MAX_ERROR = 300

_TAG = re.compile(r"^\[[0-9]+,[0-9]+\]<std(?:out|err)>:\s?")
_VERSION = re.compile(r"^# nccl-tests version (\S+) nccl-headers=([0-9]{1,9}) nccl-library=([0-9]{1,9})")
_COLLECTIVE = re.compile(r"^# Collective test starting: (\S+)")
_DEVICE = re.compile(
    r"^#\s+Rank\s+([0-9]{1,9})\s+(?:Group\s+[0-9]+\s+)?Pid\s+[0-9]+ on\s+(\S+)"
    r" device\s+([0-9]{1,9}) \[([^\]]*)\]\s?(.*)$"
)
_TITLE = re.compile(r"^#\s+(size\s+count\s+type\s.*)$")
_ROW = re.compile(r"^\s*[0-9]{1,19}\s+[0-9]{1,19}\s+[a-z]\w*(?:\s|$)")
_OUT_OF_BOUNDS = re.compile(r"^# Out of bounds values\s*: ([0-9]{1,9})\s")
_ERROR = re.compile(r"^# error: (.+)$")

_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Device:
    rank: int
    hostname: str
    index: int
    pci: str
    name: str


@dataclass(frozen=True, slots=True)
class Result:
    """`wrong` is None when the run did not check (`-c 0`), which is not the same as 0."""

    time_us: float
    algbw: float
    busbw: float
    wrong: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """One size; bandwidths in GB/s. The size is rounded down to a multiple of the ranks."""

    size_bytes: int
    count: int
    type: str
    redop: str
    root: int
    out_of_place: Result
    in_place: Result


@dataclass(frozen=True, slots=True)
class NcclTests:
    collective: str | None
    # Of nccl-tests and the headers it was built with: only the text has them.
    version: str | None
    headers: int | None
    # Of the JSON file.
    format: int | None
    library: int | None
    devices: tuple[Device, ...]
    rows: tuple[Row, ...]
    out_of_bounds: int
    error: str | None

    @property
    def headers_match(self) -> bool | None:
        """False: the loader picked another NCCL than the one built against."""
        if self.headers is None or self.library is None:
            return None
        return self.headers == self.library

    @property
    def correct(self) -> bool | None:
        """Whether every value was right. None: nothing was wrong, and not everything was checked."""
        wrong = [result.wrong for row in self.rows for result in (row.out_of_place, row.in_place)]
        if self.out_of_bounds or any(wrong):
            return False
        return None if None in wrong else True


def parse_text(text: str) -> NcclTests:
    """Parse the standard output of one nccl-tests program."""
    lines = [_TAG.sub("", line) for line in text.splitlines()]
    titles = _matches(_TITLE, lines)
    if len(titles) != 1:
        raise ProbeError(f"nccl-tests printed {len(titles)} tables instead of one: {excerpt(text)}")
    columns = titles[0][1].split()
    rows = tuple(_text_row(line, columns) for line in lines if _ROW.match(line))
    if not rows:
        raise ProbeError(f"nccl-tests printed a table without a result row: {excerpt(text)}")
    bounds = _matches(_OUT_OF_BOUNDS, lines)
    if len(bounds) != 1:
        raise ProbeError(f"nccl-tests printed {len(bounds)} `Out of bounds values` lines, so the run did not end")
    version = next(iter(_matches(_VERSION, lines)), None)
    collective = next(iter(_matches(_COLLECTIVE, lines)), None)
    error = next(iter(_matches(_ERROR, lines)), None)
    return NcclTests(
        collective=collective[1] if collective else None,
        version=version[1] if version else None,
        headers=int(version[2]) if version else None,
        format=None,
        library=int(version[3]) if version else None,
        devices=tuple(_text_device(match) for match in _matches(_DEVICE, lines)),
        rows=rows,
        out_of_bounds=int(bounds[0][1]),
        error=error[1][:MAX_ERROR] if error else None,
    )


def parse_json(text: str) -> NcclTests:
    """Parse the file of `-J`. Its `env` is the whole environment of the run: it is dropped while reading.

    For the same reason no message quotes the file.
    """
    data = _load(text)
    results = _member(data, "results", list)
    if not results:
        raise ProbeError("the JSON of nccl-tests has no result row")
    arguments = data.get("args")
    program = arguments[0] if isinstance(arguments, list) and arguments else None
    config = data.get("config")
    devices = _member(config, "devices", list) if isinstance(config, dict) else []
    return NcclTests(
        collective=program.rsplit("/", 1)[-1] if isinstance(program, str) else None,
        version=None,
        headers=None,
        format=_optional_integer(data, "version"),
        # 0 where a version writes it before it asks the library.
        library=_optional_integer(data, "nccl_version") or None,
        devices=tuple(_json_device(_object(device, "device")) for device in devices),
        rows=tuple(_json_row(_object(row, "result row")) for row in results),
        out_of_bounds=_json_out_of_bounds(_member(data, "out_of_bounds", dict)),
        error=_json_error(data.get("errors")),
    )


def agrees(text: NcclTests, report: NcclTests) -> bool:
    """Whether the JSON says the same as the text, as far as both say it, within the digits that the text shows."""
    return (
        _same(text.library, report.library)
        and _same(text.collective, report.collective)
        and _same(text.devices or None, report.devices or None)
        and text.out_of_bounds == report.out_of_bounds
        and len(text.rows) == len(report.rows)
        and all(map(_same_row, text.rows, report.rows))
    )


def library_version(code: int) -> str:
    """23007 is 2.30.7."""
    return f"{code // 10000}.{code // 100 % 100}.{code % 100}"


# --- text ---


def _matches(pattern: re.Pattern[str], lines: t.Iterable[str]) -> list[re.Match[str]]:
    return [match for match in map(pattern.match, lines) if match]


def _text_device(match: re.Match[str]) -> Device:
    return Device(int(match[1]), match[2], int(match[3]), match[4], match[5].strip())


def _text_row(line: str, columns: list[str]) -> Row:
    values = line.split()
    # A timestamp is two words under one title.
    expected = len(columns) + (columns[-1] == "timestamp")
    if len(values) != expected:
        raise ProbeError(f"nccl-tests printed a row of {len(values)} values instead of {expected}: {excerpt(line)}")
    cells: dict[str, list[str]] = {}
    for column, value in zip(columns, values, strict=False):
        cells.setdefault("time" if column == "cputime" else column, []).append(value)
    missing = [name for name in ("redop", "root") if name not in cells]
    missing += [name for name in ("time", "algbw", "busbw", "#wrong") if len(cells.get(name, ())) != 2]
    if missing:
        raise ProbeError(f"nccl-tests printed a table without {', '.join(missing)}: {excerpt(' '.join(columns))}")
    results = [
        Result(
            time_us=_positive(cells["time"][side]),
            algbw=_positive(cells["algbw"][side]),
            busbw=_positive(cells["busbw"][side]),
            wrong=None if cells["#wrong"][side] == "N/A" else int(_positive(cells["#wrong"][side])),
        )
        for side in (0, 1)
    ]
    return Row(
        int(values[0]),
        int(values[1]),
        cells["type"][0],
        cells["redop"][0],
        _root(cells["root"][0]),
        results[0],
        results[1],
    )


# --- JSON ---


def _load(text: str) -> dict[str, t.Any]:
    data: t.Any = None
    try:
        data = json.loads(text, object_pairs_hook=_without_env)
    except (ValueError, RecursionError):
        # Raised below, outside of this handler: the error of json carries the whole text, environment and all.
        pass
    if not isinstance(data, dict):
        raise ProbeError(
            f"the JSON file of nccl-tests is not one object in {len(text)} characters: was the run cut short?"
        )
    return data


def _without_env(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    return {key: value for key, value in pairs if key != "env"}


def _member(data: dict[str, t.Any], key: str, kind: type) -> t.Any:
    if not isinstance(data.get(key), kind):
        raise ProbeError(f"the JSON of nccl-tests has no {kind.__name__} {key!r}")
    return data[key]


def _object(value: t.Any, what: str) -> dict[str, t.Any]:
    if not isinstance(value, dict):
        raise ProbeError(f"the JSON of nccl-tests has a {what} that is no object")
    return value


def _json_device(data: dict[str, t.Any]) -> Device:
    return Device(
        rank=_integer(data, "rank"),
        hostname=_member(data, "hostname", str),
        index=_integer(data, "device"),
        pci=_member(data, "device_hex", str),
        name=_member(data, "device_info", str).strip(),
    )


def _json_row(data: dict[str, t.Any]) -> Row:
    return Row(
        size_bytes=_integer(data, "size"),
        count=_integer(data, "count"),
        type=_member(data, "type", str),
        redop=_member(data, "redop", str),
        # A text, padded with spaces.
        root=_root(_member(data, "root", str)),
        out_of_place=_json_result(_member(data, "out_of_place", dict)),
        in_place=_json_result(_member(data, "in_place", dict)),
    )


def _json_result(data: dict[str, t.Any]) -> Result:
    return Result(
        time_us=_positive(data.get("cpu_time", data.get("time"))),
        algbw=_positive(data.get("alg_bw")),
        busbw=_positive(data.get("bus_bw")),
        wrong=None if data.get("nwrong", "") is None else int(_positive(data.get("nwrong"))),
    )


def _json_out_of_bounds(data: dict[str, t.Any]) -> int:
    count = _integer(data, "count")
    okay = data.get("okay")
    # Booleans are texts.
    okay = okay if isinstance(okay, bool) else _BOOLEANS.get(str(okay))
    if okay is not None and okay != (count == 0):
        raise ProbeError(f"the JSON of nccl-tests counts {count} values out of bounds and says okay: {okay}")
    return count


def _json_error(errors: t.Any) -> str | None:
    texts = [error for error in errors if isinstance(error, str) and error] if isinstance(errors, list) else []
    return texts[0][:MAX_ERROR] if texts else None


def _optional_integer(data: dict[str, t.Any], key: str) -> int | None:
    return _integer(data, key) if data.get(key) is not None else None


def _integer(data: dict[str, t.Any], key: str) -> int:
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProbeError(f"the JSON of nccl-tests has no integer {key!r}")
    return value


# --- both ---


def _root(text: str) -> int:
    if not re.fullmatch(r"\s*-?[0-9]{1,9}\s*", text):
        raise ProbeError(f"nccl-tests named {excerpt(text)} as the root rank")
    return int(text)


def _positive(value: t.Any) -> float:
    """A measured number. JSON writes "nan" as a text and text shows nan as it is: neither was measured."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ProbeError(f"nccl-tests printed {excerpt(str(value))} where a number belongs")
    return number


def _same(text: t.Any, report: t.Any) -> bool:
    return text is None or report is None or bool(text == report)


def _same_row(text: Row, report: Row) -> bool:
    return (text.size_bytes, text.count, text.type, text.redop, text.root) == (
        report.size_bytes,
        report.count,
        report.type,
        report.redop,
        report.root,
    ) and all(
        one.wrong == other.wrong
        and _close(one.time_us, other.time_us, 7)
        and _close(one.algbw, other.algbw, 6)
        and _close(one.busbw, other.busbw, 6)
        for one, other in ((text.out_of_place, report.out_of_place), (text.in_place, report.in_place))
    )


def _close(text: float, report: float, width: int) -> bool:
    """Half a unit of the last digit that fits the column; beyond the column it prints two significant digits."""
    value = max(text, report)
    free = width - len(str(int(value)))
    unit = {0: 1.0, 1: 1.0, 2: 0.1}.get(free, 0.01) if free >= 0 else value / 10
    return abs(text - report) <= unit / 2 + 1e-5
