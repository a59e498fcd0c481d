"""Last, because it takes everything away."""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest
from conftest import ROOT
from nodes import FABRIC, HOSTS, OWN_NETPLAN
from testinfra.host import Host

Run = t.Callable[..., subprocess.CompletedProcess[str]]
testinfra_hosts = HOSTS


@pytest.fixture(scope="module")
def runs(playbook: Run) -> list[subprocess.CompletedProcess[str]]:
    return [playbook(ROOT / "playbooks/absent.yml") for _ in range(2)]


def test_the_node_is_as_it_was(runs: list[subprocess.CompletedProcess[str]], host: Host) -> None:
    assert [run.returncode for run in runs] == [0, 0], runs[0].stdout
    links = {link["ifname"]: link for link in json.loads(host.check_output("ip -j -4 addr show"))}
    for netdev in FABRIC["spark1"]:
        assert links.get(netdev, {"addr_info": []})["addr_info"] == []
        assert host.file(f"/sys/class/net/{netdev}/mtu").content_string.strip() == "1500"
    assert not host.file(OWN_NETPLAN).exists
    assert not host.file("/var/lib/gb10").exists
    assert host.check_output("apt-mark showhold") == ""
    assert "gb10" not in host.check_output("nft list ruleset")
    assert host.file("/proc/sys/net/ipv4/tcp_keepalive_time").content_string.strip() == "7200"


def test_no_file_is_new_changed_or_gone(runs: list[subprocess.CompletedProcess[str]], host: Host) -> None:
    everything = "find /etc /var/lib/gb10 /usr/local/lib/gb10 -printf '%p %y %m %l\\n' -type f -exec sha256sum {} +"
    now = set(host.run(f"{everything} 2> /dev/null").stdout.splitlines())
    before = set(host.file("/srv/before").content_string.splitlines())
    # Made by the folders' first file of ours, and empty again; systemd and PAM read them as if they were not there.
    assert {line for line in now - before if " d " not in line} == set()
    assert before - now == set()


def test_giving_back_twice_changes_nothing(runs: list[subprocess.CompletedProcess[str]]) -> None:
    recaps = [
        [line for line in run.stdout.splitlines() if line.startswith("spark") and " changed=" in line] for run in runs
    ]
    assert len(recaps[0]) == len(recaps[1]) == 3
    assert not any(" changed=0 " in line for line in recaps[0])
    assert all(" changed=0 " in line for line in recaps[1])
