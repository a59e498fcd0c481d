# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of a config.json, read by name; what shapes a model and was not read makes it unknown."""

from __future__ import annotations

import re
import typing as t

from .errors import SizingError

# Words in a field name that say how layers, caches or weights are shaped. Such a field with a value that nobody asked
# for means a model that the formulas do not describe (serving 2.5).
_SHAPING = re.compile(
    r"(^|_)(kv|lora|window|chunk|mamba|ssm|conv|linear|index|indexer|pattern|sparse|compress\w*|latent|nextn|mtp|altup"
    r"|laurel|cross|experts?|moe|state|block_configs|layer_types|share[d]?|sharing|sink\w*|memory|ple|per_layer|intermediate"
    r"|heads?|hidden_size|yoco|cla)(_|$)"
)
# These names have such a word and shape nothing that is counted here.
_HARMLESS = re.compile(
    r"(^|_)(hidden_act|bias|router\w*|aux\w*|loss\w*|topk_group|n_group|norm_topk\w*|routed_scaling\w*|jitter\w*|dropout"
    r"|scoring\w*|topk_method|output_router_logits|lm_head|use_conv_bias|mlp_hidden_act|group_routing\w*|expert_bias\w*"
    r"|swiglu_limit|token_id|ep_size|return_dict|is_llama_config|memory_efficient|token_index|attn_logit\w*|norm\w*"
    r"|max_window_layers|layernorm\w*|time_step\w*|init\w*|impl\w*|use_mamba_kernels|rescale\w*|use_head_gate)(_|$)"
)


class Fields:
    """One config.json. Nested text configurations come first, as Transformers reads them."""

    def __init__(self, config: t.Mapping[str, t.Any]) -> None:
        nested = next((config[key] for key in ("text_config", "llm_config") if isinstance(config.get(key), dict)), None)
        self._text: t.Mapping[str, t.Any] = config if nested is None else nested
        self._top = config
        self._asked: set[str] = set()

    def get(self, *names: str, default: t.Any = None) -> t.Any:
        """The value of the first of these names that has one."""
        self._asked.update(names)
        for source in (self._text, self._top):
            for name in names:
                if source.get(name) is not None:
                    return source[name]
        return default

    def integer(self, *names: str, default: int | None = None) -> int:
        value = self.optional_integer(*names)
        value = default if value is None else value
        if value is None:
            raise SizingError(
                f"config.json has no {' or '.join(names)}, and without it the model cannot be sized;"
                " take the config.json of the original checkpoint"
            )
        return value

    def optional_integer(self, *names: str) -> int | None:
        value = self.get(*names)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**40:
            raise SizingError(f"config.json says {names[0]} is {value!r}; expected a whole number above 0")
        return value

    def count(self, *names: str) -> int:
        """A number that may be zero or absent."""
        return 0 if self.get(*names, default=0) == 0 else self.integer(*names)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.get(name, default=default)
        if not isinstance(value, bool):
            raise SizingError(f"config.json says {name} is {value!r}; expected true or false")
        return value

    def items(self, name: str, length: int) -> list[t.Any] | None:
        """A list with one item per layer, or None when there is none."""
        value = self.get(name)
        if value is None or value == []:
            return None
        if not isinstance(value, (list, str)) or len(value) != length:
            found = f"{len(value)} items" if isinstance(value, (list, str)) else repr(value)
            raise SizingError(f"config.json gives {found} in {name}; expected one for each of the {length} layers")
        return list(value)

    def ignore(self, *names: str) -> None:
        """These shape the model, but nothing that is counted here."""
        self._asked.update(names)

    def refuse_unread(self, architecture: str) -> None:
        unread = sorted(
            name
            for name, value in self._text.items()
            if name not in self._asked
            and value not in (None, False, 0, [], {}, "")
            and not isinstance(value, float)
            and (not isinstance(value, str) or "pattern" in name)
            and _SHAPING.search(name)
            and not _HARMLESS.search(name)
        )
        if unread:
            raise SizingError(
                f"config.json of {architecture} has {', '.join(unread)}, which this planner does not know; it would"
                " have to guess the size, so it refuses"
            )
