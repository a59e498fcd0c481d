# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may reach a node: rules for ufw where that is active, else a table of our own for nftables.

Pure; runs on the node. What is no IP (ARP, LLDP, the hello frames of the fabric, ethertype 0x88B5) passes no rule of
these families. RoCE v2 is UDP 4791, NCCL meets on ports of its choice: peers are let in wholesale (spark-facts 2.5).
"""

from __future__ import annotations

import re
import typing as t
from ipaddress import IPv4Network, IPv6Network, ip_network

from .part import FINGERPRINT, HEADER, BaseRefused, Live, Part, UfwRule, own_file

if t.TYPE_CHECKING:
    from .part import Declared, Seen

RULES = "/etc/gb10/firewall.nft"
UNIT = "/etc/systemd/system/gb10-firewall.service"
WANTED_BY = "/etc/systemd/system/multi-user.target.wants/gb10-firewall.service"
FIREWALLD = "/run/firewalld"
TABLE = "gb10"
UFW_COMMENT = "gb10.cluster"
SSH_PORT = 22
LAST_PORT = 65535
_Network = t.TypeVar("_Network", IPv4Network, IPv6Network)

_SERVICE = "gb10-firewall.service"
_RELOAD = ["systemctl", "daemon-reload"]
_DELETE = ["nft", "delete", "table", "inet", TABLE]
# Without counters. What the kernel lists is not what the file says, so its hash is kept to see a change by somebody.
LISTING = ["nft", "-s", "list", "table", "inet", TABLE]
# nftables.service flushes everything when it starts, stops or reloads, so ours goes with it.
_UNIT_LINES = f"""\
[Unit]
Description=Firewall of gb10.cluster
DefaultDependencies=no
After=nftables.service local-fs.target
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {RULES}
ExecReload=/usr/sbin/nft -f {RULES}
ExecStop=-/usr/sbin/nft delete table inet {TABLE}

[Install]
WantedBy=multi-user.target
"""
_UFW_TUPLE = re.compile(
    r"^### tuple ### allow (?P<proto>\S+) (?P<port>\S+) \S+ any (?P<source>\S+) in comment=(?P<comment>[0-9a-f]+)\s*$",
    re.MULTILINE,
)
_UFW_POLICY = "ufw_policy"
_ANYWHERE = {"0.0.0.0/0", "::/0"}  # in ufw's own words


def firewall(declared: Declared, seen: Seen, record: t.Any) -> Part:
    """`peers` closes nothing and opens an active ufw for the cluster; `closed` closes the rest as well."""
    mode = declared["firewall"]
    part = Part("firewall", asked=mode == "closed", guarded=True, record=record)
    part.skipped = _why_not(mode, seen)
    if mode == "closed":
        _see_what_is_open(declared)
    with_ufw = seen.ufw is not None and mode != "off"
    with_nft = mode == "closed" and part.skipped is None and not with_ufw
    _own_table(part, seen, rules(declared, seen) if with_nft else None)
    _ufw(part, seen, ufw_rules(declared, seen) if with_ufw else frozenset())
    _ufw_policy(part, seen, mode == "closed")
    if not with_nft and part.record:
        part.record = {key: value for key, value in part.record.items() if key != FINGERPRINT} or None
    return part


def _why_not(mode: str, seen: Seen) -> str | None:
    if mode == "off" or seen.ufw is not None:
        return None
    if mode == "peers":
        return "ufw is not active, and nothing else is to be closed"
    if FIREWALLD in seen.files:
        return "firewalld runs; let the peers in there, or stop it"
    return None if "nft" in seen.commands else "neither is ufw active nor nftables installed"


def _see_what_is_open(declared: Declared) -> None:
    for port in declared["open_ports"]:
        if not 0 < port <= LAST_PORT:
            raise BaseRefused(f"dgx_os_open_ports has {port}, expected 1 to {LAST_PORT}")
    for name in ("open_from", "ssh_from"):
        for value in declared[name]:
            try:
                ip_network(value)
            except ValueError as error:
                raise BaseRefused(f"dgx_os_{name} has {value!r}: {error}; expected an address or a network") from None


# --- who ---


def peers(declared: Declared) -> list[str]:
    return sorted({node["mgmt_ip"] for name, node in declared["plan"]["nodes"].items() if name != declared["node"]})


def fabric(declared: Declared) -> list[tuple[str, str]]:
    """The own fabric interfaces, each with its subnet."""
    return [(half["netdev"], half["subnet"]) for half in declared["plan"]["nodes"][declared["node"]]["halves"]]


def ssh_ports(seen: Seen) -> list[int]:
    """Where sshd listens, and where this very run has come in."""
    ports = {int(port) for port in (seen.sshd or {}).get("port", []) if port.isdigit()} or {SSH_PORT}
    return sorted(ports | ({seen.connection.server_port} if seen.connection else set()))


def ssh_sources(declared: Declared, seen: Seen) -> list[str]:
    """Empty: from anywhere. Where it is narrowed, the way that this run takes stays."""
    if not declared["ssh_from"]:
        return []
    return sorted({*declared["ssh_from"], *([seen.connection.client] if seen.connection else [])})


# --- nftables ---


def rules(declared: Declared, seen: Seen) -> str:
    """The whole table, which the kernel replaces in one step. An accept of somebody else's table opens nothing here."""
    netdevs, subnets = zip(*fabric(declared), strict=True) if fabric(declared) else ((), ())
    lines = [
        "ct state established,related accept",
        'iif "lo" accept',
        'meta iifkind "bridge" accept  # containers of this node',
        *([f"iifname {_set(map(_quoted, netdevs))} ip saddr {_set(sorted(set(subnets)))} accept"] if netdevs else []),
        *_from(peers(declared), "accept"),
        "meta l4proto { icmp, ipv6-icmp, igmp } accept",
        "udp dport { 68, 546, 5353 } accept  # leases, and the name on the local network",
        *_open(ssh_ports(seen), ssh_sources(declared, seen)),
        *_open(declared["open_ports"], declared["open_from"]),
    ]
    # Ports that docker publishes come this way, already translated.
    through = [
        "ct state established,related accept",
        'meta iifkind "bridge" accept',
        *_from(peers(declared), "ct status dnat accept"),
        *_open(declared["open_ports"], declared["open_from"], "meta l4proto tcp ct original proto-dst"),
        "ct status dnat drop",
    ]
    return (
        f"{HEADER}table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n"
        + _chain("input", "drop", lines)
        + _chain("forward", "accept", through)
        + "}\n"
    )


def _chain(hook: str, policy: str, lines: list[str]) -> str:
    body = "".join(f"        {line}\n" for line in lines)
    return f"    chain {hook} {{\n        type filter hook {hook} priority filter - 5; policy {policy};\n{body}    }}\n"


def _open(ports: t.Sequence[int], sources: t.Sequence[str], match: str = "tcp dport") -> list[str]:
    if not ports:
        return []
    allowed = f"{match} {_set(map(str, sorted(set(ports))))} accept"
    return _from(sources, allowed) if sources else [allowed]


def _from(addresses: t.Sequence[str], rest: str) -> list[str]:
    v4 = [one for one in map(ip_network, addresses) if isinstance(one, IPv4Network)]
    v6 = [one for one in map(ip_network, addresses) if isinstance(one, IPv6Network)]
    families = (("ip", _outermost(v4)), ("ip6", _outermost(v6)))
    return [f"{family} saddr {_set(found)} {rest}" for family, found in families if found]


def _outermost(networks: list[_Network]) -> list[str]:
    """nft refuses a set in which one network lies inside another."""
    kept = [one for one in set(networks) if not any(one != other and one.subnet_of(other) for other in networks)]
    return [_plain(one) for one in sorted(kept)]


def _plain(network: IPv4Network | IPv6Network) -> str:
    return str(network.network_address if network.num_addresses == 1 else network)


def _set(items: t.Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"


def _quoted(text: str) -> str:
    return f'"{text}"'


def _own_table(part: Part, seen: Seen, wanted: str | None) -> None:
    part.files = [
        own_file(RULES, wanted, mode="0600", validate=["nft", "-c", "-f", "%s"] if wanted else None),
        own_file(UNIT, HEADER + _UNIT_LINES if wanted else None),
    ]
    enabled, there = WANTED_BY in seen.files, seen.nft_sha256 is not None
    if wanted is None:
        if enabled or there:
            part.after_files = [_RELOAD]
            again = ["enable", "--now", "--quiet"] if enabled else ["reload-or-restart"]
            part.back = [_RELOAD, ["systemctl", *again, _SERVICE]]
        if enabled:
            part.first.append(
                Live("firewall at boot", "on", "off", [["systemctl", "disable", "--now", "--quiet", _SERVICE]])
            )
        elif there:
            part.first.append(Live("firewall", "a table of ours", "none", [_DELETE]))
        return
    start = ["systemctl", "reload-or-restart", _SERVICE]
    part.after_files = [_RELOAD, start]
    part.back = [_RELOAD, start] if there else [["systemctl", "stop", _SERVICE], _DELETE, _RELOAD]
    part.fingerprint = LISTING
    if there and seen.nft_sha256 != (part.record or {}).get(FINGERPRINT):
        part.live.append(Live("firewall table", "changed by somebody", "as declared", [start]))
    elif not there:
        part.live.append(Live("firewall table", "none", "as declared", [start]))
    if not enabled:
        # Not sooner: should the node be cut off and started again, it comes up open.
        part.final = [Live("firewall at boot", "off", "on", [["systemctl", "enable", "--quiet", _SERVICE]])]


# --- ufw ---


def ufw_rules(declared: Declared, seen: Seen) -> frozenset[UfwRule]:
    nets = [*peers(declared), *(subnet for _netdev, subnet in fabric(declared))]
    wanted = {UfwRule(_plain(ip_network(net)), None) for net in nets}
    if declared["firewall"] == "closed":
        wanted |= _ports(ssh_ports(seen), ssh_sources(declared, seen))
        wanted |= _ports(declared["open_ports"], declared["open_from"])
    return frozenset(wanted)


def _ports(ports: t.Sequence[int], sources: t.Sequence[str]) -> set[UfwRule]:
    if not sources:
        return {UfwRule(None, port) for port in ports}
    return {UfwRule(_plain(ip_network(source)), port) for port in ports for source in sources}


def parse_ufw_rules(text: str) -> frozenset[UfwRule]:
    """Those of ours in ufw's user.rules, by their comment (ufw keeps it in hex)."""
    own = UFW_COMMENT.encode().hex()
    return frozenset(
        UfwRule(
            None if match["source"] in _ANYWHERE else match["source"],
            int(match["port"]) if match["port"].isdigit() else None,
        )
        for match in _UFW_TUPLE.finditer(text)
        if match["comment"] == own
    )


def _ufw(part: Part, seen: Seen, wanted: frozenset[UfwRule]) -> None:
    ours = seen.ufw.ours if seen.ufw else frozenset()
    for rule in sorted(wanted - ours, key=str):
        part.live.append(Live("ufw", "", " ".join(rule.words()), [_add(rule)], undo=[_delete(rule)]))
    for rule in sorted(ours - wanted, key=str):
        part.live.append(Live("ufw", " ".join(rule.words()), "", [_delete(rule)], undo=[_add(rule)]))


def _ufw_policy(part: Part, seen: Seen, closed: bool) -> None:
    if seen.ufw is None:
        return
    record = dict(part.record or {})
    if closed and seen.ufw.input_policy == "ACCEPT":
        record[_UFW_POLICY] = "allow"
        part.live.append(_policy("allow", "deny"))
    elif not closed and record.pop(_UFW_POLICY, None) and seen.ufw.input_policy != "ACCEPT":
        part.live.append(_policy("deny", "allow"))
    part.record = record or None


def _policy(before: str, after: str) -> Live:
    back = ["ufw", "default", before, "incoming"]
    return Live("ufw incoming", before, after, [["ufw", "default", after, "incoming"]], undo=[back])


def _add(rule: UfwRule) -> list[str]:
    # First, so that a deny of somebody else does not come before it.
    return ["ufw", "prepend", *rule.words(), "comment", UFW_COMMENT]


def _delete(rule: UfwRule) -> list[str]:
    return ["ufw", "--force", "delete", *rule.words()]
