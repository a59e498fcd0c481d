"""What the triangle of this scenario is, written out by hand: a second opinion on the plan."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from containers import NODES, PREFIX

HOSTS = [f"podman://{PREFIX}{node}" for node in NODES]

FABRIC = {
    "spark1": {
        "enp1s0f0np0": "10.210.0.1/24",
        "enP2p1s0f0np0": "10.210.1.1/24",
        "enp1s0f1np1": "10.210.2.1/24",
        "enP2p1s0f1np1": "10.210.3.1/24",
    },
    "spark2": {
        "enp1s0f0np0": "10.210.4.2/24",
        "enP2p1s0f0np0": "10.210.5.2/24",
        "enp1s0f1np1": "10.210.0.2/24",
        "enP2p1s0f1np1": "10.210.1.2/24",
    },
    "spark3": {
        "enp1s0f0np0": "10.210.2.3/24",
        "enP2p1s0f0np0": "10.210.3.3/24",
        "enp1s0f1np1": "10.210.4.3/24",
        "enP2p1s0f1np1": "10.210.5.3/24",
    },
}
MGMT = {"spark1": "192.0.2.11", "spark2": "192.0.2.12", "spark3": "192.0.2.13"}
OWN_NETPLAN = "/etc/netplan/60-gb10-fabric.yaml"
