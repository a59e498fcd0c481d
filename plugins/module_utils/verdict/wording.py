# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and names as an operator reads them."""

from __future__ import annotations

import re
import textwrap
import typing as t
from dataclasses import dataclass

from ..contracts import Plan
from ..plan.hardware import HALF_PORTS

Style = t.Literal["plain", "good", "warn", "bad", "title"]

_DOMAINS: dict[str, str] = {port.half: port.pci.partition(":")[0] for port in HALF_PORTS}
LABEL = 12


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a screen; the style says what it means, the edge chooses the colour."""

    text: str
    style: Style = "plain"


def gbps(value: float | None) -> str:
    """Three digits that matter: 111.8, 13.3, 4.85, 0.123."""
    if value is None:
        return "-"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def microseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def suspect(name: str, plan: Plan) -> str:
    """A suspect of the diagnosis in words; several together are joined by "and"."""
    return " and ".join(_part(part, plan) for part in name.split(" and "))


def _part(name: str, plan: Plan) -> str:
    kind, _blank, what = name.partition(" ")
    if kind == "node" and plan["topology"] == "switch":
        return f"{what}, its cable or its switch port"
    if kind == "controller":
        node, _colon, half = what.partition(":")
        return f"half {half} of {node} (PCI domain {_DOMAINS.get(half, '?')})"
    if kind == "half-link":
        return f"half {what.rpartition(':')[2]} of the cable {_cable(what)}"
    return _WORDS.get(kind, "{name}").format(what=what, plug=what.replace(":", " "), cable=_cable(what), name=name)


_WORDS = {
    "node": "{what}",
    "port": "{plug}",
    "cage": "{plug}",
    "link": "the cable {cable}",
    "plane": "half {what} on every node",
    "common": "one cause behind all of them",
    "path": "the way between {cable}",
    "switch": "the switch {what}",
    "pair": "NCCL between {what}",
}


def _cable(what: str) -> str:
    """ "spark1:p0:a-spark2:p1:a" without its halves."""
    return re.sub(r":[ab](?=-|$)", "", what)


def cleared(names: t.Sequence[str]) -> str:
    """Nodes and cables that a passing path clears. Smaller parts are in the evidence."""
    nodes = [name.partition(" ")[2] for name in names if name.startswith("node ")]
    links = [_cable(name.partition(" ")[2]) for name in names if name.startswith("link ")]
    shown = ", ".join(nodes)
    if links:
        shown += f"{' and ' if shown else ''}the cable{'s' if len(links) > 1 else ''} {', '.join(links)}"
    return shown or "nothing yet"


def pools(valid: t.Sequence[t.Sequence[str]], nodes: t.Collection[str]) -> str:
    """ "spark1+spark2, or each node alone" """
    together = ["+".join(pool) for pool in valid if len(pool) > 1]
    alone = [pool[0] for pool in valid if len(pool) == 1]
    if not alone:
        return "no node"
    singles = "each node alone" if len(alone) == len(nodes) > 1 else f"{' or '.join(alone)} alone"
    return f"{', '.join(together)}, or {singles}" if together else singles


def paragraph(label: str, text: str, width: int, style: Style = "plain") -> list[Line]:
    """A label and its text, which wraps under itself."""
    body = textwrap.wrap(text, max(width - LABEL - 2, 30), break_long_words=False, break_on_hyphens=False) or [""]
    return [Line(f"  {label if index == 0 else '':<{LABEL}}{part}", style) for index, part in enumerate(body)]


def count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
