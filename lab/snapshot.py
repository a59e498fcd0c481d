"""Pristine nodes, ready to resume: each booted once, then kept as a disk and a saved state.

What a node is does not depend on the cabling (that is the panel's), so one snapshot per node serves every topology. The
state is QEMU's migration stream in a file rather than a snapshot inside the disk image: disks of running labs are then
thin overlays of one cached disk, nothing is copied, and labs of several checkouts share the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import identity
from lab.accel import Accelerator
from lab.errors import LabError
from lab.identity import Node
from lab.image import READY_MARKER, Image
from lab.machine import Files, nic_names, node_command, spawn
from lab.panel import nic_link
from lab.progress import Step
from lab.qmp import Qmp
from lab.state import Process

BOOT_SECONDS = 420
NOT_READY_MARKER = "GB10-LAB-NOT-READY"


@dataclass(frozen=True)
class Snapshot:
    """A pristine node in the cache."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def seed(self) -> Path:
        return self.folder / "seed.tar"

    @property
    def host_key(self) -> str:
        return (self.folder / "host_key.pub").read_text().strip()


def keep(disk: Path, monitor: Path, origin: Snapshot, folder: Path) -> Snapshot:
    """Stop a running node and keep it as it is: its disk, its state, and who it is. It does not run afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kept = Snapshot(folder)
    with Qmp(monitor) as machine:
        machine.save(kept.state)
        machine.command("quit")
    disk.rename(kept.disk)
    for file in (origin.seed, origin.folder / "host_key.pub"):
        shutil.copy2(file, folder / file.name)
    return kept


def ensure(image: Image, accelerator: Accelerator, nodes: Sequence[Node]) -> dict[str, Snapshot]:
    """A snapshot of every node; those that the cache lacks are booted, all at once."""
    folder = image.folder / f"{accelerator.key}-{_machine_key(accelerator)}"
    folder.mkdir(exist_ok=True)
    missing = [node for node in nodes if not (folder / node.name).exists()]
    if missing:
        usual = f"{60 + 25 * len(missing)} s emulated, 15 s with KVM"
        with Step(f"first boot of {', '.join(node.name for node in missing)}", usual) as step:
            _prepare(image, accelerator, missing, folder, step)
    return {node.name: Snapshot(folder / node.name) for node in nodes}


def _machine_key(accelerator: Accelerator) -> str:
    """Changes with the virtual hardware: a saved state fits only the machine that it was saved from."""
    nowhere = Path()
    files = Files(nowhere, nowhere, nowhere, nowhere, nowhere, nowhere)
    command = node_command(Node(1), files, accelerator.arguments, dict.fromkeys(nic_names(), 0))
    return hashlib.sha256("\n".join(command).encode()).hexdigest()[:12]


def overlay(disk: Path, backing: Path, backing_format: str) -> None:
    """A thin disk over another that is only read."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing.resolve()), "-F", backing_format, str(disk)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LabError("qemu-img is not installed (Debian and Ubuntu: package qemu-utils).") from None
    if done.returncode != 0:
        raise LabError(f"Making the disk {disk} failed: {done.stderr.strip()}")


def _prepare(image: Image, accelerator: Accelerator, nodes: Sequence[Node], folder: Path, step: Step) -> None:
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
    sockets = Path(tempfile.mkdtemp(prefix="gb10-lab-"))
    processes: dict[str, Process] = {}
    try:
        for node in nodes:
            processes[node.name] = _boot(image, accelerator, node, building / node.name, sockets)
        waiting = list(nodes)
        deadline = time.monotonic() + BOOT_SECONDS
        while waiting:
            for node in [node for node in waiting if _ready(building / node.name, node, processes[node.name])]:
                _save(building / node.name, sockets / node.name)
                (building / node.name).rename(folder / node.name)
                waiting.remove(node)
                step.note(f"{len(nodes) - len(waiting)} of {len(nodes)}")
            if time.monotonic() > deadline:
                raise LabError(_too_late(building / waiting[0].name, waiting[0]))
            time.sleep(0.2)
    finally:
        for process in processes.values():
            process.end(patience=2)
        for rest in (building, sockets):
            shutil.rmtree(rest, ignore_errors=True)


def _boot(image: Image, accelerator: Accelerator, node: Node, work: Path, sockets: Path) -> Process:
    work.mkdir()
    snapshot = Snapshot(work)
    overlay(snapshot.disk, image.root, "raw")
    identity.make_key(work / "host_key", node.name)
    key, public, authorized = ((work / "host_key"), (work / "host_key.pub"), image.key.with_suffix(".pub"))
    snapshot.seed.write_bytes(identity.seed(node, key.read_bytes(), public.read_bytes(), authorized.read_bytes()))
    key.unlink()
    files = Files(snapshot.disk, image.kernel, image.initrd, snapshot.seed, work / "console", sockets / node.name)
    with contextlib.ExitStack() as stack:
        # The far ends are closed again at once: while it boots, the node talks to nobody.
        links = {}
        for nic in nic_names():
            near, far = nic_link()
            stack.enter_context(near)
            stack.enter_context(far)
            links[nic] = near
        command = node_command(node, files, accelerator.arguments, {nic: link.fileno() for nic, link in links.items()})
        return spawn(command, work / "qemu.log", list(links.values()))


def _ready(work: Path, node: Node, process: Process) -> bool:
    console = (work / "console").read_text(errors="replace") if (work / "console").exists() else ""
    if NOT_READY_MARKER in console or not process.alive:
        raise LabError(_too_late(work, node))
    return READY_MARKER in console


def _save(work: Path, monitor: Path) -> None:
    with Qmp(monitor) as machine:
        machine.save(work / "state")
        machine.command("quit")
    for leftover in ("console", "qemu.log"):
        (work / leftover).unlink(missing_ok=True)


def _too_late(work: Path, node: Node) -> str:
    tail = []
    for name in ("console", "qemu.log"):
        if (work / name).exists():
            tail += (work / name).read_text(errors="replace").splitlines()[-8:]
    return f"{node.name} did not come up in its first boot. The last lines of its console:\n" + "\n".join(tail)
