# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the fabric may be loaded now (health-checks 4.6, N09)."""

from __future__ import annotations

import typing as t

from ..probe.busy import BUSY
from ..probe.commands import BANDWIDTH_TOOL, LATENCY_TOOL, MAX_ATTEMPTS, runs_of
from ..probe.error import ProbeError
from ..probe.schedule import TURNS_PER_SLOT
from ..probe.system import parse_gpu_processes, parse_meminfo
from .sysfs import rdma_devices

if t.TYPE_CHECKING:
    from ..contracts import Profile
    from ..host import Host

# perftest registers twice its message for each queue pair; the rest is for the tool itself (N09: three times the test).
_TOOL_KIB = 64 * 1024
_TOOLS_AT_ONCE = 2  # one for each half (P03)


def why_not_now(host: Host, profile: Profile) -> str | None:
    """Why the fabric must not be loaded, or cannot be; None when all is well."""
    missing = [tool for tool in (BANDWIDTH_TOOL, LATENCY_TOOL) if host.which(tool) is None]
    if missing:
        return f"{missing[0]} is not installed: install the package perftest"
    if not rdma_devices(host):
        return "this node has no RDMA device"
    most = TURNS_PER_SLOT // MAX_ATTEMPTS
    if len(runs_of(profile)) > most:
        return f"the profile asks for more than {most - 1} bandwidth runs for each direction"
    return short_of_memory(host, _needed_kib(profile)) or gpu_work(host)


def short_of_memory(host: Host, needed_kib: int) -> str | None:
    try:
        available = parse_meminfo(host.read("/proc/meminfo") or "").get("MemAvailable", 0)
    except ProbeError as error:
        return str(error)
    if available < needed_kib:
        return f"{BUSY}only {available} KiB of memory are available, {needed_kib} are wanted"
    return None


def wanted_free_kib(profile: Profile) -> int:
    """What the profile asks for (N09)."""
    wanted = profile["thresholds"].get("N09", {}).get("available_gib", {}).get("min", 0)
    return int(wanted * 1024 * 1024)


def _needed_kib(profile: Profile) -> int:
    """What the profile asks for, at least what the tool takes."""
    settings = profile["bandwidth"]
    own = _TOOLS_AT_ONCE * (_TOOL_KIB + 3 * 2 * settings["qps"] * settings["size_bytes"] // 1024)
    return max(own, wanted_free_kib(profile))


def gpu_work(host: Host) -> str | None:
    """A foreign process on the GPU, as the reason to wait."""
    result = host.run(["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"])
    try:
        processes = parse_gpu_processes(result.stdout) if result.ok else []
    except ProbeError:
        return None  # the gate asks for an idle GPU by itself (N09); here only a certain one refuses
    if not processes:
        return None
    pids = ", ".join(str(process["pid"]) for process in processes)
    return f"{BUSY}a process is using the GPU (pid {pids}): drain the node first"
