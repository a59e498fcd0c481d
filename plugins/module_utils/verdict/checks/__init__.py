"""The catalogue. Importing it registers every check."""

from __future__ import annotations

from ..registry import CHECKS, Check, catalogue
from . import cage, cluster, half_link, nccl, nccl_collective, nccl_library, node, pair, update, wire

__all__ = [
    "CHECKS",
    "Check",
    "cage",
    "catalogue",
    "cluster",
    "half_link",
    "nccl",
    "nccl_collective",
    "nccl_library",
    "node",
    "pair",
    "update",
    "wire",
]
