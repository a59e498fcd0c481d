# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the kernel log that mean something for the fabric or the GPU (N11)."""

from __future__ import annotations

import re
import typing as t

from .error import ProbeError

_SIGNALS = re.compile(
    "|".join(
        (
            r"AER:.*([Ff]atal|[Uu]ncorrect|[Cc]orrected|error)",
            r"mlx5_core.*(FATAL|health|DESTROY_EQ.*timeout)",
            r"broken device, retraining",
            r"E-Switch: cleanup",
            r"NVRM: Xid",
            r"oom-kill|Out of memory: Killed process",
        )
    )
)
# Appears on healthy nodes too; only measured bandwidth tells (spark-facts 5.4).
_NOT_A_SIGNAL = re.compile(r"insufficient power on the PCIe slot")

MAX_LINES = 50
MAX_LENGTH = 300


def parse_kernel_log(text: str) -> list[str]:
    """`journalctl -k -b -o cat`. Every boot writes to it, so an empty one was not readable or is gone."""
    if not text.strip():
        raise ProbeError("`journalctl -k -b` printed nothing, so it holds no message of this boot")
    return matching_lines(text.splitlines())


def matching_lines(lines: t.Iterable[str]) -> list[str]:
    """The newest matching lines; a log full of one message must not become the result."""
    found = [line.strip()[:MAX_LENGTH] for line in lines if _SIGNALS.search(line) and not _NOT_A_SIGNAL.search(line)]
    return found[-MAX_LINES:]
