# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words that may leave the house: none of them can be a serial number, an address, a host or a secret.

Nothing is searched for and taken out. A text is kept when each of its words is known here, is a number or a version, or
is a name of the plan, for which its alias is written. Everything else becomes a question mark.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ..contracts import Cage, HalfName, Plan
from ..plan.hardware import CAGES, HALF_NAMES, HALF_PORTS, SWITCH_PORTS
from ..probe.counters import MLX5, RXE

LEFT_OUT = "?"

_KEYS = """
    active_mtu architecture baseline busbw_gbs bw_gbps cable carrier carrier_down_count corrected degraded device
    devices drops elsewhere fec firmware functions gid_index gpu_driver growth headers heard ipv4 iterations kernel
    lanes lat_us link_layer local_ipv4 loss median_of_run min_ratio mtu netdev network networks newest on_port
    operstate os_version pass perftest profile physical_state planned rails ranks received_elsewhere reboot_required
    remote_ipv4 running runs same_subnet sent_elsewhere settled share shares slowest spread state subnet
    subnet_aware_routing transport transports uverbs version width gts bandwidth_drop latency_rise drops_with_boot
    mtus odd_nodes
"""
_VALUES = """
    a b p0 p1 by half sent received up down unknown RS DOWN INIT ARMED ACTIVE LINK_UP DISABLED POLLING Ethernet
    InfiniBand RoCE v2 IB Socket NET/IB NET/Socket all_gather all_reduce torch nccl_tests GT/s MiB aarch64 x86_64
    NVIDIA GB10 x1 x2 x4
"""
_SUSPECTS = "node cage port controller link half-link plane path common cause difference between and"
_COUNTERS = "rx_crc_errors_phy rx_discards_phy rx_symbol_err_phy link_down_events_phy rx_corrected_bits_phy"
_WORDS = frozenset(f"{_KEYS} {_VALUES} {_SUSPECTS} {_COUNTERS}".split()) | MLX5.errors | RXE.errors
_HARDWARE = frozenset(name for port in HALF_PORTS for name in (port.netdev, port.rdma)) | frozenset(SWITCH_PORTS)
# "Units are in the key" of the contracts, so what ends in one is a number.
_MEASURE = re.compile(r"[a-z0-9_]{1,24}_(gbps|gbs|mbps|us|s|kib|gib|mib|bytes|ratio)")
_NUMBER = re.compile(r"-?\d{1,10}(\.\d{1,4})?")
_VERSION = re.compile(
    r"\d{1,5}(\.\d{1,5}){1,3}([-+~]\d{1,4}(\.\d{1,4}){0,2}){0,2}(-(nvidia|generic|64k|cloud|hwe|amd64|arm64)|\+cu\d{2,3})*"
)
_CHECK = re.compile(r"[NLPC]\d{2}")


class Vocabulary:
    """The words of one run, with an alias for every name and address of its plan."""

    def __init__(self, plan: Plan, also: t.Collection[str] = ()) -> None:
        self._aliases = _aliases(plan) | {word: word for word in also}
        self._addresses = _addresses(plan)

    def text(self, text: str) -> str:
        """The text in words that may be shown, or a question mark."""
        words = [self._word(word) for word in text.split(" ")]
        return LEFT_OUT if None in words else " ".join(word for word in words if word is not None)

    def value(self, value: t.Any) -> t.Any:
        """The same for any JSON. What has a name that may not be shown is left out with it."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            named = ((self.text(str(key)), item) for key, item in value.items())
            return {key: self.value(item) for key, item in named if key != LEFT_OUT}
        return value

    def address(self, text: str) -> str | None:
        """The stand-in for an IPv4 address, with its prefix; None for what is none."""
        bare, slash, prefix = text.partition("/")
        try:
            ipaddress.ip_interface(text)
            address = ipaddress.IPv4Address(bare)
        except ValueError:
            return None
        if str(address) not in self._addresses:
            others = sum(stand_in.startswith("203.0.113.") for stand_in in self._addresses.values())
            self._addresses[str(address)] = f"203.0.113.{others % 254 + 1}"
        return f"{self._addresses[str(address)]}{slash}{prefix}"

    def _word(self, word: str) -> str | None:
        if word in self._aliases:
            return self._aliases[word]
        address = self.address(word)
        if address is not None:
            return address
        if ">" in word:
            ends = [self._aliases.get(end) for end in word.split(">")]
            return None if None in ends else ">".join(map(str, ends))
        known = word in _WORDS or word in _HARDWARE
        return word if known or any(form.fullmatch(word) for form in (_MEASURE, _NUMBER, _VERSION, _CHECK)) else None


def node_aliases(plan: Plan) -> dict[str, str]:
    return {node: f"node{number}" for number, node in enumerate(plan["nodes"], start=1)}


def _aliases(plan: Plan) -> dict[str, str]:
    """Whatever a record can call a part of the plan."""
    nodes = node_aliases(plan)
    aliases = dict(nodes)
    for name, alias in nodes.items():
        aliases |= {f"{name}:{half}": f"{alias}:{half}" for half in HALF_NAMES}
        aliases |= {f"{name}:{cage}": f"{alias}:{cage}" for cage in CAGES}
        aliases |= {f"{name}:{cage}:{half}": f"{alias}:{cage}:{half}" for cage in CAGES for half in HALF_NAMES}
        aliases |= {f"{name}:{one}>{other}": f"{alias}:{one}>{other}" for one in CAGES for other in CAGES}
    aliases["+".join(nodes)] = "+".join(nodes.values())
    for path in plan["paths"]:
        ends = [(end["node"], end["cage"], end["half"]) for end in path["ends"]]
        aliases[path["id"]] = "-".join(_end(nodes, *end) for end in ends)
    for link in plan["links"]:
        plugs = [_plug(nodes, end["device"], end["port"]) for end in link["ends"]]
        aliases[link["id"]] = "-".join(plugs)
        aliases |= {f"{link['id']}:{half}": "-".join(f"{plug}:{half}" for plug in plugs) for half in HALF_NAMES}
    return aliases


def _end(nodes: t.Mapping[str, str], node: str, cage: Cage, half: HalfName) -> str:
    return f"{_plug(nodes, node, cage)}:{half if half in HALF_NAMES else LEFT_OUT}"


def _plug(nodes: t.Mapping[str, str], device: str, port: str) -> str:
    return f"{nodes.get(device, 'switch')}:{port if port in (*CAGES, *SWITCH_PORTS) else LEFT_OUT}"


def _addresses(plan: Plan) -> dict[str, str]:
    fabric = [half["ipv4"] for node in plan["nodes"].values() for half in node["halves"]]
    stand_ins = {address: f"198.51.100.{number}" for number, address in enumerate(fabric, start=1)}
    return stand_ins | {
        node["mgmt_ip"]: f"192.0.2.{number}" for number, node in enumerate(plan["nodes"].values(), start=1)
    }
