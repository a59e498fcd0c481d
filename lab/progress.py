"""One line per long step: what is done and how long it usually takes. In place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
import types

CLEAR_LINE = "\r\x1b[2K"


class Step:
    """Use as a context; call ``note`` when there is news within the step."""

    def __init__(self, what: str, usual: str = "") -> None:
        self._what = what
        self._usual = f"usually {usual}" if usual else ""
        self._note = ""
        self._terminal = sys.stderr.isatty()
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None
        self._started = 0.0

    def note(self, text: str) -> None:
        self._note = text
        if not self._terminal:
            self._print(f"{self._what}: {text}")

    def __enter__(self) -> Step:
        self._started = time.monotonic()
        if self._terminal:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()
        else:
            self._print(self._what + (f" ({self._usual})" if self._usual else ""))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._stop.set()
        if self._ticker is not None:
            self._ticker.join()
        outcome = "done" if kind is None else "failed"
        prefix = CLEAR_LINE if self._terminal else ""
        self._print(f"{prefix}{self._what}: {outcome} in {self._elapsed():.1f} s")

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _tick(self) -> None:
        while not self._stop.wait(0.5):
            parts = [self._what, self._note, f"{self._elapsed():.0f} s", self._usual]
            sys.stderr.write(CLEAR_LINE + "  ".join(part for part in parts if part))
            sys.stderr.flush()

    @staticmethod
    def _print(line: str) -> None:
        print(line, file=sys.stderr, flush=True)
