"""The catalogue. Importing it registers every check."""

from __future__ import annotations

from ..registry import CHECKS, Check, catalogue
from . import (
    admitted,
    cage,
    cluster,
    flaps,
    half_link,
    nccl,
    nccl_collective,
    nccl_library,
    node,
    pair,
    regression,
    update,
    wire,
)

__all__ = [
    "CHECKS",
    "Check",
    "admitted",
    "cage",
    "catalogue",
    "cluster",
    "flaps",
    "half_link",
    "nccl",
    "nccl_collective",
    "nccl_library",
    "node",
    "pair",
    "regression",
    "update",
    "wire",
]
