#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: fabric_links
short_description: Proves, applies and verifies the fabric links of a node
version_added: 0.1.0
description:
  - Owns the fabric interfaces of one DGX Spark. Finds out who is at the far end of every cable before any address
    exists, writes the netplan file of the fabric, and puts it into force on the fabric links alone.
  - A change is taken back by a transient systemd timer unless it is confirmed in time, so that a controller that
    dies in between leaves a node that can be reached.
  - While M(gb10.cluster.rdma_probe) or M(gb10.cluster.nccl_probe) measures on the node it changes no link and fails,
    because a change would void what they measure. Nor do they begin while a change goes on.
  - Never runs C(netplan apply), which restarts NetworkManager and may cut the session.
author:
  - gb10.cluster contributors (@gb10-cluster)
attributes:
  check_mode:
    description: Can run in check mode and tell truthfully whether something would change.
    support: full
  diff_mode:
    description: Shows the files and the live values that change.
    support: full
options:
  state:
    description:
      - V(discovered) sends and receives hello frames of layer 2 on all fabric interfaces and reports the neighbours.
        Run it on all nodes in the same task. Never changed; outside check mode it may set a link up that is down.
      - V(present) brings file and live state to the plan and arms the revert timer when something has to change.
      - V(confirmed) verifies that all is live as planned and disarms the timer. Fails, and leaves the timer armed,
        when it is not.
      - V(absent) removes our file and restores what was there before.
    type: str
    choices: [discovered, present, confirmed, absent]
    default: present
  node:
    description: Name of this node in the plan. Needed unless O(state=absent).
    type: str
  plan:
    description: The fabric plan that P(gb10.cluster.fabric_plan#filter) makes. Needed unless O(state=absent).
    type: dict
  renderer:
    description: What manages the links. V(auto) keeps what manages them now, and takes V(networkd) when nothing does.
    type: str
    choices: [auto, networkd, NetworkManager]
    default: auto
  take_over:
    description:
      - Move netplan files of others that configure our interfaces aside. Without it such a file is a refusal.
      - A file that also configures other interfaces is refused in any case.
    type: bool
    default: false
  revert_after:
    description: Seconds until an unconfirmed change is taken back.
    type: int
    default: 120
  listen:
    description: Seconds to listen for neighbours at most. Ends early when all planned neighbours have heard each other.
    type: int
    default: 20
  root:
    description: Folder that stands for the root of the file system, for tests with a recorded tree.
    type: path
    default: /
"""

EXAMPLES = r"""
- name: Listen for the neighbours
  gb10.cluster.fabric_links:
    state: discovered
    node: "{{ inventory_hostname }}"
    plan: "{{ fabric_plan }}"
  register: __fabric_discovery

- name: Apply the links, armed
  gb10.cluster.fabric_links:
    state: present
    node: "{{ inventory_hostname }}"
    plan: "{{ fabric_plan }}"
    revert_after: 120
  register: __fabric_links

- name: Keep them
  gb10.cluster.fabric_links:
    state: confirmed
    node: "{{ inventory_hostname }}"
    plan: "{{ fabric_plan }}"
  when: __fabric_links is changed

- name: Give the links back
  gb10.cluster.fabric_links:
    state: absent
"""

RETURN = r"""
discovery:
  description: Neighbours by interface, and the interfaces on which none was heard.
  returned: O(state=discovered)
  type: dict
  sample:
    node: spark1
    neighbours:
      - {netdev: enp1s0f0np0, cage: p0, half: a, peer_node: spark2, peer_cage: p1, peer_half: a}
    silent: []
    down: [enp1s0f1np1]
    listened_s: 1.4
revert_unit:
  description: The armed timer, without its suffix; none when nothing changed.
  returned: O(state=present)
  type: str
  sample: gb10-fabric-revert
findings:
  description: The message of a failure as a list, one sentence for each finding.
  returned: failure
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.discovery import discover
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.errors import FabricError
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.survey import Request
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.transaction import absent, confirmed, present
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host

ARGUMENTS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["discovered", "present", "confirmed", "absent"], "default": "present"},
    "node": {"type": "str"},
    "plan": {"type": "dict"},
    "renderer": {"type": "str", "choices": ["auto", "networkd", "NetworkManager"], "default": "auto"},
    "take_over": {"type": "bool", "default": False},
    "revert_after": {"type": "int", "default": 120},
    "listen": {"type": "int", "default": 20},
    "root": {"type": "path", "default": "/"},
}
NEEDS_PLAN = [("state", state, ["node", "plan"]) for state in ("discovered", "present", "confirmed")]


def run(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    host = Host(params["root"])
    if params["state"] == "absent":
        return vars(absent(host, check_mode))
    if params["node"] not in params["plan"]["nodes"]:
        raise FabricError(f"{params['node']} is not a node of the plan ({', '.join(params['plan']['nodes'])})")
    if params["state"] == "discovered":
        return {
            "changed": False,
            "discovery": discover(host, params["plan"], params["node"], params["listen"], check_mode),
        }
    request = Request(
        plan=params["plan"],
        node=params["node"],
        renderer=None if params["renderer"] == "auto" else params["renderer"],
        take_over=params["take_over"],
        revert_after_s=params["revert_after"],
        check_mode=check_mode,
    )
    return vars(present(host, request) if params["state"] == "present" else confirmed(host, request))


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, required_if=NEEDS_PLAN, supports_check_mode=True)
    try:
        result = run(module.params, module.check_mode)
    except FabricError as error:
        module.fail_json(msg=str(error), findings=error.findings)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
