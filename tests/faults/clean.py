"""Healthy clusters that differ as healthy clusters do: nothing may be found in them.

Each number moves within what was recorded: on GB10 the ranges of health-checks 2, 3 and 8, on virtual Sparks the runs
of tests/fixtures/probe/real-virtual-*, dealt anew. A seed makes a run the same every time.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit import builders

from tests.faults.case import false_alarms
from tests.faults.report import Clean
from tests.faults.spark import FIXTURES
from tests.faults.world import World

BOOTED = "Linux version 6.17.0-1014-nvidia (buildd@bos03-arm64-022) #14-Ubuntu SMP PREEMPT_DYNAMIC"
HERRINGS = (
    "mlx5_pcie_event:326:(pid 12): Detected insufficient power on the PCIe slot (27W).",
    "cx7-pcie-hotplug MTKP0001:00: Cable plugin",
    "mlx5_core 0000:01:00.0: 126.028 Gb/s available PCIe bandwidth (32.0 GT/s PCIe x4 link)",
)


def runs(gb10: int = 25, virtual: int = 15, seed: int = 20261124) -> t.Iterator[Clean]:
    for number in range(gb10):
        yield _judged(f"GB10, seed {seed + number}", _gb10, seed + number)
    for number in range(virtual):
        yield _judged(f"recorded virtual Sparks, seed {seed + number}", _virtual, seed + number)


def _judged(name: str, make: t.Callable[[random.Random], Reading], seed: int) -> Clean:
    started = time.monotonic()
    evidence = decide(make(random.Random(seed)), "clean")
    alarms = false_alarms(evidence, [])
    if evidence["verdict"]["outcome"] != "admit" and not alarms:
        alarms = ["refused without a finding"]
    return Clean(name, "recorded", alarms, time.monotonic() - started)


# --- GB10 ---


def _gb10(dice: random.Random) -> Reading:
    with tempfile.TemporaryDirectory(prefix="gb10-faults-") as folder:
        world = World(Path(folder), dice.choice(("triangle", "triangle", "direct", "switch")))
        for spark in world.sparks.values():
            _live_through(dice, spark)
        reading = world.reading()
    _measure(dice, reading)
    return reading


def _live_through(dice: random.Random, spark: t.Any) -> None:
    """What days of work leave on a node that is well."""
    available = dice.randint(100_000_000, 122_000_000)
    cma_free = dice.randint(500_000, 1_048_576)
    spark.files["proc/meminfo"] = (
        f"MemTotal: 127600748 kB\nMemAvailable: {available} kB\nCmaTotal: 1048576 kB\nCmaFree: {cma_free} kB\n"
    )
    spark.kernel_says("\n".join([BOOTED, *dice.sample(HERRINGS, dice.randint(0, len(HERRINGS)))]))
    spark.setting(dice.choice(("# NCCL_IB_DISABLE=1", "NCCL_DEBUG=WARN", "")))
    if dice.random() < 0.3:
        spark.files["etc/dgx-release"] = 'DGX_NAME="ASUS Ascent GX10"\n'
    for half in spark.halves.values():
        # The index of a GID differs between devices of one host (6 and 3), and drifts.
        half.gids[2:2] = [("0000:0000:0000:0000:0000:0000:0000:0000", "RoCE v2")] * dice.randint(0, 3)
        half.counters |= {name: dice.choice((0, 32, 64, 96, 128, 192)) for name in half.counters}


def _measure(dice: random.Random, reading: Reading) -> None:
    for measurement in reading.measurements.values():
        for direction in measurement["directions"]:
            _shake(dice, direction["bandwidth"], 109.0, 112.0)
            latency = direction["latency"]
            assert latency is not None
            latency["typical_us"] = dice.uniform(1.47, 1.75)
        for pair in measurement["pairs"]:
            for half in pair["halves"]:
                _shake(dice, half["bandwidth"], 94.9, 98.04)  # 189.85 (NVIDIA) to 196 (capetron) together
        for deltas in measurement["counter_deltas"].values():
            deltas |= {"rx_corrected_bits_phy": dice.randint(0, 4671), "rx_err_lane_2_phy": dice.randint(0, 190)}
    for rank in (reading.nccl or {}).values():
        for run in rank["runs"]:
            run["busbw_gbs"] *= dice.uniform(0.985, 1.015)


def _shake(dice: random.Random, measured: list[t.Any], low: float, high: float) -> None:
    """Healthy halves differ by some Gb/s, the repeats of one by 0.1; a first run may be anything."""
    level = dice.uniform(low, high)
    for run in measured:
        run["gbps"] = dice.uniform(4.8, high) if run["warmup"] else level + dice.uniform(-0.1, 0.1)


# --- virtual Sparks ---


def _virtual(dice: random.Random) -> Reading:
    """Two recorded nodes. Which runs a direction has and how fast the machine below was that day, the dice say."""
    plan = builders.plan("direct", pools=["10.210.0.0/16"])
    facts, measurements = (
        {node: json.loads((FIXTURES / f"real-virtual-{node}-{kind}.json").read_text()) for node in plan["nodes"]}
        for kind in ("facts", "measurement")
    )
    for node, read in facts.items():
        # They were recorded before role nccl_env had taken the residue out.
        read["nccl_files"] = [{"path": "/etc/nccl.conf", "settings": dict(plan["nccl_env"][node])}]
        read["memory_kib"]["MemAvailable"] -= dice.randint(0, 300_000)
    # Nor were there pings then, nor did a measurement say in which boot it was made.
    built = builders.healthy_measurements(plan, builders.profile(builders.LAB))
    for node, measurement in measurements.items():
        measurement["pings"] = built[node]["pings"]
        measurement |= {"boot_id": facts[node]["boot_id"], "uptime_s": facts[node]["uptime_s"] + 9, "clock_step_s": 0.0}
    directions = [direction for measurement in measurements.values() for direction in measurement["directions"]]
    recorded = [[run["gbps"] for run in direction["bandwidth"] if not run["warmup"]] for direction in directions]
    dice.shuffle(recorded)
    speed = dice.uniform(0.5, 4.0)  # seen on virtual Sparks: 0.03 to 0.34 Gb/s
    for direction, values in zip(directions, recorded, strict=True):
        repeats = [run for run in direction["bandwidth"] if not run["warmup"]]
        for run, value in zip(repeats, dice.sample(values, len(values)), strict=True):
            run["gbps"] = value * speed
    return Reading(
        plan=plan,
        profile=builders.profile(builders.LAB),
        facts=facts,
        discoveries=builders.healthy_discoveries(plan),
        measurements=measurements,
        nccl=None,
    )
