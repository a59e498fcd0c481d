# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a Hugging Face model folder without its weights: config.json, quantization, and tensor sizes from headers.

A safetensors file begins with eight bytes, the length of its header, and the header is JSON: names, types, shapes and
where each tensor lies. Everything that is read is bounded, and what does not add up is an error with the file's name.
"""

from __future__ import annotations

import json
import struct
import typing as t

from .contracts.words import SCHEMA
from .host import Host
from .sizing.tensors import parts_of

if t.TYPE_CHECKING:
    from .contracts.serving import ModelFacts, WeightFacts

MIB = 2**20
MOST_CONFIG = 4 * MIB
MOST_INDEX = 64 * MIB
MOST_HEADER = 100_000_000  # the limit of the safetensors library itself
MOST_FILES = 2000
INDEX = "model.safetensors.index.json"


class ModelFolderError(ValueError):
    """One sentence for the operator: what was found, where, what was expected, what to do next."""


def model_facts(host: Host, folder: str) -> ModelFacts:
    """What the folder says about the model, or a ModelFolderError."""
    names = host.names(folder)
    if "config.json" not in names:
        raise ModelFolderError(_no_config(host, folder, names))
    config = _json(host, f"{folder}/config.json", MOST_CONFIG)
    weights, problems = _weights(host, folder, names, _layers(config))
    return {
        "schema": SCHEMA,
        "path": folder,
        "config": config,
        "quantization": _quantization(host, folder, names, config),
        "weights": weights,
        "problems": problems,
    }


def _no_config(host: Host, folder: str, names: t.Collection[str]) -> str:
    if not host.exists(folder):
        return f"{folder} does not exist; give the folder that holds the model's config.json"
    if "snapshots" in names:
        inside = host.names(f"{folder}/snapshots")
        return (
            f"{folder} is a download cache; give the folder of a snapshot in it: {folder}/snapshots/{'|'.join(inside)}"
        )
    return f"{folder} has no config.json; give the folder of a model in the Hugging Face format"


def _json(host: Host, path: str, limit: int) -> dict[str, t.Any]:
    size = host.size(path)
    if size is None or size > limit:
        raise ModelFolderError(f"{path} has {size} bytes; expected a readable file of at most {limit}")
    return _object(host.read_bytes(path, 0, limit), path)


def _object(text: bytes, where: str) -> dict[str, t.Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{where} is not JSON ({error}); fetch it again") from None
    if not isinstance(found, dict):
        raise ModelFolderError(f"{where} holds {type(found).__name__}; expected a JSON object")
    return found


def _layers(config: t.Mapping[str, t.Any]) -> int:
    text = config.get("text_config")
    source = text if isinstance(text, dict) else config
    count = source.get("num_hidden_layers")
    return count if isinstance(count, int) else 2**31  # sizing refuses it later, in better words


def _quantization(
    host: Host, folder: str, names: t.Collection[str], config: t.Mapping[str, t.Any]
) -> dict[str, t.Any] | None:
    text = config.get("text_config")
    for source in (config, text if isinstance(text, dict) else {}):
        found = source.get("quantization_config") or source.get("compression_config")
        if isinstance(found, dict):
            return found
    if "hf_quant_config.json" in names:
        return _json(host, f"{folder}/hf_quant_config.json", MOST_CONFIG)
    return None


# --- weights ---


def _weights(host: Host, folder: str, names: t.Collection[str], layers: int) -> tuple[WeightFacts, list[str]]:
    total, wanted = _index(host, folder) if INDEX in names else (None, _files(names))
    missing = [name for name in wanted if host.size(f"{folder}/{name}") is None]
    there = [name for name in wanted if name not in missing]
    if wanted and not missing:
        sizes = [size for name in there for size in _tensors(host, f"{folder}/{name}")]
        parts = parts_of(sizes, layers)
        whole = sum(part["bytes"] for part in parts)
        return {"source": "headers", "total_bytes": whole, "files": there, "missing": [], "parts": parts}, []
    facts: WeightFacts = {
        "source": None if total is None else "index",
        "total_bytes": total,
        "files": there,
        "missing": missing,
        "parts": [],
    }
    return facts, _problems(names, there, missing)


def _problems(names: t.Collection[str], there: t.Sequence[str], missing: t.Sequence[str]) -> list[str]:
    if there and missing:
        return [
            f"{len(missing)} of {len(there) + len(missing)} weight files are not there yet, for example {missing[0]}"
        ]
    others = sorted(name for name in names if name.endswith((".bin", ".gguf", ".pt", ".pth")))
    if others and not there:
        return [f"the weights are in {others[0]}, whose sizes are not read; only safetensors are"]
    return []


def _files(names: t.Iterable[str]) -> list[str]:
    """Without an index: one file, or all. Mistral's consolidated files hold the same tensors once more."""
    found = sorted(name for name in names if name.endswith(".safetensors"))
    return [name for name in found if not name.startswith("consolidated")] or found


def _index(host: Host, folder: str) -> tuple[int | None, list[str]]:
    """The sum of all tensors and the names of the files that hold them."""
    path = f"{folder}/{INDEX}"
    index = _json(host, path, MOST_INDEX)
    metadata, files = index.get("metadata"), index.get("weight_map")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, float) and total.is_integer():  # as some converters write it
        total = int(total)
    if total is not None and (not _is_whole(total) or total <= 0):
        raise ModelFolderError(f"{path} says total_size {total!r}; expected a number of bytes")
    names = sorted({str(name) for name in files.values()}) if isinstance(files, dict) else []
    strange = [name for name in names if "/" in name or name.startswith(".")]
    if strange or len(names) > MOST_FILES:
        raise ModelFolderError(
            f"{path} names {len(names)} files, among them {(strange or names)[0]!r}; expected plain names"
        )
    return total, names


def _tensors(host: Host, path: str) -> list[tuple[str, int]]:
    """Names and stored bytes of the tensors of a file."""
    size = host.size(path) or 0
    prefix = host.read_bytes(path, 0, 8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
    if not 2 <= length <= min(MOST_HEADER, max(size - 8, 0)):
        raise ModelFolderError(
            f"{path} has {size} bytes and claims a header of {length}; it is no safetensors file, or its download broke"
            " off: fetch it again"
        )
    header = _object(host.read_bytes(path, 8, length), f"the header of {path}")
    spans = {name: _span(tensor, name, path) for name, tensor in header.items() if name != "__metadata__"}
    end = max((last for _first, last in spans.values()), default=0)
    if size != 8 + length + end:
        raise ModelFolderError(
            f"{path} has {size} bytes, and its header promises {8 + length + end}; fetch the file again"
        )
    sizes = [(name, last - first) for name, (first, last) in spans.items()]
    if sum(number for _name, number in sizes) != end:
        raise ModelFolderError(f"the tensors of {path} overlap or leave gaps; fetch the file again")
    return sizes


def _span(tensor: t.Any, name: str, path: str) -> tuple[int, int]:
    span = tensor.get("data_offsets") if isinstance(tensor, dict) else None
    if not isinstance(span, list) or len(span) != 2 or not all(_is_whole(place) for place in span):
        raise ModelFolderError(f"the header of {path} has no place for {name[:80]!r}; fetch the file again")
    first, last = span
    if not 0 <= first <= last:
        raise ModelFolderError(f"the header of {path} puts {name[:80]!r} from {first} to {last}; fetch the file again")
    return first, last


def _is_whole(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
