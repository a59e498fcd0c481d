# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From config.json to the token mixer of each layer (serving 2.1 and 2.5)."""

from __future__ import annotations

import typing as t

from .errors import SizingError
from .fields import Fields
from .model import Attention, Latent, Mixer, Recurrent

_ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

MixerReader = t.Callable[[Fields], "list[Mixer | None]"]


def element_bytes(name: t.Any) -> int:
    """Of a dtype as Transformers writes it."""
    text = str(name or "bfloat16").removeprefix("torch.")
    if text not in _ELEMENT_BYTES:
        raise SizingError(f"config.json says dtype {text!r}; expected one of {', '.join(_ELEMENT_BYTES)}")
    return _ELEMENT_BYTES[text]


def layer_count(fields: Fields) -> int:
    return fields.integer("num_hidden_layers", "n_layers")


def attention(
    fields: Fields,
    window: int | None = None,
    chunk: int | None = None,
    gated: bool = False,
    bias: bool = False,
    sinks: bool = False,
) -> Attention:
    heads = fields.integer("num_attention_heads")
    head_dim = fields.optional_integer("head_dim") or fields.integer("hidden_size") // heads
    return Attention(
        heads=heads,
        kv_heads=fields.integer("num_key_value_heads", default=heads),
        head_dim=head_dim,
        v_head_dim=fields.integer("v_head_dim", default=head_dim),
        window=window,
        chunk=chunk,
        gated=gated,
        bias=fields.flag("attention_bias", bias),
        sinks=sinks,
    )


def full(fields: Fields) -> list[Mixer | None]:
    return [attention(fields)] * layer_count(fields)


def all_full(fields: Fields) -> list[Mixer | None]:
    """MiniMax M2: a list of kinds from its predecessor, which had linear attention too (0)."""
    kinds = fields.items("attn_type_list", layer_count(fields)) or []
    if any(kind != 1 for kind in kinds):
        raise SizingError("config.json has layers that are not 1 in attn_type_list; only full attention is known here")
    return full(fields)


def full_with_bias(fields: Fields) -> list[Mixer | None]:
    """Qwen 2: a bias on the query, key and value projections that the config does not mention."""
    fields.ignore("max_window_layers")
    if fields.flag("use_sliding_window"):
        raise SizingError(
            "config.json says use_sliding_window; the layers that have a window differ between engine versions here,"
            " so this planner refuses; set it to false to plan with full attention, the upper bound"
        )
    fields.ignore("sliding_window", "layer_types")
    return [attention(fields, bias=True)] * layer_count(fields)


def maybe_sliding(fields: Fields) -> list[Mixer | None]:
    """Mistral: a window on every layer when the config has one. Qwen 3 says so with use_sliding_window."""
    fields.ignore("max_window_layers")
    window = fields.optional_integer("sliding_window")
    if not fields.flag("use_sliding_window", default=True):
        window = None
    types = fields.items("layer_types", layer_count(fields))
    if types:
        return [_by_type(fields, kind, window) for kind in types]
    return [attention(fields, window)] * layer_count(fields)


def _by_type(fields: Fields, kind: t.Any, window: int | None, **more: t.Any) -> Attention:
    if kind == "full_attention":
        return attention(fields, **more)
    if kind == "sliding_attention" and window:
        return attention(fields, window, **more)
    raise SizingError(
        f"config.json has {kind!r} in layer_types with sliding_window {window}; expected full_attention, or"
        " sliding_attention and the size of the window"
    )


def sliding_every(every: int, full_at: int, bias: bool = False, sinks: bool = False) -> MixerReader:
    """Windows on all layers but each ``every``-th; layer_types, where there is one, beats the pattern."""

    def read(fields: Fields) -> list[Mixer | None]:
        count, window = layer_count(fields), fields.integer("sliding_window")
        period = fields.integer("sliding_window_pattern", "_sliding_window_pattern", default=every)
        place = full_at if period == every else period - 1
        types = fields.items("layer_types", count) or [
            "full_attention" if number % period == place else "sliding_attention" for number in range(count)
        ]
        return [_by_type(fields, kind, window, bias=bias, sinks=sinks) for kind in types]

    return read


def chunked(fields: Fields) -> list[Mixer | None]:
    """Llama 4: chunked local attention but for the layers without RoPE (every fourth)."""
    count, chunk = layer_count(fields), fields.integer("attention_chunk_size")
    fields.ignore("layer_types")
    rope = fields.items("no_rope_layers", count) or [int((number + 1) % 4 != 0) for number in range(count)]
    return [attention(fields, chunk=chunk if has_rope else None) for has_rope in rope]


def latent(fields: Fields) -> list[Mixer | None]:
    """MLA of DeepSeek V2 and V3, Kimi K2, GLM-4.7-Flash."""
    fields.ignore("num_key_value_heads", "head_dim", "qk_head_dim")
    mixer = Latent(
        heads=fields.integer("num_attention_heads"),
        q_rank=fields.optional_integer("q_lora_rank"),
        kv_rank=fields.integer("kv_lora_rank"),
        rope_dim=fields.integer("qk_rope_head_dim"),
        nope_dim=fields.integer("qk_nope_head_dim"),
        v_dim=fields.integer("v_head_dim"),
    )
    return [mixer] * layer_count(fields)


def delta_net(fields: Fields) -> list[Mixer | None]:
    """Gated DeltaNet on three layers of four, gated attention on the fourth (Qwen3-Next, Qwen3.5)."""
    count = layer_count(fields)
    every = fields.integer("full_attention_interval", default=4)
    kinds = fields.items("layer_types", count) or [
        "full_attention" if (number + 1) % every == 0 else "linear_attention" for number in range(count)
    ]
    dtype = fields.get("mamba_ssm_dtype")
    recurrent = Recurrent(
        kind="gdn",
        key_heads=fields.integer("linear_num_key_heads"),
        key_dim=fields.integer("linear_key_head_dim"),
        value_heads=fields.integer("linear_num_value_heads"),
        value_dim=fields.integer("linear_value_head_dim"),
        kernel=fields.integer("linear_conv_kernel_dim"),
        state_bytes=element_bytes(dtype) if dtype else None,
    )
    mixers: dict[str, Mixer] = {"full_attention": attention(fields, gated=True), "linear_attention": recurrent}
    return [_named(kind, mixers, "layer_types") for kind in kinds]


def nemotron_h(fields: Fields) -> list[Mixer | None]:
    """Mamba-2 (M), attention (*), experts (E) and dense (-) blocks as the pattern says."""
    fields.ignore("chunk_size", "mamba_hidden_act", "expand", "n_group", "mtp_hybrid_override_pattern")
    fields.ignore("mamba_proj_bias", "num_logits_to_keep", "use_conv_bias")
    dtype = fields.get("mamba_ssm_cache_dtype")
    mamba = Recurrent(
        kind="mamba2",
        key_heads=fields.integer("n_groups"),
        key_dim=fields.integer("ssm_state_size"),
        value_heads=fields.integer("mamba_num_heads"),
        value_dim=fields.integer("mamba_head_dim"),
        kernel=fields.integer("conv_kernel"),
        state_bytes=element_bytes(dtype) if dtype else None,
    )
    mixers: dict[str, Mixer | None] = {"M": mamba, "*": attention(fields), "E": None, "-": None}
    return [_named(kind, mixers, "hybrid_override_pattern") for kind in pattern(fields)]


_BLOCK_NAMES = {"mamba": "M", "attention": "*", "moe": "E", "mlp": "-"}


def pattern(fields: Fields) -> list[str]:
    """A letter for each block; newer configs give names instead."""
    names = fields.items("layers_block_type", layer_count(fields))
    if names is not None:
        return [_named(name, _BLOCK_NAMES, "layers_block_type") for name in names]
    letters = fields.items("hybrid_override_pattern", layer_count(fields))
    if letters is None:
        raise SizingError(
            "config.json has no hybrid_override_pattern and no layers_block_type, which say what each block is"
        )
    return letters


def jamba(fields: Fields) -> list[Mixer | None]:
    """Mamba-1 with attention on every ``attn_layer_period``-th layer."""
    count, hidden = layer_count(fields), fields.integer("hidden_size")
    period, offset = fields.integer("attn_layer_period"), fields.count("attn_layer_offset")
    fields.ignore("mamba_proj_bias", "mamba_conv_bias", "use_mamba_kernels", "sliding_window")
    mamba = Recurrent(
        kind="mamba1",
        key_heads=1,
        key_dim=fields.integer("mamba_d_state"),
        value_heads=1,
        value_dim=fields.integer("mamba_expand") * hidden,
        kernel=fields.integer("mamba_d_conv"),
        dt_rank=fields.integer("mamba_dt_rank", default=-(-hidden // 16)),
    )
    return [attention(fields) if number % period == offset else mamba for number in range(count)]


def deci(fields: Fields) -> list[Mixer | None]:
    """Nemotron-NAS: each block has its own attention, or none."""
    heads = fields.integer("num_attention_heads")
    fields.ignore("num_key_value_heads", "intermediate_size", "num_key_value_heads_per_layer")
    head_dim = fields.optional_integer("head_dim") or fields.integer("hidden_size") // heads
    return [
        Attention(heads, heads // group, head_dim, head_dim) if group else None
        for group in (_heads_per_group(block) for block in blocks(fields))
    ]


def blocks(fields: Fields) -> list[dict[str, t.Any]]:
    found = fields.items("block_configs", layer_count(fields))
    if found is None or not all(isinstance(block, dict) for block in found):
        raise SizingError("config.json has no block_configs, which says what each block is")
    return found


def _heads_per_group(block: t.Mapping[str, t.Any]) -> int | None:
    part = block.get("attention") or {}
    if part.get("no_op"):
        return None
    group = part.get("n_heads_in_group")
    if part.get("replace_with_linear") or part.get("sparsify") or not isinstance(group, int) or group < 1:
        raise SizingError(f"config.json has a block with attention {part!r}; expected no_op or n_heads_in_group")
    return group


_Found = t.TypeVar("_Found")


def _named(kind: t.Any, known: t.Mapping[str, _Found], field: str) -> _Found:
    if kind not in known:
        raise SizingError(f"config.json has {kind!r} in {field}; expected one of {', '.join(known)}")
    return known[kind]
