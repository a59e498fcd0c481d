# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known causes, and what helped, in order.

Some are told by what they leave of the bandwidth (health-checks P02, P03); those numbers are in the profile, with their
source. Others are seen by themselves: two PCIe lanes and packets of 1500 bytes have numbers too, but N03 and P01 see
those causes and block what follows.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from ..contracts import Topology
    from .limits import Bands

CLAMP = "cx7-init-clamp"
WEDGE = "usb-pd-wedge"

# A remedy may name {nodes}, the two at the ends of the path.
_Sentences = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    name: str
    says: str
    remedy: _Sentences
    needs_normal_latency: bool = False
    only_switched: bool = False

    def for_nodes(self, nodes: str) -> list[str]:
        return [sentence.format(nodes=nodes) for sentence in self.remedy]


SIGNATURES: dict[str, Signature] = {
    signature.name: signature
    for signature in (
        Signature(
            CLAMP,
            "a throttled NIC",
            (
                "reboot {nodes} with the cable attached",
                "if unchanged: power both off, unplug them for 60 s",
                "if unchanged: update OS and firmware",
            ),
            needs_normal_latency=True,
        ),
        Signature(
            "switch-cpu-path",
            "a switch that forwards by its CPU",
            (
                "see that all fabric ports are in one bridge and offloaded to hardware",
                "see that the ports of {nodes} are on one switch",
            ),
            only_switched=True,
        ),
        Signature(
            "one-half",
            "one half stops beside the other, or both share the PCIe link of one",
            (
                "compare the PCIe links (N03) of {nodes}: every half needs four lanes of its own",
                "if both are right: reboot {nodes} with the cable attached",
            ),
        ),
        Signature(
            "broken-path",
            "a path that loses nearly everything",
            ("reseat the plugs between {nodes}", "swap the cable with another one: does the fault move?"),
        ),
        Signature(
            "wrong-hca",
            "another device than the planned one",
            (
                "compare the RDMA device names, addresses and routes of {nodes} with the plan",
                "run site.yml: role fabric writes addresses, role nccl_env names the devices, on {nodes}",
            ),
        ),
        Signature("pcie-lanes", "two of four PCIe lanes", ("update the BIOS of {nodes} with fwupd",)),
        Signature(
            "pcie-speed",
            "a PCIe link that trained down",
            (
                "power {nodes} off, unplug it for 60 s and start it with the cables attached",
                "if unchanged: run the field diagnostics on {nodes} and return it",
            ),
        ),
        Signature(
            "kho-cma",
            "a kernel that lost its contiguous memory",
            (
                "boot {nodes} with kho=off on the kernel command line",
                "or boot kernel 6.17.0-1031 or newer of that line on {nodes}",
            ),
        ),
        Signature(
            WEDGE,
            "a power supply that is stuck",
            (
                "shut {nodes} down and unplug its power brick from the wall for 60 s; a reboot does not help",
                "if unchanged: leave it unplugged for 5 minutes, then try another power brick on {nodes}",
            ),
        ),
        Signature(
            "tcp",
            "TCP instead of RDMA",
            (
                "see that what serves on {nodes} has /dev/infiniband and libibverbs",
                "take NCCL_IB_DISABLE and NCCL_NET=Socket out of its environment and of the nccl.conf in its image",
            ),
        ),
    )
}


def remedies(name: str, nodes: str) -> list[str]:
    """What helped against a known cause, in order."""
    return SIGNATURES[name].for_nodes(nodes)


def classify(bands: Bands, value: float, normal_latency: bool | None, topology: Topology) -> Signature | None:
    """The known cause that leaves this bandwidth, in the unit of the bands; None when nobody has seen it."""
    for name in bands.around(value):
        signature = SIGNATURES[name]
        if signature.needs_normal_latency and normal_latency is not True:
            continue
        if signature.only_switched and topology != "switch":
            continue
        return signature
    return None
