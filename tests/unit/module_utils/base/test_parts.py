"""Every part as a pure function: declared and seen in, wanted out."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.base import firewall, packages, ssh, system
from ansible_collections.gb10.cluster.plugins.module_utils.base.part import (
    Connection,
    Declared,
    Part,
    Seen,
    Swap,
    UfwRule,
)
from ansible_collections.gb10.cluster.plugins.module_utils.base.parts import NOTHING, PARTS
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan
from hypothesis import given
from hypothesis import strategies as st

CLUSTERS = {"single": 1, "direct": 2, "triangle": 3, "switch": 4}


def declare(topology: t.Any = "triangle", **given: t.Any) -> Declared:
    hosts = {f"spark{n}": {"ansible_host": f"192.0.2.{10 + n}"} for n in range(1, CLUSTERS[topology] + 1)}
    plan = build_plan(list(hosts), hosts, Declaration(topology))
    return t.cast(Declared, NOTHING | {"node": "spark1", "plan": plan} | given)


def commands(part: Part) -> list[str]:
    return [" ".join(argv) for live in [*part.first, *part.live] for argv in live.commands]


def content(part: Part, path: str) -> str | None:
    return next(spec["content"] for spec in part.files if spec["path"] == path)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_off_on_an_untouched_node_wants_nothing(name: str) -> None:
    part = PARTS[name](declare(), Seen(default_target="graphical.target"), None)
    assert commands(part) == []
    assert part.record is None
    assert not part.notes and not part.reboot and not part.asked
    assert all(spec["absent"] or spec["block"] == "" for spec in part.files)


# --- firewall ---


@pytest.mark.parametrize("topology", CLUSTERS)
def test_every_other_node_and_every_own_subnet_is_let_in(topology: str) -> None:
    declared = declare(topology, firewall="closed")
    text = firewall.rules(declared, Seen())
    for name, node in declared["plan"]["nodes"].items():
        assert (node["mgmt_ip"] in text) == (name != "spark1")
    for half in declared["plan"]["nodes"]["spark1"]["halves"]:
        assert f'"{half["netdev"]}"' in text
        assert half["subnet"] in text
    assert ("iifname" in text) == (topology != "single")


def test_addresses_of_both_families_and_overlapping_networks() -> None:
    declared = declare(
        "direct", firewall="closed", open_ports=[8000, 8000], open_from=["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"]
    )
    text = firewall.rules(declared, Seen())
    assert "ip saddr { 10.0.0.0/8 } tcp dport { 8000 } accept" in text
    assert "ip6 saddr { 2001:db8::/32 } tcp dport { 8000 } accept" in text


SSH_PORTS = [
    (Seen(), [22]),
    (Seen(sshd={"port": ["2222", "22"]}), [22, 2222]),
    (Seen(sshd={}, connection=Connection("198.51.100.7", 1, 2200)), [22, 2200]),
    (Seen(sshd={"port": ["x"]}), [22]),
]


@pytest.mark.parametrize(("seen", "ports"), SSH_PORTS)
def test_ssh_stays_open_where_it_listens_and_where_we_came_in(seen: Seen, ports: list[int]) -> None:
    assert firewall.ssh_ports(seen) == ports


@given(
    sources=st.lists(st.sampled_from(["203.0.113.0/24", "2001:db8:2::/48"]), max_size=2),
    port=st.integers(min_value=1, max_value=65535),
    client=st.sampled_from(["198.51.100.7", "2001:db8:1::7"]),
)
def test_whatever_is_declared_the_way_in_stays(sources: list[str], port: int, client: str) -> None:
    declared = declare(firewall="closed", ssh_from=sources)
    seen = Seen(connection=Connection(client, 50022, port))
    (line, *_more) = [
        line for line in firewall.rules(declared, seen).splitlines() if f" {port}" in line and "tcp dport" in line
    ]
    if sources:
        lines = firewall.rules(declared, seen)
        assert client in lines
        rules = firewall.ufw_rules(declared, seen)
        assert UfwRule(client, port) in rules
    else:
        assert "saddr" not in line


def test_single_addresses_are_written_as_ufw_keeps_them() -> None:
    declared = declare("single", firewall="closed", open_ports=[80], open_from=["203.0.113.7/32", "2001:DB8:0::7"])
    assert firewall.ufw_rules(declared, Seen()) == {
        UfwRule("203.0.113.7", 80),
        UfwRule("2001:db8::7", 80),
        UfwRule(None, 22),
    }


UFW_TUPLES = [
    # the form of ufw 0.36 (src/backend_iptables.py); comments are hex of UTF-8
    (
        "### tuple ### allow any any 0.0.0.0/0 any 192.0.2.12 in comment=676231302e636c7573746572",
        {UfwRule("192.0.2.12", None)},
    ),
    ("### tuple ### allow tcp 8000 0.0.0.0/0 any 0.0.0.0/0 in comment=676231302e636c7573746572", {UfwRule(None, 8000)}),
    ("### tuple ### allow tcp 8000 ::/0 any ::/0 in comment=676231302e636c7573746572", {UfwRule(None, 8000)}),
    (
        "### tuple ### allow tcp 22 0.0.0.0/0 any 203.0.113.0/24 in comment=676231302e636c7573746572",
        {UfwRule("203.0.113.0/24", 22)},
    ),
    ("### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=6d696e65", set()),
    ("### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", set()),
    ("### tuple ### deny any any 0.0.0.0/0 any 192.0.2.12 in comment=676231302e636c7573746572", set()),
    ("-A ufw-user-input -p tcp --dport 22 -j ACCEPT", set()),
]


@pytest.mark.parametrize(("line", "rules"), UFW_TUPLES)
def test_rules_of_ours_are_known_by_their_comment(line: str, rules: set[UfwRule]) -> None:
    assert firewall.parse_ufw_rules(line + "\n") == rules


def test_firewalld_is_left_alone() -> None:
    seen = Seen(commands=frozenset({"nft"}), files=frozenset({firewall.FIREWALLD}))
    part = firewall.firewall(declare(firewall="closed"), seen, None)
    assert "firewalld runs" in (part.skipped or "")
    assert commands(part) == []


def test_a_table_that_was_never_confirmed_is_deleted_by_its_name() -> None:
    part = firewall.firewall(declare(), Seen(nft_sha256="x"), {"sha256": "x"})
    assert commands(part) == ["nft delete table inet gb10"]
    assert part.record is None


# --- ssh ---

CONNECTION = Connection("198.51.100.7", 50022, 22)
JOURNAL = [
    # OpenSSH 9.6 (sshd) and 10 (sshd-session) write the same line; auth.c
    ("Accepted publickey for spark from 198.51.100.7 port 50022 ssh2: ED25519 SHA256:abc", True),
    ("x\nAccepted publickey for root from 198.51.100.7 port 50022 ssh2: RSA SHA256:abc\ny", True),
    ("Accepted password for spark from 198.51.100.7 port 50022 ssh2", False),
    ("Accepted publickey for spark from 198.51.100.7 port 5002 ssh2", False),
    ("Accepted publickey for spark from 198.51.100.7 port 500221 ssh2", False),
    ("Accepted publickey for spark from 198.51.100.70 port 50022 ssh2", False),
    ("Accepted publickey for spark from 198x51x100x7 port 50022 ssh2", False),
    ("Failed publickey for spark from 198.51.100.7 port 50022 ssh2", False),
    ("", False),
]


@pytest.mark.parametrize(("journal", "proven"), JOURNAL)
def test_only_this_connection_and_only_a_key_is_a_proof(journal: str, proven: bool) -> None:
    assert ssh.let_in_by_key(journal, CONNECTION) is proven


ENVIRONMENTS = [
    ("A=1\0SSH_CONNECTION=198.51.100.7 50022 192.0.2.11 22\0B=2", ("198.51.100.7", 50022, 22)),
    ("SSH_CONNECTION=fe80::1%eth0 50022 fe80::2%eth0 22", ("fe80::1", 50022, 22)),
    ("SSH_CONNECTION=198.51.100.7 50022", None),
    ("SSH_CONNECTION=a b c d", None),
    ("XSSH_CONNECTION=198.51.100.7 50022 192.0.2.11 22", None),
    ("", None),
]


@pytest.mark.parametrize(("environ", "found"), ENVIRONMENTS)
def test_where_this_run_has_come_from(environ: str, found: tuple[str, int, int] | None) -> None:
    assert ssh.parse_connection(environ) == found


def test_without_a_proof_the_file_is_not_even_planned() -> None:
    seen = Seen(sshd={"passwordauthentication": ["yes"]}, connection=CONNECTION, key_login=False)
    assert ssh.ssh(declare(ssh_hardening=True), seen, None).files == []
    assert ssh.ssh(declare(ssh_hardening=True), replace(seen, key_login=True), None).files != []


# --- packages ---

HELD = [
    ("nvidia-modprobe", True),  # spark-facts 5.2: the list that epappas holds
    ("nvidia-kernel-common-580", True),
    ("nvidia-driver-580-open", True),
    ("nvidia-driver-590", True),
    ("linux-nvidia-hwe-24.04", True),
    ("linux-image-nvidia-hwe-24.04", True),
    ("docker-ce", True),
    ("containerd.io", True),
    ("docker-ce-cli", False),
    ("containerdxio", False),
    ("nvidia-container-toolkit", False),
    ("nvidia-settings", False),
]


@pytest.mark.parametrize(("name", "held"), HELD)
def test_what_is_held(name: str, held: bool) -> None:
    part = packages.holds(declare(holds=True), Seen(packages={name: "install"}), None)
    assert commands(part) == ([f"apt-mark hold {name}"] if held else [])


def test_what_is_not_installed_any_more_is_forgotten() -> None:
    part = packages.holds(declare(holds=True), Seen(packages={"docker-ce": "hold"}), ["nvidia-driver-580-open"])
    assert commands(part) == []
    assert part.record is None


def test_a_forbidden_package_that_is_there_is_named_with_what_to_do() -> None:
    seen = Seen(packages={"mlnx-fw-updater": "install", "bash": "install"}, commands=frozenset({"apt-get"}))
    part = packages.forbidden(declare(forbidden_packages=["mlnx-fw-*"]), seen, None)
    assert part.notes == [
        "mlnx-fw-updater is installed and may flash the NIC; remove it: apt-get remove mlnx-fw-updater"
    ]
    assert "Pin-Priority: -1" in (content(part, packages.PIN) or "")


def test_without_apt_nothing_is_pinned() -> None:
    part = packages.forbidden(declare(forbidden_packages=["x"]), Seen(), None)
    assert part.skipped == "apt is not installed"
    assert content(part, packages.PIN) is None


GRUB = frozenset({"update-grub"})
KERNEL = [
    (["kho=off"], ("ro",), None, "kho=off is not in force before the next start"),
    (["kho=off"], ("ro", "kho=off"), ["kho=off"], None),
    ([], ("ro", "kho=off"), ["kho=off"], "kho=off is in force until the next start"),
    ([], ("ro", "kho=off"), None, None),  # somebody else's
    ([], ("ro",), ["kho=off"], None),
]


@pytest.mark.parametrize(("wanted", "cmdline", "record", "reboot"), KERNEL)
def test_what_a_restart_is_needed_for(
    wanted: list[str], cmdline: tuple[str, ...], record: t.Any, reboot: str | None
) -> None:
    part = packages.kernel(declare(kernel_parameters=wanted), Seen(cmdline=cmdline, commands=GRUB), record)
    assert part.reboot == reboot
    assert part.record == (wanted or None)


DOCKER = frozenset({"docker"})
TOOLKIT = {"nvidia-container-toolkit": "install"}
RUNS = frozenset({packages.DOCKER_PID})
RUNTIME = '{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}'
DOCKERS = [
    pytest.param(Seen(commands=DOCKER, files=RUNS, packages=TOOLKIT, docker_config=RUNTIME), [], id="runtime"),
    pytest.param(Seen(commands=DOCKER, files=RUNS | {"/etc/cdi/nvidia.yaml"}, packages=TOOLKIT), [], id="cdi"),
    pytest.param(Seen(commands=DOCKER, packages=TOOLKIT, docker_config=RUNTIME), ["does not run"], id="stopped"),
    pytest.param(Seen(commands=DOCKER, files=RUNS), ["nvidia-container-toolkit is not installed"], id="no-toolkit"),
    pytest.param(Seen(commands=DOCKER, files=RUNS, packages=TOOLKIT), ["knows neither"], id="no-way"),
    pytest.param(
        Seen(commands=DOCKER, files=RUNS, packages=TOOLKIT, docker_config="{"), ["knows neither"], id="garbled"
    ),
    pytest.param(Seen(commands=DOCKER, files=RUNS, packages=TOOLKIT, docker_config="[]"), ["knows neither"], id="list"),
    pytest.param(
        # nvcheckup: an error page of the server was stored as the list
        Seen(commands=DOCKER, files=RUNS, packages=TOOLKIT, docker_config=RUNTIME, toolkit_list="<html>\ndeb x\n"),
        ["it begins with '<html>'"],
        id="list-of-html",
    ),
    pytest.param(
        Seen(commands=DOCKER, files=RUNS, packages=TOOLKIT, docker_config=RUNTIME, toolkit_list="\n# x\ndeb x\n"),
        [],
        id="list-good",
    ),
]


@pytest.mark.parametrize(("seen", "notes"), DOCKERS)
def test_what_keeps_a_container_from_the_gpu(seen: Seen, notes: list[str]) -> None:
    part = packages.docker(declare(docker=True), seen, None)
    assert len(part.notes) == len(notes)
    assert all(words in note for words, note in zip(notes, part.notes, strict=True))
    assert (part.files, part.live) == ([], [])


# --- the running system ---


def test_a_value_that_the_kernel_has_not_is_named_and_left_out() -> None:
    declared = declare(sysctl={"vm.swappiness": "1", "vm.none": "1"})
    part = system.sysctl(declared, Seen(sysctl={"vm.swappiness": "60", "vm.none": None}), None)
    assert part.notes == ["this kernel has no vm.none"]
    assert commands(part) == ["sysctl -q -w vm.swappiness=1"]
    assert part.record == {"vm.swappiness": "60"}


def test_values_of_several_numbers_are_compared_as_words() -> None:
    declared = declare(sysctl={"net.ipv4.tcp_rmem": "4096 131072 6291456"})
    part = system.sysctl(declared, Seen(sysctl={"net.ipv4.tcp_rmem": "4096\t131072\t6291456"}), None)
    assert commands(part) == []


def test_the_value_of_before_is_that_of_the_first_time() -> None:
    declared = declare(sysctl={"vm.swappiness": "1"})
    part = system.sysctl(declared, Seen(sysctl={"vm.swappiness": "30"}), {"vm.swappiness": "60"})
    assert part.record == {"vm.swappiness": "60"}
    back = system.sysctl(declare(), Seen(sysctl={"vm.swappiness": "1"}), part.record)
    assert (commands(back), back.record) == (["sysctl -q -w vm.swappiness=60"], None)


def test_swap_that_does_not_fit_into_memory_stays() -> None:
    seen = Seen(swaps=(Swap("/swap.img", 16 << 20, 8 << 20),), available_kib=4 << 20)
    part = system.swap(declare(swap="off"), seen, None)
    assert (
        part.skipped
        == "8192 MiB are swapped out and 4096 MiB of memory are available; stop what serves, then run again"
    )
    assert (commands(part), part.record) == ([], None)
    fits = system.swap(declare(swap="off"), replace(seen, available_kib=64 << 20), None)
    assert commands(fits) == ["systemctl mask swap.target", "swapoff -a"]


def test_swap_that_the_operator_has_switched_off_is_not_switched_on() -> None:
    assert commands(system.swap(declare(swap="keep"), Seen(swap_masked=True), None)) == []


def test_a_desktop_that_was_set_comes_back_as_it_was_set() -> None:
    seen = Seen(default_target="graphical.target", default_target_is_set=True)
    there = system.desktop(declare(headless=True), seen, None)
    assert commands(there) == ["systemctl set-default multi-user.target"]
    assert any("isolate" in note for note in there.notes)
    headless = replace(seen, default_target="multi-user.target")
    assert commands(system.desktop(declare(headless=True), headless, there.record)) == []
    back = system.desktop(declare(), headless, there.record)
    assert (commands(back), back.record) == (["systemctl set-default graphical.target"], None)
    assert commands(system.desktop(declare(), seen, there.record)) == []


def test_without_systemd_the_record_stays() -> None:
    record = {"target": "graphical.target", "set": False}
    part = system.desktop(declare(headless=True), Seen(), record)
    assert part.skipped
    assert part.record == record


EARLYOOM = "/sys/fs/cgroup/system.slice/earlyoom.service"
THERE = {"earlyoom": "install"}
EARLY = [
    # wanted, runs, installed by us, record -> commands, record
    pytest.param("earlyoom", False, [], None, ["systemctl enable --now earlyoom.service"], {"ran": False}, id="start"),
    pytest.param("earlyoom", True, [], None, [], {"ran": True}, id="it-ran-before"),
    pytest.param("earlyoom", True, ["earlyoom"], None, [], {"ran": False}, id="we-brought-it"),
    pytest.param("protect", True, [], {"ran": False}, ["systemctl disable --now earlyoom.service"], None, id="stop"),
    pytest.param("protect", True, [], {"ran": True}, [], None, id="it-goes-on-running"),
    pytest.param("kernel", True, [], None, [], None, id="not-ours"),
]


@pytest.mark.parametrize(("wanted", "runs", "installed", "record", "does", "keeps"), EARLY)
def test_earlyoom_runs_as_it_did_before_when_it_is_not_wanted_any_more(
    wanted: str, runs: bool, installed: list[str], record: t.Any, does: list[str], keeps: t.Any
) -> None:
    seen = Seen(packages=THERE, files=frozenset({EARLYOOM} if runs else ()))
    part = system.oom(declare(oom=wanted, installed=installed), seen, record)
    assert (commands(part), part.record) == (does, keeps)
    assert (content(part, system.EARLYOOM) is not None) == (wanted == "earlyoom")
    assert (content(part, system.SSH_MEMORY) is not None) == (wanted != "kernel")
