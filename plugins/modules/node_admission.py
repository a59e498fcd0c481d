#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: node_admission
short_description: Gives a node its admission, keeps it, or takes it back
version_added: 0.1.0
description:
  - Writes C(/var/lib/gb10/admission.json), mode C(0600), which the program C(/usr/local/lib/gb10/admission) compares
    with the node before anything serves.
  - An admission that says the same and has more than half of its time left stays as it is, so that a second run changes
    nothing. Issue and expiry are stamped by the clock of the node, by which they will be verified.
  - With O(revoke) the reasons take the place of the admission, so that the program can say them. A service that runs
    already is not stopped.
  - A node that cannot be reached keeps what it has until that expires, which is why an admission is short.
notes:
  - The seal of an admission is the sha256 of its content. It shows damage and edits by mistake. It is not a signature,
    and root on the node can forge it.
author:
  - gb10.cluster contributors (@gb10-cluster)
extends_documentation_fragment:
  - gb10.cluster.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    support: full
options:
  node:
    description: Name of this node in the inventory.
    type: str
    required: true
  grant:
    description: What M(gb10.cluster.gate) returned for this node as C(admissions). Refused when it is of another node,
      or when the node was started again since it was read.
    type: dict
  revoke:
    description: Why the node may not serve, for example C(blocked_by) of the verdict.
    type: list
    elements: str
  run_id:
    description: The run that refused. Needed with O(revoke).
    type: str
  root:
    description: Folder under which all paths are taken.
    type: path
    default: /
seealso:
  - module: gb10.cluster.gate
"""

EXAMPLES = r"""
- name: Give the node its admission
  gb10.cluster.node_admission:
    node: "{{ inventory_hostname }}"
    grant: "{{ gate_result.admissions[inventory_hostname] }}"

- name: Take it back
  gb10.cluster.node_admission:
    node: "{{ inventory_hostname }}"
    revoke: "{{ gate_result.verdict.blocked_by }}"
    run_id: "{{ gate_result.verdict.run_id }}"
"""

RETURN = r"""
action:
  description: V(given), V(renewed) or V(revoked) when the file was changed, else V(kept).
  returned: success
  type: str
  sample: kept
expires:
  description: When the admission ends. Null when there is none.
  returned: success
  type: str
  sample: "2026-11-30T14:20:00Z"
"""

import typing as t
from datetime import UTC, datetime

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gb10.cluster.plugins.module_utils.files.admission import (
    AdmissionRefused,
    Step,
    give,
    revoke,
    write,
)
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import ADMISSION_FILE

ARGUMENTS: dict[str, t.Any] = {
    "node": {"type": "str", "required": True},
    "grant": {"type": "dict"},
    "revoke": {"type": "list", "elements": "str"},
    "run_id": {"type": "str"},
    "root": {"type": "path", "default": "/"},
}


def run(params: dict[str, t.Any], check_mode: bool) -> Step:
    host, now, grant = Host(params["root"]), datetime.now(UTC), params["grant"]
    if grant is None:
        step = revoke(host, params["node"], params["run_id"], params["revoke"], now)
    elif grant["node"] != params["node"]:
        raise AdmissionRefused(f"this is {params['node']}, and the admission is for {grant['node']}; nothing was given")
    else:
        step = give(host, grant, now)
    if step.changed and not check_mode:
        write(host, step)
    return step


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("grant", "revoke")],
        required_one_of=[("grant", "revoke")],
        required_by={"revoke": ["run_id"]},
        supports_check_mode=True,
    )
    try:
        step = run(module.params, module.check_mode)
    except AdmissionRefused as refused:
        module.fail_json(msg=str(refused))
    difference = {"before_header": ADMISSION_FILE, "after_header": ADMISSION_FILE}
    difference |= {"before": step.before, "after": step.after}
    module.exit_json(
        changed=step.changed, action=step.action, expires=step.expires, diff=difference if step.changed else {}
    )


if __name__ == "__main__":
    main()
