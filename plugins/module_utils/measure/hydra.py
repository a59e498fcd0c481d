# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One MPI program over several nodes by MPICH's hydra, without SSH between them.

The launching node runs `mpiexec.hydra -launcher manual`, which starts nothing and waits; every node starts its own
proxy, which fetches the command there and runs it. The rank inherits the environment of its proxy: nothing of it goes
over the network.

hydra binds its control port on all addresses and believes whoever comes (HYDU_sock_listen has no other way). A port
below 1024 keeps an ordinary user of the launching node from taking its place, and it is open during a program only.
"""

from __future__ import annotations

import os
import re
import time
import typing as t

from ..probe.error import excerpt
from .results import Broken

if t.TYPE_CHECKING:
    from ..host import CommandResult, Host, Process

CONTROL_PORT = 918
MPIEXEC, PROXY, SETPRIV = "mpiexec.hydra", "hydra_pmi_proxy", "setpriv"
LISTEN_S = 15.0
END_S = 5.0  # for the other processes of a program to end after one has
_POLL_S = 0.05

# MPICH 4.0.2 names the address alone, later ones the rank before it.
_ENDED = re.compile(r"^=\s+(?:RANK \d+ )?PID \d+ RUNNING AT (\S+)\s*\n=\s+(.+?)\s*$", re.MULTILINE)
_OF_HYDRA = ("HYDRA_LAUNCH",)
_NOT_INHERITED = ("NCCL_", "MPIEXEC_", "HYDRA_", "MPICH_", "PMI_", "UCX_", "FI_")


def inherited(environment: t.Mapping[str, str]) -> dict[str, str]:
    """What the login of the operator brings along of these is not what was planned."""
    return {name: value for name, value in environment.items() if not name.startswith(_NOT_INHERITED)}


def launcher_argv(addresses: t.Sequence[str], program: t.Sequence[str]) -> list[str]:
    return [
        *(MPIEXEC, "-launcher", "manual", "-rmk", "user", "-localhost", addresses[0], "-genvnone"),
        *("-hosts", ",".join(addresses), "-ppn", "1", "-n", str(len(addresses))),
        # A rank is in a session of its own, so that killing the proxy's group does not reach it; this does.
        *(SETPRIV, "--pdeathsig", "KILL", *program),
    ]


def proxy_argv(address: str, port: int, number: int, netdev: str) -> list[str]:
    return [
        *(PROXY, "--control-port", f"{address}:{port}", "--rmk", "user", "--launcher", "manual", "--demux", "poll"),
        # Names its own port for the rank by the address of this, so that no host name has to resolve.
        *("--iface", netdev, "--pgid", "0", "--retries", "10", "--usize", "-2", "--proxy-id", str(number)),
    ]


def launch(host: Host, addresses: t.Sequence[str], program: t.Sequence[str], port: int, limit_s: int) -> Process:
    """The launcher, once its control port is open."""
    opened = time.monotonic() + LISTEN_S
    if _listens(host, port):
        raise Broken("environment", f"TCP port {port} is taken, and mpiexec needs it")
    environment = inherited(os.environ) | {"MPIEXEC_PORT_RANGE": f"{port}:{port}"}
    process = host.start(launcher_argv(addresses, program), limit_s=limit_s + int(END_S), environment=environment)
    while not _listens(host, port):
        if not process.running or time.monotonic() > opened:
            result = process.kill()
            raise Broken("instrument", f"{MPIEXEC} did not open TCP port {port}: {last_words(result)}", result)
        time.sleep(_POLL_S)
    return process


def join(
    host: Host, address: str, port: int, number: int, netdev: str, environment: dict[str, str], limit_s: int
) -> Process:
    return host.start(proxy_argv(address, port, number, netdev), limit_s=limit_s + int(END_S), environment=environment)


def output(stdout: str) -> str:
    """What the ranks printed."""
    return "".join(line for line in stdout.splitlines(keepends=True) if not line.startswith(_OF_HYDRA))


def ended_first(text: str) -> tuple[str, str] | None:
    """The address of the rank that ended the others, and how it did, as hydra tells it."""
    found = _ENDED.search(text)
    return (found[1], found[2].lower()) if found else None


def last_words(result: CommandResult) -> str:
    lines = (result.stderr.strip() or output(result.stdout).strip()).splitlines()
    return excerpt(lines[-1], 160) if lines else f"it ended with {result.rc} without a word"


def _listens(host: Host, port: int) -> bool:
    listening = re.compile(rf":{port:04X} 0+:0000 0A ")
    return any(listening.search(host.read(f"/proc/net/{table}") or "") for table in ("tcp", "tcp6"))
