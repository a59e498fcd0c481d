# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator typed, read into numbers; every mistake is a sentence."""

from __future__ import annotations

import math
import typing as t

from ..contracts.serving import Engine
from .build import Wanted
from .errors import SizingError
from .flags import ENGINES
from .kv import DTYPES
from .memory import GIB, UTILISATION, NodeMemory

MOST_NODES = 4  # of a cluster (design: one to four Sparks)


def read_nodes(nodes: t.Any, memory_gib: t.Any, free_gib: t.Any = None) -> list[NodeMemory]:
    """Nodes by name or number, and one amount of memory for all or one for each."""
    names = _names(nodes)
    totals = _amounts(memory_gib, len(names), "the memory of a node")
    free = [None] * len(names) if free_gib is None else _amounts(free_gib, len(names), "the free memory of a node")
    return [NodeMemory(*of_one) for of_one in zip(names, totals, free, strict=True)]


def read_wanted(declared: t.Mapping[str, t.Any]) -> Wanted:
    given = {name: value for name, value in declared.items() if value not in (None, "")}
    known = set(Wanted.__dataclass_fields__)
    if given.keys() - known:
        raise SizingError(
            f"{', '.join(sorted(given.keys() - known))} is not an option; there are {', '.join(sorted(known))}"
        )
    numbers = {
        name: _whole(given[name], name)
        for name in ("tensor_parallel", "pipeline_parallel", "max_model_len", "max_num_seqs")
        if name in given
    }
    return Wanted(
        engine=t.cast(Engine, _one_of(given.get("engine", "vllm"), ENGINES, "engine")),
        kv_cache_dtype=_one_of(given.get("kv_cache_dtype", "auto"), DTYPES, "kv_cache_dtype"),
        utilisation=_share(given.get("utilisation", UTILISATION)),
        **numbers,
    )


def _names(nodes: t.Any) -> list[str]:
    if isinstance(nodes, (list, tuple)) and nodes:
        names = [str(name) for name in nodes]
    else:
        names = [f"node{number + 1}" for number in range(_whole(nodes, "the number of nodes"))]
    if len(names) > MOST_NODES or len(set(names)) != len(names):
        raise SizingError(
            f"{len(names)} nodes were given ({', '.join(names[:6])}); expected 1 to {MOST_NODES} different ones"
        )
    return names


def _amounts(value: t.Any, count: int, what: str) -> list[int]:
    """In bytes. A text with commas is a list: -e plan_node_memory_gib=119.7,119.7,57."""
    given = value.split(",") if isinstance(value, str) else value
    amounts = list(given) if isinstance(given, (list, tuple)) else [given]
    if len(amounts) == 1:
        amounts *= count
    if len(amounts) != count:
        raise SizingError(f"{what} is given {len(amounts)} times for {count} nodes; give it once, or once for each")
    return [round(_number(amount, what) * GIB) for amount in amounts]


def _number(value: t.Any, what: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 10_000:
        raise SizingError(f"{what} is {value!r}; expected a number of GiB, like 119.7")
    return number


def _whole(value: t.Any, what: str) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal() or not 0 < int(text) < 2**31:
        raise SizingError(f"{what} is {value!r}; expected a whole number above 0")
    return int(text)


def _share(value: t.Any) -> float:
    share = _number(value, "utilisation")
    if share > 0.95:
        raise SizingError(
            f"utilisation is {value!r}; expected a share of the memory up to 0.95, and 0.8 is proven on Spark"
        )
    return share


def _one_of(value: t.Any, known: t.Sequence[str], what: str) -> str:
    if value not in known:
        raise SizingError(f"{what} is {value!r}; expected one of {', '.join(known)}")
    return str(value)
