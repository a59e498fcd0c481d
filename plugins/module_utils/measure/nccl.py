# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rank of collectives over the fabric, and its GPU under load, in what will serve (N10, N15-N17, P06, C02-C08).

All nodes run this at the same time, one rank each. The ranks find each other at the management address of rank 0, and
every wait ends: for a rank that does not come, for a collective that hangs, for a container that does not stop.
"""

from __future__ import annotations

import json
import pkgutil
import typing as t

from ..contracts import Cause, NcclInside, NcclLibrary, NcclRun, NcclSettings
from ..probe.error import excerpt
from ..shape import fits
from . import nccl_bench, nccl_collectives, nccl_place
from .ending import ending_on_signals
from .lock import alone
from .nccl_runtime import JOB, LOG, REPORT
from .nccl_summary import read_log
from .nccl_watch import Watch
from .readiness import gpu_work, short_of_memory, wanted_free_kib
from .results import Broken
from .window import Window

if t.TYPE_CHECKING:
    from ..contracts import Failure, NcclHarness, NcclMeasurement, NcclRuntime, NcclSoak, Plan, Profile
    from ..host import CommandResult, Host
    from .nccl_runtime import Runtime

SCHEMA = "1"
PORT = 18615
# What runs where the engine will. Importing them is what brings their files to a node.
PROGRAMS = tuple(f"{part.__name__.rpartition('.')[2]}.py" for part in (nccl_bench, nccl_collectives, nccl_place))
START_S = 30  # for a container to start and to stop, beside the time of the program in it


class BenchFailure(t.TypedDict):
    stage: str
    cause: Cause
    message: str


class BenchLoad(t.TypedDict):
    seconds: float
    problem: str | None


class BenchPair(t.TypedDict):
    peer: int
    runs: list[NcclRun]


class BenchSoak(t.TypedDict):
    seconds: float
    rounds: int
    wrong: int
    problem: str | None


class BenchReport(t.TypedDict):
    """What nccl_bench.py writes."""

    torch: str | None
    library: NcclLibrary | None
    inside: NcclInside | None
    gpu_load: BenchLoad | None
    runs: list[NcclRun]
    pairs: list[BenchPair]
    soak: BenchSoak | None
    left_out: list[int]
    log_bytes: int | None  # how long the log was when all ranks were done together; None: they were not
    failure: BenchFailure | None


def measure(
    host: Host, node: str, plan: Plan, profile: Profile, runtime: Runtime, port: int = PORT, soak_s: int = 0
) -> NcclMeasurement:
    """Run this node's rank, together with those of all other nodes of the plan."""
    window = Window(host)
    with alone(host, "nccl_probe") as locked_out:
        why = locked_out or why_not_now(host, plan, profile, runtime)
        measurement = not_measured(node, plan, profile, runtime, why)
        if why is None:
            with ending_on_signals(), host.scratch() as scratch:
                _measure(measurement, host, plan, profile, runtime, scratch, port, soak_s)
    window.stamp(measurement)
    return measurement


def _measure(
    measurement: NcclMeasurement,
    host: Host,
    plan: Plan,
    profile: Profile,
    runtime: Runtime,
    scratch: str,
    port: int,
    soak_s: int,
) -> None:
    node = measurement["node"]
    job = _job(node, plan, profile, port, soak_s) | {"brought": runtime.brought()}
    _prepare(host, scratch, runtime, job)
    environment = rank_environment(plan, node, f"{runtime.inside(host, scratch)}/{LOG}")
    with Watch(host, scratch) as watch:
        result = _run(host, scratch, runtime, environment, job["deadline_s"] + START_S)
    _fill(measurement, host, scratch, result, watch, plan, job["deadline_s"])


def not_measured(node: str, plan: Plan, profile: Profile, runtime: Runtime, why: str | None) -> NcclMeasurement:
    return unmeasured("torch", node, plan, profile, runtime.describe(), why)


def unmeasured(
    harness: NcclHarness, node: str, plan: Plan, profile: Profile, runtime: NcclRuntime, why: str | None
) -> NcclMeasurement:
    return {
        "schema": SCHEMA,
        "node": node,
        "rank": plan["nodes"][node]["rank"],
        "world_size": len(plan["nodes"]),
        "profile": profile["name"],
        "boot_id": None,
        "uptime_s": None,
        "clock_step_s": 0.0,
        "harness": harness,
        "runtime": runtime,
        "torch": None,
        "library": None,
        "inside": None,
        "gpu_load": None,
        "runs": [],
        "pairs": [],
        "soak": None,
        "left_out": [],
        "tx_bytes": {},
        "rx_bytes": {},
        "log": None,
        "pair_transports": {},
        "failure": None,
        "skipped": why,
        "duration_s": 0.0,
    }


def why_not_now(host: Host, plan: Plan, profile: Profile, runtime: Runtime) -> str | None:
    """Why the fabric must not be loaded, or cannot be; None when all is well."""
    why = _why_not_these(profile)
    if why is not None:
        return why
    if len(plan["nodes"]) < 2 and not profile["nccl"].get("gpu_load_s"):
        return "one node alone has no fabric to measure"
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
    counts += (settings.get("gpu_load_s", 1), *settings.get("pair_sizes_bytes", []))
    if not settings["sizes_bytes"] or min(counts) < 1 or settings["warmup"] < 0:
        return "the profile's nccl wants at least one size, and nothing in it below 1 but warmup"
    return None


def rank_environment(plan: Plan, node: str, log_file: str) -> dict[str, str]:
    """What the plan gives the node, and the log. NCCL_NET by name: no silent way back to TCP."""
    log = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,ENV,NET", "NCCL_DEBUG_FILE": log_file}
    return {"NCCL_NET": "IB"} | plan["nccl_env"][node] | log


def _job(node: str, plan: Plan, profile: Profile, port: int, soak_s: int) -> dict[str, t.Any]:
    settings = profile["nccl"]
    load_s = settings.get("gpu_load_s", 0)
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
        # Two ranks are one pair, and all of them.
        "pair_sizes_bytes": sorted(settings.get("pair_sizes_bytes", [])) if len(plan["nodes"]) > 2 else [],
        "gpu_load_s": load_s,
        "soak_s": soak_s,
        "reserve_bytes": wanted_free_kib(profile) * 1024,
        "rendezvous_s": profile["rendezvous_s"],
        "deadline_s": settings["timeout_s"] + load_s + soak_s,
    }


def program(name: str) -> str:
    """The text of a file that runs where the engine will. On a node this package lies in a zip file."""
    return (pkgutil.get_data(nccl_bench.__package__ or "", name) or b"").decode()


def _prepare(host: Host, scratch: str, runtime: Runtime, job: dict[str, t.Any]) -> None:
    for name in PROGRAMS:
        host.write(f"{scratch}/{name}", program(name))
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


def _fill(
    measurement: NcclMeasurement,
    host: Host,
    scratch: str,
    result: CommandResult,
    watch: Watch,
    plan: Plan,
    timeout_s: int,
) -> None:
    report = _report(host.read(f"{scratch}/{REPORT}"))
    log_bytes = report["log_bytes"] if report else None
    measurement["log"], measurement["pair_transports"] = read_log(lambda: host.lines(f"{scratch}/{LOG}"), log_bytes)
    measurement["tx_bytes"], measurement["rx_bytes"] = watch.moved(beyond=log_bytes is not None)
    if report is None:
        cause: Cause = "instrument" if result.duration_s > timeout_s else "software"
        message = f"no rank came to run: it ended with {result.rc} and said {_last_words(result)}"
        measurement["failure"] = Broken(cause, message, result).failure("start")
        return
    names = {node["rank"]: name for name, node in plan["nodes"].items()}
    measurement["torch"] = report["torch"]
    measurement["library"] = report["library"]
    measurement["inside"] = report["inside"]
    measurement["runs"] = report["runs"]
    measurement["pairs"] = [{"peer": names[pair["peer"]], "runs": pair["runs"]} for pair in report["pairs"]]
    measurement["left_out"] = report["left_out"]
    if report["gpu_load"] is not None:
        measurement["gpu_load"] = watch.gpu_load(report["gpu_load"]["seconds"], report["gpu_load"]["problem"])
    if report["soak"] is not None:
        measurement["soak"] = _soak(report["soak"], watch)
    if report["failure"] is not None:
        measurement["failure"] = _failure(report["failure"], result, timeout_s)


def _soak(done: BenchSoak, watch: Watch) -> NcclSoak:
    return {
        "seconds": round(done["seconds"], 2),
        "rounds": done["rounds"],
        "wrong": done["wrong"],
        "samples": watch.samples["soak"],
        "counter_deltas": watch.errors_in_soak(),
        "problem": done["problem"] or watch.problem("soak"),
    }


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
