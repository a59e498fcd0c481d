# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gb10.cluster.serving_screen: contract 4 in, a table out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: serving_screen
short_description: Shows a serving plan as a table
version_added: 0.1.0
author:
  - gb10.cluster contributors (@gb10-cluster)
description:
  - Turns what filter P(gb10.cluster.serving_plan#filter) returned into lines of text for a terminal.
options:
  _input:
    description: The serving plan.
    type: dict
    required: true
  width:
    description: Columns of the screen. By default those of the terminal, between 79 and 120.
    type: int
  where:
    description: Where the plan was written to, for the last line.
    type: str
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ plan | gb10.cluster.serving_screen }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

from ansible.utils.display import Display
from ansible_collections.gb10.cluster.plugins.module_utils.contracts.serving import ServingPlan
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.screen import plan_screen

NARROWEST = 79  # what Ansible assumes when there is no terminal
WIDEST = 120


def serving_screen(plan: ServingPlan, width: int | None = None, where: str | None = None) -> list[str]:
    columns = int(Display().columns) if width is None else int(width)
    return plan_screen(plan, min(max(columns, NARROWEST), WIDEST), where)


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., list[str]]]:
        return {"serving_screen": serving_screen}
