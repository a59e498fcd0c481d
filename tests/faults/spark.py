"""A GB10 as a tree of files and commands that answer, for the probes to read. Healthy until somebody changes it.

Formats and numbers are those of tests/fixtures/probe (health-checks 3 and 8 name the systems they were seen on).
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.contracts import NodeFacts, Plan
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.facts import node_facts
from ansible_collections.gb10.cluster.plugins.module_utils.plan.hardware import HALF_PORTS, HalfPort
from ansible_collections.gb10.cluster.plugins.module_utils.plan.netplan import OWN_NETPLAN, render_netplan

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures/probe"
KERNEL = "6.17.0-1029-nvidia"
# What three healthy nodes carried from the days before (colonel-otto rdma-delta.json); only growth counts.
RESIDUE = {
    "local_ack_timeout_err": 192,
    "req_cqe_error": 64,
    "resp_cqe_error": 128,
    "packet_seq_err": 0,
    "out_of_sequence": 0,
    "rnr_nak_retry_err": 0,
}
BYTES = ("port_xmit_data", "port_rcv_data")


@dataclass
class Half:
    port: HalfPort
    address: str | None  # CIDR; None where no cable is planned
    addresses: list[str] = field(default_factory=list)
    mtu: int = 9000
    carrier: bool = True
    speed: int = 200000
    lanes: int = 4
    fec: str = "RS"
    active_mtu: int = 4096
    state: str = "ACTIVE"
    physical: str = "LINK_UP"
    bound_to: str = ""
    gids: list[tuple[str, str]] = field(default_factory=list)
    gts: str = "32.0 GT/s PCIe"
    width: int = 4
    firmware: str = "28.45.4028"
    counters: dict[str, int] = field(default_factory=lambda: dict(RESIDUE))
    drops: int = 1  # of the carrier since the boot: the boot of the other end
    vanished: bool = False  # the whole PCI function
    without_rdma: bool = False
    without_uverbs: bool = False

    def __post_init__(self) -> None:
        self.bound_to = self.port.netdev
        local = "fe80:0000:0000:0000:4ebb:47ff:fe2d:1a16"
        self.gids = [(local, "IB/RoCE v1"), (local, "RoCE v2")]
        if self.address is None:
            self.mtu, self.active_mtu, self.carrier, self.speed = 1500, 1024, False, -1
            self.state, self.physical = "DOWN", "DISABLED"
        else:
            self.addresses = [self.address]
            mapped = gid(self.address.partition("/")[0])
            self.gids += [(mapped, "IB/RoCE v1"), (mapped, "RoCE v2")]


def gid(address: str) -> str:
    packed = ipaddress.IPv4Address(address).packed.hex()
    return f"0000:0000:0000:0000:0000:ffff:{packed[:4]}:{packed[4:]}"


class Spark:
    """One node. Change what shall be wrong, then read it."""

    def __init__(self, folder: Path, plan: Plan, name: str) -> None:
        self.folder, self.name = folder / name, name
        self.root, self.bin = self.folder, self.folder / "bin"
        node = plan["nodes"][name]
        planned = {half["netdev"]: f"{half['ipv4']}/{half['prefix']}" for half in node["halves"]}
        self.halves = {f"{port.cage}:{port.half}": Half(port, planned.get(port.netdev)) for port in HALF_PORTS}
        self.other_addresses = {node["mgmt_netdev"]: [f"{node['mgmt_ip']}/24"]}
        self.routes = [
            {"dst": "default", "gateway": "192.0.2.1", "dev": node["mgmt_netdev"], "flags": []},
            *({"dst": half["subnet"], "dev": half["netdev"], "flags": []} for half in node["halves"]),
        ]
        self.files = _files(plan, name)
        self.commands: dict[str, str | None] = {  # None: not installed
            "nvidia-smi": "case \"$1\" in *gpu=*) echo 'NVIDIA GB10, 12.1, 580.95.05' ;; esac",
            "dpkg-query": "printf 'perftest\\tinstalled\\t24.01.0+0.38-1\\n'",
            "journalctl": "echo 'mlx5_pcie_event:326:(pid 12): Detected insufficient power on the PCIe slot (27W).'",
            "ping": _cat((FIXTURES / "real-debian12-ping-jumbo.txt").read_text()),
            "lldpctl": """echo '{"lldp":{"interface":{}}}'""",
        }

    # --- what to change ---

    def half(self, name: str, **values: t.Any) -> None:
        for key, value in values.items():
            if key not in Half.__dataclass_fields__:
                raise AttributeError(key)
            setattr(self.halves[name], key, value)

    def setting(self, line: str, path: str = "etc/nccl.conf") -> None:
        self.files[path] = f"{self.files.get(path, '')}{line}\n"

    def kernel_says(self, line: str) -> None:
        self.commands["journalctl"] = f"cat <<'END'\n{line}\nEND"

    # --- what reads it ---

    def write(self) -> None:
        self.bin.mkdir(parents=True)
        (self.folder / "tmp").mkdir()
        for path, text in self.files.items():
            self._file(path, text)
        present = [half for half in self.halves.values() if not half.vanished]
        for number, half in enumerate(present):
            self._netdev(half)
            if not half.without_rdma:
                self._device(half)
            if not (half.without_rdma or half.without_uverbs):
                self._file(f"dev/infiniband/uverbs{number}", "")
        answers = self._answers(present)
        for name, script in (answers | self.commands).items():
            if script is not None:
                self._command(name, script)
        for name in ("cat", "sleep", "timeout"):
            (self.bin / name).symlink_to(str(shutil.which(name)))

    def host(self) -> Host:
        # Nothing of this machine: a tool that is missing there must be missing.
        return Host(self.root, path=str(self.bin))

    def facts(self) -> NodeFacts:
        return node_facts(self.host(), self.name, ["perftest"])

    def _netdev(self, half: Half) -> None:
        port = half.port
        base, device = f"sys/class/net/{port.netdev}", f"sys/devices/{port.pci}"
        cabled = half.address is not None
        net = {
            "address": "4c:bb:47:2d:1a:16",
            "phys_port_name": port.cage,
            "phys_switch_id": "161a2d0003474bbc4c",
            "carrier": int(half.carrier),
            "operstate": "up" if half.carrier else "down",
            "speed": half.speed,
            "mtu": half.mtu,
            "carrier_down_count": half.drops if cabled else 0,
            "ifindex": 2 + HALF_PORTS.index(port),
        }
        for name, value in net.items():
            self._file(f"{base}/{name}", f"{value}\n")
        for which in ("current", "max"):
            self._file(f"{device}/{which}_link_speed", f"{half.gts if which == 'current' else '32.0 GT/s PCIe'}\n")
            self._file(f"{device}/{which}_link_width", f"{half.width if which == 'current' else 4}\n")
        self._link(f"{base}/device", f"../../../devices/{port.pci}")
        self._link(f"{device}/driver", "../../bus/pci/drivers/mlx5_core")

    def _device(self, half: Half) -> None:
        port = half.port
        base = f"sys/class/infiniband/{port.rdma}"
        self._link(f"{base}/device", f"../../../devices/{port.pci}")
        self._file(f"{base}/fw_ver", f"{half.firmware}\n")
        self._file(f"{base}/board_id", "NVD0000000087\n")
        self._file(f"{base}/ports/1/link_layer", "Ethernet\n")
        for index, (text, kind) in enumerate(half.gids):
            self._file(f"{base}/ports/1/gids/{index}", f"{text}\n")
            self._file(f"{base}/ports/1/gid_attrs/types/{index}", f"{kind}\n")
            self._file(f"{base}/ports/1/gid_attrs/ndevs/{index}", f"{port.netdev}\n")
        for name, value in half.counters.items():
            self._file(f"{base}/ports/1/hw_counters/{name}", f"{value}\n")
        for name in BYTES:
            self._file(f"{base}/ports/1/counters/{name}", "0\n")

    def _answers(self, present: list[Half]) -> dict[str, str]:
        with_rdma = [half for half in present if not half.without_rdma]
        addresses = {half.port.netdev: half.addresses for half in present} | self.other_addresses
        listed = [
            {"ifname": name, "addr_info": [_address(text) for text in found]} for name, found in addresses.items()
        ]
        return {
            "ip": f'case "$*" in\n*addr*) {_cat(listed)}\n;;\n*route*) {_cat(self.routes)}\n;;\nesac',
            "rdma": _cat([_rdma_link(half) for half in with_rdma]),
            "ibv_devinfo": _cat("\n".join(_devinfo(half) for half in with_rdma)),
            "ethtool": _ethtool(present),
        }

    def _file(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def _link(self, path: str, target: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(target)

    def _command(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def _files(plan: Plan, name: str) -> dict[str, str]:
    settings = "".join(f"{key}={value}\n" for key, value in plan["nccl_env"].get(name, {}).items())
    return {
        "proc/sys/kernel/hostname": f"{name}\n",
        "proc/sys/kernel/osrelease": f"{KERNEL}\n",
        "proc/sys/kernel/random/boot_id": f"c82c1b05-a9b9-4f27-a39c-96317639d45{name[-1]}\n",
        "proc/cmdline": "root=/dev/nvme0n1p2 ro\n",
        "proc/uptime": "86400.00 9999.00\n",
        "proc/meminfo": "MemTotal: 127600748 kB\nMemAvailable: 120000000 kB\nCmaTotal: 1048576 kB\nCmaFree: 940604 kB\n",
        "proc/self/limits": "Max locked memory         unlimited            unlimited            bytes\n",
        "etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\n',
        "etc/dgx-release": 'DGX_NAME="DGX Spark"\nDGX_OTA_VERSION="7.5.0"\n',
        "etc/nccl.conf": settings,
        OWN_NETPLAN: render_netplan(plan, name, "networkd"),
        f"boot/vmlinuz-{KERNEL}": "",
        "sys/class/dmi/id/product_name": "NVIDIA_DGX_Spark\n",
    }


def _cat(what: t.Any) -> str:
    return f"cat <<'END'\n{what if isinstance(what, str) else json.dumps(what)}\nEND"


def _address(text: str) -> dict[str, t.Any]:
    local, _slash, prefix = text.partition("/")
    return {"local": local, "prefixlen": int(prefix)}


def _rdma_link(half: Half) -> dict[str, t.Any]:
    return {
        "ifindex": 0,
        "ifname": half.port.rdma,
        "port": 1,
        "state": half.state,
        "physical_state": half.physical,
        "netdev": half.bound_to,
    }


def _devinfo(half: Half) -> str:
    state = "PORT_ACTIVE (4)" if half.state == "ACTIVE" else "PORT_DOWN (1)"
    enum = {4096: 5, 2048: 4, 1024: 3}[half.active_mtu]
    return (
        f"hca_id:\t{half.port.rdma}\n\tfw_ver:\t\t\t\t{half.firmware}\n\tboard_id:\t\t\tNVD0000000087\n\t\tport:\t1\n"
        f"\t\t\tstate:\t\t\t{state}\n\t\t\tactive_mtu:\t\t{half.active_mtu} ({enum})\n\t\t\tlink_layer:\t\tEthernet\n"
    )


def _ethtool(present: list[Half]) -> str:
    text, statistics = ((FIXTURES / name).read_text() for name in ("ethtool-mlx5.txt", "ethtool-S-mlx5.txt"))
    cases = []
    for half in present:
        link = text.replace("200000Mb/s", f"{half.speed}Mb/s" if half.speed > 0 else "Unknown!")
        link = link.replace("Lanes: 4", f"Lanes: {half.lanes}")
        fec = f"FEC parameters for x:\nActive FEC encoding: {half.fec}"
        netdev = half.port.netdev
        cases += [f"'--show-fec {netdev}') {_cat(fec)}\n;;", f"'-S {netdev}') {_cat(statistics)}\n;;"]
        cases += [f"'{netdev}') {_cat(link)}\n;;"]
    return 'case "$*" in\n' + "\n".join(cases) + "\nesac"
