# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""L: one half behind a cage, at one end."""

from __future__ import annotations

import ipaddress
import typing as t

from ...contracts import RdmaFacts
from ...probe.counters import DROPPED
from ..limits import Equals, Growth, Limits
from ..outcome import Outcome, degraded, failed, graded, passed, unknown
from ..registry import check
from ..views import HalfView

# Behind a switch these can be congestion; on a cable between two nodes there is nothing to congest (L08).
_CONGESTION = frozenset({"packet_seq_err", "out_of_sequence", "out_of_seq_request", "rcvd_seq_err"})


@check(
    "L01",
    scope="half",
    needs=("half.operstate",),
    parents=("N00", "N02"),
    far_parents=("N00",),  # a node without power takes the carrier of its neighbours with it
    limits={"speed_mbps": Equals},
    optional_limits={"lanes": Equals, "fec": Equals},
)
def carrier(half: HalfView, limits: Limits) -> Outcome:
    """The port has a carrier at 200 Gb/s, and where the driver tells, on four lanes with RS FEC.

    100000 Mb/s is a 100G cable, or a switch port that is not forced to 200G-baseCR4.
    """
    found = half.half
    if found["carrier"] is None:
        return _no_word_of_a_carrier(half)
    if not found["carrier"]:
        return failed(
            f"no carrier on {found['netdev']}",
            cause="hardware",
            remedy=[
                f"see that the plug is seated in {half.node} {half.planned['cage']} and at the far end",
                f"swap the cable of {half.node} {half.planned['cage']} with another one: does the fault move?",
            ],
            measured={"carrier": False, "operstate": found["operstate"]},
        )
    values = {"speed_mbps": found["speed_mbps"], "lanes": found["lanes"], "fec": found["fec"]}
    wanted = {name: limit for name in values if (limit := limits.find(Equals, name)) is not None}
    silent = [name for name in wanted if values[name] is None]
    measured = {"carrier": True, "operstate": found["operstate"]} | {name: values[name] for name in wanted}
    threshold = {name: limit.equals for name, limit in wanted.items()}
    if silent:
        why = [problem for problem in half.facts["problems"] if found["netdev"] in problem]
        return unknown(
            ": ".join([f"{found['netdev']} does not tell its {', '.join(silent)}", *why[:1]]),
            measured=measured,
            threshold=threshold,
        )
    wrong = [
        f"{name} {values[name]} (expected {limit.equals})"
        for name, limit in wanted.items()
        if limit.grade(t.cast("int | str", values[name])) != "pass"
    ]
    if wrong or found["operstate"] not in ("up", "unknown"):
        return failed(
            ", ".join([*wrong, *([] if wrong else [f"{found['netdev']} is {found['operstate']}"])]),
            cause="hardware",
            remedy=[f"use a 200G cable at {half.node} {half.planned['cage']}; force a switch port to 200G-baseCR4"],
            measured=measured,
            threshold=threshold,
        )
    return passed(f"{found['speed_mbps']} Mb/s", measured=measured, threshold=threshold)


def _no_word_of_a_carrier(half: HalfView) -> Outcome:
    """The kernel says nothing about the carrier of a port that is switched off."""
    netdev, measured = half.planned["netdev"], {"carrier": None, "operstate": half.half["operstate"]}
    if half.half["operstate"] != "down":
        return unknown(f"whether {netdev} has a carrier is not known", measured=measured)
    return failed(
        f"{netdev} is switched off",
        cause="configuration",
        remedy=[f"run `ip link set {netdev} up` on {half.node}, or site.yml: role fabric sets it up"],
        measured=measured,
    )


@check(
    "L02",
    scope="half",
    needs=("half.rdma", "half.rdma.state", "half.rdma.physical_state", "half.rdma.netdev", "half.rdma.link_layer"),
    parents=("N00", "N02", "N07", "L01"),
)
def rdma_map(half: HalfView, limits: Limits) -> Outcome:
    """The RDMA device is active, on Ethernet, and bound to the planned interface."""
    rdma = t.cast(RdmaFacts, half.half["rdma"])  # `needs` has seen it
    planned = half.planned
    measured = {key: rdma[key] for key in ("device", "state", "physical_state", "netdev", "link_layer")}
    if (rdma["device"], rdma["netdev"]) != (planned["rdma"], planned["netdev"]):
        return failed(
            f"{rdma['device']} is bound to {rdma['netdev']}, planned is {planned['rdma']} on {planned['netdev']}",
            cause="configuration",
            remedy=[f"see what renamed or moved the devices of {half.node}; names can change after a firmware update"],
            measured=measured,
        )
    if (rdma["state"], rdma["physical_state"], rdma["link_layer"]) != ("ACTIVE", "LINK_UP", "Ethernet"):
        return failed(
            f"{rdma['device']} is {rdma['state']}, {rdma['physical_state']}, {rdma['link_layer']}",
            cause="hardware",
            remedy=[f"see that {planned['netdev']} of {half.node} is up and its plug is seated"],
            measured=measured,
        )
    return passed(f"{rdma['device']} is active", measured=measured)


@check(
    "L04",
    scope="half",
    needs=("half.mtu", "half.rdma.active_mtu"),
    parents=("N00", "L01", "L02"),
    limits={"active_mtu": Equals},
)
def live_mtu(half: HalfView, limits: Limits) -> Outcome:
    """The live MTU is the planned one, and RDMA uses packets of 4096 bytes.

    NetworkManager keeps a new MTU in its profile and does not push it to a live link; a firmware capsule resets it.
    """
    rdma = half.half["rdma"]
    mtu, active = half.half["mtu"], rdma["active_mtu"] if rdma else None
    planned, expected = half.reading.plan["mtu"], limits.get(Equals, "active_mtu").equals
    measured = {"mtu": mtu, "active_mtu": active}
    threshold = {"mtu": planned, "active_mtu": expected}
    if mtu == planned and active == expected:
        return passed(f"MTU {mtu}, {active} on the wire", measured=measured, threshold=threshold)
    return failed(
        f"{half.planned['netdev']} has MTU {mtu} and RDMA packets of {active} bytes,"
        f" planned are {planned} and {expected}",
        cause="configuration",
        remedy=[f"run site.yml: role fabric sets MTU {planned} live on {half.node}"],
        measured=measured,
        threshold=threshold,
    )


@check(
    "L05",
    scope="half",
    needs=("facts.addresses", "facts.routes", "half.ipv4"),
    parents=("N00", "N02", "L01"),  # without a carrier networkd takes the address away
)
def addresses(half: HalfView, limits: Limits) -> Outcome:
    """The interface has its planned address and nothing else of the node is in that subnet; no default route over it.

    Two interfaces in one subnet (twins, or two links) break routing and NCCL's choice of a device. A port that is
    active without an IPv4 address only has fe80 GIDs: initialisation succeeds, completions fail.
    """
    planned = half.planned
    wanted = f"{planned['ipv4']}/{planned['prefix']}"
    found = half.half["ipv4"] or []
    intruders = _others_in_subnet(half)
    stray = _stray_routes(half)
    measured = {"ipv4": found, "same_subnet": intruders, "stray_routes": stray}
    threshold = {"ipv4": [wanted], "subnet": planned["subnet"]}
    remedy = [f"run site.yml: role fabric writes the planned addresses of {half.node}"]
    problems: list[str] = []
    if wanted not in found:
        problems.append(f"{planned['netdev']} has {' '.join(found) or 'no address'}, planned is {wanted}")
    if intruders:
        problems.append(f"{planned['netdev']} and {' '.join(intruders)} are in one subnet {planned['subnet']}")
    if stray and not problems:
        remedy = [f"remove {stray[0]} on {half.node}"]  # role fabric takes nobody's routes away
    problems += stray
    if problems:
        return failed("; ".join(problems), cause="configuration", remedy=remedy, measured=measured, threshold=threshold)
    if len(found) > 1:
        extra = [address for address in found if address != wanted]
        return degraded(
            f"{planned['netdev']} has {' '.join(extra)} besides {wanted}",
            cause="configuration",
            remedy=[f"find who adds {' '.join(extra)} on {half.node} and remove it"],
            measured=measured,
            threshold=threshold,
        )
    return passed(wanted, measured=measured, threshold=threshold)


def _others_in_subnet(half: HalfView) -> list[str]:
    """Other interfaces of the node with an address in the subnet of this half, or in one that this half is in."""
    own = [ipaddress.ip_network(half.planned["subnet"])]
    own += [ipaddress.ip_interface(address).network for address in half.half["ipv4"] or []]
    return sorted(
        netdev
        for netdev, addresses_ in (half.facts["addresses"] or {}).items()
        if netdev != half.planned["netdev"] and any(_overlaps(address, own) for address in addresses_)
    )


def _overlaps(address: str, networks: list[t.Any]) -> bool:
    network = ipaddress.ip_interface(address).network
    return any(network.version == own.version and network.overlaps(own) for own in networks)


def _stray_routes(half: HalfView) -> list[str]:
    netdev, subnet = half.planned["netdev"], half.planned["subnet"]
    stray = []
    for route in half.facts["routes"] or []:
        if (route["dst"], route["dev"]) == ("default", netdev):
            stray.append(f"a default route over {netdev}")
        if route["dst"] == subnet and route["dev"] != netdev:
            stray.append(f"a route to {subnet} over {route['dev']}")
    return stray


@check(
    "L06",
    scope="half",
    needs=("half.rdma.gids",),
    parents=("N00", "L01", "L02", "L05"),
)
def gid(half: HalfView, limits: Limits) -> Outcome:
    """The GID table has one RoCE v2 entry for the planned address. Its index is recorded, never set: it drifts."""
    rdma = half.half["rdma"]
    planned = half.planned
    entries = [
        entry["index"]
        for entry in (rdma["gids"] if rdma else [])
        if entry["type"] == "RoCE v2" and entry["ipv4"] == planned["ipv4"] and entry["netdev"] == planned["netdev"]
    ]
    measured = {"gid_index": entries}
    if len(entries) == 1:
        return passed(f"RoCE v2 at index {entries[0]}", measured=measured)
    if entries:
        return degraded(
            f"{len(entries)} RoCE v2 entries for {planned['ipv4']} on {planned['rdma']}",
            cause="configuration",
            remedy=[f"see which address of {planned['netdev']} on {half.node} was added twice"],
            measured=measured,
        )
    return failed(
        f"{planned['rdma']} has no RoCE v2 entry for {planned['ipv4']}",
        cause="configuration",
        remedy=[f"run site.yml: role fabric writes the address of {planned['netdev']} on {half.node}"],
        measured=measured,
    )


@check(
    "L08",
    scope="half",
    needs=("growth",),
    parents=("N00", "L01", "L02"),
    explained_by=("N09",),
    limits={"growth": Growth},
    active=True,
)
def error_counters(half: HalfView, limits: Limits) -> Outcome:
    """The error counters did not grow while the fabric was measured.

    Growth counts, never the value: healthy nodes carry old residue. Flush errors rise whenever a queue pair ends and
    corrected bits rise on a good cable, so neither is judged. Behind a switch, lost order can be congestion: degraded.
    """
    limit = limits.get(Growth, "growth")
    growth = half.growth or {}
    absent = sorted(limit.max.keys() - growth.keys())
    judged = limit.max | {name: most for name, most in limit.if_present.items() if name in growth}
    grown = {name: growth[name] for name, most in judged.items() if name in growth and growth[name] > most}
    measured = {"growth": {name: growth[name] for name in judged if name in growth}}
    dropped = {name: growth[name] for name in sorted(DROPPED - judged.keys()) if growth.get(name)}
    if dropped:
        measured["dropped"] = dropped  # not judged; where a path fails one way it tells the host from the wire
    if grown:
        behind_switch = half.reading.plan["topology"] == "switch" and grown.keys() <= _CONGESTION
        return graded(
            "degraded" if behind_switch else "fail",
            ", ".join(f"{name} +{value} (allowed {judged[name]})" for name, value in grown.items()),
            cause="hardware",
            remedy=[f"reseat or swap the cable of {half.node} {half.planned['cage']}, then measure again"],
            measured=measured,
            threshold=judged,
        )
    if absent:
        return unknown(
            f"{half.planned['rdma']} has no counter {', '.join(absent)}", measured=measured, threshold=judged
        )
    return passed("no errors", measured=measured, threshold=judged)


@check(
    "L10",
    scope="half",
    needs=("facts.netplan_files",),
    parents=("N00", "N02"),  # whom a file names is known of interfaces that are there
)
def persistence(half: HalfView, limits: Limits) -> Outcome:
    """The address is in our netplan file, so that it is there after a reboot, and no other file names the interface."""
    netdev = half.planned["netdev"]
    files = [file for file in half.facts["netplan_files"] if netdev in file["interfaces"]]
    foreign = [file["path"] for file in files if not file["owned"]]
    measured = {"files": [file["path"] for file in files]}
    if foreign:
        return graded(
            "degraded" if len(foreign) < len(files) else "fail",
            f"{netdev} is configured by {' '.join(foreign)}, which is not ours",
            cause="configuration",
            remedy=[f"remove {netdev} from {' '.join(foreign)} on {half.node}, or let role fabric take it over"],
            measured=measured,
        )
    if files:
        return passed(files[0]["path"], measured=measured)
    return failed(
        f"no netplan file names {netdev}; its configuration is gone after a reboot",
        cause="configuration",
        remedy=[f"run site.yml: role fabric writes the netplan file of {half.node}"],
        measured=measured,
    )
