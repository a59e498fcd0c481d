"""One process for each node, and an end of them all."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path


class NodeProcesses:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def leftovers(self) -> list[int]:
        """Processes of this folder that are still alive, the tools that they started included."""
        alive = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and str(self.folder).encode() in (entry / "cmdline").read_bytes():
                    alive.append(int(entry.name))
            except OSError:
                continue
        return alive

    def end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.communicate()
        for pid in self.leftovers():
            os.kill(pid, signal.SIGKILL)
