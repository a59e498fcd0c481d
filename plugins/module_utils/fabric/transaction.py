# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change the fabric links of a node so that a lost controller, a typing error or a bad MTU undoes itself."""

from __future__ import annotations

import time
import typing as t
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..measure.lock import alone
from ..plan.netplan import OWN_NETPLAN, OWN_NETPLAN_MODE
from . import undo
from .errors import FabricError
from .live import Link, describe_plan, link_differences, read_links
from .renderers import generate, generate_command, reload_links, validate
from .survey import Request, Survey, differences, is_converged, survey

if t.TYPE_CHECKING:
    from ..host import Host

SETTLE_S = 30.0  # a 200G link takes seconds to train after it was set up
CONFIRM_S = 10.0
POLL_S = 0.5


@dataclass(frozen=True)
class Outcome:
    changed: bool
    diff: list[dict[str, str]] = field(default_factory=list)
    revert_unit: str | None = None


def present(host: Host, request: Request) -> Outcome:
    """Bring the links to the plan. What was changed is taken back by a timer unless `confirmed` comes in time."""
    found = survey(host, request)
    if is_converged(host, request, found):
        return Outcome(changed=False)
    diff = _diff(request, found)
    # An untouched node has no netplan yet when all is only looked at: then there is nobody to ask.
    if not request.check_mode or host.which(generate_command(host)[0]) is not None:
        validate(host, _files_to_come(found), found.interfaces(host, found.touched))
    if request.check_mode:
        return Outcome(changed=True, diff=diff)
    with _no_measurement(host):
        unit = _arm(host, request, found)
        try:
            _change(host, request, found)
        except (FabricError, OSError) as error:
            undo.restore_now(host, undo.PENDING)
            findings = error.findings if isinstance(error, FabricError) else [str(error)]
            raise FabricError(*findings, "The previous fabric configuration was put back") from error
    return Outcome(changed=True, diff=diff, revert_unit=unit)


def confirmed(host: Host, request: Request) -> Outcome:
    """Verify what is live; only then stop the timer. A node that is not as planned goes back by itself."""
    pending = undo.load(host, undo.PENDING) is not None
    found = survey(host, request)
    left = _wait(lambda: differences(host, request, read_links(host)), CONFIRM_S)
    left += _file_differences(found)
    if left:
        raise FabricError(*left, *([_going_back(request)] if pending else []))
    if pending and not request.check_mode:
        undo.disarm(host)
        # The timer may have fired while we looked: its first step is our file.
        reverted = _file_differences(survey(host, request))
        if reverted or not undo.settle(host):
            raise FabricError(
                "The change was taken back before it was confirmed; run again, or raise fabric_revert_after"
            )
    return Outcome(changed=pending)


def absent(host: Host, check_mode: bool) -> Outcome:
    """Remove our file, put back what was taken over, and the live values that were there before."""
    own = host.read(OWN_NETPLAN)
    before = _before_us(host, own)
    if before is None:
        return Outcome(changed=False)
    diff = [_file_diff(OWN_NETPLAN, own, None)] + [_file_diff(path, None, _aside(host, path)) for path in before.moved]
    if not check_mode:
        with _no_measurement(host):
            _put_back(host, before)
    return Outcome(changed=True, diff=diff)


# --- the change ---


@contextmanager
def _no_measurement(host: Host) -> t.Iterator[None]:
    """New addresses change the GID table under a measurement and void it, so one waits for the other."""
    with alone(host, "fabric_links") as locked_out:
        if locked_out is not None:
            raise FabricError(f"nothing was changed, {locked_out}; run again when it has ended")
        yield


def _put_back(host: Host, before: undo.Snapshot) -> None:
    undo.disarm(host)
    before.save(host, undo.ORIGINAL)
    undo.restore_now(host, undo.ORIGINAL)
    stuck = [path for path in before.moved if _aside(host, path) is not None]
    if host.exists(OWN_NETPLAN) or stuck:
        raise FabricError(f"not everything could be put back: {', '.join([OWN_NETPLAN, *stuck])}; look at `df /etc`")
    undo.forget(host, undo.STATE)


def _arm(host: Host, request: Request, found: Survey) -> str:
    links = [found.links[netdev] for netdev in found.touched if netdev in found.links]
    ours = {half["netdev"]: f"{half['ipv4']}/{half['prefix']}" for half in request.halves}
    snapshot = undo.take(found.renderer, found.own, found.foreign, links, ours)
    # An unconfirmed change is not a state to go back to: what was there before it is.
    earlier = undo.load(host, undo.PENDING)
    if earlier is not None:
        earlier.absorb(snapshot)
        snapshot = earlier
    snapshot.save(host, undo.PENDING)
    try:
        return undo.arm(host, request.revert_after_s)
    except FabricError:
        if earlier is None:
            undo.forget(host, undo.PENDING)
        raise


def _change(host: Host, request: Request, found: Survey) -> None:
    for path in found.foreign:
        undo.move_aside(host, path)
    if found.wanted is None:
        host.remove(OWN_NETPLAN)
    else:
        host.write(OWN_NETPLAN, found.wanted, OWN_NETPLAN_MODE)
    generate(host)
    reload_links(host, found.renderer, found.planned, found.dropped, request.plan["mtu"])
    left = _wait(lambda: link_differences(read_links(host), request.halves, request.plan["mtu"]), SETTLE_S)
    if left:
        raise FabricError(*left, f"This is {SETTLE_S:.0f} s after {OWN_NETPLAN} was put into force by {found.renderer}")


def _wait(look: t.Callable[[], list[str]], limit_s: float) -> list[str]:
    """Look until nothing differs or the time is up. Returns what still differs."""
    end = time.monotonic() + limit_s
    while (left := look()) and time.monotonic() < end:
        time.sleep(POLL_S)
    return left


def _files_to_come(found: Survey) -> dict[str, str]:
    files = {path: text for path, text in found.netplan.items() if path not in found.foreign}
    return files if found.wanted is None else files | {OWN_NETPLAN: found.wanted}


def _file_differences(found: Survey) -> list[str]:
    if found.own == found.wanted:
        return []
    return [
        f"{OWN_NETPLAN} is not what the plan asks for, so a reboot would bring other addresses; run the fabric role"
    ]


def _going_back(request: Request) -> str:
    return f"The change is not confirmed: {undo.UNIT}.timer takes it back within {request.revert_after_s} s"


def _before_us(host: Host, own: str | None) -> undo.Snapshot | None:
    original, pending = undo.load(host, undo.ORIGINAL), undo.load(host, undo.PENDING)
    if original is None and pending is None:
        if own is None:
            return None
        # Our file without our records: nothing is known but that the file is ours.
        links = {name: undo.LinkBefore(undo.DEFAULT_MTU, []) for name in _held(host, own)}
        return undo.Snapshot("networkd", None, [], links)
    if original is None:
        original = undo.untouched(t.cast(undo.Snapshot, pending))
    if pending is not None:
        original.absorb(pending)
    return original


def _held(host: Host, own: str) -> list[str]:
    return [netdev for netdev in read_links(host) if f"    {netdev}:\n" in own]


def _aside(host: Host, path: str) -> str | None:
    return host.read(path + undo.MOVED_SUFFIX)


# --- what the operator sees with --diff ---


def _diff(request: Request, found: Survey) -> list[dict[str, str]]:
    parts = [_file_diff(path, found.netplan[path], None) for path in found.foreign]
    parts.append(_file_diff(OWN_NETPLAN, found.own, found.wanted))
    parts.append(
        {
            "before_header": "live fabric links",
            "after_header": "live fabric links",
            "before": _lines(_describe(found.links, netdev) for netdev in found.planned),
            "after": _lines(describe_plan(half, request.plan["mtu"]) for half in request.halves),
        }
    )
    return [part for part in parts if part["before"] != part["after"]]


def _describe(links: dict[str, Link], netdev: str) -> str:
    return links[netdev].describe()


def _lines(lines: t.Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _file_diff(path: str, before: str | None, after: str | None) -> dict[str, str]:
    return {
        "before_header": path if before is not None else "/dev/null",
        "after_header": path if after is not None else "/dev/null",
        "before": before or "",
        "after": after or "",
    }
