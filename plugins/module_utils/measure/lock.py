# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One measurement at a time on a node, and no change of its links meanwhile (health-checks 4.6).

The kernel keeps the lock for as long as the process lives, so one that is killed leaves nothing to clean up. What is
written in the file is for the message only: it outlives the lock and says nothing about it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
import typing as t
from contextlib import contextmanager

from ..probe.busy import BUSY

if t.TYPE_CHECKING:
    from ..host import Host

LOCK = "/run/gb10-cluster/measurement.lock"


@contextmanager
def alone(host: Host, who: str) -> t.Iterator[str | None]:
    """Hold the node's lock. Yields why that is not possible, None when it is held."""
    path = host.path(LOCK)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # Not inherited: a tool that outlives us must not keep the node locked.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        yield f"the maintenance lock {LOCK} cannot be opened: {error.strerror}"
        return
    try:
        yield _take(descriptor, who)
    finally:
        os.close(descriptor)


def _take(descriptor: int, who: str) -> str | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return f"the maintenance lock {LOCK} cannot be taken: {error.strerror}"
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "it has not said which"
        return f"{BUSY}another measurement runs on this node ({holder})"
    os.ftruncate(descriptor, 0)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    user = os.environ.get("SUDO_USER")
    run_by = f"{who} run by {user}" if user else who
    os.pwrite(descriptor, f"pid {os.getpid()}, since {since}, {run_by}\n".encode(), 0)
    return None
