"""Who the nodes were, and that a node that sends nonsense is only not known."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.canonical import digest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.identity import identities
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import LAB, half_of

UNKNOWN = {
    "boot_id": None,
    "kernel": None,
    "os_version": None,
    "firmware": None,
    "gpu_driver": None,
    "nccl_version": None,
    "nccl_build_id": None,
    "image_id": None,
    "cabling": {"p0": [], "p1": []},
    "tools": {},
}


def test_a_node_that_said_everything():
    assert identities(builders.healthy_reading(builders.plan()))["spark2"] == {
        "boot_id": "boot-of-spark2",
        "kernel": "6.17.0-1029-nvidia",
        "os_version": "24.04",
        "firmware": "28.45.4028",
        "gpu_driver": "580.95.05",
        "nccl_version": "2.30.7",
        "nccl_build_id": "a7f420a1c09e4f3d",
        "image_id": "sha256:98",
        "cabling": {"p0": ["spark3:p1"], "p1": ["spark1:p0"]},
        "tools": {"perftest": "24.01.0+0.38-1", "ib_write_bw": "6.18", "ib_write_lat": "6.18"},
    }


def test_a_virtual_node():
    identity = identities(builders.healthy_reading(builders.plan(), LAB))["spark1"]
    assert (identity["firmware"], identity["nccl_version"], identity["image_id"]) == (None, None, None)


def test_firmware_that_differs_within_a_node():
    reading = builders.healthy_reading(builders.plan())
    half_of(reading, "spark1", "p0", "a")["rdma"]["fw_ver"] = "28.40.1000"
    assert identities(reading)["spark1"]["firmware"] == "28.40.1000/28.45.4028"


def test_a_node_that_said_nothing():
    reading = builders.healthy_reading(builders.plan(), facts={}, discoveries={}, measurements={}, nccl={})
    assert identities(reading) == dict.fromkeys(["spark1", "spark2", "spark3"], UNKNOWN)


@pytest.mark.parametrize("value", ["garbage", [], {}, {"node": "spark2"}, 7, None], ids=repr)
def test_nonsense_is_not_known(value):
    reading = builders.healthy_reading(builders.plan())
    for records in (reading.facts, reading.discoveries, reading.measurements, reading.nccl):
        records["spark2"] = value
    assert identities(reading)["spark2"] == UNKNOWN


def test_the_evidence_says_who_and_what():
    reading = builders.healthy_reading(builders.plan())
    evidence = decide(reading, "run", "2026-11-23T14:18:02+00:00", 131.8)
    assert (evidence["started"], evidence["duration_s"]) == ("2026-11-23T14:18:02+00:00", 131.8)
    assert evidence["hashes"] == {"plan": digest(reading.plan), "profile": digest(reading.profile)}
    assert list(evidence["nodes"]) == ["spark1", "spark2", "spark3"]


def test_no_environment_in_the_evidence():
    reading = builders.healthy_reading(builders.plan())
    for rank in reading.nccl.values():
        rank["log"]["env"] = {"NCCL_DEBUG": "TOKEN-4711"}
    assert "TOKEN-4711" not in json.dumps(decide(reading, "run"))
