#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gate
short_description: Judges what the probes read and measured, and refuses unless everything required passed
version_added: 0.1.0
description:
  - The only place that judges. It turns facts, discoveries and measurements of all nodes into check records, a
    diagnosis and a verdict, over the nodes of the plan and never over the hosts that happened to answer.
  - Fails closed. A missing node, a missing or malformed value, a check that was not run and check mode all end in
    anything but V(admit). An admitted run needs every required check of the profile to pass on every node and path.
  - A check whose parent failed is skipped, so that one cause shows as one finding.
  - Writes C(RUN_ID.json) and C(latest.json) with mode C(0600) to O(evidence_dir). They hold the plan, who the nodes
    were, every record with its measured value, threshold and command, and the verdict; no serial numbers, hardware
    addresses or secrets. C(RUN_ID.share.json) says the same without names, sentences and addresses of the house.
  - An admitted run leaves its numbers in C(baseline.json) and how often each link had lost its carrier in
    C(carriers.json), for later runs. All files of a run are written, or none; then nothing is admitted.
  - Keeps C(quarantine.json) there, mode C(0600), in which it remembers the nodes that are kept out. A node enters by a
    failure of hardware that can only be its own, or by degraded hardware in two runs one after the other; it leaves
    after two full passes. When that file cannot be read nothing is judged.
  - An action plugin. It runs on the controller and opens no connection, so run it once for all nodes.
author:
  - gb10.cluster contributors (@gb10-cluster)
extends_documentation_fragment:
  - gb10.cluster.attributes
attributes:
  check_mode:
    support: partial
    details:
      - Passive checks are judged, active ones are skipped, no file is written, and the task does not fail.
        The verdict is then always V(refuse).
  diff_mode:
    support: none
    details:
      - Changes nothing on a node.
  platform:
    support: full
options:
  stage:
    description:
      - V(preflight) validates O(profile) and refuses a C(forks), C(serial) or C(--limit) that would keep nodes from
        measuring each other at the same time.
      - V(passive) says before anything is installed what there is, what is cabled, what is in the way and what an
        installation would do. A link that is down cannot be heard and is no finding. It writes nothing.
      - V(cabling) judges O(discoveries) alone, before anything is changed, and prints the plugs to move. It writes
        nothing, so that the evidence of an earlier run stays.
      - V(full) judges everything and writes the evidence.
      - V(enforce) fails when O(verdict) refuses. For a play that has to tell the nodes before it ends.
    type: str
    choices: [preflight, passive, cabling, full, enforce]
    default: full
  plan:
    description: The fabric plan that P(gb10.cluster.fabric_plan#filter) makes.
    type: dict
    required: true
  profile:
    description: How to measure and what to expect, the content of a file in C(profiles/). O(stage=cabling) needs none.
    type: dict
    default: {}
  facts:
    description: For each node, what M(gb10.cluster.node_facts) returned as C(facts). A node that is off is absent.
    type: dict
    default: {}
  discoveries:
    description: For each node, what M(gb10.cluster.fabric_links) with C(state=discovered) returned as C(discovery).
    type: dict
    default: {}
  measurements:
    description: For each node, what M(gb10.cluster.rdma_probe) returned as C(measurement).
    type: dict
    default: {}
  nccl:
    description:
      - For each node, what M(gb10.cluster.nccl_probe) returned as C(measurement).
      - When given, even empty, the C(required_with_nccl) checks of O(profile) are required, and a node that is missing
        refuses. Without it they are recorded as V(unknown) and only observed, and the screen says that NCCL was not
        measured.
    type: dict
  harness:
    description:
      - With what NCCL was to be measured. With V(nccl_tests) the C(required_with_nccl_tests) checks of O(profile) take
        the place of C(required_with_nccl), and an admission does not name an NCCL, because theirs is not that of what
        serves. A measurement by another harness counts as none.
    type: str
    choices: [torch, nccl_tests]
    default: torch
  missing:
    description:
      - For each node the packages that would be installed, with O(stage=passive). A node that answers and is not named
        runs a system that the collection does not know.
    type: dict
    default: {}
  take_over:
    description: With O(stage=passive), whether netplan files of others would be moved aside or are in the way.
    type: bool
    default: false
  levels:
    description:
      - Judge these levels alone, of V(node), V(half-link), V(pair) and V(cluster), with O(stage=full). Such a run can
        refuse and never admits; its verdict is V(refuse) also when all is well, and C(latest.json) stays what the last
        whole run said.
      - A check belongs to the level that measures it, so error counters are judged with V(pair) and the NCCL of a node
        with V(cluster). That every node answers is judged in any case.
    type: list
    elements: str
    default: []
  changed_nodes:
    description:
      - Nodes whose links this run has changed. That takes the carrier away, and L07 does not hold it against the cable.
    type: list
    elements: str
    default: []
  run_started:
    description: When the run began, as O(stage=preflight) returned it.
    type: str
  baseline:
    description:
      - V(keep) adds the numbers of an admitted run that C(baseline.json) does not have yet, and never replaces one.
      - V(renew) replaces those that this run measured, if it is admitted; C07 then compares nothing.
      - A file that this gate did not write is refused either way.
    type: str
    choices: [keep, renew]
    default: keep
  soak_s:
    description:
      - The O(gb10.cluster.nccl_probe#module:soak_s) that the nodes were asked for.
      - When it is not V(0), the C(required_with_soak) checks of O(profile) are required. Else they are recorded as
        V(unknown), only observed, and the record says that no soak was asked for.
    type: int
    default: 0
  evidence_dir:
    description: Folder on the controller. A relative one is meant from where C(ansible-playbook) was started.
    type: path
    default: evidence
  admission_days:
    description: How long an admission of this verdict holds at most.
    type: int
    default: 7
  waivers:
    description:
      - Degraded findings that are accepted for a while. Each is a dictionary of C(check) and C(subject), as
        C(blocked_by) names them, C(reason) and C(expires), a date or a time in UTC.
      - Only a degraded finding can be waived. Its record keeps its outcome. A waiver that has ended, is not used or is
        malformed is named on the screen and helps nothing.
    type: list
    elements: raw
    default: []
  acknowledge:
    description: Nodes in quarantine for a lost device or a flapping link that somebody has seen to.
    type: list
    elements: str
    default: []
  readmit_interval:
    description: Seconds that must lie between the two full passes that end a quarantine.
    type: int
    default: 600
  verdict:
    description: What O(stage=full) returned. Needed with O(stage=enforce).
    type: dict
  enforce:
    description: Whether a refusal fails the task. With V(false) it is only shown and returned.
    type: bool
    default: true
seealso:
  - module: gb10.cluster.node_facts
  - module: gb10.cluster.rdma_probe
  - module: gb10.cluster.nccl_probe
  - module: gb10.cluster.fabric_links
  - module: gb10.cluster.node_admission
"""

EXAMPLES = r"""
- name: Prove the cabling before anything is changed
  gb10.cluster.gate:
    stage: cabling
    plan: "{{ fabric_plan }}"
    discoveries:
      spark1: "{{ hostvars.spark1.__fabric_discovery.discovery }}"
      spark2: "{{ hostvars.spark2.__fabric_discovery.discovery }}"
  run_once: true

- name: Admit or refuse
  gb10.cluster.gate:
    plan: "{{ fabric_plan }}"
    profile: "{{ lookup('ansible.builtin.file', 'profiles/gb10-mtu9000-q4-64k.yml') | from_yaml }}"
    facts: "{{ all_facts }}"
    discoveries: "{{ all_discoveries }}"
    measurements: "{{ all_measurements }}"
  run_once: true
"""

RETURN = r"""
verdict:
  description: The verdict of the run.
  returned: O(stage=full)
  type: dict
  contains:
    outcome:
      description: V(admit) or V(refuse).
      type: str
      returned: always
    blocked_by:
      description: Check and subject of every finding that refuses. Checks that stand on another finding are left out.
      type: list
      elements: str
      returned: always
    diagnosis:
      description: Suspects, cleared parts, failing paths and the next thing to do.
      type: dict
      returned: always
    valid_pools:
      description: Sets of nodes that could still serve together, the largest first.
      type: list
      elements: list
      returned: always
    run_id:
      description: Name of the run.
      type: str
      returned: always
    quarantine:
      description: The nodes of the plan that are kept out, each with its reason and what releases it.
      type: list
      elements: dict
      returned: O(stage=full)
    notices:
      description: What was asked for and not done, and which nodes were released.
      type: list
      elements: str
      returned: O(stage=full)
  sample:
    outcome: refuse
    blocked_by: ["L01 spark1:p0:a"]
    diagnosis:
      suspects: ["half-link spark1:p0:a-spark2:p1:a"]
      exonerated: [node spark1, node spark2, node spark3]
      failing_paths: ["spark1:p0:a-spark2:p1:a"]
      next_action: see that the plug is seated in spark1 p0 and at the far end
    valid_pools: [[spark1, spark3], [spark2, spark3], [spark1], [spark2], [spark3]]
    run_id: 20261123-142005
refused:
  description: Whether the run refuses. False in check mode, and where all of the O(levels) that were asked passed.
  returned: O(stage=full)
  type: bool
admissions:
  description: For each node of an admitted plan, what M(gb10.cluster.node_admission) takes as its option C(grant).
    Empty when the plan is refused.
  returned: O(stage=full)
  type: dict
counts:
  description: How many checks had which outcome.
  returned: O(stage=full)
  type: dict
  sample: {pass: 186, fail: 1}
evidence:
  description: The file of this run. Null in check mode. With O(levels) it has the list C(levels).
  returned: O(stage=full)
  type: str
  sample: evidence/20261123-142005.json
run_started:
  description: When the run began.
  returned: O(stage=preflight)
  type: str
  sample: "2026-11-23T14:18:02+00:00"
baseline:
  description: How many numbers the run has added to C(baseline.json) or renewed there.
  returned: O(stage=full)
  type: dict
  sample: {added: 27, renewed: 0}
records:
  description: Every check record, as in the evidence file.
  returned: O(stage=full) and C(-vvv)
  type: list
  elements: dict
levels:
  description: The levels that were judged, from the node to the cluster.
  returned: O(stage=full) and O(levels)
  type: list
  elements: str
  sample: [node, half-link]
ready:
  description: Whether nothing is in the way of an installation.
  returned: O(stage=passive)
  type: bool
proven:
  description: Whether every planned cage hears what the plan puts there.
  returned: O(stage=cabling)
  type: bool
"""
