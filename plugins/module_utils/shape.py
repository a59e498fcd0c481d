# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a piece of JSON have the shape that the contracts declare?

A check that meets a text where a list should be must answer ``unknown``, never iterate over letters and pass.
"""

from __future__ import annotations

import functools
import math
import operator
import types
import typing as t


def fits(value: t.Any, shape: t.Any) -> bool:
    """True when the value is what the annotation says. Numbers must be finite; a bool is not a number."""
    origin = t.get_origin(shape)
    if origin in (t.Union, types.UnionType):
        return any(fits(value, option) for option in t.get_args(shape))
    if origin is t.Literal:
        return value in t.get_args(shape)
    if origin is list:
        return isinstance(value, list) and all(fits(item, t.get_args(shape)[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, t.get_args(shape)[1]) for item in value.values())
    if t.is_typeddict(shape):
        return isinstance(value, dict) and all(_field_fits(value, key, part) for key, part in _fields(shape).items())
    return _fits_plain(value, shape)


def answers(value: t.Any, shape: t.Any, path: t.Sequence[str]) -> bool:
    """True when everything at the path is there (not None) and fits. On the way a list stands for each of its items."""
    shape = _without_none(shape)
    if value is None:
        return False
    if not path:
        return fits(value, shape)
    if t.get_origin(shape) is list:
        return isinstance(value, list) and all(answers(item, t.get_args(shape)[0], path) for item in value)
    part = _fields(shape)[path[0]]
    return isinstance(value, dict) and answers(value.get(path[0]), part, path[1:])


@functools.cache
def optional_keys(shape: t.Any) -> frozenset[str]:
    """The keys that may be left out. Not __optional_keys__: that misses annotations that are kept as text."""
    return frozenset(key for key, part in _fields(shape).items() if t.get_origin(part) is t.NotRequired)


@functools.cache
def _fields(shape: t.Any) -> dict[str, t.Any]:
    return t.get_type_hints(shape, include_extras=True)


def _field_fits(value: dict[str, t.Any], key: str, part: t.Any) -> bool:
    if t.get_origin(part) is t.NotRequired:
        return key not in value or fits(value[key], t.get_args(part)[0])
    return key in value and fits(value[key], part)


def _without_none(shape: t.Any) -> t.Any:
    if t.get_origin(shape) not in (t.Union, types.UnionType):
        return shape
    options = [option for option in t.get_args(shape) if option is not type(None)]
    return functools.reduce(operator.or_, options)


def _fits_plain(value: t.Any, shape: t.Any) -> bool:
    if shape in (int, float):
        allowed = int if shape is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool) and math.isfinite(value)
    return shape is t.Any or isinstance(value, shape)
