# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that every shape uses."""

from __future__ import annotations

import typing as t

SCHEMA = "1"

Topology = t.Literal["single", "direct", "triangle", "switch"]
Cage = t.Literal["p0", "p1"]
HalfName = t.Literal["a", "b"]
Level = t.Literal["node", "half-link", "pair", "cluster"]
OutcomeName = t.Literal["pass", "degraded", "fail", "unknown", "skipped"]
Cause = t.Literal["hardware", "configuration", "software", "instrument", "environment"]
