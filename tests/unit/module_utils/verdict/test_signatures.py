"""Known causes of a slow path: the numbers of the profile, the words and remedies of the table."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.checks import CHECKS
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.judge import evaluate, judge
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.limits import Bands, ProfileError, parse_limit
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.profiles import parsed_limits
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.records import is_root
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.signatures import SIGNATURES, classify
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import views
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import (
    LAB,
    direction_of,
    half_of,
    set_bandwidth,
    set_both_halves,
)


def gb10_bands(check: str) -> Bands:
    limits = parsed_limits(builders.healthy_reading(builders.plan()).profile)[check]
    return limits.get(Bands, "signatures")


@pytest.mark.parametrize(
    ("gbps", "normal_latency", "topology", "name"),
    [
        (0.5, None, "triangle", "broken-path"),
        (4.85, True, "switch", "switch-cpu-path"),  # a second bridge (health-checks 5.2)
        (4.85, True, "triangle", None),
        (13.3, True, "triangle", "cx7-init-clamp"),  # capetron
        (25.0, True, "direct", "cx7-init-clamp"),
        (13.3, False, "triangle", None),  # both bad is the path
        (13.3, None, "triangle", None),
        (52.0, True, "triangle", None),  # two PCIe lanes: N03
        (96.0, True, "triangle", None),  # packets of 1500 bytes: P01
        (111.8, True, "triangle", None),
    ],
)
def test_one_half(gbps: float, normal_latency: bool | None, topology: t.Any, name: str | None) -> None:
    found = classify(gb10_bands("P02"), gbps, normal_latency, topology)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_signature_says_what_to_do(name: str) -> None:
    signature = SIGNATURES[name]
    remedies = signature.for_nodes("spark1 and spark2")
    assert remedies
    assert any("spark1 and spark2" in remedy for remedy in remedies)
    assert not any("{" in remedy for remedy in remedies)


def outcome_of(gbps: float, typical_us: float, profile: str = builders.GB10) -> t.Any:
    reading = builders.healthy_reading(builders.plan(), profile)
    path = reading.plan["paths"][0]["id"]
    set_bandwidth(reading, path, gbps)
    latency = direction_of(reading, path, "spark1")["latency"]
    assert latency is not None
    latency["typical_us"] = typical_us
    view = next(view for view in views("direction", reading) if view.subject["path"] == path)
    return evaluate(CHECKS["P02"], view, parsed_limits(reading.profile)["P02"])


def test_a_throttled_nic_is_named_with_its_remedies() -> None:
    outcome = outcome_of(13.3, 1.7)
    assert (outcome.name, outcome.signature) == ("fail", "cx7-init-clamp")
    assert outcome.message.endswith(": a throttled NIC")
    assert outcome.remedy[0] == "reboot spark1 and spark2 with the cable attached"


def test_the_same_number_with_bad_latency_is_not() -> None:
    outcome = outcome_of(13.3, 40.0)
    assert (outcome.name, outcome.signature) == ("fail", None)


def test_a_pass_has_no_signature() -> None:
    assert outcome_of(96.0, 1.6).signature is None


def test_a_profile_without_bands_names_none() -> None:
    outcome = outcome_of(0.0001, 1.6, LAB)
    assert (outcome.name, outcome.signature) == ("fail", None)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"bands": {}}, "must map"),
        ({"bands": [1, 2]}, "must map"),
        ({"bands": {"gremlins": [1, 2]}}, "no signature gremlins"),
        ({"bands": {"one-half": [45]}}, "must be"),
        ({"bands": {"one-half": 45}}, "must be"),
        ({"bands": {"one-half": [60, 45]}}, "60 is above 45"),
        ({"bands": {"one-half": ["a", 45]}}, "lowest must be a number"),
        ({"bands": {"one-half": [45, 60]}, "max": 3}, "unknown key max"),
    ],
)
def test_bands_that_mean_nothing_are_refused(raw: dict[str, t.Any], says: str) -> None:
    with pytest.raises(ProfileError, match=says):
        parse_limit(Bands, raw | {"source": "here"}, "P02.signatures")


def test_bands_overlap_in_the_order_of_the_profile() -> None:
    bands = Bands({"one-half": (40, 60), "cx7-init-clamp": (8, 50)})
    assert bands.around(45) == ["one-half", "cx7-init-clamp"]
    assert dataclasses.replace(bands, bands={}).around(45) == []


@pytest.mark.parametrize(
    ("found", "signature"), [({"current_width": 2}, "pcie-lanes"), ({"current_speed_gts": 2.5}, "pcie-speed")]
)
def test_a_narrow_pcie_link_is_the_finding_and_not_the_bandwidth_it_leaves(found: t.Any, signature: str) -> None:
    reading = builders.healthy_reading(builders.plan())
    t.cast("t.Any", half_of(reading, "spark1", "p0", "a")["pcie"]).update(found)
    path = reading.plan["paths"][0]["id"]
    set_bandwidth(reading, path, 52.0)
    records = judge(reading, "run")
    roots = [record for record in records if is_root(record)]
    assert [(record["check"], record["signature"]) for record in roots] == [("N03", signature)]


# --- the causes that issue and catalogue name, each as it shows ---

FIRST = "spark1:p0:a-spark2:p1:a"


def slow(gbps: float) -> t.Callable[[t.Any], None]:
    return lambda reading: set_bandwidth(reading, FIRST, gbps)


def over_second_bridge(reading: t.Any) -> None:
    for path in reading.plan["paths"]:
        set_bandwidth(reading, path["id"], 4.85)


def pcie(**found: t.Any) -> t.Callable[[t.Any], None]:
    return lambda reading: t.cast("t.Any", half_of(reading, "spark1", "p0", "a")["pcie"]).update(found)


def from_another_address(reading: t.Any) -> None:
    for run in direction_of(reading, FIRST, "spark1")["bandwidth"]:
        run["local_ipv4"] = "10.210.1.1"


def over_another_port(reading: t.Any) -> None:
    direction = direction_of(reading, FIRST, "spark1")
    direction["tx_bytes"]["roceP2p1s0f0"] = sum(direction["tx_bytes"].values())


def over_tcp(reading: t.Any) -> None:
    reading.nccl["spark2"]["log"].update(networks=["Socket"], transports={"NET/Socket": 8})


@pytest.mark.parametrize(
    ("topology", "spoil", "check", "signature", "first_remedy"),
    [
        pytest.param("triangle", slow(13.3), "P02", "cx7-init-clamp", "reboot spark1 and spark2 with", id="clamp"),
        pytest.param(
            "triangle",
            lambda r: set_both_halves(r, "spark1", "spark2", 6.7, 6.7),
            "P03",
            "cx7-init-clamp",
            "reboot spark1 and spark2 with",
            id="clamp on both halves",
        ),
        pytest.param("triangle", pcie(current_width=2), "N03", "pcie-lanes", "update the BIOS of spark1", id="x2"),
        pytest.param(
            "triangle", pcie(current_speed_gts=2.5), "N03", "pcie-speed", "power spark1 off, unplug it", id="2.5 GT/s"
        ),
        pytest.param(
            "triangle",
            lambda r: set_both_halves(r, "spark1", "spark2", 55.0, 55.0),
            "P03",
            "one-half",
            "compare the PCIe links (N03) of spark1 and spark2",
            id="one half",
        ),
        pytest.param(
            "triangle", from_another_address, "P01", "wrong-hca", "compare the RDMA device names", id="wrong HCA by GID"
        ),
        pytest.param(
            "triangle", over_another_port, "P05", "wrong-hca", "compare the RDMA device names", id="wrong HCA by bytes"
        ),
        pytest.param(
            "switch", over_second_bridge, "P02", "switch-cpu-path", "see that all fabric ports are in", id="switch CPU"
        ),
        pytest.param(
            "triangle",
            lambda r: r.facts["spark1"]["memory_kib"].update(CmaTotal=0, CmaFree=300),
            "N05",
            "kho-cma",
            "boot spark1 with kho=off",
            id="KHO/CMA",
        ),
        pytest.param("triangle", over_tcp, "C02", "tcp", "see that what serves on spark2 has /dev/inf", id="TCP"),
        pytest.param("triangle", slow(0.5), "P02", "broken-path", "reseat the plugs between spark1", id="broken"),
    ],
)
def test_each_known_cause_is_named_with_its_remedies_in_order(
    topology: str, spoil: t.Callable[[t.Any], None], check: str, signature: str, first_remedy: str
) -> None:
    reading = builders.healthy_reading(builders.plan(topology))
    spoil(reading)
    found = [record for record in judge(reading, "run") if record["check"] == check and is_root(record)]
    assert found
    assert {record["signature"] for record in found} == {signature}
    assert found[0]["remedy"][0].startswith(first_remedy)


def test_a_gid_without_an_address_is_no_other_device() -> None:
    reading = builders.healthy_reading(builders.plan())
    for run in direction_of(reading, FIRST, "spark1")["bandwidth"]:
        run["local_ipv4"] = None
    (found,) = [record for record in judge(reading, "run") if record["check"] == "P01" and is_root(record)]
    assert (found["outcome"], found["signature"]) == ("fail", None)
