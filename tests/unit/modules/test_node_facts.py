"""node_facts over a tree that looks like a GB10, with commands that answer as recorded. Synthetic unless it says real."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.facts import node_facts
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import VERIFIER
from ansible_collections.gb10.cluster.plugins.modules import node_facts as module
from ansible_collections.gb10.cluster.tests.unit.spark_tree import admit, grow

FIXTURES = Path(__file__).parents[2] / "fixtures" / "probe"
MAPPED = "0000:0000:0000:0000:0000:ffff:0ad2:0001"
LINK_LOCAL = "fe80:0000:0000:0000:4ebb:47ff:fe00:0001"


class Tree:
    """A root folder and a folder of commands."""

    def __init__(self, folder: Path) -> None:
        self.root, self.commands = folder / "root", folder / "commands"
        self.root.mkdir()
        self.commands.mkdir()

    def file(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def link(self, path: str, target: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def command(self, name: str, script: str) -> None:
        path = self.commands / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def says(self, name: str, text: str) -> None:
        self.command(name, f"cat <<'END'\n{text}\nEND")

    def facts(self, packages: tuple[str, ...] = ()) -> dict:
        return node_facts(Host(self.root, path=f"{self.commands}:/usr/bin:/bin"), "spark1", packages)

    def netdev(self, name: str, driver: str, device: str, **files: str) -> None:
        for file, text in files.items():
            self.file(f"sys/class/net/{name}/{file}", f"{text}\n")
        self.file(f"sys/devices/{device}/.keep", "")
        self.link(f"sys/class/net/{name}/device", f"../../../devices/{device}")
        self.link(f"sys/devices/{device}/driver", f"../../bus/pci/drivers/{driver}")


@pytest.fixture
def empty(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    for name in ("ip", "journalctl", "dpkg-query", "nvidia-smi"):
        tree.command(name, "echo it broke >&2; exit 3")
    return tree


@pytest.fixture
def gb10(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path)
    common = {
        "address": "4c:bb:47:00:00:01",
        "phys_switch_id": "0000470003bb4c",
        "operstate": "up",
        "mtu": "9000",
        "ifindex": "2",
    }
    up = common | {"carrier": "1", "speed": "200000", "carrier_down_count": "1"}
    tree.netdev("enp1s0f0np0", "mlx5_core", "0000:01:00.0", phys_port_name="p0", **up)
    tree.netdev(
        "enp1s0f1np1", "mlx5_core", "0000:01:00.1", phys_port_name="p1", **(common | {"carrier": "0", "speed": "-1"})
    )
    tree.netdev("renamed0", "mlx5_core", "0002:01:00.0", phys_port_name="p0", **up)
    tree.netdev("enP7s7", "r8127", "0007:01:00.0", address="4c:bb:47:00:00:00")
    pcie = {
        "current_link_speed": "32.0 GT/s PCIe",
        "current_link_width": "4",
        "max_link_speed": "32.0 GT/s PCIe",
        "max_link_width": "4",
    }
    for file, text in pcie.items():
        tree.file(f"sys/devices/0000:01:00.0/{file}", f"{text}\n")
    port = "sys/class/infiniband/rocep1s0f0/ports/1"
    tree.link("sys/class/infiniband/rocep1s0f0/device", "../../../devices/0000:01:00.0")
    tree.file("sys/class/infiniband/rocep1s0f0/fw_ver", "28.45.4028\n")
    tree.file("sys/class/infiniband/rocep1s0f0/board_id", "NVD0000000087\n")
    for index, (gid, kind) in enumerate(
        ((LINK_LOCAL, "IB/RoCE v1"), (LINK_LOCAL, "RoCE v2"), (MAPPED, "IB/RoCE v1"), (MAPPED, "RoCE v2"))
    ):
        tree.file(f"{port}/gids/{index}", f"{gid}\n")
        tree.file(f"{port}/gid_attrs/types/{index}", f"{kind}\n")
        tree.file(f"{port}/gid_attrs/ndevs/{index}", "enp1s0f0np0\n")
    tree.file(f"{port}/link_layer", "Ethernet\n")
    tree.file(f"{port}/hw_counters/packet_seq_err", "0\n")
    tree.file(f"{port}/hw_counters/req_cqe_flush_error", "32\n")
    tree.file(f"{port}/hw_counters/out_of_sequence", "nonsense\n")
    tree.file(f"{port}/counters/port_xmit_data", "1000\n")
    tree.file(f"{port}/counters/symbol_error", "2\n")
    tree.file("proc/meminfo", "MemTotal: 127600748 kB\nMemAvailable: 120000000 kB\nCmaTotal: 1024 kB\n")
    tree.file("proc/uptime", "1234.56 9999.00\n")
    tree.file("proc/sys/kernel/hostname", "spark-1a2b\n")
    tree.file("proc/sys/kernel/osrelease", "6.17.0-1029-nvidia\n")
    tree.file("proc/sys/kernel/random/boot_id", "c82c1b05-a9b9-4f27-a39c-96317639d457\n")
    tree.file("proc/cmdline", "ro quiet\n")
    tree.file("proc/self/limits", "Max locked memory         unlimited            unlimited            bytes\n")
    tree.file("proc/modules", "mlx5_core 2000000 1 mlx5_ib, Live 0x0\nmstflint_access 20480 0 - Live 0x0\n")
    tree.file("etc/os-release", 'ID=ubuntu\nVERSION_ID="24.04"\n')
    tree.file("etc/dgx-release", 'DGX_NAME="DGX Spark"\nDGX_SERIAL_NUMBER="1234567890123"\nDGX_OTA_VERSION="7.5.0"\n')
    tree.file("etc/fastos-release", "VERSION=1.91.51.3\n")
    tree.file("sys/class/dmi/id/product_name", "NVIDIA_DGX_Spark\n")
    tree.file("sys/class/dmi/id/product_serial", "1234567890123\n")
    tree.file("etc/nccl.conf", "NCCL_IB_DISABLE=1\n")
    tree.file("home/nvidia/.nccl.conf", "NCCL_DEBUG=INFO\n")
    tree.file("etc/environment", "PATH=/bin\nNCCL_CONF_FILE=/opt/nccl.conf\n")
    tree.file("opt/nccl.conf", "NCCL_NET=Socket\n")
    tree.file("etc/netplan/40-cx7.yaml", "network:\n  ethernets:\n    enp1s0f0np0: {dhcp4: true}\n")
    tree.file(
        "etc/netplan/60-gb10-fabric.yaml",
        "# Managed by gb10.cluster, role fabric.\nnetwork:\n  ethernets:\n    renamed0: {}\n",
    )
    tree.file("etc/netplan/README", "enp1s0f0np0\n")
    tree.file("etc/apt/apt.conf.d/20auto-upgrades", 'APT::Periodic::Unattended-Upgrade "1";\n')
    tree.file("boot/vmlinuz-6.17.0-1029-nvidia", "")
    tree.file("boot/vmlinuz-6.17.0-1031-nvidia", "")
    tree.file("run/reboot-required", "")
    tree.file("run/systemd/timesync/synchronized", "")
    tree.file(
        "run/systemd/netif/links/2", "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan.network\n"
    )
    tree.file("dev/infiniband/uverbs0", "")
    tree.file("dev/infiniband/rdma_cm", "")
    tree.command(
        "ip",
        'case "$*" in\n'
        """*addr*) echo '[{"ifname":"enp1s0f0np0","addr_info":[{"local":"10.210.0.1","prefixlen":24},{"local":"fe80::1","prefixlen":64}]}]' ;;\n"""
        """*route*) echo '[{"dst":"default","gateway":"192.168.1.1","dev":"enP7s7","flags":[]}]' ;;\nesac""",
    )
    tree.says(
        "rdma",
        '[{"ifindex":0,"ifname":"rocep1s0f0","port":1,"state":"ACTIVE","physical_state":"LINK_UP","netdev":"enp1s0f0np0"}]',
    )
    tree.command("ibv_devinfo", f"cat {FIXTURES / 'ibv_devinfo-gb10.txt'}")
    tree.command(
        "ethtool",
        f"case \"$1\" in\n-S) cat {FIXTURES / 'ethtool-S-mlx5.txt'} ;;\n-a) cat {FIXTURES / 'ethtool-a-mlx5.txt'} ;;\n-m) cat {FIXTURES / 'ethtool-m-qsfp28.txt'} ;;\n--show-fec) echo 'FEC parameters for x:'; echo 'Active FEC encoding: RS' ;;\n*) cat {FIXTURES / 'ethtool-mlx5.txt'} ;;\nesac",
    )
    tree.says(
        "lldpctl",
        '{"lldp":{"interface":{"enp1s0f0np0":{"chassis":{"spark2":{}},"port":{"id":{"value":"enp1s0f1np1"}}}}}}',
    )
    tree.command(
        "nvidia-smi", "case \"$1\" in\n*gpu=*) echo 'NVIDIA GB10, 12.1, 580.142' ;;\n*) echo '4242, 512' ;;\nesac"
    )
    tree.command("dpkg-query", "printf 'perftest\\tinstalled\\t24.01.0+0.38-1\\n'; exit 1")
    tree.says("nvidia-spark-ota-check", '{"name": "OTA2607", "releaseDate": "July 2026", "torn": 3}')
    tree.says(
        "journalctl",
        "usb 1-1: new device\nNVRM: Xid (PCI:000f:01:00): 79\nmlx5_core: Detected insufficient power on the PCIe slot (27W).",
    )
    return tree


def half(facts: dict, netdev: str) -> dict:
    return next(item for item in facts["halves"] if item["netdev"] == netdev)


def test_a_gb10_has_no_problems(gb10: Tree) -> None:
    assert gb10.facts(("perftest",))["problems"] == []


def test_identity_and_versions(gb10: Tree) -> None:
    facts = gb10.facts(("perftest", "rdma-core"))
    assert (facts["node"], facts["hostname"], facts["kernel"]) == ("spark1", "spark-1a2b", "6.17.0-1029-nvidia")
    assert (facts["os_id"], facts["os_version"], facts["fastos_version"]) == ("ubuntu", "24.04", "1.91.51.3")
    assert (facts["uptime_s"], facts["memlock_kib"], facts["uverbs"]) == (1234.56, -1, ["uverbs0"])
    assert facts["gpus"] == [{"name": "NVIDIA GB10", "compute_cap": "12.1", "driver": "580.142"}]
    assert facts["gpu_processes"] == [{"pid": 4242, "used_mib": 512}]
    assert facts["packages"] == {"perftest": "24.01.0+0.38-1", "rdma-core": None}
    assert facts["memory_kib"] == {"MemTotal": 127600748, "MemAvailable": 120000000, "CmaTotal": 1024}
    assert (facts["reboot_required"], facts["newest_kernel"]) == (True, "6.17.0-1031-nvidia")
    assert facts["ota_torn_percent"] == 3
    assert (facts["renderer"], facts["time_sync"]) == ("networkd", "systemd-timesyncd")
    assert facts["dmi"] == {"product_name": "NVIDIA_DGX_Spark"}
    assert facts["tools"]["rdma"] == str(gb10.commands / "rdma")


def test_no_serial_number_leaves_the_node(gb10: Tree) -> None:
    text = json.dumps(gb10.facts())
    assert "1234567890123" not in text
    assert "APF00000000AAA" not in text  # of the cable


def test_an_empty_cage_is_not_asked_for_its_plug(gb10: Tree) -> None:
    gb10.command("ethtool", "exit 1")
    said = [problem for problem in gb10.facts()["problems"] if "ethtool -m" in problem]
    assert said == ["`ethtool -m enp1s0f0np0` ended with 1", "`ethtool -m renamed0` ended with 1"]


def test_a_half_that_is_up(gb10: Tree) -> None:
    found = half(gb10.facts(), "enp1s0f0np0")
    rdma = found.pop("rdma")
    assert found == {
        "netdev": "enp1s0f0np0",
        "mac": "4c:bb:47:00:00:01",
        "driver": "mlx5_core",
        "cage": "p0",
        "half": "a",
        "phys_port_name": "p0",
        "phys_switch_id": "0000470003bb4c",
        "carrier": True,
        "operstate": "up",
        "speed_mbps": 200000,
        "lanes": 4,
        "fec": "RS",
        "mtu": 9000,
        "carrier_down_count": 1,
        "ipv4": ["10.210.0.1/24"],
        "pcie": {
            "address": "0000:01:00.0",
            "current_speed_gts": 32.0,
            "current_width": 4,
            "max_speed_gts": 32.0,
            "max_width": 4,
        },
        "counters": {
            "packet_seq_err": 0,
            "symbol_error": 2,
            "rx_crc_errors_phy": 0,
            "rx_corrected_bits_phy": 198,
            "rx_err_lane_0_phy": 6,
            "rx_err_lane_2_phy": 190,
            "link_down_events_phy": 1,
            "rx_discards_phy": 0,
        },
        "module": {
            "identifier": "0x11 (QSFP28)",
            "type": "40G Ethernet: 40G Base-CR4",
            "vendor": "Amphenol",
            "part_number": "NJAAKK-N911",
            "length": "1m",
        },
        "pause": {"autonegotiate": False, "rx": True, "tx": True},
    }
    assert (rdma["device"], rdma["state"], rdma["active_mtu"], rdma["link_layer"]) == (
        "rocep1s0f0",
        "ACTIVE",
        4096,
        "Ethernet",
    )
    assert (rdma["fw_ver"], rdma["board_id"]) == ("28.45.4028", "NVD0000000087")
    assert [(gid["index"], gid["type"], gid["ipv4"]) for gid in rdma["gids"]][-1] == (3, "RoCE v2", "10.210.0.1")


def test_a_half_that_is_down_has_no_speed(gb10: Tree) -> None:
    found = half(gb10.facts(), "enp1s0f1np1")
    assert (found["carrier"], found["speed_mbps"], found["rdma"], found["ipv4"]) == (False, None, None, [])


def test_a_renamed_half_is_known_by_its_hardware_and_the_management_is_none(gb10: Tree) -> None:
    facts = gb10.facts()
    assert [item["netdev"] for item in facts["halves"]] == ["enp1s0f0np0", "enp1s0f1np1", "renamed0"]
    found = half(facts, "renamed0")
    assert (found["cage"], found["half"]) == ("p0", "b")


def test_files(gb10: Tree) -> None:
    facts = gb10.facts()
    assert facts["nccl_files"] == [
        {"path": "/etc/nccl.conf", "settings": {"NCCL_IB_DISABLE": "1"}},
        {"path": "/home/nvidia/.nccl.conf", "settings": {"NCCL_DEBUG": "INFO"}},
        {"path": "/opt/nccl.conf", "settings": {"NCCL_NET": "Socket"}},
    ]
    assert [(file["path"], file["interfaces"], file["owned"]) for file in facts["netplan_files"]] == [
        ("/etc/netplan/40-cx7.yaml", ["enp1s0f0np0"], False),
        ("/etc/netplan/60-gb10-fabric.yaml", ["renamed0"], True),
    ]
    assert facts["kernel_log"] == ["NVRM: Xid (PCI:000f:01:00): 79"]
    assert facts["lldp"] == [{"netdev": "enp1s0f0np0", "chassis": "spark2", "port": "enp1s0f1np1"}]
    assert facts["routes"] == [{"dst": "default", "dev": "enP7s7", "gateway": "192.168.1.1", "linkdown": False}]
    assert facts["addresses"] == {"enp1s0f0np0": ["10.210.0.1/24", "fe80::1/64"]}


def test_a_kernel_log_without_a_line_was_not_read(gb10: Tree) -> None:
    gb10.command("journalctl", "exit 0")
    facts = gb10.facts()
    assert facts["kernel_log"] is None
    assert any("no message of this boot" in problem for problem in facts["problems"])


def test_only_what_reads_is_asked_of_the_update_tool(gb10: Tree) -> None:
    gb10.command(
        "nvidia-spark-ota-check", f'echo "$*" >> {gb10.root}/asked; echo \'{{"error": "no recipes"}}\'; exit 1'
    )
    facts = gb10.facts()
    assert (gb10.root / "asked").read_text() == "torn-score\n"
    assert facts["ota_torn_percent"] is None
    assert any(problem.startswith("`nvidia-spark-ota-check torn-score` ended with 1") for problem in facts["problems"])


def test_hazards(gb10: Tree) -> None:
    gb10.file("var/lib/dpkg/info/mlnx-fw-updater.list", "")
    said = gb10.facts()["hazards"]
    assert [next(word for word in ("mstflint", "mlnx-fw", "unattended") if word in hazard) for hazard in said] == [
        "mstflint",
        "mlnx-fw",
        "unattended",
    ]


def test_unattended_upgrades_that_spare_the_driver_are_no_hazard(gb10: Tree) -> None:
    gb10.file("etc/apt/apt.conf.d/50unattended-upgrades", 'Unattended-Upgrade::Package-Blacklist {\n  "nvidia-";\n};\n')
    assert not [hazard for hazard in gb10.facts()["hazards"] if "unattended" in hazard]


def test_network_manager_is_recognised(gb10: Tree) -> None:
    gb10.file("run/systemd/netif/links/2", "ADMIN_STATE=unmanaged\n")
    assert gb10.facts()["renderer"] is None
    gb10.file("run/NetworkManager/devices/2", "[device]\nconnection-uuid=1\n")
    assert gb10.facts()["renderer"] == "NetworkManager"


def test_an_empty_node_is_all_unknown_and_says_why(empty: Tree) -> None:
    facts = empty.facts(("perftest",))
    unknown = (
        "gpus",
        "gpu_processes",
        "lldp",
        "kernel_log",
        "boot_id",
        "uptime_s",
        "memlock_kib",
        "renderer",
        "time_sync",
        "os_id",
        "addresses",
        "routes",
    )
    assert {name: facts[name] for name in unknown} == dict.fromkeys(unknown)
    assert facts["halves"] == facts["uverbs"] == facts["hazards"] == []
    assert facts["memory_kib"] == {}
    assert facts["packages"] == {"perftest": None}
    assert len(facts["problems"]) == 7
    assert "/proc/meminfo has no MemTotal but nothing" in facts["problems"]
    assert any(
        problem.startswith("`nvidia-smi --query-gpu") and problem.endswith("it broke") for problem in facts["problems"]
    )


def test_commands_that_print_something_else_are_problems(gb10: Tree) -> None:
    for name in ("rdma", "ibv_devinfo", "lldpctl"):
        gb10.says(name, "Segmentation fault")
    facts = gb10.facts()
    assert half(facts, "enp1s0f0np0")["rdma"] is None
    assert facts["lldp"] is None
    assert len(facts["problems"]) == 3


def test_without_ip_no_address_is_not_known_to_be_missing(gb10: Tree) -> None:
    gb10.command("ip", "exit 1")
    facts = gb10.facts()
    assert half(facts, "enp1s0f0np0")["ipv4"] is facts["addresses"] is facts["routes"] is None


def test_commands_that_hang_cost_one_time_limit_together(gb10: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.gb10.cluster.plugins.module_utils.measure.facts._TIMEOUT_S", 1)
    for name in ("rdma", "lldpctl", "nvidia-smi"):
        gb10.command(name, "sleep 60")
    facts = gb10.facts()
    assert [problem.split()[0] for problem in facts["problems"]] == ["`rdma", "`nvidia-smi", "`nvidia-smi", "`lldpctl"]
    assert all("124" in problem for problem in facts["problems"])


# --- admission ---


def test_a_node_that_was_never_admitted(gb10: Tree) -> None:
    assert gb10.facts()["admission"] == {
        "state": "absent",
        "reason": "no admission was given yet",
        "expires": None,
    }
    assert gb10.facts()["gpu_module"] is None


def test_the_admission_is_what_the_program_on_the_node_says(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    grow(tree.root)
    token = admit(tree.root, datetime.now(UTC))
    facts = tree.facts()
    assert facts["admission"] == {"state": "valid", "reason": None, "expires": token["expires"]}
    assert facts["gpu_module"] == "580.142"
    tree.file("proc/sys/kernel/random/boot_id", "another\n")
    found = tree.facts()["admission"]
    assert found["state"] == "different"
    assert found["reason"].startswith("the node was started again after it was admitted")


def test_an_admission_that_nothing_can_verify(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    grow(tree.root)
    admit(tree.root, datetime.now(UTC))
    (tree.root / VERIFIER.lstrip("/")).unlink()
    assert tree.facts()["admission"]["state"] == "unreadable"
    for program in ("print('fine')", "print('[]')", "raise SystemExit(3)"):
        tree.file(VERIFIER.lstrip("/"), program)
        facts = tree.facts()
        assert facts["admission"]["state"] == "unreadable"
        assert any(VERIFIER in problem or "-IS" in problem for problem in facts["problems"])


@pytest.fixture
def exited(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[dict], dict]:
    def run(arguments: dict) -> dict:
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_the_module_reads_a_tree_and_never_changes(gb10: Tree, exited: Callable[[dict], dict]) -> None:
    result = exited({"node": "spark1", "packages": [], "root": str(gb10.root), "_ansible_check_mode": True})
    assert result["changed"] is False
    assert result["facts"]["hostname"] == "spark-1a2b"
