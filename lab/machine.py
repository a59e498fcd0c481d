"""The QEMU command lines of a virtual Spark and of the gateway, and how they are started."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.identity import GATEWAY_IP, NETDEVS, Node
from lab.state import Process

QEMU = "qemu-system-x86_64"
MEMORY_MIB = 1024
CPUS = 1
KERNEL_ARGUMENTS = "root=/dev/vda rw console=ttyS0 quiet loglevel=3 mitigations=off 8250.nr_uarts=1"


@dataclass(frozen=True)
class Files:
    """The files that a machine uses."""

    disk: Path
    kernel: Path
    initrd: Path
    seed: Path
    console: Path
    monitor: Path
    state: Path | None = None  # saved state to resume from; None: boot


def node_command(node: Node, files: Files, accelerator: Sequence[str], nics: Mapping[str, int]) -> list[str]:
    """A virtual Spark. ``nics`` are inherited sockets by NIC name; a resumed machine waits for ``cont``."""
    command = [
        QEMU,
        *("-name", node.name, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc"),
        *accelerator,
        *("-m", str(MEMORY_MIB), "-smp", str(CPUS), "-rtc", "base=utc"),
        *("-kernel", str(files.kernel), "-initrd", str(files.initrd), "-append", KERNEL_ARGUMENTS),
        *("-smbios", f"type=1,manufacturer=NVIDIA,product=NVIDIA_DGX_Spark,serial=VIRTUAL{node.number}"),
        *("-fw_cfg", f"name=opt/gb10.lab/seed,file={_escape(files.seed)}"),
        *("-drive", f"if=none,id=disk,format=qcow2,discard=unmap,file={_escape(files.disk)}"),
        *("-device", "virtio-blk-pci,drive=disk"),
        *("-serial", f"file:{files.console}"),
        *("-qmp", f"unix:{files.monitor},server=on,wait=off"),
    ]
    for nic, descriptor in nics.items():
        command += ["-netdev", f"dgram,id={link_id(nic)},local.type=fd,local.str={descriptor}"]
        command += ["-device", _nic_device(node, nic)]
    if files.state is not None:
        command += ["-S", "-incoming", f"exec:cat {shlex.quote(str(files.state))}"]
    return command


def link_id(nic: str) -> str:
    """The name by which the monitor knows a NIC's link."""
    return f"net-{nic.replace(':', '-')}"


def _nic_device(node: Node, nic: str) -> str:
    # No PXE ROM. The two functions of a cage would share a PCI device on a Spark; virtio has no such thing.
    return (
        f"virtio-net-pci,netdev={link_id(nic)},mac={node.mac(nic)},romfile=,"
        "host_mtu=9000,speed=200000,duplex=full,rx_queue_size=1024"
    )


def gateway_command(ports: Mapping[str, int], nodes: Sequence[Node], descriptor: int) -> list[str]:
    """The way in: a machine without a CPU that forwards ports of 127.0.0.1 to the nodes' SSH, and lets nothing out."""
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{ports[node.name]}-{node.management_ip}:22" for node in nodes)
    return [
        QEMU,
        *("-machine", "none", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-netdev", f"user,id=user,restrict=on,ipv6=off,net=10.0.2.0/24,host={GATEWAY_IP}{forwards}"),
        *("-netdev", "hubport,id=hub-user,hubid=0,netdev=user"),
        *("-netdev", f"dgram,id=panel,local.type=fd,local.str={descriptor}"),
        *("-netdev", "hubport,id=hub-panel,hubid=0,netdev=panel"),
    ]


def spawn(
    argv: Sequence[str], log: Path, links: Sequence[socket.socket] = (), python_path: Path | None = None
) -> Process:
    """Start a process of the lab: in a session of its own (Ctrl-C is ours to handle), output to a log."""
    environment = dict(os.environ)
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    try:
        with log.open("ab") as output:
            started = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[link.fileno() for link in links],
                start_new_session=True,
                env=environment,
            )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed.") from None
    try:
        return Process.of(started.pid)
    except LabError:
        raise LabError(f"{argv[0]} did not start: {log.read_text(errors='replace')[-400:]}") from None


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [int(opened.getsockname()[1]) for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


def nic_names() -> list[str]:
    return list(NETDEVS)


def _escape(path: Path) -> str:
    # In QEMU's option lists a comma in a value is written twice.
    return str(path).replace(",", ",,")
