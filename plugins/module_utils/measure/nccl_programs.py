# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The harness nccl_tests: the programs of nccl-tests on the host of every node (C02-C06, C11, N14, P06)."""

from __future__ import annotations

import typing as t

from ..contracts import NcclTestsSettings
from ..probe.nccl_programs import PROGRAMS, writes_json
from ..shape import fits
from . import hydra, nccl_place
from .ending import ending_on_signals
from .lock import alone
from .nccl import unmeasured
from .nccl_rank import Rank
from .readiness import gpu_work, short_of_memory, wanted_free_kib
from .results import Broken
from .window import Window

if t.TYPE_CHECKING:
    from ..contracts import NcclLibrary, NcclMeasurement, NcclRuntime, Plan, Profile
    from ..host import Host

FOLDER = "/run/gb10-cluster"
USAGE_S, LDD_S = 20, 10
_TOOLS = (hydra.MPIEXEC, hydra.PROXY, hydra.SETPRIV, "ldd")


class Programs:
    """A folder with the programs."""

    def __init__(self, folder: str) -> None:
        self.folder = folder.rstrip("/")

    def describe(self) -> NcclRuntime:
        return {"kind": "host", "image": None, "image_id": None, "python": self.folder}

    def paths(self) -> list[str]:
        return [f"{self.folder}/{name}" for name in PROGRAMS.values()]

    def why_not(self, host: Host) -> str | None:
        for path in self.paths():
            if host.which(path) is None:
                return f"there is no {path}: role nccl_env builds it, see nccl_env_tests_tag"
        absent = [tool for tool in _TOOLS if host.which(tool) is None]
        if absent:
            return f"{absent[0]} is not installed: the programs of nccl-tests need the package mpich"
        for path in self.paths():
            if "libmpich" not in self.linked(host, path):
                return f"{path} is not linked with MPICH: build it with MPI=1 and the mpich of this node"
        return None

    def linked(self, host: Host, path: str) -> str:
        return host.run(["ldd", path], timeout_s=LDD_S).stdout

    def library(self, host: Host) -> NcclLibrary:
        """The NCCL that the loader takes. What it was built with is known only to its output."""
        lines = (line.split() for line in self.linked(host, self.paths()[0]).splitlines())
        paths = [words[2] for words in lines if len(words) > 2 and words[0].startswith("libnccl.so")]
        maps = "".join(f"0-0 r-xp 0 00:00 0 {path}\n" for path in paths)
        return t.cast("NcclLibrary", nccl_place.library(maps, None))

    def digest(self, host: Host) -> str:
        """Of both programs, so that equal ones can be told."""
        result = host.run(["sha256sum", *self.paths()], timeout_s=USAGE_S)
        if not result.ok:
            raise Broken("software", f"the programs cannot be read: {hydra.last_words(result)}", result)
        return " ".join(line.split()[0] for line in result.stdout.splitlines())

    def writes_json(self, host: Host) -> bool:
        usage = host.run([self.paths()[0], "--help"], timeout_s=USAGE_S)
        return writes_json(usage.stdout + usage.stderr)


def not_measured(node: str, plan: Plan, profile: Profile, programs: Programs, why: str | None) -> NcclMeasurement:
    return unmeasured("nccl_tests", node, plan, profile, programs.describe(), why)


def measure(
    host: Host, node: str, plan: Plan, profile: Profile, programs: Programs, port: int, control_port: int
) -> NcclMeasurement:
    """Run this node's part of every program, together with all other nodes of the plan."""
    window = Window(host)
    with alone(host, "nccl_probe") as locked_out:
        why = locked_out or why_not_now(host, plan, profile, programs)
        measurement = not_measured(node, plan, profile, programs, why)
        if why is None:
            with ending_on_signals(), host.scratch(FOLDER) as scratch:
                rank = Rank(measurement, host, plan, profile, programs, scratch, control_port)
                rank.run(port)
    window.stamp(measurement)
    return measurement


def why_not_now(host: Host, plan: Plan, profile: Profile, programs: Programs) -> str | None:
    settings = profile.get("nccl_tests")
    if settings is None:
        return f"the profile {profile['name']} does not say how to measure with nccl-tests"
    if not fits(settings, NcclTestsSettings):
        return f"the profile's nccl_tests does not have the form of {', '.join(NcclTestsSettings.__annotations__)}"
    counted = (settings["iterations"], settings["repeats"], settings["timeout_s"], *settings["sizes_bytes"])
    if not settings["sizes_bytes"] or min((*counted, *settings["pair_sizes_bytes"])) < 1 or settings["warmup"] < 0:
        return "the profile's nccl_tests wants at least one size, and nothing in it below 1 but warmup"
    if len(plan["nodes"]) < 2:
        return "one node alone has no fabric to measure"
    needed_kib = wanted_free_kib(profile) + 3 * min(settings["sizes_bytes"]) // 1024
    return short_of_memory(host, needed_kib) or gpu_work(host) or programs.why_not(host)
