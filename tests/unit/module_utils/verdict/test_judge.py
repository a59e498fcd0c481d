"""Nothing is admitted by a gap: whatever is deleted or garbled, the verdict is not admit."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.checks import CHECKS
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.judge import evaluate, judge
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.outcome import BLOCKED
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.profiles import parsed_limits
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.records import title
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading, View, views
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import GB10, LAB, half_of, set_bandwidth, set_both_halves

PROFILES = (GB10, LAB)
TO_BE_REQUIRED = ("L07", "C07")  # once they have been observed for long enough


def titles(records, outcome):
    return [title(record) for record in records if record["outcome"] == outcome]


# --- mutations ---


def mutations(profile_name: str) -> list[t.Any]:
    """Every input of every required check: one parameter for each."""
    profile = builders.profile(profile_name)
    return [
        pytest.param(profile_name, check_id, need, id=f"{profile_name.split('-')[0]}/{check_id}/{need}")
        for check_id in [*profile["required"], *profile.get("required_with_nccl", []), *TO_BE_REQUIRED]
        for need in CHECKS[check_id].needs
    ]


def holders(view: View, need: str) -> list[tuple[dict[str, t.Any], str]]:
    """The dicts that hold the last part of a needed path, and its key."""
    root, *path = need.split(".")
    if need == "numbers":
        return [(view.reading.measurements["spark1"]["directions"][0], "latency")]
    if not path:
        # The growth of counters hangs in the measurement by the name of the device.
        deltas = view.reading.measurements[view.node]["counter_deltas"]
        return [(deltas, view.planned["rdma"])]
    found = [view.sources()[root][0]]
    for part in path[:-1]:
        found = [item[part] for item in flat(found)]
    return [(item, path[-1]) for item in flat(found)]


def flat(values: list[t.Any]) -> list[t.Any]:
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


def delete(holder: dict[str, t.Any], key: str) -> None:
    del holder[key]


def blank(holder: dict[str, t.Any], key: str) -> None:
    holder[key] = None


def garble(holder: dict[str, t.Any], key: str) -> None:
    holder[key] = "\x00garbage" if not isinstance(holder[key], str) else ["garbage"]


def nest(holder: dict[str, t.Any], key: str) -> None:
    holder[key] = {"garbage": [holder[key]]}


@pytest.mark.parametrize("mutate", [delete, blank, garble, nest])
@pytest.mark.parametrize(("profile_name", "check_id", "need"), [*mutations(GB10), *mutations(LAB)])
def test_a_required_input_that_is_missing_or_garbled_never_admits(profile_name, check_id, need, mutate):
    reading = builders.healthy_reading(builders.plan(), profile_name)
    if check_id in TO_BE_REQUIRED:
        reading.profile["observe"].remove(check_id)
        reading.profile["required"].append(check_id)
    view = next(iter(views(CHECKS[check_id].scope, reading)))
    # One place is enough: a single half, path or node that is not known must refuse the whole.
    holder, key = holders(view, need)[0]
    mutate(holder, key)
    evidence = decide(reading, "run")
    assert evidence["verdict"]["outcome"] == "refuse"
    assert ["spark1", "spark2", "spark3"] not in evidence["verdict"]["valid_pools"]
    mine = [r for r in evidence["records"] if r["check"] == check_id and r["subject"] == view.subject]
    assert [record["outcome"] for record in mine] != ["pass"]


@pytest.mark.parametrize("mutate", [delete, blank, garble, nest])
@pytest.mark.parametrize("key", ["boot_id", "uptime_s", "clock_step_s"])
@pytest.mark.parametrize(("name", "kind"), [(GB10, "measurements"), (LAB, "measurements"), (GB10, "nccl")])
def test_when_it_was_measured_missing_or_garbled_never_admits(name, kind, key, mutate):
    reading = builders.healthy_reading(builders.plan(), name)
    mutate(getattr(reading, kind)["spark1"], key)
    verdict = decide(reading, "run")["verdict"]
    assert verdict["outcome"] == "refuse"
    assert ["spark1", "spark2", "spark3"] not in verdict["valid_pools"]


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", ["facts", "discoveries", "measurements", "nccl"])
@pytest.mark.parametrize("value", [None, "garbage", [], {}, {"node": "spark2"}, 7], ids=repr)
def test_a_whole_record_that_is_missing_or_garbled_never_admits(name, kind, value):
    if kind == "nccl" and name == LAB:
        pytest.skip("there is no GPU in the lab")
    reading = builders.healthy_reading(builders.plan(), name)
    records = t.cast("dict[str, t.Any]", getattr(reading, kind))
    records["spark2"] = value
    if value is None:
        del records["spark2"]
    assert decide(reading, "run")["verdict"]["outcome"] == "refuse"


@pytest.mark.parametrize("name", PROFILES)
def test_nothing_at_all_refuses_everything(name):
    reading = builders.healthy_reading(builders.plan(), name, facts={}, discoveries={}, measurements={}, nccl={})
    verdict = decide(reading, "run")["verdict"]
    assert verdict["outcome"] == "refuse"
    assert verdict["valid_pools"] == []
    assert verdict["blocked_by"][:3] == ["N00 spark1", "N00 spark2", "N00 spark3"]


def test_every_leaf_of_the_measurements_matters_or_is_known_not_to():
    """Garble each leaf of one node's measurement: either it refuses, or it is on this list with a reason."""
    harmless = {
        "schema",
        "argv", "raw_sha256", "duration_s",  # evidence for a reader
        "ib_write_bw", "ib_write_lat",  # versions of the tools: C01 compares the installed package
        "size_bytes",  # of the latency run; that of a bandwidth run is compared
        "rocep9s0f9",  # a port that moved nothing
        "rx_crc_errors_phy",  # judged where the driver has it
        "half",  # the path says it
        "problem",  # words about a ping, of which the numbers are judged
        "pairs_served",  # by the receiving end, which spark1 never is
    }  # fmt: skip
    healthy = builders.healthy_reading(builders.plan("direct"))
    silent = set()
    for path in leaves(healthy.measurements["spark1"]):
        reading = copy.deepcopy(healthy)
        at: t.Any = reading.measurements["spark1"]
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = "garbage"
        if decide(reading, "run")["verdict"]["outcome"] == "admit":
            silent.add(next(part for part in reversed(path) if isinstance(part, str)))
    assert silent <= harmless


another_time = pytest.mark.parametrize(
    ("values", "says"),
    [
        pytest.param({"boot_id": "the one before"}, "was started again between", id="another boot"),
        pytest.param({"boot_id": None}, "is not known", id="no boot"),
        pytest.param({"uptime_s": 3600.0}, "is older than what was read", id="an earlier run of the same boot"),
        pytest.param({"uptime_s": None}, "is not known", id="no time"),
        pytest.param({"clock_step_s": 3600.0}, "was set by +3600 s while it measured", id="an hour ahead"),
        pytest.param({"clock_step_s": -1.5}, "was set by -2 s while it measured", id="back"),
        pytest.param({"clock_step_s": None}, "is not known", id="nobody watched the clock"),
    ],
)


@pytest.mark.parametrize("name", PROFILES)
@another_time
def test_a_measurement_from_another_time_is_none(name, values, says):
    reading = builders.healthy_reading(builders.plan(), name)
    reading.measurements["spark2"].update(values)
    evidence = decide(reading, "run")
    assert evidence["verdict"]["outcome"] == "refuse"
    assert evidence["verdict"]["diagnosis"]["suspects"] == ["node spark2"]
    assert says in t.cast("str", evidence["verdict"]["diagnosis"]["next_action"])


@another_time
def test_a_rank_from_another_time_is_none(values, says):
    reading = builders.soaked(builders.healthy_reading(builders.plan()))
    assert reading.nccl is not None
    reading.nccl["spark2"].update(values)
    verdict_is_unknown(reading, says)


@pytest.mark.parametrize("key", ["boot_id", "uptime_s", "clock_step_s"])
def test_a_rank_that_does_not_say_when_it_measured_is_none(key):
    reading = builders.soaked(builders.healthy_reading(builders.plan()))
    assert reading.nccl is not None
    t.cast("dict[str, t.Any]", reading.nccl["spark2"]).pop(key)
    verdict_is_unknown(reading, "is not known")


def verdict_is_unknown(reading: Reading, says: str) -> None:
    """Of every check that stands on the rank of spark2, by itself. The whole is one finding."""
    verdict = decide(reading, "run")["verdict"]
    assert (verdict["outcome"], verdict["blocked_by"]) == ("refuse", ["N14 spark2"])
    assert verdict["diagnosis"]["suspects"] == ["node spark2"]
    assert says in t.cast("str", verdict["diagnosis"]["next_action"])
    limits = parsed_limits(reading.profile)
    for check_id in ("C02", "C03", "C04", "C05", "C06", "C08", "C11", "N10", "N14", "N15", "N16", "N17", "P06"):
        check = CHECKS[check_id]
        mine = [view for view in views(check.scope, reading) if "spark2" in " ".join(view.subject.values())]
        outcomes = [evaluate(check, view, limits[check_id]) for view in mine]
        assert {outcome.name for outcome in outcomes} == {"unknown"}, check_id
        assert all(says in outcome.message for outcome in outcomes), check_id


@pytest.mark.parametrize("kind", ["measurements", "nccl"])
@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        pytest.param(0.05, "admit", id="hardly"),
        pytest.param(-1.0, "admit", id="as much as is allowed"),
        pytest.param(1.01, "refuse", id="more"),
    ],
)
def test_a_clock_may_be_set_as_far_as_the_profile_says(kind, step, outcome):
    reading = builders.healthy_reading(builders.plan())
    getattr(reading, kind)["spark2"].update(clock_step_s=step)
    assert decide(reading, "run")["verdict"]["outcome"] == outcome
    reading.profile["clock_step_s"]["max"] = 0.01
    assert decide(reading, "run")["verdict"]["outcome"] == "refuse"


def leaves(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    entries = list(items)
    for key, item in entries:
        yield from leaves(item, (*path, key))
    if not entries and path:
        yield path


# --- one cause, one finding ---


def test_a_dead_half_blocks_its_path_and_nothing_else():
    reading = builders.healthy_reading(builders.plan())
    half_of(reading, "spark1", "p0", "a")["carrier"] = False
    evidence = decide(reading, "run")
    assert evidence["verdict"]["blocked_by"] == ["L01 spark1:p0:a"]
    blocked = [record for record in evidence["records"] if record["signature"] == BLOCKED]
    assert {record["message"] for record in blocked} == {"blocked by L01 spark1 p0 a"}
    assert "P02 spark1:p0:a>spark2:p1:a" in map(title, blocked)
    assert "P02 spark2:p1:a>spark1:p0:a" in map(title, blocked)
    assert all("p0:b" not in title(record) for record in blocked)


def test_the_number_of_a_blocked_check_stays_in_its_record():
    reading = builders.healthy_reading(builders.plan())
    half_of(reading, "spark1", "p0", "a")["mtu"] = 1500
    record = next(r for r in judge(reading, "run") if title(r) == "P02 spark1:p0:a>spark2:p1:a")
    assert (record["outcome"], record["message"]) == ("skipped", "blocked by L04 spark1 p0 a")
    assert record["measured"]["bw_gbps"] == pytest.approx(111.9, abs=0.1)


def test_a_node_that_is_off_is_one_finding():
    reading = builders.healthy_reading(builders.plan())
    reading.discoveries.update(builders.cabled(reading.plan, [(("spark1", "p0"), ("spark2", "p1"))]))
    for node, cage in (("spark1", "p1"), ("spark2", "p0")):
        for half in ("a", "b"):
            half_of(reading, node, cage, half)["carrier"] = False
    for records in (reading.facts, reading.discoveries, reading.measurements):
        t.cast("dict[str, t.Any]", records).pop("spark3")
    evidence = decide(reading, "run")
    assert evidence["verdict"]["blocked_by"] == ["N00 spark3"]
    assert evidence["verdict"]["valid_pools"] == [["spark1", "spark2"], ["spark1"], ["spark2"]]
    assert evidence["verdict"]["diagnosis"]["suspects"] == ["node spark3"]


def test_a_gap_says_what_the_node_said_about_it():
    reading = builders.healthy_reading(builders.plan())
    said = "`nvidia-smi --query-gpu=name` ended with 127: nvidia-smi: command not found"
    reading.facts["spark1"].update(gpus=None, kernel_log=None, problems=["`lldpctl -f json` ended with 1", said])
    messages = {r["check"]: r["message"] for r in judge(reading, "run") if r["outcome"] == "unknown"}
    assert messages["N01"] == f"gpus.name is not known: {said}"
    assert messages["N11"] == "kernel_log is not known"


def test_a_path_that_was_not_measured_is_one_finding_each_way():
    reading = builders.healthy_reading(builders.plan())
    reading.measurements["spark1"]["directions"] = [
        entry for entry in reading.measurements["spark1"]["directions"] if entry["to_node"] != "spark2"
    ]
    assert decide(reading, "run")["verdict"]["blocked_by"] == [
        "P01 spark1:p0:a>spark2:p1:a",
        "P01 spark1:p0:b>spark2:p1:b",
    ]


def test_an_unknown_parent_does_not_hide_what_was_measured():
    """Without a discovery the cabling is not known; the bandwidth is, and a bad one must show."""
    reading = builders.healthy_reading(builders.plan(), discoveries={})
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3)
    blocked_by = decide(reading, "run")["verdict"]["blocked_by"]
    assert "L09 spark1:p0" in blocked_by
    assert "P02 spark1:p0:a>spark2:p1:a" in blocked_by


def test_an_observed_check_is_recorded_and_neither_refuses_nor_blocks():
    reading = builders.healthy_reading(builders.plan())
    reading.profile["required"].remove("L01")
    reading.profile["observe"].append("L01")
    half_of(reading, "spark1", "p0", "a")["carrier"] = False
    evidence = decide(reading, "run")
    assert evidence["verdict"]["outcome"] == "admit"
    assert titles(evidence["records"], "fail") == ["L01 spark1:p0:a", "L03 spark1:p0"]
    assert titles(evidence["records"], "skipped") == []


def test_a_degraded_check_refuses():
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 90.0, "spark1")
    evidence = decide(reading, "run")
    assert titles(evidence["records"], "degraded") == ["P02 spark1:p0:a>spark2:p1:a"]
    assert evidence["verdict"]["outcome"] == "refuse"


# --- large packets ---


def lose_large_pings(reading: Reading, path: str = "spark1:p0:a-spark2:p1:a", **also: t.Any) -> None:
    for measurement in reading.measurements.values():
        for ping in measurement["pings"]:
            if ping["path"] == path:
                ping.update(t.cast("t.Any", {"received": 0, "rc": 1} | also))


def test_a_wrong_mtu_at_one_end_is_one_finding():
    reading = builders.healthy_reading(builders.plan())
    half_of(reading, "spark2", "p1", "a")["mtu"] = 1500
    lose_large_pings(reading)
    assert decide(reading, "run")["verdict"]["blocked_by"] == ["L04 spark2:p1:a"]


def test_large_packets_lost_on_the_way_explain_what_rdma_says():
    reading = builders.healthy_reading(builders.plan())
    lose_large_pings(reading)
    failed = {"stage": "bandwidth", "cause": "hardware", "message": "no acknowledgement came back"}
    for sender in ("spark1", "spark2"):
        builders.direction_of(reading, "spark1:p0:a-spark2:p1:a", sender).update(
            t.cast("t.Any", {"bandwidth": [], "failure": failed | {"argv": [], "rc": 1, "raw_sha256": None}})
        )
    evidence = decide(reading, "run")
    verdict = evidence["verdict"]
    assert verdict["blocked_by"] == ["L11 spark1:p0:a>spark2:p1:a", "L11 spark2:p1:a>spark1:p0:a"]
    assert {r["level"] for r in evidence["records"] if r["check"] == "L11"} == {"half-link"}
    assert verdict["diagnosis"]["suspects"] == ["path spark1:p0:a-spark2:p1:a"]
    assert "below MTU 9000" in str(verdict["diagnosis"]["next_action"])
    assert ["spark1", "spark2"] not in verdict["valid_pools"]
    assert ["spark2", "spark3"] in verdict["valid_pools"]


def test_a_path_that_carries_nothing_is_sought_in_the_matrix():
    reading = builders.healthy_reading(builders.plan())
    for half in ("a", "b"):
        path = f"spark1:p0:{half}-spark2:p1:{half}"
        lose_large_pings(reading, path, small_received=0)
        for sender in ("spark1", "spark2"):
            builders.direction_of(reading, path, sender).update(t.cast("t.Any", {"bandwidth": []}))
    diagnosis = decide(reading, "run")["verdict"]["diagnosis"]
    assert diagnosis["suspects"] == ["link spark1:p0-spark2:p1"]


def test_a_node_without_ping_hides_no_bandwidth():
    reading = builders.healthy_reading(builders.plan())
    lose_large_pings(reading, received=None, small_received=None, problem="ping is not installed")
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3, "spark1")
    blocked_by = decide(reading, "run")["verdict"]["blocked_by"]
    assert "L11 spark1:p0:a>spark2:p1:a" in blocked_by
    assert "P02 spark1:p0:a>spark2:p1:a" in blocked_by


# --- a busy node ---


def test_a_busy_node_is_one_finding():
    """As the probes leave it: nothing of this node, and for its peers nobody at the other end."""
    reading = builders.healthy_reading(builders.plan())
    reading.facts["spark1"]["gpu_processes"] = [{"pid": 4711, "used_mib": None}]
    make_busy(reading, "spark1", "busy: a process is using the GPU (pid 4711): drain the node first")
    evidence = decide(reading, "run")
    assert evidence["verdict"]["blocked_by"] == ["N09 spark1"]
    assert evidence["verdict"]["diagnosis"]["next_action"].startswith("drain spark1: ")
    (record,) = [r for r in evidence["records"] if title(r) == "N09 spark1"]
    assert (record["outcome"], record["cause"]) == ("unknown", "environment")
    assert record["message"] == "busy: a process is using the GPU (pid 4711): drain the node first"


@pytest.mark.parametrize("kind", ["measurements", "nccl"])
def test_what_became_busy_after_the_node_was_read_is_that_one_finding_too(kind):
    reading = builders.healthy_reading(builders.plan())
    said = "busy: another measurement runs on this node (pid 7, since 2026-11-24T12:00:00Z, rdma_probe)"
    if kind == "measurements":
        make_busy(reading, "spark1", said)
    else:
        assert reading.nccl is not None
        reading.nccl["spark1"].update(t.cast("t.Any", {"skipped": said, "log": None, "library": None, "runs": []}))
        for node in ("spark2", "spark3"):
            reading.nccl[node].update(t.cast("t.Any", {"runs": [], "library": None, "log": None}))
    evidence = decide(reading, "run")
    assert evidence["verdict"]["blocked_by"] == ["N09 spark1"]
    assert said in [record["message"] for record in evidence["records"]]


def test_a_busy_node_does_not_hide_what_the_others_measured():
    reading = builders.healthy_reading(builders.plan())
    make_busy(reading, "spark1", "busy: only 1 KiB of memory are available, 2 are wanted")
    set_bandwidth(reading, "spark2:p0:a-spark3:p1:a", 13.3, "spark2")
    assert decide(reading, "run")["verdict"]["blocked_by"] == ["N09 spark1", "P02 spark2:p0:a>spark3:p1:a"]


def make_busy(reading: Reading, busy: str, said: str) -> None:
    absent = {"stage": "rendezvous", "cause": "environment", "message": f"no word from {busy}"}
    failure: t.Any = absent | {"argv": [], "rc": None, "raw_sha256": None}
    empty = {"directions": [], "served": [], "pairs": [], "pairs_served": [], "pings": [], "counter_deltas": {}}
    reading.measurements[busy].update(t.cast("t.Any", empty | {"skipped": said}))
    for measurement in reading.measurements.values():
        for entry in (*measurement["directions"], *measurement["pairs"]):
            if busy in (entry["from_node"], entry["to_node"]):
                entry.update({"failure": failure})
                parts: list[t.Any] = t.cast("t.Any", entry).get("halves", [entry])
                for part in parts:
                    part["bandwidth"] = []
        for served in (*measurement["served"], *measurement["pairs_served"]):
            if busy in (served["from_node"], served["to_node"]):
                served.update({"failure": failure})
    if reading.nccl is not None:
        for rank in reading.nccl.values():
            rank.update(t.cast("t.Any", {"runs": [], "library": None, "log": None}))
        reading.nccl[busy]["skipped"] = said


# --- both halves at once ---

BOTH = "P03 spark1:p0>spark2:p1"


def test_only_both_halves_at_once_fail():
    reading = builders.healthy_reading(builders.plan())
    set_both_halves(reading, "spark1", "spark2", 55.0, 55.0)
    verdict = decide(reading, "run")["verdict"]
    assert verdict["blocked_by"] == [BOTH]
    assert ["spark1", "spark2"] not in verdict["valid_pools"]
    assert ["spark2", "spark3"] in verdict["valid_pools"]


@pytest.mark.parametrize("half", ["a", "b"])
def test_a_half_that_fails_alone_blocks_what_both_say(half):
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, f"spark1:p0:{half}-spark2:p1:{half}", 13.3, "spark1")
    set_both_halves(reading, "spark1", "spark2", 55.0, 55.0)
    evidence = decide(reading, "run")
    assert evidence["verdict"]["blocked_by"] == [f"P02 spark1:p0:{half}>spark2:p1:{half}"]
    record = next(record for record in evidence["records"] if title(record) == BOTH)
    assert (record["outcome"], record["message"]) == ("skipped", f"blocked by P02 spark1 p0 {half} -> spark2 p1 {half}")
    assert record["measured"]["sum_gbps"] == 110.0


def test_the_way_back_does_not_block_the_way_there():
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3, "spark2")
    assert next(r for r in judge(reading, "run") if title(r) == BOTH)["outcome"] == "pass"


def test_what_was_not_measured_is_not_reported_twice():
    reading = builders.healthy_reading(builders.plan())
    reading.measurements.pop("spark2")
    assert not any(name.startswith("P03") for name in decide(reading, "run")["verdict"]["blocked_by"])


def test_an_unknown_half_does_not_hide_what_both_carry():
    reading = builders.healthy_reading(builders.plan())
    builders.direction_of(reading, "spark1:p0:a-spark2:p1:a", "spark1")["bandwidth"][1]["gbps"] = 60.0
    set_both_halves(reading, "spark1", "spark2", 13.3, 13.3)
    assert decide(reading, "run")["verdict"]["blocked_by"] == ["P02 spark1:p0:a>spark2:p1:a", BOTH]


def test_a_dead_half_blocks_both_of_its_cable_and_no_other_cable():
    reading = builders.healthy_reading(builders.plan())
    half_of(reading, "spark2", "p1", "b")["carrier"] = False
    outcomes = {title(r): r["outcome"] for r in judge(reading, "run") if r["check"] == "P03"}
    assert outcomes == {BOTH: "skipped", "P03 spark2:p0>spark3:p1": "pass", "P03 spark1:p1>spark3:p0": "pass"}


def test_in_the_lab_both_halves_at_once_are_only_observed():
    reading = builders.healthy_reading(builders.plan(), LAB)
    set_both_halves(reading, "spark1", "spark2", 0.001, 0.001)
    evidence = decide(reading, "run")
    assert titles(evidence["records"], "fail") == [BOTH, "C07 spark1:p0>spark2:p1"]
    assert evidence["verdict"]["outcome"] == "admit"


# --- check mode ---


@pytest.mark.parametrize("measured", [True, False])
def test_check_mode_judges_the_passive_checks_and_never_admits(measured):
    reading = builders.healthy_reading(builders.plan())
    reading = dataclasses.replace(reading, check_mode=True, measurements=reading.measurements if measured else {})
    evidence = decide(reading, "run")
    assert evidence["verdict"]["outcome"] == "refuse"
    skipped = {record["check"] for record in evidence["records"] if record["outcome"] == "skipped"}
    assert skipped == {check_id for check_id, check in CHECKS.items() if check.active}
    assert {record["outcome"] for record in evidence["records"] if record["check"] not in skipped} == {"pass"}
    assert evidence["verdict"]["diagnosis"]["suspects"] == []
    assert evidence["verdict"]["diagnosis"]["next_action"] == "run without --check to measure"


def test_only_some_checks_on_demand():
    reading = builders.healthy_reading(builders.plan())
    assert {record["check"] for record in judge(reading, "run", only={"L09"})} == {"L09"}


# --- what a record holds ---


@pytest.mark.parametrize("topology", ["single", "direct", "triangle", "switch"])
def test_one_record_for_every_check_on_every_subject(topology):
    plan = builders.plan(topology)
    reading = builders.healthy_reading(plan)
    records = judge(reading, "run")
    assert len({(r["check"], json.dumps(r["subject"])) for r in records}) == len(records)
    count = {check_id: sum(r["check"] == check_id for r in records) for check_id in CHECKS}
    assert count["N00"] == len(plan["nodes"])
    assert count["P02"] == 2 * len(plan["paths"])
    assert count["P03"] == len(plan["paths"]) // 2
    assert count["L01"] == sum(len(node["halves"]) for node in plan["nodes"].values())
    assert count["C01"] == 1


def test_evidence_holds_no_hardware_address_guid_or_serial():
    reading = builders.healthy_reading(builders.plan())
    for facts in reading.facts.values():
        facts["dmi"]["product_serial"] = "SERIAL-4711"
        facts["dgx_release"]["DGX_SERIAL_NUMBER"] = "SERIAL-4711"
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3)
    text = json.dumps(decide(reading, "run"))
    assert "SERIAL-4711" not in text
    assert not re.search(r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", text)
    assert "fe80" not in text
    assert "161a2d0003474bbc4c" not in text


def test_a_threshold_names_its_profile():
    record = next(r for r in judge(builders.healthy_reading(builders.plan()), "run") if r["check"] == "P02")
    assert record["threshold"] == {"pass": 95, "degraded": 80, "spread": 0.15, "profile": GB10}


# --- what cannot be judged ---


def test_a_plan_in_which_two_nodes_share_no_path_is_refused():
    plan = builders.plan()
    plan["paths"] = [path for path in plan["paths"] if "spark3" not in path["id"]]
    with pytest.raises(ValueError, match="no path between spark1 and spark3"):
        decide(builders.healthy_reading(plan), "run")


def test_a_plan_without_nodes_is_refused():
    plan = builders.plan("single")
    plan["nodes"] = {}
    with pytest.raises(ValueError, match="no node"):
        decide(Reading(plan, builders.profile(), {}, {}, {}), "run")


def test_an_invalid_profile_is_refused():
    reading = builders.healthy_reading(builders.plan())
    reading.profile["required"].remove("P02")
    reading.profile["thresholds"].pop("P02")
    with pytest.raises(ValueError, match="P02 missing"):
        decide(reading, "run")
