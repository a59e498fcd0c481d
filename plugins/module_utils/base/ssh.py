# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No passwords over SSH, but only where this very run has come in with a key. Pure; runs on the node."""

from __future__ import annotations

import re
import typing as t

from .part import HEADER, Part, Proof, own_file

if t.TYPE_CHECKING:
    from .part import Connection, Declared, Seen

# The first value that sshd meets counts, and its files are read in the order of their names: before 50-cloud-init.conf.
DROP_IN = "/etc/ssh/sshd_config.d/10-gb10.conf"
# No PermitRootLogin: without passwords root needs a key too, and a value of ours would loosen a `no`.
_TEXT = f"{HEADER}PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
_RELOAD = ["systemctl", "try-reload-or-restart", "ssh.service"]


def ssh(declared: Declared, seen: Seen, _record: t.Any) -> Part:
    """Nobody is locked out: `sshd -t`, a proven key login, and a timer until the node was reached anew."""
    part = Part("ssh", asked=declared["ssh_hardening"], guarded=True)
    if seen.own_ssh is not None or declared["ssh_hardening"]:
        part.after_files = [["sshd", "-t"], _RELOAD]
        part.back = [_RELOAD]
    if not declared["ssh_hardening"]:
        part.files = [own_file(DROP_IN, None)]
        return part
    part.skipped = _why_not(seen)
    if part.skipped is None:
        part.files = [own_file(DROP_IN, _TEXT, mode="0600")]
        part.proofs = [Proof(["sshd", "-T"], "passwordauthentication no")]
    return part


def _why_not(seen: Seen) -> str | None:
    if seen.sshd is None:
        return "sshd is not installed, or `sshd -T` gives no answer"
    if seen.own_ssh == _TEXT:
        if seen.sshd.get("passwordauthentication") == ["no"]:
            return None
        return f"{DROP_IN} is there and not in force; look what sshd_config says before its Include"
    if seen.connection is None:
        return "this run has not come over SSH, so no login with a key is proven"
    if not seen.key_login:
        return (
            f"the journal does not show that {seen.connection.client} has come in with a key; "
            "install one (ssh-copy-id), then run again"
        )
    return None


def let_in_by_key(journal: str, connection: Connection) -> bool:
    """Whether sshd says of this connection, by address and port, that a key opened it."""
    line = rf"Accepted publickey for \S+ from {re.escape(connection.client)} port {connection.client_port}\b"
    return re.search(line, journal) is not None


def parse_effective(text: str) -> dict[str, list[str]]:
    """`sshd -T`: a keyword in lower case and its value on each line; some repeat."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _space, value = line.partition(" ")
        found.setdefault(keyword.lower(), []).append(value)
    return found


def parse_connection(environ: str) -> tuple[str, int, int] | None:
    """SSH_CONNECTION in the environment of a process: client, its port, our address, our port."""
    for entry in environ.split("\0"):
        name, _equals, value = entry.partition("=")
        words = value.split()
        if name == "SSH_CONNECTION" and len(words) == 4 and words[1].isdigit() and words[3].isdigit():
            return words[0].split("%")[0], int(words[1]), int(words[3])
    return None
