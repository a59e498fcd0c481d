# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May this node serve? Compares its admission with the node as it is now; installed as /usr/local/lib/gb10/admission.

Only reads, runs no command and needs nothing but Python. `verify` is silent and ends with 0, or prints one line, why
and what to do next, and ends with 1, so that a unit that runs it first fails and says so. `state` prints it as JSON.
The seal shows damage and careless edits. It is no secret: root on this node can forge it, and can start the engine
without asking as well.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import hashlib
import json
import os
import re
import sys

TYPE_CHECKING = False  # a unit waits for this program, so what only annotations need is not imported
if TYPE_CHECKING:
    import typing as t

FILE = "/var/lib/gb10/admission.json"
SCHEMA = "1"
NETPLAN_FOLDERS = ("/etc/netplan", "/run/netplan", "/lib/netplan")
CLOCK_SLACK = datetime.timedelta(minutes=1)  # a time service may set the clock back a little
JUDGE = "run playbooks/validate.yml on the controller"
SHOWN_REASONS = 3
SHOWN_CHARACTERS = 20


class NotAdmitted(Exception):
    def __init__(self, state: str, reason: str) -> None:
        super().__init__(reason)
        self.state = state


class Node:
    """The node as it is now. None: not there."""

    def __init__(self, root: str) -> None:
        self._root = root

    def _path(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))

    def read(self, path: str) -> str | None:
        try:
            # pathlib would take longer to import than the rest takes to run
            with open(self._path(path), encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                return file.read()
        except FileNotFoundError:
            return None
        except PermissionError:
            raise NotAdmitted("unreadable", f"{path} is only for root; ask as root") from None
        except OSError as error:
            raise NotAdmitted("unreadable", f"{path} cannot be read ({error.strerror}); {JUDGE}") from None

    def line(self, path: str) -> str | None:
        text = self.read(path)
        return None if text is None else text.strip()

    def netplan(self) -> dict[str, str]:
        """Every netplan file, path -> text."""
        paths = [
            f"{folder}/{name}" for folder in NETPLAN_FOLDERS for name in self._names(folder) if name.endswith(".yaml")
        ]
        texts = ((path, self.read(path)) for path in paths)
        return {path: text for path, text in texts if text is not None}

    def _names(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self._path(folder)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise NotAdmitted("unreadable", f"{folder} cannot be read ({error.strerror}); ask as root") from None

    def driver(self, netdev: str) -> str:
        return os.path.basename(os.path.realpath(self._path(f"/sys/class/net/{netdev}/device/driver")))

    def mac(self, netdev: str) -> str:
        return self.line(f"/sys/class/net/{netdev}/address") or ""


# --- the file ---


def load(node: Node) -> dict[str, t.Any]:
    """The admission, whole and meant for now."""
    text = node.read(FILE)
    if text is None:
        raise NotAdmitted("absent", "there is no admission; run site.yml on the controller")
    try:
        token = json.loads(text)
    except ValueError:
        token = None
    if not isinstance(token, dict) or token.get("schema") != SCHEMA:
        raise NotAdmitted("unreadable", f"{FILE} is not an admission that this program knows; {JUDGE}")
    if "revoked" in token:
        raise NotAdmitted("revoked", _revoked(token))
    if token.get("seal") != seal(token):
        raise NotAdmitted("different", f"{FILE} is not as it was written; {JUDGE}")
    return token


def seal(token: t.Mapping[str, t.Any]) -> str:
    unsealed = {key: value for key, value in token.items() if key != "seal"}
    return hashlib.sha256(json.dumps(unsealed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _revoked(token: t.Mapping[str, t.Any]) -> str:
    reasons = [str(reason) for reason in token["reasons"]]
    more = f" and {len(reasons) - SHOWN_REASONS} more" if len(reasons) > SHOWN_REASONS else ""
    return (
        f"run {token['run_id']} refused: {', '.join(reasons[:SHOWN_REASONS])}{more};"
        " repair what the gate names and run site.yml on the controller"
    )


def check_time(token: t.Mapping[str, t.Any], now: datetime.datetime) -> None:
    issued, expires = (datetime.datetime.fromisoformat(token[key]) for key in ("issued", "expires"))
    if issued > now + CLOCK_SLACK:
        reason = f"admitted at {token['issued']}, and it is {now:%Y-%m-%dT%H:%M:%SZ} here: the clock went back"
        raise NotAdmitted("different", f"{reason}; set it, then {JUDGE}")
    if expires <= now:
        raise NotAdmitted("expired", f"the admission ended at {token['expires']}; {JUDGE}")


# --- what it is bound to ---


def check_binding(bound: t.Mapping[str, t.Any], node: Node) -> None:
    if node.line("/proc/sys/kernel/random/boot_id") != bound["boot_id"]:
        raise NotAdmitted("different", f"the node was started again after it was admitted; {JUDGE}")
    _same("the kernel", node.line("/proc/sys/kernel/osrelease"), bound["kernel"])
    _same("the GPU driver", node.line("/sys/module/nvidia/version"), bound["gpu_driver"])
    for device, firmware in bound["firmware"].items():
        _same(f"the firmware of {device}", node.line(f"/sys/class/infiniband/{device}/fw_ver"), firmware)
    _check_netplan(bound, node)


def _same(what: str, found: str | None, expected: str | None) -> None:
    if found != expected:
        reason = f"{what} is {found or 'not there'}, admitted was {expected or 'a node without it'}"
        raise NotAdmitted("different", f"{reason}; {JUDGE}")


def _check_netplan(bound: t.Mapping[str, t.Any], node: Node) -> None:
    files = node.netplan()
    for path, sha256 in bound["netplan"].items():
        if path not in files:
            raise NotAdmitted("different", f"{path} is gone; run site.yml on the controller")
        if hashlib.sha256(files[path].encode()).hexdigest() != sha256:
            raise NotAdmitted("different", f"{path} has changed; run site.yml on the controller")
    for path in sorted(files.keys() - bound["netplan"].keys()):
        named = [netdev for netdev in bound["netdevs"] if _names(files[path], netdev, node)]
        if named:
            raise NotAdmitted("different", f"{path} is new and names {named[0]}; remove it or run site.yml")


def _names(text: str, netdev: str, node: Node) -> bool:
    """Whether a netplan file means this interface: by its name anywhere, or by a pattern. Errs on the side of yes."""
    plain = re.sub(r"(?m)(^|\s)#.*$", "", text)
    if netdev in re.findall(r"[A-Za-z0-9_.-]+", plain):
        return True
    values = {"name": netdev, "macaddress": node.mac(netdev), "driver": node.driver(netdev)}
    for key, value in values.items():
        for listed in re.findall(rf"\b{key}:\s*(\[[^\]]*\]|[^,}}\n]+)", plain):
            patterns = re.findall(r"[^\[\],\s\"']+", listed)
            if any(fnmatch.fnmatchcase(value.lower(), pattern.lower()) for pattern in patterns):
                return True
    return False


# --- the answer ---


def admit(node: Node, now: datetime.datetime, pool: t.Sequence[str] = (), build_id: str | None = None) -> str:
    """When the admission ends; raises NotAdmitted when it does not hold."""
    try:
        token = load(node)
        check_time(token, now)
        check_binding(token["bound"], node)
        _check_pool(token, pool)
        if build_id is not None:
            _check_nccl(token["bound"]["nccl_build_id"], build_id)
        return str(token["expires"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotAdmitted("unreadable", f"{FILE} is not an admission ({type(error).__name__}); {JUDGE}") from None


def _check_nccl(measured: str | None, build_id: str) -> None:
    if measured is None:
        raise NotAdmitted("different", f"NCCL was not measured on this node; set gate_nccl_runtime and {JUDGE}")
    _same("the NCCL that will serve", build_id[:SHOWN_CHARACTERS], measured[:SHOWN_CHARACTERS])


def _check_pool(token: t.Mapping[str, t.Any], pool: t.Sequence[str]) -> None:
    """Nodes that were admitted together may serve in fewer, each of them as one of those."""
    admitted = token["pool"]
    for name in pool:
        if name not in admitted:
            reason = f"{name[:SHOWN_CHARACTERS]} was not admitted together with this node ({' '.join(admitted)} were)"
            raise NotAdmitted("different", f"{reason}; run site.yml with an inventory of the nodes that shall serve")
    if pool and token["node"] not in pool:
        raise NotAdmitted("different", f"this node, {token['node']}, is not one of the nodes that shall serve")


def state(node: Node, now: datetime.datetime) -> dict[str, str | None]:
    try:
        return {"state": "valid", "reason": None, "expires": admit(node, now)}
    except NotAdmitted as error:
        return {"state": error.state, "reason": str(error), "expires": None}


def arguments(words: t.Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="admission", description="May this node serve?", allow_abbrev=False)
    parser.add_argument("--root", default="/", help="folder that is read as the root, for tests")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="end with 0, or with 1 and one line that says why", allow_abbrev=False)
    verify.add_argument("--pool", nargs="+", default=[], metavar="NODE", help="the nodes that shall serve together")
    verify.add_argument("--expect-nccl-build-id", metavar="ID", help="build id of the NCCL that will serve")
    commands.add_parser("state", help="print the state as JSON", allow_abbrev=False)
    return parser.parse_args(words)


def main(words: t.Sequence[str] | None = None) -> int:
    asked = arguments(words)
    node, now = Node(asked.root), datetime.datetime.now(datetime.UTC)
    if asked.command == "state":
        print(json.dumps(state(node, now)))
        return 0
    try:
        admit(node, now, asked.pool, asked.expect_nccl_build_id)
    except NotAdmitted as error:
        print(f"not admitted: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
