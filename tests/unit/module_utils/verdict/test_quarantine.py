"""Who is kept out, for what, and what lets a node in again."""

from __future__ import annotations

import copy
import json
import typing as t
from datetime import timedelta

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.quarantine import (
    Memory,
    Policy,
    advance,
    culprits,
    empty,
    kept_out,
    parsed,
    written,
)
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import (
    half_of,
    set_bandwidth,
    set_both_halves,
)
from ansible_collections.gb10.cluster.tests.unit.spark_tree import NOW
from hypothesis import given, settings
from hypothesis import strategies as st

INTERVAL = 600
Spoil = t.Callable[[t.Any], t.Any]


def judged(spoil: Spoil | None = None, topology: str = "triangle", run_id: str = "run", **more: t.Any) -> t.Any:
    reading = builders.healthy_reading(builders.plan(topology))
    if spoil is not None:
        spoil(reading)
    return decide(reading, run_id, now=NOW, **more)


def after(memory: Memory, spoil: Spoil | None, minutes: float = 0, acknowledged: tuple[str, ...] = ()) -> Memory:
    """One run further."""
    policy = Policy(INTERVAL, acknowledged, "ada")
    evidence = judged(spoil, run_id=f"run+{minutes}")
    return advance(memory, evidence, policy, NOW + timedelta(minutes=minutes))


def lose_nic(reading: t.Any, node: str = "spark3") -> None:
    del reading.facts[node]["halves"][3]


def train_down(reading: t.Any) -> None:
    half_of(reading, "spark3", "p0", "a")["pcie"]["current_width"] = 2


def corrected(reading: t.Any) -> None:
    reading.facts["spark3"]["kernel_log"] = ["AER: Corrected error received"]


def throttle(reading: t.Any, gbps: float = 13.3) -> None:
    for path in reading.plan["paths"]:
        if "spark3" in path["id"]:
            set_bandwidth(reading, path["id"], gbps)


def throttle_half(reading: t.Any) -> None:
    for path in reading.plan["paths"]:
        if "spark3" in path["id"] and path["half"] == "b":
            set_bandwidth(reading, path["id"], 13.3)


def slow_at_once(reading: t.Any) -> None:
    for sender, receiver in (("spark2", "spark3"), ("spark1", "spark3")):
        set_both_halves(reading, sender, receiver, 13.3, 13.3)


# --- who enters ---

HARDWARE = [
    pytest.param(train_down, "N03 spark3: PCIe trained down", False, id="PCIe"),
    pytest.param(lose_nic, "N02 spark3: 3 of 4 NIC functions found", True, id="device lost"),
    pytest.param(throttle, "P02 spark2:p0:a>spark3:p1:a: 13.3 Gb/s", False, id="all paths of a node"),
    pytest.param(throttle_half, "P02 spark2:p0:b>spark3:p1:b: 13.3 Gb/s", False, id="one controller"),
    pytest.param(slow_at_once, "P03 spark2:p0>spark3:p1: 26.6 Gb/s", False, id="both halves at once with every peer"),
]


@pytest.mark.parametrize(("spoil", "reason", "latched"), HARDWARE)
def test_hardware_of_a_node_that_fails_brings_it_in_at_once(spoil, reason, latched):
    memory = after(empty(), spoil)
    assert list(memory.nodes) == ["spark3"]
    entry = memory.nodes["spark3"]
    assert entry["reason"].startswith(reason)
    assert (entry["latched"], entry["since"], entry["run_id"]) == (latched, "2026-11-24T12:00:00Z", "run+0")


def low_mtu(reading):
    half_of(reading, "spark1", "p0", "a")["mtu"] = 1500


def residue(reading):
    reading.facts["spark1"]["nccl_files"][0]["settings"]["NCCL_IB_DISABLE"] = "1"


def kernel_differs(reading):
    reading.facts["spark1"].update(kernel="6.17.0-1", newest_kernel="6.17.0-1")


def off(reading):
    for records in (reading.facts, reading.discoveries, reading.measurements, reading.nccl):
        records.pop("spark3")


def half_down(reading):
    half_of(reading, "spark2", "p0", "a")["carrier"] = False
    half_of(reading, "spark3", "p1", "a")["carrier"] = False


def busy(reading):
    reading.facts["spark2"]["gpu_processes"] = [{"pid": 7, "used_mib": None}]


def lossy(reading):
    set_bandwidth(reading, "spark3:p0:b-spark1:p1:b", 1.0)


def out_of_memory(reading):
    reading.facts["spark3"]["kernel_log"] = ["Out of memory: Killed process 7 (python3)"]


def bad_cable(reading):
    for half in "ab":
        set_bandwidth(reading, f"spark2:p0:{half}-spark3:p1:{half}", 13.3)


def everything(reading):
    for path in reading.plan["paths"]:
        set_bandwidth(reading, path["id"], 13.3)


def instrument(reading):
    for measurement in reading.measurements.values():
        for direction in measurement["directions"]:
            if "spark3" in direction["path"]:
                direction["bandwidth"] = []


def one_pair_at_once(reading):
    set_both_halves(reading, "spark1", "spark2", 13.3, 13.3)


NOT_OF_A_NODE = [
    low_mtu, residue, kernel_differs, off, half_down, busy, lossy, bad_cable, everything, instrument, out_of_memory, one_pair_at_once,
]  # fmt: skip


@pytest.mark.parametrize("spoil", NOT_OF_A_NODE, ids=lambda spoil: spoil.__name__)
def test_settings_software_instruments_and_cables_bring_nobody_in_however_often(spoil):
    memory = after(after(after(empty(), spoil), spoil, 1), spoil, 20)
    assert memory == empty()


def test_two_nodes_and_one_cable_accuse_nobody():
    def slow(reading):
        for path in reading.plan["paths"]:
            set_bandwidth(reading, path["id"], 13.3)

    evidence = judged(slow, "direct")
    assert evidence["verdict"]["outcome"] == "refuse"
    assert culprits(evidence["plan"], evidence["records"], "fail") == {}


def test_a_node_whose_other_paths_were_not_measured_is_not_accused():
    """Half of what looks like the node is a tool that gave no answer."""

    def spoil(reading):
        throttle(reading)
        for sender in ("spark1", "spark3"):
            for direction in reading.measurements[sender]["directions"]:
                if {direction["from_node"], direction["to_node"]} == {"spark1", "spark3"}:
                    direction["bandwidth"] = []

    assert after(empty(), spoil) == empty()


def test_an_observed_failure_brings_nobody_in():
    evidence = judged(train_down)
    for record in evidence["records"]:
        record["required"] = record["required"] and record["check"] != "N03"
    assert culprits(evidence["plan"], evidence["records"], "fail") == {}


def test_degraded_hardware_brings_a_node_in_the_second_time():
    memory = after(empty(), corrected)
    assert (memory.nodes, memory.degraded) == ({}, {"spark3": "run+0"})
    memory = after(memory, corrected, 1)
    assert memory.nodes["spark3"]["reason"] == "N11 spark3: 1 corrected PCIe errors since boot"


def test_a_good_run_between_two_degraded_ones_forgets_the_first():
    memory = after(after(empty(), corrected), None, 1)
    assert memory == empty()
    assert after(memory, corrected, 2).nodes == {}


def test_a_run_that_says_nothing_about_the_node_does_not_forget():
    memory = after(after(empty(), corrected), off, 1)
    assert memory.degraded == {"spark3": "run+0"}
    assert list(after(memory, corrected, 2).nodes) == ["spark3"]


def test_a_waived_finding_does_not_count():
    waiver = {"check": "N11", "subject": "spark3", "reason": "known", "expires": "2026-12-31"}
    memory = empty()
    for _ in range(3):
        memory = advance(memory, judged(corrected, waivers=[waiver]), Policy(INTERVAL), NOW)
    assert memory == empty()


# --- who leaves ---


@pytest.fixture
def inside() -> Memory:
    return after(empty(), train_down)


def test_two_full_passes_apart_release(inside):
    memory = after(inside, None, 1)
    assert memory.nodes["spark3"]["first_pass"] == "2026-11-24T12:01:00Z"
    memory = after(memory, None, 10.9)  # too early: it neither counts nor starts anew
    assert memory.nodes["spark3"]["first_pass"] == "2026-11-24T12:01:00Z"
    memory = after(memory, None, 11)
    assert memory.nodes == {}
    assert memory.notices == (
        "spark3 is released from quarantine (N03 spark3: PCIe trained down: enp1s0f0np0 32.0 GT/s x2)",
    )


@pytest.mark.parametrize("between", [*NOT_OF_A_NODE, train_down], ids=lambda spoil: spoil.__name__)
def test_a_refusal_between_the_passes_starts_anew(inside, between):
    memory = after(after(inside, None, 1), between, 5)
    assert memory.nodes["spark3"]["first_pass"] is None
    assert list(after(memory, None, 30).nodes) == ["spark3"]


def test_the_first_reason_stays(inside):
    memory = after(inside, throttle, 5)
    assert memory.nodes["spark3"]["reason"].startswith("N03")
    assert memory.nodes["spark3"]["since"] == "2026-11-24T12:00:00Z"


def test_without_data_nobody_is_released(inside):
    def nothing(reading):
        for records in (reading.facts, reading.discoveries, reading.measurements, reading.nccl):
            records.clear()

    memory = after(inside, None, 1)
    for minutes in (20, 40):
        memory = after(memory, nothing, minutes)
    assert list(memory.nodes) == ["spark3"]


def test_a_clock_that_went_back_has_not_waited(inside):
    memory = after(after(inside, None, 60), None, 1)
    assert memory.nodes["spark3"]["first_pass"] == "2026-11-24T12:01:00Z"


def test_a_lost_device_stays_until_somebody_has_seen_to_it():
    memory = after(after(after(empty(), lose_nic), None, 1), None, 20)
    assert list(memory.nodes) == ["spark3"]
    memory = after(memory, None, 21, acknowledged=("spark3",))
    assert memory.nodes == {}


def test_an_acknowledgement_is_kept_with_name_and_time_and_does_not_replace_the_passes():
    memory = after(after(empty(), lose_nic), None, 1, acknowledged=("spark3",))
    assert memory.nodes["spark3"]["acknowledged"] == {"by": "ada", "at": "2026-11-24T12:01:00Z"}
    assert after(memory, None, 12).nodes == {}


def test_a_device_that_is_lost_again_wants_to_be_acknowledged_again():
    memory = after(after(empty(), lose_nic), None, 1, acknowledged=("spark3",))
    memory = after(memory, lose_nic, 5)
    assert memory.nodes["spark3"]["acknowledged"] is None
    assert list(after(after(memory, None, 6), None, 30).nodes) == ["spark3"]


def test_a_node_that_was_in_for_something_else_and_loses_a_device_is_latched(inside):
    assert after(inside, lose_nic, 1).nodes["spark3"]["latched"]


def test_there_is_nothing_to_acknowledge():
    assert after(empty(), None, acknowledged=("spark9",)).notices == (
        "nothing to acknowledge: spark9 is not in quarantine",
    )


def test_a_node_of_another_plan_stays_as_it_is(inside):
    memory = Memory({"elsewhere": {**inside.nodes["spark3"], "node": "elsewhere"}}, {"other": "run"})
    assert after(memory, None, 1) == memory
    assert kept_out(judged(), memory, INTERVAL)["verdict"]["outcome"] == "admit"


RUNS: list[Spoil | None] = [None, *NOT_OF_A_NODE, train_down, throttle, corrected]
EVIDENCE: dict[int, t.Any] = {}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(range(len(RUNS))), st.integers(0, 30)), max_size=6))
def test_nobody_leaves_without_two_full_passes_apart(history):
    memory, minute, passes = after(empty(), train_down), 0, []
    for index, wait in history:
        minute += wait
        if index not in EVIDENCE:
            EVIDENCE[index] = judged(RUNS[index])
        memory = advance(memory, EVIDENCE[index], Policy(INTERVAL), NOW + timedelta(minutes=minute))
        passes = [*passes, minute] if RUNS[index] is None else []
        if "spark3" not in memory.nodes:
            assert len(passes) > 1
            assert passes[-1] - passes[0] >= INTERVAL / 60
            return


# --- the verdict ---


def test_a_node_in_quarantine_refuses_a_plan_in_which_everything_passes(inside):
    memory = after(inside, None, 1)
    verdict = kept_out(judged(), memory, INTERVAL)["verdict"]
    assert verdict["outcome"] == "refuse"
    assert verdict["blocked_by"] == ["quarantine spark3"]
    assert verdict["valid_pools"] == [["spark1", "spark2"], ["spark1"], ["spark2"]]
    (entry,) = verdict["quarantine"]
    assert entry["release"] == "one more full pass after 2026-11-24T12:11:00Z releases spark3"


def test_it_says_what_releases(inside):
    def release(memory):
        return kept_out(judged(), memory, INTERVAL)["verdict"]["quarantine"][0]["release"]

    assert release(inside) == "two full passes at least 600 s apart release spark3"
    latched = after(empty(), lose_nic)
    assert release(latched) == (
        "see to it, then acknowledge it with -e gate_acknowledge=spark3;"
        " two full passes at least 600 s apart release spark3"
    )
    assert "acknowledge" not in release(after(latched, None, 1, acknowledged=("spark3",)))


def test_nobody_in_quarantine_changes_no_verdict():
    evidence = judged()
    verdict = kept_out(copy.deepcopy(evidence), empty(), INTERVAL)["verdict"]
    assert verdict == evidence["verdict"] | {"quarantine": []}


# --- the file ---


def test_what_is_written_is_read_again(inside):
    memory = Memory(inside.nodes, {"spark1": "run"})
    assert parsed(written(memory), "quarantine.json") == memory


def broken(**changes: t.Any) -> str:
    entry = {**after(empty(), train_down).nodes["spark3"], **changes}
    return json.dumps({"schema": "1", "nodes": {"spark3": entry}, "degraded": {}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"schema": "2", "nodes": {}, "degraded": {}}',
        '{"schema": "1", "nodes": [], "degraded": {}}',
        '{"schema": "1", "nodes": {"spark3": {}}, "degraded": {}}',
        broken(since="lately"),
        broken(first_pass="2026-11-24"),
        broken(latched="no"),
        broken(acknowledged=True),
    ],
)
def test_a_file_that_cannot_be_read_is_not_an_empty_one(text):
    with pytest.raises(
        ValueError, match=r"^evidence/quarantine\.json does not say which nodes are in quarantine; rest"
    ):
        parsed(text, "evidence/quarantine.json")
