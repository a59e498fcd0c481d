"""What we write, read by the programs that it is for, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.base import firewall, packages, ssh, system
from ansible_collections.gb10.cluster.plugins.module_utils.base.part import Connection, Part, Seen

from tests.unit.module_utils.base.test_parts import declare


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def said(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60)


def write(folder: Path, part: Part, path: str) -> Path:
    text = next(spec["content"] for spec in part.files if spec["path"] == path)
    assert text is not None
    file = folder / Path(path).name
    file.write_text(text)
    return file


RULES = [
    pytest.param("triangle", {"open_ports": [8000]}, id="triangle"),
    pytest.param("single", {}, id="single"),
    pytest.param(
        "switch", {"open_ports": [8000], "open_from": ["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"]}, id="switch-both"
    ),
    pytest.param("direct", {"ssh_from": ["203.0.113.0/24", "2001:db8::/32"]}, id="direct-narrow"),
]


@pytest.mark.parametrize(("topology", "declared"), RULES)
def test_nft_takes_the_table_twice_and_lists_it_the_same(
    tmp_path: Path, topology: str, declared: dict[str, t.Any]
) -> None:
    nft = tool("nft")
    seen = Seen(commands=frozenset({"nft"}), connection=Connection("198.51.100.7", 1, 22))
    file = write(
        tmp_path, firewall.firewall(declare(topology, firewall="closed", **declared), seen, None), firewall.RULES
    )
    inside = ["unshare", "--user", "--map-root-user", "--net", "sh", "-euc"]
    if said(*inside, "true").returncode:
        pytest.skip("no network namespace of our own can be had")
    listing = " ".join(firewall.LISTING).replace("nft", nft, 1)
    script = f"{nft} -c -f {file}; {nft} -f {file}; {listing} > {tmp_path}/1; {nft} -f {file}; {listing}"
    result = said(*inside, script)
    assert result.returncode == 0, result.stderr
    assert result.stdout == (tmp_path / "1").read_text()
    assert "policy drop" in result.stdout


def test_sshd_takes_the_drop_in_and_puts_it_into_force(tmp_path: Path) -> None:
    sshd, keygen = tool("sshd"), tool("ssh-keygen")
    seen = Seen(sshd={}, connection=Connection("198.51.100.7", 1, 22), key_login=True)
    file = write(tmp_path, ssh.ssh(declare(ssh_hardening=True), seen, None), ssh.DROP_IN)
    said(keygen, "-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path}/key")
    main = tmp_path / "sshd_config"
    main.write_text(f"Include {file}\nHostKey {tmp_path}/key\nPasswordAuthentication yes\nPermitRootLogin no\n")
    effective = said(sshd, "-T", "-f", str(main))
    if "privilege separation" in effective.stderr.lower():
        pytest.skip("sshd is unpacked and not set up")
    assert effective.returncode == 0, effective.stderr
    settings = ssh.parse_effective(effective.stdout)
    assert settings["passwordauthentication"] == settings["kbdinteractiveauthentication"] == ["no"]
    assert settings["permitrootlogin"] == ["no"], "what was stricter stays"
    assert settings["port"] == ["22"]


def test_apt_finds_no_candidate_for_a_forbidden_package(tmp_path: Path) -> None:
    cache = tool("apt-cache")
    seen = Seen(commands=frozenset({"apt-get"}))
    pin = write(
        tmp_path,
        packages.forbidden(declare(forbidden_packages=["mlnx-fw-updater", "doca-ofed*"]), seen, None),
        packages.PIN,
    )
    for folder in ("lists/partial", "cache/archives/partial", "repo", "empty"):
        (tmp_path / folder).mkdir(parents=True)
    names = ("mlnx-fw-updater", "doca-ofed-userspace", "perftest")
    entry = "Package: {0}\nVersion: 1\nArchitecture: all\nFilename: ./{0}.deb\nSize: 1\n\n"
    (tmp_path / "repo/Packages").write_text("".join(map(entry.format, names)))
    (tmp_path / "status").write_text("")
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/repo ./\n")
    places = {
        "Dir::State::status": "status",
        "Dir::State::lists": "lists",
        "Dir::Cache": "cache",
        "Dir::Etc::sourcelist": "sources.list",
        "Dir::Etc::sourceparts": "empty",
        "Dir::Etc::preferencesparts": "empty",
    }
    options = [word for name, path in places.items() for word in ("-o", f"{name}={tmp_path}/{path}")]
    update = said(tool("apt-get"), *options, "-o", "APT::Sandbox::User=root", "-q", "update")
    assert update.returncode == 0, update.stderr
    for pinned, candidates in ((True, ["(none)", "(none)", "1"]), (False, ["1", "1", "1"])):
        preferences = ["-o", f"Dir::Etc::preferences={pin}" if pinned else f"Dir::Etc::preferences={tmp_path}/none"]
        policy = said(cache, *options, *preferences, "policy", *names).stdout
        assert [line.split()[1] for line in policy.splitlines() if "Candidate:" in line] == candidates


def test_apt_reads_the_blacklist(tmp_path: Path) -> None:
    config = tool("apt-config")
    seen = Seen(packages={"unattended-upgrades": "install"})
    file = write(tmp_path, packages.blacklist(declare(upgrade_blacklist=True), seen, None), packages.BLACKLIST)
    dumped = said(config, "-c", str(file), "dump", "Unattended-Upgrade::Package-Blacklist").stdout
    assert 'Unattended-Upgrade::Package-Blacklist:: "nvidia-";' in dumped
    assert dumped.count("Package-Blacklist::") == len(packages._NEVER_AUTOMATIC)


def test_the_shell_of_grub_adds_the_parameter(tmp_path: Path) -> None:
    seen = Seen(commands=frozenset({"update-grub"}))
    file = write(
        tmp_path, packages.kernel(declare(kernel_parameters=["kho=off", "a.b=1,2"]), seen, None), packages.GRUB
    )
    script = f'GRUB_CMDLINE_LINUX=quiet; . {file}; echo "$GRUB_CMDLINE_LINUX"'
    assert said("sh", "-euc", script).stdout == "quiet kho=off a.b=1,2\n"


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    seen = Seen(commands=frozenset({"nft"}))
    unit = write(tmp_path, firewall.firewall(declare(firewall="closed"), seen, None), firewall.UNIT)
    checked = said(analyze, "verify", "--man=no", str(unit))
    # That nft is not installed here is none of the unit's faults.
    wrong = [line for line in checked.stderr.splitlines() if "gb10" in line and "No such file" not in line]
    assert wrong == []


def test_sysctl_reads_the_file(tmp_path: Path) -> None:
    declared = declare(sysctl={"vm.swappiness": "1"})
    file = write(tmp_path, system.sysctl(declared, Seen(sysctl={"vm.swappiness": "60"}), None), system.SYSCTL)
    shown = said(tool("sysctl"), "--dry-run", f"--load={file}")
    if shown.returncode:
        pytest.skip("this sysctl has no dry run")
    assert shown.stdout.strip() == "vm.swappiness = 1"
