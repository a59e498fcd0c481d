"""One rank that is spoiled, one check that is asked: the shape of the cases about what NCCL did."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_summary import summary
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_log import read_nccl_log
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.checks import CHECKS
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.judge import evaluate
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.outcome import Outcome
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.profiles import parsed_limits
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading, views
from ansible_collections.gb10.cluster.tests.unit import builders

ALL = "spark1+spark2+spark3"
MIB = 1024 * 1024

Spoil = t.Callable[[Reading], t.Any]


def ask(reading: Reading, check_id: str, key: str) -> Outcome:
    """One check on one subject, without its parents."""
    entry = CHECKS[check_id]
    view = next(view for view in views(entry.scope, reading) if view.key == key)
    return evaluate(entry, view, parsed_limits(reading.profile)[check_id])


def rank(reading: Reading, node: str = "spark1") -> t.Any:
    assert reading.nccl is not None
    return reading.nccl[node]


def of_rank(**values: t.Any) -> Spoil:
    return lambda reading: rank(reading).update(values)


def library(**values: t.Any) -> Spoil:
    return lambda reading: rank(reading)["library"].update(values)


def log(**values: t.Any) -> Spoil:
    return lambda reading: rank(reading)["log"].update(values)


def recorded(name: str) -> Spoil:
    """The log of a fixture in place of the healthy one."""
    lines = (builders.ROOT / f"tests/fixtures/nccl/{name}.log").read_text(encoding="utf-8").splitlines(keepends=True)
    return lambda reading: rank(reading).update(log=summary(read_nccl_log(lines)))


def findings(*kinds: str) -> list[dict[str, t.Any]]:
    return [{"kind": kind, "device": None, "count": 1, "excerpt": ""} for kind in kinds]


def connection(**values: t.Any) -> Spoil:
    return lambda reading: rank(reading)["log"]["connections"][0].update(values)


def without_pairs(*devices: str) -> Spoil:
    def spoil(reading: Reading) -> None:
        pairs = rank(reading)["log"]["queue_pairs"]
        pairs[:] = [each for each in pairs if each["device"] not in devices]

    return spoil


def moved(**values: t.Any) -> Spoil:
    """Bytes by device, sent and received."""

    def spoil(reading: Reading) -> None:
        for key in ("tx_bytes", "rx_bytes"):
            rank(reading)[key].update(values)

    return spoil


def override(crosses: bool | None) -> Spoil:
    lines = [{"from_devices": ["roceP2p1s0f0"], "to_devices": ["rocep1s0f0"], "crosses_domain": crosses, "lines": 1}]
    return log(overrides=lines)


def speed(*values: float, node: str | None = None, at_most: int = 64 * MIB) -> Spoil:
    """The repeats of the all_gather at 64 MiB, on one node or on all; warm-ups are left as they are."""

    def spoil(reading: Reading) -> None:
        for name, measurement in (reading.nccl or {}).items():
            runs = [r for r in measurement["runs"] if (r["collective"], r["warmup"]) == ("all_gather", False)]
            runs = [run for run in runs if run["size_bytes"] <= at_most and node in (None, name)]
            for run, value in zip(runs, values * len(runs), strict=False):
                run["busbw_gbs"] = value

    return spoil


def run_is_missing(reading: Reading) -> None:
    rank(reading)["runs"].pop(1)


def failure(cause: str) -> dict[str, t.Any]:
    return {"stage": "init", "cause": cause, "message": "it broke", "argv": [], "rc": 1, "raw_sha256": None}


def mesh_plugin(reading: Reading) -> None:
    for env in reading.plan["nccl_env"].values():
        env["NCCL_NET"] = "Mesh"
        del env["NCCL_IB_SUBNET_AWARE_ROUTING"]


def mesh_log(reading: Reading) -> None:
    mesh_plugin(reading)
    log(networks=["Mesh"], transports={"NET/Mesh": 8}, queue_pairs=[], connections=[])(reading)


def both(*spoils: Spoil) -> Spoil:
    def spoil(reading: Reading) -> None:
        for each in spoils:
            each(reading)

    return spoil


@dataclass(frozen=True)
class Case:
    id: str
    check: str
    spoil: Spoil
    want: str
    says: str = ""
    signature: str | None = None
    topology: str = "triangle"

    @property
    def key(self) -> str:
        scope = CHECKS[self.check].scope
        if scope == "collective" and self.topology != "direct":
            return ALL
        return "spark1+spark2" if scope in ("collective", "rank_pair") else {"cluster": ALL}.get(scope, "spark1")


def check_case(case: Case, reading: Reading) -> None:
    """Spoil a healthy reading and ask."""
    case.spoil(reading)
    outcome = ask(reading, case.check, case.key)
    assert outcome.name == case.want, outcome.message
    assert case.says in outcome.message
    assert outcome.signature == case.signature
    assert (outcome.cause is None) == (outcome.name == "pass")
    assert outcome.name not in ("fail", "degraded") or outcome.remedy


def leaves(value: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    entries = list(items)
    for key, item in entries:
        yield from leaves(item, (*path, key))
    if not entries and path:
        yield path
