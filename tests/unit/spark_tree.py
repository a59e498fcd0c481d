"""A node as a folder: what an admission is bound to, and nothing else."""

from __future__ import annotations

import hashlib
import json
import typing as t
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Admission, Grant
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import ADMISSION_FILE, VERIFIER, issue

VERIFIER_SOURCE = Path(__file__).resolve().parents[2] / "roles/gate/files/admission.py"
OWN = "network:\n  ethernets:\n    enp1s0f0np0: {mtu: 9000}\n    enP2p1s0f0np0: {mtu: 9000}\n"
FILES = {
    "/proc/sys/kernel/random/boot_id": "c82c1b05-a9b9-4f27-a39c-96317639d457\n",
    "/proc/sys/kernel/osrelease": "6.17.0-1029-nvidia\n",
    "/sys/module/nvidia/version": "580.142\n",
    "/sys/class/infiniband/rocep1s0f0/fw_ver": "28.45.4028\n",
    "/sys/class/net/enp1s0f0np0/address": "4c:bb:47:00:00:01\n",
    "/etc/netplan/60-gb10-fabric.yaml": OWN,
    "/etc/netplan/10-management.yaml": "network: {ethernets: {enP7s7: {dhcp4: true}}}\n",
}
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def put(root: Path, path: str, text: str) -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def grow(root: Path) -> Path:
    """The healthy node, with the program installed."""
    for path, text in FILES.items():
        put(root, path, text)
    driver = root / "sys/class/net/enp1s0f0np0/device/driver"
    driver.parent.mkdir(parents=True)
    driver.symlink_to("../../../../bus/pci/drivers/mlx5_core")
    put(root, VERIFIER, VERIFIER_SOURCE.read_text())
    return root


def grant(**changes: t.Any) -> Grant:
    value: Grant = {
        "node": "spark1",
        "pool": ["spark1", "spark2"],
        "run_id": "20261124-120000",
        "lifetime_s": 7 * 86400,
        "not_after": None,
        "bound": {
            "boot_id": FILES["/proc/sys/kernel/random/boot_id"].strip(),
            "kernel": "6.17.0-1029-nvidia",
            "firmware": {"rocep1s0f0": "28.45.4028"},
            "gpu_driver": "580.142",
            "nccl_build_id": "a7f420a1",
            "netdevs": ["enp1s0f0np0", "enP2p1s0f0np0"],
            "netplan": {"/etc/netplan/60-gb10-fabric.yaml": hashlib.sha256(OWN.encode()).hexdigest()},
            "cabling": {"p0:a": "spark2:p1:a", "p0:b": "spark2:p1:b"},
            "plan_sha256": "0" * 64,
            "profile": {"name": "gb10-mtu9000-q4-64k", "sha256": "1" * 64},
        },
    }
    return t.cast("Grant", value | changes)


def admit(root: Path, now: datetime = NOW, **changes: t.Any) -> Admission:
    token = issue(grant(**changes), now)
    put(root, ADMISSION_FILE, json.dumps(token))
    return token
