# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan in the words of an engine's command line (serving 1.1, 1.9 and 5.2)."""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass

from ..contracts.serving import Engine


@dataclass(frozen=True, slots=True)
class Settings:
    tp: int
    pp: int
    max_model_len: int
    max_num_seqs: int
    batched_tokens: int
    kv_cache_dtype: str
    kv_cache_memory_bytes: int
    used_bytes: int  # by the heaviest rank, all told
    largest_total_bytes: int  # memory of the largest node


def engine_flags(engine: Engine, settings: Settings) -> list[str]:
    """The same text for all ranks. Rank, addresses and the API's own flags come from the role."""
    return {"vllm": _vllm, "trtllm": _trtllm}[engine](settings)


def _vllm(settings: Settings) -> list[str]:
    values = {
        "--tensor-parallel-size": settings.tp,
        "--pipeline-parallel-size": settings.pp,
        "--max-model-len": settings.max_model_len,
        "--max-num-seqs": settings.max_num_seqs,
        "--max-num-batched-tokens": settings.batched_tokens,
        "--kv-cache-memory-bytes": settings.kv_cache_memory_bytes,
        # The engine compares this share with the free memory before it looks at the line above, and by default it asks
        # for 0.92 (serving 1.9). With the share that the plan uses it refuses to start when so much is not free.
        "--gpu-memory-utilization": f"{_share(settings):.2f}",
    }
    if settings.kv_cache_dtype != "auto":
        values["--kv-cache-dtype"] = settings.kv_cache_dtype
    return _words(values)


def _share(settings: Settings) -> float:
    return max(0.01, math.floor(100 * settings.used_bytes / settings.largest_total_bytes) / 100)


def _trtllm(settings: Settings) -> list[str]:
    """The size of the cache is a key of the YAML file, kv_cache_config.max_gpu_total_bytes (serving 5.2)."""
    return _words(
        {
            "--backend": "pytorch",
            "--tp_size": settings.tp,
            "--pp_size": settings.pp,
            "--max_seq_len": settings.max_model_len,
            "--max_batch_size": settings.max_num_seqs,
            "--max_num_tokens": settings.batched_tokens,
        }
    )


def _words(values: t.Mapping[str, t.Any]) -> list[str]:
    return [word for name, value in values.items() for word in (name, str(value))]


ENGINES: t.Final[tuple[Engine, ...]] = ("vllm", "trtllm")
