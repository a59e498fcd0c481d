# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gb10.cluster.serving_plan: the facts about a model in, contract 4 out."""

from __future__ import annotations

DOCUMENTATION = r"""
name: serving_plan
short_description: Plans how a model is served on a number of nodes
version_added: 0.1.0
author:
  - gb10.cluster contributors (@gb10-cluster)
description:
  - Takes what module M(gb10.cluster.model_facts) read and the memory of the nodes. Returns how to cut the model, what
    the ranks hold, how many tokens the cache holds, the flags of the engine, and the speed that it cannot exceed.
  - The order of preference is a replica on each node, then tensor parallelism over two nodes, then pipeline
    parallelism.
  - A model that does not fit gets a plan that says so, with C(fits) false and the reasons in C(why). So does a model
    whose architecture is not known, because its size would be a guess.
  - It reaches no node and reads no file.
positional: nodes
options:
  _input:
    description: The C(facts) of module M(gb10.cluster.model_facts).
    type: dict
    required: true
  nodes:
    description: The names of the nodes, or how many there are.
    type: raw
    required: true
  memory_gib:
    description:
      - The memory of a node in GiB (2^30 bytes), or a list with that of each node.
      - C(MemTotal) of a Spark is about 119.7 GiB.
    type: raw
    required: true
  free_gib:
    description:
      - What of it is free with nothing running and the page cache dropped, likewise.
      - The plan then leaves 8 GiB of it to the system.
    type: raw
  engine:
    description: What will serve the model.
    type: str
    choices: [vllm, trtllm]
    default: vllm
  tensor_parallel:
    description: Over how many nodes to cut each layer. By default the plan chooses.
    type: int
  pipeline_parallel:
    description: Into how many stages to cut the layers. By default the plan chooses.
    type: int
  kv_cache_dtype:
    description: How the cache is stored. V(auto) is as the model, or as the checkpoint says.
    type: str
    choices: [auto, fp8, fp8_e4m3, fp8_e5m2, bfloat16, float16]
    default: auto
  max_model_len:
    description: The context in tokens that is wanted. By default as much as the model knows and the cache holds.
    type: int
  max_num_seqs:
    description: Requests at a time. By default as many of 8192 tokens as the cache holds, at most 64.
    type: int
  utilisation:
    description: The share of a node's memory that the engine may take.
    type: float
    default: 0.8
  draft_facts:
    description: The C(facts) of a draft model for speculative decoding.
    type: dict
"""

EXAMPLES = r"""
- name: Plan for three nodes
  ansible.builtin.set_fact:
    plan: "{{ model.facts | gb10.cluster.serving_plan(3, memory_gib=119.7) }}"

- name: Plan for the pool that the gate has admitted, with the memory that is really free
  ansible.builtin.set_fact:
    plan: "{{ model.facts | gb10.cluster.serving_plan(pool, memory_gib=total, free_gib=free, max_model_len=65536) }}"
"""

RETURN = r"""
_value:
  description: The serving plan, as described by C(docs/schema/serving-plan.schema.json).
  type: dict
"""

import json
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.gb10.cluster.plugins.module_utils.contracts.serving import ModelFacts, ServingPlan
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.build import serving_plan as build
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.errors import SizingError
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.request import read_nodes, read_wanted


def serving_plan(facts: ModelFacts, nodes: t.Any, memory_gib: t.Any, **declared: t.Any) -> ServingPlan:
    """None means the default, so that a playbook can pass on an unset variable."""
    # Plain data from here on: what a playbook passes carries Ansible's own tags.
    facts, draft = (json.loads(json.dumps(given)) for given in (facts, declared.pop("draft_facts", None)))
    if not isinstance(facts, dict) or "config" not in facts:
        raise AnsibleFilterError("serving_plan takes the facts that gb10.cluster.model_facts returned")
    try:
        names = read_nodes(nodes, memory_gib, declared.pop("free_gib", None))
        return build(facts, names, read_wanted(declared), draft)
    except SizingError as error:
        raise AnsibleFilterError(f"serving_plan: {error}") from None


class FilterModule:
    """Registers the filter."""

    def filters(self) -> dict[str, t.Callable[..., ServingPlan]]:
        return {"serving_plan": serving_plan}
