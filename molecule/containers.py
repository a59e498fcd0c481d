"""Containers that stand for Sparks: python molecule/containers.py up|down|flags

Three systemd containers without any network of podman's, joined as a triangle by veth pairs with Spark's interface
names. There are no verbs and no GPU in them. What only some machines need is detected (`flags` shows it); an ordinary
laptop runs podman's defaults, without root.
"""

from __future__ import annotations

import hashlib
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOTFS = HERE.parent / "lab/guest/rootfs"

REPOSITORY = "localhost/gb10-molecule"
SUITE = "trixie"
PACKAGES = [
    *("systemd-sysv", "dbus", "udev", "procps", "kmod", "python3", "iproute2", "ethtool", "iputils-ping", "netplan.io"),
    *("rdma-core", "ibverbs-utils", "perftest", "lldpd", "systemd-timesyncd"),
    "nftables",
]
# A node looks like a Spark where our code looks; nvidia-smi is a stand-in and says so.
SPARK_FILES = ["etc/dgx-release", "etc/fastos-release", "usr/bin/nvidia-smi"]
MASKED = ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "systemd-networkd-wait-online.service"]

NODES = ["spark1", "spark2", "spark3"]
# Containers of its own for each checkout, so that two can be tested at once; the inventory derives the same name.
PREFIX = f"gb10-{hashlib.sha256(str(HERE.parent).encode()).hexdigest()[:6]}-"
MGMT_NETDEV = "enP7s7"
P0 = ("enp1s0f0np0", "enP2p1s0f0np0")  # halves a and b
P1 = ("enp1s0f1np1", "enP2p1s0f1np1")
CAP_SYS_RESOURCE = 24
BOOT_LIMIT_S = 60


# --- what this machine needs ---


@dataclass(frozen=True)
class Machine:
    """What decides how podman has to be called."""

    unified_cgroups: bool
    sys_resource: bool
    nofile: int  # hard limits
    nproc: int
    root: bool


def look() -> Machine:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    uid = next(int(line.split()[2]) for line in status.splitlines() if line.startswith("Uid:"))
    return Machine(
        unified_cgroups=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        sys_resource=bool(effective >> CAP_SYS_RESOURCE & 1),
        nofile=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        nproc=resource.getrlimit(resource.RLIMIT_NPROC)[1],
        root=uid == 0,
    )


def engine_flags(machine: Machine) -> list[str]:
    """crun refuses the hybrid cgroups of an old host; runc takes them."""
    return [] if machine.unified_cgroups else ["--runtime", "runc"]


def run_flags(machine: Machine) -> list[str]:
    flags = ["--systemd=always", "--privileged", "--network", "none"]
    if machine.root and not machine.sys_resource:
        # podman's defaults are above the hard limits, and without this capability nobody may raise those. On its way
        # to the container podman 4.3 lowers the limit of processes below the hard one; 4096 is let through.
        nproc = min(_finite(machine.nproc), 4096)
        nofile = _finite(machine.nofile)
        flags += ["--ulimit", f"nofile={nofile}:{nofile}", "--ulimit", f"nproc={nproc}:{nproc}"]
    if not machine.unified_cgroups:
        # systemd 256 and later start on such a host only when told to.
        legacy = "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
        flags += ["--env", f"SYSTEMD_PROC_CMDLINE={legacy}"]
    return flags


def _finite(hard: int) -> int:
    return 1048576 if hard == resource.RLIM_INFINITY else hard


def in_namespace(machine: Machine, pid: str) -> list[str]:
    """Prefix that runs a command in a container's network; without root, in podman's user namespace."""
    enter = ["nsenter", "--target", pid, "--net"]
    return enter if machine.root else ["podman", "unshare", *enter]


# --- image ---


def customize() -> list[str]:
    """mmdebstrap hooks that make a Debian tree look like a Spark."""
    chroot = 'chroot "$1" systemctl'
    return [
        *(f"--customize-hook=copy-in {ROOTFS / name} /{Path(name).parent}" for name in SPARK_FILES),
        f"--customize-hook={chroot} mask --quiet {' '.join(MASKED)}",
        f"--customize-hook={chroot} enable --quiet systemd-networkd.service",
        '--customize-hook=: > "$1/etc/machine-id"',
    ]


def image_name() -> str:
    """Named by its content, so that a change builds anew and nothing else does."""
    digest = hashlib.sha256(repr([SUITE, PACKAGES, MASKED, len(customize())]).encode())
    for name in SPARK_FILES:
        digest.update((ROOTFS / name).read_bytes())
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def build_image(machine: Machine, image: str) -> None:
    print(f"image      {SUITE} with {len(PACKAGES)} packages, about half a minute", flush=True)
    old = podman(machine, "images", "--quiet", REPOSITORY).split()
    bootstrap = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        *customize(),
        SUITE,
        "-",
    ]
    podman_import = ["podman", *engine_flags(machine), "import", "--quiet", "--change", "CMD=/sbin/init", "-", image]
    with subprocess.Popen(bootstrap, stdout=subprocess.PIPE) as tree:
        imported = subprocess.run(podman_import, stdin=tree.stdout, stdout=subprocess.DEVNULL)
    if tree.returncode or imported.returncode:
        podman(machine, "image", "rm", "--force", image, check=False)
        sys.exit(f"the image could not be built (mmdebstrap {tree.returncode}, podman import {imported.returncode})")
    for image_id in old:  # without force: another checkout may be using its own
        podman(machine, "image", "rm", image_id, check=False)


# --- containers ---


def podman(machine: Machine, *arguments: str, check: bool = True) -> str:
    command = ["podman", *engine_flags(machine), *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if check and result.returncode:
        sys.exit(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout.strip()


def start(machine: Machine, image: str) -> None:
    for node in NODES:
        name = ["--detach", "--name", PREFIX + node, "--hostname", node]
        podman(machine, "run", *name, *run_flags(machine), image, "/sbin/init")
    for node in NODES:
        await_boot(machine, node)


def await_boot(machine: Machine, node: str) -> None:
    end = time.monotonic() + BOOT_LIMIT_S
    state = ""
    while time.monotonic() < end:
        state = podman(machine, "exec", PREFIX + node, "systemctl", "is-system-running", check=False)
        if state in ("running", "degraded"):
            return
        time.sleep(0.5)
    sys.exit(f"{node} did not boot in {BOOT_LIMIT_S} s: {state or 'no answer from systemd'}")


def cable(machine: Machine) -> None:
    """p0 of every node to p1 of the next, both halves: a wire for each."""
    pids = {node: podman(machine, "inspect", "--format", "{{.State.Pid}}", PREFIX + node) for node in NODES}
    for index, node in enumerate(NODES):
        far = NODES[(index + 1) % len(NODES)]
        for near_end, far_end in zip(P0, P1, strict=True):
            veth(machine, pids[node], near_end, far_end, pids[far])
        veth(machine, pids[node], MGMT_NETDEV, "mgmt-peer", pids[node])


def veth(machine: Machine, pid: str, name: str, peer: str, peer_pid: str) -> None:
    enter = in_namespace(machine, pid)
    subprocess.run(
        [*enter, "ip", "link", "add", name, "type", "veth", "peer", "name", peer, "netns", peer_pid], check=True
    )


def up() -> None:
    machine = look()
    for tool in ("podman", "mmdebstrap"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing; molecule/packages.txt lists what the scenarios need")
    image = image_name()
    if subprocess.run(["podman", *engine_flags(machine), "image", "exists", image]).returncode:
        build_image(machine, image)
    remove(machine)
    start(machine, image)
    cable(machine)
    print(f"containers {', '.join(NODES)} are up and cabled as a triangle", flush=True)


def remove(machine: Machine) -> None:
    podman(machine, "rm", "--force", "--time", "0", "--ignore", *(PREFIX + node for node in NODES))


def main(arguments: list[str]) -> None:
    if arguments == ["up"]:
        up()
    elif arguments == ["down"]:
        remove(look())
    elif arguments == ["flags"]:
        machine = look()
        print(" ".join(["podman", *engine_flags(machine), "run", *run_flags(machine)]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
