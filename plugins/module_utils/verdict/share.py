# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variant of the evidence that can be shown to strangers, made of what is known to be harmless."""

from __future__ import annotations

import re
import typing as t

from ..contracts import (
    SCHEMA,
    CheckRecord,
    Evidence,
    EvidenceFile,
    NodeIdentity,
    SharedEvidence,
    SharedNode,
    SharedRecord,
    SharedVerdict,
    Verdict,
)
from ..probe.commands import BANDWIDTH_TOOL, LATENCY_TOOL
from .vocabulary import LEFT_OUT, Vocabulary, node_aliases

_SHA256 = re.compile(r"[0-9a-f]{64}")
_OPTION = re.compile(r"-[a-zA-Z]|--report_gbits|--out_json")
_OPTION_WITH_ADDRESS = "--bind_source_ip="


def shareable(evidence: EvidenceFile) -> SharedEvidence:
    """Numbers, versions, outcomes and aliases; no sentence, no name, no serial number, no address of the house."""
    plan, profile = evidence["plan"], evidence["profile"]
    vocabulary = Vocabulary(plan, also=(profile, evidence["run_id"]))
    aliases = node_aliases(plan)
    return {
        "schema": SCHEMA,
        "run_id": evidence["run_id"],
        "duration_s": evidence["duration_s"],
        "topology": plan["topology"] if plan["topology"] in ("single", "direct", "triangle", "switch") else LEFT_OUT,
        "mtu": plan["mtu"],
        "links": [vocabulary.text(link["id"]) for link in plan["links"]],
        "profile": profile,
        "nodes": {
            alias: _node(vocabulary, evidence["nodes"][node])
            for node, alias in aliases.items()
            if node in evidence["nodes"]
        },
        "records": [_record(vocabulary, record) for record in evidence["records"]],
        "verdict": _verdict(vocabulary, evidence["verdict"]),
    }


def _node(vocabulary: Vocabulary, identity: NodeIdentity) -> SharedNode:
    def shown(version: str | None) -> str | None:
        return None if version is None else vocabulary.text(version)

    return {
        "kernel": shown(identity["kernel"]),
        "os_version": shown(identity["os_version"]),
        "firmware": shown(identity["firmware"]),
        "gpu_driver": shown(identity["gpu_driver"]),
        "nccl_version": shown(identity["nccl_version"]),
    }


def _record(vocabulary: Vocabulary, record: CheckRecord) -> SharedRecord:
    return {
        "check": record["check"],
        "level": record["level"],
        "subject": {part: vocabulary.text(what) for part, what in record["subject"].items()},
        "outcome": record["outcome"],
        "required": record["required"],
        "cause": record["cause"],
        "signature": record["signature"],
        "measured": vocabulary.value(record["measured"]),
        "threshold": vocabulary.value(record["threshold"]),
        "evidence": _evidence(vocabulary, record["evidence"]),
    }


def _evidence(vocabulary: Vocabulary, evidence: Evidence) -> Evidence:
    digest = evidence["raw_sha256"]
    return {
        "argv": [_argument(vocabulary, argument) for argument in evidence["argv"]],
        "rc": evidence["rc"],
        "raw_sha256": digest if digest is not None and _SHA256.fullmatch(digest) else None,
    }


def _argument(vocabulary: Vocabulary, argument: str) -> str:
    if argument in (BANDWIDTH_TOOL, LATENCY_TOOL) or _OPTION.fullmatch(argument):
        return argument
    if argument.startswith(_OPTION_WITH_ADDRESS):
        address = vocabulary.address(argument.removeprefix(_OPTION_WITH_ADDRESS))
        return f"{_OPTION_WITH_ADDRESS}{address or LEFT_OUT}"
    return vocabulary.text(argument)


def _verdict(vocabulary: Vocabulary, verdict: Verdict) -> SharedVerdict:
    diagnosis = verdict["diagnosis"]
    return {
        "outcome": verdict["outcome"],
        "suspects": _texts(vocabulary, diagnosis["suspects"]),
        "failing_paths": _texts(vocabulary, diagnosis["failing_paths"]),
        "valid_pools": [_texts(vocabulary, pool) for pool in verdict["valid_pools"]],
        "blocked_by": _texts(vocabulary, verdict["blocked_by"]),
    }


def _texts(vocabulary: Vocabulary, texts: t.Iterable[str]) -> list[str]:
    return [vocabulary.text(text) for text in texts]
