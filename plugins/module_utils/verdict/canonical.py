# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One digest for equal JSON data, whatever the order of its keys."""

from __future__ import annotations

import hashlib
import json
import typing as t


def digest(value: t.Any) -> str:
    """The SHA-256 of the canonical JSON text of a value, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
