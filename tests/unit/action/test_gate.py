"""The gate as a task: what it writes, when it fails, and that a play ends there."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
import textwrap
import typing as t
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.playbook.task import Task
from ansible_collections.gb10.cluster.plugins.action.gate import ActionModule
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import half_of, set_bandwidth
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

HOST = "ansible_collections.gb10.cluster.plugins.module_utils.host"
MEMORY = ("baseline.json", "carriers.json")
NODES = ["spark1", "spark2", "spark3"]
TOGETHER = {
    "ansible_forks": 5,
    "ansible_play_hosts_all": NODES,
    "ansible_play_hosts": NODES,
    "ansible_play_batch": NODES,
}


def arguments(reading: t.Any, **more: t.Any) -> dict[str, t.Any]:
    return {
        "plan": reading.plan,
        "profile": reading.profile,
        "facts": reading.facts,
        "discoveries": reading.discoveries,
        "measurements": reading.measurements,
    } | more


@pytest.fixture
def healthy(tmp_path: Path) -> dict[str, t.Any]:
    return arguments(builders.healthy_reading(builders.plan()), evidence_dir=str(tmp_path / "evidence"))


def run(args: dict[str, t.Any], check_mode: bool = False, verbosity: int = 0, **task_vars: t.Any) -> tuple[t.Any, str]:
    """The result of the task and what it has shown."""
    task = Task()
    task.args, task.check_mode, task.action = args, check_mode, "gb10.cluster.gate"
    display = mock.Mock(columns=100, verbosity=verbosity)
    plugin = ActionModule(task, mock.Mock(), mock.Mock(), mock.Mock(), mock.Mock(), mock.Mock())
    plugin._display = display
    result = plugin.run(task_vars=TOGETHER | task_vars)
    return result, "\n".join(call.args[0] for call in display.display.call_args_list)


# --- full ---


def test_admits_and_keeps_the_evidence_for_its_owner_alone(healthy, tmp_path):
    result, shown = run(healthy)
    assert (result["failed"], result["changed"], result["msg"]) == (False, False, "admitted")
    assert "ADMIT  spark1 spark2 spark3" in shown
    folder = tmp_path / "evidence"
    run_id = result["verdict"]["run_id"]
    latest, own = folder / "latest.json", folder / f"{run_id}.json"
    names = ["baseline.json", "carriers.json", "latest.json", own.name, f"{run_id}.share.json"]
    assert sorted(file.name for file in folder.iterdir()) == sorted(names)
    assert result["evidence"] == str(own)
    assert latest.read_text() == own.read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_the_evidence_has_the_shape_of_the_contract(healthy, tmp_path):
    run(healthy)
    evidence = json.loads((tmp_path / "evidence" / "latest.json").read_text())
    schemas = [json.loads(file.read_text()) for file in (builders.ROOT / "docs/schema").glob("*.schema.json")]
    registry: Registry[t.Any] = Registry().with_resources([(s["$id"], Resource.from_contents(s)) for s in schemas])
    schema = next(schema for schema in schemas if schema["$id"].startswith("urn:gb10.cluster:evidence"))
    Draft202012Validator(schema, registry=registry).validate(evidence)
    assert evidence["verdict"]["outcome"] == "admit"
    assert len(evidence["records"]) > 100


def test_the_result_is_short_unless_asked_for(healthy):
    result, _shown = run(healthy)
    assert "records" not in result
    records = run(healthy, verbosity=3)[0]["records"]
    # What NCCL did was not asked for. The first run had nothing to be compared with, and is the baseline of the second.
    assert result["counts"] == {"pass": len(records) - 31 - 15, "unknown": 31, "skipped": 15}
    assert [record["outcome"] for record in records if record["check"] == "C07"] == ["pass"] * 15


@pytest.fixture
def slow(healthy):
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3)
    return healthy | {"measurements": reading.measurements}


def test_nccl_that_was_not_asked_for_is_noted(healthy):
    result, shown = run(healthy)
    assert result["verdict"]["outcome"] == "admit"
    assert "NCCL was not measured" in shown


def test_nccl_is_judged_where_it_was_asked_for(healthy):
    ranks = builders.healthy_nccl(healthy["plan"], healthy["profile"])
    result, shown = run(healthy | {"nccl": ranks})
    assert result["verdict"]["outcome"] == "admit"
    assert "5.8 GB/s busbw, IB on 4 rails" in shown
    result, _shown = run(healthy | {"nccl": {}})
    assert result["failed"]
    assert result["verdict"]["blocked_by"] == ["N14 spark1", "N14 spark2", "N14 spark3"]


def test_nccl_tests_are_judged_by_their_own_numbers(healthy):
    reading = builders.by_nccl_tests(builders.healthy_reading(healthy["plan"]))
    result, _shown = run(healthy | {"nccl": reading.nccl, "harness": "nccl_tests"})
    assert (result["failed"], result["verdict"]["outcome"]) == (False, "admit")
    assert {each["bound"]["nccl_build_id"] for each in result["admissions"].values()} == {None}
    result, _shown = run(healthy | {"nccl": reading.nccl})
    assert result["refused"]


def test_refuses_and_fails(slow, tmp_path):
    result, shown = run(slow)
    assert result["failed"]
    assert result["msg"] == "Not admitted: P02 spark1:p0:a>spark2:p1:a, P02 spark2:p1:a>spark1:p0:a"
    assert "REFUSE" in shown
    assert json.loads((tmp_path / "evidence" / "latest.json").read_text())["verdict"]["outcome"] == "refuse"


def test_shows_only_when_not_enforced(slow):
    result, shown = run(slow | {"enforce": False})
    assert not result["failed"]
    assert result["verdict"]["outcome"] == "refuse"
    assert "REFUSE" in shown


def test_check_mode_would_not_admit_writes_nothing_and_does_not_fail(healthy, tmp_path):
    result, shown = run(healthy | {"measurements": {}}, check_mode=True)
    assert not result["failed"]
    assert result["verdict"]["outcome"] == "refuse"
    assert result["evidence"] is None
    assert "WOULD NOT ADMIT" in shown
    assert not (tmp_path / "evidence").exists()


def test_without_any_answer_it_refuses(healthy):
    result, _shown = run(healthy | {"facts": {}, "discoveries": {}, "measurements": {}})
    assert result["failed"]
    assert result["verdict"]["valid_pools"] == []


def test_an_earlier_verdict_is_replaced_in_one_step(healthy, slow, tmp_path):
    run(healthy)
    with (
        mock.patch(f"{HOST}.os.fsync", side_effect=OSError("full")),
        pytest.raises(AnsibleActionFail, match="nothing is admitted without it"),
    ):
        run(slow)
    assert json.loads((tmp_path / "evidence" / "latest.json").read_text())["verdict"]["outcome"] == "admit"


def test_an_unwritable_folder_is_a_failure_even_when_all_is_well(healthy, tmp_path):
    (tmp_path / "evidence").write_text("a file")
    with pytest.raises(AnsibleActionFail, match=r"baseline\.json cannot be read: .*Not a directory"):
        run(healthy)


@pytest.mark.parametrize("failing", range(1, 6))
def test_on_a_full_disk_nothing_is_kept_and_nothing_is_admitted(healthy, slow, tmp_path, failing):
    """Whichever of the five files of a first run is the one that no longer fits."""
    fsync = os.fsync
    calls = iter(range(1, 100))

    def full(descriptor: int) -> None:
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with mock.patch(f"{HOST}.os.fsync", full), pytest.raises(AnsibleActionFail, match="nothing is admitted without it"):
        run(healthy)
    assert list((tmp_path / "evidence").iterdir()) == []
    assert run(healthy)[0]["verdict"]["outcome"] == "admit"


# --- what one run leaves for the next ---


def later(args: dict[str, t.Any], **more: t.Any) -> tuple[t.Any, str]:
    """A run of another second, so that it has a name of its own."""
    now = mock.Mock(wraps=datetime)
    now.now.return_value = datetime.now(UTC) + timedelta(seconds=2)
    with mock.patch("ansible_collections.gb10.cluster.plugins.action.gate.datetime", now):
        return run(args | more)


def slower(args: dict[str, t.Any], gbps: float) -> dict[str, t.Any]:
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", gbps)
    return args | {"measurements": reading.measurements}


def test_a_first_run_is_the_baseline_and_a_slower_one_is_noted(healthy, tmp_path):
    first, shown = run(healthy)
    assert first["baseline"] == {"added": 27, "renewed": 0}
    assert shown.endswith("\nbaseline 27 numbers kept for later runs to be compared with")
    baseline = (tmp_path / "evidence" / "baseline.json").read_text()
    second, shown = later(slower(healthy, 100.0))
    assert second["verdict"]["outcome"] == "admit"
    assert second["baseline"] == {"added": 0, "renewed": 0}
    assert "noted       C07 spark1 p0 a -> spark2 p1 a: 100 Gb/s, 10.6% less than the 111.9 of run" in shown
    assert (tmp_path / "evidence" / "baseline.json").read_text() == baseline


def test_the_operator_has_it_renewed(healthy, tmp_path):
    run(healthy)
    result, shown = later(slower(healthy, 100.0), baseline="renew")
    assert result["baseline"] == {"added": 0, "renewed": 27}
    assert "C07" not in shown
    assert "baseline 27 numbers renewed" in shown
    _result, shown = later(slower(healthy, 100.0))
    assert "C07" not in shown


def test_a_refused_run_renews_nothing(healthy, slow, tmp_path):
    run(healthy)
    before = {file.name: file.read_text() for file in (tmp_path / "evidence").iterdir() if file.name in MEMORY}
    later(slow, baseline="renew")
    assert {file.name: file.read_text() for file in (tmp_path / "evidence").iterdir() if file.name in MEMORY} == before


@pytest.mark.parametrize("stage", ["preflight", "full"])
@pytest.mark.parametrize("name", ["baseline.json", "carriers.json"])
@pytest.mark.parametrize("renew", ["keep", "renew"])
def test_a_memory_that_no_run_wrote_is_refused_and_left_alone(healthy, tmp_path, stage, name, renew):
    (tmp_path / "evidence").mkdir()
    file = tmp_path / "evidence" / name
    file.write_text('{"schema": "1", "numbers": [')
    with pytest.raises(AnsibleActionFail, match=f"{name} is not a file that this gate wrote .*move it away"):
        run(healthy | {"stage": stage, "baseline": renew})
    assert [entry.name for entry in (tmp_path / "evidence").iterdir()] == [name]
    assert file.read_text() == '{"schema": "1", "numbers": ['


def test_check_mode_leaves_the_memory_alone(healthy, tmp_path):
    run(healthy)
    before = {file.name: file.read_bytes() for file in (tmp_path / "evidence").iterdir()}
    result, shown = run(healthy | {"baseline": "renew"}, check_mode=True)
    assert result["baseline"] == {"added": 0, "renewed": 0}
    assert "baseline" not in shown.rpartition("\n")[2]
    assert {file.name: file.read_bytes() for file in (tmp_path / "evidence").iterdir()} == before


def dropped(args: dict[str, t.Any]) -> dict[str, t.Any]:
    reading = builders.healthy_reading(builders.plan())
    half_of(reading, "spark1", "p0", "a")["carrier_down_count"] = 2
    return args | {"facts": reading.facts}


def test_a_carrier_that_went_away_is_noted_and_one_that_this_run_took_is_not(healthy):
    run(healthy)
    _result, shown = later(dropped(healthy), changed_nodes=["spark1"])
    assert "L07" not in shown
    reading = builders.healthy_reading(builders.plan())
    half_of(reading, "spark1", "p0", "a")["carrier_down_count"] = 3
    _result, shown = later(healthy | {"facts": reading.facts})
    assert "noted       L07 spark1 p0 a: lost its carrier 1 time since run" in shown


def test_a_run_says_how_long_it_took(healthy, tmp_path):
    preflight, _shown = run(healthy | {"stage": "preflight"})
    result, shown = run(healthy | {"run_started": preflight["run_started"]})
    evidence = json.loads(Path(result["evidence"]).read_text())
    assert evidence["started"] == preflight["run_started"]
    assert 0 <= evidence["duration_s"] < 100
    assert re.search(r"\.json · \d+ s$", shown, re.MULTILINE)
    assert "run_started" not in run(healthy)[0]


def test_what_is_shown_to_strangers_has_no_name(healthy, tmp_path):
    result, _shown = run(healthy)
    shared = Path(result["evidence"]).with_suffix(".share.json").read_text()
    assert "spark1" not in shared
    assert json.loads(shared)["verdict"]["outcome"] == "admit"


def test_what_cannot_be_judged_fails_with_a_sentence(healthy):
    with pytest.raises(AnsibleActionFail, match=r"Cannot judge: profile: .* missing"):
        run(healthy | {"profile": {"name": "x"}})


def test_full_needs_a_profile():
    with pytest.raises(AnsibleActionFail, match="Cannot judge: profile"):
        run({"plan": builders.plan()})


def test_unknown_stage_is_refused(healthy):
    with pytest.raises(AnsibleActionFail, match="stage must be one of"):
        run(healthy | {"stage": "fast"})


# --- some levels ---


def test_some_levels_pass_without_an_admission(healthy, tmp_path):
    result, shown = run(healthy | {"levels": ["node"]})
    assert (result["failed"], result["msg"], result["levels"]) == (False, "node checks pass", ["node"])
    assert result["verdict"]["outcome"] == "refuse"
    assert "PARTIAL  node checks pass" in shown
    run_id = result["verdict"]["run_id"]
    folder = tmp_path / "evidence"
    assert sorted(file.name for file in folder.iterdir()) == [f"{run_id}.json", f"{run_id}.share.json"]
    assert json.loads((folder / f"{run_id}.json").read_text())["levels"] == ["node"]


def test_some_levels_leave_the_last_whole_run_the_latest(healthy, slow, tmp_path):
    run(healthy)
    result, _shown = run(slow | {"levels": ["pair"]})
    assert result["failed"]
    assert result["msg"].startswith("Not admitted: P02 ")
    assert json.loads((tmp_path / "evidence" / "latest.json").read_text())["verdict"]["outcome"] == "admit"


def test_some_levels_write_nothing_and_do_not_fail_in_check_mode(healthy, tmp_path):
    result, shown = run(healthy | {"levels": ["pair"], "measurements": {}}, check_mode=True)
    assert (result["failed"], result["evidence"]) == (False, None)
    assert "PARTIAL" not in shown
    assert not (tmp_path / "evidence").exists()


def test_a_level_that_there_is_not(healthy):
    with pytest.raises(AnsibleActionFail, match="Cannot judge: levels are"):
        run(healthy | {"levels": ["nodes"]})


# --- admissions ---


def test_every_node_of_an_admitted_plan_gets_a_grant(healthy):
    result, shown = run(healthy | {"admission_days": 2})
    assert list(result["admissions"]) == NODES
    assert result["admissions"]["spark1"]["lifetime_s"] == 2 * 86400
    assert result["verdict"]["admission_days"] == 2
    assert "2 days at most, this boot, these versions" in shown


@pytest.mark.parametrize("check_mode", [False, True])
def test_nobody_gets_one_when_it_is_refused_or_not_measured(slow, check_mode):
    assert run(slow | {"enforce": False}, check_mode)[0]["admissions"] == {}


@pytest.mark.parametrize(
    ("enforce", "check_mode", "outcome", "failed"),
    [
        (True, False, "refuse", True),
        (True, False, "admit", False),
        (False, False, "refuse", False),
        (True, True, "refuse", False),
    ],
)
def test_a_verdict_is_enforced_after_the_nodes_were_told(healthy, enforce, check_mode, outcome, failed):
    verdict = {"outcome": outcome, "blocked_by": ["N07 spark1"], "run_id": "run"}
    result, shown = run(
        {"stage": "enforce", "plan": healthy["plan"], "verdict": verdict, "enforce": enforce}, check_mode
    )
    assert (result["failed"], shown) == (failed, "")
    assert result["msg"] == ("admitted" if outcome == "admit" else "Not admitted: N07 spark1")
    assert result["verdict"] == verdict  # the callback shows no second failure then


def test_what_is_no_verdict_is_not_admitted(healthy):
    with pytest.raises(AnsibleActionFail):
        run({"stage": "enforce", "plan": healthy["plan"]})
    with pytest.raises((AnsibleActionFail, KeyError)):
        run({"stage": "enforce", "plan": healthy["plan"], "verdict": {}})


def test_what_refuses_is_said_apart_from_whether_it_fails(healthy, slow):
    def refused(arguments, check_mode=False):
        result, _shown = run(arguments | {"enforce": False}, check_mode)
        return result["failed"], result["refused"]

    assert refused(healthy) == refused(healthy | {"levels": ["pair"]}) == (False, False)
    assert refused(slow) == refused(slow | {"levels": ["pair"]}) == (False, True)
    assert refused(slow, True) == refused(slow | {"levels": ["pair"]}, True) == (False, False)


def test_some_levels_change_nobodys_quarantine(lost, healthy, tmp_path):
    run(lost | {"levels": ["node"]})
    assert not (tmp_path / "evidence/quarantine.json").exists()
    assert "admissions" not in run(healthy | {"levels": ["node", "half-link", "pair", "cluster"]})[0]


# --- waivers ---


def test_a_waiver_with_a_date_as_yaml_reads_it(healthy):
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 90.0, "spark1")
    waiver = {"check": "P02", "subject": "spark1:p0:a>spark2:p1:a", "reason": "known", "expires": date(2999, 12, 31)}
    result, _shown = run(healthy | {"measurements": reading.measurements, "waivers": [waiver]})
    assert result["verdict"]["outcome"] == "admit"
    assert result["admissions"]["spark1"]["not_after"] == "3000-01-01T00:00:00Z"


def test_what_is_no_waiver_is_a_line_and_not_a_crash(healthy):
    result, shown = run(healthy | {"waivers": ["all of it"]})
    assert result["verdict"]["outcome"] == "admit"
    assert "waiver 'all of it' does not help" in shown


# --- quarantine ---


@pytest.fixture
def lost(healthy):
    reading = builders.healthy_reading(builders.plan())
    del reading.facts["spark3"]["halves"][3]
    return healthy | {"facts": reading.facts}


def remembered(folder: Path) -> t.Any:
    return json.loads((folder / "evidence/quarantine.json").read_text())


def test_a_lost_device_is_remembered_for_its_owner_alone(lost, healthy, tmp_path):
    run(lost)
    file = tmp_path / "evidence/quarantine.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(remembered(tmp_path)["nodes"]) == ["spark3"]
    result, shown = run(healthy)
    assert result["failed"]
    assert result["verdict"]["blocked_by"] == ["quarantine spark3"]
    assert result["admissions"] == {}
    assert "spark3 is in quarantine since" in shown


def test_it_leaves_after_two_passes_and_an_acknowledgement(lost, healthy, tmp_path):
    run(lost)
    run(healthy | {"readmit_interval": 0, "acknowledge": "spark3"})
    assert remembered(tmp_path)["nodes"]["spark3"]["acknowledged"]["by"]
    result, shown = run(healthy | {"readmit_interval": 0})
    assert result["verdict"]["outcome"] == "admit"
    assert "spark3 is released from quarantine" in shown
    assert remembered(tmp_path)["nodes"] == {}


def test_check_mode_neither_brings_in_nor_lets_out(lost, healthy, tmp_path):
    run(lost, check_mode=True)
    assert not (tmp_path / "evidence").exists()
    run(lost)
    before = (tmp_path / "evidence/quarantine.json").read_bytes()
    result, _shown = run(healthy | {"readmit_interval": 0, "acknowledge": ["spark3"]}, check_mode=True)
    assert "quarantine spark3" in result["verdict"]["blocked_by"]
    assert (tmp_path / "evidence/quarantine.json").read_bytes() == before


@pytest.mark.parametrize("stage", ["preflight", "full"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"schema": "1", "nodes": {}}'], ids=repr)
def test_a_file_that_cannot_be_read_refuses(healthy, tmp_path, stage, content):
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence/quarantine.json").write_bytes(content)
    with pytest.raises(AnsibleActionFail, match=r"Cannot judge: .*does not say which nodes are in quarantine"):
        run(healthy | {"stage": stage})
    assert (tmp_path / "evidence/quarantine.json").read_bytes() == content


def test_a_file_that_refuses_to_be_read_refuses(healthy, tmp_path):
    (tmp_path / "evidence/quarantine.json").mkdir(parents=True)
    with pytest.raises(AnsibleActionFail, match=r"quarantine.json cannot be read: .*Is a directory"):
        run(healthy)


def test_a_user_without_a_name_can_acknowledge(lost, healthy, tmp_path):
    run(lost)
    with mock.patch("getpass.getuser", side_effect=OSError("no name")):
        run(healthy | {"acknowledge": ["spark3"]})
    assert remembered(tmp_path)["nodes"]["spark3"]["acknowledged"]["by"].startswith("uid ")


# --- preflight ---


def test_preflight_passes(healthy):
    result, shown = run(healthy | {"stage": "preflight"})
    assert not result.get("failed")
    assert shown == ""


@pytest.mark.parametrize(
    ("task_vars", "says"),
    [
        ({"ansible_forks": 1}, "forks is 1"),
        ({"ansible_play_batch": ["spark1"]}, "serial"),
        ({"ansible_play_hosts_all": ["spark1"]}, "--limit"),
    ],
)
def test_preflight_refuses_what_keeps_nodes_apart(healthy, task_vars, says):
    result, _shown = run(healthy | {"stage": "preflight"}, **task_vars)
    assert result["failed"]
    assert says in result["msg"]


def test_preflight_validates_the_profile(healthy):
    profile = healthy["profile"] | {"required": ["N00"]}
    with pytest.raises(AnsibleActionFail, match="P01, P02 missing"):
        run(healthy | {"stage": "preflight", "profile": profile})


# --- passive ---


def test_passive_is_ready_shows_and_writes_nothing(healthy, tmp_path):
    missing = {node: ["perftest"] for node in NODES}
    for check_mode in (False, True):
        result, shown = run(healthy | {"stage": "passive", "missing": missing}, check_mode)
        assert (result["failed"], result["ready"], result["changed"]) == (False, True, False)
        assert "role dgx_os installs perftest on spark1, spark2, spark3" in shown
        assert "READY  nothing is in the way" in shown
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize("enforce", [False, True])
def test_passive_stops_where_something_is_in_the_way(healthy, enforce):
    facts = {node: healthy["facts"][node] for node in NODES[:2]}
    missing: dict[str, list[str]] = {node: [] for node in facts}
    args = healthy | {"stage": "passive", "facts": facts, "missing": missing, "enforce": enforce}
    result, shown = run(args)
    assert (result["failed"], result["ready"]) == (enforce, False)
    assert result["msg"] == "In the way of an installation: N00 spark3: did not answer"
    assert "STOP  1 thing is in the way" in shown


def test_passive_needs_a_profile(healthy):
    with pytest.raises(AnsibleActionFail, match="Cannot judge: profile"):
        run({"plan": healthy["plan"], "stage": "passive"})


# --- cabling ---

P0_P0 = [(("spark1", "p0"), ("spark2", "p0"))]


@pytest.mark.parametrize("check_mode", [False, True])
def test_cabling(check_mode):
    plan = builders.plan("direct")
    args = {"stage": "cabling", "plan": plan}
    right, shown = run(args | {"discoveries": builders.healthy_discoveries(plan)}, check_mode)
    assert (right.get("failed", False), right["proven"], shown) == (False, True, "cabling    1 cable as planned")
    wrong, shown = run(args | {"discoveries": builders.cabled(plan, P0_P0)}, check_mode)
    assert (wrong["failed"], wrong["proven"]) == (not check_mode, False)
    assert "spark2: move the plug from p0 to p1" in wrong["msg"]
    assert shown.startswith("NOTE" if check_mode else "STOP")


def test_cabling_leaves_an_earlier_verdict_alone(healthy, tmp_path):
    run(healthy)
    before = (tmp_path / "evidence" / "latest.json").read_text()
    files = sorted((tmp_path / "evidence").iterdir())
    run(healthy | {"stage": "cabling"})
    assert (tmp_path / "evidence" / "latest.json").read_text() == before
    assert sorted((tmp_path / "evidence").iterdir()) == files


# --- in a real play ---

PLAY = """
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - name: Admit or refuse
      gb10.cluster.gate:
        plan: "{{ fabric_plan }}"
        profile: "{{ profile }}"
        facts: "{{ facts }}"
        discoveries: "{{ discoveries }}"
        measurements: "{{ measurements }}"
        evidence_dir: "{{ playbook_dir }}/evidence"
      run_once: true
- hosts: all
  gather_facts: false
  tasks:
    - name: Serve
      ansible.builtin.debug:
        msg: served
"""


def playbook(folder: Path, args: dict[str, t.Any], *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "play.yml").write_text(textwrap.dedent(PLAY))
    (folder / "hosts.yml").write_text("all: {hosts: {spark1: , spark2: , spark3: }}\n")
    variables = {"fabric_plan": args["plan"]} | {
        key: args[key] for key in ("profile", "facts", "discoveries", "measurements")
    }
    (folder / "vars.json").write_text(json.dumps(variables))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml", "-e", "@vars.json"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": str(builders.ROOT / ".collections"),
    }
    return subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )


def test_a_refusal_ends_the_run_and_the_next_play_runs_nowhere(slow, tmp_path):
    done = playbook(tmp_path, slow)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "REFUSE" in done.stdout
    assert "Not admitted: P02" in done.stdout
    assert "served" not in done.stdout
    assert (tmp_path / "evidence" / "latest.json").exists()


def test_an_admission_lets_the_next_play_run(healthy, tmp_path):
    done = playbook(tmp_path, healthy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ADMIT  spark1 spark2 spark3" in done.stdout
    assert done.stdout.count("served") == 3
