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
  - On a terminal the running step is shown in place with the seconds it has taken; in a log there are plain lines only.
  - Differences follow the line of their step; what is the same on several hosts is shown once.
  - A failure is shown as the sentence that the module wrote. With C(-v) and more this callback behaves as the default
    one.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

import os
import sys
import threading
import time
import typing as t

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

QUICK_S = 1.0  # a step on the controller alone is faster than this
NAME_WIDTH = 56
SHOWN_BY_GATE = {"verdict", "proven", "ready"}  # results that the gate has drawn as a screen already
TICK_S = 1.0


class RunningLine:
    """The step that runs, shown in place on a terminal with the seconds it has taken."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while True:
            with self._lock:
                if self._over.is_set():
                    return
                # Not through a stream: Ansible forks its workers meanwhile, and they would inherit a stream's lock.
                os.write(1, f"\r\033[K  {self._name} ... {time.monotonic() - self._started:.0f} s".encode())
            self._over.wait(TICK_S)

    def end(self) -> None:
        if not self._over.is_set():
            with self._lock:
                self._over.set()
                os.write(1, b"\r\033[K")


class StepResult:
    """What the hosts of one task answered so far."""

    def __init__(self, name: str, in_place: bool) -> None:
        self.name = name
        self.running = RunningLine(name) if in_place else None
        self.started = time.monotonic()
        self.changed: list[str] = []
        self.diffs: dict[str, list[str]] = {}  # by text: what is the same on several hosts is shown once
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

    def _clear(self) -> None:
        if self._step is not None and self._step.running is not None:
            self._step.running.end()

    def _end(self) -> None:
        step = self._step
        if step is None:
            return
        self._clear()
        if step.worth_a_line:
            self._display.display(step.line(), color=C.COLOR_CHANGED if step.changed else None)
        for diff, hosts in step.diffs.items():
            self._display.display(f"  {' '.join(sorted(hosts))}\n{diff}", newline=False)
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
        if result.task.action in C._ACTION_DEBUG:
            self._say(result.result.get("msg"))
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
        if result.task.action.endswith("gate") and SHOWN_BY_GATE & result.result.keys():
            return
        self._sentence("FAILED", result, C.COLOR_SKIP if ignore_errors else C.COLOR_ERROR)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        if self._verbose:
            super().v2_runner_on_unreachable(result)
            return
        self._clear()
        self._sentence("UNREACHABLE", result, C.COLOR_UNREACHABLE)

    def _say(self, message: t.Any) -> None:
        """What a playbook says to its reader: a text, or lines."""
        self._clear()
        for line in message if isinstance(message, list) else [message]:
            self._display.display(str(line))

    def _sentence(self, word: str, result: t.Any, color: str) -> None:
        name = result.task.get_name().rpartition(" : ")[2].strip()
        message = str(result.result.get("msg", "")).strip().replace("\n", "\n    ")
        self._display.display(f"  {word} {result.host.get_name()}: {name}\n    {message}", color=color)

    def v2_on_file_diff(self, result: t.Any) -> None:
        if self._verbose or self._step is None:
            super().v2_on_file_diff(result)
            return
        diff = self._get_diff(result.result.get("diff") or []) if result.result.get("changed") else ""
        if diff:
            self._step.diffs.setdefault(diff, []).append(result.host.get_name())

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._end()
        super().v2_playbook_on_stats(stats)
