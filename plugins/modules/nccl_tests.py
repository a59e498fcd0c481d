#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: nccl_tests
short_description: Builds the programs of nccl-tests on a node
version_added: 0.1.0
description:
  - Builds C(all_gather_perf) and C(all_reduce_perf) of nccl-tests with MPI, for the MPICH, the CUDA toolkit and the
    NCCL that the node has, and installs them under C(/usr/local/lib/gb10/nccl-tests/TAG).
  - Nothing is built again while O(tag), O(sha256), O(gencode) and what it was built with are the same, which a file
    C(stamp.json) beside the programs says.
  - It installs no package. What is missing is refused with the name of the package.
notes:
  - It was run against stand-ins for nvcc and make. It has not built on a GB10 yet.
requirements:
  - make, and a C++ compiler for nvcc
  - the CUDA toolkit
  - the packages mpich, libmpich-dev and libnccl-dev
author:
  - gb10.cluster contributors (@gb10-cluster)
extends_documentation_fragment:
  - gb10.cluster.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    support: full
options:
  state:
    description: V(absent) removes all builds, whatever their tag.
    type: str
    choices: [present, absent]
    default: present
  tag:
    description: Tag of nccl-tests, such as V(v2.18.3). Required if O(state=present).
    type: str
  archive:
    description: The tar archive of that tag, an https URL or a path on the node. Required if O(state=present).
    type: str
  sha256:
    description: The sha256 of the archive. Nothing else is unpacked. Required if O(state=present).
    type: str
  cuda_home:
    description: Folder of the CUDA toolkit.
    type: path
    default: /usr/local/cuda
  nccl_home:
    description: Folder that has C(include/nccl.h).
    type: path
    default: /usr
  gencode:
    description: For which GPU. The default is GB10, compute capability 12.1.
    type: str
    default: -gencode=arch=compute_121,code=sm_121
seealso:
  - module: gb10.cluster.nccl_probe
"""

EXAMPLES = r"""
- name: Build the programs of nccl-tests
  gb10.cluster.nccl_tests:
    tag: v2.18.3
    archive: https://github.com/NVIDIA/nccl-tests/archive/refs/tags/v2.18.3.tar.gz
    sha256: "{{ nccl_tests_sha256 }}"

- name: Remove them
  gb10.cluster.nccl_tests:
    state: absent
"""

RETURN = r"""
folder:
  description: Where the programs are. Null with O(state=absent).
  returned: success
  type: str
  sample: /usr/local/lib/gb10/nccl-tests/v2.18.3
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gb10.cluster.plugins.module_utils import nccl_tests_build as building
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "tag": {"type": "str"},
            "archive": {"type": "str"},
            "sha256": {"type": "str"},
            "cuda_home": {"type": "path", "default": "/usr/local/cuda"},
            "nccl_home": {"type": "path", "default": "/usr"},
            "gencode": {"type": "str", "default": "-gencode=arch=compute_121,code=sm_121"},
        },
        required_if=[("state", "present", ["tag", "archive", "sha256"])],
        supports_check_mode=True,
    )
    host = Host()
    if module.params["state"] == "absent":
        there = host.exists(building.ROOT) if module.check_mode else building.remove(host)
        module.exit_json(changed=there, folder=None)
    source = building.Source(*(module.params[name] for name in ("tag", "archive", "sha256")))
    try:
        changed = _present(host, source, module)
    except building.Refused as refused:
        module.fail_json(msg=f"nccl-tests {source.tag}: {refused}")
    module.exit_json(changed=changed, folder=building.folder_of(source.tag))


def _present(host: Host, source: building.Source, module: AnsibleModule) -> bool:
    building.check_source(source)
    tools = building.find_tools(host, module.params["cuda_home"], module.params["nccl_home"])
    gencode = module.params["gencode"]
    if building.is_built(host, building.stamp_of(source, tools, gencode)):
        return False
    if not module.check_mode:
        building.build(host, source, tools, gencode)
    return True


if __name__ == "__main__":
    main()
