# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The perftest commands of a run, and what their failures mean (health-checks 3.4)."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .error import excerpt

if t.TYPE_CHECKING:
    from ..contracts import Cause, Profile

BANDWIDTH_TOOL = "ib_write_bw"
LATENCY_TOOL = "ib_write_lat"
TIMED_OUT = 124
NOT_FOUND = 127

_SHELL_SIGNAL = 128
MAX_ATTEMPTS = 4  # of one run, when the tool fails and not the path

NOT_LISTENING = re.compile(r"Couldn't connect to")

_CAUSES: tuple[tuple[str, Cause, str], ...] = (
    (
        r"Unable to Connect the HCA's through the link|Failed to modify QP",
        "configuration",
        "the queue pair cannot reach its peer: wrong cable, device or GID",
    ),
    (r"Couldn't connect to", "environment", "the peer's test port takes no connection: firewall, or the peer is gone"),
    (
        r"Failed to bind socket|Couldn't listen to port",
        "environment",
        "the test port or the fabric address is not free here",
    ),
    (
        r"IB device \S+ not found|Unable to find the Infiniband/RoCE device|Did not detect devices",
        "configuration",
        "the RDMA device is not there",
    ),
    (r"Port number \d+ state is Down", "hardware", "the port is down"),
    (
        r"Couldn't allocate MR|Couldn't create MR|Cannot allocate memory|failed to create mr",
        "software",
        "memory cannot be registered: look at CmaTotal and the memlock limit (N05, N06)",
    ),
    (
        r"transport retry counter exceeded|Failed status 12|syndrom 0x81",
        "hardware",
        "no acknowledgement came back: the path drops everything",
    ),
    (r"Completion with error|Failed status", "hardware", "a transfer ended in error"),
)


# perftest measures its clock after each run and gives up when it was interrupted meanwhile: it then prints 0.000000 or
# inf with rc 0 (health-checks 7.1), which says nothing about the path.
_CLOCK = re.compile(r"Correlation coefficient r\^2: \S+ < 0\.9")


@dataclass(frozen=True)
class ToolOptions:
    """What the installed perftest can do, by its own help text."""

    version: str | None
    json: bool
    bind_source_ip: bool


@dataclass(frozen=True)
class Run:
    """What is to be measured with one start of a tool on both ends."""

    stage: str  # latency, bandwidth
    warmup: bool


@dataclass(frozen=True)
class Endpoint:
    rdma: str
    gid_index: int
    ipv4: str


def runs_of(profile: Profile) -> list[Run]:
    """Of a single half. Latency first: it needs a quiet path."""
    return [Run("latency", False), *bandwidth_runs_of(profile)]


def bandwidth_runs_of(profile: Profile) -> list[Run]:
    """Warm-up, then repeats."""
    settings = profile["bandwidth"]
    count = settings["warmup"] + settings["repeats"]
    return [Run("bandwidth", position < settings["warmup"]) for position in range(count)]


def server_argv(run: Run, profile: Profile, own: Endpoint, port: int, options: ToolOptions) -> list[str]:
    return [*_common(run, profile, own, port), *_bind(own, options)]


def client_argv(
    run: Run, profile: Profile, own: Endpoint, peer_ipv4: str, port: int, options: ToolOptions, json_file: str
) -> list[str]:
    json_options = ["--out_json", f"--out_json_file={json_file}"] if options.json else []
    return [*_common(run, profile, own, port), *_bind(own, options), *json_options, peer_ipv4]


def _common(run: Run, profile: Profile, own: Endpoint, port: int) -> list[str]:
    where = ["-d", own.rdma, "-x", str(own.gid_index), "-p", str(port), "-F"]
    if run.stage == "latency":
        latency = profile["latency"]
        return [LATENCY_TOOL, *where, "-s", str(latency["size_bytes"]), "-n", str(latency["iterations"])]
    bandwidth = profile["bandwidth"]
    return [
        BANDWIDTH_TOOL,
        *where,
        "--report_gbits",
        "-q",
        str(bandwidth["qps"]),
        "-s",
        str(bandwidth["size_bytes"]),
        "-D",
        str(bandwidth["duration_s"]),
        *(["-t", str(bandwidth["tx_depth"])] if "tx_depth" in bandwidth else []),
        *(["-u", str(bandwidth["qp_timeout"])] if "qp_timeout" in bandwidth else []),
    ]


def _bind(own: Endpoint, options: ToolOptions) -> list[str]:
    # So that a server listens on the fabric address only, and a client leaves from it.
    return [f"--bind_source_ip={own.ipv4}"] if options.bind_source_ip else []


def clock_failed(output: str) -> bool:
    """Whether the numbers of a run mean nothing, although it ended well."""
    return bool(_CLOCK.search(output))


def ended_by(rc: int) -> int | None:
    """The signal that ended a tool: -9 as the kernel says it, 137 as a shell does."""
    if rc < 0:
        return -rc
    return rc - _SHELL_SIGNAL if rc > _SHELL_SIGNAL else None


def explain_failure(tool: str, rc: int, output: str, timeout_s: float) -> tuple[Cause, str]:
    """Cause and sentence for a tool that ended without a result."""
    if rc == NOT_FOUND:
        return "software", f"{tool} is not installed: install the package perftest"
    for pattern, cause, sentence in _CAUSES:
        if re.search(pattern, output):
            return cause, f"{tool}: {sentence}"
    if rc == TIMED_OUT:
        return "instrument", f"{tool} gave no result within {timeout_s:.0f} s and was ended"
    if (signal := ended_by(rc)) is not None:
        return "instrument", f"{tool} was ended by signal {signal}"
    return "instrument", f"{tool} ended with {rc} and said {excerpt(output, 160)}"
