# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C02-C05: what NCCL did with the fabric, rank by rank and all together."""

from __future__ import annotations

import statistics
import typing as t

from ...contracts import Evidence, Failure, NcclLogSummary, NcclMeasurement, NcclRun, NcclSettings
from ..limits import AtLeast, AtMost, Equals, Limits
from ..outcome import Outcome, failed, graded, passed, unknown
from ..registry import check
from ..spread import spread_of
from ..views import CollectiveView, RankView

_CUT = 1024  # an all_gather is cut to equal shares of whole 16 bytes, so it is a little smaller than asked for
_MIB = 1024 * 1024
_NO_DEVICE = ("no_device", "plugin_failed")
_BLAMING = ("hardware", "configuration", "software")

_Details = dict[str, t.Any]


def _log(rank: RankView) -> NcclLogSummary:
    return t.cast(NcclLogSummary, rank.rank["log"])  # `needs` has seen it


def _evidence(log: NcclLogSummary) -> Evidence:
    return {"argv": [], "rc": None, "raw_sha256": log["sha256"]}


def _again(rank: RankView) -> list[str]:
    return [f"measure NCCL again; see the log of the rank of {rank.node} if it stays so"]


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
    parents=("N00", "N07", "N14", "P01"),
    far_parents=("N00", "N09", "N14"),
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
        return failed("goes over TCP", cause="configuration", remedy=_off_tcp(rank), signature="tcp", **details)
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


def _off_tcp(rank: RankView) -> list[str]:
    return [
        f"see that what serves on {rank.node} has /dev/infiniband and libibverbs",
        "take NCCL_IB_DISABLE and NCCL_NET=Socket out of its environment and of the nccl.conf in its image",
    ]


def _no_channels(rank: RankView, log: NcclLogSummary, details: _Details) -> Outcome:
    found = [finding for finding in log["findings"] if finding["kind"] in _NO_DEVICE]
    if found:
        return failed(
            "NCCL finds no RDMA device",
            cause="configuration",
            remedy=_off_tcp(rank),
            signature="no-rdma",
            **details,
        )
    said = [finding["kind"].replace("_", " ") for finding in log["findings"]]
    failure = rank.rank["failure"]
    said += [f"{failure['stage']}: {failure['message']}"] if failure else []
    reason = f" ({'; '.join(said)})" if said else ""
    return unknown(f"the log names no channel{reason}", remedy=_again(rank), **details)


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
    parents=("N00", "N14", "C02", "C05", "P01"),
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
    wrong = f"queue pairs at {', '.join(astray)}, which nobody planned" if astray else f"packets of {small[0]} bytes"
    return failed(
        wrong,
        cause="configuration",
        remedy=[f"run site.yml: role fabric sets addresses and MTU of {rank.node}"],
        signature="unplanned-address" if astray else "small-packets",
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


@check(
    "C04",
    scope="collective",
    needs=("ranks.runs", "ranks.harness"),
    parents=("N00", "C02", "C03", "C05", "P01", "P02", "P03"),
    limits={"size_bytes": Equals, "spread": AtMost},
    optional_limits={f"torch_{ranks}_ranks": AtLeast for ranks in (2, 3, 4)},
    active=True,
)
def bandwidth(collective: CollectiveView, limits: Limits) -> Outcome:
    """The bus bandwidth of an all_gather over all nodes: the median of the repeats, of the slowest rank.

    The number is that of torch at 64 MiB, where three healthy ranks leave 5.8 GB/s; nccl-tests measures four times as
    much of the same fabric. At other sizes it is only recorded: for torch nobody has published one.
    """
    if not collective.ranks:
        return passed("one node alone has no fabric")
    size, ranks = int(limits.get(Equals, "size_bytes").equals), len(collective.ranks)
    runs = {rank["node"]: _judged(rank, size) for rank in collective.ranks}
    settings = collective.reading.profile["nccl"]
    details: _Details = {"measured": {"size_bytes": size, "ranks": ranks, "others": _other_sizes(collective, size)}}
    short = [f"{node} {len(found)}" for node, found in runs.items() if len(found) < settings["repeats"]]
    if short:
        return unknown(f"fewer than {settings['repeats']} runs at {size // _MIB} MiB: {', '.join(short)}", **details)
    medians = {node: statistics.median(run["busbw_gbs"] for run in found) for node, found in runs.items()}
    slowest = min(medians, key=lambda node: medians[node])
    values = [run["busbw_gbs"] for run in runs[slowest]]
    details["measured"] |= {"busbw_gbs": medians[slowest], "slowest": slowest, "runs": values}
    return _grade(collective, limits, values, details)


def _judged(rank: NcclMeasurement, size: int) -> list[NcclRun]:
    return [
        run
        for run in rank["runs"]
        if run["collective"] == "all_gather" and not run["warmup"] and 0 <= size - run["size_bytes"] <= _CUT
    ]


def _other_sizes(collective: CollectiveView, judged: int) -> dict[str, float]:
    """The same for every other size of the profile: "1024 MiB" -> GB/s of the slowest rank."""
    found: dict[str, float] = {}
    for size in collective.reading.profile["nccl"]["sizes_bytes"]:
        runs = [[run["busbw_gbs"] for run in _judged(rank, size)] for rank in collective.ranks]
        if size != judged and all(runs):
            found[f"{size // _MIB} MiB"] = min(map(statistics.median, runs))
    return found


def _grade(collective: CollectiveView, limits: Limits, values: list[float], details: _Details) -> Outcome:
    ranks, median = len(collective.ranks), statistics.median(values)
    again = ["measure again, with nothing else running on any node"]
    limit = limits.find(AtLeast, f"torch_{ranks}_ranks")
    if limit is None or any(rank["harness"] != "torch" for rank in collective.ranks):
        how = f"name C04.torch_{ranks}_ranks in a copy of the profile, with the source of the number"
        return unknown(f"the profile has no threshold for {ranks} ranks with this harness", remedy=[how], **details)
    most = limits.get(AtMost, "spread")
    details |= {"threshold": limit.shown() | {"spread": most.max}}
    if most.grade(spread_of(values)) != "pass" and limit.grade(max(values)) != "fail":
        return unknown(f"the runs differ by {spread_of(values):.0%}", remedy=again, **details)
    return graded(
        limit.grade(median),
        f"{median:.3g} GB/s, expected at least {limit.min:.3g}",
        cause="hardware",
        remedy=[*again, "see GPU clock and memory of every node: each path and each half is as it should be"],
        **details,
    )


@check(
    "C05",
    scope="collective",
    needs=("ranks.runs", "ranks.left_out"),
    parents=("N00", "C02", "P01"),
    active=True,
)
def correct(collective: CollectiveView, limits: Limits) -> Outcome:
    """Every run of every rank ended, with the right data."""
    wrong = {rank["node"]: sum(run["wrong"] for run in rank["runs"]) for rank in collective.ranks}
    measured = {"wrong": wrong, "runs": {rank["node"]: len(rank["runs"]) for rank in collective.ranks}}
    if any(wrong.values()):
        said = ", ".join(f"{count} elements on {node}" for node, count in wrong.items() if count)
        return failed(
            f"wrong data: {said}",
            cause="hardware",
            remedy=["serve nothing on these nodes; swap cables, then nodes: with which one do the wrong data go?"],
            measured=measured,
            signature="wrong-data",
        )
    failures = [(rank["node"], rank["failure"]) for rank in collective.ranks if rank["failure"] is not None]
    if failures:
        # A rank that only lost another calls that the environment; the other says why.
        return _broken(*min(failures, key=lambda each: each[1]["cause"] not in _BLAMING), measured)
    settings = collective.reading.profile.get("nccl")
    short = [rank["node"] for rank in collective.ranks if len(rank["runs"]) < _expected(settings, rank)]
    if short:
        return unknown(f"some runs of {', '.join(short)} are missing", measured=measured)
    return passed("every element of every run", measured=measured)


def _expected(settings: NcclSettings | None, rank: NcclMeasurement) -> int:
    """Both collectives, at every size for which there was memory; at least one."""
    if settings is None:
        return 1
    sizes = len(settings["sizes_bytes"]) - len(rank["left_out"])
    return 2 * max(sizes, 1) * (settings["warmup"] + settings["repeats"])


def _broken(node: str, failure: Failure, measured: dict[str, t.Any]) -> Outcome:
    evidence: Evidence = {"argv": failure["argv"], "rc": failure["rc"], "raw_sha256": failure["raw_sha256"]}
    message = f"{node}: {failure['stage']}: {failure['message']}"
    if failure["cause"] in _BLAMING:
        remedy = [f"look at what serves on {node}"]
        return failed(message, cause=failure["cause"], remedy=remedy, measured=measured, evidence=evidence)
    remedy = ["see that all nodes measure at the same time and reach rank 0 over the management network"]
    return unknown(message, cause=failure["cause"], remedy=remedy, measured=measured, evidence=evidence)
