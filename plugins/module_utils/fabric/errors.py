# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of this package."""

from __future__ import annotations


class FabricError(Exception):
    """For the reader: what was found, where, what was expected, what to do next. One sentence per finding."""

    def __init__(self, *findings: str) -> None:
        super().__init__("\n".join(findings))
        self.findings = list(findings)
