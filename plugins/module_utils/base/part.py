# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a part of the base is made of. Pure; runs on the node.

A part is a pure function of what is declared, what was seen and what its record says: it answers with the files and
live values that it wants. A part that is off, or whose subject is not installed, wants what was there before us.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from ..contracts import Plan
    from ..files.apply import FileSpec

HEADER = "# Managed by gb10.cluster, role dgx_os. Changes made here are overwritten.\n"
FINGERPRINT = "sha256"  # in a record: of what a part's fingerprint command printed once it was applied
ROOTED = "@"  # a word of a command that begins so is a path under the root of the node


class BaseRefused(Exception):
    """Why nothing was changed, or what was put back; one sentence."""


class Declared(t.TypedDict):
    """The options of module dgx_base that parts read. Every value that switches a part off is false or empty."""

    node: str
    plan: Plan
    hosts_block: str
    hosts_disable: list[str]
    memlock: bool
    sysctl: dict[str, str]
    headless: bool
    swap: str  # keep, off
    oom: str  # kernel, protect, earlyoom
    docker: bool
    firewall: str  # off, peers, closed
    open_ports: list[int]
    open_from: list[str]
    ssh_from: list[str]
    ssh_hardening: bool
    upgrade_blacklist: bool
    holds: bool
    forbidden_packages: list[str]
    kernel_parameters: list[str]
    installed: list[str]


@dataclass(frozen=True)
class Swap:
    name: str
    size_kib: int
    used_kib: int


@dataclass(frozen=True)
class Connection:
    """The SSH connection that this run came over, as sshd sees it."""

    client: str
    client_port: int
    server_port: int


@dataclass(frozen=True)
class UfwRule:
    """An ufw rule of ours: all from an address, or one TCP port from an address or from anywhere."""

    source: str | None
    port: int | None

    def words(self) -> list[str]:
        if self.port is None:
            return ["allow", "from", str(self.source)]
        if self.source is None:
            return ["allow", f"{self.port}/tcp"]
        return ["allow", "from", self.source, "to", "any", "port", str(self.port), "proto", "tcp"]


@dataclass(frozen=True)
class Ufw:
    input_policy: str  # ACCEPT, DROP, REJECT
    ours: frozenset[UfwRule]


@dataclass(frozen=True)
class Seen:
    """A node as it is. None: it is not there or could not be read."""

    packages: dict[str, str] = field(default_factory=dict)  # installed -> what dpkg wants of it: install, hold
    commands: frozenset[str] = frozenset()  # of those that parts ask for
    files: frozenset[str] = frozenset()  # of the paths that parts ask for: those that exist
    sysctl: dict[str, str | None] = field(default_factory=dict)
    cmdline: tuple[str, ...] = ()
    default_target: str | None = None
    default_target_is_set: bool = False  # by a link in /etc, not by the distribution
    swaps: tuple[Swap, ...] = ()
    swap_masked: bool = False
    available_kib: int = 0
    ufw: Ufw | None = None
    nft_sha256: str | None = None  # of our table as it is in force; None: there is none
    sshd: dict[str, list[str]] | None = None  # what `sshd -T` prints, by keyword in lower case
    connection: Connection | None = None
    key_login: bool = False  # the journal says that this very connection was let in by a key
    own_ssh: str | None = None  # our drop-in as it is
    docker_config: str | None = None
    toolkit_list: str | None = None
    broken: tuple[str, ...] = ()  # what could not be read, one sentence each


@dataclass(frozen=True)
class Live:
    """A value that no file states, and the commands that bring it about."""

    what: str
    before: str
    after: str
    commands: list[list[str]]
    undo: list[list[str]] = field(default_factory=list)  # of guarded parts: the way back


@dataclass(frozen=True)
class Proof:
    """A line that a command must print once the part is applied."""

    argv: list[str]
    line: str


@dataclass
class Part:
    """What a part wants. `skipped` says why it does nothing although it was asked for."""

    name: str
    files: list[FileSpec] = field(default_factory=list)
    first: list[Live] = field(default_factory=list)  # before its files
    live: list[Live] = field(default_factory=list)  # after them
    after_files: list[list[str]] = field(default_factory=list)  # when one of the files has changed
    proofs: list[Proof] = field(default_factory=list)
    final: list[Live] = field(default_factory=list)  # of guarded parts: only once the node was reached again
    fingerprint: list[str] | None = None
    record: t.Any = None  # what is needed to go back; None: nothing
    skipped: str | None = None
    asked: bool = False  # the operator chose it, so that a skip is said aloud
    notes: list[str] = field(default_factory=list)
    reboot: str | None = None
    guarded: bool = False
    back: list[list[str]] = field(default_factory=list)  # of guarded parts: the way back, once the files are back


def own_file(path: str, content: str | None, **more: t.Any) -> FileSpec:
    """A file of ours with this content, or none."""
    return _spec(path, content=content, absent=True if content is None else None, **more)


def block_in(path: str, block: str, disable: list[str]) -> FileSpec:
    """A block of ours inside a foreign file; an empty one takes all of it back, and the copy of the original goes."""
    return _spec(path, block=block, disable_lines=disable or None, backup=bool(block), restore=not block)


def _spec(path: str, **given: t.Any) -> FileSpec:
    spec: dict[str, t.Any] = {
        "path": path,
        "content": None,
        "mode": None,
        "block": None,
        "marker": "gb10.cluster",
        "disable_lines": None,
        "settings": None,
        "absent": None,
        "backup": False,
        "restore": False,
        "validate": None,
    }
    return t.cast("FileSpec", spec | given)
