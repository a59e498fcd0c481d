"""The base of the system as it is live, seen without our own code."""

from __future__ import annotations

import json

import pytest
from nodes import FABRIC, HOSTS
from testinfra.host import Host

testinfra_hosts = HOSTS


@pytest.fixture
def name(host: Host) -> str:
    return host.check_output("hostname")


def test_kernel_values_are_live_and_persistent(host: Host) -> None:
    assert host.file("/proc/sys/net/ipv4/tcp_keepalive_time").content_string.strip() == "600"
    assert host.file("/etc/sysctl.d/90-gb10.conf").content_string.splitlines()[1:] == [
        "net.ipv4.tcp_keepalive_time = 600"
    ]


def test_memory_is_kept_for_the_way_in(host: Host) -> None:
    assert host.check_output("systemctl show --property MemoryMin system.slice") == f"MemoryMin={256 * 1024 * 1024}"


def test_what_is_installed_is_held_and_nothing_else(host: Host) -> None:
    assert host.check_output("apt-mark showhold") == "nvidia-modprobe"


def test_apt_refuses_what_breaks_nics(host: Host) -> None:
    tried = host.run("apt-get -s install mlnx-fw-updater")
    assert tried.rc != 0
    assert "no installation candidate" in tried.stderr


def test_the_firewall_is_in_force_and_will_be_after_a_start(host: Host) -> None:
    table = json.loads(host.check_output("nft -j list table inet gb10"))["nftables"]
    policies = {item["chain"]["hook"]: item["chain"]["policy"] for item in table if "chain" in item}
    assert policies == {"input": "drop", "forward": "accept"}
    assert host.check_output("systemctl is-enabled gb10-firewall.service") == "enabled"
    assert host.check_output("systemctl is-active gb10-firewall.service") == "active"
    assert not host.file("/var/lib/gb10/base/pending").exists


def _answers(host: Host, netdev: str, address: str, port: int, protocol: str = "tcp") -> bool:
    kind = "SOCK_STREAM" if protocol == "tcp" else "SOCK_DGRAM"
    program = (
        f"import socket; s = socket.socket(socket.AF_INET, socket.{kind}); s.settimeout(2)\n"
        f"s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'{netdev}')\n"
        f"s.connect(('{address}', {port})); s.send(b'x'); s.recv(1)"
    )
    # Nobody listens there, so a node that lets us in refuses at once, and one that does not is silent.
    return "Connection refused" in host.run(f'python3 -c "{program}"').stderr


def test_peers_are_let_in_wholesale_over_every_half(host: Host, name: str) -> None:
    own = {cidr.rsplit(".", 1)[0]: netdev for netdev, cidr in FABRIC[name].items()}
    far = [
        (own[cidr.rsplit(".", 1)[0]], cidr.split("/")[0])
        for node, halves in FABRIC.items()
        if node != name
        for cidr in halves.values()
        if cidr.rsplit(".", 1)[0] in own
    ]
    assert len(far) == 4
    for netdev, address in far:
        assert _answers(host, netdev, address, 40000), f"TCP {netdev} to {address}"
        assert _answers(host, netdev, address, 4791, "udp"), f"RoCE {netdev} to {address}"


def test_a_stranger_reaches_ssh_and_the_api_and_nothing_else(host: Host) -> None:
    host.check_output("ip netns add stranger")
    try:
        host.check_output("ip link add outside type veth peer name stranger netns stranger")
        host.check_output("ip addr add 198.51.100.1/24 dev outside && ip link set outside up")
        inside = "ip netns exec stranger"
        host.check_output(f"{inside} ip addr add 198.51.100.2/24 dev stranger && {inside} ip link set stranger up")
        reached = {port: _tcp(host, inside, port) for port in (22, 8000, 8080, 11000)}
        assert reached == {22: True, 8000: True, 8080: False, 11000: False}
        assert host.run(f"{inside} ping -c 1 -W 2 198.51.100.1").rc == 0
    finally:
        host.run("ip link delete outside; ip netns delete stranger")


def _tcp(host: Host, inside: str, port: int) -> bool:
    program = f"import socket; socket.create_connection(('198.51.100.1', {port}), 2)"
    return "Connection refused" in host.run(f'{inside} python3 -c "{program}"').stderr


def test_what_is_not_installed_is_left_alone(host: Host) -> None:
    for path in (
        "/etc/apt/apt.conf.d/52gb10-unattended-upgrades",
        "/etc/default/grub.d",
        "/etc/ssh/sshd_config.d/10-gb10.conf",
    ):
        assert not host.file(path).exists
