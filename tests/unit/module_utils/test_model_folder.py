"""Reading a model folder: bounded, and an error with a file's name for everything that does not add up."""

from __future__ import annotations

import json
import struct
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import ModelFacts
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.model_folder import (
    MOST_CONFIG,
    ModelFolderError,
    model_facts,
)
from ansible_collections.gb10.cluster.plugins.module_utils.shape import fits
from ansible_collections.gb10.cluster.plugins.module_utils.sizing.build import Wanted, serving_plan
from ansible_collections.gb10.cluster.tests.unit.module_utils.sizing.models import SPARKS
from hypothesis import given, settings
from hypothesis import strategies as st

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 8192,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "vocab_size": 256,
}
TENSORS = {
    "model.embed_tokens.weight": 256 * 64 * 2,
    "model.layers.0.self_attn.q_proj.weight": 64 * 64 * 2,
    "model.layers.0.self_attn.k_proj.weight": 64 * 32 * 2,
    "model.layers.1.mlp.up_proj.weight": 64 * 128 * 2,
    "lm_head.weight": 256 * 64 * 2,
}


def safetensors(tensors: dict[str, int], cut: int = 0, **entries: t.Any) -> bytes:
    """A file as the library writes it: length, header, data."""
    place, header = 0, {"__metadata__": {"format": "pt"}} | entries
    for name, size in tensors.items():
        header[name] = {"dtype": "BF16", "shape": [size // 2], "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    return (struct.pack("<Q", len(text)) + text + bytes(place))[: -cut or None]


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("config.json", CONFIG)

    def write(self, name: str, content: t.Any) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    def index(self, *names: str, total: t.Any = 1000) -> None:
        weight_map = {f"tensor{number}": name for number, name in enumerate(names)}
        self.write("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})

    def read(self) -> ModelFacts:
        found = model_facts(Host(), str(self.path))
        assert fits(found, ModelFacts)
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_one_file(folder: Folder) -> None:
    folder.write("model.safetensors", safetensors(TENSORS))
    weights = folder.read()["weights"]
    assert (weights["source"], weights["total_bytes"], weights["files"]) == (
        "headers",
        sum(TENSORS.values()),
        ["model.safetensors"],
    )
    assert {"layer": 0, "kind": "kv", "bytes": 4096} in weights["parts"]
    assert {"layer": None, "kind": "embedding", "bytes": 32768} in weights["parts"]


def test_shards_of_an_index_and_nothing_else(folder: Folder) -> None:
    first, second = ({name: TENSORS[name]} for name in ("lm_head.weight", "model.embed_tokens.weight"))
    folder.write("a.safetensors", safetensors(first))
    folder.write("b.safetensors", safetensors(second))
    folder.write("stray.safetensors", b"not a model")
    folder.index("a.safetensors", "b.safetensors", "a.safetensors")
    found = folder.read()
    assert found["weights"]["total_bytes"] == 65536
    assert found["problems"] == []


def test_shards_without_an_index(folder: Folder) -> None:
    folder.write("model-1.safetensors", safetensors({"lm_head.weight": 10}))
    folder.write("model-2.safetensors", safetensors({"model.norm.weight": 20}))
    folder.write("consolidated.safetensors", safetensors({"output.weight": 30}))
    assert folder.read()["weights"]["total_bytes"] == 30


def test_consolidated_files_alone(folder: Folder) -> None:
    folder.write("consolidated.safetensors", safetensors({"layers.0.attention.wq.weight": 30}))
    assert folder.read()["weights"]["parts"] == [{"layer": 0, "kind": "attention", "bytes": 30}]


def test_links_of_a_download_cache(folder: Folder) -> None:
    folder.write("blobs/one", safetensors(TENSORS))
    (folder.path / "model.safetensors").symlink_to("blobs/one")
    assert folder.read()["weights"]["source"] == "headers"


def test_a_download_that_is_not_complete(folder: Folder) -> None:
    folder.write("a.safetensors", safetensors(TENSORS))
    folder.index("a.safetensors", "b.safetensors", "c.safetensors", total=5_000_000)
    found = folder.read()
    assert found["weights"] == {
        "source": "index",
        "total_bytes": 5_000_000,
        "files": ["a.safetensors"],
        "missing": ["b.safetensors", "c.safetensors"],
        "parts": [],
    }
    assert found["problems"] == ["2 of 3 weight files are not there yet, for example b.safetensors"]


@pytest.mark.parametrize(
    ("total", "source", "number"), [(5000, "index", 5000), (5000.0, "index", 5000), (None, None, None)]
)
def test_an_index_alone(folder: Folder, total: t.Any, source: str | None, number: int | None) -> None:
    folder.write("model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": {}})
    weights = folder.read()["weights"]
    assert (weights["source"], weights["total_bytes"]) == (source, number)


def test_config_alone(folder: Folder) -> None:
    found = folder.read()
    assert (found["weights"]["source"], found["quantization"], found["problems"]) == (None, None, [])
    assert found["config"] == CONFIG


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model-q4.gguf"])
def test_other_weights_are_named(folder: Folder, name: str) -> None:
    folder.write(name, b"x")
    assert folder.read()["problems"] == [f"the weights are in {name}, whose sizes are not read; only safetensors are"]


QUANTIZED = {"quant_method": "awq", "bits": 4}


@pytest.mark.parametrize(
    "config",
    [
        CONFIG | {"quantization_config": QUANTIZED},
        CONFIG | {"compression_config": QUANTIZED},
        {"architectures": ["X"], "text_config": CONFIG | {"quantization_config": QUANTIZED}},
    ],
    ids=["top", "old name", "nested"],
)
def test_where_the_quantization_is(folder: Folder, config: dict[str, t.Any]) -> None:
    folder.write("config.json", config)
    assert folder.read()["quantization"] == QUANTIZED


def test_quantization_in_a_file_of_its_own(folder: Folder) -> None:
    folder.write("hf_quant_config.json", {"quantization": {"quant_algo": "NVFP4"}})
    found = folder.read()
    assert found["quantization"] == {"quantization": {"quant_algo": "NVFP4"}}
    assert serving_plan(found, SPARKS, Wanted())["quantization"] == "nvfp4"


def test_a_plan_from_tensors(folder: Folder) -> None:
    folder.write("model.safetensors", safetensors(TENSORS))
    plan = serving_plan(folder.read(), SPARKS, Wanted(pipeline_parallel=2))
    assert plan["weights_source"] == "headers"
    assert plan["weights_bytes_per_rank"] == [32768 + 8192 + 4096, 16384 + 32768]


def test_an_unknown_number_of_layers_is_left_to_the_plan(folder: Folder) -> None:
    folder.write("config.json", CONFIG | {"num_hidden_layers": "two"})
    folder.write("model.safetensors", safetensors(TENSORS))
    plan = serving_plan(folder.read(), SPARKS, Wanted())
    assert "num_hidden_layers is 'two'" in plan["why"][0]


# --- errors ---


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="nowhere does not exist"):
        model_facts(Host(), str(tmp_path / "nowhere"))
    with pytest.raises(ModelFolderError, match=r"has no config\.json"):
        model_facts(Host(), str(tmp_path))


def test_a_download_cache_names_its_snapshot(tmp_path: Path) -> None:
    (tmp_path / "snapshots/abc").mkdir(parents=True)
    with pytest.raises(ModelFolderError, match="snapshots/abc"):
        model_facts(Host(), str(tmp_path))


def huge(folder: Folder) -> None:
    folder.write("config.json", b" " * (MOST_CONFIG + 1))


def claims(length: int, rest: bytes = b"{}") -> bytes:
    return struct.pack("<Q", length) + rest


WRONG: list[tuple[str, str, t.Any, str]] = [
    ("config is no JSON", "config.json", b"{", "config.json is not JSON"),
    ("config is a list", "config.json", [1], "config.json holds list"),
    ("config is deep", "config.json", b"[" * 100_000, "config.json is not JSON"),
    ("config is huge", "config.json", b" " * (MOST_CONFIG + 1), "expected a readable file of at most"),
    ("index is no JSON", "model.safetensors.index.json", b"<html>", "index.json is not JSON"),
    ("negative sum", "model.safetensors.index.json", {"metadata": {"total_size": -1}}, "total_size -1"),
    ("sum is a word", "model.safetensors.index.json", {"metadata": {"total_size": "1"}}, "total_size '1'"),
    ("outside", "model.safetensors.index.json", {"weight_map": {"a": "../../etc/shadow"}}, "expected plain names"),
    ("hidden", "model.safetensors.index.json", {"weight_map": {"a": ".git"}}, "expected plain names"),
    ("many", "model.safetensors.index.json", {"weight_map": {str(n): f"{n}" for n in range(3000)}}, "names 3000 files"),
    ("empty", "model.safetensors", b"", "has 0 bytes and claims a header of 0"),
    (
        "page of an error",
        "model.safetensors",
        b"<!DOCTYPE html>",
        "it is no safetensors file, or its download broke off",
    ),
    ("endless header", "model.safetensors", claims(2**60), "claims a header of 1152921504606846976"),
    ("header beyond the end", "model.safetensors", claims(1000), "claims a header of 1000"),
    ("header is no JSON", "model.safetensors", claims(2, b"{["), "the header of .*model.safetensors is not JSON"),
    ("header is a list", "model.safetensors", claims(2, b"[]"), "holds list"),
    ("cut off", "model.safetensors", safetensors(TENSORS, cut=5), "and its header promises"),
    ("data without tensors", "model.safetensors", safetensors({}) + b"x", "and its header promises"),
    ("no offsets", "model.safetensors", safetensors({}, a={"shape": []}), "has no place for 'a'"),
    ("odd offsets", "model.safetensors", safetensors({}, a={"data_offsets": [0, True]}), "has no place for 'a'"),
    ("backwards", "model.safetensors", safetensors({}, a={"data_offsets": [9, 2]}), "from 9 to 2"),
    ("gap", "model.safetensors", safetensors({"b": 8}, a={"data_offsets": [0, 4]}), "overlap or leave gaps"),
]


@pytest.mark.parametrize(("name", "content", "says"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_does_not_add_up_is_an_error(folder: Folder, name: str, content: t.Any, says: str) -> None:
    folder.write(name, content)
    with pytest.raises(ModelFolderError, match=says):
        folder.read()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 200), st.binary(max_size=40))
def test_damage_is_an_error_or_a_fact_but_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    folder = Folder(tmp_path_factory.mktemp("damaged"))
    whole = safetensors(TENSORS)
    folder.write("model.safetensors", whole[:at] + noise + whole[at + len(noise) :])
    try:
        weights = folder.read()["weights"]
    except ModelFolderError as error:
        assert "model.safetensors" in str(error)
    else:
        assert weights["total_bytes"] == sum(TENSORS.values())
