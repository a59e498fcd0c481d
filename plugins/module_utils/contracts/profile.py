# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A profile: how to measure and what to expect."""

from __future__ import annotations

import typing as t


class BandwidthSettings(t.TypedDict):
    qps: int
    tx_depth: t.NotRequired[int]  # messages under way for each queue pair; else the tool's own 128
    qp_timeout: t.NotRequired[int]  # 4 us * 2^n without acknowledgement; else the tool's own 14, 67 ms
    size_bytes: int
    duration_s: int
    warmup: int
    repeats: int


class LatencySettings(t.TypedDict):
    size_bytes: int
    iterations: int


class NcclSettings(t.TypedDict):
    """Sizes are those of nccl-tests: what an all_gather leaves on each rank, what an all_reduce sums up."""

    sizes_bytes: list[int]
    iterations: int  # operations in one run
    warmup: int  # runs
    repeats: int  # runs
    timeout_s: int  # from the start of the program to its end, GPU load and soak not counted
    gpu_load_s: t.NotRequired[int]  # how long the GPU multiplies matrices first (N10); without it, it does not
    pair_sizes_bytes: t.NotRequired[list[int]]  # what every two ranks run by themselves (P06); without it, nothing


class NcclTestsSettings(t.TypedDict):
    """The same for the programs of nccl-tests. A run is one of their cycles."""

    sizes_bytes: list[int]
    pair_sizes_bytes: list[int]  # what every two ranks run by themselves (P06); empty: nothing
    iterations: int  # operations in one run
    warmup: int  # runs
    repeats: int  # runs
    timeout_s: int  # from the meeting of the ranks to the end of the last program


class Profile(t.TypedDict):
    """A file of profiles/: how to measure and what to expect. Every number in thresholds carries its source."""

    schema: str
    name: str
    description: str
    bandwidth: BandwidthSettings
    latency: LatencySettings
    nccl: t.NotRequired[NcclSettings]  # without it NCCL is not measured
    nccl_tests: t.NotRequired[NcclTestsSettings]  # without it nccl-tests are not run
    rendezvous_s: int  # how long a peer may be late
    command_timeout_s: int
    clock_step_s: dict[str, t.Any]  # by how much the clock may be set while it is measured: a threshold
    required: list[str]  # check ids: anything but pass refuses
    observe: list[str]  # recorded and shown, never refuses
    required_with_nccl: t.NotRequired[list[str]]  # required when NCCL was to be measured, else only observed
    required_with_nccl_tests: t.NotRequired[list[str]]  # the same when it was to be measured with nccl-tests
    required_with_soak: t.NotRequired[list[str]]  # required when a soak was asked for, else only observed
    thresholds: dict[str, dict[str, t.Any]]
