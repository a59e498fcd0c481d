"""What role dgx_os derives from the facts of a node."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parents[3] / "roles/dgx_os"
PROBE_PACKAGES = [
    "ethtool",
    "ibverbs-utils",
    "iproute2",
    "iputils-ping",
    "lldpd",
    "netplan.io",
    "perftest",
    "rdma-core",
]


def derive(name: str, installed: list[str], **given: t.Any) -> t.Any:
    loader = DataLoader()
    variables = loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True)
    variables |= loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True)
    facts = {"os_id": given.pop("os_id", "ubuntu"), "hostname": given.pop("hostname", "spark-12ab")}
    if "time_sync" in given:
        facts["time_sync"] = given.pop("time_sync")
    facts |= {name: given.pop(name) for name in ("ota_torn_percent",) if name in given}
    facts["dgx_release"] = given.pop("dgx_release", {})
    facts["packages"] = dict.fromkeys(variables["__dgx_os_time_services"]) | dict.fromkeys(PROBE_PACKAGES)
    facts["packages"] |= dict.fromkeys(installed, "1.0")
    variables |= {"dgx_os_facts": facts, "inventory_hostname": "spark1"} | given
    return Templar(loader=loader, variables=variables).template(trust_as_template("{{ " + name + " }}"))


@pytest.mark.parametrize("os_id", ["ubuntu", "debian"])
def test_only_missing_packages_are_installed(os_id: str) -> None:
    complete = [*PROBE_PACKAGES, "systemd-timesyncd"]
    assert derive("__dgx_os_missing", complete, os_id=os_id) == []
    without = [name for name in complete if name not in ("perftest", "lldpd")]
    assert sorted(derive("__dgx_os_missing", without, os_id=os_id)) == ["lldpd", "perftest"]


def test_a_time_service_is_installed_only_when_there_is_none() -> None:
    assert derive("__dgx_os_missing", PROBE_PACKAGES) == ["systemd-timesyncd"]
    assert derive("__dgx_os_missing", [*PROBE_PACKAGES, "chrony"]) == []
    assert derive("__dgx_os_missing", PROBE_PACKAGES, dgx_os_time_sync=False) == []


@pytest.mark.parametrize(
    ("installed", "service"),
    [([], "systemd-timesyncd"), (["systemd-timesyncd"], "systemd-timesyncd"), (["chrony"], "chrony")],
)
def test_the_time_service_that_is_there(installed: list[str], service: str) -> None:
    assert derive("__dgx_os_time_service", installed) == service


def test_whether_time_is_kept() -> None:
    assert derive("__dgx_os_time_is_kept", [], time_sync="chrony") is True
    assert derive("__dgx_os_time_is_kept", [], time_sync=None) is False
    assert derive("__dgx_os_time_is_kept", []) is False


def test_all_names_are_asked_for() -> None:
    assert set(derive("__dgx_os_asked", [])) == {
        *(*PROBE_PACKAGES, "systemd-timesyncd", "chrony", "ntpsec"),
        *("earlyoom", "nftables"),
    }


def test_what_a_choice_needs_is_installed_with_it() -> None:
    complete = [*PROBE_PACKAGES, "systemd-timesyncd"]
    assert derive("__dgx_os_missing", complete, dgx_os_oom="earlyoom") == ["earlyoom"]
    assert derive("__dgx_os_missing", complete, dgx_os_firewall="closed") == ["nftables"]
    assert derive("__dgx_os_missing", [*complete, "earlyoom"], dgx_os_oom="earlyoom") == []


@pytest.mark.parametrize(
    ("release", "level"),
    [
        ({"DGX_SWBUILD_VERSION": "7.2.3", "DGX_OTA_VERSION": "7.5.0"}, "7.5.0"),
        ({"DGX_SWBUILD_VERSION": "7.2.3"}, "7.2.3"),
        ({}, ""),
    ],
    ids=["updated", "factory", "no DGX OS"],
)
def test_the_level_is_that_of_the_last_update(release: dict[str, str], level: str) -> None:
    assert derive("__dgx_os_level", [], dgx_release=release) == level


@pytest.mark.parametrize("given", [{"dgx_os_state": "absent"}, {"dgx_os_host_names": False}], ids=["absent", "off"])
def test_names_that_are_not_wanted_leave_no_block(given: dict[str, t.Any]) -> None:
    assert derive("__dgx_os_hosts_block", [], **given) == ""
    assert derive("__dgx_os_hosts_disable", [], **given) == []


HOSTS_LINES = [
    # epappas roles/base: DGX OS maps the host name to loopback; the others are synthetic
    ("127.0.1.1 spark-12ab", True),
    ("127.0.1.1\tspark-12ab.local\tspark-12ab", True),
    ("127.0.0.1 localhost spark-12ab", True),
    ("127.0.1.1 spark1", True),
    ("127.0.0.1 localhost", False),
    ("127.0.1.1 spark-12abc", False),
    ("127.0.1.1 other-spark1", False),
    ("192.0.2.11 spark1", False),
    ("# 127.0.1.1 spark1", False),
]


@pytest.mark.parametrize(("line", "disabled"), HOSTS_LINES)
def test_loopback_lines_with_the_nodes_name(line: str, disabled: bool) -> None:
    (pattern,) = derive("__dgx_os_hosts_disable", [])
    assert bool(re.search(pattern, line + "\n")) is disabled


@pytest.mark.parametrize(
    ("given", "torn", "said"),
    [
        ({}, 0, ""),
        ({"ota_torn_percent": 0}, 0, ""),
        ({"ota_torn_percent": 12}, 12, "(12 % of its last update are missing)"),
        ({"ota_torn_percent": None}, None, "(how much of its last update is missing is not known)"),
    ],
    ids=["no tool", "complete", "torn", "the tool gave no answer"],
)
def test_only_a_score_of_zero_is_a_complete_update(given: dict[str, int | None], torn: int | None, said: str) -> None:
    assert derive("__dgx_os_torn", [], **given) == torn
    assert derive("__dgx_os_torn_said", [], **given) == said
