"""Last, because it takes the fabric away."""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest
from conftest import SCENARIO
from nodes import FABRIC, HOSTS, OWN_NETPLAN
from testinfra.host import Host

Run = t.Callable[..., subprocess.CompletedProcess[str]]
testinfra_hosts = HOSTS


@pytest.fixture(scope="module")
def runs(playbook: Run) -> list[subprocess.CompletedProcess[str]]:
    return [playbook(SCENARIO / "absent.yml") for _ in range(2)]


def test_the_node_is_as_it_was(runs: list[subprocess.CompletedProcess[str]], host: Host) -> None:
    assert [run.returncode for run in runs] == [0, 0], runs[0].stdout
    links = {link["ifname"]: link for link in json.loads(host.check_output("ip -j -4 addr show"))}
    for netdev in FABRIC["spark1"]:
        assert links.get(netdev, {"addr_info": []})["addr_info"] == []
        assert host.file(f"/sys/class/net/{netdev}/mtu").content_string.strip() == "1500"
    assert not host.file(OWN_NETPLAN).exists
    assert not host.file("/var/lib/gb10/fabric").exists


def test_giving_back_twice_changes_nothing(runs: list[subprocess.CompletedProcess[str]]) -> None:
    recaps = [
        [line for line in run.stdout.splitlines() if line.startswith("spark") and " changed=" in line] for run in runs
    ]
    assert all(" changed=1 " in line for line in recaps[0])
    assert all(" changed=0 " in line for line in recaps[1])
