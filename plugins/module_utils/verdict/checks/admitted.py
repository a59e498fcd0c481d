# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C10: what the node had been given before this run."""

from __future__ import annotations

from ..limits import Limits
from ..outcome import FIRST_RUN, Outcome, degraded, failed, passed, skipped, unknown
from ..registry import check
from ..views import NodeView


@check("C10", scope="node", needs=("facts.admission",), parents=("N00",))
def admitted(node: NodeView, limits: Limits) -> Outcome:
    """The node held a valid admission when this run began, as a unit would have been told.

    It is only observed: a node that gets its first admission has none before, and one that was started again has an old
    one. This run gives a new one, or takes the old one back.
    """
    found = node.facts["admission"]
    measured = {"state": found["state"], "expires": found["expires"]}
    reason = (found["reason"] or found["state"]).partition(";")[0]
    remedy = [f"give {node.node} a new admission: run playbooks/validate.yml"]
    if found["state"] == "valid":
        return passed(f"admitted until {found['expires']}", measured=measured)
    if found["state"] == "absent":
        return skipped(f"before this run: {reason}", signature=FIRST_RUN, measured=measured)
    if found["state"] == "unreadable":
        return unknown(f"before this run: {reason}", remedy=remedy, measured=measured)
    if found["state"] == "expired":
        return degraded(f"before this run: {reason}", cause="environment", remedy=remedy, measured=measured)
    return failed(f"before this run: {reason}", cause="environment", remedy=remedy, measured=measured)
