"""The lab as Ansible sees it: an inventory of a few lines, the key to log in with, and the nodes' real host keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.identity import USER, Node
from lab.state import write

PROFILE = "lab-rxe-mtu9000"


def hosts_yml(topology: str, nodes: Sequence[Node], ports: Mapping[str, int]) -> str:
    """inventories/lab/hosts.yml. Everything but the first line per host is what a real inventory has too."""
    hosts = "\n".join(
        f"    {node.name}: {{ansible_host: 127.0.0.1, ansible_port: {ports[node.name]}, "
        f"fabric_mgmt_ip: {node.management_ip}}}"
        for node in nodes
    )
    return f"""\
# Written by `python -m lab up`; gone after `python -m lab down`.
sparks:
  hosts:
{hosts}
  vars:
    fabric_topology: {topology}
    gate_profile: {PROFILE}
    ansible_user: {USER}
    ansible_ssh_private_key_file: "{{{{ inventory_dir }}}}/../../.lab/id_ed25519"
    ansible_ssh_common_args: >-
      -o IdentitiesOnly=yes -o UserKnownHostsFile='"{{{{ inventory_dir }}}}/../../.lab/known_hosts"'
"""


def known_hosts(host_keys: Mapping[str, str], ports: Mapping[str, int]) -> str:
    return "".join(f"[127.0.0.1]:{ports[name]} {' '.join(key.split()[:2])}\n" for name, key in host_keys.items())


def write_all(checkout: Path, hosts: str, keys: str, private_key: bytes) -> None:
    """Write the three files; the inventory last, so that it never names what is not there."""
    write(checkout / ".lab" / "id_ed25519", private_key)
    write(checkout / ".lab" / "known_hosts", keys)
    write(inventory_file(checkout), hosts, mode=0o644)


def inventory_file(checkout: Path) -> Path:
    return checkout / "inventories" / "lab" / "hosts.yml"


def remove_all(checkout: Path) -> None:
    for path in (inventory_file(checkout), checkout / ".lab" / "known_hosts", checkout / ".lab" / "id_ed25519"):
        path.unlink(missing_ok=True)


def ssh_command(checkout: Path, port: int, command: Sequence[str] = (), terminal: bool = False) -> list[str]:
    """How the lab itself logs in: the same key and host keys as Ansible."""
    folder = checkout / ".lab"
    return [
        *("ssh", "-p", str(port), "-i", str(folder / "id_ed25519")),
        *("-o", "IdentitiesOnly=yes", "-o", f'UserKnownHostsFile="{folder / "known_hosts"}"', "-o", "BatchMode=yes"),
        *("-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
        *(("-t",) if terminal else ()),
        f"{USER}@127.0.0.1",
        *command,
    ]
