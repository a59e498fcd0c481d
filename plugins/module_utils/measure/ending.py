# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A probe that is told to end first ends what it has started."""

from __future__ import annotations

import signal
import types


class ending_on_signals:
    """Turn a request to end into an exception, so that everything that was started is ended on the way out."""

    _SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._end) for number in self._SIGNALS}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, _frame: types.FrameType | None) -> None:
        # A second request must not cut the ending short.
        for each in self._SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)
