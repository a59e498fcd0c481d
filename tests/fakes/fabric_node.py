"""A node for the fabric tests: a tree of files and commands that act on it.

The commands are stand-ins that keep the node's links in one JSON file. networkctl and nmcli put into force what the
generator has written, as the real ones do; each call is logged; a file `fail-COMMAND` makes a command fail.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

COMMANDS = ["ip", "netplan", "networkctl", "nmcli", "systemctl", "systemd-run"]
FABRIC = ["enp1s0f0np0", "enP2p1s0f0np0", "enp1s0f1np1", "enP2p1s0f1np1"]
MGMT = "enP7s7"


class FakeNode:
    """The tree, its commands in `bin`, and what tests ask about it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        (self.root / "etc/netplan").mkdir(parents=True)
        self.links: dict[str, dict[str, t.Any]] = {
            name: {"mtu": 1500, "carrier": True, "addresses": []} for name in [*FABRIC, MGMT]
        }
        self.links[MGMT]["addresses"] = ["192.0.2.11/24"]
        for command in COMMANDS:
            self.install(command)
        self.save()

    @property
    def path(self) -> str:
        return f"{self.bin}:/usr/bin:/bin"

    def install(self, command: str) -> None:
        script = self.bin / command
        here = Path(__file__).resolve()
        # -S: a start without site-packages takes a third of the time; only netplan reads YAML.
        python = sys.executable if command == "netplan" else f"{sys.executable} -S"
        script.write_text(f'#!/bin/sh\nexec {python} {here} {self.bin.parent} {command} "$@"\n')
        script.chmod(0o755)

    def remove(self, command: str) -> None:
        (self.bin / command).unlink()

    def save(self) -> None:
        (self.bin.parent / "links.json").write_text(json.dumps(self.links))
        for name, link in self.links.items():
            folder = self.root / "sys/class/net" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "mtu").write_text(f"{link['mtu']}\n")
            (folder / "carrier").write_text(f"{int(link['carrier'])}\n")
            (folder / "flags").write_text("0x1003\n")

    def load(self) -> dict[str, dict[str, t.Any]]:
        self.links = json.loads((self.bin.parent / "links.json").read_text())
        return self.links

    def change(self, netdev: str, **values: t.Any) -> None:
        self.load()[netdev].update(values)
        self.save()

    def unplug(self, netdev: str) -> None:
        self.change(netdev, carrier=False)

    def fail(self, command: str, message: str = "it broke") -> None:
        (self.bin.parent / f"fail-{command}").write_text(message)

    def mend(self, command: str) -> None:
        (self.bin.parent / f"fail-{command}").unlink()

    def write(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def read(self, path: str) -> str | None:
        target = self.root / path.lstrip("/")
        return target.read_text() if target.exists() else None

    def files(self, folder: str) -> list[str]:
        top = self.root / folder.lstrip("/")
        return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())

    @property
    def calls(self) -> list[str]:
        log = self.bin.parent / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def forget_calls(self) -> None:
        (self.bin.parent / "calls").unlink(missing_ok=True)

    def live(self, netdev: str) -> tuple[int, list[str]]:
        link = self.load()[netdev]
        return link["mtu"], link["addresses"]

    @property
    def armed(self) -> list[str] | None:
        """The command that the revert timer would run."""
        file = self.bin.parent / "armed.json"
        return json.loads(file.read_text()) if file.exists() else None

    def time_is_up(self) -> None:
        """The revert timer fires, in an environment like systemd's: no controller, no Python of ours."""
        command = self.armed
        assert command is not None, "no revert timer is armed"
        (self.bin.parent / "armed.json").unlink()
        subprocess.run(command, env={"PATH": self.path}, check=False, capture_output=True)


# --- the commands: `fabric_node.py FOLDER COMMAND ARGUMENTS...` ---


def _addr_show(links: dict[str, dict[str, t.Any]]) -> None:
    entries = []
    for index, (name, link) in enumerate(links.items(), 1):
        flags = ["BROADCAST", "MULTICAST", "UP"] + (["LOWER_UP"] if link["carrier"] else ["NO-CARRIER"])
        info = []
        for cidr in link["addresses"]:
            local, prefix = cidr.split("/")
            family = "inet6" if ":" in local else "inet"
            scope = "link" if local.startswith("fe80") else "global"
            info.append({"family": family, "local": local, "prefixlen": int(prefix), "scope": scope})
            info[-1] |= {"dynamic": True} if cidr in link.get("dynamic", []) else {}
        mac = f"02:00:00:00:00:{index:02x}"
        entries.append({"ifname": name, "flags": flags, "mtu": link["mtu"], "address": mac, "addr_info": info})
    print(json.dumps(entries))


def _ip(node: FakeNode, arguments: list[str]) -> int:
    links = node.load()
    match arguments:
        case ["-j", "addr", "show"]:
            _addr_show(links)
        case ["link", "set", "dev", netdev, "mtu", mtu]:
            links[netdev]["mtu"] = int(mtu)
        case ["addr", "del", cidr, "dev", netdev]:
            if cidr not in links[netdev]["addresses"]:
                return 2
            links[netdev]["addresses"].remove(cidr)
        case ["addr", "replace", cidr, "dev", netdev]:
            if cidr not in links[netdev]["addresses"]:
                links[netdev]["addresses"].append(cidr)
        case _:
            print(f"ip: unexpected {arguments}", file=sys.stderr)
            return 1
    node.save()
    return 0


def _interfaces(root: Path) -> dict[str, dict[str, t.Any]]:
    import yaml

    found: dict[str, dict[str, t.Any]] = {}
    for file in sorted((root / "etc/netplan").glob("*.yaml")):
        found |= yaml.safe_load(file.read_text())["network"].get("ethernets", {})
    return found


def _netplan(node: FakeNode, arguments: list[str]) -> int:
    root = Path(arguments[2]) if arguments[1:2] == ["--root-dir"] else node.root
    try:
        interfaces = _interfaces(root)
    except Exception as error:
        print(f"Error in network definition: {error}", file=sys.stderr)
        return 78
    networkd, manager = root / "run/systemd/network", root / "run/NetworkManager/system-connections"
    for old in [*networkd.glob("10-netplan-*"), *manager.glob("netplan-*")]:
        old.unlink()
    for name, wanted in interfaces.items():
        addresses = "".join(f"Address={cidr}\n" for cidr in wanted.get("addresses", []))
        if wanted.get("renderer") == "NetworkManager":
            file, head = manager / f"netplan-{name}.nmconnection", f"[connection]\ninterface-name={name}\n"
        else:
            file, head = networkd / f"10-netplan-{name}.network", f"[Match]\nName={name}\n"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{head}MTUBytes={wanted.get('mtu', '')}\n{addresses}")
    return 0


def _apply(node: FakeNode, netdev: str, file: Path, with_mtu: bool = True) -> None:
    link = node.load()[netdev]
    text = file.read_text() if file.exists() else ""
    mtu = re.search(r"MTUBytes=(\d+)", text)
    link["addresses"] = re.findall(r"Address=(\S+)", text) if link["carrier"] else []
    if mtu and with_mtu:
        link["mtu"] = int(mtu.group(1))
    node.save()


def _networkctl(node: FakeNode, arguments: list[str]) -> int:
    running = (node.bin.parent / "networkd-stopped").exists() is False
    if not running:
        return 1
    for netdev in arguments[1:] if arguments[0] == "reconfigure" else []:
        _apply(node, netdev, node.root / f"run/systemd/network/10-netplan-{netdev}.network")
    return 0


def _nmcli(node: FakeNode, arguments: list[str]) -> int:
    match arguments:
        case ["-t", "-f", "DEVICE,STATE", "device", "status"]:
            managed = (node.bin.parent / "nm-manages").exists()
            for netdev in node.load():
                print(f"{netdev}:{'connected' if managed else 'unmanaged'}")
        case ["--wait", _, "connection", "up", profile, "ifname", netdev]:
            file = node.root / f"run/NetworkManager/system-connections/{profile}.nmconnection"
            if not file.exists():
                return 10
            _apply(node, netdev, file, with_mtu=False)
        case ["connection", "reload"] | ["--wait", _, "device", "connect", _]:
            pass
        case _:
            return 2
    return 0


def _systemctl(node: FakeNode, arguments: list[str]) -> int:
    match arguments:
        case ["stop", "gb10-fabric-revert.timer"]:
            (node.bin.parent / "armed.json").unlink(missing_ok=True)
        case ["start", "systemd-networkd.service"]:
            (node.bin.parent / "networkd-stopped").unlink()
        case _:
            return 1
    return 0


def _systemd_run(node: FakeNode, arguments: list[str]) -> int:
    armed = node.bin.parent / "armed.json"
    if armed.exists():
        print("Failed to start transient timer unit: Unit gb10-fabric-revert.timer was already loaded", file=sys.stderr)
        return 1
    armed.write_text(json.dumps([argument for argument in arguments if not argument.startswith("--")]))
    return 0


HANDLERS: dict[str, t.Callable[[FakeNode, list[str]], int]] = {
    "ip": _ip,
    "netplan": _netplan,
    "networkctl": _networkctl,
    "nmcli": _nmcli,
    "systemctl": _systemctl,
    "systemd-run": _systemd_run,
}


def main(folder: str, command: str, *arguments: str) -> int:
    node = FakeNode.__new__(FakeNode)
    node.bin, node.root = Path(folder) / "bin", Path(folder) / "root"
    with (Path(folder) / "calls").open("a") as log:
        log.write(" ".join([command, *arguments]).replace(os.environ.get("TMPDIR", "/tmp"), "TMP") + "\n")
    broken = Path(folder) / f"fail-{command}"
    if broken.exists():
        print(broken.read_text(), file=sys.stderr)
        return 1
    return HANDLERS[command](node, list(arguments))


def run_here(folder: Path, argv: list[str]) -> tuple[int, str, str]:
    """The same without a process, for tests that start many commands."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        rc = main(str(folder), *argv)
    return rc, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
