# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gb10.cluster.fabric_plan: the declaration in, contract 1 out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fabric_plan
short_description: Derives the fabric plan of a cluster from its inventory
version_added: 0.1.0
author:
  - gb10.cluster contributors (@gb10-cluster)
description:
  - Takes the names of the nodes and their host variables and returns interfaces, addresses, peers, measurement paths,
    the NCCL environment of every node, and switch ports.
  - It reaches no node and reads no file. A declaration that cannot work is refused with one sentence that says what to
    change.
  - Addresses derive from node numbers. The order of the inventory plays no part, and a new node renumbers no other.
  - Of every host it reads C(ansible_host), C(fabric_mgmt_ip) (the IPv4 address by which the other nodes reach it, by
    default C(ansible_host)), C(fabric_mgmt_netdev) (by default V(enP7s7)), C(fabric_mgmt_network) (by default the /24
    around its management address), and C(fabric_node_number) (by default the number at the end of its name).
requirements:
  - Python library netaddr on the controller
positional: hostvars
options:
  _input:
    description: Names of the nodes, in any order.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts.
    type: dict
    required: true
  topology:
    description: How the nodes are joined.
    type: str
    choices:
      single: One node without a fabric.
      direct: Two nodes and one cable.
      triangle: Three nodes and three cables, each from cage p0 to cage p1.
      switch: Two to four nodes, each with one cable to the switch.
    required: true
  mtu:
    description: MTU of all fabric interfaces.
    type: int
    default: 9000
  allow_small_mtu:
    description: Whether to accept an O(mtu) below 4200, with which RDMA packets no longer carry 4096 bytes.
    type: bool
    default: false
  pools:
    description:
      - Networks from which one /24 for every half-link is carved, in order.
      - They may not overlap with anything else on the nodes.
    type: list
    elements: str
    default: [10.210.0.0/16]
  reserved_networks:
    description:
      - Networks that O(pools) must keep out of, besides the management networks and Docker's default bridge
        V(172.17.0.0/16).
    type: list
    elements: str
    default: []
  cabling:
    description:
      - One pair of ends for each cable, like V(["spark1:p0", "spark2:p1"]) or, with a switch,
        V(["spark1:p0", "crs812:qsfp56-1-1"]).
      - Cage p0 is the one next to the RJ45 port.
      - By default a triangle joins p0 of every node to p1 of the next, two nodes have the first cable of that triangle,
        and a switch takes p0 of every node at its ports V(qsfp56-1-1), V(qsfp56-2-1), V(qsfp56-dd-1-1) and
        V(qsfp56-dd-1-5).
    type: list
    elements: list
  switch_name:
    description: Name of the switch in O(cabling) and in the plan.
    type: str
    default: crs812
  nccl_routing:
    description:
      - How NCCL finds the cable to a peer in a triangle. Role P(gb10.cluster.fabric#role) takes it from its variable
        C(fabric_nccl_routing), the only place where it is declared; role P(gb10.cluster.nccl_env#role) writes what the
        plan says.
    type: str
    choices:
      in_tree: NCCL itself, from 2.30.7 on.
      mesh_plugin: The older community plugin, which must lie in the library path of the engine.
    default: in_tree
"""

EXAMPLES = r"""
- name: Plan the fabric
  ansible.builtin.set_fact:
    fabric_plan: "{{ groups['sparks'] | gb10.cluster.fabric_plan(hostvars, topology='triangle') }}"

- name: Plan two nodes whose cable joins p0 to p0
  ansible.builtin.set_fact:
    fabric_plan: >-
      {{ ['spark1', 'spark2'] | gb10.cluster.fabric_plan(hostvars, topology='direct',
                                                         cabling=[['spark1:p0', 'spark2:p0']]) }}
"""

RETURN = r"""
_value:
  description: The fabric plan, as described by C(docs/schema/fabric-plan.schema.json).
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Plan
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan
from ansible_collections.gb10.cluster.plugins.module_utils.plan.errors import PlanError


def fabric_plan(
    names: t.Sequence[str],
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    topology: str,
    **declared: t.Any,
) -> Plan:
    """Turn the keywords into a declaration; None means the default, so that a role can pass on an unset variable."""
    if isinstance(names, str) or not isinstance(names, t.Sequence):
        raise AnsibleFilterError(f"fabric_plan takes a list of node names, like groups['sparks'], not {names!r}")
    try:
        given = {name: value for name, value in declared.items() if value is not None}
        if "allow_small_mtu" in given:
            given["allow_small_mtu"] = boolean(given["allow_small_mtu"])
        return build_plan(names, hostvars, Declaration(topology, **given))
    except PlanError as error:
        raise AnsibleFilterError(str(error)) from None
    except TypeError as error:
        raise AnsibleFilterError(f"fabric_plan: {error}") from error


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., Plan]]:
        return {"fabric_plan": fabric_plan}
