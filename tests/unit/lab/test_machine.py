"""QEMU's command lines, the node's identity, the inventory: what is decided before anything is started."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest
import yaml

from lab import accel, image, machine
from lab.errors import LabError
from lab.identity import HALVES, MAX_NODES, NETDEVS, Node, nodes, seed
from lab.inventory import hosts_yml, known_hosts, remove_all, ssh_command, write_all
from lab.machine import Files, free_ports, gateway_command, nic_names, node_command, spawn
from lab.tarball import Entry, pack, tree


def files(folder: Path, state: Path | None = None) -> Files:
    disk, kernel, initrd, seeds, console, monitor = (
        folder / name for name in ("disk", "kernel", "initrd", "seed", "console", "monitor")
    )
    return Files(disk, kernel, initrd, seeds, console, monitor, state)


def options(command: list[str], name: str) -> list[str]:
    return [command[place + 1] for place, word in enumerate(command) if word == name]


def test_a_node_has_five_nics_with_a_sparks_speed_on_inherited_sockets() -> None:
    command = node_command(
        Node(2), files(Path("/x")), ("-accel", "tcg"), {nic: 10 + n for n, nic in enumerate(nic_names())}
    )
    assert options(command, "-netdev")[0] == "dgram,id=net-mgmt,local.type=fd,local.str=10"
    nics = [option for option in options(command, "-device") if option.startswith("virtio-net-pci")]
    assert len(nics) == 5
    assert all("host_mtu=9000,speed=200000,duplex=full" in nic for nic in nics)
    assert "mac=52:54:00:10:02:01" in nics[1]
    assert "-incoming" not in command


def test_a_resumed_node_is_paused_until_its_links_are_set() -> None:
    command = node_command(Node(1), files(Path("/x"), state=Path("/cache/it's/state")), (), {})
    assert "-S" in command
    assert options(command, "-incoming") == ["""exec:cat '/cache/it'"'"'s/state'"""]


def test_a_comma_in_a_folder_name_does_not_end_an_option() -> None:
    command = node_command(Node(1), files(Path("/a,b")), (), {})
    assert options(command, "-drive") == ["if=none,id=disk,format=qcow2,discard=unmap,file=/a,,b/disk"]


def test_the_gateway_listens_on_loopback_only_and_lets_nothing_out() -> None:
    command = gateway_command({"spark1": 4001, "spark2": 4002}, nodes(2), 9)
    user = options(command, "-netdev")[0]
    assert "restrict=on" in user
    assert ",hostfwd=tcp:127.0.0.1:4001-10.0.2.11:22,hostfwd=tcp:127.0.0.1:4002-10.0.2.12:22" in user


def test_no_two_nodes_share_an_address() -> None:
    everyone = nodes(MAX_NODES)
    macs = [node.mac(nic) for node in everyone for nic in NETDEVS]
    assert len(set(macs)) == len(macs) == 5 * MAX_NODES
    assert len({node.machine_id for node in everyone}) == MAX_NODES
    assert len({node.management_ip for node in everyone}) == MAX_NODES
    assert all(len(node.machine_id) == 32 for node in everyone)


def unpack(archive: bytes) -> dict[str, tuple[bytes, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [member for member in tar.getmembers() if member.isfile()]
        return {m.name: (tar.extractfile(m).read(), m.mode, m.uid) for m in members}  # type: ignore[union-attr]


def test_the_seed_makes_a_node_itself() -> None:
    content = unpack(seed(Node(3), b"PRIVATE", b"PUBLIC", b"ALLOWED"))
    assert content["etc/hostname"][0] == b"spark3\n"
    assert b"127.0.1.1 spark3\n" in content["etc/hosts"][0], "the trap of DGX OS (spark-facts 2.5)"
    assert content["etc/ssh/ssh_host_ed25519_key"] == (b"PRIVATE", 0o600, 0)
    assert content["home/spark/.ssh/authorized_keys"] == (b"ALLOWED", 0o600, 1000)
    assert b"Address=10.0.2.13/24" in content["etc/systemd/network/10-lab-management.network"][0]
    for nic, netdev in NETDEVS.items():
        link = content[f"etc/systemd/network/00-lab-{netdev}.link"][0].decode()
        assert f"MACAddress={Node(3).mac(nic)}\n" in link
        assert f"Name={netdev}\nMTUBytes=1500\n" in link


def test_an_archive_is_the_same_bytes_for_the_same_content() -> None:
    one, two = Entry("/b", b"2"), Entry("/a", b"1", 0o755)
    assert pack([one, two]) == pack([two, one])
    assert list(unpack(pack([one, two]))) == ["a", "b"]


def test_the_guest_tree_keeps_what_is_executable() -> None:
    modes = {entry.path: entry.mode for entry in tree(image.GUEST / "rootfs", image.SPECIAL_MODES)}
    assert modes["/usr/bin/nvidia-smi"] == 0o755
    assert modes["/etc/nccl.conf"] == 0o644
    assert modes["/etc/sudoers.d/spark"] == 0o440


def test_the_fabric_file_of_the_image_names_the_halves_and_gives_way_to_netplan() -> None:
    file = image.GUEST / "rootfs/etc/systemd/network/90-lab-fabric.network"
    names = next(line for line in file.read_text().splitlines() if line.startswith("Name="))
    assert set(names.removeprefix("Name=").split()) == set(HALVES.values())
    assert file.name > "10-netplan-enp1s0f0np0.network", "networkd takes the first file that matches"


def test_the_image_hash_follows_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = image.content_hash()
    assert image.content_hash() == before
    monkeypatch.setattr(image, "PACKAGES", [*image.PACKAGES, "htop"])
    assert image.content_hash() != before


def test_the_inventory_is_short_and_says_how_to_log_in() -> None:
    text = hosts_yml("triangle", nodes(3), {"spark1": 4001, "spark2": 4002, "spark3": 4003})
    sparks = yaml.safe_load(text)["sparks"]
    assert sparks["hosts"]["spark2"] == {
        "ansible_host": "127.0.0.1",
        "ansible_port": 4002,
        "fabric_mgmt_ip": "10.0.2.12",
    }
    assert sparks["vars"]["fabric_topology"] == "triangle"
    assert "StrictHostKeyChecking" not in text
    assert max(len(line) for line in text.splitlines()) <= 140, "yamllint"


def test_keys_and_inventory_are_written_and_removed(tmp_path: Path) -> None:
    keys = known_hosts({"spark1": "ssh-ed25519 AAAA spark1"}, {"spark1": 4001})
    assert keys == "[127.0.0.1]:4001 ssh-ed25519 AAAA\n"
    write_all(tmp_path, "sparks: {}\n", keys, b"PRIVATE")
    assert (tmp_path / ".lab/id_ed25519").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "inventories/lab/hosts.yml").read_text() == "sparks: {}\n"
    remove_all(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ssh_checks_host_keys_against_the_labs_own_file(tmp_path: Path) -> None:
    command = ssh_command(tmp_path, 4001, ["uptime"])
    assert f'UserKnownHostsFile="{tmp_path}/.lab/known_hosts"' in command
    assert command[-2:] == ["spark@127.0.0.1", "uptime"]


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(4)
    assert len(set(ports)) == 4
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="does-not-exist is not installed"):
        spawn(["/does-not-exist"], tmp_path / "log")
    process = spawn(["sleep", "60"], tmp_path / "log")
    assert process.alive
    assert os.getsid(process.pid) == process.pid, "Ctrl-C at the terminal must not reach it"
    process.end()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2ubuntu6)", "needs QEMU 7.2 or newer"),
        ("something else", "needs QEMU 7.2 or newer"),
    ],
)
def test_an_old_qemu_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, sentence: str) -> None:
    monkeypatch.setattr(accel, "QEMU", fake(tmp_path, f"echo '{text}'"))
    with pytest.raises(LabError, match=sentence):
        accel.qemu_version()


def test_a_missing_qemu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "QEMU", "/does-not-exist/qemu")
    with pytest.raises(LabError, match="package qemu-system-x86"):
        accel.qemu_version()


def fake(folder: Path, script: str) -> str:
    """A QEMU of a few lines. It sees the console file's name as the last argument."""
    path = folder / "qemu"
    path.write_text(f"#!/bin/sh\nfor last; do :; done\nconsole=${{last#file:}}\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "works"),
    [
        pytest.param('echo GB10-LAB-TRIAL > "$console"; exec sleep 30', True, id="user-space-reached"),
        pytest.param('echo "KVM internal error. Suberror: 1" >&2; exit 1', False, id="dies-at-once"),
        pytest.param("exec sleep 30", False, id="silent"),
        pytest.param('echo "Linux version 6.12" > "$console"; exec sleep 30', False, id="kernel-but-no-user-space"),
    ],
)
def test_only_a_boot_that_reaches_user_space_proves_kvm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, works: bool
) -> None:
    monkeypatch.setattr(accel, "QEMU", fake(tmp_path, script))
    assert accel.boots([], image.Image(tmp_path), patience=1.5) is works


@pytest.mark.parametrize(("answer", "name"), [(True, "kvm"), (False, "tcg")])
def test_the_trial_is_made_once_and_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bool, name: str
) -> None:
    trials: list[object] = []

    def trial(*arguments: object) -> bool:
        trials.append(arguments)
        return answer

    monkeypatch.setattr(accel, "QEMU", fake(tmp_path, "echo QEMU emulator version 9.1.0"))
    monkeypatch.setattr(accel, "DEVICE", tmp_path)  # anything that exists
    monkeypatch.setattr(accel, "boots", trial)
    chosen = [accel.choose(tmp_path, image.Image(tmp_path)) for _ in range(2)]
    assert [accelerator.name for accelerator in chosen] == [name, name]
    assert len(trials) == 1


def test_the_virtual_hardware_is_small() -> None:
    assert machine.MEMORY_MIB * MAX_NODES <= 4096


def test_only_the_images_used_last_are_kept(tmp_path: Path) -> None:
    for age in range(5):
        (tmp_path / f"image{age}").mkdir()
        os.utime(tmp_path / f"image{age}", (1000 - age, 1000 - age))
    image._forget_old(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["image0", "image1", "image2"]
