# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What earlier runs left for later ones: numbers to compare with, and how often each link had lost its carrier."""

from __future__ import annotations

import typing as t


class BaselineNumber(t.TypedDict):
    """A number of an admitted run. All but the last three say what it is a number of."""

    profile: str
    topology: str
    subject: str  # "spark1:p0:a>spark2:p1:a", "spark1:p0>spark2:p1", "spark1+spark2+spark3"
    tool: str  # "ib_write_bw", "torch all_gather"
    size_bytes: int
    number: str  # bw_gbps, lat_us, sum_gbps, busbw_gbs
    value: float
    run_id: str
    date: str


class Baseline(t.TypedDict):
    schema: str
    numbers: list[BaselineNumber]


class CarrierMark(t.TypedDict):
    """How often a half had lost its carrier when it was last known to be in order (L07)."""

    half: str  # "spark1:p0:a"
    carrier_down_count: int
    boot_id: str  # the counter starts anew with every boot
    peer_boot_id: str | None  # None behind a switch; a peer that boots takes the carrier away as well
    run_id: str
    date: str


class CarrierMarks(t.TypedDict):
    schema: str
    marks: list[CarrierMark]
