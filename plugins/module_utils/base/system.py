# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the running system: names, limits, kernel values, desktop, memory. Pure; runs on the node."""

from __future__ import annotations

import typing as t

from .part import HEADER, Live, Part, block_in, own_file

if t.TYPE_CHECKING:
    from .part import Declared, Seen

LIMITS = "/etc/security/limits.d/90-gb10-memlock.conf"
SYSTEM_LIMITS = "/etc/systemd/system.conf.d/90-gb10-memlock.conf"
SYSCTL = "/etc/sysctl.d/90-gb10.conf"
DEFAULT_TARGET = "/etc/systemd/system/default.target"
SSH_MEMORY = "/etc/systemd/system/ssh.service.d/90-gb10-memory.conf"
SLICE_MEMORY = "/etc/systemd/system/system.slice.d/90-gb10-memory.conf"
USER_MEMORY = "/etc/systemd/system/user.slice.d/90-gb10-memory.conf"
EARLYOOM = "/etc/systemd/system/earlyoom.service.d/90-gb10.conf"

_RELOAD = ["systemctl", "daemon-reload"]
_HEADLESS = "multi-user.target"
_LIMIT_LINES = """\
# RDMA locks the memory that it registers. The wildcard leaves root out, so root has lines of its own.
* soft memlock unlimited
* hard memlock unlimited
root soft memlock unlimited
root hard memlock unlimited
"""
_SYSTEM_LINES = """\
# Services get no limits from PAM.
[Manager]
DefaultLimitMEMLOCK=infinity
"""
# sshd already keeps itself from the OOM killer, and a score in its unit would pass on to every login and what is
# started there; what it lacks is memory that nobody takes away.
_KEPT = {
    SSH_MEMORY: "# The way in stays when memory ends.\n[Service]\nMemoryMin=64M\n",
    SLICE_MEMORY: "# A unit keeps memory only where its slice does.\n[Slice]\nMemoryMin=256M\n",
    USER_MEMORY: "# A login that can still type `docker stop`.\n[Slice]\nMemoryMin=128M\n",
}
# At 2 % left, the server before what keeps the node in reach (spark-facts 2.5; sparkrun's values).
_EARLYOOM_LINES = """\
[Service]
ExecStart=
ExecStart=/usr/bin/earlyoom -r 60 -m 2 -s 80 \
--prefer '^(VLLM|vllm|ray|python3?|trtllm|mpirun)' \
--avoid '^(sshd|systemd|dbus|dockerd|containerd|NetworkManager|earlyoom|Xorg|gnome-shell)'
"""


def hosts(declared: Declared, _seen: Seen, _record: t.Any) -> Part:
    """With the name on loopback rank 0 listens where no other rank can reach it (spark-facts 2.5)."""
    return Part("host names", files=[block_in("/etc/hosts", declared["hosts_block"], declared["hosts_disable"])])


def memlock(declared: Declared, _seen: Seen, _record: t.Any) -> Part:
    on = declared["memlock"]
    return Part(
        "locked memory",
        files=[
            own_file(LIMITS, HEADER + _LIMIT_LINES if on else None),
            own_file(SYSTEM_LIMITS, HEADER + _SYSTEM_LINES if on else None),
        ],
        after_files=[_RELOAD],
    )


def sysctl(declared: Declared, seen: Seen, record: t.Any) -> Part:
    before: dict[str, str] = dict(record or {})
    known = {key: value for key, value in declared["sysctl"].items() if seen.sysctl.get(key) is not None}
    part = Part("kernel values", notes=[f"this kernel has no {key}" for key in declared["sysctl"] if key not in known])
    lines = "".join(f"{key} = {value}\n" for key, value in sorted(known.items()))
    part.files = [own_file(SYSCTL, HEADER + lines if lines else None)]
    for key, value in sorted((before | known).items()):
        now = seen.sysctl.get(key)
        if key in known:
            before.setdefault(key, now or "")
        else:
            value = before.pop(key)
        if now is not None and now.split() != str(value).split():
            part.live.append(Live(key, now, str(value), [["sysctl", "-q", "-w", f"{key}={value}"]]))
    part.record = before or None
    return part


def desktop(declared: Declared, seen: Seen, record: t.Any) -> Part:
    """Only what the next boot starts: ending a desktop that somebody sits at is not ours."""
    part = Part("desktop", asked=declared["headless"], record=record)
    if seen.default_target is None:
        part.skipped, part.record = "the default target of systemd cannot be read", record
        return part
    if declared["headless"]:
        part.record = record or {"target": seen.default_target, "set": seen.default_target_is_set}
        if seen.default_target != _HEADLESS:
            part.live = [_set_target(seen.default_target, _HEADLESS)]
            part.notes = ["the desktop stays until the next start; `systemctl isolate multi-user.target` ends it now"]
    elif record:
        part.record = None
        if not record["set"]:
            back = [["rm", "-f", "@" + DEFAULT_TARGET], _RELOAD]
            part.live = [Live("default target", seen.default_target, record["target"], back)]
        elif seen.default_target != record["target"]:
            part.live = [_set_target(seen.default_target, record["target"])]
    return part


def _set_target(before: str, after: str) -> Live:
    return Live("default target", before, after, [["systemctl", "set-default", after]])


def swap(declared: Declared, seen: Seen, record: t.Any) -> Part:
    """Off: what does not fit fails at once. Kept: it first gets slow, which with unified memory looks like a hang."""
    part = Part("swap", asked=declared["swap"] == "off", record=record)
    if declared["swap"] == "off":
        used = sum(area.used_kib for area in seen.swaps)
        if used > seen.available_kib * 0.9:
            part.skipped = (
                f"{used >> 10} MiB are swapped out and {seen.available_kib >> 10} MiB of memory are available; "
                "stop what serves, then run again"
            )
            return part
        part.record = True
        if not seen.swap_masked:
            part.live.append(Live("swap at boot", "as fstab says", "off", [["systemctl", "mask", "swap.target"]]))
        if seen.swaps:
            names = ", ".join(area.name for area in seen.swaps)
            part.live.append(Live("swap", names, "off", [["swapoff", "-a"]]))
    elif record:
        part.record = None
        part.live = [
            Live("swap", "off", "as fstab says", [["systemctl", "unmask", "swap.target"], ["swapon", "-a"]]),
        ]
    return part


def oom(declared: Declared, seen: Seen, record: t.Any) -> Part:
    """Who goes when memory ends: whom the kernel picks, the same with the way in protected, or whom earlyoom picks."""
    wanted = declared["oom"]
    part = Part("out of memory", asked=wanted == "earlyoom", after_files=[_RELOAD])
    part.files = [own_file(path, HEADER + text if wanted != "kernel" else None) for path, text in _KEPT.items()]
    there = "earlyoom" in seen.packages
    ours = wanted == "earlyoom" and there
    if wanted == "earlyoom" and not there:
        part.skipped = "earlyoom is not installed; memory is kept for the way in, and the kernel picks"
    part.files.append(own_file(EARLYOOM, HEADER + _EARLYOOM_LINES if ours else None))
    if there:
        part.after_files.append(["systemctl", "try-restart", "earlyoom.service"])
    runs = "/sys/fs/cgroup/system.slice/earlyoom.service" in seen.files
    if ours:
        # Debian starts it when it is installed: what we have brought did not run before us.
        part.record = record or {"ran": runs and "earlyoom" not in declared["installed"]}
        if not runs:
            part.live = [_earlyoom("stopped", "running", "enable")]
    elif record and runs and not record["ran"]:
        part.live = [_earlyoom("running", "stopped", "disable")]
    return part


def _earlyoom(before: str, after: str, verb: str) -> Live:
    return Live("earlyoom", before, after, [["systemctl", verb, "--now", "earlyoom.service"]])
