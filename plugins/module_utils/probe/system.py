# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a node: release files, meminfo, nccl.conf, limits, netplan, and what nvidia-smi prints in CSV."""

from __future__ import annotations

import csv
import json
import re
import typing as t
from fnmatch import fnmatchcase

from .error import ProbeError, excerpt

if t.TYPE_CHECKING:
    from ..contracts import GpuFacts, GpuProcess, NcclGpuSample

_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
_MEMINFO = re.compile(r"^([A-Za-z0-9_()]+):\s+(\d+)(?: kB)?\s*$")
_PLAIN_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_GPU_FIELDS = 3
_SAMPLE_FIELDS = 4
UNLIMITED = -1
OTA_CHECK = "nvidia-spark-ota-check"


def parse_assignments(text: str) -> dict[str, str]:
    """KEY=VALUE lines as in os-release. A key that repeats: the last one wins (DGX_OTA_VERSION, spark-facts 5.1)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.match(line)
        if match:
            found[match[1]] = _unquoted(match[2])
    return found


def parse_dgx_release(text: str) -> dict[str, str]:
    """`/etc/dgx-release` without anything that identifies the unit."""
    return {key: value for key, value in parse_assignments(text).items() if "SERIAL" not in key}


def parse_nccl_conf(text: str) -> dict[str, str]:
    """`nccl.conf`: KEY=VALUE, `#` starts a comment, unknown keys are kept because they may matter (N08)."""
    lines = (line.split("#", 1)[0] for line in text.splitlines())
    return parse_assignments("\n".join(lines))


def parse_meminfo(text: str) -> dict[str, int]:
    """`/proc/meminfo` in kB by its own names."""
    found = {match[1]: int(match[2]) for match in map(_MEMINFO.match, text.splitlines()) if match}
    if "MemTotal" not in found:
        raise ProbeError(f"/proc/meminfo has no MemTotal but {excerpt(text)}")
    return found


def parse_memlock_kib(limits: str) -> int | None:
    """The soft limit of locked memory in `/proc/self/limits`, in KiB; -1 is unlimited."""
    for line in limits.splitlines():
        if line.startswith("Max locked memory"):
            word = line.removeprefix("Max locked memory").split()[0]
            return UNLIMITED if word == "unlimited" else int(word) // 1024
    return None


def parse_gpus(text: str) -> list[GpuFacts]:
    """`nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader`."""
    gpus: list[GpuFacts] = []
    for row in _rows(text):
        if len(row) != _GPU_FIELDS:
            raise ProbeError(f"nvidia-smi printed no row of name, compute capability, driver but {excerpt(text)}")
        gpus.append({"name": row[0], "compute_cap": _provided(row[1]), "driver": _provided(row[2])})
    return gpus


def parse_gpu_processes(text: str) -> list[GpuProcess]:
    """`nvidia-smi --query-compute-apps=pid,used_memory --format=csv,noheader,nounits`. Memory may be [N/A] on GB10."""
    processes: list[GpuProcess] = []
    for row in _rows(text):
        if not row[0].isdigit():
            raise ProbeError(f"nvidia-smi printed no process id but {excerpt(text)}")
        used = row[1].split()[0] if len(row) > 1 and row[1] else ""
        processes.append({"pid": int(row[0]), "used_mib": int(used) if used.isdigit() else None})
    return processes


def parse_torn_percent(text: str) -> int:
    """`nvidia-spark-ota-check torn-score`: how much of the installed update of DGX OS is missing; 0 is complete."""
    try:
        torn = json.loads(text)["torn"]
    except (ValueError, KeyError, TypeError):
        torn = None
    if isinstance(torn, bool) or not isinstance(torn, int):
        raise ProbeError(f"`{OTA_CHECK} torn-score` printed no score but {excerpt(text)}")
    return torn


def parse_gpu_sample(text: str) -> NcclGpuSample:
    """`nvidia-smi --query-gpu=clocks.sm,power.draw,utilization.gpu,pstate --format=csv,noheader,nounits` of one GPU."""
    rows = _rows(text)
    if len(rows) != 1 or len(rows[0]) != _SAMPLE_FIELDS:
        raise ProbeError(f"nvidia-smi printed no single row of clock, power, load and state but {excerpt(text)}")
    clock, power, utilisation, pstate = rows[0]
    return {
        "clock_mhz": _number(clock),
        "power_w": _number(power),
        "utilisation": _number(utilisation),
        "pstate": _provided(pstate),
    }


def parse_packages(text: str) -> dict[str, str]:
    """`dpkg-query -W` with package, status and version between tabs: installed ones only."""
    rows = (line.split("\t") for line in text.splitlines())
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "installed"}


def netplan_interfaces(text: str, macs: t.Mapping[str, str | None], drivers: t.Mapping[str, str | None]) -> list[str]:
    """Which of our interfaces a netplan file names or matches.

    A text scan, because PyYAML need not be there; `netplan get` remains the truth about the merged configuration. It
    errs on the side of naming: a name anywhere outside a comment counts.
    """
    lines = [re.sub(r"(^|\s)#.*$", "", line) for line in text.splitlines()]
    words = {word for line in lines for word in re.findall(r"[A-Za-z0-9_.-]+", line)}
    patterns = _matches(lines)
    return [
        netdev for netdev in macs if netdev in words or _matched(netdev, macs[netdev], drivers.get(netdev), patterns)
    ]


def _matches(lines: t.Sequence[str]) -> list[tuple[str, str]]:
    """The conditions below `match:`, as (key, pattern); also in the inline form `match: {name: "en*"}`."""
    found: list[tuple[str, str]] = []
    indent = -1
    for line in lines:
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        if re.match(r"\s*match:", line):
            indent = depth
            found += _conditions(line.split("match:", 1)[1])
        elif indent >= 0 and depth > indent:
            found += _conditions(line)
        else:
            indent = -1
    return found


def _conditions(text: str) -> list[tuple[str, str]]:
    pairs = re.findall(r"(name|macaddress|driver):\s*(\[[^\]]*\]|\"[^\"]*\"|'[^']*'|[^,}\s]+)", text)
    return [(key, value) for key, listed in pairs for value in re.findall(r"[^\[\],\s\"']+", listed)]


def _matched(netdev: str, mac: str | None, driver: str | None, patterns: t.Sequence[tuple[str, str]]) -> bool:
    for key, pattern in patterns:
        value = {"name": netdev, "macaddress": mac, "driver": driver}[key]
        if value is not None and fnmatchcase(value.lower(), pattern.lower()):
            return True
    return False


def _rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)
    ]


def _provided(cell: str) -> str | None:
    """GB10 answers [N/A] or [Not Supported] for what it does not have (health-checks 3.7)."""
    return None if not cell or cell.startswith("[") or cell in ("N/A", "Not Supported") else cell


def _number(cell: str) -> float | None:
    """Anything that is no plain number is not provided (health-checks 3.7)."""
    return float(cell) if _PLAIN_NUMBER.fullmatch(cell) else None


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
