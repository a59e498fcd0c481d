# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One read of everything passive that a node can say about itself (health-checks 2.1 and 2.2).

Read-only. A command that is missing, fails or prints something else becomes a sentence in ``problems`` and a value that
is not known; it never ends the read. All commands are started at once and collected afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
import typing as t

from ..plan.netplan import is_owned
from ..probe.counters import phy_errors
from ..probe.devinfo import PortInfo, parse_devinfo
from ..probe.error import ProbeError, excerpt
from ..probe.ethtool import parse_fec, parse_link, parse_module, parse_pause, parse_statistics
from ..probe.halves import KNOWN_NAMES, is_pci_address, kernel_order, parse_speed_gts, place
from ..probe.kernel_log import parse_kernel_log
from ..probe.links import Interface, parse_addresses, parse_lldp, parse_rdma_links, parse_routes
from ..probe.system import (
    OTA_CHECK,
    netplan_interfaces,
    parse_assignments,
    parse_dgx_release,
    parse_gpu_processes,
    parse_gpus,
    parse_meminfo,
    parse_memlock_kib,
    parse_nccl_conf,
    parse_packages,
    parse_torn_percent,
)
from ..verdict.admission import ADMISSION_FILE, VERIFIER
from .sysfs import INFINIBAND, error_counters, gids_of, rdma_devices
from .window import boot_id, uptime_s

if t.TYPE_CHECKING:
    from ..contracts import (
        AdmissionFacts,
        HalfFacts,
        NcclFileFacts,
        NetplanFile,
        NodeFacts,
        PcieFacts,
        RdmaFacts,
        RouteFacts,
    )
    from ..host import Host, Process
    from ..probe.links import RdmaLink

SCHEMA = "1"
_NET = "/sys/class/net"
_TIMEOUT_S = 15
_MLX5 = "mlx5_core"
_TOOLS = (
    "ib_write_bw",
    "ib_write_lat",
    "ibv_devinfo",
    "rdma",
    "ethtool",
    "lldpctl",
    "nvidia-smi",
    "netplan",
    OTA_CHECK,
)
_NETPLAN_FOLDERS = ("/etc/netplan", "/run/netplan", "/lib/netplan")
_DMI = ("sys_vendor", "product_name", "board_vendor", "board_name", "bios_vendor", "bios_version", "bios_date")

# What exists only while the service runs.
_TIME_SERVICES = (
    ("systemd-timesyncd", "/run/systemd/timesync"),
    ("chrony", "/run/chrony/chronyd.pid"),
    ("ntpd", "/run/ntpd.pid"),
)

T = t.TypeVar("T")


class _Commands:
    """Commands that run side by side, and what went wrong with them."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._started: dict[str, Process] = {}
        self._deadline = time.monotonic() + _TIMEOUT_S  # one for all: ten hanging tools cost no more than one
        self.problems: list[str] = []

    def start(self, key: str, argv: list[str]) -> None:
        self._started[key] = self._host.start(argv)

    def read(self, key: str, parse: t.Callable[[str], T], accept: tuple[int, ...] = (0,)) -> T | None:
        """What a command said, parsed. None, and a problem, when it did not say it."""
        process = self._started.get(key)
        if process is None:
            return None
        result = process.wait(max(self._deadline - time.monotonic(), 0.1))
        command = " ".join(result.argv[:4])
        if result.rc not in accept:
            said = (result.stderr or result.stdout).strip().splitlines()
            self.problems.append(f"`{command}` ended with {result.rc}" + (f": {said[-1][:160]}" if said else ""))
            return None
        try:
            return parse(result.stdout)
        except ProbeError as error:
            self.problems.append(str(error))
            return None


def node_facts(host: Host, node: str, packages: t.Sequence[str] = ()) -> NodeFacts:
    """Everything passive about a node."""
    commands = _Commands(host)
    netdevs = _fabric_netdevs(host)
    _start_all(commands, host, netdevs, packages)
    interfaces = commands.read("addresses", parse_addresses)
    halves = _halves(host, commands, netdevs, interfaces)
    installed = commands.read("packages", parse_packages, accept=(0, 1)) or {}
    return {
        "schema": SCHEMA,
        "node": node,
        "hostname": host.read_line("/proc/sys/kernel/hostname") or "",
        "boot_id": boot_id(host),
        "uptime_s": uptime_s(host),
        "kernel": host.read_line("/proc/sys/kernel/osrelease") or "",
        "cmdline": host.read_line("/proc/cmdline") or "",
        "architecture": os.uname().machine,
        "os_id": _assignments(host, "/etc/os-release").get("ID"),
        "os_version": _assignments(host, "/etc/os-release").get("VERSION_ID"),
        "python": platform.python_version(),
        "dmi": {name: value for name in _DMI if (value := host.read_line(f"/sys/class/dmi/id/{name}"))},
        "dgx_release": parse_dgx_release(host.read("/etc/dgx-release") or ""),
        "fastos_version": _fastos_version(host),
        "gpus": commands.read("gpus", parse_gpus),
        "gpu_processes": commands.read("gpu processes", parse_gpu_processes),
        "memory_kib": _memory(host, commands.problems),
        "memlock_kib": parse_memlock_kib(host.read("/proc/self/limits") or ""),
        "uverbs": [name for name in host.names("/dev/infiniband") if name.startswith("uverbs")],
        "halves": halves,
        "addresses": None if interfaces is None else {item.name: list(item.addresses) for item in interfaces},
        "routes": _routes(commands),
        "lldp": _lldp(commands),
        "nccl_files": _nccl_files(host),
        "netplan_files": _netplan_files(host, halves),
        "renderer": _renderer(host, netdevs),
        "packages": {name: installed.get(name) for name in packages},
        "tools": {tool: host.which(tool) for tool in _TOOLS},
        "time_sync": next((name for name, path in _TIME_SERVICES if host.exists(path)), None),
        "reboot_required": host.exists("/run/reboot-required"),
        "newest_kernel": _newest_kernel(host),
        "ota_torn_percent": commands.read("update", parse_torn_percent),
        "hazards": _hazards(host),
        "kernel_log": commands.read("kernel log", parse_kernel_log),
        "gpu_module": host.read_line("/sys/module/nvidia/version"),
        "admission": _admission(host, commands),
        "problems": commands.problems,
    }


def _start_all(commands: _Commands, host: Host, netdevs: t.Sequence[str], packages: t.Sequence[str]) -> None:
    commands.start("kernel log", ["journalctl", "-k", "-b", "-q", "-o", "cat", "--no-pager"])
    commands.start("addresses", ["ip", "-j", "addr"])
    if host.exists(VERIFIER):
        # What a unit would be told, by the program that tells it.
        verifier = [sys.executable, "-IS", str(host.path(VERIFIER)), "--root", str(host.root), "state"]
        commands.start("admission", verifier)
    commands.start("routes", ["ip", "-j", "-4", "route"])
    commands.start("gpus", ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"])
    commands.start(
        "gpu processes", ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    )
    if rdma_devices(host):
        commands.start("rdma", ["rdma", "-j", "link"])
        commands.start("devinfo", ["ibv_devinfo"])
    if host.which("lldpctl"):
        commands.start("lldp", ["lldpctl", "-f", "json"])
    if host.which(OTA_CHECK):
        # The one subcommand that only reads: `is-ota-available` updates the tool itself first.
        commands.start("update", [OTA_CHECK, "torn-score"])
    if packages:
        form = "${Package}\t${db:Status-Status}\t${Version}\n"
        commands.start("packages", ["dpkg-query", "-W", "-f", form, *packages])
    for netdev in netdevs:
        # Lanes, FEC and PHY counters exist in hardware only; a virtual NIC has told everything in sysfs.
        if _driver(host, netdev) == _MLX5:
            commands.start(f"link {netdev}", ["ethtool", netdev])
            commands.start(f"fec {netdev}", ["ethtool", "--show-fec", netdev])
            commands.start(f"statistics {netdev}", ["ethtool", "-S", netdev])
            commands.start(f"pause {netdev}", ["ethtool", "-a", netdev])
            if host.read_int(f"{_NET}/{netdev}/carrier") == 1:  # an empty cage answers with an error
                commands.start(f"module {netdev}", ["ethtool", "-m", netdev])


# --- fabric interfaces ---


def _fabric_netdevs(host: Host) -> list[str]:
    """Netdevs with an RDMA device, with a Spark's name, or of a ConnectX port that says p0 or p1."""
    with_rdma = {netdev for device in rdma_devices(host) if (netdev := _netdev_of(host, device))}
    return [
        netdev
        for netdev in host.names(_NET)
        if netdev in with_rdma
        or netdev in KNOWN_NAMES
        or (_driver(host, netdev) == _MLX5 and host.read_line(f"{_NET}/{netdev}/phys_port_name") in ("p0", "p1"))
    ]


def _netdev_of(host: Host, device: str) -> str | None:
    return host.read_line(f"{INFINIBAND}/{device}/ports/1/gid_attrs/ndevs/0") or None


def _driver(host: Host, netdev: str) -> str | None:
    return host.link_name(f"{_NET}/{netdev}/device/driver")


def _halves(
    host: Host, commands: _Commands, netdevs: t.Sequence[str], interfaces: t.Sequence[Interface] | None
) -> list[HalfFacts]:
    links = commands.read("rdma", parse_rdma_links) or []
    infos = {info.device: info for info in commands.read("devinfo", parse_devinfo) or []}
    addresses = None if interfaces is None else {item.name: item.addresses for item in interfaces}
    rdma = {link.netdev: link for link in links if link.netdev}
    return [
        _half(host, commands, netdev, _ipv4(addresses, netdev), _rdma_facts(host, rdma.get(netdev), infos))
        for netdev in netdevs
    ]


def _ipv4(addresses: t.Mapping[str, t.Sequence[str]] | None, netdev: str) -> list[str] | None:
    return None if addresses is None else [address for address in addresses.get(netdev, ()) if ":" not in address]


def _half(host: Host, commands: _Commands, netdev: str, ipv4: list[str] | None, rdma: RdmaFacts | None) -> HalfFacts:
    base = f"{_NET}/{netdev}"
    pci = host.link_name(f"{base}/device")
    port_name = host.read_line(f"{base}/phys_port_name")
    cage, half = place(netdev, port_name, pci)
    carrier = host.read_int(f"{base}/carrier")
    speed = host.read_int(f"{base}/speed")
    ethtool = commands.read(f"link {netdev}", parse_link)
    statistics = commands.read(f"statistics {netdev}", parse_statistics) or {}
    return {
        "netdev": netdev,
        "mac": host.read_line(f"{base}/address"),
        "driver": _driver(host, netdev),
        "cage": cage,
        "half": half,
        "phys_port_name": port_name,
        "phys_switch_id": host.read_line(f"{base}/phys_switch_id"),
        "carrier": None if carrier is None else carrier == 1,
        "operstate": host.read_line(f"{base}/operstate"),
        "speed_mbps": speed if speed is not None and speed > 0 else None,  # -1: unknown
        "lanes": ethtool.lanes if ethtool else None,
        "fec": commands.read(f"fec {netdev}", parse_fec),
        "mtu": host.read_int(f"{base}/mtu"),
        "carrier_down_count": host.read_int(f"{base}/carrier_down_count"),
        "ipv4": ipv4,
        "rdma": rdma,
        "pcie": _pcie(host, f"{base}/device", pci),
        "counters": (error_counters(host, rdma["device"]) if rdma else {}) | phy_errors(statistics),
        "module": commands.read(f"module {netdev}", parse_module),
        "pause": commands.read(f"pause {netdev}", parse_pause),
    }


def _rdma_facts(host: Host, link: RdmaLink | None, infos: t.Mapping[str, PortInfo]) -> RdmaFacts | None:
    if link is None:
        return None
    base = f"{INFINIBAND}/{link.device}"
    info = infos.get(link.device)
    return {
        "device": link.device,
        "port": link.port,
        "state": link.state,
        "physical_state": link.physical_state,
        "netdev": link.netdev,
        "link_layer": host.read_line(f"{base}/ports/{link.port}/link_layer"),
        "active_mtu": info.active_mtu if info else None,
        "fw_ver": host.read_line(f"{base}/fw_ver") or (info.fw_ver if info else None),
        "board_id": host.read_line(f"{base}/board_id") or (info.board_id if info else None),
        "gids": gids_of(host, link.device),
    }


def _pcie(host: Host, device: str, address: str | None) -> PcieFacts | None:
    if address is None or not is_pci_address(address):
        return None
    return {
        "address": address,
        "current_speed_gts": parse_speed_gts(host.read_line(f"{device}/current_link_speed")),
        "current_width": host.read_int(f"{device}/current_link_width"),
        "max_speed_gts": parse_speed_gts(host.read_line(f"{device}/max_link_speed")),
        "max_width": host.read_int(f"{device}/max_link_width"),
    }


def _renderer(host: Host, netdevs: t.Sequence[str]) -> str | None:
    """Who manages the first fabric interface that anybody manages, from the state files of both candidates."""
    for netdev in netdevs:
        index = host.read_line(f"{_NET}/{netdev}/ifindex")
        if parse_assignments(host.read(f"/run/systemd/netif/links/{index}") or "").get("NETWORK_FILE"):
            return "networkd"
        if "connection-uuid=" in (host.read(f"/run/NetworkManager/devices/{index}") or ""):
            return "NetworkManager"
    return None


def _routes(commands: _Commands) -> list[RouteFacts] | None:
    routes = commands.read("routes", parse_routes)
    if routes is None:
        return None
    return [
        {"dst": route.dst, "dev": route.dev, "gateway": route.gateway, "linkdown": route.linkdown} for route in routes
    ]


def _lldp(commands: _Commands) -> list[t.Any] | None:
    peers = commands.read("lldp", parse_lldp)
    if peers is None:
        return None
    return [{"netdev": peer.netdev, "chassis": peer.chassis, "port": peer.port} for peer in peers]


def _admission(host: Host, commands: _Commands) -> AdmissionFacts:
    """As it was before this run."""
    if not host.exists(ADMISSION_FILE):
        return {"state": "absent", "reason": "no admission was given yet", "expires": None}
    said = commands.read("admission", _parse_admission)
    if said is None:
        reason = f"{ADMISSION_FILE} is there, but {VERIFIER} is not, or gives no answer"
        return {"state": "unreadable", "reason": reason, "expires": None}
    return said


def _parse_admission(text: str) -> AdmissionFacts:
    try:
        said = json.loads(text)
        return {"state": said["state"], "reason": said["reason"], "expires": said["expires"]}
    except (KeyError, TypeError, ValueError):
        raise ProbeError(f"{VERIFIER} gave no state but {excerpt(text)}") from None


# --- files ---


def _assignments(host: Host, path: str) -> dict[str, str]:
    return parse_assignments(host.read(path) or "")


def _fastos_version(host: Host) -> str | None:
    text = host.read("/etc/fastos-release") or ""
    return parse_assignments(text).get("VERSION") or text.strip() or None


def _memory(host: Host, problems: list[str]) -> dict[str, int]:
    try:
        return parse_meminfo(host.read("/proc/meminfo") or "")
    except ProbeError as error:
        problems.append(str(error))
        return {}


def _nccl_files(host: Host) -> list[NcclFileFacts]:
    """The files that NCCL reads by itself: of the system, of root, of every user, and the one the environment names."""
    paths = ["/etc/nccl.conf", "/root/.nccl.conf", *(f"/home/{user}/.nccl.conf" for user in host.names("/home"))]
    named = _assignments(host, "/etc/environment").get("NCCL_CONF_FILE")
    if named and named not in paths:
        paths.append(named)
    texts = ((path, host.read(path)) for path in paths)
    return [{"path": path, "settings": parse_nccl_conf(text)} for path, text in texts if text is not None]


def _netplan_files(host: Host, halves: t.Sequence[HalfFacts]) -> list[NetplanFile]:
    macs = {half["netdev"]: half["mac"] for half in halves}
    drivers = {half["netdev"]: half["driver"] for half in halves}
    files: list[NetplanFile] = []
    for folder in _NETPLAN_FOLDERS:
        for name in host.names(folder):
            text = host.read(f"{folder}/{name}") if name.endswith(".yaml") else None
            if text is not None:
                files.append(
                    {
                        "path": f"{folder}/{name}",
                        "interfaces": netplan_interfaces(text, macs, drivers),
                        "owned": is_owned(text),
                        "sha256": hashlib.sha256(text.encode()).hexdigest(),
                    }
                )
    return files


def _newest_kernel(host: Host) -> str | None:
    releases = [name.removeprefix("vmlinuz-") for name in host.names("/boot") if name.startswith("vmlinuz-")]
    return max(releases or host.names("/lib/modules"), key=kernel_order, default=None)


def _hazards(host: Host) -> list[str]:
    """What will change the fabric sooner or later (N12)."""
    found = []
    if any(line.startswith("mstflint_access ") for line in (host.read("/proc/modules") or "").splitlines()):
        found.append("the kernel module mstflint_access is loaded")
    if host.exists("/var/lib/dpkg/info/mlnx-fw-updater.list"):
        found.append("the package mlnx-fw-updater is installed: it flashes the NIC during an ordinary upgrade")
    apt = "".join(host.read(f"/etc/apt/apt.conf.d/{name}") or "" for name in host.names("/etc/apt/apt.conf.d"))
    lines = [line for line in apt.splitlines() if not line.lstrip().startswith(("//", "#"))]
    automatic = any("APT::Periodic::Unattended-Upgrade" in line and '"0"' not in line for line in lines)
    if automatic and not any("nvidia" in line.lower() for line in lines):
        found.append("unattended upgrades are on and may replace the driver and the kernel")
    return found
