"""The module as Ansible calls it, on a fake node with fake commands in PATH."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gb10.cluster.plugins.module_utils.base.parts import NOTHING
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan
from ansible_collections.gb10.cluster.plugins.modules import dgx_base

from tests.fakes.base_node import DPKG, NFT, BaseNode

Call = t.Callable[..., dict[str, t.Any]]
HOSTS = {f"spark{number}": {"ansible_host": f"192.0.2.{10 + number}"} for number in (1, 2, 3)}
PLAN = build_plan(list(HOSTS), HOSTS, Declaration("triangle"))

# What role dgx_os declares by default, and then everything.
BY_DEFAULT: dict[str, t.Any] = {
    "hosts_block": "192.0.2.11 spark-12ab spark1\n",
    "hosts_disable": [r"^127\.[0-9.]+\s.*spark-12ab"],
    "memlock": True,
    "sysctl": {"vm.swappiness": "1", "vm.compaction_proactiveness": "0"},
    "oom": "protect",
    "docker": True,
    "firewall": "peers",
    "upgrade_blacklist": True,
    "holds": True,
    "forbidden_packages": ["mlnx-fw-updater", "doca-ofed*"],
}
EVERYTHING = BY_DEFAULT | {
    "headless": True,
    "swap": "off",
    "oom": "earlyoom",
    "firewall": "closed",
    "open_ports": [8000],
    "ssh_hardening": True,
    "kernel_parameters": ["kho=off"],
}
CLIENT = ("198.51.100.7", 50022)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseNode:
    node = BaseNode(tmp_path)
    monkeypatch.setenv("PATH", node.path)
    return node


@pytest.fixture
def call(node: BaseNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    said: list[str] = []
    monkeypatch.setattr(dgx_base.AnsibleModule, "warn", lambda _module, warning: said.append(warning))

    def run(check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        given = {"node": "spark1", "plan": PLAN, "root": str(node.root), "_ansible_check_mode": check} | arguments
        with patch_module_args(given), pytest.raises(SystemExit):
            dgx_base.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        result["said"] = list(said)
        said.clear()
        return result

    return run


def over_ssh(node: BaseNode, with_key: bool = True) -> None:
    """sudo has cleared the environment; the shell above it still has the connection."""
    node.put(f"proc/{os.getpid()}/environ", "PATH=/bin\0")
    node.put(f"proc/{os.getpid()}/status", "Name:\tpython3\nPPid:\t4242\n")
    node.put("proc/4242/environ", f"A=1\0SSH_CONNECTION={CLIENT[0]} {CLIENT[1]} 192.0.2.11 2222\0")
    how = "publickey" if with_key else "password"
    node.put("journal", f"Accepted {how} for spark from {CLIENT[0]} port {CLIENT[1]} ssh2: ED25519 SHA256:x\n")


def reasons(result: dict[str, t.Any]) -> dict[str, str]:
    return {name: part["reason"] for name, part in result["parts"].items() if part["reason"]}


# --- everything at once ---


@pytest.mark.parametrize("declared", [BY_DEFAULT, EVERYTHING], ids=["by-default", "everything"])
@pytest.mark.parametrize("ufw", [False, True], ids=["no-ufw", "ufw"])
def test_check_apply_confirm_again_and_back_to_what_it_was(
    node: BaseNode, call: Call, declared: dict[str, t.Any], ufw: bool
) -> None:
    over_ssh(node)
    node.packages(
        {"earlyoom": "install", "docker-ce": "hold", "nvidia-modprobe": "install", "unattended-upgrades": "install"}
    )
    if ufw:
        node.with_ufw("ACCEPT")
    before = node.fingerprint()
    checked = call(check=True, **declared)
    assert node.fingerprint() == before
    applied = call(**declared)
    assert (checked["changed"], applied["changed"]) == (True, True)
    assert checked["diff"] == applied["diff"]
    if applied["revert_unit"]:
        assert call(state="confirmed")["changed"]
    assert node.timer is None
    after = node.fingerprint()
    again = [call(check=True, **declared), call(**declared)]
    assert [one["changed"] for one in again] == [False, False], again[0]["diff"]
    assert node.fingerprint() == after
    gone = call(state="absent")
    if gone["revert_unit"]:
        call(state="confirmed")
    assert node.fingerprint() == before
    assert call(state="absent")["changed"] is False


def test_a_converged_call_runs_hardly_any_command(node: BaseNode, call: Call) -> None:
    call(**BY_DEFAULT)
    node.forget_calls()
    assert call(**BY_DEFAULT)["changed"] is False
    assert [line.split()[0] for line in node.calls()] == ["dpkg-query"]


def test_a_virtual_spark_has_nothing_of_it_and_is_not_failed(node: BaseNode, call: Call) -> None:
    """The lab: Debian without docker, grub, nftables, ufw and any package that is held."""
    node.remove("docker", "update-grub", "nft", "ufw")
    node.packages({"bash": "install", "openssh-server": "install"})
    result = call(**BY_DEFAULT)
    assert result["changed"]
    assert reasons(result) == {
        "blacklist": "unattended-upgrades is not installed",
        "holds": "none of the packages that are held is installed",
        "docker": "docker is not installed",
        "firewall": "ufw is not active, and nothing else is to be closed",
    }
    assert result["said"] == []
    assert call(**BY_DEFAULT)["changed"] is False


def test_what_was_asked_for_and_not_done_is_said_aloud(node: BaseNode, call: Call) -> None:
    node.remove("nft", "sshd", "update-grub")
    node.packages({"bash": "install"})
    result = call(**EVERYTHING)
    said = "\n".join(result["said"])
    for words in (
        "firewall: asked for and not done: neither is ufw active nor nftables installed",
        "ssh: asked for and not done: sshd is not installed",
        "out of memory: asked for and not done: earlyoom is not installed",
        "kernel parameters: asked for and not done: the node does not boot by grub",
    ):
        assert words in said


def test_a_part_that_is_switched_off_takes_back_what_it_did(node: BaseNode, call: Call) -> None:
    call(**BY_DEFAULT)
    assert node.held() == ["docker-ce", "nvidia-driver-580-open", "nvidia-modprobe"]
    call(**(BY_DEFAULT | {"holds": False, "sysctl": {"vm.swappiness": "1"}}))
    assert node.held() == []
    assert node.read("proc/sys/vm/compaction_proactiveness") == "20\n"
    assert node.read("proc/sys/vm/swappiness") == "1\n"
    assert "compaction" not in (node.read("etc/sysctl.d/90-gb10.conf") or "")


def test_a_hold_of_the_operator_is_not_released(node: BaseNode, call: Call) -> None:
    node.packages({"docker-ce": "hold", "nvidia-modprobe": "install", "bash": "hold"})
    call(holds=True)
    call(holds=False)
    assert node.held() == ["bash", "docker-ce"]


def test_a_package_that_an_update_has_released_is_held_again(node: BaseNode, call: Call) -> None:
    call(holds=True)
    node.packages({"docker-ce": "install", "nvidia-driver-590-open": "install"})
    assert call(holds=True)["changed"]
    assert node.held() == ["docker-ce", "nvidia-driver-590-open"]


def test_nothing_is_done_when_nobody_knows_what_is_installed(node: BaseNode, call: Call) -> None:
    node.fail("dpkg-query")
    before = node.fingerprint()
    result = call(**EVERYTHING)
    assert result["failed"]
    assert "dpkg-query ended with 1" in result["msg"]
    assert node.fingerprint() == before


def test_a_damaged_record_is_refused(node: BaseNode, call: Call) -> None:
    node.put("var/lib/gb10/base/before.json", "{")
    assert "before.json cannot be read" in call(**BY_DEFAULT)["msg"]
    node.put("var/lib/gb10/base/before.json", "[]")
    assert "it is not an object" in call(**BY_DEFAULT)["msg"]


def test_a_crash_between_two_parts_loses_no_way_back(node: BaseNode, call: Call) -> None:
    before = node.fingerprint()
    node.fail("apt-mark")
    assert "`apt-mark hold" in call(**BY_DEFAULT)["msg"]
    assert node.read("proc/sys/vm/swappiness") == "1\n"
    node.mend("apt-mark")
    assert call(**BY_DEFAULT)["changed"]
    call(state="absent")
    assert node.fingerprint() == before


# --- the way in ---


def closed(**more: t.Any) -> dict[str, t.Any]:
    return {"firewall": "closed", "open_ports": [8000], **more}


def test_the_firewall_is_in_force_at_once_and_at_boot_only_when_the_node_was_reached(
    node: BaseNode, call: Call
) -> None:
    wants = node.root / "etc/systemd/system/multi-user.target.wants/gb10-firewall.service"
    applied = call(**closed())
    assert applied["revert_unit"] == "gb10-base-revert"
    assert "policy drop" in (node.read(NFT) or "")
    assert not wants.is_symlink()
    call(state="confirmed")
    assert wants.is_symlink()
    assert call(**closed())["changed"] is False


def test_a_lost_controller_and_the_node_opens_itself(node: BaseNode, call: Call) -> None:
    over_ssh(node)
    before = node.fingerprint()
    call(**closed(ssh_hardening=True))
    assert node.timer
    subprocess.run(["/bin/sh", node.timer], check=True, env=os.environ | {"PATH": node.path})
    left = {name for name, text in node.fingerprint().items() if before.get(name) != text}
    assert left <= {"etc/gb10", "var/lib/gb10", "var/lib/gb10/base", "var/lib/gb10/base/before.json"}
    assert "taken back before it was confirmed" in call(state="confirmed")["msg"]
    assert call(**closed())["revert_unit"]


def test_a_second_change_that_nobody_confirms_goes_back_to_before_the_first(node: BaseNode, call: Call) -> None:
    call(**closed())
    call(**closed(open_ports=[8000, 9000]))
    assert "9000" in (node.read(NFT) or "")
    subprocess.run(["/bin/sh", str(node.timer)], check=True, env=os.environ | {"PATH": node.path})
    assert node.read(NFT) is None
    assert node.read("etc/gb10/firewall.nft") is None


def test_a_change_of_a_confirmed_firewall_goes_back_to_the_confirmed_one(node: BaseNode, call: Call) -> None:
    call(**closed())
    call(state="confirmed")
    kept = node.read(NFT)
    call(**closed(open_ports=[9000]))
    subprocess.run(["/bin/sh", str(node.timer)], check=True, env=os.environ | {"PATH": node.path})
    assert node.read(NFT) == kept


def test_a_firewall_that_was_taken_away_and_not_confirmed_comes_back(node: BaseNode, call: Call) -> None:
    call(**closed())
    call(state="confirmed")
    before = node.fingerprint()
    call(firewall="off")
    assert (node.read(NFT), node.read("etc/gb10/firewall.nft")) == (None, None)
    subprocess.run(["/bin/sh", str(node.timer)], check=True, env=os.environ | {"PATH": node.path})
    after = node.fingerprint()
    assert {name for name in before if before[name] != after.get(name)} <= {"var/lib/gb10/base/before.json"}


def test_off_after_a_change_that_was_not_confirmed_leaves_nothing_whatever_happens(node: BaseNode, call: Call) -> None:
    call(**closed())
    call(firewall="off")
    subprocess.run(["/bin/sh", str(node.timer)], check=True, env=os.environ | {"PATH": node.path})
    assert node.read(NFT) is None
    assert not [name for name in node.fingerprint() if "firewall" in name]


def test_a_way_back_that_cannot_be_read_stops_everything(node: BaseNode, call: Call) -> None:
    call(**closed())
    node.put("var/lib/gb10/base/pending/way.json", '{"files": 1}')
    for given in (closed(), {"state": "confirmed"}):
        assert "pending/way.json cannot be read" in call(**given)["msg"]


def test_a_confirmation_in_check_mode_leaves_the_timer(node: BaseNode, call: Call) -> None:
    call(**closed())
    assert call(check=True, state="confirmed")["changed"]
    assert node.timer


def test_a_run_that_finds_an_unconfirmed_change_has_it_confirmed(node: BaseNode, call: Call) -> None:
    call(**closed())
    again = call(**closed())
    assert (again["changed"], again["revert_unit"]) == (True, "gb10-base-revert")
    call(state="confirmed")
    assert call(**closed())["changed"] is False


def test_nothing_is_closed_without_a_timer(node: BaseNode, call: Call) -> None:
    node.fail("systemd-run")
    assert "could not be armed, so nothing was changed" in call(**closed())["msg"]
    assert node.read(NFT) is None
    assert node.read("etc/gb10/firewall.nft") is None
    assert not (node.root / "var/lib/gb10/base/pending").exists()


def test_a_failure_on_the_way_puts_all_back_at_once(node: BaseNode, call: Call) -> None:
    node.fail("systemctl", "reload-or-restart")
    result = call(**closed())
    assert result["msg"].endswith("Firewall and SSH are as before")
    assert (node.read(NFT), node.read("etc/gb10/firewall.nft"), node.timer) == (None, None, None)


def test_what_cannot_be_put_back_is_told_and_its_way_back_stays(node: BaseNode, call: Call) -> None:
    call(**closed())
    call(state="confirmed")
    node.fail("systemctl", "reload-or-restart")
    (node.bin / "cp").write_text("#!/bin/sh\necho no space left >&2; exit 1\n")
    (node.bin / "cp").chmod(0o755)
    result = call(**closed(open_ports=[9000]))
    assert "Not all files of firewall and SSH could be put back; gb10-base-revert.timer tries again" in result["msg"]
    assert node.read("var/lib/gb10/base/pending/way.json") is not None
    assert node.timer is not None
    (node.bin / "cp").unlink()
    assert subprocess.run(["/bin/sh", node.root / "var/lib/gb10/base/pending/restore.sh"], check=False).returncode == 0
    assert "9000" not in str(node.read("etc/gb10/firewall.nft"))
    assert node.read("var/lib/gb10/base/pending/way.json") is None


def test_rules_that_nft_refuses_are_never_written(node: BaseNode, call: Call) -> None:
    node.fail("nft", "-c")
    assert "/etc/gb10/firewall.nft would not be valid" in call(**closed())["msg"]
    assert node.timer is None


@pytest.mark.parametrize("now", [None, "table inet gb10 { chain input { policy accept; } }"], ids=["gone", "changed"])
def test_a_table_that_somebody_touched_comes_back(node: BaseNode, call: Call, now: str | None) -> None:
    call(**closed())
    call(state="confirmed")
    kept = node.read(NFT)
    (node.root / NFT).unlink()
    if now:
        node.put(NFT, now)
    assert call(check=True, **closed())["changed"]
    call(**closed())
    assert node.read(NFT) == kept
    call(state="confirmed")
    assert call(**closed())["changed"] is False


def test_the_way_of_this_run_stays_open_when_ssh_is_narrowed(node: BaseNode, call: Call) -> None:
    over_ssh(node)
    call(**closed(ssh_from=["203.0.113.0/24"]))
    assert "ip saddr { 198.51.100.7, 203.0.113.0/24 } tcp dport { 22, 2222 } accept" in (node.read(NFT) or "")


def test_an_active_ufw_is_opened_for_the_cluster_and_stays_as_it_was_otherwise(node: BaseNode, call: Call) -> None:
    node.with_ufw()
    call(firewall="peers")
    call(state="confirmed")
    assert len(node.calls("ufw prepend allow from 192.0.2.12 ")) == 1
    assert len(node.calls("ufw prepend allow from 10.210.")) == 4
    assert not node.calls("ufw default") and not node.calls("ufw prepend allow 22")
    assert call(firewall="peers")["changed"] is False


def test_closed_with_ufw_denies_what_comes_in_and_opens_ssh_and_the_port(node: BaseNode, call: Call) -> None:
    node.with_ufw("ACCEPT")
    call(**closed(open_from=["198.51.100.0/24"]))
    call(state="confirmed")
    assert node.read("etc/default/ufw") == 'DEFAULT_INPUT_POLICY="DROP"\n'
    calls = node.calls("ufw")
    assert "ufw prepend allow 22/tcp comment gb10.cluster" in calls
    assert "ufw prepend allow from 198.51.100.0/24 to any port 8000 proto tcp comment gb10.cluster" in calls
    assert calls.index("ufw default deny incoming") == len(calls) - 1, "before the rules it would cut us off"
    assert node.read(NFT) is None


def test_ufw_that_was_switched_on_later_takes_the_place_of_our_table(node: BaseNode, call: Call) -> None:
    call(**closed())
    call(state="confirmed")
    node.with_ufw()
    call(**closed())
    call(state="confirmed")
    assert node.read(NFT) is None
    assert node.read("etc/gb10/firewall.nft") is None
    assert call(**closed())["changed"] is False


def test_passwords_end_where_this_run_came_in_with_a_key(node: BaseNode, call: Call) -> None:
    over_ssh(node)
    call(ssh_hardening=True)
    text = node.read("etc/ssh/sshd_config.d/10-gb10.conf") or ""
    assert "PasswordAuthentication no\n" in text
    calls = node.calls()
    assert calls.index("sshd -t") < calls.index("systemctl try-reload-or-restart ssh.service")
    call(state="confirmed")
    node.put("journal", "")  # what is in force needs no proof any more
    assert call(ssh_hardening=True)["changed"] is False


SSH_REFUSED = [
    pytest.param(lambda node: over_ssh(node, with_key=False), "the journal does not show", id="password"),
    pytest.param(lambda _node: None, "this run has not come over SSH", id="no-ssh"),
    pytest.param(lambda node: node.fail("journalctl"), "this run has not come over SSH", id="no-journal"),
    pytest.param(
        lambda node: (over_ssh(node), node.fail("journalctl")), "the journal does not show", id="no-journal-ssh"
    ),
    pytest.param(lambda node: (over_ssh(node), node.fail("sshd", "-T")), "gives no answer", id="sshd-T"),
]


@pytest.mark.parametrize(("make", "reason"), SSH_REFUSED)
def test_passwords_stay_where_no_key_login_is_proven(
    node: BaseNode, call: Call, make: t.Callable[[BaseNode], t.Any], reason: str
) -> None:
    make(node)
    result = call(ssh_hardening=True)
    assert result["changed"] is False
    assert reason in reasons(result)["ssh"]
    assert node.read("etc/ssh/sshd_config.d/10-gb10.conf") is None


def test_a_configuration_that_sshd_refuses_is_taken_back_and_never_loaded(node: BaseNode, call: Call) -> None:
    over_ssh(node)
    node.fail("sshd", "-t")
    assert "`sshd -t` ended with 1" in call(ssh_hardening=True)["msg"]
    assert node.read("etc/ssh/sshd_config.d/10-gb10.conf") is None


def test_a_file_that_comes_before_ours_is_found_out(node: BaseNode, call: Call) -> None:
    over_ssh(node)
    node.put("etc/ssh/sshd_config.d/00-first.conf", "PasswordAuthentication yes\n")
    assert "another file comes before ours" in call(ssh_hardening=True)["msg"]
    assert node.read("etc/ssh/sshd_config.d/10-gb10.conf") is None
    (node.root / "etc/ssh/sshd_config.d/00-first.conf").unlink()
    call(ssh_hardening=True)
    call(state="confirmed")
    node.put("etc/ssh/sshd_config.d/00-first.conf", "PasswordAuthentication yes\n")
    result = call(ssh_hardening=True)
    assert "is there and not in force" in reasons(result)["ssh"]


# --- arguments ---


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"node": "spark9"}, "spark9 is not a node of the plan"),
        (closed(ssh_from=["198.51.100.7/24"]), "dgx_os_ssh_from has '198.51.100.7/24'"),
        (closed(open_ports=[8000, 70000]), "dgx_os_open_ports has 70000, expected 1 to 65535"),
        (closed(open_from=["home"]), "dgx_os_open_from has 'home'"),
        ({"kernel_parameters": ['kho=off" ; rm']}, "expected one word like kho=off"),
        ({"forbidden_packages": ["a b"]}, "which is no name of a package"),
    ],
)
def test_what_is_no_declaration_is_refused_with_its_name(
    node: BaseNode, call: Call, arguments: dict[str, t.Any], says: str
) -> None:
    before = node.fingerprint()
    result = call(**arguments)
    assert result["failed"]
    assert says in result["msg"]
    assert node.fingerprint() == before


def test_every_option_that_a_part_reads_has_a_value_that_switches_it_off() -> None:
    options = set(dgx_base.ARGUMENTS) - {"state", "node", "plan", "revert_after", "root"}
    assert options == set(NOTHING)
    assert {name: dgx_base.ARGUMENTS[name]["default"] for name in options} == NOTHING


def test_installed_packages_are_remembered_and_stay(node: BaseNode, call: Call) -> None:
    call(**BY_DEFAULT, installed=["perftest"])
    call(**BY_DEFAULT)
    assert json.loads(node.read("var/lib/gb10/base/before.json") or "")["installed"] == ["perftest"]
    assert "perftest" not in (node.read(DPKG) or "")
