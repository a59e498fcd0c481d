# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One screen before anything is changed: the nodes, the cables, what is in the way and what would be done."""

from __future__ import annotations

import textwrap
import typing as t

from ..contracts import NodeFacts, Plan
from ..plan.hardware import HALF_PORTS
from .cabling import CageFinding, Plug, State, cage_finding
from .passive import Note, Preview, is_wrong
from .views import Reading
from .wording import LABEL, Line, Style, count, paragraph

_GIB_IN_KIB = 1024 * 1024
_TITLES = ("node", "GPU", "system", "kernel", "driver", "firmware", "memory")
_DROPPED_FIRST = (5, 3, 4)  # where the terminal is narrow: firmware, kernel, driver
_CAGE_OF = {port.netdev: port.cage for port in HALF_PORTS}
_SHOWN = 6
_NOTHING = ("nothing that can be seen from here",)

_UNHEARD: dict[State, str] = {
    "down": "not heard: no carrier",
    "silent": "not heard: a carrier, but nobody spoke",
    "absent": "not heard: nobody listened",
}
_WHY_UNHEARD = "a link that is down cannot be heard; site.yml sets it up and proves the cabling before it writes a file"


def preview_screen(reading: Reading, found: Preview, width: int) -> list[Line]:
    """The whole answer: two tables, then sentences, the worst first."""
    plan = reading.plan
    lines = [_header(reading, width), Line(""), *_nodes(plan, reading.facts, width), Line("")]
    cables = _cables(reading, width)
    lines += [*cables, Line("")] if cables else []
    lines += _notes("in the way", "bad", found.in_the_way, width)
    lines += _notes("look at", "warn", found.look_at, width)
    lines += _notes("not known", "warn", [Note(text) for text in found.not_known], width)
    lines += _notes("would do", "plain", [Note(text) for text in found.would_do or _NOTHING], width)
    return [*lines, Line(""), *_end(found, width)]


def preview_message(found: Preview) -> str:
    """The same in one sentence."""
    if not found.in_the_way:
        return "nothing is in the way of an installation"
    more = f" and {len(found.in_the_way) - 1} more" if len(found.in_the_way) > 1 else ""
    return f"In the way of an installation: {found.in_the_way[0].text}{more}"


def _header(reading: Reading, width: int) -> Line:
    plan = reading.plan
    nodes = len(plan["nodes"])
    what = "single node" if nodes == 1 else f"{plan['topology']} of {nodes}"
    left = f"planned    {what} · MTU {plan['mtu']} · {count(len(plan['links']), 'cable')}"
    right = f"profile {reading.profile['name']}"
    return Line(f"{left:<{min(width - len(right), 62)}}{right}" if len(left) + len(right) + 3 <= width else left)


# --- nodes ---


def _nodes(plan: Plan, facts: t.Mapping[str, NodeFacts], width: int) -> list[Line]:
    rows = {node: _node_row(node, facts[node]) for node in plan["nodes"] if node in facts}
    shown = list(range(len(_TITLES)))
    widths = [max(len(row[column]) for row in (_TITLES, *rows.values())) for column in shown]
    for column in _DROPPED_FIRST:
        if sum(widths[each] + 2 for each in shown) > width:
            shown.remove(column)

    def line(row: t.Sequence[str]) -> str:
        return "  " + "  ".join(f"{row[column]:<{widths[column]}}" for column in shown).rstrip()

    absent = f"  {{:<{max(map(len, plan['nodes']))}}}  did not answer"
    return [
        Line(line(_TITLES), "title"),
        *(Line(line(rows[node])) if node in rows else Line(absent.format(node), "bad") for node in plan["nodes"]),
    ]


def _node_row(node: str, facts: NodeFacts) -> tuple[str, ...]:
    gpus = facts["gpus"] or []
    firmware = sorted({half["rdma"]["fw_ver"] or "" for half in facts["halves"] if half["rdma"]} - {""})
    memory = facts["memory_kib"].get("MemTotal")
    cells = (
        ", ".join(gpu["name"].removeprefix("NVIDIA ") for gpu in gpus),
        _system(facts),
        facts["kernel"],
        next((gpu["driver"] for gpu in gpus if gpu["driver"]), ""),
        "/".join(firmware),
        f"{memory / _GIB_IN_KIB:.1f} GiB" if memory else "",
    )
    return (node, *(cell or "-" for cell in cells))


def _system(facts: NodeFacts) -> str:
    release = facts["dgx_release"]
    # The factory image, and what an update over the air made of it.
    version = release.get("DGX_OTA_VERSION") or release.get("DGX_SWBUILD_VERSION") or facts["fastos_version"]
    return f"DGX OS {version}" if version else f"{facts['os_id'] or ''} {facts['os_version'] or ''}".strip()


# --- cables ---


def _cables(reading: Reading, width: int) -> list[Line]:
    plan = reading.plan
    names = [_cable_name(plan, index) for index in range(len(plan["links"]))]
    column = max(map(len, names), default=0)
    lines = []
    for name, link in zip(names, plan["links"], strict=True):
        plugs = [(end["device"], end["port"]) for end in link["ends"] if end["device"] in plan["nodes"]]
        text, style = _cable(reading, [cage_finding(plan, reading.discoveries, plug) for plug in plugs])
        lines.append(Line(f"  {name:<{column}}   {text}", style))
    if any(_UNHEARD["down"] in line.text for line in lines):
        lines += [Line(f"  {text}") for text in textwrap.wrap(_WHY_UNHEARD, width - 4)]
    return lines


def _cable_name(plan: Plan, index: int) -> str:
    near, far = plan["links"][index]["ends"]
    return f"{near['device']} {near['port']} - {far['port']} {far['device']}"


def _cable(reading: Reading, ends: list[CageFinding]) -> tuple[str, Style]:
    """What one cable shows; one end that hears the other is enough."""
    wrong = [end for end in ends if is_wrong(reading.plan, end)]
    if wrong:
        return ", ".join(f"{' '.join(end.plug)} goes to {_plugs(end.heard)}" for end in wrong), "bad"
    heard = {plug for end in ends for plug in end.heard}
    if heard and reading.plan["topology"] == "switch":  # where others may be off
        unheard = [plug for plug in ends[0].expected if plug[0] not in {node for node, _cage in heard}]
        if unheard:
            return f"hears {_plugs(sorted(heard))}, not {_plugs(unheard)}", "plain"
    if any(end.state == "right" for end in ends):
        return "as planned", "good"
    said = [text for end in ends for text in _by_lldp(reading, end.plug)]
    worst = next(end for state in ("absent", "silent", "down") for end in ends if end.state == state)
    return _UNHEARD[worst.state] + (f"; LLDP says {', '.join(said)}" if said else ""), "plain"


def _plugs(plugs: t.Iterable[Plug]) -> str:
    return " and ".join(" ".join(plug) for plug in plugs)


def _by_lldp(reading: Reading, plug: Plug) -> list[str]:
    """Who is at the far end of a cage by LLDP, where a service speaks it: a switch does, a fresh node does not."""
    node, cage = plug
    facts = reading.facts.get(node)
    heard = [peer for peer in (facts["lldp"] if facts else None) or [] if _CAGE_OF.get(peer["netdev"]) == cage]
    return list(
        dict.fromkeys(f"{' '.join(plug)} - {_lldp_end(reading, peer['chassis'], peer['port'])}" for peer in heard)
    )


def _lldp_end(reading: Reading, chassis: str, port: str) -> str:
    """A node names its ports by hardware address, a switch by name."""
    for node, facts in reading.facts.items():
        for half in facts["halves"]:
            if half["cage"] and port in (half["mac"], half["netdev"]) and chassis in (node, facts["hostname"]):
                return f"{half['cage']} {node}"
    return f"{port} {chassis}"


# --- sentences ---


def _notes(label: str, style: Style, notes: t.Sequence[Note], width: int) -> list[Line]:
    lines: list[Line] = []
    for index, note in enumerate(notes[:_SHOWN]):
        text = f"{note.text}: {note.action}" if note.action else note.text
        lines += paragraph(label if index == 0 else "", text, width, style)
    if len(notes) > _SHOWN:
        lines += paragraph("", f"and {len(notes) - _SHOWN} more", width, style)
    return lines


def _end(found: Preview, width: int) -> list[Line]:
    if found.in_the_way:
        things = count(len(found.in_the_way), "thing")
        verb = "is" if len(found.in_the_way) == 1 else "are"
        title = Line(f"STOP  {things} {verb} in the way; nothing was changed", "bad")
        return [title, *paragraph("next", "mend that, and run this again", width)]
    see = f"  {'next':<{LABEL}}ansible-playbook site.yml --check --diff"
    explained = f"{see}   shows every line that would change"
    return [
        Line("READY  nothing is in the way; nothing was changed", "good"),
        Line(explained if len(explained) <= width else see),
        Line(f"  {'':<{LABEL}}ansible-playbook site.yml"),
    ]
