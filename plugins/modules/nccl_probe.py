#!/usr/bin/python
# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: nccl_probe
short_description: Measures NCCL over the fabric, in the image or environment that will serve or with nccl-tests
version_added: 0.1.0
description:
  - Run as one task on all nodes of a plan at the same time, each node runs one rank of an C(all_gather) and an
    C(all_reduce) with the torch and the NCCL of the image or virtual environment that will serve. It needs neither MPI
    nor SSH between the nodes.
  - Then every two nodes run an C(all_gather) by themselves, no node in two pairs at once, where the profile has
    C(pair_sizes_bytes) and the plan more than two nodes. What they do is kept apart from what all nodes did together.
  - Before that the GPU multiplies matrices for the C(gpu_load_s) of the profile, while its clock and power are looked
    at with C(nvidia-smi). On a plan of one node that is all that is measured.
  - With O(soak_s) collectives and matrices load all nodes in turn at the end, and error counters are compared.
  - The rank gets the node's NCCL environment of the plan, and C(NCCL_NET=IB) unless the plan names another network, so
    that NCCL stops where it would go over TCP. Its log is read, and tells which devices really carried the data.
  - All data is checked. A rank that does not come within the C(rendezvous_s) of the profile becomes a failure, and so
    does a collective that hangs, when the C(timeout_s) of its C(nccl), C(gpu_load_s) and O(soak_s) are up.
  - It measures and does not judge. A low number, wrong data or a missing rank never fails the task. The action plugin
    M(gb10.cluster.gate) turns the result into a verdict.
  - It changes nothing on the node but the content of C(/run/gb10-cluster/measurement.lock), which names who measures,
    and pulls no image. While another measurement runs on the node it measures nothing, and RV(measurement.skipped)
    begins with C(busy:). Everything it starts has a time limit and is ended before it
    returns, container included, also when it is terminated itself.
notes:
  - The ranks meet at the management address of rank 0. Beside O(port) NCCL itself uses TCP ports that the kernel
    chooses. Whoever reaches them can disturb the measurement, as with every use of torch.distributed.
  - O(plan) must be the same on all nodes, and all of them must run the task at once. A C(forks) or C(serial) smaller
    than the number of nodes keeps them apart.
  - Nothing is measured while a process uses the GPU, or with less free memory than the profile wants and three times
    its smallest size. A larger size for which some rank has too little memory is left out on all.
  - With O(harness=nccl_tests) the programs C(all_gather_perf) and C(all_reduce_perf) run on the host instead, built
    with MPI for the C(mpich) of the nodes (role P(gb10.cluster.nccl_env#role) does that). The ranks meet at O(port).
    Each program is launched by MPICH's hydra with its launcher V(manual), so that it needs no SSH between nodes either.
  - The bandwidth of these programs is that of the slowest rank out of place, and wrong data count in both places. The
    numbers of one harness are not those of the other, and each has its own keys in the profile. There is no GPU load
    and no soak, and the NCCL that is measured is that of the host.
  - The launching node of a program listens at O(control_port) on all its addresses, and beside it each node at a TCP
    port that the kernel chooses; hydra has no narrower way. Both are open during a program only. hydra trusts whoever
    reaches them, and a node runs as root what its launching node says, so the management network must be trusted. A
    O(control_port) below 1024 keeps ordinary users of the launching node from taking its place, and a closed firewall
    (role P(gb10.cluster.dgx_os#role)) lets only the nodes come.
  - The harness V(nccl_tests) was run with a real hydra and programs that print recorded output, not yet on a GB10.
requirements:
  - torch with CUDA, in the image or in the virtual environment
  - docker with the NVIDIA container runtime, for an image
  - nccl-tests built with MPI=1, and the package mpich, the same on all nodes, for O(harness=nccl_tests)
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
    description: How to measure. The content of a file of C(profiles/). Without C(nccl) in it nothing is measured, with
      O(harness=nccl_tests) without C(nccl_tests).
    type: dict
    required: true
  harness:
    description: What measures, torch where the engine will run, or the programs of nccl-tests on the host.
    type: str
    choices: [torch, nccl_tests]
    default: torch
  programs:
    description:
      - Folder of C(all_gather_perf) and C(all_reduce_perf) on the node.
      - Required if O(harness=nccl_tests).
    type: path
  runtime:
    description: Whether the engine will run in a container or in a virtual environment. For O(harness=torch).
    type: str
    choices: [docker, venv]
    default: docker
  image:
    description:
      - The image that will serve, by name or digest. It must be on the node.
      - Required if O(harness=torch) and O(runtime=docker).
    type: str
  python:
    description:
      - The Python that has torch. A path on the node if O(runtime=venv), where it is required.
      - In an image the default is C(python3).
    type: path
  port:
    description: TCP port of rank 0 at which the ranks meet, on the management network.
    type: int
    default: 18615
  control_port:
    description: TCP port of hydra's launcher, with O(harness=nccl_tests).
    type: int
    default: 918
  soak_s:
    description: Seconds of load on all nodes after the measurement, with O(harness=torch). V(0) is none.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Measure NCCL in the image that will serve
  gb10.cluster.nccl_probe:
    node: "{{ inventory_hostname }}"
    plan: "{{ fabric_plan }}"
    profile: "{{ lookup('ansible.builtin.file', 'profiles/gb10-mtu9000-q4-64k.yml') | from_yaml }}"
    image: registry.example.com/vllm@sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
  register: gate_nccl

- name: Measure NCCL in a virtual environment
  gb10.cluster.nccl_probe:
    node: "{{ inventory_hostname }}"
    plan: "{{ fabric_plan }}"
    profile: "{{ lookup('ansible.builtin.file', 'profiles/gb10-mtu9000-q4-64k.yml') | from_yaml }}"
    runtime: venv
    python: /opt/vllm/bin/python
  register: gate_nccl

- name: Measure NCCL with nccl-tests on the host
  gb10.cluster.nccl_probe:
    node: "{{ inventory_hostname }}"
    plan: "{{ fabric_plan }}"
    profile: "{{ lookup('ansible.builtin.file', 'profiles/gb10-mtu9000-q4-64k.yml') | from_yaml }}"
    harness: nccl_tests
    programs: /usr/local/lib/gb10/nccl-tests/v2.18.3
  register: gate_nccl
"""

RETURN = r"""
measurement:
  description: What this rank measured. It has the shape C(NcclMeasurement) of the collection's contracts.
  returned: always
  type: dict
  contains:
    rank:
      description: The rank of this node, of RV(measurement.world_size).
      type: int
      returned: always
    world_size:
      description: The number of ranks, one on each node of the plan.
      type: int
      returned: always
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
    runtime:
      description: Where the rank ran, with the id of the image.
      type: dict
      returned: always
    library:
      description: The NCCL that the rank had mapped, with version, path, size and build-id. Null when none got so far.
      type: dict
      returned: always
    inside:
      description: What the rank found where it runs. The limit of locked memory in KiB (-1 is none), the uverbs files,
        whether libibverbs loads, and the settings of NCCL in files and in the environment that the image brings along.
        Null when the rank did not get so far.
      type: dict
      returned: always
    gpu_load:
      description: Clock, power and utilisation of the GPU while it multiplied matrices, as medians of the samples. What
        C(nvidia-smi) does not provide is null. Null when the profile has no C(gpu_load_s).
      type: dict
      returned: always
    runs:
      description: One entry for each run of a collective of all ranks, warm-ups included. Those before a failure are
        kept.
      type: list
      elements: dict
      returned: always
    pairs:
      description: The same with each other rank by itself. Empty where two ranks are all.
      type: list
      elements: dict
      returned: always
    soak:
      description: How long the soak was, what was wrong in it, the samples of the GPU and the growth of error counters.
        Null without O(soak_s).
      type: dict
      returned: always
    left_out:
      description: Sizes in bytes for which some rank had too little memory.
      type: list
      elements: int
      returned: always
    tx_bytes:
      description: For each RDMA device of the node, the bytes it sent for the runs of all ranks together.
      type: dict
      returned: always
    rx_bytes:
      description: The same for bytes received.
      type: dict
      returned: always
    log:
      description: What NCCL's log of this rank says of transports, queue pairs, addresses and errors. Of what pairs do
        later only the errors are in it. Null when nothing was started.
      type: dict
      returned: always
    pair_transports:
      description: The number of channels of the pairs by transport.
      type: dict
      returned: always
    failure:
      description: Where and why the rank ended early. Null when it did not.
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
    rank: 0
    world_size: 3
    profile: gb10-mtu9000-q4-64k
    boot_id: c82c1b05-a9b9-4f27-a39c-96317639d451
    uptime_s: 86890.2
    clock_step_s: 0.0
    harness: torch
    runtime:
      kind: docker
      image: registry.example.com/vllm:1
      image_id: sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0
      python: python3
    torch: 2.11.0+cu130
    library:
      version: 2.30.7
      headers: 2.30.7
      path: /usr/local/lib/python3.12/dist-packages/nvidia/nccl/lib/libnccl.so.2
      build_id: a7f420a1c09e4f3d
      size_bytes: 219000000
      subnet_aware_routing: true
      others: []
    inside:
      memlock_kib: -1
      uverbs: [uverbs0, uverbs1, uverbs2, uverbs3]
      verbs_library: true
      nccl_files: []
      environment:
        NCCL_VERSION: 2.28.9-1
    gpu_load:
      seconds: 10.02
      samples: 9
      clock_mhz: 2411.0
      power_w: 57.2
      utilisation: 97.0
      problem: null
    runs:
      - collective: all_gather
        size_bytes: 67108848
        warmup: false
        iterations: 5
        seconds: 0.0077
        algbw_gbs: 8.7
        busbw_gbs: 5.8
        wrong: 0
    pairs:
      - peer: spark2
        runs:
          - collective: all_gather
            size_bytes: 67108864
            warmup: false
            iterations: 5
            seconds: 0.0036
            algbw_gbs: 18.8
            busbw_gbs: 9.4
            wrong: 0
    soak: null
    left_out: []
    tx_bytes:
      rocep1s0f0: 1480000000
    rx_bytes:
      rocep1s0f0: 0
    log:
      version: 2.30.7+cuda13.3
      init_complete: true
      networks: [IB]
      plugins: [IB]
      external_plugins: []
      transports:
        NET/IB: 16
      hcas:
        - device: rocep1s0f0
          port: 1
          link_layer: RoCE
          speed_mbps: 200000
          pci_domain: "0000"
      merged_devices: []
      bootstrap:
        name: enP7s7
        address: 192.0.2.11
      queue_pairs:
        - device: rocep1s0f0
          sender: 4
          receiver: 4
          undirected: 0
      connections:
        - device: rocep1s0f0
          port: 1
          mtu_bytes: 4096
          gid_index: 6
          ipv4: 10.210.0.1
          queue_pairs: 4
      overrides: []
      findings: []
      env:
        NCCL_NET: IB
      void: false
      folded: false
      lines: 1900
      sha256: 5f70bf18a08660...
    pair_transports:
      NET/IB: 16
    failure: null
    skipped: null
    duration_s: 24.1
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.validation import check_required_if
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure import nccl_programs
from ansible_collections.gb10.cluster.plugins.module_utils.measure.hydra import CONTROL_PORT
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl import PORT, measure, not_measured
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_runtime import Docker, Runtime, Venv

CHECK_MODE = "check mode: nothing was measured"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "plan": {"type": "dict", "required": True},
            "profile": {"type": "dict", "required": True},
            "harness": {"type": "str", "choices": ["torch", "nccl_tests"], "default": "torch"},
            "programs": {"type": "path"},
            "runtime": {"type": "str", "choices": ["docker", "venv"], "default": "docker"},
            "image": {"type": "str"},
            "python": {"type": "path"},
            "port": {"type": "int", "default": PORT},
            "control_port": {"type": "int", "default": CONTROL_PORT},
            "soak_s": {"type": "int", "default": 0},
        },
        required_if=[("harness", "nccl_tests", ["programs"])],
        supports_check_mode=True,
    )
    _refuse_nonsense(module)
    with_torch = module.params["harness"] == "torch"
    module.exit_json(changed=False, measurement=_with_torch(module) if with_torch else _with_programs(module))


def _refuse_nonsense(module: AnsibleModule) -> None:
    given = module.params
    node, nodes, soak_s = given["node"], given["plan"].get("nodes", {}), given["soak_s"]
    if soak_s < 0:
        module.fail_json(msg=f"soak_s must not be below 0, found {soak_s}")
    if soak_s and given["harness"] != "torch":
        module.fail_json(msg="soak_s needs harness=torch: nccl-tests have no soak")
    if node not in nodes:
        module.fail_json(msg=f"node {node!r} is not in the plan: it has {', '.join(nodes) or 'no nodes'}")
    if given["harness"] == "torch":
        there = {name: value for name, value in given.items() if value is not None}
        try:
            check_required_if([("runtime", "docker", ["image"]), ("runtime", "venv", ["python"])], there)
        except TypeError as error:
            module.fail_json(msg=str(error))


def _with_torch(module: AnsibleModule) -> t.Any:
    runtime = _runtime(**{name: module.params[name] or "" for name in ("runtime", "image", "python")})
    node, plan, profile, port, soak_s = (module.params[name] for name in ("node", "plan", "profile", "port", "soak_s"))
    if module.check_mode:
        return not_measured(node, plan, profile, runtime, CHECK_MODE)
    return measure(Host(), node, plan, profile, runtime, port, soak_s)


def _with_programs(module: AnsibleModule) -> t.Any:
    programs = nccl_programs.Programs(module.params["programs"])
    node, plan, profile = (module.params[name] for name in ("node", "plan", "profile"))
    if module.check_mode:
        return nccl_programs.not_measured(node, plan, profile, programs, CHECK_MODE)
    ports = module.params["port"], module.params["control_port"]
    return nccl_programs.measure(Host(), node, plan, profile, programs, *ports)


def _runtime(runtime: str, image: str, python: str) -> Runtime:
    return Docker(image, python or "python3") if runtime == "docker" else Venv(python)


if __name__ == "__main__":
    main()
