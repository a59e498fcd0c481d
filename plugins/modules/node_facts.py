#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: node_facts
short_description: Reads everything passive about a DGX Spark in one call
version_added: 0.1.0
description:
  - Reads identity, kernel, memory, GPU, fabric interfaces with their RDMA devices, GIDs and error counters, addresses,
    routes, LLDP neighbours, NCCL files, netplan files and packages of one node.
  - Only reads. A tool that is missing or answers something else becomes a sentence in C(problems) and a value
    that is null. It never fails the task, so that the gate can tell unknown from bad.
  - Serial numbers are left out.
notes:
  - The halves are told apart by driver, PCI domain and C(phys_port_name). Where the hardware does not say it, the known
    names of a Spark decide.
  - The list C(netplan_files) of the facts comes from a text scan that errs on the side of naming an interface.
    C(netplan get) is the truth about the merged configuration.
author:
  - gb10.cluster contributors (@gb10-cluster)
extends_documentation_fragment:
  - gb10.cluster.attributes
  - gb10.cluster.attributes.probe
options:
  node:
    description: Name of this node in the inventory.
    type: str
    required: true
  packages:
    description: Packages whose installed version is wanted.
    type: list
    elements: str
    default: []
  root:
    description: Folder that is read as the root of the file system, for example a recorded tree.
    type: path
    default: /
"""

EXAMPLES = r"""
- name: Read the node
  gb10.cluster.node_facts:
    node: "{{ inventory_hostname }}"
    packages: [perftest, rdma-core]
  register: gate_node
"""

RETURN = r"""
facts:
  description: What the node says about itself. It has the shape C(NodeFacts) of the collection's contracts.
  returned: always
  type: dict
  contains:
    halves:
      description: The fabric interfaces as they are, planned or not.
      type: list
      elements: dict
      returned: always
    packages:
      description: For each package asked for, its installed version or null.
      type: dict
      returned: always
    problems:
      description: What could not be read, one sentence each.
      type: list
      elements: str
      returned: always
  sample:
    node: spark1
    kernel: 6.17.0-1029-nvidia
    halves:
      - netdev: enp1s0f0np0
        driver: mlx5_core
        cage: p0
        half: a
        carrier: true
        speed_mbps: 200000
        mtu: 9000
        ipv4: [10.210.0.1/24]
        rdma:
          device: rocep1s0f0
          state: ACTIVE
          active_mtu: 4096
    packages:
      perftest: 24.01.0+0.38-1
    problems: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.facts import node_facts


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    host = Host(module.params["root"])
    module.exit_json(changed=False, facts=node_facts(host, module.params["node"], module.params["packages"]))


if __name__ == "__main__":
    main()
