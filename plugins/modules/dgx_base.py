#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: dgx_base
short_description: Brings the operating system under a Spark to its declared state in one call
version_added: 0.1.0
description:
  - Host names, locked memory, kernel values, memory policy, desktop, package holds, forbidden packages, automatic
    upgrades, kernel parameters, a check of docker, firewall and SSH. Each part is switched off by one option, and a
    part that is off takes back what it has done before.
  - A part whose subject is not installed is skipped with a reason, in RV(parts).
  - Everything is worked out and checked before the first file is written. A second run changes nothing.
  - Firewall and SSH could cut the way in. A transient systemd timer on the node takes their change back unless
    O(state=confirmed) comes in time, over a new connection.
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
      - V(present) brings all parts to what is declared. V(confirmed) keeps what a timer would take back.
      - V(absent) brings the node back to what it was, whatever the other options say. Packages stay installed.
    type: str
    choices: [present, confirmed, absent]
    default: present
  node:
    description: Name of this node in the plan. Needed with O(state=present).
    type: str
  plan:
    description: The fabric plan that P(gb10.cluster.fabric_plan#filter) makes. Its nodes and subnets are let in.
      Needed with O(state=present).
    type: dict
  hosts_block:
    description: Lines to keep in C(/etc/hosts). Empty for none.
    type: str
    default: ""
  hosts_disable:
    description: Regular expressions of foreign lines in C(/etc/hosts) that become comments.
    type: list
    elements: str
    default: []
  memlock:
    description: Whether locked memory is unlimited for logins and services.
    type: bool
    default: false
  sysctl:
    description: Kernel values by name, in force at once and at boot. One that is left out becomes what it was before.
    type: dict
    default: {}
  headless:
    description: Whether the node starts without a desktop.
    type: bool
    default: false
  swap:
    description: V(off) ends swapping now and at boot, without an edit of C(/etc/fstab).
    type: str
    choices: [keep, "off"]
    default: keep
  oom:
    description:
      - V(kernel) changes nothing. V(protect) keeps memory for the SSH service and logins.
      - V(earlyoom) does that and configures earlyoom, where it is installed.
    type: str
    choices: [kernel, protect, earlyoom]
    default: kernel
  docker:
    description: Whether docker and its way to the GPU are looked at, where docker is installed. Never changes it.
    type: bool
    default: false
  firewall:
    description:
      - V(off) does nothing. V(peers) lets the cluster through an active ufw, and closes nothing.
      - V(closed) closes everything but SSH, the cluster, O(open_ports), leases, mDNS and ICMP, in ufw where that is
        active and else in a table of our own.
    type: str
    choices: ["off", peers, closed]
    default: "off"
  open_ports:
    description: TCP ports to leave open with O(firewall=closed).
    type: list
    elements: int
    default: []
  open_from:
    description: Addresses and networks that may reach O(open_ports). Empty for all.
    type: list
    elements: str
    default: []
  ssh_from:
    description: Addresses and networks that may reach SSH with O(firewall=closed). Empty for all. The one that this
      task comes from always may.
    type: list
    elements: str
    default: []
  ssh_hardening:
    description: Whether SSH takes keys only. Done only where the connection of this very task was opened by a key.
    type: bool
    default: false
  upgrade_blacklist:
    description: Whether unattended-upgrades leaves driver, kernel, NCCL and docker alone.
    type: bool
    default: false
  holds:
    description: Whether those packages of the driver, kernel and docker that are installed are held.
    type: bool
    default: false
  forbidden_packages:
    description: Names that apt must not install. V(*) and V(?) stand for any characters.
    type: list
    elements: str
    default: []
  kernel_parameters:
    description: Words for the command line of the kernel, where grub boots the node.
    type: list
    elements: str
    default: []
  installed:
    description: Packages that were installed for the cluster in this run; remembered, never removed.
    type: list
    elements: str
    default: []
  revert_after:
    description: Seconds until an unconfirmed change of firewall or SSH is taken back.
    type: int
    default: 120
  root:
    description: Folder that stands for the root of the file system, for tests with a recorded tree.
    type: path
    default: /
"""

EXAMPLES = r"""
- name: Hold what is installed, forbid what breaks NICs, let the peers through an active ufw
  gb10.cluster.dgx_base:
    node: "{{ inventory_hostname }}"
    plan: "{{ fabric_plan }}"
    holds: true
    forbidden_packages: [mlnx-fw-updater]
    firewall: peers
  register: __dgx_os_base

- name: Reach the node again
  ansible.builtin.meta: reset_connection

- name: Keep it
  gb10.cluster.dgx_base:
    state: confirmed
  when: __dgx_os_base.revert_unit is truthy
"""

RETURN = r"""
parts:
  description: What became of each part.
  returned: success
  type: dict
  contains:
    name:
      description: The part in words.
      type: str
    state:
      description: One of V(kept), V(changed), V(skipped).
      type: str
    reason:
      description: Why it was skipped; empty otherwise.
      type: str
  sample:
    holds: {name: package holds, state: changed, reason: ""}
    docker: {name: docker, state: skipped, reason: docker is not installed}
reboot:
  description: What is in force only after the next start, one sentence each.
  returned: success
  type: list
  elements: str
  sample: [kho=off is not in force before the next start]
revert_unit:
  description: The armed timer, without its suffix; none when nothing has to be confirmed.
  returned: success
  type: str
  sample: gb10-base-revert
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gb10.cluster.plugins.module_utils.base.apply import Outcome, confirmed, present
from ansible_collections.gb10.cluster.plugins.module_utils.base.part import BaseRefused
from ansible_collections.gb10.cluster.plugins.module_utils.base.parts import NOTHING
from ansible_collections.gb10.cluster.plugins.module_utils.files.apply import diff
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host

LIST_OF_WORDS = {"type": "list", "elements": "str", "default": []}
SWITCH = {"type": "bool", "default": False}
ARGUMENTS: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "confirmed", "absent"], "default": "present"},
    "node": {"type": "str"},
    "plan": {"type": "dict"},
    "hosts_block": {"type": "str", "default": ""},
    "hosts_disable": LIST_OF_WORDS,
    "memlock": SWITCH,
    "sysctl": {"type": "dict", "default": {}},
    "headless": SWITCH,
    "swap": {"type": "str", "choices": ["keep", "off"], "default": "keep"},
    "oom": {"type": "str", "choices": ["kernel", "protect", "earlyoom"], "default": "kernel"},
    "docker": SWITCH,
    "firewall": {"type": "str", "choices": ["off", "peers", "closed"], "default": "off"},
    "open_ports": {"type": "list", "elements": "int", "default": []},
    "open_from": LIST_OF_WORDS,
    "ssh_from": LIST_OF_WORDS,
    "ssh_hardening": SWITCH,
    "upgrade_blacklist": SWITCH,
    "holds": SWITCH,
    "forbidden_packages": LIST_OF_WORDS,
    "kernel_parameters": LIST_OF_WORDS,
    "installed": LIST_OF_WORDS,
    "revert_after": {"type": "int", "default": 120},
    "root": {"type": "path", "default": "/"},
}


def run(params: dict[str, t.Any], check_mode: bool) -> Outcome:
    host = Host(params["root"])
    if params["state"] == "confirmed":
        return confirmed(host, check_mode)
    if params["state"] == "absent":
        return present(host, t.cast(t.Any, params | NOTHING), params["revert_after"], check_mode)
    if params["node"] not in params["plan"]["nodes"]:
        raise BaseRefused(f"{params['node']} is not a node of the plan ({', '.join(params['plan']['nodes'])})")
    return present(host, t.cast(t.Any, params), params["revert_after"], check_mode)


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_if=[("state", "present", ["node", "plan"])], supports_check_mode=True
    )
    try:
        outcome = run(module.params, module.check_mode)
    except BaseRefused as refusal:
        module.fail_json(msg=str(refusal))
    for warning in outcome.warnings:
        module.warn(warning)
    live = [
        {"before_header": one.what, "after_header": one.what, "before": f"{one.before}\n", "after": f"{one.after}\n"}
        for one in outcome.live
    ]
    module.exit_json(
        changed=outcome.changed,
        parts=outcome.parts,
        reboot=outcome.reboot,
        revert_unit=outcome.revert_unit,
        diff=[diff(change) for change in outcome.changes] + live,
    )


if __name__ == "__main__":
    main()
