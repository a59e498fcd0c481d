#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rdma_probe
short_description: Measures the pair matrix of a fabric with RDMA writes
version_added: 0.1.0
description:
  - Run as one task on all nodes of a plan at the same time, it measures every planned path in both directions with
    C(ib_write_lat) and C(ib_write_bw). Each node computes the same order from the plan, serves or transmits when it is
    its turn, and needs no SSH to the others.
  - When two nodes have measured both halves of a cable one by one, the node of the lower rank transmits on both at
    once, two C(ib_write_bw) at the same time, without latency. Only this shows two halves that share one PCIe link.
  - The nodes find each other by small UDP messages on the fabric addresses. A peer that does not appear within the
    C(rendezvous_s) of the profile, or falls silent later, becomes a failure of the paths to it, never a pass.
  - Before that every node pings its peers over the planned interfaces with a packet that fills the planned MTU and may
    not be split, and with a small one.
  - A node measures one thing at a time. While another measurement or a change of the links runs on it, nothing is
    measured and RV(measurement.skipped) begins with C(busy:), as it does when a process uses the GPU or memory is
    short.
  - It measures and does not judge. A low number, a missing peer or a broken path never fails the task. The action
    plugin M(gb10.cluster.gate) turns the result into a verdict.
  - It changes nothing on the node but the content of C(/run/gb10-cluster/measurement.lock), which names who measures.
    Everything it starts has a time limit and is ended before it returns, also when it
    is terminated itself.
notes:
  - Uses UDP port 18614 and TCP ports from 18700 on (64 for each direction of a path and 128 for both halves at once,
    18700-21003 for four nodes behind a switch), on the fabric addresses only where the installed perftest knows
    C(--bind_source_ip).
  - O(plan) must be the same on all nodes, and all of them must run the task at once. A C(forks) or C(serial) smaller
    than the number of nodes keeps them apart.
  - The bytes of a soft-RoCE device are its packets times the path MTU, an estimate.
requirements:
  - perftest
  - iputils-ping
author:
  - gb10.cluster contributors (@gb10-cluster)
extends_documentation_fragment:
  - gb10.cluster.attributes
  - gb10.cluster.attributes.probe
attributes:
  check_mode:
    details:
      - Loads the fabric, so in check mode nothing is measured and RV(measurement.skipped) says so.
options:
  node:
    description: Name of this node in the plan.
    type: str
    required: true
  plan:
    description: The fabric plan, as the filter P(gb10.cluster.fabric_plan#filter) makes it.
    type: dict
    required: true
  profile:
    description: How to measure. The content of a file of C(profiles/).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Measure every path of the fabric
  gb10.cluster.rdma_probe:
    node: "{{ inventory_hostname }}"
    plan: "{{ fabric_plan }}"
    profile: "{{ lookup('ansible.builtin.file', 'profiles/gb10-mtu9000-q4-64k.yml') | from_yaml }}"
  register: gate_rdma
"""

RETURN = r"""
measurement:
  description: What this node measured, as described by C(docs/schema/rdma-measurement.schema.json).
  returned: always
  type: dict
  contains:
    boot_id:
      description: The boot in which this was measured. Null in check mode.
      type: str
      returned: always
    uptime_s:
      description: Seconds from that boot to the start. Null in check mode.
      type: float
      returned: always
    clock_step_s:
      description: Seconds by which the clock of the node was set meanwhile.
      type: float
      returned: always
    directions:
      description: One entry for each path and direction in which this node transmits.
      type: list
      elements: dict
      returned: always
    served:
      description: One entry for each path and direction in which this node receives.
      type: list
      elements: dict
      returned: always
    pairs:
      description: One entry for each peer to which this node transmits on both halves of a cable at once.
      type: list
      elements: dict
      returned: always
    pairs_served:
      description: One entry for each peer from which this node receives on both halves of a cable at once.
      type: list
      elements: dict
      returned: always
    pings:
      description: One entry for each path, with the answers to large and to small packets.
      type: list
      elements: dict
      returned: always
    counter_deltas:
      description: For each RDMA device, the growth of its error counters. Counters that do not exist are not listed.
      type: dict
      returned: always
    skipped:
      description: Why nothing was measured. Null when it was.
      type: str
      returned: always
    duration_s:
      description: Seconds from start to end.
      type: float
      returned: always
  sample:
    schema: "1"
    node: spark1
    profile: gb10-mtu9000-q4-64k
    boot_id: c82c1b05-a9b9-4f27-a39c-96317639d451
    uptime_s: 86431.5
    clock_step_s: 0.0
    tool_versions:
      perftest: "6.24"
    directions:
      - path: spark1:p0:a-spark2:p1:a
        from_node: spark1
        to_node: spark2
        half: a
        bandwidth:
          - warmup: false
            gbps: 111.86
            iterations: 40005
            size_bytes: 65536
            qps: 4
            mtu: 4096
            local_ipv4: 10.210.0.1
            remote_ipv4: 10.210.0.2
            agrees: true
            argv: [ib_write_bw, -d, rocep1s0f0, "..."]
            rc: 0
            raw_sha256: 5f70bf18a08660...
            duration_s: 5.3
        latency:
          typical_us: 1.6
          p99_us: 1.75
          iterations: 5000
          size_bytes: 8
          argv: [ib_write_lat, -d, rocep1s0f0, "..."]
          rc: 0
          raw_sha256: 9834876dcfb05c...
          duration_s: 0.4
        tx_bytes:
          rocep1s0f0: 69920000000
        failure: null
        duration_s: 24.1
    served: []
    pairs:
      - from_node: spark1
        to_node: spark2
        halves:
          - path: spark1:p0:a-spark2:p1:a
            half: a
            bandwidth:
              - warmup: false
                gbps: 98.03
                iterations: 35061
                size_bytes: 65536
                qps: 4
                mtu: 4096
                local_ipv4: 10.210.0.1
                remote_ipv4: 10.210.0.2
                agrees: true
                argv: [ib_write_bw, -d, rocep1s0f0, "..."]
                rc: 0
                raw_sha256: 0cf1a2b4d5e6f7...
        failure: null
        repeated: []
        duration_s: 23.7
    pairs_served: []
    pings:
      - path: spark1:p0:a-spark2:p1:a
        from_node: spark1
        to_node: spark2
        size_bytes: 8972
        asked: 3
        received: 3
        small_received: 3
        problem: null
        argv: [ping, -n, -c, "3", "..."]
        rc: 0
        raw_sha256: 1f0c2ab94d7e...
    counter_deltas:
      rocep1s0f0:
        packet_seq_err: 0
    skipped: null
    duration_s: 98.4
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.matrix import measure, not_measured


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "plan": {"type": "dict", "required": True},
            "profile": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    node, plan, profile = module.params["node"], module.params["plan"], module.params["profile"]
    if node not in plan.get("nodes", {}):
        module.fail_json(
            msg=f"node {node!r} is not in the plan: it has {', '.join(plan.get('nodes', {})) or 'no nodes'}"
        )
    if module.check_mode:
        module.exit_json(changed=False, measurement=not_measured(node, profile, "check mode: nothing was measured"))
    module.exit_json(changed=False, measurement=measure(Host(), node, plan, profile))


if __name__ == "__main__":
    main()
