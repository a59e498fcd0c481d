"""The few words of QEMU's machine protocol that the lab needs."""

from __future__ import annotations

import json
import shlex
import socket
import time
import types
import typing as t
from pathlib import Path

from lab.errors import LabError


class Qmp:
    """A connection to a machine's monitor; use as a context."""

    def __init__(self, path: Path, timeout: float = 20) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._connect(path, time.monotonic() + timeout)
        self._lines = self._socket.makefile("rb")
        self._read()
        self.command("qmp_capabilities")

    def __enter__(self) -> Qmp:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()

    def command(self, name: str, /, **arguments: t.Any) -> t.Any:
        """Run a command and return what it answers; events in between are dropped."""
        self._socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            message = self._read()
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise LabError(f"QEMU refused {name}: {message['error'].get('desc')}")

    def set_link(self, name: str, up: bool) -> None:
        self.command("set_link", name=name, up=up)

    def save(self, target: Path, timeout: float = 180) -> None:
        """Stop the machine and write its state to a file."""
        self.command("stop")
        self.command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.command("migrate", uri=f"exec:cat > {shlex.quote(str(target))}")
        deadline = time.monotonic() + timeout
        while (status := self.command("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled") or time.monotonic() > deadline:
                raise LabError(f"Saving the machine's state to {target} ended as '{status}'.")
            time.sleep(0.1)

    def wait_loaded(self, timeout: float = 120) -> None:
        """Wait until a machine that was started from a saved state holds all of it."""
        deadline = time.monotonic() + timeout
        while (status := self.command("query-status")["status"]) == "inmigrate":
            if time.monotonic() > deadline:
                raise LabError("The machine did not finish loading its saved state.")
            time.sleep(0.05)
        if status not in ("paused", "prelaunch", "running"):
            raise LabError(f"The machine is '{status}' after loading its saved state.")

    def _connect(self, path: Path, deadline: float) -> None:
        while True:
            try:
                return self._socket.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise LabError(f"No machine answers at {path}.") from None
                time.sleep(0.05)

    def _read(self) -> dict[str, t.Any]:
        line = self._lines.readline()
        if not line:
            raise LabError("The machine went away in the middle of a command.")
        message: dict[str, t.Any] = json.loads(line)
        return message
