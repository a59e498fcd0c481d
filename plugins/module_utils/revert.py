# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A transient systemd timer that takes a change back unless somebody says in time that the node can be reached."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from .host import Host


class NotArmed(Exception):
    """Why there is no timer, so that nothing may be changed."""


def arm(host: Host, unit: str, script: str, after_s: int) -> str:
    """Start the countdown, anew if one is running. Returns the unit's name."""
    disarm(host, unit)
    # Without AccuracySec systemd may be a minute late; --collect forgets a failed run, so the name is free again.
    argv = ["systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--on-active={after_s}"]
    result = host.run([*argv, "--timer-property=AccuracySec=1s", "/bin/sh", str(host.path(script))], 30)
    if not result.ok:
        raise NotArmed(
            f"the revert timer could not be armed, so nothing was changed: {result.stderr.strip() or result.rc}. "
            f"If a revert is running right now, run again in a minute (`systemctl status {unit}.service`)"
        )
    return unit


def disarm(host: Host, unit: str) -> None:
    """Stop the countdown. A revert that already runs is left to finish; its unit has another name."""
    host.run(["systemctl", "stop", f"{unit}.timer"], 30)
