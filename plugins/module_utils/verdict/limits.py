# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms a threshold of a profile can take.

Every threshold says where it comes from; a number without a source is refused. Comparisons are written so that anything
that is not a number on the right side of the limit (NaN included) does not pass.
"""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass

from .outcome import Grade
from .signatures import SIGNATURES

PROVENANCE = frozenset({"source", "tool", "size_bytes", "mtu", "qps", "note"})


class ProfileError(ValueError):
    """A profile that cannot be used; the text says which entry and why."""


@dataclass(frozen=True, slots=True)
class AtLeast:
    """``min``, optionally ``degraded_min`` below it, optionally ``min_ratio`` of the median of the run as well."""

    min: float
    degraded_min: float | None = None
    min_ratio: float | None = None

    def grade(self, value: float, median: float | None = None) -> Grade:
        if value >= self.min and self._ratio_holds(value, median):
            return "pass"
        if self.degraded_min is not None and value >= self.degraded_min and self._ratio_holds(value, median):
            return "degraded"
        return "fail"

    def _ratio_holds(self, value: float, median: float | None) -> bool:
        if self.min_ratio is None:
            return True
        return median is not None and value >= self.min_ratio * median

    def shown(self, median: float | None = None) -> dict[str, t.Any]:
        shown: dict[str, t.Any] = {"pass": self.min}
        if self.degraded_min is not None:
            shown["degraded"] = self.degraded_min
        if self.min_ratio is not None:
            shown |= {"min_ratio": self.min_ratio, "median_of_run": median}
        return shown


@dataclass(frozen=True, slots=True)
class AtMost:
    """``max``, optionally ``degraded_max`` above it."""

    max: float
    degraded_max: float | None = None

    def grade(self, value: float) -> Grade:
        if value <= self.max:
            return "pass"
        return "degraded" if self.degraded_max is not None and value <= self.degraded_max else "fail"

    def shown(self) -> dict[str, t.Any]:
        return {"pass": self.max} | ({} if self.degraded_max is None else {"degraded": self.degraded_max})


@dataclass(frozen=True, slots=True)
class Equals:
    equals: float | str

    def grade(self, value: float | str) -> Grade:
        return "pass" if value == self.equals else "fail"


@dataclass(frozen=True, slots=True)
class OneOf:
    """A list of names."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MinVersion:
    """A dotted version."""

    min_version: str

    def grade(self, value: str) -> Grade:
        return "pass" if _version(value) >= _version(self.min_version) else "fail"

    def shown(self) -> dict[str, t.Any]:
        return {"pass": self.min_version}


@dataclass(frozen=True, slots=True)
class Growth:
    """How much each counter may grow; ``if_present`` are judged only where the driver has them."""

    max: dict[str, int]
    if_present: dict[str, int]


@dataclass(frozen=True, slots=True)
class Bands:
    """Which values, in the unit of the check, a signature is known for: name -> (lowest, highest)."""

    bands: dict[str, tuple[float, float]]

    def around(self, value: float) -> list[str]:
        """The signatures whose band holds the value, in the order of the profile."""
        return [name for name, (lowest, highest) in self.bands.items() if lowest <= value <= highest]


Limit: t.TypeAlias = "AtLeast | AtMost | Equals | OneOf | MinVersion | Growth | Bands"
_LimitT = t.TypeVar("_LimitT", AtLeast, AtMost, Equals, OneOf, MinVersion, Growth, Bands)


class Limits:
    """The thresholds of one check, by name and form."""

    def __init__(self, limits: t.Mapping[str, Limit]) -> None:
        self._limits = limits

    def get(self, form: type[_LimitT], name: str) -> _LimitT:
        limit = self.find(form, name)
        if limit is None:
            raise ProfileError(f"the profile has no threshold {name}")
        return limit

    def find(self, form: type[_LimitT], name: str) -> _LimitT | None:
        """The same, for a threshold that a profile may leave out."""
        limit = self._limits.get(name)
        return limit if isinstance(limit, form) else None


def parse_limit(form: type[Limit], raw: t.Any, where: str) -> Limit:
    """A threshold from its mapping. Raises ProfileError with one sentence."""
    if not isinstance(raw, dict):
        raise ProfileError(f"{where}: expected a mapping, found {raw!r}")
    if not isinstance(raw.get("source"), str) or not raw["source"].strip():
        raise ProfileError(f"{where}: has no source; say where the number comes from")
    values = {key: value for key, value in raw.items() if key not in PROVENANCE}
    return _PARSERS[form](values, where)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _number(values: dict[str, t.Any], key: str, where: str) -> float:
    value = values.pop(key, None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ProfileError(f"{where}: {key} must be a number, found {value!r}")
    return value


def _optional_number(values: dict[str, t.Any], key: str, where: str) -> float | None:
    return _number(values, key, where) if key in values else None


def _nothing_left(values: dict[str, t.Any], where: str) -> None:
    if values:
        raise ProfileError(f"{where}: unknown key {', '.join(sorted(map(str, values)))}")


def _at_least(values: dict[str, t.Any], where: str) -> AtLeast:
    relative_to = values.pop("relative_to", None)
    if relative_to not in (None, "median"):
        raise ProfileError(f"{where}: relative_to can only be median, found {relative_to!r}")
    limit = AtLeast(
        min=_number(values, "min", where),
        degraded_min=_optional_number(values, "degraded_min", where),
        min_ratio=_number(values, "min_ratio", where) if relative_to else None,
    )
    _nothing_left(values, where)
    if limit.degraded_min is not None and limit.degraded_min > limit.min:
        raise ProfileError(f"{where}: degraded_min {limit.degraded_min} is above min {limit.min}")
    return limit


def _at_most(values: dict[str, t.Any], where: str) -> AtMost:
    limit = AtMost(_number(values, "max", where), _optional_number(values, "degraded_max", where))
    _nothing_left(values, where)
    if limit.degraded_max is not None and limit.degraded_max < limit.max:
        raise ProfileError(f"{where}: degraded_max {limit.degraded_max} is below max {limit.max}")
    return limit


def _equals(values: dict[str, t.Any], where: str) -> Equals:
    expected = values.pop("equals", None)
    if isinstance(expected, bool) or not isinstance(expected, int | float | str):
        raise ProfileError(f"{where}: equals must be a number or a text, found {expected!r}")
    _nothing_left(values, where)
    return Equals(expected)


def _one_of(values: dict[str, t.Any], where: str) -> OneOf:
    names = values.pop("values", None)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ProfileError(f"{where}: values must be a list of names, found {names!r}")
    _nothing_left(values, where)
    return OneOf(tuple(names))


def _min_version(values: dict[str, t.Any], where: str) -> MinVersion:
    version = values.pop("min_version", None)
    if not isinstance(version, str) or not all(part.isdigit() for part in version.split(".")):
        raise ProfileError(f"{where}: min_version must be a dotted version in quotes, found {version!r}")
    _nothing_left(values, where)
    return MinVersion(version)


def _growth(values: dict[str, t.Any], where: str) -> Growth:
    required, if_present = values.pop("max", None), values.pop("if_present", {})
    for key, counters in (("max", required), ("if_present", if_present)):
        if not isinstance(counters, dict):
            raise ProfileError(f"{where}: {key} must map counter names to numbers, found {counters!r}")
        for counter in counters:
            _number(dict(counters), counter, f"{where}.{key}")
    if not required:
        raise ProfileError(f"{where}: max names no counter, so the check could not fail")
    _nothing_left(values, where)
    return Growth(t.cast("dict[str, int]", required), if_present)


def _bands(values: dict[str, t.Any], where: str) -> Bands:
    bands = values.pop("bands", None)
    if not isinstance(bands, dict) or not bands:
        raise ProfileError(f"{where}: bands must map signatures to [lowest, highest], found {bands!r}")
    for name, band in bands.items():
        if name not in SIGNATURES:
            raise ProfileError(f"{where}: there is no signature {name}; known are {', '.join(SIGNATURES)}")
        if not isinstance(band, list) or len(band) != 2:
            raise ProfileError(f"{where}: {name} must be [lowest, highest], found {band!r}")
    _nothing_left(values, where)
    return Bands({name: _band(band, f"{where}.{name}") for name, band in bands.items()})


def _band(band: list[t.Any], where: str) -> tuple[float, float]:
    ends = dict(zip(("lowest", "highest"), band, strict=True))
    lowest, highest = _number(ends, "lowest", where), _number(ends, "highest", where)
    if lowest > highest:
        raise ProfileError(f"{where}: {lowest} is above {highest}")
    return lowest, highest


_PARSERS: dict[type[Limit], t.Callable[[dict[str, t.Any], str], Limit]] = {
    AtLeast: _at_least,
    AtMost: _at_most,
    Equals: _equals,
    OneOf: _one_of,
    MinVersion: _min_version,
    Growth: _growth,
    Bands: _bands,
}
