# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A profile says how to measure, which checks decide and what numbers they expect. Refused as a whole when in doubt."""

from __future__ import annotations

import typing as t

from ..contracts import SCHEMA, BandwidthSettings, LatencySettings, NcclTestsSettings, Profile
from ..shape import optional_keys
from .checks import CHECKS, catalogue
from .limits import AtMost, Limit, Limits, ProfileError, parse_limit

# Nothing is admitted without a node that answers and a measured fabric: passive checks cannot see a throttled NIC
# (health-checks 2.4).
INDISPENSABLE = ("N00", "P01", "P02")
_BY_HARNESS = ("required_with_nccl", "required_with_nccl_tests")  # one of them holds in a run
_LISTS = ("required", "observe", *_BY_HARNESS, "required_with_soak")


def validated(raw: t.Any) -> Profile:
    """The profile, or ProfileError with one sentence."""
    if not isinstance(raw, dict):
        raise ProfileError(f"a profile is a mapping, found {type(raw).__name__}")
    _keys(raw, Profile, "profile")
    if raw["schema"] != SCHEMA:
        raise ProfileError(f"profile schema {raw['schema']!r} is not {SCHEMA!r}")
    for name, shape in (("bandwidth", BandwidthSettings), ("latency", LatencySettings)):
        _keys(raw[name], shape, name)
        for key, value in raw[name].items():
            _count(value, f"{name}.{key}", at_least=0 if key == "warmup" else 1)
    for key in ("rendezvous_s", "command_timeout_s"):
        _count(raw[key], key, at_least=1)
    parse_limit(AtMost, raw["clock_step_s"], "clock_step_s")
    if "nccl_tests" in raw:
        _keys(raw["nccl_tests"], NcclTestsSettings, "nccl_tests")
        if "required_with_nccl_tests" not in raw:
            raise ProfileError("required_with_nccl_tests missing; with nccl_tests and without it nothing would refuse")
    _check_lists(raw)
    parsed_limits(raw)
    return t.cast("Profile", raw)


def parsed_limits(raw: t.Mapping[str, t.Any]) -> dict[str, Limits]:
    """The thresholds of every listed check."""
    listed = _listed(raw)
    thresholds = raw["thresholds"]
    if not isinstance(thresholds, dict):
        raise ProfileError(f"thresholds must map check ids to thresholds, found {thresholds!r}")
    for check_id in thresholds:
        if check_id not in listed:
            raise ProfileError(f"thresholds.{check_id}: this check is neither required nor observed")
    return {check_id: Limits(_limits(check_id, thresholds.get(check_id, {}))) for check_id in listed}


def _listed(raw: t.Mapping[str, t.Any]) -> list[str]:
    return list(dict.fromkeys(check_id for key in _LISTS for check_id in raw.get(key, [])))


def _limits(check_id: str, raw: t.Any) -> dict[str, Limit]:
    where = f"thresholds.{check_id}"
    if not isinstance(raw, dict):
        raise ProfileError(f"{where}: expected a mapping, found {raw!r}")
    check = CHECKS[check_id]
    forms = check.limits | check.optional_limits
    for name in raw:
        if name not in forms:
            known = ", ".join(sorted(forms)) or "none"
            raise ProfileError(f"{where}.{name}: {check_id} has no such threshold (it has: {known})")
    for name in check.limits:
        if name not in raw:
            raise ProfileError(f"{where}.{name}: missing; {check_id} cannot judge without it")
    return {name: parse_limit(forms[name], raw[name], f"{where}.{name}") for name in raw}


def _check_lists(raw: dict[str, t.Any]) -> None:
    for key in _LISTS:
        ids = raw.get(key, [])
        if not isinstance(ids, list):
            raise ProfileError(f"{key} must be a list of check ids, found {ids!r}")
        for check_id in ids:
            if check_id not in CHECKS:
                raise ProfileError(
                    f"{key}: unknown check {check_id!r} (known: {' '.join(check.id for check in catalogue())})"
                )
    twice = sorted({check_id for harness in _BY_HARNESS for check_id in _twice(raw, harness)})
    if twice:
        raise ProfileError(f"{', '.join(twice)}: listed twice; a check is either required or observed")
    absent = [check_id for check_id in INDISPENSABLE if check_id not in raw["required"]]
    if absent:
        raise ProfileError(f"required: {', '.join(absent)} missing; nothing is admitted without them")


def _twice(raw: dict[str, t.Any], harness: str) -> list[str]:
    """What is listed more than once of what holds together."""
    lists = [key for key in _LISTS if key == harness or key not in _BY_HARNESS]
    listed = [check_id for key in lists for check_id in raw.get(key, [])]
    return [check_id for check_id in listed if listed.count(check_id) > 1]


def _keys(raw: t.Any, shape: type, where: str) -> None:
    if not isinstance(raw, dict):
        raise ProfileError(f"{where} must be a mapping, found {raw!r}")
    wanted = t.get_type_hints(shape)
    missing = sorted(wanted.keys() - raw.keys() - optional_keys(shape))
    extra = sorted(map(str, raw.keys() - wanted.keys()))
    if missing:
        raise ProfileError(f"{where}: {', '.join(missing)} missing")
    if extra:
        raise ProfileError(f"{where}: unknown key {', '.join(extra)}")


def _count(value: t.Any, where: str, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ProfileError(f"{where} must be a whole number of at least {at_least}, found {value!r}")
