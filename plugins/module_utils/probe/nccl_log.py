# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The `NCCL_DEBUG=INFO` log of one rank, read line by line into a summary (health-checks 3.6).

What a log does not say is None, empty or 0, never a guess: a check that finds no channels answers unknown.
"""

from __future__ import annotations

import hashlib
import re
import typing as t
from collections import Counter
from dataclasses import dataclass

from .gids import gid_ipv4
from .nccl_records import (
    Channels,
    Communicator,
    Connection,
    Finding,
    FindingKind,
    Hca,
    Interface,
    NcclLog,
    Override,
    QueuePairs,
    VirtualDevice,
)

MAX_EXCERPT = 300
# The longest line NCCL prints is its device list of 2048 characters; what comes behind is another program's.
MAX_LINE = 4096

# ibv_mtu of verbs.h
MTU_BYTES = {1: 256, 2: 512, 3: 1024, 4: 2048, 5: 4096}

NET_IB = "NET/IB"
NET_SOCKET = "NET/Socket"


def read_nccl_log(lines: t.Iterable[str]) -> NcclLog:
    """Summarise the log of one rank, holding one line at a time. What stands in front of NCCL's own text is skipped.

    `sha256` is that of the file when the lines keep their ends and were decoded with surrogateescape.
    """
    reader = _Reader()
    for line in lines:
        reader.read(line)
    return reader.summary()


def pci_domain(device: str, pci_path: str | None = None) -> str | None:
    """The PCI domain by sysfs path, else by the name udev gave: roceP2p1s0f0 is in domain 0002, rocep1s0f0 in 0000."""
    addresses = _PCI_ADDRESS.findall(pci_path or "")
    if addresses:
        return str(addresses[-1]).lower()
    name = _UDEV_NAME.match(device)
    return f"{int(name[1] or 0):04x}" if name else None


def decode_gid(prefix: str, interface_id: str) -> str:
    """The GID as sysfs writes it. NCCL prints both halves as integers read from little-endian memory."""
    raw = b"".join(int(half, 16).to_bytes(8, "little") for half in (prefix, interface_id))
    return ":".join(raw[at : at + 2].hex() for at in range(0, 16, 2))


_PCI_ADDRESS = re.compile(r"([0-9a-fA-F]{4,8}):[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
_UDEV_NAME = re.compile(r"(?:roce|ib)(?:P([0-9]{1,5}))?p[0-9]+s[0-9]+")

_LEVEL = re.compile(r"NCCL (INFO|WARN) ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FOLDED = re.compile(r"\s*\[repeated [0-9]+x across cluster\].*", re.DOTALL)

_VERSION = re.compile(r"NCCL version ([0-9]\S*)")
_NUMBER = r"([0-9]{1,9})"
_INTERFACE = re.compile(r"(?:\[[0-9]+\])?([^\s:]+):(\S+?)<[0-9]+>")
_HCA = re.compile(rf"\[{_NUMBER}\]([^\s:]+):{_NUMBER}(?::[^\s/]*)?/(\w+)")
_NET = re.compile(rf"(.+?)/{_NUMBER}(?:\([0-9]+\))?(?:/(\S+))?(?:\s|$)")

# These look alarming and say nothing on a Spark (health-checks 3.6).
_HARMLESS = re.compile(r"GPU Direct RDMA Disabled|Could not find: libnccl-net\.so|Skipping makeVDevice")
# First `failed with error Invalid argument errno 22`, later `failed with 22 Invalid argument, on dev DEV:PORT, ...`.
_FINDINGS: tuple[tuple[FindingKind, re.Pattern[str]], ...] = (
    ("wrong_neighbour", re.compile(r"ibv_modify_qp failed.*(?:Connection timed out|ETIMEDOUT|failed with 110\b)")),
    ("wrong_gid", re.compile(r"ibv_modify_qp failed.*(?:Invalid argument|EINVAL|failed with 22\b)")),
    ("memory_registration", re.compile(r"ibv_reg_\w*mr\w* failed.*(?:Cannot allocate memory|ENOMEM)")),
    ("retry_exceeded", re.compile(r"Got completion from peer.*\bstatus=(?:12\b|IBV_WC_RETRY_EXC_ERR)")),
    ("gid_table_changed", re.compile(r"GID table changed")),
    ("plugin_failed", re.compile(r"Failed to initialize any NET plugin")),
)
_FINDING_DEVICE = re.compile(r"(?:\bon dev |\bhca |NET/\w+ ?: )([A-Za-z]\w*)(?=:[0-9]|\s*$)")


@dataclass(slots=True)
class _Occurrence:
    count: int
    excerpt: str


class _Reader:
    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._lines = 0
        self._folded = False
        self._version: str | None = None
        self._git: str | None = None
        self._communicators: dict[Communicator, None] = {}
        self._inits: Counter[str] = Counter()
        self._networks: dict[str, None] = {}
        self._plugins: dict[str, None] = {}
        self._external: dict[str, None] = {}
        self._hcas: dict[int, tuple[str, int, str]] = {}
        self._details: dict[str, tuple[int, str]] = {}
        self._virtual: dict[int, VirtualDevice] = {}
        self._oob: Interface | None = None
        self._bootstrap: Interface | None = None
        self._sockets: dict[Interface, None] = {}
        self._env: dict[str, str] = {}
        self._channels: Counter[tuple[str, str, int | None, t.Literal["send", "receive"], int | None]] = Counter()
        self._queue_pairs: dict[str, Counter[str]] = {}
        self._names: dict[int, str] = {}
        self._connections: Counter[tuple[int, int, int, int, int | None, str | None]] = Counter()
        self._overrides: Counter[tuple[int, int]] = Counter()
        self._findings: dict[tuple[FindingKind, str | None], _Occurrence] = {}

    def read(self, line: str) -> None:
        self._lines += 1
        self._digest.update(_bytes(line))
        line = line[:MAX_LINE]
        if "NCCL" not in line:
            return
        if "\x1b" in line:
            line = _COLOUR.sub("", line)
        if "[repeated " in line:
            line, folded = _FOLDED.subn("", line)
            self._folded = self._folded or folded > 0
        # With NCCL_DEBUG=VERSION, and on some builds always, the version has no level in front.
        if self._version is None and (version := _VERSION.search(line)):
            self._version = version[1]
        level = _LEVEL.search(line)
        if level is None:
            return
        message = line[level.end() :].rstrip()
        if level[1] == "WARN":
            self._warning(message)
        else:
            self._info(message)

    def _info(self, message: str) -> None:
        for needle, pattern, take in _MESSAGES:
            if needle in message:
                match = pattern.search(message)
                if match:
                    take(self, match)
                    return

    def _warning(self, message: str) -> None:
        if _HARMLESS.search(message):
            return
        kind = next((kind for kind, pattern in _FINDINGS if pattern.search(message)), "unclassified")
        self._find(t.cast("FindingKind", kind), _device(message), f"NCCL WARN {message}")

    def _find(self, kind: FindingKind, device: str | None, text: str) -> None:
        seen = self._findings.setdefault((kind, device), _Occurrence(0, text[:MAX_EXCERPT]))
        seen.count += 1

    # --- one message each ---

    def _take_git(self, match: re.Match[str]) -> None:
        self._git = self._git or match[1]

    def _take_environment(self, match: re.Match[str]) -> None:
        # Numbers are printed with a full stop behind, texts are not.
        value = re.sub(r"^(-?[0-9]+)\.$", r"\1", match[2].strip())
        self._env[match[1]] = value[:MAX_EXCERPT]

    def _take_device(self, match: re.Match[str]) -> None:
        path = re.search(r"pciPath=(/\S+)", match[0])
        self._details[match[1]] = (int(match[2]), path[1] if path else "")

    def _take_hcas(self, match: re.Match[str]) -> None:
        chosen, _semicolon, oob = match[1].partition("; OOB ")
        for index, device, port, link_layer in _HCA.findall(chosen):
            self._hcas[int(index)] = (device, int(port), link_layer)
        for interface in _interfaces(oob)[:1]:
            self._oob = interface

    def _take_sockets(self, match: re.Match[str]) -> None:
        self._sockets.update(dict.fromkeys(_interfaces(match[1])))

    def _take_bootstrap(self, match: re.Match[str]) -> None:
        for interface in _interfaces(match[1])[:1]:
            self._bootstrap = interface

    def _take_virtual(self, match: re.Match[str]) -> None:
        index = int(match[1])
        self._virtual[index] = VirtualDevice(index, tuple(match[2].split("+")), int(match[3]))

    def _take_plugin(self, match: re.Match[str]) -> None:
        self._plugins[match[1]] = None

    def _take_external(self, match: re.Match[str]) -> None:
        self._external[match[1]] = None

    def _take_network(self, match: re.Match[str]) -> None:
        self._networks[match[1]] = None

    def _take_failure(self, match: re.Match[str]) -> None:
        kind: FindingKind = "no_device" if "No device" in match[0] else "plugin_failed"
        self._find(kind, None, f"NCCL INFO {match.string}")

    def _take_retry(self, match: re.Match[str]) -> None:
        self._find("connect_retried", _device(match.string), f"NCCL INFO {match.string}")

    def _take_channel(self, match: re.Match[str]) -> None:
        source, target, said, via, rest = match.groups()
        direction: t.Literal["send", "receive"] = "receive" if said == "receive" else "send"
        peer = source if direction == "receive" else target
        transport, kind, device = via, (rest.split() or [""])[0], None
        if via == "NET":
            net = _NET.match(rest)
            # Even a text that is new to us is a channel: missing one over TCP would pass what must fail.
            transport = f"NET/{net[1] if net else kind}"
            kind, device = (net[3] or "", int(net[2])) if net else ("", None)
        self._channels[(transport, kind, device, direction, int(peer) if peer else None)] += 1

    def _take_queue_pair(self, match: re.Match[str]) -> None:
        function, index, device = match[1] or "", int(match[2]), match[3]
        self._names[index] = device
        side = "sender" if "Sender" in function else "receiver" if "Receiver" in function else "undirected"
        self._queue_pairs.setdefault(device, Counter())[side] += 1

    def _take_connection(self, match: re.Match[str]) -> None:
        device, hca, port, mtu = (int(match[group]) for group in range(1, 5))
        gid_index, gid = (int(match[5]), decode_gid(match[6], match[7])) if match[5] else (None, None)
        self._connections[(device, hca, port, mtu, gid_index, gid)] += 1

    def _take_override(self, match: re.Match[str]) -> None:
        self._overrides[(int(match[1]), int(match[2]))] += 1

    def _take_init(self, match: re.Match[str]) -> None:
        self._inits[match[3]] += 1
        if match[1]:
            self._communicators[Communicator(int(match[1]), int(match[2]))] = None

    # --- the end ---

    def summary(self) -> NcclLog:
        return NcclLog(
            version=self._version,
            git=self._git,
            communicators=tuple(self._communicators),
            init_complete=self._inits["COMPLETE"] > 0 and self._inits["COMPLETE"] >= self._inits["START"],
            networks=tuple(self._networks),
            plugins=tuple(self._plugins),
            external_plugins=tuple(self._external),
            hcas=tuple(self._hca(index) for index in sorted(self._hcas)),
            virtual_devices=tuple(self._virtual[index] for index in sorted(self._virtual)),
            oob=self._oob,
            bootstrap=self._bootstrap,
            sockets=tuple(self._sockets),
            env=self._env,
            channels=tuple(Channels(*key, count) for key, count in self._channels.items()),
            queue_pairs=tuple(
                QueuePairs(device, sides["sender"], sides["receiver"], sides["undirected"])
                for device, sides in self._queue_pairs.items()
            ),
            connections=tuple(self._connection(*key, count) for key, count in self._connections.items()),
            overrides=tuple(self._override(*key, count) for key, count in self._overrides.items()),
            findings=tuple(Finding(*key, seen.count, seen.excerpt) for key, seen in self._findings.items()),
            folded=self._folded,
            lines=self._lines,
            sha256=self._digest.hexdigest(),
        )

    def _hca(self, index: int) -> Hca:
        device, port, link_layer = self._hcas[index]
        virtual = self._virtual.get(index)
        speed, path = self._details.get(device, (None, ""))
        if speed is None and virtual and virtual.devices == (device,):
            speed = virtual.speed_mbps
        return Hca(index, device, port, link_layer, speed, path or None, pci_domain(device, path))

    def _hca_name(self, index: int) -> str | None:
        return self._hcas[index][0] if index in self._hcas else self._names.get(index)

    def _connection(
        self, device: int, hca: int, port: int, mtu: int, gid_index: int | None, gid: str | None, count: int
    ) -> Connection:
        ipv4 = gid_ipv4(gid) if gid else None
        name = self._hca_name(hca)
        return Connection(device, hca, name, port, mtu, MTU_BYTES.get(mtu), gid_index, gid, ipv4, count)

    def _override(self, from_index: int, to_index: int, lines: int) -> Override:
        before, after = self._members(from_index), self._members(to_index)
        domains = self._domains(before), self._domains(after)
        crosses = domains[0] != domains[1] if domains[0] and domains[1] else None
        return Override(from_index, to_index, before, after, crosses, lines)

    def _members(self, index: int) -> tuple[str, ...]:
        if index in self._virtual:
            return self._virtual[index].devices
        name = self._hca_name(index)
        return (name,) if name else ()

    def _domains(self, devices: tuple[str, ...]) -> set[str] | None:
        """Of every device, or None: half of an answer would call a collapse harmless."""
        found = {pci_domain(device, self._details.get(device, (None, ""))[1]) for device in devices}
        return None if None in found else t.cast("set[str]", found)


# (what must occur, the pattern, what takes it): the first that fits has the line, so the frequent stand first.
_MESSAGES: tuple[tuple[str, re.Pattern[str], t.Callable[[_Reader, re.Match[str]], None]], ...] = (
    (
        " via ",
        re.compile(
            rf"Channel [0-9]+(?:/[0-9]+)? : {_NUMBER}(?:\[\w+\])?(?: -> {_NUMBER}\[\w+\])?(?: \[(send|receive)\])?"
            r" via ([^/\s]+)/?(.*)"
        ),
        _Reader._take_channel,
    ),
    # A flush queue pair is connected to itself and moves no data: "Flush QP created" must not match.
    (
        " devName=",
        re.compile(rf"(?:(\w+): QP created:|ncclIbCreateQp) port=[0-9]+ dev={_NUMBER} devName=(\S+)"),
        _Reader._take_queue_pair,
    ),
    (
        " IbDev ",
        re.compile(
            rf"NCCL (?:Merged)?Dev {_NUMBER} IbDev {_NUMBER} Port {_NUMBER} (?:qp_num|qpn) [0-9]+ mtu {_NUMBER} "
            rf"(?:GID {_NUMBER} \(([0-9A-Fa-f]{{1,16}})/([0-9A-Fa-f]{{1,16}})\)|LID)"
        ),
        _Reader._take_connection,
    ),
    (
        "overriding dev ",
        re.compile(rf"Subnet-aware routing: overriding dev {_NUMBER} with dev {_NUMBER}"),
        _Reader._take_override,
    ),
    ("Init ", re.compile(rf"(?:rank {_NUMBER} n[rR]anks {_NUMBER} .*)?Init (START|COMPLETE)"), _Reader._take_init),
    ("set by env", re.compile(r"\b(NCCL_\w+) set by env(?:ironment)? to ?(.*)"), _Reader._take_environment),
    (" set to ", re.compile(r"\b(NCCL_\w+) set to (.*)"), _Reader._take_environment),
    (" provider=", re.compile(rf"NET/\w+ ?: \[[0-9]+\] ([^\s:]+):.* speed={_NUMBER}.*"), _Reader._take_device),
    (
        "virtual device ",
        re.compile(rf"Made virtual device \[{_NUMBER}\] name=(\S+) speed={_NUMBER}"),
        _Reader._take_virtual,
    ),
    ("NET/Socket", re.compile(r"NET/Socket ?: Using (.*)"), _Reader._take_sockets),
    ("Bootstrap", re.compile(r"Bootstrap ?: Using (.*)"), _Reader._take_bootstrap),
    ("; OOB ", re.compile(r"NET/\w+ ?: Using (.*)"), _Reader._take_hcas),
    ("No device found", re.compile(r"NET/\w+ ?: No device found"), _Reader._take_failure),
    # 34 retries take a minute, so a run that is stopped before shows a wrong neighbour by these lines only.
    ("ibv_modify_qp failed", re.compile(r"ibv_modify_qp failed.*\bretrying\b"), _Reader._take_retry),
    ("Failed to initialize NET", re.compile(r"Failed to initialize NET plugin"), _Reader._take_failure),
    ("NET plugin ", re.compile(r"Initialized NET plugin (\S.*)"), _Reader._take_plugin),
    ("NET plugin ", re.compile(r"Assigned NET plugin (\S.*?) to comm"), _Reader._take_network),
    ("Using network ", re.compile(r"Using network (\S.*)"), _Reader._take_network),
    (
        "plugin ",
        re.compile(r"(?:Successfully loaded external (?:network )?plugin|NET/Plugin: Loaded net plugin) (\S+)"),
        _Reader._take_external,
    ),
    ("git version ", re.compile(r"NCCL git version \S+ (\S+)"), _Reader._take_git),
)


def _interfaces(text: str) -> list[Interface]:
    return [Interface(name, address) for name, address in _INTERFACE.findall(text)]


def _device(message: str) -> str | None:
    match = _FINDING_DEVICE.search(message)
    return match[1] if match else None


def _bytes(line: str) -> bytes:
    try:
        return line.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return line.encode("utf-8", "surrogatepass")
