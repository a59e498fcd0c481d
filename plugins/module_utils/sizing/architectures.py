# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which architectures are known, and which are refused by name (serving 2.5). Everything else is refused too."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from . import feed_forward, mixers
from .errors import SizingError
from .feed_forward import FeedForwardReader
from .fields import Fields
from .mixers import MixerReader, element_bytes
from .model import Layer, Model


@dataclass(frozen=True)
class _Family:
    mixers: MixerReader
    feed_forward: FeedForwardReader
    tied: bool = False  # what the class assumes when the config is silent
    defaults: t.Mapping[str, t.Any] | None = None  # likewise, from Transformers 5.19 (serving 2.5)
    extra: str = ""


_VISION = "a vision tower"

_DENSE = _Family(mixers.full, feed_forward.dense)
_DENSE_MAYBE_SLIDING = _Family(mixers.maybe_sliding, feed_forward.dense)
_GEMMA3 = _Family(mixers.sliding_every(6, 5), feed_forward.dense, tied=True)
_MLA = _Family(mixers.latent, feed_forward.mostly_experts)
_DELTA_NET_MOE = _Family(mixers.delta_net, feed_forward.mostly_experts)

KNOWN: dict[str, _Family] = {
    "LlamaForCausalLM": _DENSE,
    "MistralForCausalLM": _DENSE_MAYBE_SLIDING,
    "Ministral3ForCausalLM": _DENSE_MAYBE_SLIDING,
    "Mistral3ForConditionalGeneration": _Family(mixers.maybe_sliding, feed_forward.dense, extra=_VISION),
    "Qwen2ForCausalLM": _Family(mixers.full_with_bias, feed_forward.dense),
    "Qwen2MoeForCausalLM": _Family(mixers.full_with_bias, feed_forward.mostly_experts),
    "Qwen3ForCausalLM": _DENSE_MAYBE_SLIDING,
    "Qwen3MoeForCausalLM": _Family(mixers.maybe_sliding, feed_forward.mostly_experts),
    "Qwen3NextForCausalLM": _DELTA_NET_MOE,
    "Qwen3_5MoeForCausalLM": _DELTA_NET_MOE,
    "Qwen3_5MoeForConditionalGeneration": _Family(mixers.delta_net, feed_forward.mostly_experts, extra=_VISION),
    "Qwen3_5ForCausalLM": _Family(mixers.delta_net, feed_forward.dense),
    "Qwen3_5ForConditionalGeneration": _Family(mixers.delta_net, feed_forward.dense, extra=_VISION),
    "MixtralForCausalLM": _Family(mixers.maybe_sliding, feed_forward.all_experts),
    "Phi3ForCausalLM": _DENSE_MAYBE_SLIDING,
    "SeedOssForCausalLM": _DENSE,
    "OlmoeForCausalLM": _Family(mixers.full, feed_forward.all_experts),
    "GraniteForCausalLM": _DENSE,
    "Olmo2ForCausalLM": _DENSE,
    "Glm4MoeForCausalLM": _Family(mixers.full, feed_forward.mostly_experts),
    "Glm4MoeLiteForCausalLM": _MLA,
    "DeepseekV2ForCausalLM": _MLA,
    "DeepseekV3ForCausalLM": _MLA,
    "MistralLarge3ForCausalLM": _MLA,
    "GptOssForCausalLM": _Family(mixers.sliding_every(2, 1, bias=True, sinks=True), feed_forward.experts_with_bias),
    "Gemma2ForCausalLM": _Family(mixers.sliding_every(2, 1), feed_forward.dense, tied=True),
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3ForConditionalGeneration": _Family(
        mixers.sliding_every(6, 5),
        feed_forward.dense,
        tied=True,
        # The published text_config leaves these to the class.
        defaults={
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "vocab_size": 262208,
            "max_position_embeddings": 131072,
        },
        extra=_VISION,
    ),
    "Llama4ForCausalLM": _Family(mixers.chunked, feed_forward.llama4),
    "Llama4ForConditionalGeneration": _Family(mixers.chunked, feed_forward.llama4, extra=_VISION),
    "MiniMaxM2ForCausalLM": _Family(mixers.all_full, feed_forward.all_experts),
    "NemotronHForCausalLM": _Family(mixers.nemotron_h, feed_forward.nemotron_h),
    "JambaForCausalLM": _Family(mixers.jamba, feed_forward.jamba),
    "DeciLMForCausalLM": _Family(mixers.deci, feed_forward.deci),
}

_SPARSE = "its sparse attention keeps an index beside the cache, in a layout that depends on the kernel"
_ENCODER = "it has an encoder, and this planner knows decoders only"
REFUSED: dict[str, str] = {
    "DeepseekV32ForCausalLM": _SPARSE,
    "DeepseekV4ForCausalLM": "its packed cache layout is rounded to pages in a way that cannot be predicted",
    "DeepseekV41ForCausalLM": "its packed cache layout is rounded to pages in a way that cannot be predicted",
    "GlmMoeDsaForCausalLM": _SPARSE,
    "Qwen4ExpForConditionalGeneration": "its indexed attention and per-layer embeddings are not described publicly",
    "Gemma3nForConditionalGeneration": "its layers share caches and keep per-layer embeddings outside the model",
    "Gemma4ForConditionalGeneration": "its layers share caches in a way that changed between engine versions",
    "MiMoV2FlashForCausalLM": "windowed and full layers have pages of different sizes, which the engine packs",
    "KimiLinearForCausalLM": "its delta attention keeps states whose layout is not settled",
    "MiniMaxText01ForCausalLM": "its lightning attention is padded to the pages of the other layers",
    "Mamba2ForCausalLM": "it has no attention, and the engine cannot cut it into stages",
    "Zamba2ForCausalLM": "its layers share attention blocks, and the engine cannot cut it into stages",
    "T5ForConditionalGeneration": _ENCODER,
    "BartForConditionalGeneration": _ENCODER,
    "WhisperForConditionalGeneration": _ENCODER,
}


def read_model(config: t.Mapping[str, t.Any]) -> Model:
    """The model that a config.json describes, or a SizingError."""
    architecture = _architecture(config)
    family = KNOWN[architecture]
    fields = Fields({**(family.defaults or {}), **config})
    if fields.flag("is_encoder_decoder"):
        raise SizingError(f"{architecture} is refused: {_ENCODER}")
    model = _read(architecture, family, fields)
    fields.refuse_unread(architecture)
    return model


def _architecture(config: t.Mapping[str, t.Any]) -> str:
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise SizingError(
            f"config.json says architectures {names!r}; expected the name of one class, like ['LlamaForCausalLM'];"
            " is this the folder of a complete model?"
        )
    name: str = names[0]
    if name in REFUSED:
        raise SizingError(f"{name} is refused: {REFUSED[name]}; a size would be a guess")
    if name not in KNOWN:
        raise SizingError(f"{name} is not an architecture that this planner knows; a size would be a guess")
    return name


def _read(architecture: str, family: _Family, fields: Fields) -> Model:
    mixers_of = family.mixers(fields)
    feed_forward_of = family.feed_forward(fields)
    fields.ignore("mtp_use_dedicated_embeddings", "vocab_size_per_layer_input")
    return Model(
        architecture=architecture,
        hidden=fields.integer("hidden_size"),
        vocabulary=fields.integer("vocab_size"),
        layers=tuple(Layer(mixer, part) for mixer, part in zip(mixers_of, feed_forward_of, strict=True)),
        tied=fields.flag("tie_word_embeddings", family.tied),
        max_length=fields.integer("max_position_embeddings", "max_seq_len"),
        element_bytes=element_bytes(fields.get("torch_dtype", "dtype")),
        draft_layers=fields.count("num_nextn_predict_layers", "mtp_num_hidden_layers"),
        extra=family.extra,
    )
