# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All parts, in the order in which they are applied. Pure; runs on the node.

Those that could cut the way in come last, so that nothing else waits for them to be proven.
"""

from __future__ import annotations

import typing as t

from . import firewall, packages, ssh, system

if t.TYPE_CHECKING:
    from .part import Declared, Part, Seen

PARTS: dict[str, t.Callable[[Declared, Seen, t.Any], Part]] = {
    "installed": packages.installed,
    "hosts": system.hosts,
    "memlock": system.memlock,
    "sysctl": system.sysctl,
    "oom": system.oom,
    "swap": system.swap,
    "desktop": system.desktop,
    "forbidden": packages.forbidden,
    "blacklist": packages.blacklist,
    "holds": packages.holds,
    "kernel": packages.kernel,
    "docker": packages.docker,
    "firewall": firewall.firewall,
    "ssh": ssh.ssh,
}

# Every part switched off: a node is to be what it was before us.
NOTHING: dict[str, t.Any] = {
    "hosts_block": "",
    "hosts_disable": [],
    "memlock": False,
    "sysctl": {},
    "headless": False,
    "swap": "keep",
    "oom": "kernel",
    "docker": False,
    "firewall": "off",
    "open_ports": [],
    "open_from": [],
    "ssh_from": [],
    "ssh_hardening": False,
    "upgrade_blacklist": False,
    "holds": False,
    "forbidden_packages": [],
    "kernel_parameters": [],
    "installed": [],
}


def work_out(declared: Declared, seen: Seen, records: t.Mapping[str, t.Any]) -> dict[str, Part]:
    return {name: part(declared, seen, records.get(name)) for name, part in PARTS.items()}
