# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: what was there before, a script that restores it, and the timer that runs it unless it is disarmed.

/var/lib/gb10/fabric/pending    a change that nobody has confirmed yet; survives a reboot, which the timer does not
/var/lib/gb10/fabric/original   what was there before the first confirmed change; `absent` goes back to it
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import typing as t
from dataclasses import asdict, dataclass, field

from .. import revert
from ..files.apply import prune
from ..plan.netplan import OWN_NETPLAN, OWN_NETPLAN_MODE
from .errors import FabricError
from .renderers import generate_command, restore_commands

if t.TYPE_CHECKING:
    from ..host import Host
    from ..plan.netplan import Renderer
    from .live import Link

STATE = "/var/lib/gb10/fabric"
PENDING = f"{STATE}/pending"
ORIGINAL = f"{STATE}/original"
UNIT = "gb10-fabric-revert"
# netplan reads *.yaml only; the name says to a reader why the file has gone quiet.
MOVED_SUFFIX = ".gb10-taken-over"
DEFAULT_MTU = 1500


@dataclass
class LinkBefore:
    """A link as it was, and the addresses that we give it (CIDR)."""

    mtu: int
    addresses: list[str]
    ours: list[str] = field(default_factory=list)


@dataclass
class Snapshot:
    """Enough to go back: our file, the files that were moved aside, and the live values that no file states."""

    renderer: Renderer
    own: str | None
    moved: list[str] = field(default_factory=list)
    links: dict[str, LinkBefore] = field(default_factory=dict)

    def absorb(self, newer: Snapshot) -> None:
        """Take over what a later snapshot adds; where both speak, the earlier one is the state to go back to."""
        self.moved += [path for path in newer.moved if path not in self.moved]
        for netdev, link in newer.links.items():
            known = self.links.setdefault(netdev, link)
            known.ours += [cidr for cidr in link.ours if cidr not in known.ours]

    def save(self, host: Host, folder: str) -> None:
        """Write the script first: a snapshot that can be read has a script beside it."""
        if self.own is not None:
            host.write(f"{folder}/own.yaml", self.own, OWN_NETPLAN_MODE)
        host.write(f"{folder}/restore.sh", restore_script(host, self, folder), 0o700)
        host.write(f"{folder}/snapshot.json", json.dumps(asdict(self), indent=1) + "\n", 0o600)


def load(host: Host, folder: str) -> Snapshot | None:
    text = host.read(f"{folder}/snapshot.json")
    if text is None:
        return None
    try:
        data = json.loads(text)
        links = {netdev: LinkBefore(**values) for netdev, values in data.pop("links").items()}
        return Snapshot(**data, links=links)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FabricError(
            f"{folder}/snapshot.json cannot be read ({error}); it holds the way back. If the fabric of this node is as "
            f"it should be, remove {folder} and run again"
        ) from error


def take(renderer: Renderer, own: str | None, moved: list[str], links: list[Link], ours: dict[str, str]) -> Snapshot:
    """``ours``: netdev -> the address that it is about to get."""
    return Snapshot(renderer, own, moved, {link.netdev: _before(link, ours.get(link.netdev)) for link in links})


def _before(link: Link, ours: str | None) -> LinkBefore:
    # A leased address is the lease holder's to renew, not ours to set.
    held = [one.cidr for one in link.addresses if one.counts and not one.dynamic]
    return LinkBefore(link.mtu, held, [ours] if ours else [])


def restore_script(host: Host, snapshot: Snapshot, folder: str) -> str:
    """A shell script on its own feet: it runs when the controller is gone, and goes on whatever fails."""
    own, aside = _real(host, OWN_NETPLAN), _real(host, f"{folder}/own.yaml")
    lines = [
        "#!/bin/sh",
        "# Written by gb10.cluster, module fabric_links: puts the fabric links of this node back to what they were.",
        f"# Run by {UNIT}.timer when a change was not confirmed in time. Safe to run by hand.",
        "export LC_ALL=C",
        f"rm -f {own}" if snapshot.own is None else f"cp -p {aside} {own}.tmp && mv -f {own}.tmp {own}",
    ]
    for path in snapshot.moved:
        was, now = _real(host, path), _real(host, path + MOVED_SUFFIX)
        lines.append(f"[ ! -e {now} ] || mv -f {now} {was}")
    lines.append(shlex.join(generate_command(host)))
    lines += [shlex.join(command) for command in restore_commands(snapshot.renderer, sorted(snapshot.links))]
    lines += _live_lines(snapshot)
    lines.append(f"rm -rf {_real(host, folder)}")
    return "\n".join(lines) + "\n"


def _live_lines(snapshot: Snapshot) -> list[str]:
    """Values that no file states would stay as we set them. No link is set down: bouncing one has hung a host (4.6)."""
    lines = []
    for name, before in sorted(snapshot.links.items()):
        netdev = shlex.quote(name)
        lines.append(f"ip link set dev {netdev} mtu {before.mtu}")
        lines += [
            f"ip addr del {cidr} dev {netdev} 2>/dev/null" for cidr in before.ours if cidr not in before.addresses
        ]
        if snapshot.own is None:
            lines += [f"ip addr replace {cidr} dev {netdev}" for cidr in before.addresses]
    return lines


def _real(host: Host, path: str) -> str:
    return shlex.quote(str(host.path(path)))


# --- the timer ---


def arm(host: Host, after_s: int) -> str:
    """Start the countdown, anew if one is running. Returns the unit's name."""
    try:
        return revert.arm(host, UNIT, f"{PENDING}/restore.sh", after_s)
    except revert.NotArmed as error:
        raise FabricError(str(error)) from error


def disarm(host: Host) -> None:
    revert.disarm(host, UNIT)


def restore_now(host: Host, folder: str) -> None:
    """Go back at once, not when the time is up."""
    host.run(["/bin/sh", str(host.path(f"{folder}/restore.sh"))], 120)
    if folder == PENDING:
        disarm(host)


def settle(host: Host) -> bool:
    """A confirmed change: its snapshot becomes, or joins, the original. False when there was none."""
    pending = load(host, PENDING)
    if pending is None:
        return False
    original = load(host, ORIGINAL) or untouched(pending)
    original.absorb(pending)
    original.save(host, ORIGINAL)
    forget(host, PENDING)
    return True


def untouched(snapshot: Snapshot) -> Snapshot:
    """The state without us. Where our file was there before its history, the kernel's defaults stand in."""
    if snapshot.own is None:
        return snapshot
    links = {netdev: LinkBefore(DEFAULT_MTU, [], link.ours) for netdev, link in snapshot.links.items()}
    return Snapshot(snapshot.renderer, None, list(snapshot.moved), links)


def forget(host: Host, folder: str) -> None:
    shutil.rmtree(host.path(folder), ignore_errors=True)
    prune(host, folder)


def move_aside(host: Host, path: str) -> None:
    os.replace(host.path(path), host.path(path + MOVED_SUFFIX))
