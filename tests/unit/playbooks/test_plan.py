"""playbooks/plan.yml, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import ServingPlan
from ansible_collections.gb10.cluster.plugins.module_utils.shape import fits
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import ROOT, config
from ansible_collections.gb10.cluster.tests.unit.module_utils.test_model_folder import safetensors

ENVIRONMENT = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "100"}


class Planned(t.NamedTuple):
    code: int
    screen: str
    plan: ServingPlan


@pytest.fixture
def plan(tmp_path: Path) -> t.Callable[..., Planned]:
    def run(model: str | None, *options: str, nodes: int = 3) -> Planned:
        chosen = [] if model is None else ["-e", f"plan_model={model}"]
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "playbooks/plan.yml",
            *chosen,
            "-e",
            f"plan_nodes={nodes}",
            "-e",
            "plan_node_memory_gib=119.7",
            "-e",
            f"plan_evidence_dir={tmp_path / 'evidence'}",
            *(word for option in options for word in ("-e", option)),
        ]
        done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=110)
        written = tmp_path / "evidence/plan.json"
        found = json.loads(written.read_text(encoding="utf-8")) if written.exists() else None
        return Planned(done.returncode, done.stdout, found)

    return run


def test_a_preset_by_name(plan: t.Callable[..., Planned], tmp_path: Path) -> None:
    found = plan("llama-3.1-405b-awq")
    assert found.code == 0, found.screen
    assert fits(found.plan, ServingPlan)
    assert (found.plan["fits"], found.plan["pp"], found.plan["kv_bytes_per_token_rank"]) == (True, 3, [172_032] * 3)
    assert "\nFITS  PP=3 on node1 node2 node3   131072 tokens of context" in found.screen
    assert "  PP=3               3   131072     143936        1.28      18.5   <- the plan" in found.screen
    assert "TASK" not in found.screen
    assert (tmp_path / "evidence/plan.json").stat().st_mode & 0o777 == 0o600
    again = plan("llama-3.1-405b-awq")
    assert again.plan == found.plan
    assert "changed=0" in again.screen


def test_a_folder_with_weights_and_all_options(plan: t.Callable[..., Planned], tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    tiny = config("llama-3.1-8b", num_hidden_layers=3, hidden_size=64, head_dim=16, vocab_size=256)
    (folder / "config.json").write_text(json.dumps(tiny))
    (folder / "model.safetensors").write_bytes(
        safetensors({"model.embed_tokens.weight": 512, "model.layers.1.mlp.up_proj.weight": 64, "lm_head.weight": 512})
    )
    found = plan(
        os.path.relpath(folder, ROOT),  # as typed in the checkout
        "plan_pipeline_parallel=3",
        "plan_kv_cache_dtype=fp8",
        "plan_node_free_gib=60",
        "plan_max_model_len=4096",
        "plan_max_num_seqs=2",
    )
    assert found.code == 0, found.screen
    assert found.plan["model"] == str(folder)
    assert found.plan["weights_bytes_per_rank"] == [512, 64, 512]
    assert (found.plan["kv_cache_dtype"], found.plan["max_model_len"], found.plan["max_num_seqs"]) == ("fp8", 4096, 2)
    assert found.plan["memory"] is not None
    assert found.plan["memory"]["budget_bytes"] == 52 * 2**30


def test_what_does_not_fit_ends_with_an_error_and_a_plan_that_says_so(plan: t.Callable[..., Planned]) -> None:
    found = plan("deepseek-r1")
    assert found.code == 2
    assert found.plan["fits"] is False
    assert "\nDOES NOT FIT\n" in found.screen
    assert "8 such nodes would hold it (PP=8)" in found.screen
    assert "FAILED localhost: See that it can be served" in found.screen


def test_a_draft_model(plan: t.Callable[..., Planned]) -> None:
    found = plan("llama-3.1-70b", "plan_draft_model=presets/llama-3.1-8b", nodes=2)
    assert found.code == 0, found.screen
    assert "FITS  TP=2 on node1 node2" in found.screen


def test_tensor_parallel_3_is_refused(plan: t.Callable[..., Planned]) -> None:
    found = plan("llama-3.1-70b", "plan_tensor_parallel=3")
    assert (found.code, found.plan["fits"], found.plan["tp"]) == (2, False, 3)
    assert "64 attention heads are not divisible by TP=3" in found.plan["why"][0]


@pytest.mark.parametrize(
    ("model", "options", "says"),
    [
        (None, [], "plan_model is not set; give the folder of a model"),
        ("no-such-model", [], "presets/no-such-model does not exist"),
        ("llama-3.1-8b", ["plan_tensor_parallel=4"], "tensor parallel 4 times pipeline parallel 1 takes 4 nodes"),
    ],
    ids=["nothing", "unknown", "too many ranks"],
)
def test_mistakes_are_sentences(
    plan: t.Callable[..., Planned], model: str | None, options: list[str], says: str
) -> None:
    found = plan(model, *options)
    assert found.code == 2
    assert says in " ".join(found.screen.split())
    assert "Traceback" not in found.screen
