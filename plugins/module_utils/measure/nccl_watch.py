# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rank cannot see from where it runs: its GPU under load (N10), and the counters between two of its stages.

The rank names its stage in its report. In some stages it waits for a file that says that they were seen.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
import types
import typing as t

from ..probe.counters import deltas
from ..probe.error import ProbeError, excerpt
from ..probe.system import parse_gpu_sample
from .nccl_runtime import REPORT
from .sysfs import error_counters, growth, rdma_devices, received_bytes, sent_bytes

if t.TYPE_CHECKING:
    from ..contracts import NcclGpuLoad, NcclGpuSample
    from ..host import Host

TICK_S = 0.25
SMI_S = 5  # for nvidia-smi to answer
SAMPLE_S = {"gpu_load": 1.0, "soak": 5.0}  # from one look at the GPU to the next
SMI = ["nvidia-smi", "--query-gpu=clocks.sm,power.draw,utilization.gpu,pstate", "--format=csv,noheader,nounits"]

Bytes: t.TypeAlias = "dict[str, int | None]"


class Counts(t.NamedTuple):
    """What every RDMA device has counted so far."""

    sent: Bytes
    received: Bytes
    errors: dict[str, dict[str, int]]


def counts(host: Host) -> Counts:
    devices = rdma_devices(host)
    return Counts(
        {device: sent_bytes(host, device, None) for device in devices},
        {device: received_bytes(host, device, None) for device in devices},
        {device: error_counters(host, device) for device in devices},
    )


class Watch:
    """Follows a rank from its start to its end, in a thread of its own."""

    def __init__(self, host: Host, scratch: str) -> None:
        self._host = host
        self._scratch = scratch
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._problem: str | None = None
        self._sampled_at = 0.0
        self.before = counts(host)
        self.samples: dict[str, list[NcclGpuSample]] = {stage: [] for stage in SAMPLE_S}
        self.held: dict[str, Counts] = {}  # by stage: "counted", "soak_begins", "soak_ended"

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: types.TracebackType | BaseException | type[BaseException] | None) -> None:
        self._over.set()
        self._thread.join(SMI_S + 1)

    # --- what came of it ---

    def moved(self, beyond: bool) -> tuple[Bytes, Bytes]:
        """What each device sent and received for all ranks together; ``beyond``: the rank went on after that."""
        after = self.held.get("counted")
        if after is None:
            nobody = dict.fromkeys(self.before.sent)
            after = Counts(nobody, nobody, {}) if beyond else counts(self._host)
        sent = {device: growth(count, after.sent.get(device)) for device, count in self.before.sent.items()}
        received = {device: growth(count, after.received.get(device)) for device, count in self.before.received.items()}
        return sent, received

    def gpu_load(self, seconds: float, problem: str | None) -> NcclGpuLoad:
        samples = self.samples["gpu_load"]
        return {
            "seconds": round(seconds, 2),
            "samples": len(samples),
            "clock_mhz": _median([sample["clock_mhz"] for sample in samples]),
            "power_w": _median([sample["power_w"] for sample in samples]),
            "utilisation": _median([sample["utilisation"] for sample in samples]),
            "problem": problem or self.problem("gpu_load"),
        }

    def problem(self, stage: str) -> str | None:
        """Why there is no sample of a stage."""
        return None if self.samples[stage] else self._problem or "the GPU was not looked at"

    def errors_in_soak(self) -> dict[str, dict[str, int]]:
        """How much each error counter grew; nothing when one of both readings is missing."""
        before, after = self.held.get("soak_begins"), self.held.get("soak_ended")
        if before is None or after is None:
            return {}
        return {device: deltas(values, after.errors.get(device, {})) for device, values in before.errors.items()}

    # --- the thread ---

    def _follow(self) -> None:
        while not self._over.wait(TICK_S):
            stage = self._stage()
            if stage in ("counted", "soak_begins", "soak_ended") and stage not in self.held:
                self._hold(stage)
            elif stage in SAMPLE_S and time.monotonic() - self._sampled_at >= SAMPLE_S[stage]:
                self._sample(stage)

    def _stage(self) -> str | None:
        """While a stage lasts, the report holds the failure that a sudden end in it would be."""
        try:
            failure = json.loads(self._host.read(f"{self._scratch}/{REPORT}") or "{}").get("failure") or {}
        except ValueError:
            return None
        return t.cast("str | None", failure.get("stage"))

    def _hold(self, stage: str) -> None:
        read = counts(self._host)
        if self._stage() == stage:  # else the rank has waited long enough and gone on
            self.held[stage] = read
            self._host.write(f"{self._scratch}/{stage}.seen", "")

    def _sample(self, stage: str) -> None:
        self._sampled_at = time.monotonic()
        result = self._host.run(SMI, timeout_s=SMI_S)
        try:
            if not result.ok:
                raise ProbeError(f"nvidia-smi ended with {result.rc}: {excerpt(result.stderr or result.stdout, 160)}")
            sample = parse_gpu_sample(result.stdout)
        except ProbeError as error:
            self._problem = str(error)
            return
        if self._stage() == stage:
            self.samples[stage].append(sample)


def _median(values: t.Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
