# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which quantization to trust on GB10 (compute capability 12.1), per engine, and who says so (serving 3.2).

Data, not code: a row changes when a version is proven or breaks. State of 2026-11.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..contracts.serving import Engine, QuantizationState
from .errors import SizingError


@dataclass(frozen=True, slots=True)
class Row:
    method: str
    engine: Engine
    state: QuantizationState
    note: str  # what is known, and since which version
    source: str
    experts_only: bool = False  # exists only for the experts of a mixture
    environment: tuple[tuple[str, str], ...] = ()  # that the engine needs for it

    @property
    def worth_a_warning(self) -> bool:
        return self.state != "ok"


# Safest first: how well the path is proven on GB10 comes before how small it makes the model.
SAFEST_FIRST = ("bf16", "fp8", "awq", "gptq", "fp8-block", "nvfp4", "int8", "mxfp8", "mxfp4")

TABLE: tuple[Row, ...] = (
    Row("bf16", "vllm", "ok", "default path", "vLLM 0.32 source"),
    Row(
        "fp8",
        "vllm",
        "ok",
        "per tensor or channel; fine in 0.32. Builds from before the family guard stop with 'This kernel only supports"
        " sm120' (eugr #143). Experts go through Triton: right, but slower (vllm #43507)",
        "vLLM 0.32 source and the issues named",
    ),
    Row(
        "awq",
        "vllm",
        "ok",
        "Marlin, the most robust 4-bit path on GB10. Let vLLM choose: --quantization awq is the old fp16-only one"
        " (vllm #37387)",
        "community measurements and eugr/spark-vllm-docker recipes",
    ),
    Row("gptq", "vllm", "ok", "Marlin, as AWQ", "community measurements"),
    Row(
        "fp8-block",
        "vllm",
        "flag",
        "builds for sm_120 only stop with 'Error Internal' in CutlassFp8BlockScaledMMKernel (vllm #40758, #43367), and"
        " DeepGEMM, chosen when installed, with 'Unknown SF transformation' (vllm #47436): set VLLM_USE_DEEP_GEMM=0 and"
        " VLLM_DISABLED_KERNELS=CutlassFp8BlockScaledMMKernel",
        "vLLM 0.32 source and the issues named",
        environment=(
            ("VLLM_USE_DEEP_GEMM", "0"),
            ("VLLM_DISABLED_KERNELS", "CutlassFp8BlockScaledMMKernel"),
        ),
    ),
    Row(
        "nvfp4",
        "vllm",
        "flag",
        "illegal instruction up to 0.18, fixed by vllm PR #38423 (2026-03): use 0.19 or later, built for sm_121, or"
        " the experts fall back to Marlin and fill the memory (vllm #50925). nvidia-cutlass-dsl 4.5.0 gave garbage,"
        " 4.5.1 is right: ask known questions after the start",
        "vLLM 0.32 source and the issues named",
    ),
    Row(
        "int8",
        "vllm",
        "unproven",
        "kernels exist for capability 7.5 and later; no public run on GB10",
        "vLLM 0.32 source and the issues named",
    ),
    Row("mxfp8", "vllm", "unproven", "no public run on GB10", "vLLM 0.32 source"),
    Row(
        "mxfp4",
        "vllm",
        "flag",
        "no correct backend in 0.20 (vllm #41477, #37030); right since 0.32, which takes Marlin first and admits Triton"
        " after it (--moe-backend triton). Up to 0.22 Marlin took 118 GB for gpt-oss-120b whatever the limit (vllm"
        " #43969): watch the memory at the first start",
        "vLLM 0.32 source and the issues named",
        experts_only=True,
    ),
    Row("bf16", "trtllm", "ok", "default path", "TensorRT-LLM docs/source/features/quantization.md"),
    Row(
        "nvfp4",
        "trtllm",
        "ok",
        "in the playbook's matrix for Llama, Qwen3 and Phi-4. Experts need moe_config backend CUTLASS from 1.3: the"
        " other backends have no sm_12x kernels (TensorRT-LLM PR #11997), and CUTLASS up to 4.4.1 failed most tactics"
        " (PR #12899)",
        "NVIDIA/dgx-spark-playbooks",
    ),
    Row(
        "fp8",
        "trtllm",
        "ok",
        "listed for sm_120; experts unproven",
        "TensorRT-LLM docs/source/features/quantization.md",
    ),
    Row(
        "mxfp4",
        "trtllm",
        "ok",
        "gpt-oss is listed in the playbook; early versions failed (TensorRT-LLM #8474)",
        "NVIDIA/dgx-spark-playbooks",
        experts_only=True,
    ),
    Row(
        "awq",
        "trtllm",
        "unproven",
        "not in the sm_120 column of the documentation; the seed document says supported",
        "TensorRT-LLM docs/source/features/quantization.md",
    ),
    Row(
        "gptq",
        "trtllm",
        "unproven",
        "not in the sm_120 column of the documentation",
        "TensorRT-LLM docs/source/features/quantization.md",
    ),
    Row(
        "fp8-block",
        "trtllm",
        "unsupported",
        "not supported on sm_120; Qwen3 experts may fail at the start (1.3.0rc24)",
        "TensorRT-LLM docs/source/features/quantization.md",
    ),
    Row("int8", "trtllm", "unproven", "no public run on GB10", "TensorRT-LLM docs/source/features/quantization.md"),
    Row("mxfp8", "trtllm", "unproven", "no public run on GB10", "TensorRT-LLM docs/source/features/quantization.md"),
)

_ROWS = {(row.engine, row.method): row for row in TABLE}

# An FP8 cache works with both engines; it costs a little accuracy, the more the longer the context.
KV_FP8 = (
    "an FP8 cache needs scales in the checkpoint, or it runs with 1.0: compare the answers with an unquantized cache"
)


def row(method: str, engine: Engine) -> Row:
    found = _ROWS.get((engine, method))
    if found is None:
        raise SizingError(f"{engine} does not serve weights in {method}, as far as this planner knows")
    return found


def offered(engine: Engine, mixture: bool) -> list[Row]:
    """The formats that a model could be had in, safest first."""
    rows = [row(method, engine) for method in SAFEST_FIRST]
    return [one for one in rows if mixture or not one.experts_only]
