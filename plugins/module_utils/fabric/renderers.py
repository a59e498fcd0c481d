# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a netplan file becomes live without `netplan apply`, which restarts NetworkManager (spark-facts 2.3)."""

from __future__ import annotations

import os
import tempfile
import typing as t
from pathlib import Path

from .errors import FabricError
from .refusals import Interface, interfaces_meant

if t.TYPE_CHECKING:
    from ..host import CommandResult, Host
    from ..plan.netplan import Renderer

NETPLAN_FOLDERS = ("/lib/netplan", "/etc/netplan", "/run/netplan")
# What the generator writes for the two renderers; compared to see whether something else would change as well.
GENERATED_FOLDERS = ("/run/systemd/network", "/run/NetworkManager/system-connections")
GENERATOR = "/usr/libexec/netplan/generate"
LATE_GENERATOR = "/usr/libexec/netplan/configure"
GENERATE_LIMIT_S = 60
COMMAND_LIMIT_S = 30
NM_ACTIVATION_S = 20


def find_renderer(host: Host, netdevs: t.Sequence[str]) -> Renderer:
    """Who manages the fabric netdevs now; networkd when nobody does."""
    if host.which("nmcli") is None or not host.exists("/run/NetworkManager"):
        return "networkd"
    result = host.run(["nmcli", "-t", "-f", "DEVICE,STATE", "device", "status"], COMMAND_LIMIT_S)
    states = dict(line.rsplit(":", 1) for line in result.stdout.splitlines() if ":" in line)
    managed = [netdev for netdev in netdevs if states.get(netdev, "unmanaged") != "unmanaged"]
    return "NetworkManager" if managed else "networkd"


def generate_command(host: Host) -> list[str]:
    """netplan's own generator where it does all the work: the `netplan` command takes 25 times as long to reach it.

    Since netplan 1.2 a part of the work is done by a second program, so there the command it is.
    """
    direct = host.exists(GENERATOR) and not host.exists(LATE_GENERATOR)
    return [str(host.path(GENERATOR))] if direct else ["netplan", "generate"]


def validate(host: Host, files: dict[str, str], interfaces: t.Sequence[Interface]) -> None:
    """Let netplan read the files to come in a temporary root, before any of them is placed.

    The result is also compared with what is in force: `networkctl reload` would put someone else's unapplied edits into
    force as well, and those may cut the management network.
    """
    with tempfile.TemporaryDirectory(prefix="gb10-netplan-") as folder:
        root = Path(folder)
        for path, text in files.items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(mode=0o600)
            target.write_text(text, encoding="utf-8")
        result = host.run([*generate_command(host), "--root-dir", folder], GENERATE_LIMIT_S)
        if not result.ok:
            raise FabricError(
                f"netplan does not accept the new configuration, nothing was changed: {_reason(result)} "
                f"(files: {', '.join(sorted(files))})"
            )
        unapplied = _unapplied(host, root, interfaces)
    if unapplied:
        raise FabricError(
            f"netplan files of this node hold changes that are not in force yet and do not concern the fabric: "
            f"{', '.join(unapplied)} would change with it. Apply or undo them first (`netplan get`, `netplan try`)"
        )


def _unapplied(host: Host, root: Path, interfaces: t.Sequence[Interface]) -> list[str]:
    new, old = _generated(root, interfaces), _generated(host.root, interfaces)
    return sorted(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))


def _generated(root: Path, interfaces: t.Sequence[Interface]) -> dict[str, str]:
    """netplan's output below a root, except what is about the fabric."""
    texts: dict[str, str] = {}
    for folder in GENERATED_FOLDERS:
        for file in sorted((root / folder.lstrip("/")).glob("*netplan-*")):
            text = file.read_text(encoding="utf-8", errors="replace")
            if not interfaces_meant(text, interfaces) and not any(one.name in file.name for one in interfaces):
                texts[f"{folder}/{file.name}"] = text
    return texts


def generate(host: Host) -> None:
    result = host.run(generate_command(host), GENERATE_LIMIT_S)
    if not result.ok:
        raise FabricError(f"`{' '.join(result.argv)}` failed: {_reason(result)}")


def reload_links(host: Host, renderer: Renderer, planned: t.Sequence[str], dropped: t.Sequence[str], mtu: int) -> None:
    """Put the generated configuration into force, on these links and no other."""
    if renderer == "networkd":
        _reload_networkd(host, [*planned, *dropped])
    else:
        _reload_network_manager(host, planned, mtu)


def _reload_networkd(host: Host, netdevs: t.Sequence[str]) -> None:
    if not host.run(["networkctl", "reload"], COMMAND_LIMIT_S).ok:
        # Not running yet, as on a node where only NetworkManager was used: it reads all files at its start.
        _must(host, ["systemctl", "start", "systemd-networkd.service"])
    if netdevs:
        _must(host, ["networkctl", "reconfigure", *netdevs])


def _reload_network_manager(host: Host, netdevs: t.Sequence[str], mtu: int) -> None:
    # A profile that is gone takes its link down with the reload; only ours have to be brought up.
    _must(host, ["nmcli", "connection", "reload"])
    for netdev in netdevs:
        wait = ["nmcli", "--wait", str(NM_ACTIVATION_S)]
        _must(host, [*wait, "connection", "up", f"netplan-{netdev}", "ifname", netdev])
        # NetworkManager keeps a new MTU in the profile and does not push it to a live link (spark-facts 2.3).
        if host.read_int(f"/sys/class/net/{netdev}/mtu") != mtu:
            _must(host, ["ip", "link", "set", "dev", netdev, "mtu", str(mtu)])


def restore_commands(renderer: Renderer, netdevs: t.Sequence[str]) -> list[list[str]]:
    """The way back, for a script that goes on whatever fails: the profiles that we wrote may be gone by then."""
    if renderer == "networkd":
        return [["networkctl", "reload"], ["networkctl", "reconfigure", *netdevs]]
    connect = ["nmcli", "--wait", str(NM_ACTIVATION_S), "device", "connect"]
    return [["nmcli", "connection", "reload"], *([*connect, netdev] for netdev in netdevs)]


def _must(host: Host, argv: list[str]) -> None:
    result = host.run(argv, COMMAND_LIMIT_S)
    if not result.ok:
        raise FabricError(f"`{' '.join(argv)}` failed: {_reason(result)}")


def _reason(result: CommandResult) -> str:
    text = (result.stderr.strip() or result.stdout.strip()).replace(os.linesep, " ")
    return text or f"exit code {result.rc}"
