"""The catalogue. Importing it registers every check."""

from __future__ import annotations

from ..registry import CHECKS, Check, catalogue
from . import (
    admitted,
    cage,
    cluster,
    flaps,
    gpu,
    half_link,
    nccl,
    nccl_collective,
    nccl_library,
    nccl_pair,
    nccl_place,
    nccl_soak,
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
    "gpu",
    "half_link",
    "nccl",
    "nccl_collective",
    "nccl_library",
    "nccl_pair",
    "nccl_place",
    "nccl_soak",
    "node",
    "pair",
    "regression",
    "update",
    "wire",
]
