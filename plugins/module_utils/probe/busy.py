# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a probe says that it measured nothing because the node does something else; N09 reads it."""

from __future__ import annotations

import typing as t

BUSY = "busy: "


def says_busy(skipped: t.Any) -> bool:
    return isinstance(skipped, str) and skipped.startswith(BUSY)
