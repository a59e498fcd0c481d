"""Whole changes on a fake node: apply, lose the controller, revert, take over, give back."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Plan
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.errors import FabricError
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.survey import Request
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.transaction import absent, confirmed, present
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.lock import alone
from ansible_collections.gb10.cluster.plugins.module_utils.plan.netplan import OWN_NETPLAN

from tests.fakes.fabric_node import FABRIC, MGMT, FakeNode

ADDRESSES = {
    "enp1s0f0np0": "10.210.0.1/24",
    "enP2p1s0f0np0": "10.210.1.1/24",
    "enp1s0f1np1": "10.210.2.1/24",
    "enP2p1s0f1np1": "10.210.3.1/24",
}
LIVE = {netdev: (9000, [cidr]) for netdev, cidr in ADDRESSES.items()}
UNTOUCHED = {netdev: (1500, []) for netdev in FABRIC}
SYNC = "/etc/netplan/40-cx7.yaml"
SYNC_TEXT = """\
network:
  version: 2
  ethernets:
    enp1s0f0np0: {dhcp4: false, addresses: [192.168.0.1/24]}
"""
MANAGEMENT = "/etc/netplan/10-management.yaml"
MANAGEMENT_TEXT = "network: {version: 2, ethernets: {enP7s7: {addresses: [192.0.2.11/24]}}}\n"


def request_for(plan: Plan, **changes: object) -> Request:
    values: dict[str, object] = {
        "plan": plan,
        "node": "spark1",
        "renderer": None,
        "take_over": False,
        "revert_after_s": 120,
        "check_mode": False,
    }
    return Request(**(values | changes))  # type: ignore[arg-type]


def live(node: FakeNode) -> dict[str, tuple[int, list[str]]]:
    return {netdev: node.live(netdev) for netdev in FABRIC}


def apply(host: Host, plan: Plan, **changes: object) -> None:
    assert present(host, request_for(plan, **changes)).changed
    assert confirmed(host, request_for(plan, **changes)).changed


# --- not under a measurement ---


def test_links_are_not_changed_while_something_measures_over_them(host: Host, node: FakeNode, plan: Plan) -> None:
    with alone(host, "rdma_probe"), pytest.raises(FabricError, match=r"nothing was changed, busy: .* rdma_probe\)"):
        present(host, request_for(plan))
    assert live(node) == UNTOUCHED
    assert node.armed is None and node.files("/etc") == [] and node.files("/var") == []
    apply(host, plan)
    with alone(host, "nccl_probe"), pytest.raises(FabricError, match=r"busy: .* nccl_probe\)"):
        absent(host, check_mode=False)
    assert live(node) == LIVE


def test_a_converged_node_and_check_mode_need_no_lock(host: Host, plan: Plan) -> None:
    with alone(host, "rdma_probe"):
        assert present(host, request_for(plan, check_mode=True)).changed
    apply(host, plan)
    with alone(host, "rdma_probe"):
        assert not present(host, request_for(plan)).changed
        assert not confirmed(host, request_for(plan)).changed
        assert absent(host, check_mode=True).changed


# --- the good way ---


def test_check_run_check_run(host: Host, node: FakeNode, plan: Plan) -> None:
    checked = present(host, request_for(plan, check_mode=True))
    assert live(node) == UNTOUCHED
    assert node.armed is None and node.files("/etc") == [] and node.files("/var") == []
    first = present(host, request_for(plan))
    assert confirmed(host, request_for(plan)).changed
    again = present(host, request_for(plan, check_mode=True)), present(host, request_for(plan))
    assert [checked.changed, first.changed, *(one.changed for one in again)] == [True, True, False, False]
    assert checked.diff == first.diff and again[1].diff == []
    assert live(node) == LIVE
    assert node.live(MGMT) == (1500, ["192.0.2.11/24"])


def test_a_change_is_armed_before_it_is_made_and_disarmed_after_it_was_confirmed(
    host: Host, node: FakeNode, plan: Plan
) -> None:
    outcome = present(host, request_for(plan, revert_after_s=77))
    assert outcome.revert_unit == "gb10-fabric-revert"
    verbs = [call.split()[0] for call in node.calls]
    assert verbs.index("systemd-run") < verbs.index("networkctl")
    assert "--on-active=77" in next(call for call in node.calls if call.startswith("systemd-run"))
    assert node.armed is not None
    assert confirmed(host, request_for(plan)).changed
    assert node.armed is None
    assert not confirmed(host, request_for(plan)).changed


def test_only_fabric_links_are_reloaded_and_never_by_netplan_apply(host: Host, node: FakeNode, plan: Plan) -> None:
    apply(host, plan)
    assert f"networkctl reconfigure {' '.join(ADDRESSES)}" in node.calls
    assert not [call for call in node.calls if MGMT in call or "apply" in call or "restart" in call]


def test_a_converged_node_costs_one_command(host: Host, node: FakeNode, plan: Plan) -> None:
    apply(host, plan)
    node.forget_calls()
    assert not present(host, request_for(plan)).changed
    assert node.calls == ["ip -j addr show"]


def test_the_diff_shows_the_file_and_the_live_links(host: Host, plan: Plan) -> None:
    file, links = present(host, request_for(plan, check_mode=True)).diff
    assert (file["before_header"], file["after_header"], file["before"]) == ("/dev/null", OWN_NETPLAN, "")
    assert "      addresses: [10.210.0.1/24]\n" in file["after"]
    assert links["before"].splitlines()[0] == "enp1s0f0np0: MTU 1500, no address"
    assert links["after"].splitlines()[0] == "enp1s0f0np0: MTU 9000, 10.210.0.1/24"


def test_the_file_is_readable_by_root_only(host: Host, node: FakeNode, plan: Plan) -> None:
    apply(host, plan)
    file = node.root / OWN_NETPLAN.lstrip("/")
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    assert present(host, request_for(plan, check_mode=True)).changed


@pytest.mark.parametrize(
    ("netdev", "values"),
    [
        pytest.param("enp1s0f0np0", {"mtu": 1500}, id="L04-mtu-after-firmware-capsule"),
        pytest.param("enP2p1s0f1np1", {"addresses": []}, id="L05-address-lost"),
        pytest.param("enp1s0f1np1", {"addresses": ["10.210.2.1/24", "192.168.0.9/24"]}, id="L05-extra-address"),
    ],
)
def test_drift_is_told_and_repaired(
    host: Host, node: FakeNode, plan: Plan, netdev: str, values: dict[str, object]
) -> None:
    apply(host, plan)
    node.change(netdev, **values)
    assert present(host, request_for(plan, check_mode=True)).changed
    assert live(node) != LIVE
    apply(host, plan)
    assert live(node) == LIVE


def test_check_mode_without_netplan_still_tells(host: Host, node: FakeNode, plan: Plan) -> None:
    node.remove("netplan")
    assert present(host, request_for(plan, check_mode=True)).changed


# --- the controller is lost ---


def test_an_unconfirmed_change_reverts_by_itself_and_the_next_run_converges(
    host: Host, node: FakeNode, plan: Plan
) -> None:
    present(host, request_for(plan))
    node.time_is_up()
    assert live(node) == UNTOUCHED
    assert node.read(OWN_NETPLAN) is None and node.files("/var") == []
    apply(host, plan)
    assert live(node) == LIVE


def test_a_revert_restores_the_previous_file_not_nothing(host: Host, node: FakeNode, plan: Plan) -> None:
    apply(host, plan)
    before = node.read(OWN_NETPLAN)
    other = copy.deepcopy(plan)
    other["mtu"] = 8000
    present(host, request_for(other))
    assert node.live("enp1s0f0np0")[0] == 8000
    node.time_is_up()
    assert node.read(OWN_NETPLAN) == before
    assert (node.root / OWN_NETPLAN.lstrip("/")).stat().st_mode & 0o777 == 0o600
    assert live(node) == LIVE


def test_a_second_present_arms_anew_and_still_goes_back_to_the_start(host: Host, node: FakeNode, plan: Plan) -> None:
    present(host, request_for(plan))
    again = present(host, request_for(plan))
    assert again.changed and again.revert_unit
    node.time_is_up()
    assert live(node) == UNTOUCHED and node.read(OWN_NETPLAN) is None


def test_a_reboot_loses_the_timer_and_the_change_still_counts_as_unconfirmed(
    host: Host, node: FakeNode, plan: Plan
) -> None:
    present(host, request_for(plan))
    (node.bin.parent / "armed.json").unlink()
    assert present(host, request_for(plan, check_mode=True)).changed
    apply(host, plan)
    assert not present(host, request_for(plan)).changed


def test_a_change_that_was_taken_back_cannot_be_confirmed(host: Host, node: FakeNode, plan: Plan) -> None:
    present(host, request_for(plan))
    node.time_is_up()
    with pytest.raises(FabricError, match=r"lacks its address 10\.210\.0\.1/24"):
        confirmed(host, request_for(plan))


def test_a_timer_that_fires_while_the_links_are_verified_is_noticed(
    host: Host, node: FakeNode, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.gb10.cluster.plugins.module_utils.fabric import undo

    present(host, request_for(plan))
    monkeypatch.setattr(undo, "disarm", lambda host: node.time_is_up())
    with pytest.raises(FabricError, match="taken back before it was confirmed"):
        confirmed(host, request_for(plan))


def test_what_is_not_as_planned_is_not_confirmed_and_stays_armed(host: Host, node: FakeNode, plan: Plan) -> None:
    present(host, request_for(plan))
    node.change("enp1s0f0np0", mtu=1500)
    with pytest.raises(FabricError) as caught:
        confirmed(host, request_for(plan))
    assert caught.value.findings == [
        "enp1s0f0np0 (cage p0 half a) has MTU 1500, planned is 9000",
        "The change is not confirmed: gb10-fabric-revert.timer takes it back within 120 s",
    ]
    assert node.armed is not None


def test_confirming_in_check_mode_disarms_nothing(host: Host, node: FakeNode, plan: Plan) -> None:
    present(host, request_for(plan))
    assert confirmed(host, request_for(plan, check_mode=True)).changed
    assert node.armed is not None


# --- things go wrong ---


@pytest.mark.parametrize("command", ["networkctl", "nmcli"])
def test_a_failed_reload_is_put_back_at_once(host: Host, node: FakeNode, plan: Plan, command: str) -> None:
    node.fail(command)
    renderer = "networkd" if command == "networkctl" else "NetworkManager"
    with pytest.raises(FabricError, match="The previous fabric configuration was put back"):
        present(host, request_for(plan, renderer=renderer))
    assert node.read(OWN_NETPLAN) is None
    assert node.armed is None and node.files("/var") == []


def test_a_link_without_carrier_is_named_and_everything_is_put_back(host: Host, node: FakeNode, plan: Plan) -> None:
    node.unplug("enp1s0f1np1")
    with pytest.raises(FabricError) as caught:
        present(host, request_for(plan))
    assert caught.value.findings[0] == (
        "enp1s0f1np1 (cage p1 half a) has no carrier; is the cable plugged in at both ends?"
    )
    assert live(node) == UNTOUCHED and node.read(OWN_NETPLAN) is None


def test_what_netplan_does_not_accept_is_never_placed(host: Host, node: FakeNode, plan: Plan) -> None:
    node.write("/etc/netplan/50-broken.yaml", "network: [\n")
    with pytest.raises(FabricError, match="netplan does not accept the new configuration, nothing was changed"):
        present(host, request_for(plan))
    assert node.files("/etc") == ["netplan/50-broken.yaml"] and node.armed is None


def test_a_generator_that_fails_in_earnest_is_put_back(host: Host, node: FakeNode, plan: Plan) -> None:
    script = node.bin.parent / "once.sh"
    script.write_text('case "$*" in *--root-dir*) exit 0 ;; esac\necho "no space" >&2; exit 1\n')
    generator = node.root / "usr/libexec/netplan/generate"
    generator.parent.mkdir(parents=True)
    generator.write_text(f"#!/bin/sh\n. {script}\n")
    generator.chmod(0o755)
    with pytest.raises(FabricError, match="generate` failed: no space") as caught:
        present(host, request_for(plan))
    assert caught.value.findings[-1] == "The previous fabric configuration was put back"
    assert node.files("/etc") == [] and node.armed is None


def test_a_failed_arming_keeps_what_an_earlier_unconfirmed_change_remembers(
    host: Host, node: FakeNode, plan: Plan
) -> None:
    present(host, request_for(plan))
    node.fail("systemd-run")
    with pytest.raises(FabricError, match="could not be armed"):
        present(host, request_for(plan))
    assert node.files("/var/lib/gb10/fabric/pending") == ["restore.sh", "snapshot.json"]


def test_no_timer_no_change(host: Host, node: FakeNode, plan: Plan) -> None:
    node.fail("systemd-run", "Failed to start transient timer unit")
    with pytest.raises(FabricError, match="nothing was changed: Failed to start transient timer unit"):
        present(host, request_for(plan))
    assert node.files("/etc") == [] and node.files("/var") == [] and live(node) == UNTOUCHED


def test_a_full_disk_is_an_error_for_the_reader(
    host: Host, node: FakeNode, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = host.write

    def full(path: str, *rest: object) -> None:
        if path == OWN_NETPLAN:
            raise OSError(28, "No space left on device")
        write(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(host, "write", full)
    with pytest.raises(FabricError, match="No space left on device"):
        present(host, request_for(plan))
    assert node.armed is None and live(node) == UNTOUCHED


def test_unapplied_edits_of_others_would_change_with_us_and_are_refused(host: Host, node: FakeNode, plan: Plan) -> None:
    node.write(MANAGEMENT, MANAGEMENT_TEXT)
    host.run(["netplan", "generate"])
    node.write(MANAGEMENT, MANAGEMENT_TEXT.replace(".11", ".99"))
    with pytest.raises(FabricError, match=r"10-netplan-enP7s7\.network would change with it"):
        present(host, request_for(plan))
    assert node.files("/etc") == ["netplan/10-management.yaml"]
    node.write(MANAGEMENT, MANAGEMENT_TEXT)
    apply(host, plan)


def test_damaged_records_are_named(host: Host, node: FakeNode, plan: Plan) -> None:
    node.write("/var/lib/gb10/fabric/pending/snapshot.json", "{")
    with pytest.raises(FabricError, match=r"pending/snapshot\.json cannot be read"):
        present(host, request_for(plan))


# --- foreign files ---


def test_a_foreign_file_is_refused_by_name_and_nothing_changes(host: Host, node: FakeNode, plan: Plan) -> None:
    node.write(SYNC, SYNC_TEXT)
    for check_mode in (True, False):
        with pytest.raises(FabricError, match=r"40-cx7\.yaml configures enp1s0f0np0 too.*fabric_take_over"):
            present(host, request_for(plan, check_mode=check_mode))
    assert node.files("/etc") == ["netplan/40-cx7.yaml"] and node.armed is None


def test_a_foreign_file_is_taken_over_and_given_back(host: Host, node: FakeNode, plan: Plan) -> None:
    node.write(SYNC, SYNC_TEXT)
    node.change("enp1s0f0np0", addresses=["192.168.0.1/24"])
    apply(host, plan, take_over=True)
    assert live(node) == LIVE
    assert node.files("/etc/netplan") == ["40-cx7.yaml.gb10-taken-over", "60-gb10-fabric.yaml"]
    assert not present(host, request_for(plan)).changed

    assert absent(host, check_mode=False).changed
    assert node.files("/etc/netplan") == ["40-cx7.yaml"] and node.read(SYNC) == SYNC_TEXT
    assert live(node) == UNTOUCHED | {"enp1s0f0np0": (1500, ["192.168.0.1/24"])}


def test_a_revert_gives_back_what_was_taken_over(host: Host, node: FakeNode, plan: Plan) -> None:
    node.write(SYNC, SYNC_TEXT)
    present(host, request_for(plan, take_over=True))
    node.time_is_up()
    assert node.files("/etc/netplan") == ["40-cx7.yaml"] and node.read(SYNC) == SYNC_TEXT


def test_a_file_that_a_tool_writes_again_is_refused_again_and_the_first_one_is_remembered(
    host: Host, node: FakeNode, plan: Plan
) -> None:
    apply(host, plan)
    node.write(SYNC, SYNC_TEXT)
    with pytest.raises(FabricError, match="40-cx7"):
        present(host, request_for(plan))
    apply(host, plan, take_over=True)
    assert absent(host, check_mode=False).changed
    assert node.files("/etc/netplan") == ["40-cx7.yaml"]


# --- giving back ---


def test_absent_gives_the_node_back_as_it_was(host: Host, node: FakeNode, plan: Plan) -> None:
    node.change("enp1s0f0np0", mtu=4200, addresses=["198.51.100.7/24"])
    before = live(node)
    apply(host, plan)
    checked = absent(host, check_mode=True)
    assert checked.changed and live(node) == LIVE
    assert absent(host, check_mode=False) == checked
    assert live(node) == before
    assert node.files("/etc") == [] and node.files("/var") == []
    assert not absent(host, check_mode=False).changed


def test_absent_in_the_middle_of_an_unconfirmed_change(host: Host, node: FakeNode, plan: Plan) -> None:
    present(host, request_for(plan))
    assert absent(host, check_mode=False).changed
    assert live(node) == UNTOUCHED and node.armed is None and node.files("/var") == []


def test_absent_when_the_records_are_gone(host: Host, node: FakeNode, plan: Plan) -> None:
    apply(host, plan)
    for file in node.files("/var"):
        (node.root / "var" / file).unlink()
    assert absent(host, check_mode=False).changed
    assert node.read(OWN_NETPLAN) is None
    assert live(node) == UNTOUCHED


def test_absent_after_an_update_of_a_file_whose_records_are_gone(host: Host, node: FakeNode, plan: Plan) -> None:
    apply(host, plan)
    for file in node.files("/var"):
        (node.root / "var" / file).unlink()
    other = copy.deepcopy(plan)
    other["mtu"] = 8000
    apply(host, other)
    assert absent(host, check_mode=False).changed
    assert node.files("/etc") == [] and live(node) == UNTOUCHED


def test_absent_tells_when_a_file_stays(
    host: Host, node: FakeNode, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.gb10.cluster.plugins.module_utils.fabric import undo

    apply(host, plan)
    monkeypatch.setattr(undo, "restore_now", lambda host, folder: None)
    with pytest.raises(FabricError, match="not everything could be put back"):
        absent(host, check_mode=False)


def test_a_node_without_a_fabric_loses_its_file(host: Host, node: FakeNode, plan: Plan) -> None:
    apply(host, plan)
    alone = copy.deepcopy(plan)
    alone["nodes"]["spark1"]["halves"] = []
    apply(host, alone)
    assert node.read(OWN_NETPLAN) is None
    assert {addresses == [] for _, addresses in live(node).values()} == {True}
    assert not present(host, request_for(alone)).changed


def test_a_smaller_plan_lets_go_of_a_cage(host: Host, node: FakeNode, plan: Plan) -> None:
    apply(host, plan)
    direct = copy.deepcopy(plan)
    direct["nodes"]["spark1"]["halves"] = plan["nodes"]["spark1"]["halves"][:2]
    apply(host, direct)
    assert node.live("enp1s0f0np0") == (9000, ["10.210.0.1/24"])
    assert node.live("enp1s0f1np1")[1] == []


# --- renderers ---


def test_network_manager_does_not_push_an_mtu_so_it_is_set(host: Host, node: FakeNode, plan: Plan) -> None:
    node.write("/run/NetworkManager/.keep", "")
    (node.bin.parent / "nm-manages").touch()
    apply(host, plan)
    assert live(node) == LIVE
    assert "nmcli --wait 20 connection up netplan-enp1s0f0np0 ifname enp1s0f0np0" in node.calls
    assert "ip link set dev enp1s0f0np0 mtu 9000" in node.calls
    assert not [call for call in node.calls if call.startswith("networkctl")]
    assert "      renderer: NetworkManager\n" in (node.read(OWN_NETPLAN) or "")


def test_network_manager_that_leaves_the_fabric_alone_does_not_get_it(host: Host, node: FakeNode, plan: Plan) -> None:
    node.write("/run/NetworkManager/.keep", "")
    apply(host, plan)
    assert "      renderer: networkd\n" in (node.read(OWN_NETPLAN) or "")


def test_networkd_is_started_where_it_does_not_run(host: Host, node: FakeNode, plan: Plan) -> None:
    (node.bin.parent / "networkd-stopped").touch()
    apply(host, plan)
    assert "systemctl start systemd-networkd.service" in node.calls
    assert live(node) == LIVE


def test_the_generator_itself_is_called_where_it_does_all_the_work(host: Host, node: FakeNode, plan: Plan) -> None:
    generator = node.root / "usr/libexec/netplan/generate"
    generator.parent.mkdir(parents=True)
    generator.write_text((node.bin / "netplan").read_text().replace(' "$@"', ' generate "$@"'))
    generator.chmod(0o755)
    (node.bin / "netplan").write_text("#!/bin/sh\nexit 9\n")
    apply(host, plan)
    assert live(node) == LIVE
