# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a slot: runs as the tools reported them, or the failure that ended it."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, field

from ..probe.commands import LATENCY_TOOL
from ..probe.error import ProbeError
from ..probe.perftest import bandwidth_agrees, latency_agrees, parse_bandwidth, parse_latency

if t.TYPE_CHECKING:
    from ..contracts import BandwidthRun, Cause, Failure, LatencyRun
    from ..host import CommandResult


class Broken(Exception):
    """A slot cannot go on."""

    def __init__(self, cause: Cause, message: str, result: CommandResult | None = None) -> None:
        super().__init__(message)
        self.cause: Cause = cause
        self.message = message
        self.result = result

    def failure(self, stage: str) -> Failure:
        result = self.result
        return {
            "stage": stage,
            "cause": self.cause,
            "message": self.message,
            "argv": result.argv if result else [],
            "rc": result.rc if result else None,
            "raw_sha256": _sha256(result) if result else None,
        }


class InstrumentBroken(Broken):
    """A run ended, but what the tool said is no result."""


@dataclass
class Taken:
    """What one slot has yielded so far."""

    bandwidth: dict[str, list[BandwidthRun]] = field(default_factory=dict)  # by path
    latency: LatencyRun | None = None
    rcs: list[int] = field(default_factory=list)
    bytes_before: dict[str, int | None] = field(default_factory=dict)
    repeated: list[Failure] = field(default_factory=list)
    turn: int = 0


def bandwidth_run(result: CommandResult, json_text: str | None, warmup: bool) -> BandwidthRun:
    parsed = parse_bandwidth(result.stdout)
    return {
        "warmup": warmup,
        "gbps": parsed.gbps,
        "iterations": parsed.iterations,
        "size_bytes": parsed.size_bytes,
        "qps": parsed.qps,
        "mtu": parsed.mtu,
        "local_ipv4": parsed.local_ipv4,
        "remote_ipv4": parsed.remote_ipv4,
        "agrees": bandwidth_agrees(parsed, json_text),
        "argv": result.argv,
        "rc": result.rc,
        "raw_sha256": _sha256(result),
        "duration_s": round(result.duration_s, 2),
    }


def latency_run(result: CommandResult, json_text: str | None) -> LatencyRun:
    parsed = parse_latency(result.stdout)
    if latency_agrees(parsed, json_text) is False:
        raise ProbeError(f"{LATENCY_TOOL} says one thing as text and another as JSON")
    return {
        "typical_us": parsed.typical_us,
        "p99_us": parsed.p99_us,
        "iterations": parsed.iterations,
        "size_bytes": parsed.size_bytes,
        "argv": result.argv,
        "rc": result.rc,
        "raw_sha256": _sha256(result),
        "duration_s": round(result.duration_s, 2),
    }


def _sha256(result: CommandResult) -> str:
    return hashlib.sha256((result.stdout + result.stderr).encode()).hexdigest()
