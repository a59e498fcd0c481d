"""Faults on running virtual Sparks, through playbooks/validate.yml.

Faults that name the same ``run`` are injected together, each on a subject of its own; the others are alone.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from lab.api import Lab
from tests.faults.case import Case, Expected
from tests.faults.recorded.links import MISCABLED
from tests.faults.recorded.words import HALVES, ports

Act = t.Callable[[Lab], t.Any]
PASSIVE: tuple[str, ...] = ("node", "half-link")
WHOLE: tuple[str, ...] = ()  # every level, the pair matrix too

NETPLAN = "/etc/netplan/60-gb10-fabric.yaml"
# Another program that keeps the lock of rdma_probe.
HOLDER = (
    'import fcntl, os, time; os.makedirs("/run/gb10-cluster", exist_ok=True);'
    ' lock = open("/run/gb10-cluster/measurement.lock", "w"); fcntl.flock(lock, fcntl.LOCK_EX); time.sleep(900)'
)
HALF_LINK = ("half-link spark1:p0:a-spark2:p1:a",)
SITE = "run site.yml: role "
# Tools are replaced by ones that lie; the honest one is kept beside them.
BANDWIDTH = "/usr/bin/ib_write_bw"
HONEST = f"{BANDWIDTH}.honest"


@dataclass(frozen=True)
class Live(Case):
    inject: Act = lambda lab: None
    levels: tuple[str, ...] = PASSIVE
    run: str = ""  # its own when empty
    when_serving: str = ""  # inject when this node serves a path, not before
    refusal: Refusal | None = None  # of site.yml, instead of a verdict of validate.yml


@dataclass(frozen=True)
class Refusal:
    """What site.yml says when it cannot change a node, and what must then be as it was before."""

    says: tuple[str, ...]
    node: str
    unchanged: str  # a command that shows it


def case(name: str, inject: Act, expected: Expected, sample: bool = False, **how: t.Any) -> Live:
    return Live(name, "live", expected, sample, inject, **how)


def on(node: str, command: str) -> Act:
    """A shell command as root."""

    def act(lab: Lab) -> None:
        done = lab.run(node, ["sudo", "sh", "-c", command])
        if done.returncode:
            raise RuntimeError(f"{node}: {command}: {done.stderr.strip()}")

    return act


def instead_of(node: str, tool: str, script: str) -> Act:
    """A tool of the node does something else; what it was before is TOOL.honest."""
    body = script.replace("'", "'\\''")
    return on(node, f"mv {tool} {tool}.honest && printf '%s\\n' '#!/bin/sh' '{body}' > {tool} && chmod 755 {tool}")


def killed_server(node: str, device: str) -> Act:
    """ib_write_bw that is killed as the server of one device, as soon as its client has come."""
    port = "$(expr \"$*\" : '.* -p \\([0-9]*\\)')"
    killed = (
        f'{HONEST} "$@" & server=$!; port={port};'
        ' while kill -0 $server && ! ss -Htn state established "( sport = :$port )" | grep -q .; do sleep 0.2; done;'
        " sleep 0.3; kill -KILL $server; wait $server; exit 137"
    )
    serving = f'case "$*" in *--out_json_file*) ;; *"-d {device} "*) {killed} ;; esac; exec {HONEST} "$@"'
    return instead_of(node, BANDWIDTH, serving)


def lying(node: str, device: str, lie: str) -> Act:
    """ib_write_bw that is honest but for the client of one device."""
    client = f'case "$*" in *"-d {device} "*--out_json_file*) {lie} ;; esac; exec {HONEST} "$@"'
    return instead_of(node, BANDWIDTH, client)


ALONE = [
    case(
        "cabling: p0 to p0 and p1 to p1, both plugs of spark2 in the other cage",
        lambda lab: lab.swap("spark2:p0", "spark2:p1"),
        Expected("L09 spark2:p0", MISCABLED, "spark2: swap the plugs of p0 and p1", also=("L09 *",)),
    ),
    case(
        "cabling: a cable from a node to itself",
        lambda lab: lab.swap("spark2:p1", "spark3:p1"),
        Expected("L09 spark2:p0", MISCABLED, "swap the plugs of spark3 p1 and spark2 p1", also=("L09 *",)),
    ),
    case(
        "cabling: unplugged",
        lambda lab: lab.unplug("spark2:p0"),
        Expected(
            "L09 spark2:p0",
            ("cage spark2:p0", "cage spark3:p1", "link spark2:p0-spark3:p1"),
            "spark2 p0: no cable seen",
            also=("L09 spark3:p1", "L01 spark2:p0:?", "L01 spark3:p1:?"),
        ),
    ),
    case(
        "halves: one half dark",
        lambda lab: lab.half("spark2:p0:a", on=False),
        Expected(
            "L01 spark2:p0:a",
            ("half-link spark2:p0:a-spark3:p1:a",),
            "see that the plug is seated in spark2 p0 and at the far end",
            cause="hardware",
        ),
        sample=True,
    ),
    case(
        "halves: switched off by hand",
        on("spark1", "ip link set enp1s0f0np0 down"),
        Expected("L01 spark1:p0:a", ports("spark1", "p0:a"), "run `ip link set enp1s0f0np0 up` on spark1"),
    ),
    case(
        "halves: RDMA device gone",
        on("spark1", "rdma link delete rocep1s0f0"),
        Expected("N07 spark1", ("node spark1",), "see whether the drivers of the NIC", cause="software"),
    ),
    case(
        "halves: driver unbound, the function vanishes",
        on(
            "spark3",
            "d=$(basename $(readlink /sys/class/net/enP2p1s0f0np0/device));"
            " echo $d > /sys/bus/virtio/drivers/virtio_net/unbind",
        ),
        Expected("N02 spark3", ("node spark3",), "power spark3 off, unplug it for 60 s", cause="hardware"),
    ),
    case(
        "MTU: 1500 on one end",
        on("spark1", "ip link set enp1s0f0np0 mtu 1500"),
        Expected("L04 spark1:p0:a", ports("spark1", "p0:a"), f"{SITE}fabric sets MTU 9000 live on spark1"),
    ),
    case(
        "subnet: twins in one subnet",
        on("spark2", "ip addr add 10.210.0.77/24 dev enP2p1s0f1np1"),
        Expected(
            "L05 spark2:p1:b",
            ports("spark2", "p1:a", "p1:b"),
            f"{SITE}fabric writes the planned addresses of spark2",
            also=("L05 spark2:p1:a",),
        ),
    ),
    case(
        "subnet: no address",
        on("spark2", "ip addr flush dev enp1s0f1np1"),
        Expected("L05 spark2:p1:a", ports("spark2", "p1:a"), f"{SITE}fabric writes the planned addresses of spark2"),
    ),
    case(
        "power: a node is off",
        lambda lab: lab.power("spark3", on=False),
        Expected("N00 spark3", ("node spark3",), "see whether spark3 is powered on", cause="environment"),
    ),
    case(
        "tools: nvidia-smi hangs and does not hear SIGTERM",
        instead_of("spark2", "/usr/bin/nvidia-smi", "trap '' TERM; while :; do sleep 1; done"),
        Expected(
            "N01 spark2",
            ("node spark2",),
            "N01 spark2: gpus.name is not known: `nvidia-smi",
            outcome="unknown",
            cause="instrument",
            also=("N09 spark2", "C01"),
        ),
    ),
    case(
        "disk: a node has no room left, neither in /tmp nor in /var",
        on("spark3", "for disk in /tmp /var/tmp; do head -c 5G /dev/zero > $disk/full 2>/dev/null; done; true"),
        Expected("N00 spark3", ("node spark3",), "see whether spark3 is powered on", cause="environment"),
    ),
    case(
        "boot: a node was started again after its admission",
        lambda lab: [lab.power("spark2", on=False), lab.power("spark2", on=True)],
        Expected(
            "C10 spark2",
            (),
            "give spark2 a new admission: run playbooks/validate.yml",
            cause="environment",
            noted=True,
        ),
        levels=("cluster",),
    ),
    case(
        "busy: somebody else holds the maintenance lock",
        on("spark2", f"setsid python3 -c '{HOLDER}' > /dev/null 2>&1 < /dev/null & sleep 5"),
        Expected("N09 spark2", ("node spark2",), "drain spark2", outcome="unknown", cause="environment"),
        levels=WHOLE,
    ),
    case(
        "disk: /etc/netplan can only be read",
        on(
            "spark2",
            f"echo '# edited' >> {NETPLAN} && mount --bind /etc/netplan /etc/netplan"
            " && mount -o remount,bind,ro /etc/netplan",
        ),
        Expected("site.yml", (), "Read-only file system"),
        levels=WHOLE,
        refusal=Refusal(
            ("Read-only file system", "The previous fabric configuration was put back"),
            "spark2",
            f"ls -A /etc/netplan; sha256sum {NETPLAN}; ip -4 -br addr",
        ),
    ),
    case(
        "busy: little memory",
        on(
            "spark2",
            "mount -o remount,size=95% /dev/shm; head -c"
            " $(awk '/MemAvailable/ {print ($2 - 90000) * 1024}' /proc/meminfo) /dev/zero > /dev/shm/full",
        ),
        Expected("N09 spark2", ("node spark2",), "drain spark2", outcome="unknown", cause="environment"),
    ),
]

TOGETHER = [
    case(
        "residue: NCCL_IB_DISABLE=1 in /etc/nccl.conf",
        on("spark3", "echo NCCL_IB_DISABLE=1 >> /etc/nccl.conf"),
        Expected("N08 spark3", ("node spark3",), f"{SITE}nccl_env takes NCCL_IB_DISABLE out", signature="nccl-residue"),
        run="settings 1",
    ),
    case(
        "subnet: a second address",
        on("spark2", "ip addr add 192.168.7.7/24 dev enP2p1s0f0np0"),
        Expected(
            "L05 spark2:p0:b", ports("spark2", "p0:b"), "find who adds 192.168.7.7/24 on spark2", outcome="degraded"
        ),
        run="settings 1",
    ),
    case(
        "residue: a foreign netplan file",
        on(
            "spark1",
            "printf 'network:\\n  ethernets:\\n    enP2p1s0f0np0: {dhcp4: true}\\n' > /etc/netplan/40-cx7.yaml",
        ),
        Expected(
            "L10 spark1:p0:b",
            ports("spark1", "p0:b"),
            "remove enP2p1s0f0np0 from /etc/netplan/40-cx7.yaml on spark1",
            outcome="degraded",
        ),
        run="settings 1",
    ),
    case(
        "residue: NCCL_NET=Socket in a user's ~/.nccl.conf",
        on("spark1", "echo NCCL_NET=Socket > /home/spark/.nccl.conf"),
        Expected("N08 spark1", ("node spark1",), f"{SITE}nccl_env takes NCCL_NET out", signature="nccl-residue"),
        run="settings 2",
    ),
    case(
        "routes: a default route over the fabric",
        on("spark2", "ip route add default dev enp1s0f0np0 metric 9999"),
        Expected("L05 spark2:p0:a", ports("spark2", "p0:a"), "remove a default route over enp1s0f0np0 on spark2"),
        run="settings 2",
    ),
    case(
        "subnet: wrong address",
        on("spark3", "ip addr flush dev enP2p1s0f1np1; ip addr add 10.210.99.9/24 dev enP2p1s0f1np1"),
        Expected("L05 spark3:p1:b", ports("spark3", "p1:b"), f"{SITE}fabric writes the planned addresses of spark3"),
        run="settings 2",
    ),
    case(
        "residue: no netplan file, the addresses are gone after a reboot",
        on("spark3", "rm /etc/netplan/60-gb10-fabric.yaml"),
        Expected(
            "L10 spark3:p0:a",
            ports("spark3", *HALVES),
            f"{SITE}fabric writes the netplan file of spark3",
            also=("L10 spark3:*",),
        ),
        run="settings 3",
    ),
    case(
        "kernel log: AER fatal",
        # Not an Xid: journald takes the word before the first colon of what a user writes here for the name of a program.
        on("spark1", "echo 'pcieport 0000:00:00.0: AER: Uncorrectable (Fatal) error message received' > /dev/kmsg"),
        Expected("N11 spark1", ("node spark1",), "reboot spark1", cause="hardware"),
        run="settings 3",
    ),
    case(
        "residue: a pinned GID index",
        on("spark2", "echo NCCL_IB_GID_INDEX=3 >> /etc/nccl.conf"),
        Expected("N08 spark2", ("node spark2",), f"{SITE}nccl_env takes NCCL_IB_GID_INDEX", signature="nccl-residue"),
        run="settings 3",
    ),
    case(
        "identity: another GPU",
        instead_of("spark1", "/usr/bin/nvidia-smi", '/usr/bin/nvidia-smi.honest "$@" | sed "s/GB10, 12.1/RTX, 12.0/"'),
        Expected("N01 spark1", ("node spark1",), "take spark1 out of the inventory group"),
        run="settings 4",
    ),
    case(
        "busy: a foreign GPU process",
        instead_of(
            "spark2",
            "/usr/bin/nvidia-smi",
            'case "$1" in *compute-apps*) echo "4242, [N/A]" ;; *) exec /usr/bin/nvidia-smi.honest "$@" ;; esac',
        ),
        Expected("N09 spark2", ("node spark2",), "drain spark2", outcome="unknown", cause="environment"),
        run="settings 4",
    ),
    case(
        "routes: a fabric subnet over management",
        on(
            "spark3",
            "ip route add $(ip -4 route show dev enp1s0f0np0 scope link | cut -d' ' -f1) dev enP7s7 metric 500",
        ),
        Expected("L05 spark3:p0:a", ports("spark3", "p0:a"), "remove a route to"),
        run="settings 4",
    ),
    case(
        "MTU: 1500 on both ends",
        lambda lab: [
            on("spark1", "ip link set enP2p1s0f1np1 mtu 1500")(lab),
            on("spark3", "ip link set enP2p1s0f0np0 mtu 1500")(lab),
        ],
        Expected(
            "L04 spark3:p0:b",
            ports("spark3", "p0:b"),
            f"{SITE}fabric sets MTU 9000 live on spark3",
            also=("L04 spark1:p1:b",),
        ),
        run="settings 5",
    ),
    case(
        "tools: no ibv_devinfo",
        on("spark2", "rm /usr/bin/ibv_devinfo"),
        Expected(
            "L04 spark2:p0:a",
            ports("spark2", *HALVES),
            "L04 ",
            outcome="unknown",
            cause="instrument",
            also=("L04 spark2:*",),
        ),
        run="settings 5",
    ),
]

# Two faults of one run are on different halves of different cables. Three always share a part that explains two of them.
MATRIX = [
    case(
        "loss: 5 % of what one half sends",
        lambda lab: lab.loss("spark3:p0:b", 0.05),
        Expected(
            "P02 spark3:p0:b>spark1:p1:b",
            ("half-link spark3:p0:b-spark1:p1:b",),
            "reboot spark3 and spark1 with the cable attached",
            cause="hardware",
            also=(
                "L08 spark3:p0:b",
                "L08 spark1:p1:b",
                "L11 *spark3:p0:b*",
                "P0? spark1:p1:b>spark3:p0:b",
                "P04 spark3:p0:b*",
            ),
        ),
        levels=WHOLE,
        run="matrix 1",
    ),
    case(
        "lies: the text says 0.000000 Gb/s",
        lying(
            "spark1",
            "rocep1s0f0",
            f"""{HONEST} "$@" | sed -E 's/^( *65536 +[0-9]+ +[0-9.]+ +)[0-9.]+/\\10.000000/'; exit 0""",
        ),
        Expected(
            "P01 spark1:p0:a>spark2:p1:a",
            HALF_LINK,
            "measure spark1 and spark2 again; if it stays so, see",
            outcome="unknown",
            cause="instrument",
        ),
        levels=WHOLE,
        run="matrix 1",
    ),
    case(
        "hangs: ib_write_bw does not hear SIGTERM",
        lying("spark2", "roceP2p1s0f0", "trap '' TERM; while :; do sleep 1; done"),
        Expected(
            "P01 spark2:p0:b>spark3:p1:b",
            ("half-link spark2:p0:b-spark3:p1:b",),
            "measure spark2 and spark3 again; if it stays so, see what ib_write_bw prints there",
            outcome="unknown",
            cause="instrument",
        ),
        levels=WHOLE,
        run="matrix 2",
    ),
    case(
        "tools: no perftest on one node",
        on("spark2", f"rm {BANDWIDTH}"),
        Expected(
            "L08 spark2:p0:a",
            ("node spark2",),
            "L08 spark2:p0:a: spark2 measured nothing: ib_write_bw is not installed",
            outcome="unknown",
            cause="instrument",
            also=("P0? *spark2*", "L08 spark2:*", "L11 spark2:*"),
        ),
        levels=WHOLE,
    ),
    case(
        "dies: the server of one half is killed in mid-run",
        killed_server("spark1", "rocep1s0f0"),
        Expected(
            "P01 spark2:p1:a>spark1:p0:a",
            HALF_LINK,
            "measure spark2 and spark1 again; if it stays so, see what ib_write_bw prints there",
            outcome="unknown",
            cause="instrument",
            also=("L08 spark1:p0:a", "L08 spark2:p1:a"),
        ),
        levels=WHOLE,
        run="matrix 2",
    ),
    case(
        "delay: 240 ms on what one half sends",
        # Twice what P04 allows a way, and less than the seven times 67 ms after which ib_write_lat gives up.
        lambda lab: lab.loss("spark3:p0:a", 0.0, delay_ms=240),
        Expected(
            "P04 spark3:p0:a>spark1:p1:a",
            ("half-link spark3:p0:a-spark1:p1:a",),
            "compare PCIe (N03) and carrier (L01) at both ends of spark3:p0:a-spark1:p1:a",
            cause="hardware",
            also=("P0? *spark3:p0:a*", "L08 spark3:p0:a", "L08 spark1:p1:a", "L11 *spark3:p0:a*"),
        ),
        levels=WHOLE,
    ),
    case(
        "clock: the node's is set by an hour while it serves a path",
        on("spark3", "date -s '+1 hour'"),
        Expected(
            "L08 spark3:p0:a",
            ("node spark3",),
            "L08 spark3:p0:a: the clock of spark3 was set by +3600 s while it measured",
            outcome="unknown",
            cause="instrument",
            also=("P0? *spark3*", "L08 spark3:*", "L11 spark3*"),
        ),
        levels=WHOLE,
        when_serving="spark3",
    ),
    case(
        "power: a node goes off in the middle of the measurement",
        lambda lab: lab.power("spark3", on=False),
        Expected(
            "L08 spark3:p0:a",
            ("node spark3",),
            "L08 spark3:p0:a: spark3 sent no measurement",
            outcome="unknown",
            cause="instrument",
            also=("P0? *spark3*", "L08 *", "L11 *spark3*"),
        ),
        levels=WHOLE,
        when_serving="spark3",
    ),
]

CASES = [*ALONE, *TOGETHER, *MATRIX]
