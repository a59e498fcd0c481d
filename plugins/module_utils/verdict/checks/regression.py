# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C07: the numbers of this run against those of the run that set the baseline."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...contracts import BaselineNumber
from ..baseline import NumberKey
from ..limits import AtMost, Limits
from ..outcome import NO_BASELINE, Grade, Outcome, graded, skipped
from ..registry import check
from ..views import NumberView

_WORST_FIRST: tuple[Grade, ...] = ("fail", "degraded", "pass")
_NOTHING = 0.0005
_UNITS = {"bw_gbps": "Gb/s", "sum_gbps": "Gb/s", "lat_us": "us", "busbw_gbs": "GB/s"}


@dataclass(frozen=True, slots=True)
class _Change:
    key: NumberKey
    now: float
    then: BaselineNumber
    loss: float  # the part that was lost; of a latency, the part that came on top
    grade: Grade

    @property
    def sentence(self) -> str:
        now, run = f"{self.now:.4g} {_UNITS[self.key.number]}", self.then["run_id"]
        if abs(self.loss) < _NOTHING:
            return f"{now} as in run {run}"
        word = "more" if self.now > self.then["value"] else "less"
        return f"{now}, {abs(self.loss):.1%} {word} than the {self.then['value']:.4g} of run {run}"


@check(
    "C07",
    scope="number",
    needs=("numbers",),
    parents=("N00", "P01", "P02", "P03", "P04", "C02", "C04", "C05"),
    limits={"bandwidth_drop": AtMost, "latency_rise": AtMost},
    active=True,
)
def regression(view: NumberView, limits: Limits) -> Outcome:
    """No number is worse than that of the run that set the baseline, by profile, topology, subject, tool and size.

    Healthy halves stay within 0.1 Gb/s, so a loss of 5 % is a signal that no fixed threshold gives: an update, a cable
    or a PCIe link that is worse than it was. A first run has nothing to be compared with.
    """
    earlier = view.earlier
    changes = [_change(key, now, earlier[key], limits) for key, now in (view.numbers or {}).items() if key in earlier]
    measured: dict[str, t.Any] = {key.number: now for key, now in (view.numbers or {}).items()}
    if not changes:
        return skipped("no earlier number to compare with", signature=NO_BASELINE, measured=measured)
    worst = min(changes, key=lambda change: (_WORST_FIRST.index(change.grade), -change.loss))
    measured |= {"baseline": {_name(c.key): c.then["value"] for c in changes}}
    measured |= {"loss": {_name(c.key): round(c.loss, 4) for c in changes}, "baseline_run": worst.then["run_id"]}
    return graded(
        worst.grade,
        worst.sentence,
        cause="hardware",
        remedy=_remedy(view, worst.then),
        measured=measured,
        threshold={name: limits.get(AtMost, name).shown() for name in ("bandwidth_drop", "latency_rise")},
        signature=None if worst.grade == "pass" else "regression",
    )


def _change(key: NumberKey, now: float, then: BaselineNumber, limits: Limits) -> _Change:
    is_latency = key.number == "lat_us"
    loss = (now - then["value"]) / then["value"] * (1 if is_latency else -1)
    limit = limits.get(AtMost, "latency_rise" if is_latency else "bandwidth_drop")
    # 5 % of a number is rarely a whole one: what is lost is compared to a thousandth of a percent.
    return _Change(key, now, then, loss, limit.grade(round(loss, 5)))


def _name(key: NumberKey) -> str:
    return f"{key.number} {key.tool} {key.size_bytes}"


def _remedy(view: NumberView, then: BaselineNumber) -> list[str]:
    nodes = " and ".join(view.nodes)
    return [
        f"see what changed on {nodes} since {then['date'][:10]}: an update, a cable, another load",
        f"measure {nodes} again, with nothing else running; if unchanged, reboot them with the cable attached",
        "if the new number is the right one: run with gate_baseline=renew",
    ]
