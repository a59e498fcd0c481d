# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on a node before anything changes, and every reason not to change it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..plan.netplan import OWN_NETPLAN, OWN_NETPLAN_MODE, render_netplan
from .errors import FabricError
from .live import Link, gid_differences, link_differences, read_links, route_differences
from .refusals import Interface, interfaces_meant, management_on_fabric, missing_netdevs, overlaps
from .renderers import NETPLAN_FOLDERS, find_renderer
from .undo import MOVED_SUFFIX, PENDING

if t.TYPE_CHECKING:
    from ..contracts import HalfPlan, Plan
    from ..host import Host
    from ..plan.netplan import Renderer


@dataclass(frozen=True)
class Request:
    plan: Plan
    node: str
    renderer: Renderer | None  # None: who manages the links now
    take_over: bool
    revert_after_s: int
    check_mode: bool

    @property
    def halves(self) -> list[HalfPlan]:
        return self.plan["nodes"][self.node]["halves"]


@dataclass(frozen=True)
class Survey:
    """The node as it is, beside what is wanted."""

    links: dict[str, Link]
    renderer: Renderer
    own: str | None
    wanted: str | None
    netplan: dict[str, str]  # other netplan files
    foreign: list[str]  # those of them that mean our links
    planned: list[str]  # netdevs
    dropped: list[str]  # netdevs that our file holds now and the plan does not want any more

    @property
    def touched(self) -> list[str]:
        return sorted({*self.planned, *self.dropped})

    def interfaces(self, host: Host, names: t.Iterable[str]) -> list[Interface]:
        return [_interface(host, self.links[name]) for name in names if name in self.links]


def survey(host: Host, request: Request) -> Survey:
    """Read everything and refuse here, so that after it only the change itself can fail."""
    links = read_links(host)
    planned = [half["netdev"] for half in request.halves]
    own = host.read(OWN_NETPLAN)
    interfaces = [_interface(host, link) for link in links.values() if link.netdev != "lo"]
    ours = [one for one in interfaces if one.name in planned]
    held = interfaces_meant(own, interfaces) if own else []
    netplan = _netplan_files(host)
    foreign = [path for path, text in netplan.items() if interfaces_meant(text, ours)]
    findings = missing_netdevs(request.halves, links)
    if not findings:
        findings += management_on_fabric(request.plan["nodes"][request.node], links)
        findings += overlaps(request.halves, links, {*planned, *held})
        others = [one for one in interfaces if one.name not in planned]
        findings += [
            sentence for path in foreign for sentence in _foreign(path, netplan[path], ours, others, request.take_over)
        ]
    if findings:
        raise FabricError(*findings)
    renderer = request.renderer or find_renderer(host, planned)
    return Survey(
        links=links,
        renderer=renderer,
        own=own,
        wanted=render_netplan(request.plan, request.node, renderer) or None,
        netplan=netplan,
        foreign=foreign,
        planned=planned,
        dropped=[name for name in held if name not in planned],
    )


def differences(host: Host, request: Request, links: dict[str, Link]) -> list[str]:
    """Everything live that is not as planned."""
    return (
        link_differences(links, request.halves, request.plan["mtu"])
        + route_differences(host, request.halves)
        + gid_differences(host, request.halves)
    )


def is_converged(host: Host, request: Request, found: Survey) -> bool:
    """File and live state match, and the last change was confirmed."""
    if found.own != found.wanted or found.foreign or host.exists(PENDING):
        return False
    if found.own is not None and host.path(OWN_NETPLAN).stat().st_mode & 0o777 != OWN_NETPLAN_MODE:
        return False
    return not differences(host, request, found.links)


def _interface(host: Host, link: Link) -> Interface:
    return Interface(link.netdev, link.mac, host.link_name(f"/sys/class/net/{link.netdev}/device/driver"))


def _netplan_files(host: Host) -> dict[str, str]:
    paths = [f"{folder}/{name}" for folder in NETPLAN_FOLDERS for name in host.names(folder) if name.endswith(".yaml")]
    texts = {path: host.read(path) for path in paths if path != OWN_NETPLAN}
    return {path: text for path, text in texts.items() if text is not None}


def _foreign(path: str, text: str, ours: list[Interface], others: list[Interface], take_over: bool) -> list[str]:
    named = ", ".join(interfaces_meant(text, ours))
    beside = ", ".join(interfaces_meant(text, others))
    if not path.startswith("/etc/"):
        return [f"{path} configures {named}; stop what generates it, or remove the file"]
    if beside:
        return [
            f"{path} configures {named} together with {beside}, so it cannot be moved aside: move the fabric links "
            f"into a file of their own"
        ]
    if not take_over:
        return [
            f"{path} configures {named} too; NVIDIA Sync and set-up scripts write such files. Set fabric_take_over to "
            f"move it aside to {path}{MOVED_SUFFIX}, or remove it"
        ]
    return []
