# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a model cannot be sized."""

from __future__ import annotations


class SizingError(ValueError):
    """One sentence for the operator: what was found, where, what was expected, what to do next."""
