# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""N: the node itself."""

from __future__ import annotations

import re
import typing as t

from ...probe.busy import says_busy
from ..limits import AtLeast, Equals, Limits, MinVersion, OneOf
from ..outcome import Outcome, degraded, failed, graded, passed, unknown
from ..registry import check
from ..signatures import remedies
from ..views import NodeView
from ..views.loose import get

_GIB_IN_KIB = 1024 * 1024

# Kernel messages (health-checks 2.1, N11). Anything else that the probe sent along is not judged.
_FATAL_LINES = re.compile(
    r"AER:.*(fatal|uncorrect)|mlx5_core.*(FATAL|health|DESTROY_EQ.*timeout)"
    r"|broken device, retraining|E-Switch: cleanup|NVRM: Xid|oom-kill|Out of memory: Killed process",
    re.IGNORECASE,
)
_KILLED = re.compile(r"oom-kill|Out of memory: Killed process")
_CORRECTED_LINES = re.compile(r"AER:.*correct", re.IGNORECASE)
# On healthy nodes too; only measured bandwidth tells a throttled NIC.
_RED_HERRING = re.compile(r"insufficient power on the PCIe slot")

# A setting that takes NCCL off the fabric or freezes it, and the values that are harmless (spark-facts 2.4).
_HARMFUL_SETTINGS: dict[str, tuple[str, ...]] = {
    "NCCL_IB_DISABLE": ("0",),
    "NCCL_IB_GID_INDEX": (),
    "NCCL_IB_USE_INLINE": ("0",),
    "NCCL_IB_PREPOST_RECEIVE_WORK_REQUESTS": ("0",),
}


@check("N00", scope="node")
def alive(node: NodeView, limits: Limits) -> Outcome:
    """The node answers a command, not only a connection.

    Port 22 can be open while unified memory is exhausted and nothing starts any more. There is no BMC: power-cycle it.
    """
    facts = node.reading.facts.get(node.node)
    if facts is None:
        return failed(
            "did not answer",
            cause="environment",
            remedy=[f"see whether {node.node} is powered on and reachable over SSH; power-cycle it when it hangs"],
        )
    if not isinstance(facts, dict) or facts.get("node") != node.node or not facts.get("boot_id"):
        return unknown("what it answered is not its facts", remedy=[f"read {node.node} again"])
    return passed("answers", measured={"boot_id": facts["boot_id"], "uptime_s": facts.get("uptime_s")})


@check(
    "N01",
    scope="node",
    needs=("facts.gpus.name", "facts.gpus.compute_cap"),
    parents=("N00",),
    limits={"gpu_name": Equals, "compute_cap": Equals},
)
def identity(node: NodeView, limits: Limits) -> Outcome:
    """The node is a GB10: by GPU name and compute capability, never by the DGX name, which OEMs change."""
    name, capability = limits.get(Equals, "gpu_name").equals, limits.get(Equals, "compute_cap").equals
    found = [(gpu["name"], gpu["compute_cap"]) for gpu in node.facts["gpus"] or []]
    measured = {"gpus": [list(gpu) for gpu in found]}
    if len(found) == 1 and str(name) in found[0][0] and found[0][1] == capability:
        return passed("is a GB10", measured=measured)
    seen = ", ".join(f"{gpu} {cap}" for gpu, cap in found) or "no GPU"
    return failed(
        f"found {seen}, expected one {name} of compute capability {capability}",
        cause="configuration",
        remedy=[f"take {node.node} out of the inventory group, or see why nvidia-smi does not name its GPU"],
        measured=measured,
    )


@check("N02", scope="node", needs=("facts.halves.netdev",), parents=("N00",), limits={"functions": Equals})
def nic_present(node: NodeView, limits: Limits) -> Outcome:
    """All four functions of the NIC are there, unless no cable is planned.

    The NIC is powered off until a cable is plugged in, so none at all is right only without cables. Fewer than four
    with a cable means that a device vanished: power the node off, unplug it, start it again.
    """
    found = sorted(half["netdev"] for half in node.facts["halves"] if half["cage"] and half["half"])
    expected = limits.get(Equals, "functions").equals
    if not node.planned:
        return passed("no cable is planned, and without one the NIC is off", measured={"functions": found})
    if len(found) == expected:
        return passed(f"{len(found)} functions", measured={"functions": found})
    cold_start = f"power {node.node} off, unplug it for 60 s and start it with the cables attached"
    return failed(
        f"{len(found)} of {expected} NIC functions found",
        cause="hardware",
        # One function is enough to see that the NIC has power.
        remedy=[cold_start]
        if found
        else [f"plug the cables of {node.node} in; the NIC is off without one", cold_start],
        measured={"functions": found},
    )


@check(
    "N03",
    scope="node",
    needs=("halves.pcie.current_speed_gts", "halves.pcie.current_width"),
    parents=("N00", "N02"),
    limits={"speed_gts": AtLeast, "width": AtLeast},
)
def pcie(node: NodeView, limits: Limits) -> Outcome:
    """Every planned half is on PCIe Gen5 x4. The GPU's own PCIe reading (Gen1 x1) is bogus and never judged.

    Two lanes on half b are an old ASUS BIOS; 2.5 GT/s is a hardware defect.
    """
    speed, width = limits.get(AtLeast, "speed_gts"), limits.get(AtLeast, "width")
    links = {half["netdev"]: half["pcie"] for half in node.halves if half is not None and half["pcie"] is not None}
    measured = {
        netdev: {"gts": link["current_speed_gts"], "width": link["current_width"]} for netdev, link in links.items()
    }
    slow = [
        f"{netdev} {link['current_speed_gts']} GT/s x{link['current_width']}"
        for netdev, link in links.items()
        if speed.grade(link["current_speed_gts"] or 0) != "pass" or width.grade(link["current_width"] or 0) != "pass"
    ]
    threshold = {"pass": f"{speed.min:g} GT/s x{width.min:g}"}
    name = "pcie-speed"
    if any(width.grade(link["current_width"] or 0) != "pass" for link in links.values()):
        name = "pcie-lanes"
    if not slow and len(links) == len(node.planned):
        return passed("every half is on its full PCIe lanes", measured=measured, threshold=threshold)
    return failed(
        f"PCIe trained down: {', '.join(slow)}",
        cause="hardware",
        remedy=remedies(name, node.node),
        measured=measured,
        threshold=threshold,
        signature=name,
    )


@check(
    "N04",
    scope="node",
    needs=("halves.rdma.fw_ver",),
    parents=("N00",),
    optional_limits={"firmware": MinVersion},
)
def firmware(node: NodeView, limits: Limits) -> Outcome:
    """All functions of the NIC run one firmware, not older than the profile's. Equality over the nodes is C01."""
    versions = sorted({half["rdma"]["fw_ver"] or "" for half in node.halves if half is not None and half["rdma"]})
    oldest = limits.find(MinVersion, "firmware")
    measured = {"firmware": versions}
    remedy = [f"update the NIC firmware of {node.node} with the DGX OS update, then start it cold"]
    if len(versions) > 1:
        several = f"one NIC, several firmwares: {', '.join(versions)}"
        return failed(several, cause="software", remedy=remedy, measured=measured)
    if oldest is not None and versions and oldest.grade(versions[0]) != "pass":
        return failed(
            f"firmware {versions[0]} is older than {oldest.min_version}",
            cause="software",
            remedy=remedy,
            measured=measured,
            threshold=oldest.shown(),
        )
    return passed(f"firmware {' '.join(versions) or '(no cable, no NIC)'}", measured=measured)


@check(
    "N05",
    scope="node",
    needs=("facts.memory_kib", "facts.kernel", "facts.cmdline"),
    parents=("N00",),
)
def contiguous_memory(node: NodeView, limits: Limits) -> Outcome:
    """The kernel has contiguous memory to register for RDMA.

    Kernel 7.0.0-10xx with kexec handover reports CmaTotal 0 with CmaFree above it; then ibv_reg_mr fails even for 1 KB.
    Boot with kho=off, or use kernel 6.17.0-1031 or newer of that line.
    """
    memory = node.facts["memory_kib"]
    total, free = memory.get("CmaTotal"), memory.get("CmaFree")
    measured = {"CmaTotal_kib": total, "CmaFree_kib": free, "kernel": node.facts["kernel"]}
    remedy = remedies("kho-cma", node.node)
    if total is None or free is None:
        return unknown("CmaTotal or CmaFree is not in /proc/meminfo", measured=measured)
    if free > total:
        return failed(
            f"CmaFree {free} kB is more than CmaTotal {total} kB: memory cannot be registered for RDMA",
            cause="software",
            remedy=remedy,
            measured=measured,
            signature="kho-cma",
        )
    if total == 0:
        return unknown("CmaTotal is 0; no healthy Spark is known to report that", measured=measured, remedy=remedy)
    if node.facts["kernel"].startswith("7.0.0-10") and "kho=off" not in node.facts["cmdline"].split():
        return degraded(
            f"kernel {node.facts['kernel']} without kho=off can lose its contiguous memory",
            cause="software",
            remedy=remedy,
            measured=measured,
        )
    return passed("contiguous memory is there", measured=measured)


@check("N06", scope="node", needs=("facts.memlock_kib",), parents=("N00",), limits={"memlock_gib": AtLeast})
def memlock(node: NodeView, limits: Limits) -> Outcome:
    """A process may lock as much memory as RDMA registers: unlimited, on the host. The image is checked on its own."""
    remedy = f"run site.yml: role dgx_os sets memlock to unlimited on {node.node}; log in again"
    return unlimited(node.facts["memlock_kib"], limits, "", remedy)


def unlimited(locked_kib: int | None, limits: Limits, place: str, remedy: str) -> Outcome:
    """How much memory may be locked, where ``place`` says (" in IMAGE"; nothing: on the host). -1 is all."""
    measured = {"memlock_kib": locked_kib}
    if locked_kib == -1:
        return passed("unlimited", measured=measured)
    gib, least = (locked_kib or 0) / _GIB_IN_KIB, limits.get(AtLeast, "memlock_gib")
    return graded(
        "degraded" if gib >= least.min else "fail",
        f"memlock is {gib:.3g} GiB{place}, expected unlimited",
        cause="configuration",
        remedy=[remedy],
        measured=measured,
        threshold={"pass": "unlimited", "degraded": least.min},
    )


@check("N07", scope="node", needs=("facts.uverbs", "facts.halves.netdev", "facts.problems"), parents=("N00", "N02"))
def verbs_devices(node: NodeView, limits: Limits) -> Outcome:
    """Every planned half has its RDMA device, and every device its /dev/infiniband/uverbs file.

    Without them NCCL falls back to TCP without a word.
    """
    devices = sorted(half["rdma"]["device"] for half in node.facts["halves"] if half["rdma"])
    files = node.facts["uverbs"]
    measured = {"devices": devices, "uverbs": files}
    if not node.planned:
        return passed("no cable is planned", measured=measured)
    unread = [problem for problem in node.facts["problems"] if problem.startswith("`rdma")]
    if unread:
        return unknown(f"the RDMA devices are not known: {unread[0]}", measured=measured)
    if not devices:
        return unknown("there is no RDMA device", cause="software", remedy=_drivers(node), measured=measured)
    bare = [half["netdev"] for half in node.halves if half is not None and half["rdma"] is None]
    if bare:
        return failed(
            f"{' '.join(bare)} has no RDMA device",
            cause="software",
            remedy=_drivers(node),
            measured=measured,
        )
    if len(files) >= len(devices):
        return passed(f"{len(devices)} devices", measured=measured)
    return failed(
        f"{len(devices)} RDMA devices but {len(files)} uverbs files",
        cause="software",
        remedy=[f"load ib_uverbs on {node.node}; in a container pass --device /dev/infiniband"],
        measured=measured,
    )


def _drivers(node: NodeView) -> list[str]:
    return [f"see whether the drivers of the NIC (mlx5_core, mlx5_ib) are loaded on {node.node}"]


@check(
    "N08",
    scope="node",
    needs=("facts.nccl_files",),
    parents=("N00",),
    limits={"harmless": OneOf},
)
def nccl_settings(node: NodeView, limits: Limits) -> Outcome:
    """No file sets NCCL against the fabric.

    NCCL_IB_DISABLE=1 and NCCL_NET=Socket force TCP at 2 GB/s, a pinned GID index breaks when the table changes, inline
    leftovers froze a warm-up. A value that contradicts the plan fails, a key nobody planned is degraded.
    """
    planned = node.reading.plan["nccl_env"].get(node.node, {})
    files = [(file["path"], file["settings"]) for file in node.facts["nccl_files"]]
    wrong, foreign = against_the_fabric(files, planned, limits.get(OneOf, "harmless").values)
    measured = {"files": [file["path"] for file in node.facts["nccl_files"]], "wrong": wrong, "foreign": foreign}
    if wrong:
        return failed(
            ", ".join(wrong),
            cause="configuration",
            remedy=[f"run site.yml: role nccl_env takes {wrong[0].split('=')[0]} out of the file on {node.node}"],
            measured=measured,
            signature="nccl-residue",
        )
    if foreign:
        return degraded(
            f"nobody planned {', '.join(foreign)}",
            cause="configuration",
            remedy=[f"remove these keys on {node.node}, or list them under N08.harmless in the profile"],
            measured=measured,
        )
    return passed("nothing set against the fabric", measured=measured)


def against_the_fabric(
    sources: t.Iterable[tuple[str, t.Mapping[str, str]]], planned: dict[str, str], harmless: t.Iterable[str]
) -> tuple[list[str], list[str]]:
    """Settings that take NCCL off the fabric, and those that nobody planned, each with the place it stands in."""
    settings = [(place, key, value) for place, found in sources for key, value in found.items()]
    wrong = [f"{key}={value} in {place}" for place, key, value in settings if _is_harmful(key, value, planned)]
    known = {*planned, *harmless, *_HARMFUL_SETTINGS, "NCCL_NET"}
    return wrong, [f"{key} in {place}" for place, key, _value in settings if key not in known]


def _is_harmful(key: str, value: str, planned: dict[str, str]) -> bool:
    if key in planned:
        return value != planned[key]
    if key == "NCCL_NET":
        return value != "IB"
    return key in _HARMFUL_SETTINGS and value not in _HARMFUL_SETTINGS[key]


@check(
    "N09",
    scope="node",
    needs=("facts.memory_kib", "facts.gpu_processes"),
    parents=("N00",),
    limits={"available_gib": AtLeast},
)
def idle(node: NodeView, limits: Limits) -> Outcome:
    """The node has memory to spare and no foreign GPU process. A busy node is not bad, but its numbers say nothing."""
    said = _said_busy(node)
    if said is not None:
        return unknown(said, cause="environment", remedy=_drain(node))
    available = node.facts["memory_kib"].get("MemAvailable")
    pids = [process["pid"] for process in node.facts["gpu_processes"] or []]
    if available is None:
        return unknown("MemAvailable is not in /proc/meminfo")
    gib = available / _GIB_IN_KIB
    least = limits.get(AtLeast, "available_gib")
    measured = {"available_gib": round(gib, 1), "gpu_processes": pids}
    threshold = least.shown()
    if pids:
        return unknown(
            f"busy: GPU process {' '.join(map(str, pids))}",
            cause="environment",
            remedy=_drain(node),
            measured=measured,
            threshold=threshold,
        )
    if least.grade(gib) != "pass":
        return unknown(
            f"busy: {gib:.1f} GiB of memory available, {least.min:g} needed",
            cause="environment",
            remedy=_drain(node),
            measured=measured,
            threshold=threshold,
        )
    return passed(f"idle, {gib:.0f} GiB available", measured=measured, threshold=threshold)


def _said_busy(node: NodeView) -> str | None:
    """What a probe found that came after the facts were read: work that had begun meanwhile, or another measurement."""
    skipped = [
        get(answers.get(node.node), "skipped") for answers in (node.reading.measurements, node.reading.nccl or {})
    ]
    return next(filter(says_busy, skipped), None)


def _drain(node: NodeView) -> list[str]:
    return [f"drain {node.node}: end what computes, serves or measures on it, or wait for it, then measure again"]


@check("N11", scope="node", needs=("facts.kernel_log",), parents=("N00",))
def kernel_log(node: NodeView, limits: Limits) -> Outcome:
    """The kernel did not complain since the boot: no fatal PCIe error, mlx5 health event, Xid or killed process.

    "insufficient power on the PCIe slot (27W)" appears on healthy nodes and is no signal.
    """
    lines = [line for line in node.facts["kernel_log"] or [] if not _RED_HERRING.search(line)]
    fatal = [line for line in lines if _FATAL_LINES.search(line)]
    corrected = [line for line in lines if line not in fatal and _CORRECTED_LINES.search(line)]
    measured = {"fatal": fatal[:5], "corrected": len(corrected)}
    if fatal:
        return failed(
            f"kernel log: {fatal[0]}",
            # What ran out of memory is no broken node, which would be kept out.
            cause="software" if all(_KILLED.search(line) for line in fatal) else "hardware",
            remedy=[f"reboot {node.node}; if the message comes back, run the field diagnostics"],
            measured=measured,
        )
    if corrected:
        return degraded(
            f"{len(corrected)} corrected PCIe errors since boot",
            cause="hardware",
            remedy=[f"reseat the cables of {node.node} and watch whether the number grows"],
            measured=measured,
        )
    return passed("clean", measured=measured)


@check("N12", scope="node", needs=("facts.hazards", "facts.netplan_files"), parents=("N00",))
def hazards(node: NodeView, limits: Limits) -> Outcome:
    """Nothing is installed that changes the fabric later: firmware tools, other tools' netplan files."""
    netdevs = {half["netdev"] for half in node.planned}
    foreign = [
        f"{file['path']} names {' '.join(sorted(netdevs.intersection(file['interfaces'])))}"
        for file in node.facts["netplan_files"]
        if not file["owned"] and netdevs.intersection(file["interfaces"])
    ]
    found = [*node.facts["hazards"], *foreign]
    if not found:
        return passed("none", measured={"hazards": []})
    return degraded(
        "; ".join(found),
        cause="configuration",
        remedy=[f"remove it from {node.node}, or expect the fabric to change under the cluster"],
        measured={"hazards": found},
    )
