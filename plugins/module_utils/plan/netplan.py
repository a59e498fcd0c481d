# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The netplan document of one node, rendered from the finished plan. Runs on the node: standard library only."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ..contracts import HalfPlan, Plan

Renderer = t.Literal["networkd", "NetworkManager"]

# Not 40-cx7.yaml: NVIDIA Sync rewrites that name (spark-facts 2.3).
OWN_NETPLAN = "/etc/netplan/60-gb10-fabric.yaml"
OWN_NETPLAN_MODE = 0o600
OWNED_HEADER = "# Managed by gb10.cluster"


def is_owned(text: str) -> bool:
    """Whether a netplan file is ours, by its first line."""
    return text.startswith(OWNED_HEADER)


def render_netplan(plan: Plan, node: str, renderer: Renderer) -> str:
    """The document for OWN_NETPLAN. Empty when nothing is cabled, because then no file is wanted."""
    halves = plan["nodes"][node]["halves"]
    if not halves:
        return ""
    lines = [
        f"{OWNED_HEADER}, role fabric. Changes made here are overwritten.",
        f"# Fabric of {node}: {plan['topology']}, MTU {plan['mtu']}, one subnet per half, no default route, no IPv6.",
        "network:",
        "  version: 2",
        "  ethernets:",
    ]
    for half in halves:
        lines += _interface(half, plan["mtu"], renderer)
    return "\n".join(lines) + "\n"


def _interface(half: HalfPlan, mtu: int, renderer: Renderer) -> list[str]:
    # The renderer stands at the interface: a global one would move the management interface as well.
    lines = [
        f"    # cage {half['cage']} half {half['half']}, to {_far_end(half)}",
        f"    {half['netdev']}:",
        f"      renderer: {renderer}",
        "      dhcp4: false",
        "      dhcp6: false",
        "      accept-ra: false",
        "      link-local: []",
        "      optional: true",
        f"      mtu: {mtu}",
        f"      addresses: [{half['ipv4']}/{half['prefix']}]",
    ]
    if renderer == "NetworkManager":
        # netplan turns the keys above into ipv6.method=ignore, which leaves fe80 to the kernel (netplan 0.106).
        lines += [
            "      networkmanager:",
            "        passthrough:",
            '          ipv4.never-default: "true"',
            "          ipv6.method: disabled",
        ]
    return lines


def _far_end(half: HalfPlan) -> str:
    peer = half["peer"]
    if peer is None:
        return f"switch port {half['switch_port']}"
    return f"{peer['node']} cage {peer['cage']}"
