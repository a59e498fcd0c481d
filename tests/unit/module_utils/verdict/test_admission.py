"""From a verdict to a token for each node, and when one that is there can stay."""

from __future__ import annotations

import typing as t
from datetime import timedelta

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import (
    digest,
    grants,
    issue,
    revocation,
    seal,
    still_good,
    still_revoked,
    with_days,
)
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import LAB, half_of, set_bandwidth
from ansible_collections.gb10.cluster.tests.unit.spark_tree import NOW, grant


def granted(reading, **waivers):
    return grants(decide(reading, "run", **waivers), reading, 7)


def test_every_node_of_an_admitted_plan_gets_one():
    found = granted(builders.healthy_reading(builders.plan()))
    assert list(found) == ["spark1", "spark2", "spark3"]
    one = found["spark2"]
    assert (one["node"], one["pool"], one["run_id"]) == ("spark2", ["spark1", "spark2", "spark3"], "run")
    assert (one["lifetime_s"], one["not_after"]) == (604800, None)


def test_it_is_bound_to_what_was_measured():
    reading = builders.healthy_reading(builders.plan())
    bound = granted(reading)["spark1"]["bound"]
    assert bound == {
        "boot_id": "boot-of-spark1",
        "kernel": "6.17.0-1029-nvidia",
        "firmware": dict.fromkeys(["rocep1s0f0", "roceP2p1s0f0", "rocep1s0f1", "roceP2p1s0f1"], "28.45.4028"),
        "gpu_driver": "580.95.05",
        "nccl_build_id": "a7f420a1c09e4f3d",
        "netdevs": [half["netdev"] for half in reading.plan["nodes"]["spark1"]["halves"]],
        "netplan": {"/etc/netplan/60-gb10-fabric.yaml": "0" * 64},
        "cabling": {
            "p0:a": "spark2:p1:a",
            "p0:b": "spark2:p1:b",
            "p1:a": "spark3:p0:a",
            "p1:b": "spark3:p0:b",
        },
        "plan_sha256": digest(reading.plan),
        "profile": {"name": builders.GB10, "sha256": digest(reading.profile)},
    }


def test_behind_a_switch_it_is_bound_to_the_port():
    bound = granted(builders.healthy_reading(builders.plan("switch")))["spark1"]["bound"]
    assert set(bound["cabling"]) == {"p0:a", "p0:b"}
    assert all(port.startswith("switch port qsfp56") for port in bound["cabling"].values())


def test_what_a_node_does_not_have_is_not_bound():
    reading = builders.healthy_reading(builders.plan(), LAB)
    half_of(reading, "spark1", "p0", "a")["rdma"]["fw_ver"] = "0.0.0"
    del reading.facts["spark1"]["gpu_module"]
    bound = granted(reading)["spark1"]["bound"]
    assert (bound["firmware"], bound["gpu_driver"], bound["nccl_build_id"]) == ({}, None, None)


def test_a_netplan_file_of_others_is_not_bound():
    reading = builders.healthy_reading(builders.plan())
    other = {"path": "/etc/netplan/10-wifi.yaml", "interfaces": [], "owned": False, "sha256": "2" * 64}
    reading.facts["spark1"]["netplan_files"].append(t.cast("t.Any", other))
    assert list(granted(reading)["spark1"]["bound"]["netplan"]) == ["/etc/netplan/60-gb10-fabric.yaml"]


def test_a_refused_plan_gets_none_even_where_fewer_could_serve():
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3)
    evidence = decide(reading, "run")
    assert ["spark2", "spark3"] in evidence["verdict"]["valid_pools"]
    assert grants(evidence, reading, 7) == {}
    assert with_days(evidence["verdict"], 7) == evidence["verdict"]


def test_it_ends_with_the_waiver_it_stands_on():
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 90.0, "spark1")
    waiver = {"check": "P02", "subject": "spark1:p0:a>spark2:p1:a", "reason": "known", "expires": "2026-11-25"}
    one = granted(reading, waivers=[waiver], now=NOW)["spark3"]
    assert one["not_after"] == "2026-11-26T00:00:00Z"
    assert issue(one, NOW)["expires"] == "2026-11-26T00:00:00Z"


# --- the token ---


def test_the_node_stamps_and_seals_it():
    token = issue(grant(), NOW)
    assert (token["issued"], token["expires"]) == ("2026-11-24T12:00:00Z", "2026-12-01T12:00:00Z")
    assert token["seal"] == seal(token)
    assert len(token["seal"]) == 64


@pytest.mark.parametrize("key", ["node", "pool", "run_id", "issued", "expires", "bound"])
def test_the_seal_is_over_everything(key):
    token: dict[str, t.Any] = dict(issue(grant(), NOW))
    assert seal({**token, key: "other"}) != token["seal"]


def later(**delta: float):
    return NOW + timedelta(**delta)


def wanted(now):
    return issue(grant(), now)


def test_one_that_holds_stays_until_half_of_its_time_is_over():
    found = issue(grant(run_id="an earlier run"), NOW)
    assert still_good(found, wanted(later(minutes=5)), later(minutes=5))
    assert still_good(found, wanted(later(days=3, hours=11)), later(days=3, hours=11))
    assert not still_good(found, wanted(later(days=3, hours=13)), later(days=3, hours=13))


def with_bound(**changes):
    return grant(bound={**grant()["bound"], **changes})


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(grant(node="spark2"), id="node"),
        pytest.param(grant(pool=["spark1"]), id="pool"),
        pytest.param(with_bound(boot_id="x"), id="boot"),
        pytest.param(with_bound(nccl_build_id=None), id="nccl"),
        pytest.param(with_bound(plan_sha256="f" * 64), id="plan"),
        pytest.param(with_bound(profile={"name": "x", "sha256": "1" * 64}), id="profile"),
        pytest.param(grant(lifetime_s=30 * 86400), id="longer than is given now"),
        pytest.param(grant(lifetime_s=86400), id="less than half of what is given now"),
    ],
)
def test_one_that_says_something_else_does_not_stay(other):
    assert not still_good(issue(other, NOW), wanted(later(hours=1)), later(hours=1))


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        {},
        {"seal": "x"},
        revocation("spark1", "run", ["N07 spark1"], NOW),
        {**issue(grant(), NOW), "expires": "2036-01-01T00:00:00Z"},
        issue(grant(), NOW + timedelta(days=1)),
    ],
    ids=["nothing", "list", "empty", "no token", "revocation", "edited", "of the future"],
)
def test_what_is_no_good_token_does_not_stay(found):
    assert not still_good(found, wanted(NOW), NOW)


@pytest.mark.parametrize("change", [{"issued": None}, {"issued": "x"}, {"issued": "2026-11-24"}], ids=repr)
def test_a_sealed_token_without_a_time_does_not_stay(change):
    found = {**issue(grant(), NOW), **change}
    assert not still_good({**found, "seal": seal(found)}, wanted(NOW), NOW)


def test_a_refusal_for_the_same_reasons_stays_that_of_the_first_run():
    first = revocation("spark1", "run1", ["N07 spark1"], NOW)
    assert still_revoked(first, revocation("spark1", "run2", ["N07 spark1"], later(days=1)))
    assert not still_revoked(first, revocation("spark1", "run2", ["N08 spark1"], NOW))
    assert not still_revoked(issue(grant(), NOW), first)
    assert not still_revoked(None, first)


def test_the_reasons_that_name_the_node_come_first():
    reasons = ["N07 spark1", "P02 spark10:p0:a>spark2:p1:a", "P02 spark2:p1:a>spark10:p0:a", "N08 spark2"]
    assert revocation("spark10", "run", reasons, NOW)["reasons"] == [*reasons[1:3], "N07 spark1", "N08 spark2"]
