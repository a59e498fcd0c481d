# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""P: one path, one way, measured; and both halves of a cable at once."""

from __future__ import annotations

import ipaddress
import statistics
import typing as t
from dataclasses import dataclass

from ...contracts import BandwidthRun, BandwidthSettings, Evidence, Failure, LatencyRun
from ...probe.commands import ended_by
from ..limits import AtLeast, AtMost, Bands, Equals, Limits
from ..outcome import Grade, Outcome, failed, graded, passed, unknown
from ..registry import check
from ..signatures import classify, remedies
from ..spread import spread_of
from ..views import DirectionView, PairView, judged_runs

_PASSIVE = ("N00", "N02", "N05", "L01", "L02", "L04", "L05", "L06", "L09")


def _evidence(run: BandwidthRun) -> Evidence:
    return {"argv": run["argv"], "rc": run["rc"], "raw_sha256": run["raw_sha256"]}


def _nodes(way: DirectionView | PairView) -> str:
    return f"{way.sender['node']} and {way.receiver['node']}"


@check(
    "P01",
    scope="direction",
    needs=("direction.bandwidth", "direction.duration_s", "served.rcs"),
    parents=_PASSIVE,
    explained_by=("N09", "L11"),
    limits={"path_mtu": Equals},
    active=True,
)
def verbs(way: DirectionView, limits: Limits) -> Outcome:
    """An RDMA write went over the planned devices: by the text of both GIDs, with packets of 4096 bytes.

    GID 0 (fe80) works on a single link, so the GIDs are compared with the plan. perftest negotiates the MTU down in
    silence, and with a wrong GID index it can print a header, no row, and exit 0.
    """
    failure = _nearer(way.direction["failure"], way.served["failure"])
    if failure is not None:
        return _failure(way, failure)
    runs = way.direction["bandwidth"]
    if not runs:
        return unknown("no bandwidth run", remedy=[f"measure {_nodes(way)} again"])
    expected = limits.get(Equals, "path_mtu")
    measured = {
        "mtu": sorted({run["mtu"] for run in runs}),
        "local_ipv4": sorted({str(run["local_ipv4"]) for run in runs}),
        "remote_ipv4": sorted({str(run["remote_ipv4"]) for run in runs}),
    }
    threshold = {"mtu": expected.equals, "local_ipv4": way.sender["ipv4"], "remote_ipv4": way.receiver["ipv4"]}
    details: dict[str, t.Any] = {"measured": measured, "threshold": threshold, "evidence": _evidence(runs[-1])}
    doubt = _doubt(runs)
    if doubt:
        newer = "see that perftest there is 24.01 or newer, whose JSON can be read"
        then = (
            newer
            if "JSON" in doubt
            else f"see what {runs[0]['argv'][0] if runs[0]['argv'] else 'perftest'} prints there"
        )
        return unknown(doubt, remedy=[_measure_again(way, then)], **details)
    wrong = _wrong_way(way, runs, expected)
    if wrong and _by_another_device(way, runs):
        help_ = remedies("wrong-hca", _nodes(way))
        return failed(wrong, cause="configuration", remedy=help_, signature="wrong-hca", **details)
    if wrong:
        return failed(
            wrong, cause="configuration", remedy=[f"compare addresses, GIDs and MTU of {_nodes(way)}"], **details
        )
    return passed("RDMA writes over the planned devices", **details)


def _nearer(sent: Failure | None, served: Failure | None) -> Failure | None:
    """What the transmitting end says; but a server that was killed looks to it like a path that drops everything."""
    return served if served is not None and _was_killed(served) else sent or served


def _was_killed(failure: Failure) -> bool:
    return failure["cause"] == "instrument" and ended_by(failure["rc"] or 0) is not None


def _failure(way: DirectionView | PairView, failure: Failure) -> Outcome:
    """What the probe could not measure: bad when hardware, configuration or software said so, else not known."""
    evidence: Evidence = {"argv": failure["argv"], "rc": failure["rc"], "raw_sha256": failure["raw_sha256"]}
    message = f"{failure['stage']}: {failure['message']}"
    if failure["cause"] in ("hardware", "configuration", "software"):
        return failed(message, cause=failure["cause"], remedy=[f"look at {_nodes(way)}"], evidence=evidence)
    if failure["cause"] == "instrument":
        tool, *_arguments = failure["argv"] or ["perftest"]
        return unknown(message, remedy=[_measure_again(way, f"see what {tool} prints there")], evidence=evidence)
    remedy = [f"see that {_nodes(way)} are both up and measure at the same time"]
    return unknown(message, cause=failure["cause"], remedy=remedy, evidence=evidence)


def _measure_again(way: DirectionView | PairView, then: str) -> str:
    return f"measure {_nodes(way)} again; if it stays so, {then}"


def _doubt(runs: list[BandwidthRun]) -> str | None:
    """Is the instrument itself in order? (health-checks 4.1)"""
    for run in runs:
        if run["rc"] != 0:
            return f"{run['argv'][0] if run['argv'] else 'the tool'} ended with {run['rc']}"
        if run["iterations"] < 1 or run["gbps"] <= 0:
            return f"{run['gbps']:g} Gb/s in {run['iterations']} iterations is no measurement"
        if run["agrees"] is not True:
            return "text and JSON of the tool do not agree" if run["agrees"] is False else "the tool gave no JSON"
    return None


def _wrong_way(way: DirectionView, runs: list[BandwidthRun], expected: Equals) -> str | None:
    wrong = _wrong_addresses(way, runs)
    if wrong:
        return wrong
    sizes = [run["mtu"] for run in runs if expected.grade(run["mtu"]) != "pass"]
    return f"packets of {sizes[0]} bytes, expected {expected.equals}" if sizes else None


def _wrong_addresses(way: DirectionView, runs: list[BandwidthRun]) -> str | None:
    planned = (way.sender["ipv4"], way.receiver["ipv4"])
    for run in runs:
        if (run["local_ipv4"], run["remote_ipv4"]) != planned:
            return f"ran from {run['local_ipv4']} to {run['remote_ipv4']}, planned is {planned[0]} to {planned[1]}"
    return None


def _by_another_device(way: DirectionView, runs: list[BandwidthRun]) -> bool:
    """An address of its own that is not the planned one; none at all is a GID without an address."""
    used = {(run["local_ipv4"], way.sender["ipv4"]) for run in runs}
    used |= {(run["remote_ipv4"], way.receiver["ipv4"]) for run in runs}
    return all(found is not None for found, _planned in used) and any(found != planned for found, planned in used)


@check(
    "P02",
    scope="direction",
    needs=("direction.bandwidth",),
    parents=("N00", "N03", "P01"),
    limits={"bandwidth_gbps": AtLeast, "spread": AtMost},
    optional_limits={"signatures": Bands},
    active=True,
)
def bandwidth(way: DirectionView, limits: Limits) -> Outcome:
    """The bandwidth of one half, one way: the median of the repeats, the warm-up left out.

    Healthy is 109-112 Gb/s. 93-97 is MTU 1500, 45-60 is PCIe x2, 8-25 with normal latency is a throttled NIC, under 6
    is a switch that forwards by CPU. Directions are never averaged: an asymmetric fault is a fault.
    """
    runs = judged_runs(way.direction)
    settings = way.reading.profile["bandwidth"]
    values = [run["gbps"] for run in runs]
    limit, spread_limit = limits.get(AtLeast, "bandwidth_gbps"), limits.get(AtMost, "spread")
    again = [f"measure {_nodes(way)} again, with nothing else running"]
    other = _not_as_the_profile_says(runs, settings)
    if other:
        return unknown(other, remedy=again, measured={"runs": values})
    median = statistics.median(values)
    spread = spread_of(values)
    reference = way.reading.median_gbps
    measured = {"bw_gbps": median, "min_gbps": min(values), "spread": round(spread, 3), "runs": values}
    threshold = limit.shown(reference) | {"spread": spread_limit.max}
    details: dict[str, t.Any] = {"measured": measured, "threshold": threshold, "evidence": _evidence(runs[-1])}
    hopeless = limit.grade(max(values), reference) == "fail"
    if spread_limit.grade(spread) == "fail" and not hopeless:
        return unknown(
            f"the runs differ by {spread:.0%} ({min(values):.3g} to {max(values):.3g} Gb/s)",
            remedy=again,
            **details,
        )
    message = f"{median:.4g} Gb/s, expected {_expectation(limit, reference)}"
    return _slow(way, limit.grade(median, reference), median, message, limits, details)


def _slow(
    way: DirectionView | PairView, grade: Grade, gbps: float, message: str, limits: Limits, details: dict[str, t.Any]
) -> Outcome:
    """A bandwidth against its limit; below it, what is known to leave so much and what helped."""
    if grade == "pass":
        return passed(message, **details)
    bands = limits.find(Bands, "signatures")
    topology = way.reading.plan["topology"]
    signature = classify(bands, gbps, way.latency_is_normal, topology) if bands is not None else None
    if signature is None:
        return graded(grade, message, cause="hardware", remedy=_restart(way), **details)
    return graded(
        grade,
        f"{message}: {signature.says}",
        cause="hardware",
        remedy=signature.for_nodes(_nodes(way)),
        signature=signature.name,
        **details,
    )


def _not_as_the_profile_says(runs: t.Sequence[BandwidthRun], settings: BandwidthSettings) -> str | None:
    if len(runs) < settings["repeats"]:
        return f"{len(runs)} of {settings['repeats']} runs"
    if any((run["qps"], run["size_bytes"]) != (settings["qps"], settings["size_bytes"]) for run in runs):
        return f"not measured with {settings['qps']} queue pairs and {settings['size_bytes']} bytes as the profile says"
    return None


def _restart(way: DirectionView | PairView) -> list[str]:
    return [
        f"reboot {_nodes(way)} with the cable attached",
        "if unchanged: power both off, unplug them for 60 s",
        "if unchanged: update OS and firmware",
    ]


def _expectation(limit: AtLeast, reference: float | None) -> str:
    least = limit.min
    if limit.min_ratio is not None and reference is not None:
        least = max(least, limit.min_ratio * reference)
    return f"at least {least:.3g}"


@check(
    "P03",
    scope="pair",
    needs=("pair.halves.path", "pair.halves.bandwidth", "pair.duration_s", "served.rcs"),
    parents=("N00", "P01", "P02"),
    limits={"sum_gbps": AtLeast, "spread": AtMost},
    optional_limits={"cable_gbps": AtMost, "share": AtLeast, "signatures": Bands},
    active=True,
)
def both_halves(pair: PairView, limits: Limits) -> Outcome:
    """The bandwidth of both halves of a cable at once: the sum of the two medians, the warm-ups left out.

    Healthy is 196 Gb/s, what a 200G cable carries at MTU 9000. 13 or 26 is a throttled NIC; about 110 is a half that
    stops beside the other, or two halves on one PCIe link. More than a cable carries was not measured at once.
    """
    failures = [failure for failure in (pair.pair["failure"], pair.served["failure"]) if failure is not None]
    if failures:
        # The end that only lost its peer calls that the environment; the peer says why.
        nearest = min(failures, key=lambda failure: (not _was_killed(failure), failure["cause"] == "environment"))
        return _failure(pair, nearest)
    doubt = _doubt_of_halves(pair)
    if doubt:
        return unknown(doubt, remedy=[f"measure {_nodes(pair)} again"])
    return _sum_of_halves(pair, limits)


def _doubt_of_halves(pair: PairView) -> str | None:
    settings = pair.reading.profile["bandwidth"]
    for way, runs in zip(pair.ways, pair.runs, strict=True):
        judged = judged_runs({"bandwidth": runs})
        found = _not_as_the_profile_says(judged, settings) or _doubt(runs) or _wrong_addresses(way, runs)
        if found:
            return f"half {way.path['half']}: {found}"
    return None


@dataclass(frozen=True)
class _Sum:
    """Gb/s of the repeats; the n-th runs of the halves lasted at the same time."""

    half_a: list[float]
    half_b: list[float]
    alone: float | None  # the sum of what each half carried by itself (P02)

    @property
    def medians(self) -> tuple[float, float]:
        return statistics.median(self.half_a), statistics.median(self.half_b)

    @property
    def gbps(self) -> float:
        return sum(self.medians)

    @property
    def runs(self) -> list[float]:
        return [half_a + half_b for half_a, half_b in zip(self.half_a, self.half_b, strict=True)]

    @property
    def measured(self) -> dict[str, t.Any]:
        return {
            "sum_gbps": round(self.gbps, 3),
            "halves_gbps": list(self.medians),
            "alone_gbps": self.alone,
            "min_gbps": round(min(self.runs), 3),
            "spread": round(spread_of(self.runs), 3),
            "runs": [self.half_a, self.half_b],
        }


def _sum_of_halves(pair: PairView, limits: Limits) -> Outcome:
    half_a, half_b = ([run["gbps"] for run in judged_runs({"bandwidth": runs})] for runs in pair.runs)
    found = _Sum(half_a, half_b, pair.alone_gbps)
    details: dict[str, t.Any] = {
        "measured": found.measured,
        "threshold": _sum_threshold(limits),
        "evidence": _evidence(pair.runs[0][-1]),
    }
    doubt = _doubt_of_sum(found, limits)
    if doubt:
        return unknown(doubt, remedy=[f"measure {_nodes(pair)} again, with nothing else running"], **details)
    grade, least = _grade_of_sum(found, limits)
    message = f"{found.gbps:.4g} Gb/s ({found.medians[0]:.4g} + {found.medians[1]:.4g}), expected at least {least:.3g}"
    return _slow(pair, grade, found.gbps, message, limits, details)


def _sum_threshold(limits: Limits) -> dict[str, t.Any]:
    cable, share = limits.find(AtMost, "cable_gbps"), limits.find(AtLeast, "share")
    shown = limits.get(AtLeast, "sum_gbps").shown() | {"spread": limits.get(AtMost, "spread").max}
    return shown | ({"cable": cable.max} if cable else {}) | ({"share": share.min} if share else {})


def _doubt_of_sum(found: _Sum, limits: Limits) -> str | None:
    """Is this the bandwidth of both halves at once, and the same in every repeat?"""
    cable = limits.find(AtMost, "cable_gbps")
    if cable and cable.grade(found.gbps) != "pass":
        return f"{found.gbps:.4g} Gb/s is more than a cable carries: the halves were not measured at the same time"
    if limits.find(AtLeast, "share") and found.alone is None:
        return "what each half carries alone is not known"
    spread = spread_of(found.runs)
    hopeless = limits.get(AtLeast, "sum_gbps").grade(max(found.runs)) == "fail"
    if limits.get(AtMost, "spread").grade(spread) == "fail" and not hopeless:
        return f"the runs differ by {spread:.0%} ({min(found.runs):.4g} to {max(found.runs):.4g} Gb/s)"
    return None


def _grade_of_sum(found: _Sum, limits: Limits) -> tuple[Grade, float]:
    """The grade, and the least that passes."""
    limit, share = limits.get(AtLeast, "sum_gbps"), limits.find(AtLeast, "share")
    wanted = share.min * found.alone if share and found.alone is not None else 0.0
    grade = limit.grade(found.gbps)
    return (grade if found.gbps >= wanted else "fail"), max(limit.min, wanted)


@check(
    "P04",
    scope="direction",
    needs=("direction.latency", "direction.latency.typical_us"),
    parents=("N00", "P01"),
    limits={"latency_us": AtMost},
    active=True,
)
def latency(way: DirectionView, limits: Limits) -> Outcome:
    """The typical latency of a small write. Normal latency with low bandwidth is the NIC, both bad is the path."""
    run = t.cast(LatencyRun, way.direction["latency"])  # `needs` has seen it
    limit = limits.get(AtMost, "latency_us")
    measured = {"lat_us": run["typical_us"], "p99_us": run["p99_us"], "iterations": run["iterations"]}
    evidence: Evidence = {"argv": run["argv"], "rc": run["rc"], "raw_sha256": run["raw_sha256"]}
    if run["rc"] != 0 or run["iterations"] < 1 or run["typical_us"] <= 0:
        return unknown(
            f"{run['typical_us']:g} us in {run['iterations']} iterations, exit code {run['rc']}, is no measurement",
            measured=measured,
            evidence=evidence,
        )
    return graded(
        limit.grade(run["typical_us"]),
        f"{run['typical_us']:.4g} us, expected at most {limit.max:g}",
        cause="hardware",
        remedy=[f"see what else uses {_nodes(way)}", "swap the cable with another one: does the fault move?"],
        measured=measured,
        threshold=limit.shown(),
        evidence=evidence,
    )


@check(
    "P05",
    scope="direction",
    needs=("direction.tx_bytes", "direction.bandwidth", "served.rx_bytes"),
    parents=("N00", "P01"),
    limits={"on_port": AtLeast, "elsewhere": AtMost},
    active=True,
)
def accounting(way: DirectionView, limits: Limits) -> Outcome:
    """The bytes that the tool reports were counted by the planned ports, on both ends, and by no other port.

    Without this a number proves nothing: two halves of one cage loop inside the chip.
    """
    reported = sum(run["iterations"] * run["size_bytes"] for run in way.direction["bandwidth"])
    least, most = limits.get(AtLeast, "on_port"), limits.get(AtMost, "elsewhere")
    measured: dict[str, object] = {"reported_bytes": reported}
    threshold = {"on_port": least.min, "elsewhere": most.max}
    lost, stray = [], []
    for word, device, counted in (
        ("sent", way.sender["rdma"], way.direction["tx_bytes"]),
        ("received", way.receiver["rdma"], way.served["rx_bytes"]),
    ):
        own = counted.get(device)
        if own is None or reported < 1:
            return unknown(f"nobody counted the bytes {word} by {device}", measured=measured, threshold=threshold)
        others = {name: (value or 0) / reported for name, value in counted.items() if name != device}
        measured |= {f"{word}_ratio": round(own / reported, 3), f"{word}_elsewhere": max(others.values(), default=0.0)}
        if least.grade(own / reported) != "pass":
            lost.append(f"{device} {word} {own / reported:.0%} of the bytes")
        stray += [f"{name} {word} {ratio:.0%}" for name, ratio in others.items() if most.grade(ratio) != "pass"]
    if not lost and not stray:
        return passed("the bytes went over the planned ports", measured=measured, threshold=threshold)
    again = [f"compare routes and GIDs of {_nodes(way)}: the traffic takes another port"]
    return failed(
        ", ".join([*lost, *stray]),
        cause="configuration",
        remedy=remedies("wrong-hca", _nodes(way)) if stray else again,
        measured=measured,
        threshold=threshold,
        signature="wrong-hca" if stray else None,
    )


@check("P07", scope="direction", needs=("facts.routes",), parents=("N00", "L01", "L05"))
def egress(way: DirectionView, limits: Limits) -> Outcome:
    """The route to the peer leaves through the planned interface, not over Wi-Fi or management."""
    peer = ipaddress.ip_address(way.receiver["ipv4"])
    candidates = [
        (network.prefixlen, route["dev"])
        for route in way.facts["routes"] or []
        if peer in (network := ipaddress.ip_network("0.0.0.0/0" if route["dst"] == "default" else route["dst"]))
    ]
    planned = way.sender["netdev"]
    longest = max((length for length, _dev in candidates), default=None)
    devices = sorted({dev for length, dev in candidates if length == longest})
    astray = [device for device in devices if device != planned]
    measured = {"devices": devices}
    if devices == [planned]:
        return passed(f"over {planned}", measured=measured)
    return failed(
        f"{peer} is reached over {' and '.join(devices) or 'nothing'}, planned is {planned}",
        cause="configuration",
        remedy=[
            f"remove the route to {peer} over {' and '.join(astray)} on {way.sender['node']}"
            if astray
            else f"run site.yml: role fabric writes the planned addresses of {way.sender['node']}"
        ],
        measured=measured,
        threshold={"device": planned},
    )
