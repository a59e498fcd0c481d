# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an admitting verdict to one token for each node, bound to what was measured (health-checks 4.1).

The controller grants, the node issues: a token is verified by the clock of its node, so that clock stamps it. The part
that issues runs on the node and uses the standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
from datetime import UTC, datetime, timedelta

if t.TYPE_CHECKING:
    from ..contracts import (
        Admission,
        AdmissionBinding,
        EvidenceFile,
        Grant,
        HalfPlan,
        NodeFacts,
        Revocation,
        Verdict,
    )
    from .views import Reading

SCHEMA = "1"
ADMISSION_FILE = "/var/lib/gb10/admission.json"
VERIFIER = "/usr/local/lib/gb10/admission"

_DAY_S = 86400
_NO_FIRMWARE = (None, "", "0.0.0")  # as verbs and sysfs spell it for soft-RoCE


# --- the controller grants ---


def grants(evidence: EvidenceFile, reading: Reading, days: int) -> dict[str, Grant]:
    """A grant for every node of an admitted plan; none for a refused one, even where fewer nodes could serve."""
    verdict = evidence["verdict"]
    if verdict["outcome"] != "admit":
        return {}
    pool = list(reading.plan["nodes"])
    return {
        node: {
            "node": node,
            "pool": pool,
            "run_id": verdict["run_id"],
            "lifetime_s": days * _DAY_S,
            "not_after": _first_waiver_to_end(evidence),
            "bound": _binding(reading, node),
        }
        for node in pool
    }


def with_days(verdict: Verdict, days: int) -> Verdict:
    """The verdict says how long an admission of it holds at most."""
    return {**verdict, "admission_days": days} if verdict["outcome"] == "admit" else verdict


def digest(document: t.Any) -> str:
    """sha256 of the canonical JSON."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _binding(reading: Reading, node: str) -> AdmissionBinding:
    """Of the facts that were judged. A node that has changed since is not the one that was measured."""
    facts, halves = reading.facts[node], reading.plan["nodes"][node]["halves"]
    netdevs = [half["netdev"] for half in halves]
    rank = reading.rank(node)
    # The NCCL of nccl-tests is not that of what serves.
    library = rank["library"] if rank and reading.harness == "torch" else None
    return {
        "boot_id": str(facts["boot_id"]),
        "kernel": facts["kernel"],
        "firmware": _firmware(facts, netdevs),
        "gpu_driver": facts.get("gpu_module"),
        "nccl_build_id": library["build_id"] if library else None,
        "netdevs": netdevs,
        "netplan": {
            file["path"]: file["sha256"]
            for file in facts["netplan_files"]
            if not set(netdevs).isdisjoint(file["interfaces"])
        },
        "cabling": {f"{half['cage']}:{half['half']}": _far_end(half) for half in halves},
        "plan_sha256": digest(reading.plan),
        "profile": {"name": reading.profile["name"], "sha256": digest(reading.profile)},
    }


def _firmware(facts: NodeFacts, netdevs: t.Sequence[str]) -> dict[str, str]:
    devices = [half["rdma"] for half in facts["halves"] if half["rdma"] and half["netdev"] in netdevs]
    return {rdma["device"]: str(rdma["fw_ver"]) for rdma in devices if rdma["fw_ver"] not in _NO_FIRMWARE}


def _far_end(half: HalfPlan) -> str:
    peer = half["peer"]
    return f"switch port {half['switch_port']}" if peer is None else f"{peer['node']}:{peer['cage']}:{peer['half']}"


def _first_waiver_to_end(evidence: EvidenceFile) -> str | None:
    """An admission must not outlive what it stands on."""
    ends = [record["waiver"]["expires"] for record in evidence["records"] if "waiver" in record]
    return min(ends, default=None)


# --- the node issues ---


def moment(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def issue(grant: Grant, now: datetime) -> Admission:
    """The token, sealed."""
    ends = [now + timedelta(seconds=grant["lifetime_s"])]
    if grant["not_after"] is not None:
        ends.append(datetime.fromisoformat(grant["not_after"]))
    token: Admission = {
        "schema": SCHEMA,
        "node": grant["node"],
        "pool": grant["pool"],
        "run_id": grant["run_id"],
        "issued": moment(now),
        "expires": moment(min(ends)),
        "bound": grant["bound"],
        "seal": "",
    }
    return {**token, "seal": seal(token)}


def seal(token: t.Mapping[str, t.Any]) -> str:
    return digest({key: value for key, value in token.items() if key != "seal"})


def revocation(node: str, run_id: str, reasons: t.Sequence[str], now: datetime) -> Revocation:
    """The reasons that name this node come first: those are read on it."""
    own = sorted(reasons, key=lambda reason: node not in re.findall(r"[\w.-]+", reason))
    return {"schema": SCHEMA, "node": node, "run_id": run_id, "revoked": moment(now), "reasons": own}


def still_good(found: t.Any, wanted: Admission, now: datetime) -> bool:
    """Whether a token that is there says the same and has more than half of its time left, so that it can stay."""
    if not isinstance(found, dict) or found.get("seal") != seal(found):
        return False
    if any(found.get(key) != wanted[key] for key in ("schema", "node", "pool", "bound")):
        return False
    try:
        issued, expires = (datetime.fromisoformat(found[key]) for key in ("issued", "expires"))
        longest = datetime.fromisoformat(wanted["expires"])
        return issued <= now and expires <= longest and expires - now > (longest - now) / 2
    except (KeyError, TypeError, ValueError):
        return False


def still_revoked(found: t.Any, wanted: Revocation) -> bool:
    """The first run that refused for the same reasons stays the one that is named."""
    return isinstance(found, dict) and {**found, "run_id": "", "revoked": ""} == {**wanted, "run_id": "", "revoked": ""}
