from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.error import ProbeError, excerpt
from ansible_collections.gb10.cluster.plugins.module_utils.probe.halves import (
    is_pci_address,
    kernel_order,
    parse_speed_gts,
    place,
)
from ansible_collections.gb10.cluster.plugins.module_utils.probe.kernel_log import (
    MAX_LENGTH,
    MAX_LINES,
    matching_lines,
    parse_kernel_log,
)
from ansible_collections.gb10.cluster.plugins.module_utils.probe.system import (
    netplan_interfaces,
    parse_assignments,
    parse_dgx_release,
    parse_gpu_processes,
    parse_gpu_sample,
    parse_gpus,
    parse_meminfo,
    parse_memlock_kib,
    parse_nccl_conf,
    parse_packages,
    parse_torn_percent,
)

DGX_RELEASE = """DGX_NAME="DGX Spark"
DGX_PRETTY_NAME="NVIDIA DGX Spark"
DGX_SWBUILD_VERSION="7.2.3"
DGX_SERIAL_NUMBER="1234567890123"

DGX_OTA_VERSION="7.4.0"
DGX_OTA_DATE="Mon Feb  2 10:00:00 UTC 2026"

DGX_OTA_VERSION="7.5.0"
DGX_OTA_DATE="Wed Jul  1 10:00:00 UTC 2026"
"""


def test_the_last_update_of_a_dgx_release_wins_and_no_serial_number_is_kept() -> None:
    release = parse_dgx_release(DGX_RELEASE)
    assert (release["DGX_SWBUILD_VERSION"], release["DGX_OTA_VERSION"]) == ("7.2.3", "7.5.0")
    assert "1234567890123" not in str(release)


def test_assignments() -> None:
    assert parse_assignments("ID=ubuntu\nVERSION_ID='24.04'\n# X=1\nexport Y=\"a b\"\nempty=\nnot a line\nQ='\n") == {
        "ID": "ubuntu",
        "VERSION_ID": "24.04",
        "Y": "a b",
        "empty": "",
        "Q": "'",
    }


def test_nccl_conf() -> None:
    assert parse_nccl_conf("# NCCL_DEBUG=INFO\nNCCL_IB_DISABLE=1 # why\n NCCL_SOCKET_IFNAME = enP7s7\n") == {
        "NCCL_IB_DISABLE": "1",
        "NCCL_SOCKET_IFNAME": "enP7s7",
    }


def test_meminfo() -> None:
    # quoted: the KHO defect, luxingcom#1
    memory = parse_meminfo(
        "MemTotal:       127600748 kB\nCmaTotal:              0 kB\nCmaFree:          940604 kB\nHugePages_Total:       0\nActive(anon):  5 kB\nx\n"
    )
    assert memory == {"MemTotal": 127600748, "CmaTotal": 0, "CmaFree": 940604, "HugePages_Total": 0, "Active(anon)": 5}
    with pytest.raises(ProbeError, match="no MemTotal but nothing"):
        parse_meminfo("")


@pytest.mark.parametrize(
    ("text", "kib"),
    [
        ("Max locked memory         unlimited            unlimited            bytes\n", -1),
        (
            "Max open files 1024 1024 files\nMax locked memory         8388608              8388608              bytes\n",
            8192,
        ),
        ("", None),
    ],
)
def test_memlock(text: str, kib: int | None) -> None:
    assert parse_memlock_kib(text) == kib


def test_gpus() -> None:
    assert parse_gpus("NVIDIA GB10, 12.1, 580.95.05\n\n") == [
        {"name": "NVIDIA GB10", "compute_cap": "12.1", "driver": "580.95.05"}
    ]
    assert parse_gpus("NVIDIA GB10, [N/A], [Not Supported]\n")[0]["compute_cap"] is None
    assert parse_gpus("") == []
    with pytest.raises(ProbeError, match="compute capability"):
        parse_gpus("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n")


def test_gpu_processes() -> None:
    assert parse_gpu_processes("") == []
    assert parse_gpu_processes("4242, 20480\n77, [N/A]\n78\n79, 512 MiB\n") == [
        {"pid": 4242, "used_mib": 20480},
        {"pid": 77, "used_mib": None},
        {"pid": 78, "used_mib": None},
        {"pid": 79, "used_mib": 512},
    ]
    with pytest.raises(ProbeError, match="process id"):
        parse_gpu_processes("No running processes found\n")


# Synthetic: the JSON that check_ota_status.py of nvidia-spark-ota-check 1.0.16 prints.
@pytest.mark.parametrize(
    ("text", "torn"),
    [
        ('{\n  "name": "OTA2607",\n  "releaseDate": "July 2026",\n  "torn": 0\n}\n', 0),
        ('{"name": "OTA2607", "releaseDate": "July 2026", "torn": 83}', 83),
    ],
)
def test_how_torn_an_update_is(text: str, torn: int) -> None:
    assert parse_torn_percent(text) == torn


@pytest.mark.parametrize(
    "text",
    ["", "torn-score: 0", '{"error": "no recipes"}', "[0]", "0", '{"torn": null}', '{"torn": true}', '{"torn": "0"}'],
)
def test_what_is_no_score(text: str) -> None:
    with pytest.raises(ProbeError, match="printed no score"):
        parse_torn_percent(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param("2522, 15.57, 50, P0\n", (2522, 15.57, 50, "P0"), id="GB10, as health-checks 8 has its clocks"),
        pytest.param("1980, 691.42, 100, P0\n", (1980, 691.42, 100, "P0"), id="H100"),
        pytest.param("[N/A], [Not Supported], N/A, [N/A]\n", (None,) * 4, id="nothing is provided"),
        pytest.param("[Unknown Error], -1, nan, \n", (None,) * 4, id="no numbers"),
    ],
)
def test_a_sample_of_the_gpu(text: str, values: tuple) -> None:
    assert tuple(parse_gpu_sample(text).values()) == values


@pytest.mark.parametrize(
    "text", ["", "2522, 15.57, 50\n", "1, 2, 3, P0\n1, 2, 3, P0\n", "NVIDIA-SMI has failed because\n"]
)
def test_what_is_no_sample_of_one_gpu_is_refused(text: str) -> None:
    with pytest.raises(ProbeError, match="no single row"):
        parse_gpu_sample(text)


def test_packages() -> None:
    text = (
        "perftest\tinstalled\t24.01.0+0.38-1\nrdma-core\tconfig-files\t50.0\ndpkg-query: no packages found matching x\n"
    )
    assert parse_packages(text) == {"perftest": "24.01.0+0.38-1"}


# --- netplan ---

MACS = {"enp1s0f0np0": "4c:bb:47:00:00:01", "enP2p1s0f0np0": "4c:bb:47:00:00:02", "enp1s0f1np1": None}
DRIVERS = {"enp1s0f0np0": "mlx5_core", "enP2p1s0f0np0": "mlx5_core", "enp1s0f1np1": None}
NETPLAN = [
    (
        "NVIDIA 40-cx7",
        "network:\n  version: 2\n  ethernets:\n    enp1s0f0np0:\n      link-local: [ipv4]\n    enp1s0f1np1:\n      dhcp4: no\n",
        ["enp1s0f0np0", "enp1s0f1np1"],
    ),
    ("management only", "network:\n  ethernets:\n    enP7s7:\n      dhcp4: true\n", []),
    ("in a comment only", "network:\n  # enp1s0f0np0 was here\n  ethernets: {}  # enp1s0f1np1\n", []),
    (
        "glob",
        'network:\n  ethernets:\n    all:\n      match:\n        name: "enp1*"\n      dhcp4: true\n',
        ["enp1s0f0np0", "enp1s0f1np1"],
    ),
    (
        "inline glob",
        "network:\n  ethernets:\n    all:\n      match: {name: 'en*'}\n",
        ["enp1s0f0np0", "enP2p1s0f0np0", "enp1s0f1np1"],
    ),
    (
        "mac",
        'network:\n  ethernets:\n    fabric:\n      match:\n        macaddress: "4C:BB:47:00:00:02"\n      set-name: fabric0\n',
        ["enP2p1s0f0np0"],
    ),
    (
        "driver",
        "network:\n  ethernets:\n    fabric:\n      match:\n        driver: mlx5_*\n",
        ["enp1s0f0np0", "enP2p1s0f0np0"],
    ),
    (
        "drivers",
        'network:\n  ethernets:\n    x:\n      match:\n        driver: ["bnx*", "mlx5_core"]\n',
        ["enp1s0f0np0", "enP2p1s0f0np0"],
    ),
    (
        "set-name",
        "network:\n  ethernets:\n    x:\n      match: {macaddress: 00:00:00:00:00:09}\n      set-name: enp1s0f1np1\n",
        ["enp1s0f1np1"],
    ),
    (
        "member of a bond",
        "network:\n  bonds:\n    bond0:\n      interfaces: [enp1s0f0np0, enP2p1s0f0np0]\n",
        ["enp1s0f0np0", "enP2p1s0f0np0"],
    ),
    (
        "name after match is over",
        "network:\n  ethernets:\n    x:\n      match:\n        name: eth0\n\n      renderer: networkd\n  wifis:\n    wl*:\n      name: 'en*'\n",
        [],
    ),
    ("part of a longer name", "network:\n  ethernets:\n    enp1s0f0np0v1:\n      dhcp4: true\n", []),
    ("empty", "", []),
]


@pytest.mark.parametrize(("text", "interfaces"), [case[1:] for case in NETPLAN], ids=[case[0] for case in NETPLAN])
def test_interfaces_of_a_netplan_file(text: str, interfaces: list[str]) -> None:
    assert netplan_interfaces(text, MACS, DRIVERS) == interfaces


# --- kernel log ---

SIGNALS = [
    "pcieport 0000:00:00.0: AER: Uncorrectable (Fatal) error message received from 0000:01:00.0",
    "pcieport 0000:00:00.0: AER: Corrected error message received from 0000:01:00.0",
    "mlx5_core 0000:01:00.0: poll_health:829:(pid 0): device's health compromised",
    "mlx5_core 0000:01:00.0: mlx5_cmd_out_err: DESTROY_EQ(0x302) timeout",
    "pci 0000:00:00.0: broken device, retraining non-functional downstream link at 2.5GT/s",
    "mlx5_core 0000:01:00.0: E-Switch: cleanup",
    "NVRM: Xid (PCI:000f:01:00): 79, pid=1234, GPU has fallen off the bus.",
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=python,pid=1,uid=0",
    "Out of memory: Killed process 4242 (python)",
]
NO_SIGNALS = [
    "mlx5_core 0000:01:00.0: mlx5_pcie_event:326:(pid 12): Detected insufficient power on the PCIe slot (27W).",
    "mlx5_core 0000:01:00.0: 126.028 Gb/s available PCIe bandwidth (32.0 GT/s PCIe x4 link)",
    "cx7-pcie-hotplug MTKP0001:00: Cable plugin",
    "systemd[1]: Started systemd-oomd.service",
]


@pytest.mark.parametrize("line", SIGNALS)
def test_a_line_that_matters(line: str) -> None:
    assert matching_lines([line]) == [line]


@pytest.mark.parametrize("line", NO_SIGNALS)
def test_a_line_that_does_not(line: str) -> None:
    assert matching_lines([line]) == []


def test_a_kernel_log_without_anything_that_matters_is_clean() -> None:
    assert parse_kernel_log("Linux version 6.17.0-1029-nvidia\nusb 1-1: new device\n") == []
    assert parse_kernel_log("NVRM: Xid (PCI:000f:01:00): 79\n") == ["NVRM: Xid (PCI:000f:01:00): 79"]


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_kernel_log_was_not_read(text: str) -> None:
    with pytest.raises(ProbeError, match="no message of this boot"):
        parse_kernel_log(text)


def test_the_newest_lines_are_kept_and_cut() -> None:
    lines = [f"NVRM: Xid {number} {'x' * 500}" for number in range(200)]
    found = matching_lines(lines)
    assert len(found) == MAX_LINES
    assert found[-1].startswith("NVRM: Xid 199")
    assert {len(line) for line in found} == {MAX_LENGTH}


# --- halves ---

PLACES = [
    ("spark-facts 2.1/p0 a", ("enp1s0f0np0", "p0", "0000:01:00.0"), ("p0", "a")),
    ("spark-facts 2.1/p1 b", ("enP2p1s0f1np1", "p1", "0002:01:00.1"), ("p1", "b")),
    ("synthetic/renamed after an update", ("fabric3", "p1", "0002:01:00.1"), ("p1", "b")),
    ("synthetic/hardware against the name", ("enp1s0f0np0", "p1", "0002:01:00.1"), ("p1", "b")),
    ("synthetic/virtio named like a Spark", ("enP2p1s0f0np0", None, "virtio3"), ("p0", "b")),
    ("synthetic/virtio in PCI domain 0", ("enP2p1s0f0np0", None, "0000:00:05.0"), ("p0", "b")),
    ("synthetic/unknown", ("eth0", None, None), (None, None)),
    ("synthetic/ConnectX of another box", ("enp65s0f0", "p0", "0041:01:00.0"), ("p0", None)),
]


@pytest.mark.parametrize(("seen", "where"), [case[1:] for case in PLACES], ids=[case[0] for case in PLACES])
def test_place(seen: tuple[str, str | None, str | None], where: tuple[str | None, str | None]) -> None:
    assert place(*seen) == where


def test_kernels_are_ordered_by_number() -> None:
    kernels = ["6.17.0-1008-nvidia", "7.0.0-1019-nvidia", "6.17.0-1029-nvidia", "6.8.0-40-generic"]
    assert sorted(kernels, key=kernel_order) == [
        "6.8.0-40-generic",
        "6.17.0-1008-nvidia",
        "6.17.0-1029-nvidia",
        "7.0.0-1019-nvidia",
    ]


def test_pci() -> None:
    assert is_pci_address("0002:01:00.1")
    assert not is_pci_address("virtio3")
    assert not is_pci_address(None)
    assert parse_speed_gts("32.0 GT/s PCIe") == 32.0
    assert parse_speed_gts("2.5 GT/s PCIe") == 2.5
    assert parse_speed_gts("Unknown") is None
    assert parse_speed_gts(None) is None


def test_an_excerpt_is_short() -> None:
    assert excerpt(" \n") == "nothing"
    assert excerpt("a\n  b") == "'a b'"
    assert len(excerpt("word " * 100)) < 90
