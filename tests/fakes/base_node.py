"""A node for the tests of the base: a tree of files, and commands that act on it as the real ones would.

Each call is logged. A file `fail-COMMAND` makes a command fail; its text is what the command must have among its words.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

COMMANDS = [
    *("apt-get", "apt-mark", "dpkg-query", "sysctl", "systemctl", "systemd-run", "swapoff", "swapon", "update-grub"),
    *("nft", "ufw", "sshd", "journalctl", "docker", "rm"),
]
DPKG = "var/lib/dpkg/fake"
NFT = "nft-in-force"
TIMER = "timer"
SPARK_PACKAGES = ["nvidia-modprobe", "nvidia-driver-580-open", "docker-ce", "unattended-upgrades", "bash"]
SWAPS = "Filename\tType\tSize\tUsed\tPriority\n"
UFW_RULES = """\
*filter
### RULES ###

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in
-A ufw-user-input -p tcp --dport 22 -j ACCEPT

### END RULES ###
"""
FILES = {
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 spark-12ab\n",
    "etc/nccl.conf": "",
    "etc/apt/apt.conf.d/20auto-upgrades": 'APT::Periodic::Unattended-Upgrade "1";\n',
    "proc/sys/vm/swappiness": "60\n",
    "proc/sys/vm/compaction_proactiveness": "20\n",
    "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/nvme0n1p2 ro\n",
    "proc/meminfo": "MemTotal: 125000000 kB\nMemAvailable: 100000000 kB\n",
    "proc/swaps": SWAPS + "/swap.img file 16777212 1024 -2\n",
    "run/docker.pid": "1\n",
    "usr/lib/systemd/system/multi-user.target": "",
}


class BaseNode:
    """The tree, its commands in `bin`, and what tests ask about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        for name, text in FILES.items():
            self.put(name, text)
        (self.root / "usr/lib/systemd/system/default.target").symlink_to("graphical.target")
        self.packages(dict.fromkeys(SPARK_PACKAGES, "install"))
        for command in COMMANDS:
            self.install(command)

    @property
    def path(self) -> str:
        return f"{self.bin}:/usr/bin:/bin"

    def install(self, command: str) -> None:
        script = self.bin / command
        here = Path(__file__).resolve()
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -S {here} {self.folder} {command} "$@"\n')
        script.chmod(0o755)

    def remove(self, *commands: str) -> None:
        for command in commands:
            (self.bin / command).unlink()

    def put(self, name: str, text: str) -> None:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def read(self, name: str) -> str | None:
        target = self.root / name
        return target.read_text() if target.exists() else None

    def packages(self, wanted: dict[str, str]) -> None:
        self.put(DPKG, "".join(f"{name}\t{want}\tinstalled\n" for name, want in sorted(wanted.items())))

    def held(self) -> list[str]:
        rows = [line.split("\t") for line in (self.read(DPKG) or "").splitlines()]
        return [row[0] for row in rows if row[1] == "hold"]

    def with_ufw(self, policy: str = "DROP") -> None:
        self.put("etc/ufw/ufw.conf", "ENABLED=yes\n")
        self.put("etc/default/ufw", f'DEFAULT_INPUT_POLICY="{policy}"\n')
        self.put("etc/ufw/user.rules", UFW_RULES)

    def fail(self, command: str, words: str = "") -> None:
        (self.folder / f"fail-{command}").write_text(words)

    def mend(self, command: str) -> None:
        (self.folder / f"fail-{command}").unlink()

    def calls(self, command: str = "") -> list[str]:
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.startswith(command)]

    def forget_calls(self) -> None:
        (self.folder / "calls").unlink(missing_ok=True)

    @property
    def timer(self) -> str | None:
        """The script that the armed timer would run."""
        timer = self.folder / TIMER
        return timer.read_text() if timer.exists() else None

    def fingerprint(self) -> dict[str, str]:
        """Every file and link but the kernel's, and what the firewall lets through."""
        found = {"in force": self.read(NFT) or ""}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_file() and not name.startswith("tmp/"):
                found[name] = f"{path.stat().st_mode & 0o7777:o} {path.read_text()}"
            elif path.is_dir() and "gb10" in name:
                found[name] = "folder"
        return found


# --- the commands ---


def act(folder: Path, command: str, words: list[str]) -> int:
    with (folder / "calls").open("a") as log:
        log.write(" ".join([command, *words]).replace("\n", " ") + "\n")
    refusal = folder / f"fail-{command}"
    if refusal.exists() and refusal.read_text() in " ".join(words):
        print(f"{command} broke", file=sys.stderr)
        return 1
    root = folder / "root"
    handler = globals().get("do_" + command.replace("-", "_"))
    return handler(folder, root, words) if handler else 0


def do_dpkg_query(_folder: Path, root: Path, _words: list[str]) -> int:
    print((root / DPKG).read_text(), end="")
    return 0


def do_apt_mark(_folder: Path, root: Path, words: list[str]) -> int:
    want = {"hold": "hold", "unhold": "install"}[words[0]]
    rows = [line.split("\t") for line in (root / DPKG).read_text().splitlines()]
    missing = set(words[1:]) - {row[0] for row in rows}
    if missing:
        return 100
    (root / DPKG).write_text(
        "".join("\t".join([row[0], want if row[0] in words[1:] else row[1], row[2]]) + "\n" for row in rows)
    )
    return 0


def do_sysctl(_folder: Path, root: Path, words: list[str]) -> int:
    key, _equals, value = words[-1].partition("=")
    (root / "proc/sys" / key.replace(".", "/")).write_text(value + "\n")
    return 0


def do_swapoff(_folder: Path, root: Path, _words: list[str]) -> int:
    (root / "proc/swaps").write_text(SWAPS)
    return 0


def do_swapon(_folder: Path, root: Path, _words: list[str]) -> int:
    (root / "proc/swaps").write_text(FILES["proc/swaps"])
    return 0


def do_rm(_folder: Path, root: Path, words: list[str]) -> int:
    for word in words:
        if word.startswith("/"):
            assert word.startswith(str(root)), word
            shutil.rmtree(word) if Path(word).is_dir() else Path(word).unlink(missing_ok=True)
    return 0


def _link(root: Path, name: str, target: str | None) -> None:
    link = root / "etc/systemd/system" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    if target is not None:
        link.symlink_to(target)


def do_systemctl(folder: Path, root: Path, words: list[str]) -> int:
    verb, unit = words[0], words[-1]
    if verb == "set-default":
        _link(root, "default.target", f"/usr/lib/systemd/system/{unit}")
    elif verb in ("mask", "unmask"):
        _link(root, unit, "/dev/null" if verb == "mask" else None)
    elif unit == "earlyoom.service" and verb in ("enable", "disable"):
        runs = root / "sys/fs/cgroup/system.slice/earlyoom.service"
        runs.parent.mkdir(parents=True, exist_ok=True)
        runs.write_text("") if verb == "enable" else runs.unlink()
    elif unit == "gb10-firewall.service":
        return _firewall_service(root, verb, "--now" in words)
    elif verb == "stop" and unit.endswith(".timer"):
        (folder / TIMER).unlink(missing_ok=True)
    return 0


def _firewall_service(root: Path, verb: str, now: bool) -> int:
    wants = "multi-user.target.wants/gb10-firewall.service"
    rules, in_force = root / "etc/gb10/firewall.nft", root / NFT
    if verb in ("enable", "disable"):
        _link(root, wants, "/etc/systemd/system/gb10-firewall.service" if verb == "enable" else None)
    if verb in ("stop", "disable"):
        in_force.unlink(missing_ok=True)
    if verb == "reload-or-restart" or (verb == "enable" and now):
        if not rules.exists():
            return 1
        in_force.write_text(rules.read_text())
    return 0


def do_systemd_run(folder: Path, _root: Path, words: list[str]) -> int:
    (folder / TIMER).write_text(words[-1])
    return 0


def do_nft(_folder: Path, root: Path, words: list[str]) -> int:
    in_force = root / NFT
    if words[0] == "-c":
        return 0 if "chain input" in Path(words[-1]).read_text() else 1
    if not in_force.exists():
        return 1
    if words[0] == "delete":
        in_force.unlink()
    else:
        print(in_force.read_text())
    return 0


def do_ufw(_folder: Path, root: Path, words: list[str]) -> int:
    if words[0] == "default":
        policy = {"deny": "DROP", "allow": "ACCEPT"}[words[1]]
        (root / "etc/default/ufw").write_text(f'DEFAULT_INPUT_POLICY="{policy}"\n')
        return 0
    path = root / "etc/ufw/user.rules"
    text = path.read_text()
    if words[0] == "prepend":
        line = _tuple(words[1:-2], words[-1])
        path.write_text(text.replace("### RULES ###\n", f"### RULES ###\n\n{line}\n", 1))
        return 0
    line = _tuple(words[2:], "gb10.cluster")
    if line not in text:
        return 1
    path.write_text(text.replace(f"\n{line}\n", "", 1))
    return 0


def _tuple(rule: list[str], comment: str) -> str:
    """As ufw 0.36 writes it: action, protocol, port, destination, source port, source, direction, comment in hex."""
    source = rule[rule.index("from") + 1] if "from" in rule else "0.0.0.0/0"
    port = rule[rule.index("port") + 1] if "port" in rule else rule[1].split("/")[0] if "from" not in rule else "any"
    proto = "any" if port == "any" else "tcp"
    return f"### tuple ### allow {proto} {port} 0.0.0.0/0 any {source} in comment={comment.encode().hex()}"


def do_sshd(_folder: Path, root: Path, words: list[str]) -> int:
    if words == ["-T"]:
        own = root / "etc/ssh/sshd_config.d/10-gb10.conf"
        first = root / "etc/ssh/sshd_config.d/00-first.conf"
        print(f"port 22\npasswordauthentication {'no' if own.exists() and not first.exists() else 'yes'}")
    return 0


def do_journalctl(_folder: Path, root: Path, _words: list[str]) -> int:
    journal = root / "journal"
    print(journal.read_text() if journal.exists() else "", end="")
    return 0


if __name__ == "__main__":
    sys.exit(act(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
