# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of what is installed: holds, what never comes in, automatic upgrades, the kernel's parameters, containers.

Pure; runs on the node.
"""

from __future__ import annotations

import json
import re
import typing as t
from fnmatch import fnmatchcase

from .part import HEADER, BaseRefused, Live, Part, own_file

if t.TYPE_CHECKING:
    from .part import Declared, Seen

BLACKLIST = "/etc/apt/apt.conf.d/52gb10-unattended-upgrades"
PIN = "/etc/apt/preferences.d/90-gb10-forbidden"
GRUB = "/etc/default/grub.d/90-gb10.cfg"
TOOLKIT_LIST = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"
DOCKER_CONFIG = "/etc/docker/daemon.json"
CDI = ("/etc/cdi/nvidia.yaml", "/run/cdi/nvidia.yaml", "/var/run/cdi/nvidia.yaml")
DOCKER_PID = "/run/docker.pid"

# What an ordinary upgrade tore or brought in the wrong order (spark-facts 5.2). The number is the driver's branch.
HELD = re.compile(
    r"nvidia-modprobe|nvidia-kernel-common-\d+|nvidia-driver-\d+(-open)?|linux(-image|-headers)?-nvidia-hwe-[\d.]+"
    r"|docker-ce|containerd\.io"
)
_NEVER_AUTOMATIC = (
    *("nvidia-", "libnvidia-", "libnccl", "cuda-", "linux-image-", "linux-headers-", "linux-modules-", "linux-nvidia-"),
    *("docker-ce", "containerd.io", "rdma-core", "libibverbs", "mlnx-", "doca-"),
)
_PARAMETER = re.compile(r"[A-Za-z0-9_.]+(=[A-Za-z0-9_.,:/+-]*)?")


def blacklist(declared: Declared, seen: Seen, _record: t.Any) -> Part:
    """A driver that changes by night voids the admission and may not load before the next start."""
    part = Part("automatic upgrades")
    wanted = declared["upgrade_blacklist"]
    if wanted and "unattended-upgrades" not in seen.packages:
        wanted, part.skipped = False, "unattended-upgrades is not installed"
    names = "".join(f'    "{name}";\n' for name in _NEVER_AUTOMATIC)
    lines = f"// {HEADER[2:]}Unattended-Upgrade::Package-Blacklist {{\n{names}}};\n"
    part.files = [own_file(BLACKLIST, lines if wanted else None)]
    return part


def holds(declared: Declared, seen: Seen, record: t.Any) -> Part:
    """Only what is installed can be held, and only what we have held is released."""
    ours: list[str] = list(record or [])
    wanted = sorted(name for name in seen.packages if HELD.fullmatch(name)) if declared["holds"] else []
    held = {name for name, want in seen.packages.items() if want == "hold"}
    part = Part("package holds")
    if declared["holds"] and not wanted:
        part.skipped = "none of the packages that are held is installed"
    missing = [name for name in wanted if name not in held]
    released = [name for name in ours if name not in wanted and name in held]
    if missing:
        part.live.append(Live("held packages", "", " ".join(missing), [["apt-mark", "hold", *missing]]))
    if released:
        part.live.append(Live("held packages", " ".join(released), "", [["apt-mark", "unhold", *released]]))
    part.record = sorted({name for name in ours if name in wanted} | set(missing)) or None
    return part


def forbidden(declared: Declared, seen: Seen, _record: t.Any) -> Part:
    """mlnx-fw-updater has flashed and broken NICs of Sparks during an ordinary install; DOCA and OFED bring it."""
    part = Part("forbidden packages")
    names = declared["forbidden_packages"]
    if names and "apt-get" not in seen.commands:
        names, part.skipped = [], "apt is not installed"
    for name in names:
        if not re.fullmatch(r"[a-z0-9*?][a-z0-9+.*?-]*", name):
            raise BaseRefused(
                f"dgx_os_forbidden_packages has {name!r}, which is no name of a package; * and ? are allowed"
            )
    # By version and not by release: a repository without a Release file has none.
    stanza = f"Package: {' '.join(names)}\nPin: version *\nPin-Priority: -1\n"
    part.files = [own_file(PIN, HEADER + stanza if names else None)]
    there = sorted(package for package in seen.packages if any(fnmatchcase(package, name) for name in names))
    if there:
        part.notes = [
            f"{', '.join(there)} is installed and may flash the NIC; remove it: apt-get remove {' '.join(there)}"
        ]
    return part


def kernel(declared: Declared, seen: Seen, record: t.Any) -> Part:
    """Parameters that the operator declares against a hazard of the kernel, as kho=off (spark-facts 2.4)."""
    wanted = declared["kernel_parameters"]
    part = Part("kernel parameters", asked=bool(wanted))
    for word in wanted:
        if not _PARAMETER.fullmatch(word):
            raise BaseRefused(f"dgx_os_kernel_parameters has {word!r}, expected one word like kho=off")
    if "update-grub" not in seen.commands:
        part.skipped = "the node does not boot by grub; set them in what boots it" if wanted else None
        return part
    line = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {" ".join(wanted)}"\n'
    part.files = [own_file(GRUB, HEADER + line if wanted else None)]
    part.after_files = [["update-grub"]]
    part.record = list(wanted) or None
    not_yet = [word for word in wanted if word not in seen.cmdline]
    still = [word for word in record or [] if word not in wanted and word in seen.cmdline]
    if not_yet:
        part.reboot = f"{' '.join(not_yet)} is not in force before the next start"
    elif still:
        part.reboot = f"{' '.join(still)} is in force until the next start"
    return part


def docker(declared: Declared, seen: Seen, _record: t.Any) -> Part:
    """Only a check: what serves in a container needs docker, the toolkit and a way to the GPU."""
    part = Part("docker")
    if not declared["docker"]:
        return part
    if "docker" not in seen.commands:
        part.skipped = "docker is not installed"
        return part
    if DOCKER_PID not in seen.files:
        part.notes.append("docker is installed and does not run; systemctl enable --now docker")
    if "nvidia-container-toolkit" not in seen.packages:
        part.notes.append(
            "nvidia-container-toolkit is not installed, so no container gets the GPU; it comes with DGX OS"
        )
    elif not _has_runtime(seen.docker_config) and not any(path in seen.files for path in CDI):
        part.notes.append(
            "docker knows neither the nvidia runtime nor a CDI device; nvidia-ctk runtime configure --runtime=docker, "
            "then systemctl restart docker"
        )
    first = next((line for line in (seen.toolkit_list or "").splitlines() if line.strip()), "deb")
    if not first.lstrip().startswith(("deb", "#")):
        part.notes.append(
            f"{TOOLKIT_LIST} is damaged: it begins with {first[:40]!r}, expected a line of `deb`; fetch it anew"
        )
    return part


def _has_runtime(config: str | None) -> bool:
    try:
        return "nvidia" in json.loads(config or "{}").get("runtimes", {})
    except (ValueError, AttributeError):
        return False


def installed(declared: Declared, _seen: Seen, record: t.Any) -> Part:
    """Packages that the role has brought stay when the rest is taken back; they are remembered by name."""
    return Part("installed packages", record=sorted({*(record or []), *declared["installed"]}) or None)
