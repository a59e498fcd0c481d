"""What makes virtual Spark number n itself: names, MAC addresses, machine-id, management address, keys.

A node gets all of it once, as a seed archive, before its first systemd starts. Interface names are a Spark's
(spark-facts 2.1); tools tell Sparks apart by MAC address and machine-id, so no two nodes share one.
"""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.tarball import Entry, pack

MAX_NODES = 4
USER = "spark"
MANAGEMENT = "mgmt"
GATEWAY_IP = "10.0.2.2"
HALVES = {
    "p0:a": "enp1s0f0np0",
    "p0:b": "enP2p1s0f0np0",
    "p1:a": "enp1s0f1np1",
    "p1:b": "enP2p1s0f1np1",
}
NETDEVS = {MANAGEMENT: "enP7s7"} | HALVES
SPARK_UID = 1000


@dataclass(frozen=True)
class Node:
    """Virtual Spark number 1 to 4."""

    number: int

    @property
    def name(self) -> str:
        return f"spark{self.number}"

    @property
    def management_ip(self) -> str:
        return f"10.0.2.{10 + self.number}"

    @property
    def machine_id(self) -> str:
        return hashlib.sha256(f"gb10 lab {self.name}".encode()).hexdigest()[:32]

    def mac(self, nic: str) -> str:
        """The MAC address of a NIC: ``mgmt`` or a half such as ``p0:a``."""
        return f"52:54:00:10:{self.number:02x}:{list(NETDEVS).index(nic):02x}"


def nodes(count: int) -> list[Node]:
    return [Node(number) for number in range(1, count + 1)]


def make_key(path: Path, comment: str) -> None:
    """Make an ed25519 key pair at ``path`` and ``path.pub``."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )


def seed(node: Node, host_key: bytes, host_key_public: bytes, authorized_key: bytes) -> bytes:
    """The archive that a node unpacks over its root on the first boot."""
    ssh = f"/home/{USER}/.ssh"
    entries = [
        Entry("/etc/hostname", f"{node.name}\n".encode()),
        Entry("/etc/hosts", _hosts(node).encode()),
        Entry("/etc/machine-id", f"{node.machine_id}\n".encode(), mode=0o444),
        Entry("/etc/systemd/network/10-lab-management.network", _management(node).encode()),
        Entry("/etc/ssh/ssh_host_ed25519_key", host_key, mode=0o600),
        Entry("/etc/ssh/ssh_host_ed25519_key.pub", host_key_public),
        Entry(f"{ssh}/authorized_keys", authorized_key, mode=0o600, owner=SPARK_UID),
    ]
    entries += [
        Entry(f"/etc/systemd/network/00-lab-{netdev}.link", _link(node, nic, netdev).encode())
        for nic, netdev in NETDEVS.items()
    ]
    return pack(entries, folders=[(ssh, 0o700, SPARK_UID)])


def _hosts(node: Node) -> str:
    # The trap of DGX OS: the node's own name is a loopback address, and rank 0 binds to it (spark-facts 2.5).
    return f"127.0.0.1 localhost\n127.0.1.1 {node.name}\n::1 localhost ip6-localhost ip6-loopback\n"


def _management(node: Node) -> str:
    return (
        f"[Match]\nName={NETDEVS[MANAGEMENT]}\n\n"
        f"[Network]\nAddress={node.management_ip}/24\nGateway={GATEWAY_IP}\nDHCP=no\nIPv6AcceptRA=no\n"
    )


def _link(node: Node, nic: str, netdev: str) -> str:
    # virtio takes host_mtu for its first MTU; a Spark's ports come up with 1500 (spark-facts 2.3).
    return f"[Match]\nMACAddress={node.mac(nic)}\n\n[Link]\nName={netdev}\nMTUBytes=1500\n"
