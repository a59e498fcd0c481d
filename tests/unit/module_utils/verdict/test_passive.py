"""What can be said before anything is installed, as the operator reads it."""

from __future__ import annotations

import textwrap
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.passive import Preview, preview
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.passive_screen import preview_message, preview_screen
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import GB10, LAB, half_of

TOPOLOGIES = [("single", 1), ("direct", 2), ("triangle", 3), ("switch", 2), ("switch", 3), ("switch", 4)]
MISSING = ["lldpd", "perftest"]


def installed(topology: str = "triangle", nodes: int | None = None, profile: str = GB10, **changes: t.Any) -> Reading:
    plan = builders.plan(topology, nodes)
    return builders.healthy_reading(plan, profile, **{"measurements": {}, "nccl": None, "check_mode": True} | changes)


def pristine(topology: str = "triangle", nodes: int | None = None, profile: str = GB10) -> Reading:
    """As a Spark comes out of its box: links down, no addresses, tools missing, TCP forced in nccl.conf."""
    reading = installed(topology, nodes, profile)
    for facts in reading.facts.values():
        facts.update(netplan_files=[], memlock_kib=8192, lldp=None)
        facts["nccl_files"] = [{"path": "/etc/nccl.conf", "settings": {"NCCL_IB_DISABLE": "1"}}]
        facts["dgx_release"] |= {"DGX_SWBUILD_VERSION": "7.2.3"}
        facts["tools"] |= {"ib_write_bw": None, "ibv_devinfo": None, "lldpctl": None}
        for half in facts["halves"]:
            facts["addresses"].pop(half["netdev"], None)
            half.update(ipv4=[], mtu=1500, carrier=None, operstate="down")
            assert half["rdma"] is not None
            half["rdma"].update(active_mtu=None, gids=[])
    for discovery in reading.discoveries.values():
        discovery["down"] += [neighbour["netdev"] for neighbour in discovery["neighbours"]]
        discovery["neighbours"] = []
    return reading


def look(reading: Reading, packages: t.Sequence[str] = (), take_over: bool = False, **missing: t.Any) -> Preview:
    return preview(reading, dict.fromkeys(reading.facts, packages) | missing, take_over)


def screen(reading: Reading, found: Preview, width: int = 100) -> str:
    return "\n".join(line.text for line in preview_screen(reading, found, width))


# --- the whole ---


def test_a_pristine_triangle() -> None:
    reading = pristine()
    found = look(reading, MISSING)
    assert screen(reading, found) == textwrap.dedent("""
        planned    triangle of 3 · MTU 9000 · 3 cables                profile gb10-mtu9000-q4-64k

          node    GPU   system        kernel              driver     firmware    memory
          spark1  GB10  DGX OS 7.2.3  6.17.0-1029-nvidia  580.95.05  28.45.4028  121.7 GiB
          spark2  GB10  DGX OS 7.2.3  6.17.0-1029-nvidia  580.95.05  28.45.4028  121.7 GiB
          spark3  GB10  DGX OS 7.2.3  6.17.0-1029-nvidia  580.95.05  28.45.4028  121.7 GiB

          spark1 p0 - p1 spark2   not heard: no carrier
          spark2 p0 - p1 spark3   not heard: no carrier
          spark3 p0 - p1 spark1   not heard: no carrier
          a link that is down cannot be heard; site.yml sets it up and proves the cabling before it writes
          a file

          not known   L04 of spark1, spark2, spark3, before the missing packages are there
          would do    role dgx_os installs lldpd, perftest on spark1, spark2, spark3
                      role dgx_os sets memlock to unlimited on spark1, spark2, spark3; log in again
                      role nccl_env takes NCCL_IB_DISABLE out of the file on spark1, spark2, spark3
                      role fabric writes the planned addresses of spark1, spark2, spark3
                      role fabric writes the netplan file of spark1, spark2, spark3

        READY  nothing is in the way; nothing was changed
          next        ansible-playbook site.yml --check --diff   shows every line that would change
                      ansible-playbook site.yml
        """).strip("\n")
    assert preview_message(found) == "nothing is in the way of an installation"


@pytest.mark.parametrize("profile", [GB10, LAB])
@pytest.mark.parametrize(("topology", "nodes"), TOPOLOGIES)
@pytest.mark.parametrize("state", [pristine, installed])
def test_nothing_is_in_the_way_of_what_is_right_or_not_heard(
    state: t.Callable[..., Reading], topology: str, nodes: int, profile: str
) -> None:
    reading = state(topology, nodes, profile)
    found = look(reading, MISSING)
    assert (found.in_the_way, found.look_at) == ((), ())
    assert "READY" in screen(reading, found)


def test_an_installed_cluster_has_nothing_to_do() -> None:
    reading = installed()
    found = look(reading)
    assert found == Preview((), (), (), ())
    assert screen(reading, found).count("as planned") == 3
    assert "would do    nothing that can be seen from here" in screen(reading, found)


def test_nobody_answers() -> None:
    reading = installed(facts={}, discoveries={})
    found = look(reading)
    assert [note.text for note in found.in_the_way] == ["N00 spark1: did not answer (and 2 more)"]
    assert screen(reading, found).count("not heard: nobody listened") == 3
    assert "STOP  1 thing is in the way; nothing was changed" in screen(reading, found)


def test_a_plan_or_profile_that_cannot_be_judged_is_refused() -> None:
    reading = installed()
    reading.plan["paths"].clear()
    with pytest.raises(ValueError, match="no path between spark1 and spark2"):
        look(reading)


# --- in the way ---


def spoiled(spoil: t.Callable[[Reading], t.Any], reading: Reading | None = None, **options: t.Any) -> list[str]:
    reading = reading or pristine()
    spoil(reading)
    found = look(reading, MISSING, **options)
    assert ("STOP" in screen(reading, found)) == bool(found.in_the_way)
    return [f"{note.text}: {note.action}" if note.action else note.text for note in found.in_the_way]


def foreign(path: str) -> t.Callable[[Reading], t.Any]:
    file = {"path": path, "interfaces": ["enp1s0f0np0", "eth0"], "owned": False, "sha256": ""}
    return lambda r: r.facts["spark1"].update(netplan_files=[file], hazards=[])


SYNC = "/etc/netplan/40-cx7.yaml"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(
            lambda r: r.facts["spark2"].update(gpus=[{"name": "RTX 4090", "compute_cap": "8.9", "driver": "1"}]),
            "N01 spark2: found RTX 4090 8.9",
            id="not a GB10",
        ),
        pytest.param(
            lambda r: r.facts["spark2"].update(gpus=None),
            "N01 spark2: gpus.name is not known: see that this node is a Spark",
            id="nvidia-smi does not answer, so role dgx_os refuses it",
        ),
        pytest.param(
            lambda r: r.facts["spark3"]["halves"].clear(), "N02 spark3: 0 of 4 NIC functions found", id="no NIC"
        ),
        pytest.param(
            lambda r: r.facts["spark1"].update(addresses={"docker0": ["10.210.0.1/16"]}),
            "docker0 of spark1 has 10.210.0.1/16, and 10.210.0.0/24 is planned",
            id="a planned subnet in use",
        ),
        pytest.param(
            lambda r: r.facts["spark1"].update(addresses={"enp1s0f0np0": ["192.0.2.11/24"]}),
            "spark1 is managed at 192.0.2.11 over enp1s0f0np0: manage spark1 over its RJ45 port",
            id="managed over the fabric",
        ),
        pytest.param(
            foreign(SYNC),
            f"{SYNC} on spark1 configures enp1s0f0np0 too: remove {SYNC} on spark1, or set fabric_take_over",
            id="a file of NVIDIA Sync",
        ),
        pytest.param(
            foreign("/run/netplan/x.yaml"), "/run/netplan/x.yaml on spark1 configures enp1s0f0np0 too", id="generated"
        ),
    ],
)
def test_what_is_in_the_way(spoil: t.Callable[[Reading], t.Any], says: str) -> None:
    found = spoiled(spoil)
    assert found
    assert found[0].startswith(says)


def test_a_system_that_nobody_knows() -> None:
    reading = pristine()
    reading.facts["spark1"]["os_id"] = "fedora"
    found = preview(reading, {"spark2": [], "spark3": []}, take_over=False)
    assert found.in_the_way[0].text == "spark1 runs fedora, which role dgx_os does not know (DGX OS is Ubuntu)"


def test_files_of_others_are_moved_aside_when_the_operator_says_so() -> None:
    assert spoiled(foreign(SYNC), take_over=True) == []
    assert spoiled(foreign("/run/netplan/x.yaml"), take_over=True)
    reading = pristine()
    foreign(SYNC)(reading)
    assert f"role fabric moves {SYNC} aside on spark1" in look(reading, take_over=True).would_do


def test_ipv6_elsewhere_is_not_in_the_way() -> None:
    assert spoiled(lambda r: r.facts["spark1"].update(addresses={"docker0": ["fd00::1/64"]})) == []


# --- cables ---

SWAPPED = [
    (("spark1", "p0"), ("spark2", "p0")),
    (("spark2", "p1"), ("spark3", "p1")),
    (("spark3", "p0"), ("spark1", "p1")),
]


def test_a_plug_in_the_wrong_cage_is_certain() -> None:
    reading = installed(discoveries=builders.cabled(builders.plan(), SWAPPED))
    found = look(reading)
    assert [note.text for note in found.in_the_way] == [
        "spark2: swap the plugs of p0 and p1 (found p0 - p0 with spark1; a triangle joins p0 to p1 on every cable)"
    ]
    assert "spark1 p0 goes to spark2 p0, spark2 p1 goes to spark3 p1" in screen(reading, found)


def test_a_wrong_plug_beside_cables_that_cannot_be_heard() -> None:
    """The cable that nobody heard may well be there: only the wrong one is named."""
    reading = installed(discoveries=builders.cabled(builders.plan(), SWAPPED[:1]))
    found = look(reading)
    assert [note.text.partition(" (")[0] for note in found.in_the_way] == ["spark2: move the plug from p0 to p1"]
    assert screen(reading, found).count("not heard: no carrier") == 1


def test_one_end_that_hears_the_other_is_enough() -> None:
    reading = installed("direct")
    reading.discoveries["spark2"].update(neighbours=[], silent=["enp1s0f1np1"])
    found = look(reading)
    assert found.in_the_way == ()
    assert "spark1 p0 - p1 spark2   as planned" in screen(reading, found)


def test_a_carrier_without_a_word() -> None:
    reading = installed("direct")
    for node, cage in (("spark1", "enp1s0f0np0"), ("spark2", "enp1s0f1np1")):
        reading.discoveries[node].update(neighbours=[], silent=[cage], down=[])
    found = look(reading)
    assert found.in_the_way == ()
    assert "not heard: a carrier, but nobody spoke" in screen(reading, found)
    assert "a link that is down" not in screen(reading, found)


def test_behind_a_switch_a_node_that_is_off_is_no_wrong_plug_of_the_others() -> None:
    reading = installed("switch", 3)
    del reading.facts["spark3"], reading.discoveries["spark3"]
    for discovery in reading.discoveries.values():
        discovery["neighbours"] = [entry for entry in discovery["neighbours"] if entry["peer_node"] != "spark3"]
    found = look(reading)
    assert [note.text for note in found.in_the_way] == ["N00 spark3: did not answer"]
    assert "spark1 p0 - qsfp56-1-1 crs812      hears spark2 p0, not spark3 p0" in screen(reading, found)


def test_behind_a_switch_a_plug_in_the_other_cage() -> None:
    reading = installed("switch", 2)
    neighbours = reading.discoveries["spark1"]["neighbours"]
    reading.discoveries["spark1"].update(
        neighbours=[entry | {"netdev": "enp1s0f1np1", "cage": "p1"} for entry in neighbours], down=["enp1s0f0np0"]
    )
    assert [note.text.partition(" (")[0] for note in look(reading).in_the_way] == [
        "spark1: move the plug from p1 to p0"
    ]


@pytest.mark.parametrize(
    ("peer", "says"),
    [
        pytest.param(("crs812", "qsfp56-1-1"), "LLDP says spark1 p0 - qsfp56-1-1 crs812", id="a switch, by port name"),
        pytest.param(("spark2", "4c:bb:47:2d:1a:16"), "LLDP says spark1 p0 - p0 spark2", id="a node, by its address"),
        pytest.param(("spark2", "enp1s0f1np1"), "LLDP says spark1 p0 - p1 spark2", id="a node, by interface"),
    ],
)
def test_lldp_helps_where_nothing_was_heard(peer: tuple[str, str], says: str) -> None:
    reading = pristine("direct")
    reading.facts["spark1"]["lldp"] = [
        {"netdev": netdev, "chassis": peer[0], "port": peer[1]} for netdev in ("enp1s0f0np0", "enP7s7")
    ]
    assert screen(reading, look(reading)).count(says) == 1


# --- look at, not known, would do ---


def test_what_deserves_a_look_comes_with_its_remedy_the_worst_first() -> None:
    reading = pristine()
    reading.facts["spark1"].update(reboot_required=True)
    t.cast("t.Any", half_of(reading, "spark2", "p0", "b"))["pcie"].update(current_width=2)
    found = look(reading, MISSING)
    assert [note.text.partition(":")[0] for note in found.look_at] == ["N03 spark2", "N13 spark1"]
    assert [note.action for note in found.look_at] == [
        "update the BIOS of spark2 with fwupd",
        "reboot spark1, then measure again",
    ]
    assert found.in_the_way == ()


def test_the_same_of_several_nodes_is_one_line() -> None:
    reading = pristine()
    for facts in reading.facts.values():
        facts["reboot_required"] = True
    assert [note.text for note in look(reading).look_at] == ["N13 spark1: a reboot is pending (and 2 more)"]


def test_what_is_not_known_without_a_missing_package_says_why() -> None:
    reading = installed()
    reading.facts["spark3"]["kernel_log"] = None
    assert look(reading).not_known == ("N11 spark3: kernel_log is not known",)
    assert look(reading, MISSING).not_known == ("N11 of spark3, before the missing packages are there",)


def test_packages_by_the_nodes_that_lack_them() -> None:
    found = preview(installed(), {"spark1": ["perftest"], "spark2": [], "spark3": ["perftest"]}, take_over=False)
    assert found.would_do == ("role dgx_os installs perftest on spark1, spark3",)


def test_many_things_are_cut_short() -> None:
    reading = pristine()
    addresses = {f"veth{number}": [f"10.210.{number}.9/24"] for number in range(4)}
    for facts in reading.facts.values():
        facts["addresses"] = dict(addresses)
    found = look(reading)
    assert len(found.in_the_way) > 6
    assert f"and {len(found.in_the_way) - 6} more" in screen(reading, found)
    assert preview_message(found).endswith(f"and {len(found.in_the_way) - 1} more")


def test_a_narrow_terminal_loses_columns_and_no_line_is_too_long() -> None:
    reading = pristine()
    for width, lost in ((79, ["firmware"]), (66, ["firmware", "kernel"]), (45, ["firmware", "kernel", "driver"])):
        shown = screen(reading, look(reading, MISSING), width)
        titles = shown.splitlines()[2]
        assert [title for title in ("firmware", "kernel", "driver") if title not in titles] == lost
        assert max(map(len, shown.splitlines())) <= max(width, 60)
    assert "7.2.3" in shown


def test_a_system_by_what_it_says_of_itself() -> None:
    reading = pristine("single")
    facts = reading.facts["spark1"]
    facts["dgx_release"]["DGX_OTA_VERSION"] = "7.5.0"
    assert "DGX OS 7.5.0" in screen(reading, look(reading))
    facts.update(dgx_release={}, fastos_version="7.4.0")
    assert "DGX OS 7.4.0" in screen(reading, look(reading))
    facts.update(fastos_version=None, gpus=None, memory_kib={})
    assert "spark1  -    ubuntu 24.04  6.17.0-1029-nvidia  -       28.45.4028  -" in screen(reading, look(reading))
