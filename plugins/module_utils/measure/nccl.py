# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rank of an all_gather and an all_reduce over the fabric, in what will serve (health-checks P06, C02-C06).

All nodes run this at the same time, one rank each. The ranks find each other at the management address of rank 0, and
every wait ends: for a rank that does not come, for a collective that hangs, for a container that does not stop.
"""

from __future__ import annotations

import json
import pkgutil
import time
import typing as t

from ..contracts import Cause, NcclLibrary, NcclRun, NcclSettings
from ..probe.error import excerpt
from ..probe.nccl_log import read_nccl_log
from ..shape import fits
from . import nccl_bench
from .ending import ending_on_signals
from .lock import alone
from .nccl_runtime import JOB, LOG, PROGRAM, REPORT
from .nccl_summary import summary
from .readiness import gpu_work, short_of_memory, wanted_free_kib
from .results import Broken
from .sysfs import growth, rdma_devices, received_bytes, sent_bytes

if t.TYPE_CHECKING:
    from ..contracts import Failure, NcclMeasurement, Plan, Profile
    from ..host import CommandResult, Host
    from .nccl_runtime import Runtime

SCHEMA = "1"
PORT = 18615
START_S = 30  # for a container to start and to stop, beside the time of the program in it


class BenchFailure(t.TypedDict):
    stage: str
    cause: Cause
    message: str


class BenchReport(t.TypedDict):
    """What nccl_bench.py writes."""

    torch: str | None
    library: NcclLibrary | None
    runs: list[NcclRun]
    left_out: list[int]
    failure: BenchFailure | None


def measure(host: Host, node: str, plan: Plan, profile: Profile, runtime: Runtime, port: int = PORT) -> NcclMeasurement:
    """Run this node's rank, together with those of all other nodes of the plan."""
    started = time.monotonic()
    with alone(host, "nccl_probe") as locked_out:
        why = locked_out or why_not_now(host, plan, profile, runtime)
        measurement = not_measured(node, plan, profile, runtime, why)
        if why is None:
            with ending_on_signals(), host.scratch() as scratch:
                _measure(measurement, host, plan, profile, runtime, scratch, port)
    measurement["duration_s"] = round(time.monotonic() - started, 2)
    return measurement


def _measure(
    measurement: NcclMeasurement, host: Host, plan: Plan, profile: Profile, runtime: Runtime, scratch: str, port: int
) -> None:
    node, timeout_s = measurement["node"], profile["nccl"]["timeout_s"]
    _prepare(host, scratch, runtime, _job(node, plan, profile, port))
    environment = rank_environment(plan, node, f"{runtime.inside(host, scratch)}/{LOG}")
    before = _port_bytes(host)
    result = _run(host, scratch, runtime, environment, timeout_s + START_S)
    measurement["tx_bytes"], measurement["rx_bytes"] = map(_grown, before, _port_bytes(host))
    _fill(measurement, host, scratch, result, timeout_s)


def not_measured(node: str, plan: Plan, profile: Profile, runtime: Runtime, why: str | None) -> NcclMeasurement:
    return {
        "schema": SCHEMA,
        "node": node,
        "rank": plan["nodes"][node]["rank"],
        "world_size": len(plan["nodes"]),
        "profile": profile["name"],
        "harness": "torch",
        "runtime": runtime.describe(),
        "torch": None,
        "library": None,
        "runs": [],
        "left_out": [],
        "tx_bytes": {},
        "rx_bytes": {},
        "log": None,
        "failure": None,
        "skipped": why,
        "duration_s": 0.0,
    }


def why_not_now(host: Host, plan: Plan, profile: Profile, runtime: Runtime) -> str | None:
    """Why the fabric must not be loaded, or cannot be; None when all is well."""
    if len(plan["nodes"]) < 2:
        return "one node alone has no fabric to measure"
    why = _why_not_these(profile)
    if why is not None:
        return why
    # Larger sizes are left out later, where all ranks have said what they have.
    smallest = min(profile["nccl"]["sizes_bytes"])
    needed_kib = wanted_free_kib(profile) + 3 * smallest // 1024
    return short_of_memory(host, needed_kib) or gpu_work(host) or runtime.why_not(host)


def _why_not_these(profile: Profile) -> str | None:
    settings = profile.get("nccl")
    if settings is None:
        return f"the profile {profile['name']} does not say how to measure NCCL"
    if not fits(settings, NcclSettings):
        return f"the profile's nccl does not have the form of {', '.join(NcclSettings.__annotations__)}"
    counts = (settings["iterations"], settings["repeats"], settings["timeout_s"], *settings["sizes_bytes"])
    if not settings["sizes_bytes"] or min(counts) < 1 or settings["warmup"] < 0:
        return "the profile's nccl wants at least one size, and nothing in it below 1 but warmup"
    return None


def rank_environment(plan: Plan, node: str, log_file: str) -> dict[str, str]:
    """What the plan gives the node, and the log. NCCL_NET by name: no silent way back to TCP."""
    log = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,ENV,NET", "NCCL_DEBUG_FILE": log_file}
    return {"NCCL_NET": "IB"} | plan["nccl_env"][node] | log


def _job(node: str, plan: Plan, profile: Profile, port: int) -> dict[str, t.Any]:
    settings = profile["nccl"]
    first = next(each for each in plan["nodes"].values() if each["rank"] == 0)
    return {
        "rank": plan["nodes"][node]["rank"],
        "world_size": len(plan["nodes"]),
        "address": first["mgmt_ip"],
        "port": port,
        "sizes_bytes": sorted(settings["sizes_bytes"]),
        "iterations": settings["iterations"],
        "warmup": settings["warmup"],
        "repeats": settings["repeats"],
        "reserve_bytes": wanted_free_kib(profile) * 1024,
        "rendezvous_s": profile["rendezvous_s"],
        "deadline_s": settings["timeout_s"],
    }


def program() -> str:
    """The text of nccl_bench.py. On a node this package lies in a zip file, where it could not be run."""
    return (pkgutil.get_data(nccl_bench.__package__ or "", PROGRAM) or b"").decode()


def _prepare(host: Host, scratch: str, runtime: Runtime, job: dict[str, t.Any]) -> None:
    host.write(f"{scratch}/{PROGRAM}", program())
    host.write(f"{scratch}/{JOB}", json.dumps(job | {"report": f"{runtime.inside(host, scratch)}/{REPORT}"}))


def _run(host: Host, scratch: str, runtime: Runtime, environment: dict[str, str], limit_s: int) -> CommandResult:
    cut_short, process = True, None
    try:
        # Should this probe be killed, the rank ends by itself at its deadline and its client soon after.
        process = runtime.start(host, scratch, environment, limit_s + START_S)
        result = process.wait(limit_s)
        cut_short = not result.ok
        return result
    finally:
        if process is not None and process.running:
            process.kill()
        runtime.end(host, cut_short)


def _port_bytes(host: Host) -> tuple[dict[str, int | None], dict[str, int | None]]:
    """What every RDMA device has sent and received so far: which half carried the data, whatever the log says (C03)."""
    devices = rdma_devices(host)
    return (
        {device: sent_bytes(host, device, None) for device in devices},
        {device: received_bytes(host, device, None) for device in devices},
    )


def _grown(before: dict[str, int | None], after: dict[str, int | None]) -> dict[str, int | None]:
    return {device: growth(count, after.get(device)) for device, count in before.items()}


def _fill(measurement: NcclMeasurement, host: Host, scratch: str, result: CommandResult, timeout_s: int) -> None:
    measurement["log"] = summary(read_nccl_log(host.lines(f"{scratch}/{LOG}")))
    report = _report(host.read(f"{scratch}/{REPORT}"))
    if report is None:
        cause: Cause = "instrument" if result.duration_s > timeout_s else "software"
        message = f"no rank came to run: it ended with {result.rc} and said {_last_words(result)}"
        measurement["failure"] = Broken(cause, message, result).failure("start")
        return
    measurement["torch"] = report["torch"]
    measurement["library"] = report["library"]
    measurement["runs"] = report["runs"]
    measurement["left_out"] = report["left_out"]
    if report["failure"] is not None:
        measurement["failure"] = _failure(report["failure"], result, timeout_s)


def _report(text: str | None) -> BenchReport | None:
    try:
        report = json.loads(text or "")
    except ValueError:
        return None
    return t.cast("BenchReport", report) if fits(report, BenchReport) else None


def _failure(failure: BenchFailure, result: CommandResult, timeout_s: int) -> Failure:
    message = failure["message"]
    if message == nccl_bench.NO_WORD:
        message = f"the {timeout_s} s of the profile were up" if result.duration_s >= timeout_s else _sudden(result)
    return Broken(failure["cause"], message, result).failure(failure["stage"])


def _sudden(result: CommandResult) -> str:
    return f"the rank ended with {result.rc} and said {_last_words(result)}"


def _last_words(result: CommandResult) -> str:
    lines = (result.stderr.strip() or result.stdout.strip()).splitlines()
    return excerpt(lines[-1] if lines else "", 160)
