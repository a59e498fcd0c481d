# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C: all nodes together."""

from __future__ import annotations

import typing as t

from ...contracts import NodeFacts
from ..identity import firmware_of, gpu_driver_of
from ..limits import Limits, OneOf
from ..majority import ODD, odd_ones
from ..outcome import Outcome, failed, passed, unknown
from ..registry import check
from ..views import ClusterView

_PROPERTIES: dict[str, t.Callable[[NodeFacts], object]] = {
    "kernel": lambda facts: facts["kernel"],
    "os_version": lambda facts: facts["os_version"],
    "architecture": lambda facts: facts["architecture"],
    "gpu_driver": gpu_driver_of,
    "firmware": firmware_of,
    "memory_gib": lambda facts: facts["memory_kib"].get("MemTotal", 0) // (1024 * 1024) or None,
}


@check(
    "C01",
    scope="cluster",
    needs=("members.kernel", "members.os_version", "members.gpus.driver", "members.packages", "members.memory_kib"),
    parents=("N00",),
    limits={"equal": OneOf},
)
def equality(cluster: ClusterView, limits: Limits) -> Outcome:
    """All nodes have the same kernel, driver, firmware and tools. Skew hangs NCCL and looks like the fabric."""
    found: dict[str, dict[str, object]] = {}
    for name in limits.get(OneOf, "equal").values:
        found[name] = {facts["node"]: _read(name, facts) for facts in cluster.members}
    measured = {name: sorted({str(value) for value in values.values()}) for name, values in found.items()}
    missing = [f"{name} of {node}" for name, values in found.items() for node, value in values.items() if not value]
    differing = {name: values for name, values in found.items() if len({str(v) for v in values.values()}) > 1}
    if missing:
        return unknown(f"not known: {', '.join(missing)}", measured=measured)
    if not differing:
        return passed(f"equal: {', '.join(found)}", measured=measured)
    odd = _odd(list(differing.values()))
    return failed(
        "; ".join(
            f"{name} differs: {', '.join(f'{node} {value}' for node, value in values.items())}"
            for name, values in differing.items()
        ),
        cause="software",
        remedy=[f"bring {' and '.join(odd)} to the DGX OS update of the others, then measure again"]
        if odd
        else ["bring all nodes to the same DGX OS update, then measure again"],
        measured=measured | {ODD: odd},
    )


def _odd(differing: t.Sequence[dict[str, object]]) -> list[str]:
    """Who is to follow the others; nobody, when one property has no majority or every node is odd in some way."""
    found = [odd_ones(values) for values in differing]
    odd = sorted({node for nodes in found for node in nodes})
    return odd if all(found) and len(odd) < len(differing[0]) else []


def _read(name: str, facts: NodeFacts) -> object:
    """A property, or else the version of the package of that name."""
    return _PROPERTIES[name](facts) if name in _PROPERTIES else facts["packages"].get(name)
