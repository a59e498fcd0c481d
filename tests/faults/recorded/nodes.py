"""Residue of other tools, versions, the kernel's complaints, what is busy, tools that are missing."""

from __future__ import annotations

from ansible_collections.gb10.cluster.plugins.module_utils.measure.matrix import not_measured
from ansible_collections.gb10.cluster.plugins.module_utils.plan.netplan import OWN_NETPLAN

from tests.faults.case import Expected
from tests.faults.recorded.words import (
    HALVES,
    LINKS,
    both,
    case,
    command,
    file,
    half,
    measured,
    no_file,
    on,
    paths_of,
    ports,
    slow,
)
from tests.faults.spark import KERNEL

SPARK2, SPARK3 = ("node spark2",), ("node spark3",)
ODD_ONE = "bring spark2 to the DGX OS update of the others"
MEMORY = "MemTotal: 127600748 kB\nMemAvailable: {} kB\nCmaTotal: {} kB\nCmaFree: 940604 kB\n"
OTHER_NETPLAN = "network:\n  ethernets:\n    enp1s0f0np0: {dhcp4: true}\n"
GPU = "NVIDIA GB10, 12.1, 580.95.05"


def says(line: str):
    return on("spark2", lambda spark: spark.kernel_says(line))


def smi(gpu: str, processes: str = ":"):
    return command("spark2", "nvidia-smi", f"case \"$1\" in *gpu=*) echo '{gpu}' ;; *) {processes} ;; esac")


def setting(line: str, path: str = "etc/nccl.conf"):
    return on("spark3", lambda spark: spark.setting(line, path))


def takes_out(key: str) -> str:
    return f"run site.yml: role nccl_env takes {key} out of the file on spark3"


def gone(reading):
    for parts in (reading.facts, reading.measurements, reading.discoveries):
        del parts["spark3"]


def locked(reading):
    holder = "pid 4242, since 2026-11-24T06:00:00Z, rdma_probe run by ann"
    why = f"busy: another measurement runs on this node ({holder})"
    reading.measurements["spark2"] = not_measured("spark2", reading.profile, why)


RESIDUE = [
    case(
        "residue: NCCL_IB_DISABLE=1 in /etc/nccl.conf",
        setting("NCCL_IB_DISABLE=1"),
        Expected("N08 spark3", SPARK3, takes_out("NCCL_IB_DISABLE"), signature="nccl-residue"),
        sample=True,
    ),
    case(
        "residue: NCCL_NET=Socket in a user's ~/.nccl.conf",
        setting("NCCL_NET=Socket", "home/nvidia/.nccl.conf"),
        Expected("N08 spark3", SPARK3, takes_out("NCCL_NET"), signature="nccl-residue"),
    ),
    case(
        "residue: a pinned GID index in the file that the environment names",
        both(
            file("spark3", "etc/environment", "NCCL_CONF_FILE=/opt/nccl.conf\n"),
            setting("NCCL_IB_GID_INDEX=3", "opt/nccl.conf"),
        ),
        Expected("N08 spark3", SPARK3, takes_out("NCCL_IB_GID_INDEX"), signature="nccl-residue"),
    ),
    case(
        "residue: a key nobody planned",
        setting("NCCL_ALGO=Tree"),
        Expected("N08 spark3", SPARK3, "remove these keys on spark3", outcome="degraded"),
    ),
    case(
        "residue: a foreign netplan file",
        file("spark1", "etc/netplan/40-cx7.yaml", OTHER_NETPLAN),
        Expected(
            "L10 spark1:p0:a",
            ports("spark1", "p0:a"),
            "remove enp1s0f0np0 from /etc/netplan/40-cx7.yaml on spark1",
            outcome="degraded",
        ),
    ),
    case(
        "residue: no netplan file, the addresses are gone after a reboot",
        no_file("spark1", OWN_NETPLAN),
        Expected(
            "L10 spark1:p0:a",
            ports("spark1", *HALVES),
            "run site.yml: role fabric writes the netplan file of spark1",
            also=("L10 spark1:*",),
        ),
    ),
]
VERSIONS = [
    case(
        "versions: another kernel on one node",
        both(
            file("spark2", "proc/sys/kernel/osrelease", "6.17.0-1008-nvidia\n"),
            file("spark2", "boot/vmlinuz-6.17.0-1008-nvidia", ""),
            no_file("spark2", f"boot/vmlinuz-{KERNEL}"),
        ),
        Expected("C01", SPARK2, ODD_ONE, cause="software"),
        sample=True,
    ),
    case(
        "versions: another perftest on one node",
        command("spark2", "dpkg-query", "printf 'perftest\\tinstalled\\t25.01.0-1\\n'"),
        Expected("C01", SPARK2, ODD_ONE, cause="software"),
    ),
    case(
        "versions: another NIC firmware on one node",
        half("spark2", *HALVES, firmware="28.40.1000"),
        Expected("C01", SPARK2, ODD_ONE, cause="software"),
    ),
    case(
        "versions: another GPU driver on one node",
        smi("NVIDIA GB10, 12.1, 580.142"),
        Expected("C01", SPARK2, ODD_ONE, cause="software"),
    ),
    case(
        "versions: a reboot is pending",
        file("spark2", "run/reboot-required", ""),
        Expected("N13 spark2", SPARK2, "reboot spark2", outcome="degraded", cause="software"),
    ),
    case(
        "versions: a newer kernel is installed and does not run",
        file("spark2", "boot/vmlinuz-6.17.0-1031-nvidia", ""),
        Expected("N13 spark2", SPARK2, "reboot spark2", outcome="degraded", cause="software"),
    ),
]
HARDWARE = [
    case(
        "PCIe: x2 on half b",
        half("spark2", "p0:b", width=2),
        Expected("N03 spark2", SPARK2, "update the BIOS of spark2", cause="hardware", signature="pcie-lanes"),
    ),
    case(
        "PCIe: x2 on half b, which carries half of what its twin does",
        both(half("spark2", "p0:b", "p1:b", width=2), slow(52, *paths_of(LINKS[0], "b"), *paths_of(LINKS[1], "b"))),
        Expected("N03 spark2", SPARK2, "update the BIOS of spark2", cause="hardware", signature="pcie-lanes"),
    ),
    case(
        "PCIe: x2 on both halves, both at half speed",
        both(half("spark2", *HALVES, width=2), slow(52, *paths_of(LINKS[0]), *paths_of(LINKS[1]))),
        Expected("N03 spark2", SPARK2, "update the BIOS of spark2", cause="hardware", signature="pcie-lanes"),
    ),
    case(
        "PCIe: 2.5 GT/s",
        half("spark2", "p0:b", gts="2.5 GT/s PCIe"),
        Expected(
            "N03 spark2", SPARK2, "power spark2 off, unplug it for 60 s", cause="hardware", signature="pcie-speed"
        ),
    ),
    case(
        "kernel log: AER fatal",
        says("pcieport 0000:00:00.0: AER: Uncorrectable (Fatal) error message received from 0000:01:00.0"),
        Expected("N11 spark2", SPARK2, "reboot spark2", cause="hardware"),
    ),
    case(
        "kernel log: corrected AER",
        says("pcieport 0000:00:00.0: AER: Corrected error message received from 0000:01:00.0"),
        Expected("N11 spark2", SPARK2, "reseat the cables of spark2", outcome="degraded", cause="hardware"),
    ),
    case(
        "kernel log: Xid",
        says("NVRM: Xid (PCI:000f:01:00): 79, GPU has fallen off the bus."),
        Expected("N11 spark2", SPARK2, "reboot spark2", cause="hardware"),
    ),
    case(
        "kernel log: mlx5 health",
        says("mlx5_core 0000:01:00.0: health poll: FATAL"),
        Expected("N11 spark2", SPARK2, "reboot spark2", cause="hardware"),
    ),
    case(
        "memory: kexec handover took the contiguous memory",
        file("spark2", "proc/meminfo", MEMORY.format(120000000, 0)),
        Expected("N05 spark2", SPARK2, "boot spark2 with kho=off", cause="software", signature="kho-cma"),
    ),
    case(
        "memory: memlock of 8 MiB",
        file("spark2", "proc/self/limits", "Max locked memory         8388608            8388608            bytes\n"),
        Expected("N06 spark2", SPARK2, "run site.yml: role dgx_os sets memlock to unlimited on spark2"),
    ),
    case(
        "busy: little memory",
        file("spark2", "proc/meminfo", MEMORY.format(4000000, 1048576)),
        Expected("N09 spark2", SPARK2, "drain spark2", outcome="unknown", cause="environment"),
    ),
    case(
        "busy: somebody else holds the maintenance lock",
        measured(locked),
        Expected("N09 spark2", SPARK2, "drain spark2", outcome="unknown", cause="environment"),
    ),
    case(
        "busy: a foreign GPU process",
        smi(GPU, "echo '4242, [N/A]'"),
        Expected("N09 spark2", SPARK2, "drain spark2", outcome="unknown", cause="environment"),
        sample=True,
    ),
    case(
        "identity: another GPU",
        smi("NVIDIA RTX PRO 6000, 12.0, 580.95.05"),
        Expected("N01 spark2", SPARK2, "take spark2 out of the inventory group"),
    ),
    case(
        "power: a node does not answer",
        measured(gone),
        Expected("N00 spark3", SPARK3, "see whether spark3 is powered on", cause="environment"),
    ),
]
ADMISSION = [
    case(
        f"admission: {state} before this run",
        measured(
            lambda reading, state=state, reason=reason: reading.facts["spark2"].update(
                admission={"state": state, "reason": reason, "expires": "2026-11-20T14:20:00Z"}
            )
        ),
        Expected(
            "C10 spark2",
            (),
            "give spark2 a new admission: run playbooks/validate.yml",
            outcome=outcome,
            cause=cause,
            noted=True,
        ),
    )
    for state, reason, outcome, cause in (
        ("expired", "expired on 2026-11-20; run playbooks/validate.yml", "degraded", "environment"),
        ("different", "the node was started again; run playbooks/validate.yml", "fail", "environment"),
        ("unreadable", "no answer", "unknown", "instrument"),
    )
]


def another_time(says: str) -> Expected:
    return Expected(
        "L08 spark2:p0:a",
        SPARK2,
        f"L08 spark2:p0:a: {says}",
        outcome="unknown",
        cause="instrument",
        also=("P0? *spark2*", "L08 spark2:*", "L11 *spark2*"),
    )


def delayed(**values):
    return measured(lambda reading: reading.measurements["spark2"].update(values))


TIME = [
    case(
        "time: started again between being read and being measured",
        delayed(boot_id="11111111-a9b9-4f27-a39c-963176390000", uptime_s=31.0),
        another_time("spark2 was started again between being read and being measured: measure again"),
    ),
    case(
        "time: a measurement that is left from a run an hour ago",
        delayed(uptime_s=82800.0),
        another_time("the measurement of spark2 is older than what was read of it: measure again"),
    ),
    case(
        "time: a measurement that is left from the boot before",
        delayed(boot_id="11111111-a9b9-4f27-a39c-963176390000", uptime_s=4000.0),
        another_time("spark2 was started again between being read and being measured"),
    ),
    case(
        "time: the clock was set back by an hour during the measurement",
        delayed(clock_step_s=-3600.0),
        another_time("the clock of spark2 was set by -3600 s while it measured: see what sets it"),
    ),
    case(
        "time: an NCCL measurement that is left from the boot before",
        measured(lambda reading: (reading.nccl or {})["spark2"].update(boot_id="11111111-a9b9-4f27-a39c-963176390000")),
        Expected(
            "N14 spark2",
            SPARK2,
            "N14 spark2: spark2 was started again between being read and being measured: measure again",
            outcome="unknown",
            cause="instrument",
        ),
    ),
    case(
        "time: the measurement came after the gate had judged",
        measured(lambda reading: reading.measurements.pop("spark2")),
        another_time("spark2 sent no measurement"),
    ),
]
TOOLS = [
    case(
        "tools: no nvidia-smi",
        command("spark2", "nvidia-smi", None),
        Expected(
            "N01 spark2",
            SPARK2,
            "N01 spark2: gpus.name is not known: `nvidia-smi",
            outcome="unknown",
            cause="instrument",
            also=("N09 spark2", "C01"),
        ),
    ),
    case(
        "tools: no rdma",
        command("spark2", "rdma", None),
        Expected(
            "N07 spark2",
            SPARK2,
            "N07 spark2: the RDMA devices are not known: `rdma -j link` ended with 127",
            outcome="unknown",
            cause="instrument",
            also=("L02 spark2:*", "C01"),
        ),
    ),
    case(
        "tools: no ip",
        command("spark2", "ip", None),
        Expected(
            "L05 spark2:p0:a",
            (*ports("spark2", *HALVES), "node spark2"),
            "L05 spark2:p0:a: addresses is not known: `ip -j addr` ended with 127",
            outcome="unknown",
            cause="instrument",
            also=("L05 spark2:*", "P07 spark2:*"),
        ),
    ),
    case(
        "tools: ip prints half of its JSON",
        command("spark2", "ip", """echo '[{"ifname":"enp1s0f0np0","addr_info":'"""),
        Expected(
            "L05 spark2:p0:a",
            (*ports("spark2", *HALVES), "node spark2"),
            "L05 spark2:p0:a: addresses is not known",
            outcome="unknown",
            cause="instrument",
            also=("L05 spark2:*", "P07 spark2:*"),
        ),
    ),
    case(
        "tools: no ibv_devinfo",
        command("spark2", "ibv_devinfo", None),
        Expected(
            "L04 spark2:p0:a",
            ports("spark2", *HALVES),
            "L04 spark2:p0:a: rdma.active_mtu is not known: `ibv_devinfo` ended with 127",
            outcome="unknown",
            cause="instrument",
            also=("L04 spark2:*",),
        ),
    ),
    case(
        "tools: no ethtool",
        command("spark2", "ethtool", None),
        Expected(
            "L01 spark2:p0:a",
            ports("spark2", *HALVES),
            "L01 spark2:p0:a: enp1s0f0np0 does not tell its lanes, fec: `ethtool enp1s0f0np0` ended with 127",
            outcome="unknown",
            cause="instrument",
            also=("L01 spark2:*",),
        ),
    ),
    case(
        "tools: the journal may not be read",
        command("spark2", "journalctl", "echo no permission >&2; exit 1"),
        Expected(
            "N11 spark2",
            SPARK2,
            "N11 spark2: kernel_log is not known: `journalctl -k -b -q` ended with 1: no permission",
            outcome="unknown",
            cause="instrument",
        ),
    ),
    case(
        "tools: no version of perftest",
        command("spark2", "dpkg-query", "exit 1"),
        Expected("C01", (), "C01: not known: perftest of spark2", outcome="unknown", cause="instrument"),
    ),
]

CASES = [*RESIDUE, *VERSIONS, *HARDWARE, *ADMISSION, *TIME, *TOOLS]
