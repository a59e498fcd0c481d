# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A subject of the plan with everything that was read and measured about it."""

from __future__ import annotations

import abc
import typing as t
from dataclasses import dataclass

from ...contracts import Level
from ..registry import Scope
from .reading import Reading


@dataclass(frozen=True)
class View(abc.ABC):
    """A subject."""

    reading: Reading

    @property
    @abc.abstractmethod
    def key(self) -> str:
        """Unique within a scope: "spark1:p0:a"."""

    @property
    @abc.abstractmethod
    def subject(self) -> dict[str, str]:
        """As a check record names it."""

    @property
    def level(self) -> Level | None:
        """That of the records about it, where the scope alone does not tell."""
        return None

    @property
    def label(self) -> str:
        return self.key.replace(":", " ")

    @abc.abstractmethod
    def sources(self) -> dict[str, tuple[t.Any, t.Any]]:
        """The roots of what checks may need, each with its declared shape."""

    def absence(self, source: str) -> str:
        """Why a source is empty, as the end of a sentence."""
        return f"{self.label} did not report its {source}"

    @abc.abstractmethod
    def related(self, scope: Scope) -> list[str]:
        """The subjects of another scope that this one stands on."""

    def far_nodes(self) -> list[str]:
        """The nodes at the other end of the cable; none behind a switch."""
        return []

    @property
    def pieces(self) -> list[str]:
        """Subjects that this one is made of: where one of them is not known, neither is this."""
        return [self.key]
