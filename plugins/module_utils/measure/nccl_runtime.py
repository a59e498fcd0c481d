# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rank runs: the image or the virtual environment that will serve (health-checks 4.3)."""

from __future__ import annotations

import os
import secrets
import time
import typing as t

from ..probe.error import excerpt

if t.TYPE_CHECKING:
    from ..contracts import NcclRuntime
    from ..host import Host, Process

PROGRAM, JOB, REPORT, LOG, ENVIRONMENT = "nccl_bench.py", "job.json", "report.json", "nccl.log", "environment"
DEVICES = "/dev/infiniband"
_INSIDE = "/gb10"
_DOCKER_S = 30
# Of the environment of an image, which may hold secrets, nothing else leaves docker.
_INSPECT = '{{.Id}}{{range .Config.Env}}{{if eq (printf "%.5s" .) "NCCL_"}}{{println}}{{.}}{{end}}{{end}}'


class Runtime(t.Protocol):
    def describe(self) -> NcclRuntime: ...

    def why_not(self, host: Host) -> str | None:
        """Why no rank can run here; None when one can."""

    def brought(self) -> dict[str, str]:
        """The settings of NCCL that an image has in its environment; known once why_not has looked at it."""

    def inside(self, host: Host, scratch: str) -> str:
        """The scratch folder as the rank sees it."""

    def start(self, host: Host, scratch: str, environment: dict[str, str], limit_s: int) -> Process: ...

    def end(self, host: Host, cut_short: bool) -> None:
        """End what outlives the process that was started."""


class Docker:
    def __init__(self, image: str, python: str = "python3") -> None:
        self._image = image
        self._image_id: str | None = None
        self._brought: dict[str, str] = {}
        self._python = python
        self._name = f"gb10-nccl-{secrets.token_hex(8)}"

    def describe(self) -> NcclRuntime:
        return {"kind": "docker", "image": self._image, "image_id": self._image_id, "python": self._python}

    def why_not(self, host: Host) -> str | None:
        if host.which("docker") is None:
            return "docker is not installed"
        if not host.exists(DEVICES):
            return f"there is no {DEVICES} that a container could be given"
        result = host.run(["docker", "image", "inspect", "--format", _INSPECT, self._image], timeout_s=_DOCKER_S)
        if result.ok:
            self._image_id, *settings = result.stdout.strip().splitlines() or [""]
            self._brought = dict(line.split("=", 1) for line in settings if "=" in line)
            return None
        if "no such image" in result.stderr.lower():
            return f"the image {self._image} is not on this node, and measuring pulls none"
        return f"docker did not say whether the image {self._image} is here: {excerpt(result.stderr, 160)}"

    def brought(self) -> dict[str, str]:
        return self._brought

    def inside(self, host: Host, scratch: str) -> str:
        return _INSIDE

    def argv(self, folder: str) -> list[str]:
        """The arguments that a serving container gets (spark-facts 4.3), as far as they concern NCCL."""
        return [
            *("docker", "run", "--rm", "--pull", "never", "--name", self._name),
            *("--network", "host", "--ipc", "host", "--gpus", "all", "--device", DEVICES),
            *("--ulimit", "memlock=-1", "--cap-add", "IPC_LOCK"),
            # The scratch folder is private, and the image may name a user who could not read it.
            *("--user", "0:0", "--volume", f"{folder}:{_INSIDE}", "--env-file", f"{folder}/{ENVIRONMENT}"),
            # The image that was looked at, should its name be moved to another one now.
            *("--entrypoint", self._python, self._image_id or self._image),
            *(f"{_INSIDE}/{PROGRAM}", f"{_INSIDE}/{JOB}"),
        ]

    def start(self, host: Host, scratch: str, environment: dict[str, str], limit_s: int) -> Process:
        lines = "".join(f"{name}={value}\n" for name, value in environment.items())
        host.write(f"{scratch}/{ENVIRONMENT}", lines, mode=0o600)
        return host.start(self.argv(str(host.path(scratch))), limit_s=limit_s)

    def end(self, host: Host, cut_short: bool) -> None:
        # A killed client leaves its container, and one that was just being made appears late.
        for pause_s in (0, 1) if cut_short else (0,):
            time.sleep(pause_s)
            host.run(["docker", "rm", "--force", self._name], timeout_s=_DOCKER_S)


class Venv:
    def __init__(self, python: str) -> None:
        self._python = python

    def describe(self) -> NcclRuntime:
        return {"kind": "venv", "image": None, "image_id": None, "python": self._python}

    def why_not(self, host: Host) -> str | None:
        return None if host.which(self._python) else f"there is no {self._python}"

    def brought(self) -> dict[str, str]:
        return {}

    def inside(self, host: Host, scratch: str) -> str:
        return str(host.path(scratch))

    def start(self, host: Host, scratch: str, environment: dict[str, str], limit_s: int) -> Process:
        folder = self.inside(host, scratch)
        # What the login of the operator brings along is not what will serve.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NCCL_")}
        argv = [self._python, f"{folder}/{PROGRAM}", f"{folder}/{JOB}"]
        return host.start(argv, limit_s=limit_s, environment=inherited | environment)

    def end(self, host: Host, cut_short: bool) -> None:
        pass
