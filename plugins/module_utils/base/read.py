# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what the parts of the base ask for. Read-only; runs on the node.

Files where there are files; a command only for what no file states, and only when a part needs it.
"""

from __future__ import annotations

import hashlib
import os
import typing as t

from ..probe.system import parse_assignments, parse_meminfo
from . import firewall, packages, ssh, system
from .part import Connection, Seen, Swap, Ufw

if t.TYPE_CHECKING:
    from ..host import Host
    from .part import Declared

_COMMANDS = ("apt-get", "update-grub", "docker", "nft")
_FILES = (
    *(firewall.WANTED_BY, firewall.FIREWALLD),
    *(packages.DOCKER_PID, *packages.CDI),
    "/sys/fs/cgroup/system.slice/earlyoom.service",
)
_TARGETS = (system.DEFAULT_TARGET, "/usr/lib/systemd/system/default.target")
_UFW = "/etc/ufw"


def see(host: Host, declared: Declared, records: t.Mapping[str, t.Any]) -> Seen:
    """The node as it is, as far as the declared parts need it."""
    broken: list[str] = []
    commands = frozenset(name for name in _COMMANDS if host.which(name))
    connection = _connection(host)
    guarded = declared["firewall"] == "closed" or declared["ssh_hardening"]
    own_ssh = host.read(ssh.DROP_IN)
    targets = [host.link_name(path) for path in _TARGETS]
    return Seen(
        packages=_packages(host, broken),
        commands=commands,
        files=frozenset(path for path in _FILES if host.exists(path) or host.link_name(path)),
        sysctl={key: _sysctl(host, key) for key in {*declared["sysctl"], *(records.get("sysctl") or {})}},
        cmdline=tuple((host.read("/proc/cmdline") or "").split()),
        default_target=targets[0] or targets[1],
        default_target_is_set=targets[0] is not None,
        swaps=_swaps(host),
        swap_masked=host.link_name("/etc/systemd/system/swap.target") == "null",
        available_kib=_available(host),
        ufw=_ufw(host, broken),
        nft_sha256=fingerprint(host, firewall.LISTING) if _may_have_table(host, declared, commands) else None,
        sshd=_sshd(host) if guarded else None,
        connection=connection,
        key_login=bool(connection and declared["ssh_hardening"] and own_ssh is None and _key_login(host, connection)),
        own_ssh=own_ssh,
        docker_config=host.read(packages.DOCKER_CONFIG),
        toolkit_list=host.read(packages.TOOLKIT_LIST),
        broken=tuple(broken),
    )


def fingerprint(host: Host, argv: list[str]) -> str | None:
    """A hash of what a command prints; None when it fails."""
    result = host.run(argv)
    return hashlib.sha256(result.stdout.encode()).hexdigest() if result.ok else None


def _packages(host: Host, broken: list[str]) -> dict[str, str]:
    form = "${Package}\t${db:Status-Want}\t${db:Status-Status}\n"
    result = host.run(["dpkg-query", "-W", "-f", form], 30)
    if not result.ok:
        broken.append(f"dpkg-query ended with {result.rc}, so nobody knows what is installed")
        return {}
    rows = (line.split("\t") for line in result.stdout.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] == "installed"}


def _sysctl(host: Host, key: str) -> str | None:
    # As sysctl(8) has it: the first separator decides which one is the separator.
    dotted = (
        key if key.find("/") < 0 or 0 <= key.find(".") < key.find("/") else key.translate(str.maketrans("./", "/."))
    )
    return host.read_line("/proc/sys/" + dotted.translate(str.maketrans("./", "/.")))


def _swaps(host: Host) -> tuple[Swap, ...]:
    rows = [line.split() for line in (host.read("/proc/swaps") or "").splitlines()[1:]]
    return tuple(Swap(row[0], int(row[2]), int(row[3])) for row in rows if len(row) >= 4 and row[2].isdigit())


def _available(host: Host) -> int:
    text = host.read("/proc/meminfo")
    return parse_meminfo(text).get("MemAvailable", 0) if text else 0


def _ufw(host: Host, broken: list[str]) -> Ufw | None:
    """From ufw's own files, as far as it is active; its command takes seconds."""
    if parse_assignments(host.read(f"{_UFW}/ufw.conf") or "").get("ENABLED") != "yes" or host.which("ufw") is None:
        return None
    policy = parse_assignments(host.read("/etc/default/ufw") or "").get("DEFAULT_INPUT_POLICY", "DROP")
    texts = [host.read(f"{_UFW}/{name}") for name in ("user.rules", "user6.rules")]
    if texts[0] is None:
        broken.append(f"{_UFW}/user.rules cannot be read, although ufw is active")
    return Ufw(policy, firewall.parse_ufw_rules("\n".join(text or "" for text in texts)))


def _may_have_table(host: Host, declared: Declared, commands: frozenset[str]) -> bool:
    return "nft" in commands and (declared["firewall"] == "closed" or host.exists(firewall.RULES))


def _sshd(host: Host) -> dict[str, list[str]] | None:
    result = host.run(["sshd", "-T"])
    return ssh.parse_effective(result.stdout) if result.ok else None


def _key_login(host: Host, connection: Connection) -> bool:
    result = host.run(["journalctl", "-q", "-b", "-o", "cat", "-t", "sshd", "-t", "sshd-session", "--no-pager"], 20)
    return result.ok and ssh.let_in_by_key(result.stdout, connection)


def _connection(host: Host) -> Connection | None:
    """sudo clears the variable, so it is looked for in the environments of our ancestors too."""
    process = os.getpid()
    while process > 1:
        found = ssh.parse_connection(host.read(f"/proc/{process}/environ") or "")
        if found is not None:
            return Connection(*found)
        process = _parent(host, process)
    return None


def _parent(host: Host, process: int) -> int:
    for line in (host.read(f"/proc/{process}/status") or "").splitlines():
        if line.startswith("PPid:"):
            return int(line.split()[1])
    return 0
