"""docs/sizing.md: the table of the seed document, computed again, and what is wrong in its arithmetic."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.architectures import KNOWN, REFUSED
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.build import Wanted, serving_plan
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.memory import GIB
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.parallel import describe
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import ROOT, facts, nodes
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.test_kv import LOGS, Log, cache
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.test_roofline import speed

TEXT = (ROOT / "docs/sizing.md").read_text(encoding="utf-8")

FORMATS: dict[str, dict[str, t.Any] | None] = {
    "BF16": None,
    "FP8": {"quant_method": "fp8"},
    "INT4": {"quant_method": "awq", "bits": 4, "group_size": 128},
}
# seed-research 5, GB
SEED = {
    ("Llama 3.1 8B", "llama-3.1-8b"): (16, 8, 4),
    ("Llama 3.1 70B", "llama-3.1-70b"): (140, 70, 35),
    ("Qwen3 235B", "qwen3-235b-a22b"): (470, 235, 118),
    ("Llama 3.1 405B", "llama-3.1-405b-awq"): (810, 405, 203),
    ("DeepSeek V3/R1 671B", "deepseek-v3"): (1300, 671, 336),
}


def row(title: str, name: str, kind: str, seed: int) -> str:
    plans = [
        serving_plan(facts(name, quantization_config=FORMATS[kind]), nodes(*[119.7] * count), Wanted())
        for count in (1, 2, 3)
    ]
    size = plans[0]["weights_bytes"]
    ways = [describe(plan["tp"], plan["pp"], plan["dp"]) if plan["fits"] else "no" for plan in plans]
    return f"| {title} | {kind} | {seed} | {size / 1e9:.1f} | {size / GIB:.1f} | {' | '.join(ways)} |"


ROWS = [(*model, kind, size) for model, sizes in SEED.items() for kind, size in zip(FORMATS, sizes, strict=True)]


@pytest.mark.parametrize(("title", "name", "kind", "seed"), ROWS, ids=[f"{case[0]} {case[2]}" for case in ROWS])
def test_the_table_of_the_document_is_what_the_plan_says(title: str, name: str, kind: str, seed: int) -> None:
    assert row(title, name, kind, seed) in TEXT


def test_the_table_has_no_other_rows() -> None:
    assert sum(line.count("|") == 9 for line in TEXT.splitlines()) == len(ROWS) + 2


# What the second table says is right, in the words of the document.
def sparks(name: str, **wanted: t.Any) -> t.Any:
    return serving_plan(facts(name), nodes(119.7, 119.7, 119.7), Wanted(**wanted))


def test_the_corrections_are_computed() -> None:
    large = sparks("llama-3.1-405b-awq")
    eighth = sparks("llama-3.1-405b-awq", kv_cache_dtype="fp8")
    corrections = [
        f"{sum(large['kv_bytes_per_token_rank']):,} B in BF16, {sum(eighth['kv_bytes_per_token_rank']):,} B in FP8",
        f"{large['kv_tokens']:,} tokens in BF16, {eighth['kv_tokens']:,} in FP8",
        f"{large['memory']['total_bytes'] / 1e9:.1f} GB",
        f"{large['memory']['budget_bytes'] / GIB:.1f} GiB a node",
        f"{3 * large['memory']['budget_bytes'] / GIB:.0f} GiB",
        f"{large['ceilings']['single_stream_tok_s']} tok/s",
        f"{large['ceilings']['single_stream_full_context_tok_s']} with a full context",
        f"{sparks('llama-3.1-70b-fp8')['ceilings']['single_stream_tok_s']} tok/s",
        f"{sparks('qwen3-coder-next-fp8')['weights_bytes'] / GIB:.1f} GiB",
        f"{sparks('llama-3.1-8b')['ceilings']['single_stream_tok_s']} tok/s",
    ]
    assert [text for text in corrections if text not in TEXT] == []


def test_what_it_was_held_against_is_computed() -> None:
    found = [f"| {_tokens(log):,}" for log in LOGS]
    for name, method, tp, shown in SPEEDS:
        assert speed(name, method, tp) == pytest.approx(float(shown), abs=0.05)
        found.append(f"at most {shown} |")
    found.append(f"{len(KNOWN)} architectures are known, {len(REFUSED)} more are refused by name")
    assert [text for text in found if text not in TEXT] == []


SPEEDS = [
    ("llama-3.1-70b", "nvfp4", 1, "6.72"),
    ("gpt-oss-120b", "mxfp4", 1, "54.6"),
    ("qwen3-235b-a22b", "gptq", 2, "35.6"),
    ("nemotron-3-super-120b", "nvfp4", 1, "35.1"),
]


def _tokens(log: Log) -> int:
    layout = cache(log.name, log.tp, dtype=log.dtype)
    return layout.tokens(layout.blocks([int(log.available * GIB)]), log.length)
