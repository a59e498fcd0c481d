# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When something was measured: in which boot, how long after it, and whether the clock was set meanwhile."""

from __future__ import annotations

import time
import typing as t

if t.TYPE_CHECKING:
    from ..host import Host


def boot_id(host: Host) -> str | None:
    return host.read_line("/proc/sys/kernel/random/boot_id")


def uptime_s(host: Host) -> float | None:
    words = (host.read("/proc/uptime") or "").split()
    return float(words[0]) if words else None


class Clock:
    """The clock of the node beside one that nobody can set."""

    def __init__(self) -> None:
        self._ahead = _ahead()

    def step_s(self) -> float:
        """By how much it was set since."""
        return round(_ahead() - self._ahead, 2)


def _ahead() -> float:
    return time.time() - time.monotonic()
