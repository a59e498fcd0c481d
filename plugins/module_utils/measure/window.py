# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When something was measured: in which boot, how long after it, for how long, and whether the clock was set."""

from __future__ import annotations

import time
import typing as t

if t.TYPE_CHECKING:
    from ..contracts import NcclMeasurement, RdmaMeasurement
    from ..host import Host


def boot_id(host: Host) -> str | None:
    return host.read_line("/proc/sys/kernel/random/boot_id")


def uptime_s(host: Host) -> float | None:
    words = (host.read("/proc/uptime") or "").split()
    return float(words[0]) if words else None


class Window:
    """From the moment in which a measurement begins. The clock of the node runs beside one that nobody can set."""

    def __init__(self, host: Host) -> None:
        self._boot_id, self._uptime_s = boot_id(host), uptime_s(host)
        self._started, self._ahead = time.monotonic(), _ahead()

    def stamp(self, measurement: NcclMeasurement | RdmaMeasurement) -> None:
        """It ends now."""
        measurement["boot_id"], measurement["uptime_s"] = self._boot_id, self._uptime_s
        measurement["clock_step_s"] = round(_ahead() - self._ahead, 2)
        measurement["duration_s"] = round(time.monotonic() - self._started, 2)


def _ahead() -> float:
    return time.time() - time.monotonic()
