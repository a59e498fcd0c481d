# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C02, C03: over what each rank went, by its log and the counters of its ports."""

from __future__ import annotations

import typing as t

from ...contracts import Evidence, NcclLogSummary, NcclMeasurement
from ..limits import AtLeast, Equals, Limits
from ..outcome import Outcome, failed, graded, passed, unknown
from ..registry import check
from ..signatures import remedies
from ..views import RankView
from .nccl_place import missing_verbs

_NO_DEVICE = ("no_device", "plugin_failed")

_Details = dict[str, t.Any]


def _log(rank: RankView) -> NcclLogSummary:
    return t.cast(NcclLogSummary, rank.rank["log"])  # `needs` has seen it


def _evidence(log: NcclLogSummary) -> Evidence:
    return {"argv": [], "rc": None, "raw_sha256": log["sha256"]}


def _again(rank: RankView) -> list[str]:
    return [f"measure NCCL again; if it stays so, look at what serves on {rank.node}"]


@check(
    "C02",
    scope="rank",
    needs=(
        "rank.log.networks",
        "rank.log.transports",
        "rank.log.findings",
        "rank.log.void",
        "rank.log.folded",
    ),
    parents=("N00", "N07", "N14", "N17", "P01"),
    far_parents=("N00", "N09", "N14"),
    gap_parents=("N15",),  # memory that cannot be registered ends NCCL before it has a channel
    active=True,
)
def transport(rank: RankView, limits: Limits) -> Outcome:
    """Every channel of the rank goes over RDMA, by its log. NCCL falls back to TCP, at a tenth, without a word.

    A log without channels, or one in which equal lines were folded, proves nothing.
    """
    log, network = _log(rank), rank.env.get("NCCL_NET", "IB")
    details: _Details = {
        "measured": {"networks": log["networks"], "transports": log["transports"]},
        "threshold": {"network": network, "transport": f"NET/{network}"},
        "evidence": _evidence(log),
    }
    if log["void"]:
        return unknown("the addresses changed under the run, so it measured nothing", remedy=_again(rank), **details)
    if "Socket" in log["networks"] or any(name.startswith("NET/Socket") for name in log["transports"]):
        said = f"goes over TCP{_why_not_rdma(rank)}"
        return failed(said, cause="configuration", remedy=_off_tcp(rank), signature="tcp", **details)
    if log["folded"]:
        return unknown("equal lines of the log were folded into one", remedy=_again(rank), **details)
    if not log["transports"]:
        return _no_channels(rank, log, details)
    others = sorted({*log["transports"]} - {f"NET/{network}"}) + sorted({*log["networks"]} - {network})
    if not others and log["networks"]:
        return passed(f"{network} on all {sum(log['transports'].values())} channels", **details)
    return failed(
        f"goes over {', '.join(others) or 'a network that the log does not name'}, expected NET/{network} alone",
        cause="configuration",
        remedy=[f"see that each node runs one rank and nothing in the image of {rank.node} chooses another network"],
        signature="other-transport",
        **details,
    )


def _why_not_rdma(rank: RankView) -> str:
    missing = missing_verbs(rank) if rank.rank["inside"] else None
    return f": {missing} where it runs" if missing else ""


def _off_tcp(rank: RankView) -> list[str]:
    return remedies("tcp", rank.node)


def _no_channels(rank: RankView, log: NcclLogSummary, details: _Details) -> Outcome:
    found = [finding for finding in log["findings"] if finding["kind"] in _NO_DEVICE]
    if found:
        return failed(
            f"NCCL finds no RDMA device{_why_not_rdma(rank)}",
            cause="configuration",
            remedy=_off_tcp(rank),
            signature="no-rdma",
            **details,
        )
    said = [finding["kind"].replace("_", " ") for finding in log["findings"]]
    failure = rank.rank["failure"]
    said += [f"{failure['stage']}: {failure['message']}"] if failure else []
    reason = f" ({'; '.join(said)})" if said else ""
    return unknown(f"the log names no channel{reason}{_why_not_rdma(rank)}", remedy=_again(rank), **details)


@check(
    "C03",
    scope="rank",
    needs=(
        "rank.log.queue_pairs",
        "rank.log.connections",
        "rank.log.overrides",
        "rank.log.void",
        "rank.log.folded",
        "rank.tx_bytes",
        "rank.rx_bytes",
    ),
    parents=("N00", "N14", "N16", "C02", "C05", "P01"),
    limits={"share": AtLeast, "path_mtu": Equals},
    active=True,
)
def rails(rank: RankView, limits: Limits) -> Outcome:
    """Every planned half of the rank carries data: queue pairs with planned addresses, and its share of the bytes.

    A ring on one half of every cage still moves 13 GB/s, and the channels of the log are only a plan. Queue pairs and
    the counters of the ports are the truth. An override to the other PCI domain puts two halves on one PCIe link.
    """
    log = _log(rank)
    planned = {half["rdma"]: f"{half['cage']} {half['half']}" for half in rank.planned}
    moved = {device: _moved(rank.rank, device) for device in planned}
    details: _Details = {
        "measured": {
            "rails": sum(1 for total in moved.values() if total),
            "tx_bytes": rank.rank["tx_bytes"],
            "rx_bytes": rank.rank["rx_bytes"],
        },
        "threshold": limits.get(AtLeast, "share").shown() | {"mtu": limits.get(Equals, "path_mtu").equals},
        "evidence": _evidence(log),
    }
    if log["void"] or log["folded"]:
        return unknown("the log is void or folded and proves nothing", remedy=_again(rank), **details)
    if any(override["crosses_domain"] for override in log["overrides"]):
        return _collapsed(rank, log, details)
    by_ib = rank.env.get("NCCL_NET", "IB") == "IB"  # the mesh plugin does not write such lines
    carrying = {pairs["device"] for pairs in log["queue_pairs"]} if by_ib else set(planned)
    dead = [device for device in planned if device not in carrying or moved[device] == 0]
    if dead:
        return _dead_half(rank, [f"{planned[device]} ({device})" for device in dead], details)
    return (_connections(rank, log, limits, details) if by_ib else None) or _shares(rank, limits, details)


def _collapsed(rank: RankView, log: NcclLogSummary, details: _Details) -> Outcome:
    crossing = [override for override in log["overrides"] if override["crosses_domain"]]
    ways = ", ".join(f"{' '.join(each['to_devices'])} for {' '.join(each['from_devices'])}" for each in crossing)
    return failed(
        f"subnet-aware routing took {ways}: two halves share one PCIe link",
        cause="configuration",
        remedy=[f"compare addresses and subnets of both halves of {rank.node} and its neighbours with the plan"],
        signature="collapsed-plane",
        **details,
    )


def _moved(rank: NcclMeasurement, device: str) -> int | None:
    sent, received = rank["tx_bytes"].get(device), rank["rx_bytes"].get(device)
    return None if sent is None or received is None else sent + received


def _dead_half(rank: RankView, dead: list[str], details: _Details) -> Outcome:
    return failed(
        f"nothing went over {', '.join(dead)}",
        cause="configuration",
        remedy=[
            f"see that NCCL_IB_HCA names every planned device of {rank.node} where it serves",
            "see that its container has every /dev/infiniband/uverbs file",
        ],
        signature="dead-half",
        **details,
    )


def _connections(rank: RankView, log: NcclLogSummary, limits: Limits, details: _Details) -> Outcome | None:
    """What is wrong with the addresses and packet sizes of the queue pairs; None when all is right."""
    addresses = {half["rdma"]: half["ipv4"] for half in rank.planned}
    made = log["connections"]
    if not made or any(None in (each["device"], each["gid_index"], each["mtu_bytes"]) for each in made):
        return unknown("addresses and MTU of the queue pairs are not known", remedy=_again(rank), **details)
    used = {(str(each["device"]), each["ipv4"]) for each in made}
    used |= {(pairs["device"], None) for pairs in log["queue_pairs"] if pairs["device"] not in addresses}
    foreign = [(device, ipv4) for device, ipv4 in used if ipv4 is None or addresses.get(device) != ipv4]
    astray = sorted(f"{device} {ipv4}" if ipv4 else device for device, ipv4 in foreign)
    expected = limits.get(Equals, "path_mtu").equals
    small = sorted({str(each["mtu_bytes"]) for each in made if each["mtu_bytes"] != expected})
    if not astray and not small:
        return None
    other = any(device not in addresses for device, _ipv4 in foreign)
    wrong = f"queue pairs at {', '.join(astray)}, which nobody planned" if astray else f"packets of {small[0]} bytes"
    return failed(
        wrong,
        cause="configuration",
        remedy=[f"run site.yml: role fabric sets addresses and MTU of {rank.node}"],
        signature="wrong-hca" if other else "unplanned-address" if astray else "small-packets",
        **details,
    )


def _shares(rank: RankView, limits: Limits, details: _Details) -> Outcome:
    """The part of the smaller plane of what the rank sent, and of what it received."""
    limit = limits.get(AtLeast, "share")
    shares: dict[str, float] = {}
    for word, counted in (("sent", rank.rank["tx_bytes"]), ("received", rank.rank["rx_bytes"])):
        values = [(half["half"], counted.get(half["rdma"])) for half in rank.planned]
        total = sum(value or 0 for _half, value in values)
        if total == 0 or any(value is None for _half, value in values):
            return unknown(f"nobody counted the bytes {word} by every half", remedy=_again(rank), **details)
        for name in {half for half, _value in values}:
            shares[f"{word} by half {name}"] = sum(value or 0 for half, value in values if half == name) / total
    where = min(shares, key=lambda name: shares[name])
    details["measured"] |= {"shares": {name: round(share, 3) for name, share in shares.items()}}
    grade = limit.grade(shares[where])
    all_well = f"every half carries its share, the smallest {shares[where]:.0%}"
    return graded(
        grade,
        all_well if grade == "pass" else f"{shares[where]:.0%} of the bytes were {where}, expected {limit.min:.0%}",
        cause="software",
        remedy=[f"measure again; compare what P02 says of both halves of {rank.node}"],
        signature=None if grade == "pass" else "uneven-halves",
        **details,
    )
