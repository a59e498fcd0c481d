"""Nothing that reaches a node runs what has harmed a Spark (health-checks 2 and 4.6).

The lab and the test scenarios are not looked at: to break a virtual Spark on purpose is what a fault matrix is for, and
they never touch a real one.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.commands_in_source import python_commands, yaml_commands

ROOT = Path(__file__).resolve().parents[2]
WHERE = ("plugins", "roles", "playbooks")

FORBIDDEN = {
    # After a hot-plug of the NIC they end in a kernel oops (Mellanox/mstflint#1786); all use one access module.
    "firmware tools": r"\b(mst|mstflint|mstconfig|mstlink|mstreg|mstfwreset|mlxlink|mlxconfig|mlxreg|mlxfwreset|flint)\b",
    "PCI rescan, remove or reset": r"/sys/bus/pci\S*/(rescan|remove|reset)\b|/device/(remove|reset|rescan)\b|\bsetpci\b",
    "a link set down": r"\blink set\b.*\bdown\b|\bifdown\b|\bifconfig\b.*\bdown\b|\bnetworkctl down\b"
    r"|\bnmcli\b.*\b(down|disconnect)\b",
    "netplan apply": r"\bnetplan apply\b",
    "driver reload": r"\brmmod\b|\bmodprobe\b.*(\s-r\b|--remove\b|\babsent\b)|/sys/bus/pci/drivers/\S*bind\b",
    "GPUDirect, which GB10 has not": r"\bnvidia[-_]peermem\b",
    # The tool installs a newer version of itself before it answers this (self_update.py of nvidia-spark-ota-check).
    "an update that hides in a question": r"\bis-ota-available\b",
    "GPU reset": r"\bnvidia-smi\b.*(\s-r\b|--gpu-reset\b)",
    "processes ended by name": r"\bpkill\b|\bkillall\b",
}


def found(command: str) -> list[str]:
    return [name for name, pattern in FORBIDDEN.items() if re.search(pattern, command)]


def sources() -> list[Path]:
    files = [file for folder in WHERE for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".yml", ".j2")]
    return [*sorted(files), ROOT / "site.yml"]


def commands(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        return list(python_commands(text))
    return list(yaml_commands(text)) if file.suffix == ".yml" else text.splitlines()


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_harmful_is_run(file: Path) -> None:
    harm = [(name, command) for command in commands(file) for name in found(command)]
    # Named for the operator, or for the kernel module that is a hazard (N12), is not run; so far nothing is.
    assert harm == []


def test_there_is_something_to_look_at() -> None:
    names = {file.name for file in sources()}
    assert {"host.py", "facts.py", "renderers.py", "main.yml"} <= names
    facts = commands(ROOT / "plugins/module_utils/measure/facts.py")
    assert "ethtool -S ?" in facts


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('host.run(["mlxlink", "-d", device])', "firmware tools"),
        ('host.run(["mst", "start"])', "firmware tools"),
        ('argv = ("flint", "-d", device, "query")', "firmware tools"),
        ('host.write("/sys/bus/pci/rescan", "1")', "PCI rescan, remove or reset"),
        ('host.write(f"/sys/bus/pci/devices/{address}/remove", "1")', "PCI rescan, remove or reset"),
        ('host.write(f"{base}/device/reset", "1")', "PCI rescan, remove or reset"),
        ('host.run(["ip", "link", "set", netdev, "down"])', "a link set down"),
        ('host.run(["ip", "link", "set", "dev", netdev, *["down"]])', "a link set down"),
        ('host.run(["nmcli", "device", "disconnect", netdev])', "a link set down"),
        ('host.run(["netplan", "apply"])', "netplan apply"),
        ('os.system("netplan apply")', "netplan apply"),
        ('host.run(["modprobe", "-r", "mlx5_core"])', "driver reload"),
        ('host.write("/sys/bus/pci/drivers/mlx5_core/unbind", address)', "driver reload"),
        ('host.run(["modprobe", "nvidia-peermem"])', "GPUDirect, which GB10 has not"),
        ('host.run(["nvidia-smi", "--gpu-reset"])', "GPU reset"),
        ('host.run(["nvidia-spark-ota-check", "is-ota-available"])', "an update that hides in a question"),
        ('host.run(["pkill", "-f", "ib_write_bw"])', "processes ended by name"),
    ],
)
def test_what_is_harmful_in_python_is_found(source: str, name: str) -> None:
    assert name in {each for command in python_commands(source) for each in found(command)}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("- ansible.builtin.command: {argv: [netplan, apply]}", "netplan apply"),
        ("- ansible.builtin.shell: |\n    ip link set enp1s0f0np0 down\n    sleep 1", "a link set down"),
        ("- community.general.modprobe: {name: mlx5_core, state: absent}", "driver reload"),
        ("- ansible.builtin.copy: {content: '1', dest: /sys/bus/pci/rescan}", "PCI rescan, remove or reset"),
        ("- ansible.builtin.command: mstflint -d 01:00.0 query", "firmware tools"),
    ],
)
def test_what_is_harmful_in_a_task_is_found(source: str, name: str) -> None:
    assert name in {each for command in yaml_commands(source) for each in found(command)}


@pytest.mark.parametrize(
    "source",
    [
        '"""Never by `netplan apply`."""',
        "# no mlxlink here\nx = 1",
        'DOCUMENTATION = r"""\nNever runs C(netplan apply).\n"""',
        'host.run(["ip", "link", "set", netdev, "mtu", "9000"])',
        'line.startswith("mstflint_access ")',
        'host.run(["modprobe", "ib_uverbs"])',
    ],
)
def test_what_is_harmless_is_not_found(source: str) -> None:
    assert [command for command in python_commands(source) if found(command)] == []


@pytest.mark.parametrize("name", [builders.GB10, builders.LAB])
def test_no_collective_is_as_large_as_one_that_froze_a_spark(name: str) -> None:
    """16 GiB needs about 32 GB on each node and has frozen Sparks (dgx-spark-playbooks #102, #103)."""
    sizes = builders.profile(name).get("nccl", {}).get("sizes_bytes", [])
    assert max(sizes, default=0) <= 1 << 30
