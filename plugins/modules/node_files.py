#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_files
short_description: Brings a list of text files to their declared state
version_added: 0.1.0
author:
  - gb10.cluster contributors (@gb10-cluster)
description:
  - Writes whole files, marked blocks inside foreign files, and single keys of foreign KEY=VALUE files, in one round
    trip.
  - All changes are worked out and validated before the first file is written. When one is refused, none is written.
  - Each file is replaced in one step. What is not declared stays as it is, byte for byte, with its mode and owner.
attributes:
  check_mode:
    description: Can run in check mode and says what would change.
    support: full
  diff_mode:
    description: Returns the text of every changed file before and after.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
options:
  files:
    description:
      - The files. Each item has exactly one of O(files[].content), O(files[].block), O(files[].settings) and
        O(files[].absent).
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path. Symbolic links are refused, because writing through one changes another file.
        type: path
        required: true
      content:
        description: The whole text of a file that is ours. It belongs to the user who writes it, that is root.
        type: str
      mode:
        description: Mode of a new file and of one with O(files[].content), four octal digits. By default V(0644).
        type: str
      block:
        description:
          - Lines to keep between two marks inside a foreign file. They are appended when they are not there yet.
          - An empty text removes the block and its marks, and turns the lines of O(files[].disable_lines) back into
            what they were.
        type: str
      marker:
        description: The name in the marks, C(# BEGIN name) and C(# END name).
        type: str
        default: gb10.cluster
      disable_lines:
        description: Regular expressions. Lines outside the block that match one are turned into comments.
        type: list
        elements: str
      settings:
        description: Keys of a foreign file of C(KEY=VALUE) lines. When nothing is left in the file, it is removed.
        type: dict
        suboptions:
          set:
            description: Keys and their values. A key that is there keeps its place, a new one comes last.
            type: dict
          unset:
            description: Keys to remove.
            type: list
            elements: str
      absent:
        description: The file is removed.
        type: bool
        choices: [true]
      backup:
        description:
          - Whether to keep the original beside the file, once, as C(PATH.gb10-original).
          - Where there was no file, an empty one says so.
        type: bool
        default: false
      restore:
        description:
          - Whether the copy that O(files[].backup) has kept may come back. It does, byte for byte, when the file
            without our part is what the copy is without it, so nobody else has changed it since. The copy then goes.
          - Without a copy O(files[].settings) are left alone, as they were never ours.
        type: bool
        default: false
      validate:
        description:
          - A command as a list of words that must end with 0 before anything is written.
          - V(%s) stands for a file with the new text.
        type: list
        elements: str
  root:
    description: Folder under which all paths are taken.
    type: path
    default: /
"""

EXAMPLES = r"""
- name: Remove one key from a foreign file and write one of our own
  gb10.cluster.node_files:
    files:
      - path: /etc/nccl.conf
        backup: true
        settings:
          set:
            NCCL_SOCKET_IFNAME: enP7s7
          unset: [NCCL_IB_DISABLE]
      - path: /etc/gb10/nccl.env
        content: |
          NCCL_SOCKET_IFNAME=enP7s7

- name: Make the host name mean the management address
  gb10.cluster.node_files:
    files:
      - path: /etc/hosts
        backup: true
        block: 192.0.2.11 spark1
        disable_lines: ['^127\.0\.1\.1\s.*\bspark1\b']
"""

RETURN = r"""
files:
  description: What happened to each file, in the order of O(files).
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path of the file.
      type: str
    changed:
      description: Whether the file was, or in check mode would be, changed.
      type: bool
    action:
      description: One of V(created), V(updated), V(removed), V(unchanged).
      type: str
  sample: [{path: /etc/nccl.conf, changed: true, action: updated}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gb10.cluster.plugins.module_utils.files.apply import (
    FileRefused,
    apply_changes,
    diff,
    plan_changes,
)
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host

KINDS = ["content", "block", "settings", "absent"]
FILE = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "mode": {"type": "str"},
    "block": {"type": "str"},
    "marker": {"type": "str", "default": "gb10.cluster"},
    "disable_lines": {"type": "list", "elements": "str"},
    "settings": {
        "type": "dict",
        "options": {"set": {"type": "dict"}, "unset": {"type": "list", "elements": "str"}},
    },
    "absent": {"type": "bool", "choices": [True]},
    "backup": {"type": "bool", "default": False},
    "restore": {"type": "bool", "default": False},
    "validate": {"type": "list", "elements": "str"},
}
ARGUMENTS = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": FILE,
        "mutually_exclusive": [KINDS],
        "required_one_of": [KINDS],
        "required_by": {"disable_lines": ["block"]},
    },
    "root": {"type": "path", "default": "/"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    host = Host(module.params["root"])
    try:
        changes = plan_changes(host, module.params["files"])
        if not module.check_mode:
            apply_changes(host, changes)
    except FileRefused as refusal:
        module.fail_json(msg=str(refusal))
    module.exit_json(
        changed=any(change.changed for change in changes),
        files=[{"path": change.path, "changed": change.changed, "action": change.action} for change in changes],
        diff=[diff(change) for change in changes if change.changed],
    )


if __name__ == "__main__":
    main()
