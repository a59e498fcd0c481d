#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_facts
short_description: Reads what a model folder says about a model, without its weights
version_added: 0.1.0
description:
  - Reads C(config.json), the quantization and the sizes of all tensors of a model in the Hugging Face format, on a node
    or on the controller. Filter P(gb10.cluster.serving_plan#filter) makes a plan of it.
  - Of the weights only the headers of the safetensors files are read, some hundred kilobytes each. Where the files are
    not there, the sum in C(model.safetensors.index.json) serves, and where there is no index, the architecture alone.
  - A file that does not add up, like a download that broke off, fails the task with its name.
author:
  - gb10.cluster contributors (@gb10-cluster)
extends_documentation_fragment:
  - gb10.cluster.attributes
  - gb10.cluster.attributes.probe
options:
  path:
    description: The folder with the model's C(config.json).
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Read the model
  gb10.cluster.model_facts:
    path: /srv/models/Qwen3-Coder-Next-FP8
  register: model
"""

RETURN = r"""
facts:
  description: The model. It has the shape C(ModelFacts) of the collection's contracts.
  returned: success
  type: dict
  contains:
    config:
      description: What C(config.json) says.
      type: dict
      returned: always
    quantization:
      description:
        - The C(quantization_config) of the checkpoint, or what C(hf_quant_config.json) says.
        - Null when neither is there.
      type: dict
      returned: always
    weights:
      description: Where the sizes come from, their sum, and for each kind of tensor in each layer its bytes.
      type: dict
      returned: always
    problems:
      description: What is not as it should be in the folder, one sentence each.
      type: list
      elements: str
      returned: always
  sample:
    path: /srv/models/Llama-3.1-8B
    quantization:
    weights:
      source: headers
      total_bytes: 16060522496
      files: [model-00001-of-00004.safetensors]
      missing: []
      parts:
        - {layer: 0, kind: attention, bytes: 67108864}
    problems: []
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.model_folder import ModelFolderError, model_facts


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}},
        supports_check_mode=True,
    )
    try:
        facts = model_facts(Host(), str(Path(module.params["path"]).absolute()))
    except (ModelFolderError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, facts=facts)


if __name__ == "__main__":
    main()
