# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stages
type: stdout
short_description: One line for each step, and nothing else when all is well
version_added: 0.1.0
author:
  - gb10.cluster contributors (@gb10-cluster)
description:
  - Shows a play as a heading and a task as one line with what came of it and how long it took. Steps that only concern
    the controller and take no time are not shown.
  - On a terminal the running step is shown in place; in a log there are plain lines only.
  - A failure is shown as the sentence that the module wrote. With C(-v) and more this callback behaves as the default
    one.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

import sys
import time
import typing as t

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

QUICK_S = 1.0  # a step on the controller alone is faster than this
NAME_WIDTH = 48


class StepResult:
    """What the hosts of one task answered so far."""

    def __init__(self, name: str, shown_in_place: bool) -> None:
        self.name = name
        self.in_place = shown_in_place
        self.started = time.monotonic()
        self.changed: list[str] = []
        self.answered = 0

    def line(self) -> str:
        outcome = f"changed {' '.join(sorted(self.changed))}" if self.changed else "ok"
        return f"  {self.name:<{NAME_WIDTH}} {time.monotonic() - self.started:4.0f} s  {outcome}"

    @property
    def worth_a_line(self) -> bool:
        return bool(self.changed) or (self.answered > 0 and time.monotonic() - self.started >= QUICK_S)


class CallbackModule(DefaultCallback):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "gb10.cluster.stages"

    def __init__(self) -> None:
        super().__init__()
        self._step: StepResult | None = None

    @property
    def _verbose(self) -> bool:
        return bool(self._display.verbosity)

    # --- the running step ---

    def _begin(self, task: t.Any) -> None:
        self._end()
        name = task.get_name().strip()
        # The gate draws its own table; a half-written line must not stand before it.
        in_place = sys.stdout.isatty() and not task.action.endswith("gate")
        self._step = StepResult(name.rpartition(" : ")[2], in_place)
        if in_place:
            self._display.display(f"  {self._step.name} ...", newline=False)

    def _clear(self) -> None:
        if self._step is not None and self._step.in_place:
            self._display.display("\r\033[K", newline=False)
            self._step.in_place = False

    def _end(self) -> None:
        step = self._step
        if step is None:
            return
        self._clear()
        if step.worth_a_line:
            self._display.display(step.line(), color=C.COLOR_CHANGED if step.changed else None)
        self._step = None

    # --- events ---

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        if self._verbose:
            super().v2_playbook_on_play_start(play)
            return
        self._end()
        self._play = play
        check = "   (check mode, nothing is changed)" if play.check_mode else ""
        self._display.display(f"\n{play.get_name().strip()}{check}", color=C.COLOR_HIGHLIGHT)

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        if self._verbose:
            super().v2_playbook_on_task_start(task, is_conditional)
        else:
            self._begin(task)

    def v2_playbook_on_handler_task_start(self, task: t.Any) -> None:
        if self._verbose:
            super().v2_playbook_on_handler_task_start(task)
        else:
            self._begin(task)

    def v2_playbook_on_include(self, included_file: t.Any) -> None:
        if self._verbose:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        if self._verbose or self._step is None:
            super().v2_runner_on_ok(result)
            return
        self._handle_warnings_and_exception(result)
        if result.task.action in C._ACTION_ALL_INCLUDES:
            return
        self._step.answered += 1
        if result.result.get("changed"):
            self._step.changed.append(result.host.get_name())

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        if self._verbose:
            super().v2_runner_on_skipped(result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        if self._verbose or "msg" not in result.result or result.task.loop:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        self._clear()
        self._sentence("FAILED", result, C.COLOR_SKIP if ignore_errors else C.COLOR_ERROR)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        if self._verbose:
            super().v2_runner_on_unreachable(result)
            return
        self._clear()
        self._sentence("UNREACHABLE", result, C.COLOR_UNREACHABLE)

    def _sentence(self, word: str, result: t.Any, color: str) -> None:
        name = result.task.get_name().rpartition(" : ")[2].strip()
        message = str(result.result.get("msg", "")).strip().replace("\n", "\n    ")
        self._display.display(f"  {word} {result.host.get_name()}: {name}\n    {message}", color=color)

    def v2_on_file_diff(self, result: t.Any) -> None:
        if self._verbose:
            super().v2_on_file_diff(result)
            return
        diff = self._get_diff(result.result.get("diff") or []) if result.result.get("changed") else ""
        if diff:
            self._clear()
            self._display.display(f"  {result.host.get_name()}\n{diff}", newline=False)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._end()
        super().v2_playbook_on_stats(stats)
