"""The schemas under docs/schema say what the contracts say, and real plans are valid by them."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils import contracts
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_summary import summary
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_log import read_nccl_log
from ansible_collections.gb10.cluster.plugins.module_utils.shape import optional_keys
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.build import Wanted, serving_plan
from ansible_collections.gb10.cluster.plugins.module_utils.verdict import quarantine
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import issue, revocation
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing import models
from ansible_collections.gb10.cluster.tests.unit.spark_tree import NOW, grant
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/schema"
ROOTS: dict[str, t.Any] = {
    "fabric-plan": contracts.Plan,
    "check-record": contracts.CheckRecord,
    "verdict": contracts.Verdict,
    "evidence": contracts.EvidenceFile,
    "rdma-measurement": contracts.RdmaMeasurement,
    "nccl-measurement": contracts.NcclMeasurement,
    "baseline": contracts.Baseline,
    "carriers": contracts.CarrierMarks,
    "shared-evidence": contracts.SharedEvidence,
    "admission": contracts.Admission,
    "revocation": contracts.Revocation,
    "quarantine": contracts.QuarantineFile,
    "serving-plan": contracts.ServingPlan,
}
SCHEMAS = {name: json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")) for name in ROOTS}
REGISTRY: Registry[t.Any] = Registry().with_resources(
    [(schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()]
)
# What a schema may add to a type: prose and bounds.
ADDED = {
    "description",
    "examples",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
}


def validate(name: str, document: t.Any) -> None:
    Draft202012Validator(SCHEMAS[name], registry=REGISTRY, format_checker=FormatChecker()).validate(document)


# --- schema and TypedDict ---


def of_type(hint: t.Any) -> t.Any:
    """A type in a form that two sides can be compared in."""
    origin, arguments = t.get_origin(hint), t.get_args(hint)
    if t.is_typeddict(hint):
        fields = t.get_type_hints(hint)
        return "object", sorted(fields.keys() - optional_keys(hint)), {k: of_type(v) for k, v in fields.items()}
    if type(None) in arguments:
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return "optional", of_type(inner)
    if origin is t.Literal:
        return "enum", sorted(arguments)
    if origin is list:
        return "list", of_type(arguments[0])
    if origin is dict:
        return "dict", of_type(arguments[1])
    return {str: "string", int: "integer", float: "number", bool: "boolean", t.Any: "any"}[hint]


def of_schema(node: dict[str, t.Any], document: dict[str, t.Any]) -> t.Any:
    bare = {key: value for key, value in node.items() if key not in ADDED}
    if "$ref" in bare:
        return of_reference(bare["$ref"], document)
    if "anyOf" in bare:
        inner, null = bare["anyOf"]
        assert null == {"type": "null"}
        return "optional", of_schema(inner, document)
    if "const" in bare:
        assert bare["const"] == contracts.SCHEMA
        return "string"
    if "enum" in bare:
        values = sorted(value for value in bare["enum"] if value is not None)
        return ("optional", ("enum", values)) if None in bare["enum"] else ("enum", values)
    return of_typed_schema(bare, document)


def of_reference(reference: str, document: dict[str, t.Any]) -> t.Any:
    if reference.startswith("#/$defs/"):
        return of_schema(document["$defs"][reference.removeprefix("#/$defs/")], document)
    other = SCHEMAS[reference.split(":")[2]]
    return of_schema(other, other)


def of_typed_schema(bare: dict[str, t.Any], document: dict[str, t.Any]) -> t.Any:
    kind = bare.get("type", "any")
    if isinstance(kind, list):
        assert kind[1:] == ["null"]
        return "optional", kind[0]
    if kind == "array":
        return "list", of_schema(bare["items"], document)
    if kind == "object" and "properties" not in bare:
        values = bare["additionalProperties"]
        return "dict", "any" if values is True else of_schema(values, document)
    if kind == "object":
        assert bare["additionalProperties"] is False
        return "object", sorted(bare["required"]), {k: of_schema(v, document) for k, v in bare["properties"].items()}
    return kind


@pytest.mark.parametrize("name", ROOTS)
def test_schema_and_type_say_the_same(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert of_schema(SCHEMAS[name], SCHEMAS[name]) == of_type(ROOTS[name])


@pytest.mark.parametrize("name", ROOTS)
def test_every_definition_is_used(name: str) -> None:
    text = json.dumps(SCHEMAS[name])
    for definition in SCHEMAS[name].get("$defs", {}):
        assert f'"#/$defs/{definition}"' in text


# --- documents ---

HOSTS = {f"spark{n}": {"ansible_host": f"192.0.2.{n}"} for n in range(1, 5)}
PLANS = [("single", 1), ("direct", 2), ("triangle", 3), ("switch", 2), ("switch", 3), ("switch", 4)]


def plan_of(topology: str, count: int) -> contracts.Plan:
    return build_plan(list(HOSTS)[:count], HOSTS, Declaration(topology))


@pytest.mark.parametrize(("topology", "count"), PLANS)
def test_plans_are_valid(topology: str, count: int) -> None:
    validate("fabric-plan", json.loads(json.dumps(plan_of(topology, count))))


@pytest.mark.parametrize("name", ["llama-3.1-405b-awq", "qwen3-coder-next-fp8", "deepseek-r1"])
@pytest.mark.parametrize("wanted", [{}, {"engine": "trtllm"}, {"tensor_parallel": 2}], ids=str)
def test_serving_plans_are_valid(name: str, wanted: dict[str, t.Any]) -> None:
    plan = serving_plan(models.facts(name), models.SPARKS, Wanted(**wanted))
    validate("serving-plan", json.loads(json.dumps(plan)))
    with pytest.raises(ValidationError):
        validate("serving-plan", plan | {"kv_tokens": -1})


@pytest.mark.parametrize(("topology", "count"), PLANS)
@pytest.mark.parametrize("profile", [builders.GB10, builders.LAB])
def test_measurements_are_valid(topology: str, count: int, profile: str) -> None:
    plan = builders.plan(topology, count)
    for measurement in builders.healthy_measurements(plan, builders.profile(profile)).values():
        validate("rdma-measurement", measurement)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pairs", None),
        ("pairs/0/halves", []),
        ("pairs/0/halves/0/half", "c"),
        ("pairs/0/halves/1/bandwidth/0/gbps", "98"),
        ("pairs/0/failure", "it broke"),
        ("pairs/0/latency", None),
        ("pairs_served", [{"paths": []}]),
        ("directions/0/bandwidth/0/agrees", "yes"),
    ],
)
def test_a_measurement_that_is_wrong_is_refused(path: str, value: t.Any) -> None:
    plan = builders.plan("direct")
    measurement = builders.healthy_measurements(plan, builders.profile())["spark1"]
    with pytest.raises(ValidationError):
        validate("rdma-measurement", change(path, value, t.cast("dict[str, t.Any]", measurement)))


RECORD: contracts.CheckRecord = {
    # The sample of health-checks 4.9.
    "schema": "1",
    "run_id": "20261123-1420",
    "check": "P02",
    "level": "pair",
    "subject": {"from": "spark1:p0:a", "to": "spark2:p1:a", "direction": "from-to"},
    "outcome": "fail",
    "required": True,
    "cause": "hardware",
    "signature": "cx7-init-clamp",
    "measured": {"bw_gbps": 13.3, "runs": [13.4, 13.3, 13.3], "lat_us": 1.67},
    "threshold": {"pass": 95, "degraded": 80, "profile": "gb10-mtu9000-q4-64k"},
    "evidence": {"argv": ["ib_write_bw"], "rc": 0, "raw_sha256": None},
    "message": "13.3 Gb/s on a 200G link, insensitive to queue pairs and message size, normal latency",
    "remedy": ["reboot spark1 and spark2 with the cable attached"],
}
VERDICT: contracts.Verdict = {
    "outcome": "refuse",
    "diagnosis": {"suspects": ["spark3"], "exonerated": [], "failing_paths": [], "next_action": None},
    "valid_pools": [["spark1", "spark2"], ["spark3"]],
    "blocked_by": ["P02 spark1:p0:a>spark2:p1:a"],
    "run_id": "20261123-1420",
}


def evidence() -> dict[str, t.Any]:
    return {
        "schema": "1",
        "run_id": "20261123-1420",
        "started": "2026-11-23T14:18:02+00:00",
        "duration_s": 131.8,
        "plan": plan_of("triangle", 3),
        "profile": "gb10-mtu9000-q4-64k",
        "hashes": {"plan": "0" * 64, "profile": "f" * 64},
        "nodes": {
            "spark1": {
                "boot_id": "8c1cb8f2",
                "kernel": "6.17.0-1029-nvidia",
                "os_version": "24.04",
                "firmware": "28.45.4028",
                "gpu_driver": "580.95.05",
                "nccl_version": "2.30.7",
                "nccl_build_id": "a7f420a1",
                "image_id": None,
                "cabling": {"p0": ["spark2:p1"], "p1": []},
                "tools": {"perftest": "24.01.0+0.38-1", "ib_write_bw": None},
            }
        },
        "records": [copy.deepcopy(RECORD)],
        "verdict": copy.deepcopy(VERDICT),
    }


NCCL: contracts.NcclMeasurement = {
    "schema": "1",
    "node": "spark1",
    "rank": 0,
    "world_size": 3,
    "profile": "gb10-mtu9000-q4-64k",
    "boot_id": "c82c1b05-a9b9-4f27-a39c-96317639d451",
    "uptime_s": 86890.2,
    "clock_step_s": 0.0,
    "harness": "torch",
    "runtime": {"kind": "docker", "image": "vllm:1", "image_id": "sha256:98", "python": "python3"},
    "torch": "2.11.0+cu130",
    "library": {
        "version": "2.30.7",
        "headers": "2.30.7",
        "path": "/usr/lib/libnccl.so.2",
        "build_id": "a7f420a1",
        "size_bytes": 219000000,
        "subnet_aware_routing": True,
        "others": [],
    },
    "runs": [
        {
            "collective": "all_gather",
            "size_bytes": 67108848,
            "warmup": False,
            "iterations": 5,
            "seconds": 0.0077,
            "algbw_gbs": 8.7,
            "busbw_gbs": 5.8,
            "wrong": 0,
        }
    ],
    "inside": {
        "memlock_kib": -1,
        "uverbs": ["uverbs0"],
        "verbs_library": True,
        "nccl_files": [{"path": "/etc/nccl.conf", "settings": {"NCCL_NET": "IB"}}],
        "environment": {"NCCL_VERSION": "2.28.9-1"},
    },
    "gpu_load": {
        "seconds": 10.0,
        "samples": 9,
        "clock_mhz": 2411.0,
        "power_w": None,
        "utilisation": 97.0,
        "problem": None,
    },
    "pairs": [{"peer": "spark2", "runs": []}],
    "soak": {
        "seconds": 600.1,
        "rounds": 1900,
        "wrong": 0,
        "samples": [{"clock_mhz": 2411.0, "power_w": None, "utilisation": 97.0, "pstate": "P0"}],
        "counter_deltas": {"rocep1s0f0": {"packet_seq_err": 0}},
        "problem": None,
    },
    "left_out": [1073741824],
    "pair_transports": {"NET/IB": 8},
    "tx_bytes": {"rocep1s0f0": 1480000000, "roceP2p1s0f0": None},
    "rx_bytes": {},
    "log": summary(read_nccl_log((ROOT / "tests/fixtures/nccl/triangle-rank0.log").read_text().splitlines(True))),
    "failure": {
        "stage": "all_reduce",
        "cause": "environment",
        "message": "the 180 s of the profile were up",
        "argv": ["docker", "run"],
        "rc": 1,
        "raw_sha256": "5f70",
    },
    "skipped": None,
    "duration_s": 24.1,
}
LOGS = sorted((ROOT / "tests/fixtures/nccl").glob("*.log"))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_an_nccl_measurement_is_valid_with_the_summary_of_any_log(log: Path) -> None:
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    validate("nccl-measurement", NCCL | {"log": summary(read_nccl_log(lines))})


@pytest.mark.parametrize(
    "key",
    ["boot_id", "uptime_s", "torch", "library", "inside", "gpu_load", "soak", "log", "failure", "skipped"],
)
def test_what_an_nccl_measurement_does_not_know_is_null(key: str) -> None:
    validate("nccl-measurement", NCCL | {key: None})


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": "2"},
        {"harness": "gloo"},
        {"rank": -1},
        {"clock_step_s": None},
        {"environment": {"HF_TOKEN": "secret"}},
        {"runs": [NCCL["runs"][0] | {"wrong": None}]},
        {"runs": [NCCL["runs"][0] | {"collective": "all_to_all"}]},
        {"log": {}},
    ],
    ids=str,
)
def test_what_is_wrong_in_an_nccl_measurement_is_refused(wrong: dict[str, t.Any]) -> None:
    with pytest.raises(ValidationError):
        validate("nccl-measurement", NCCL | wrong)


def test_samples_are_valid() -> None:
    validate("check-record", RECORD)
    validate("verdict", VERDICT)
    validate("evidence", evidence())


ADMISSION = issue(grant(), NOW)
REVOCATION = revocation("spark1", "20261124-120000", ["P02 spark1:p0:a>spark2:p1:a"], NOW)


def lost_device(acknowledged: tuple[str, ...] = ()) -> tuple[quarantine.Memory, contracts.EvidenceFile]:
    reading = builders.healthy_reading(builders.plan())
    del reading.facts["spark3"]["halves"][3]
    judged = decide(reading, "run")
    memory = quarantine.advance(quarantine.empty(), judged, quarantine.Policy(600), NOW)
    return quarantine.advance(memory, judged, quarantine.Policy(600, acknowledged, "ada"), NOW), judged


def test_what_a_node_holds_is_valid() -> None:
    validate("admission", ADMISSION)
    validate("revocation", REVOCATION)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("admission", {"expires": "2026-12-01"}),
        ("admission", {"pool": []}),
        ("admission", {"seal": "none"}),
        ("admission", {"bound": {**ADMISSION["bound"], "gpu_driver": 580}}),
        ("admission", {"bound": {"boot_id": "x"}}),
        ("admission", {"secret": "x"}),
        ("revocation", {"reasons": "N07 spark1"}),
        ("revocation", {"revoked": True}),
    ],
    ids=str,
)
def test_what_is_wrong_in_it_is_refused(name: str, wrong: dict[str, t.Any]) -> None:
    document = {"admission": dict(ADMISSION), "revocation": dict(REVOCATION)}[name]
    with pytest.raises(ValidationError):
        validate(name, document | wrong)


@pytest.mark.parametrize("acknowledged", [(), ("spark3",)])
def test_what_is_remembered_and_said_of_a_quarantine_is_valid(acknowledged: tuple[str, ...]) -> None:
    memory, judged = lost_device(acknowledged)
    validate("quarantine", json.loads(quarantine.written(memory)))
    kept = quarantine.kept_out(judged, memory, 600)
    kept["records"][0]["waiver"] = {"reason": "known", "expires": "2026-12-31T00:00:00Z"}
    validate("evidence", json.loads(json.dumps(kept)))


def change(path: str, value: t.Any, document: dict[str, t.Any]) -> dict[str, t.Any]:
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("/"))
    node: t.Any = document
    for parent in parents:
        node = node[parent]
    node[last] = value
    return document


BROKEN = [
    ("schema", "2"),
    ("verdict/outcome", "maybe"),
    ("records/0/outcome", "ok"),
    ("records/0/check", "bandwidth"),
    ("records/0/extra", 1),
    ("plan/topology", "ring"),
    ("plan/mtu", 9001),
    ("plan/nodes/spark1/mgmt_ip", "spark1"),
    ("plan/nodes/spark1/halves/0/ipv4", "10.210.0.1/24"),
    ("plan/nodes/spark1/halves/0/peer/half", "c"),
    ("plan/paths/0/ends", []),
    ("plan/nccl_env/spark1/NCCL_IB_DISABLE", 0),
    ("hashes/plan", "short"),
    ("nodes/spark1/serial", "1420123"),
    ("nodes/spark1/cabling", ["spark2:p1"]),
    ("duration_s", "2 min"),
]


@pytest.mark.parametrize(("path", "value"), BROKEN, ids=[case[0] for case in BROKEN])
def test_what_is_wrong_is_refused(path: str, value: t.Any) -> None:
    with pytest.raises(ValidationError):
        validate("evidence", change(path, value, evidence()))
