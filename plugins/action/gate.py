# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that judges. Runs on the controller, over the plan, never over the hosts that happened to answer."""

from __future__ import annotations

import collections
import getpass
import json
import os
import typing as t
from datetime import UTC, datetime

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import EvidenceFile
from ansible_collections.gb10.cluster.plugins.module_utils.evidence import EvidenceFolder
from ansible_collections.gb10.cluster.plugins.module_utils.verdict import quarantine
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import grants, with_days
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.concurrency import obstacles
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.levels import decide_levels, levels_pass
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.limits import ProfileError
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.memory import remember
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.passive import preview
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.passive_screen import (
    preview_message,
    preview_screen,
)
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.profiles import validated
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.screen import (
    cabling_message,
    cabling_screen,
    levels_message,
    levels_screen,
    memory_lines,
    verdict_message,
    verdict_screen,
)
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.wording import Line

ARGUMENTS: dict[str, t.Any] = {
    "stage": {"type": "str", "choices": ["preflight", "passive", "cabling", "full", "enforce"], "default": "full"},
    "plan": {"type": "dict", "required": True},
    "profile": {"type": "dict", "default": {}},
    "facts": {"type": "dict", "default": {}},
    "discoveries": {"type": "dict", "default": {}},
    "measurements": {"type": "dict", "default": {}},
    "nccl": {"type": "dict"},
    "harness": {"type": "str", "choices": ["torch", "nccl_tests"], "default": "torch"},
    "missing": {"type": "dict", "default": {}},
    "take_over": {"type": "bool", "default": False},
    "levels": {"type": "list", "elements": "str", "default": []},
    "changed_nodes": {"type": "list", "elements": "str", "default": []},
    "run_started": {"type": "str"},
    "baseline": {"type": "str", "choices": ["keep", "renew"], "default": "keep"},
    "soak_s": {"type": "int", "default": 0},
    "evidence_dir": {"type": "path", "default": "evidence"},
    "admission_days": {"type": "int", "default": 7},
    "waivers": {"type": "list", "elements": "raw", "default": []},
    "acknowledge": {"type": "list", "elements": "str", "default": []},
    "readmit_interval": {"type": "int", "default": 600},
    "verdict": {"type": "dict"},
    "enforce": {"type": "bool", "default": True},
}

NARROWEST = 79  # what Ansible assumes when there is no terminal
WIDEST = 120
SHOW_RECORDS = 3  # -vvv

Result = dict[str, t.Any]


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible-core ships no types
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            argument_spec=ARGUMENTS,
            required_if=[
                *(("stage", stage, ("profile",)) for stage in ("full", "passive", "preflight")),
                ("stage", "enforce", ("verdict",)),
            ],
        )
        # Plain data from here on: what a playbook passes carries Ansible's own tags and lazy templates.
        # A date in a waiver, which YAML makes of one without quotes, becomes a text again.
        arguments = json.loads(json.dumps(arguments, default=str))
        stages = {
            "preflight": self._preflight,
            "passive": self._passive,
            "cabling": self._cabling,
            "full": self._full,
            "enforce": self._enforce,
        }
        try:
            return {"changed": False} | stages[arguments["stage"]](arguments, task_vars or {})
        except (ProfileError, ValueError) as error:
            raise AnsibleActionFail(f"Cannot judge: {error}") from error

    def _preflight(self, arguments: Result, task_vars: Result) -> Result:
        validated(arguments["profile"])
        found = obstacles(
            list(arguments["plan"]["nodes"]),
            forks=int(task_vars["ansible_forks"]),
            targeted=task_vars["ansible_play_hosts_all"],
            active=task_vars["ansible_play_hosts"],
            batch=task_vars["ansible_play_batch"],
        )
        folder = EvidenceFolder(arguments["evidence_dir"])
        folder.memory()  # what would refuse in the end refuses now
        folder.kept_out()
        started = {"run_started": datetime.now(UTC).isoformat(timespec="seconds")}
        if not found:
            return started | {"msg": "all nodes can measure at the same time"}
        return started | {"failed": arguments["enforce"], "msg": ". ".join(found)}

    def _passive(self, arguments: Result, task_vars: Result) -> Result:
        reading = Reading(
            plan=arguments["plan"],
            profile=validated(arguments["profile"]),
            facts=arguments["facts"],
            discoveries=arguments["discoveries"],
            measurements={},
            check_mode=True,  # nothing was measured
        )
        found = preview(reading, arguments["missing"], arguments["take_over"])
        self._show([Line(""), *preview_screen(reading, found, self._width)])
        return {
            "failed": bool(found.in_the_way) and arguments["enforce"],
            "msg": preview_message(found),
            "ready": not found.in_the_way,
        }

    def _cabling(self, arguments: Result, task_vars: Result) -> Result:
        plan, discoveries, check_mode = arguments["plan"], arguments["discoveries"], self._task.check_mode
        self._show(cabling_screen(plan, discoveries, self._width, check_mode))
        message = cabling_message(plan, discoveries)
        if message is None:
            return {"msg": "the cabling is the planned one", "proven": True}
        return {"failed": arguments["enforce"] and not check_mode, "msg": message, "proven": False}

    def _full(self, arguments: Result, task_vars: Result) -> Result:
        check_mode, now = self._task.check_mode, datetime.now(UTC)
        folder, renew = EvidenceFolder(arguments["evidence_dir"]), arguments["baseline"] == "renew"
        before = folder.memory()
        reading = Reading(
            plan=arguments["plan"],
            profile=arguments["profile"],
            facts=arguments["facts"],
            discoveries=arguments["discoveries"],
            measurements=arguments["measurements"],
            nccl=arguments["nccl"],
            harness=arguments["harness"],
            check_mode=check_mode,
            baseline={} if renew else before.numbers,
            carriers=before.marks,
            changed=arguments["changed_nodes"],
            soak_s=arguments["soak_s"],
        )
        run_id, span = now.strftime("%Y%m%d-%H%M%S"), _span(arguments["run_started"], now)
        if arguments["levels"]:
            return self._levels(decide_levels(reading, run_id, arguments["levels"], *span), folder, arguments)
        evidence = decide(reading, run_id, *span, waivers=arguments["waivers"], now=now)
        evidence, kept_out = _with_quarantine(evidence, folder.kept_out(), arguments, check_mode, now)
        admissions = grants(evidence, reading, arguments["admission_days"])
        where, remembered = None, remember(reading, evidence, before, now.isoformat(timespec="seconds"), renew)
        if not check_mode:
            where = _written(folder, lambda: folder.write(evidence, before, remembered, kept_out))
        lines = verdict_screen(evidence, where, self._width, check_mode)
        self._show([Line(""), *lines, *([] if check_mode else memory_lines(remembered.kept))])
        verdict = evidence["verdict"]
        refused = verdict["outcome"] != "admit" and not check_mode
        result: Result = {
            "failed": refused and arguments["enforce"],
            "refused": refused,
            "msg": verdict_message(verdict),
            "verdict": verdict,
            "admissions": admissions,
            "evidence": where,
            "baseline": {"added": remembered.kept.added, "renewed": remembered.kept.renewed},
            "counts": dict(collections.Counter(record["outcome"] for record in evidence["records"])),
        }
        if self._display.verbosity >= SHOW_RECORDS:
            result["records"] = evidence["records"]
        return result

    def _levels(self, evidence: EvidenceFile, folder: EvidenceFolder, arguments: Result) -> Result:
        """Nothing here can admit, and what the last whole run said stays the latest."""
        check_mode = self._task.check_mode
        where = None if check_mode else _written(folder, lambda: folder.write_levels(evidence))
        self._show([Line(""), *levels_screen(evidence, where, self._width, check_mode)])
        refused = not levels_pass(evidence) and not check_mode
        return {
            "failed": refused and arguments["enforce"],
            "refused": refused,
            "msg": levels_message(evidence),
            "verdict": evidence["verdict"],
            "evidence": where,
            "levels": evidence["levels"],
            "counts": dict(collections.Counter(record["outcome"] for record in evidence["records"])),
        }

    def _enforce(self, arguments: Result, task_vars: Result) -> Result:
        """After the nodes have been told, so that a refusal has taken their admissions back before it ends the play."""
        verdict = arguments["verdict"]
        refused = verdict["outcome"] != "admit"
        failed = refused and arguments["enforce"] and not self._task.check_mode
        return {"failed": failed, "msg": verdict_message(verdict), "verdict": verdict}

    @property
    def _width(self) -> int:
        return min(max(int(self._display.columns), NARROWEST), WIDEST)

    def _show(self, lines: list[Line]) -> None:
        colours = {"good": C.COLOR_OK, "warn": C.COLOR_WARN, "bad": C.COLOR_ERROR, "title": C.COLOR_HIGHLIGHT}
        for line in lines:
            self._display.display(line.text, color=colours.get(line.style))


def _with_quarantine(
    evidence: EvidenceFile, memory: quarantine.Memory, arguments: Result, check_mode: bool, now: datetime
) -> tuple[EvidenceFile, quarantine.Memory]:
    """The verdict with what earlier runs have left, and what this one leaves. Check mode leaves nothing."""
    interval_s = arguments["readmit_interval"]
    if not check_mode:
        policy = quarantine.Policy(interval_s, tuple(arguments["acknowledge"]), _operator())
        memory = quarantine.advance(memory, evidence, policy, now)
    evidence = quarantine.kept_out(evidence, memory, interval_s)
    evidence["verdict"] = with_days(evidence["verdict"], arguments["admission_days"])
    return evidence, memory


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"uid {os.getuid()}"


def _span(started: str | None, now: datetime) -> tuple[str | None, float | None]:
    """When the run began, and how long it took."""
    if started is None:
        return None, None
    return started, round((now - datetime.fromisoformat(started)).total_seconds(), 1)


def _written(folder: EvidenceFolder, write: t.Callable[[], str]) -> str:
    try:
        return write()
    except OSError as error:
        raise AnsibleActionFail(
            f"Cannot write evidence to {folder.folder}: {error}; nothing is admitted without it"
        ) from error
