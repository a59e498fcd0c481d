# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""N: whether an update of the node is half done."""

from __future__ import annotations

from ...probe.system import OTA_CHECK
from ..limits import AtMost, Limits
from ..outcome import Outcome, degraded, graded, passed, unknown
from ..registry import check
from ..views import NodeView


@check(
    "N13",
    scope="node",
    needs=("facts.reboot_required", "facts.kernel", "facts.newest_kernel", "facts.tools"),
    parents=("N00",),
    optional_limits={"torn_percent": AtMost},
)
def updates(node: NodeView, limits: Limits) -> Outcome:
    """No update is half done: the newest installed kernel runs, no reboot is pending, nothing of DGX OS is missing.

    The last is what DGX OS says itself, where it has the tool for it: a torn update keeps old firmware or packages.
    """
    running, newest = node.facts["kernel"], node.facts["newest_kernel"]
    measured = {"running": running, "newest": newest, "reboot_required": node.facts["reboot_required"]}
    torn = _torn(node, limits)
    if torn is not None:
        return torn
    if not node.facts["reboot_required"] and running == newest:
        return passed("up to date with itself", measured=measured)
    reason = f"runs {running}, {newest} is installed" if running != newest else "a reboot is pending"
    return degraded(reason, cause="software", remedy=[f"reboot {node.node}, then measure again"], measured=measured)


def _torn(node: NodeView, limits: Limits) -> Outcome | None:
    """A finding about the update of DGX OS, if there is one. A node without its tool is not asked."""
    limit = limits.find(AtMost, "torn_percent")
    if limit is None or not node.facts["tools"].get(OTA_CHECK):
        return None
    percent = node.facts.get("ota_torn_percent")
    if not isinstance(percent, int):
        said = [problem for problem in node.facts["problems"] if OTA_CHECK in problem]
        return unknown(said[0] if said else f"{OTA_CHECK} did not say whether an update is torn")
    grade = limit.grade(percent)
    if grade == "pass":
        return None
    return graded(
        grade,
        f"{percent} % of the installed update of DGX OS are missing",
        cause="software",
        remedy=[
            f"finish the update on {node.node} (apt full-upgrade, fwupdmgr upgrade), reboot it, then measure again"
        ],
        measured={"torn_percent": percent},
        threshold=limit.shown(),
    )
