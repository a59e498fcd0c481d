"""Three questions for every check: does it pass when it should, fail when it should, and stay unknown without its input?

Numbers and messages come from health-checks 2, 3 and 8, which name the systems they were recorded on.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.checks import CHECKS, catalogue
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.judge import evaluate
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.outcome import Outcome
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.profiles import parsed_limits
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.registry import check
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading, views
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import GB10, LAB, direction_of, half_of

PATH = "spark1:p0:a-spark2:p1:a"
WAY = "spark1:p0:a>spark2:p1:a"
HALF = "spark1:p0:a"
BOTH = "spark1:p0>spark2:p1"


def ask(reading: Reading, check_id: str, key: str) -> Outcome:
    """One check on one subject, without its parents."""
    entry = CHECKS[check_id]
    view = next(view for view in views(entry.scope, reading) if view.key == key)
    return evaluate(entry, view, parsed_limits(reading.profile)[check_id])


@dataclass(frozen=True)
class Case:
    id: str
    check: str
    key: str
    spoil: t.Callable[[Reading], t.Any]
    want: str
    says: str = ""
    cause: str | None = None
    profile: str = GB10
    topology: str = "triangle"
    remedy: str = ""


def facts(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: reading.facts["spark1"].update(t.cast("t.Any", values))


def admission(state: str, reason: str | None) -> t.Callable[[Reading], t.Any]:
    return facts(admission={"state": state, "reason": reason, "expires": None})


def half(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: half_of(reading, "spark1", "p0", "a").update(t.cast("t.Any", values))


def rdma(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: t.cast("t.Any", half_of(reading, "spark1", "p0", "a")["rdma"]).update(values)


def pcie(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: t.cast("t.Any", half_of(reading, "spark1", "p0", "a")["pcie"]).update(values)


def memory(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: reading.facts["spark1"]["memory_kib"].update(values)


def settings(**values: str) -> t.Callable[[Reading], t.Any]:
    return lambda reading: reading.facts["spark1"]["nccl_files"][0]["settings"].update(values)


def growth(**values: int) -> t.Callable[[Reading], t.Any]:
    return lambda reading: reading.measurements["spark1"]["counter_deltas"]["rocep1s0f0"].update(values)


def lossless(**values: int) -> t.Callable[[Reading], t.Any]:
    """Pauses in 100 s, in a plan whose priority 3 is lossless."""

    def spoil(reading: Reading) -> None:
        t.cast("dict[str, t.Any]", reading.plan)["lossless"] = {"dscp": 26, "traffic_class": 3}
        reading.measurements["spark1"]["duration_s"] = 100.0
        growth(**values)(reading)

    return spoil


def way(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: direction_of(reading, PATH, "spark1").update(t.cast("t.Any", values))


def runs(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    def spoil(reading: Reading) -> None:
        for run in direction_of(reading, PATH, "spark1")["bandwidth"]:
            run.update(t.cast("t.Any", values))

    return spoil


def measured(*values: float) -> t.Callable[[Reading], t.Any]:
    """The repeats, the warm-up left as it is."""

    def spoil(reading: Reading) -> None:
        repeats = [run for run in direction_of(reading, PATH, "spark1")["bandwidth"] if not run["warmup"]]
        for run, value in zip(repeats, values, strict=True):
            run["gbps"] = value

    return spoil


def at_once(*gbps: float) -> t.Callable[[Reading], t.Any]:
    return lambda reading: builders.set_both_halves(reading, "spark1", "spark2", *gbps)


def repeats_at_once(half_a: t.Sequence[float], half_b: t.Sequence[float]) -> t.Callable[[Reading], t.Any]:
    """The repeats of either half, the warm-ups left as they are."""

    def spoil(reading: Reading) -> None:
        for half, values in zip(pair(reading)["halves"], (half_a, half_b), strict=True):
            repeats = [run for run in half["bandwidth"] if not run["warmup"]]
            for run, value in zip(repeats, values, strict=True):
                run["gbps"] = value

    return spoil


def runs_at_once(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: [run.update(values) for run in pair(reading)["halves"][1]["bandwidth"]]


def pair(reading: Reading) -> t.Any:
    return builders.pair_of(reading, "spark1", "spark2")


def pair_served(reading: Reading) -> t.Any:
    return next(entry for entry in reading.measurements["spark2"]["pairs_served"] if entry["from_node"] == "spark1")


def failed_at_once(cause: str, message: str) -> dict[str, t.Any]:
    failed = {"stage": "rendezvous", "cause": cause, "message": message}
    return {"failure": failed | {"argv": [], "rc": None, "raw_sha256": None}}


def ping(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: reading.measurements["spark1"]["pings"][0].update(t.cast("t.Any", values))


def slow(reading: Reading, node: str) -> None:
    for direction in reading.measurements[node]["directions"]:
        for run in direction["bandwidth"]:
            run["gbps"] = 40.0


def no_pause_counters(reading: Reading) -> None:
    for name in builders.PAUSE_COUNTERS:
        reading.measurements["spark1"]["counter_deltas"]["rocep1s0f0"].pop(name)


def no_module(reading: Reading) -> None:
    for entry in reading.facts["spark1"]["halves"]:
        entry.pop("module")


def plug(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: t.cast("t.Any", half_of(reading, "spark1", "p0", "a")["module"]).update(values)


def latency(**values: t.Any) -> t.Callable[[Reading], t.Any]:
    return lambda reading: t.cast("t.Any", direction_of(reading, PATH, "spark1")["latency"]).update(values)


def served(reading: Reading) -> t.Any:
    return next(entry for entry in reading.measurements["spark2"]["served"] if entry["path"] == PATH)


def failure(cause: str, message: str = "it broke") -> t.Callable[[Reading], t.Any]:
    return way(
        bandwidth=[],
        failure={
            "stage": "bandwidth",
            "cause": cause,
            "message": message,
            "argv": ["ib_write_bw"],
            "rc": 1,
            "raw_sha256": None,
        },
    )


def second_address(netdev: str, address: str) -> t.Callable[[Reading], t.Any]:
    def spoil(reading: Reading) -> None:
        reading.facts["spark1"]["addresses"].setdefault(netdev, []).append(address)

    return spoil


def route(dst: str, dev: str) -> t.Callable[[Reading], t.Any]:
    return lambda reading: reading.facts["spark1"]["routes"].append(
        {"dst": dst, "dev": dev, "gateway": None, "linkdown": False}
    )


def all_of(*spoils: t.Callable[[Reading], t.Any]) -> t.Callable[[Reading], None]:
    def spoil(reading: Reading) -> None:
        for each in spoils:
            each(reading)

    return spoil


def gpu(name: str, capability: str | None) -> dict[str, t.Any]:
    return {"name": name, "compute_cap": capability, "driver": "580.95.05"}


NO_RDMA_TOOL = "`rdma -j link` ended with 127: rdma: command not found"
NO_IP = "`ip -j addr` ended with 127: ip: command not found"
NETPLAN = {"path": "/etc/netplan/40-cx7.yaml", "interfaces": ["enp1s0f0np0"], "owned": False, "sha256": "0"}
OWN = {"path": "/etc/netplan/60-gb10-fabric.yaml", "interfaces": ["enp1s0f0np0"], "owned": True, "sha256": "0"}
AER_FATAL = "pcieport 0000:00:00.0: AER: Uncorrectable (Fatal) error message received from 0000:01:00.0"
AER_CORRECTED = "pcieport 0000:00:00.0: AER: Corrected error message received from 0000:01:00.0"

CASES = [
    # --- node ---
    Case("no answer", "N00", "spark1", lambda r: r.facts.pop("spark1"), "fail", "did not answer", "environment"),
    Case("no boot id", "N00", "spark1", facts(boot_id=None), "unknown", "not its facts"),
    Case("facts of another node", "N00", "spark1", facts(node="spark2"), "unknown", "not its facts"),
    Case("facts are garbage", "N00", "spark1", lambda r: r.facts.update(spark1="garbage"), "unknown"),
    Case("another GPU", "N01", "spark1", facts(gpus=[gpu("NVIDIA GB200", "10.0")]), "fail", "found NVIDIA GB200 10.0"),
    Case("right name, other capability", "N01", "spark1", facts(gpus=[gpu("NVIDIA GB10", "12.0")]), "fail"),
    Case("no GPU", "N01", "spark1", facts(gpus=[]), "fail", "found no GPU", "configuration"),
    Case("OEM name is no matter", "N01", "spark1", facts(dgx_release={"DGX_NAME": "ASUS Ascent GX10"}), "pass"),
    Case("nvidia-smi silent", "N01", "spark1", facts(gpus=None), "unknown"),
    Case(
        "a function vanished",
        "N02",
        "spark1",
        lambda r: r.facts["spark1"]["halves"].pop(),
        "fail",
        "3 of 4",
        "hardware",
        remedy="power spark1 off",
    ),
    Case(
        "no NIC with a cable",
        "N02",
        "spark1",
        facts(halves=[]),
        "fail",
        "0 of 4",
        remedy="plug the cables of spark1 in",
    ),
    Case("no NIC without a cable", "N02", "spark1", facts(halves=[]), "pass", "without one", topology="single"),
    Case("halves not known", "N02", "spark1", facts(halves=None), "unknown"),
    Case(
        "two lanes (ASUS BIOS, forum 367853)",
        "N03",
        "spark1",
        pcie(current_width=2),
        "fail",
        "32.0 GT/s x2",
        "hardware",
    ),
    Case("2.5 GT/s (defect)", "N03", "spark1", pcie(current_speed_gts=2.5), "fail", "2.5 GT/s x4"),
    Case("speed not known", "N03", "spark1", pcie(current_speed_gts=None), "unknown"),
    Case("a planned half is gone", "N03", "spark1", lambda r: r.facts["spark1"]["halves"].pop(0), "unknown"),
    Case("mixed firmware", "N04", "spark1", rdma(fw_ver="28.40.1000"), "fail", "28.40.1000, 28.45.4028", "software"),
    Case("firmware not known", "N04", "spark1", rdma(fw_ver=None), "unknown"),
    Case("KHO (luxingcom#1)", "N05", "spark1", memory(CmaTotal=0, CmaFree=940604), "fail", "940604", "software"),
    Case("no CMA at all", "N05", "spark1", memory(CmaTotal=0, CmaFree=0), "unknown", "no healthy Spark"),
    Case("kernel that needs kho=off", "N05", "spark1", facts(kernel="7.0.0-1019-nvidia"), "degraded", "kho=off"),
    Case("kernel with kho=off", "N05", "spark1", facts(kernel="7.0.0-1019-nvidia", cmdline="ro kho=off quiet"), "pass"),
    Case("CMA not told", "N05", "spark1", facts(memory_kib={"MemTotal": 1}), "unknown", "CmaTotal"),
    Case("memlock 8 MiB", "N06", "spark1", facts(memlock_kib=8192), "fail", "0.00781 GiB", "configuration"),
    Case("memlock 64 GiB (epappas)", "N06", "spark1", facts(memlock_kib=64 * 1024 * 1024), "degraded", "64 GiB"),
    Case("memlock not known", "N06", "spark1", facts(memlock_kib=None), "unknown"),
    Case("a uverbs file short", "N07", "spark1", facts(uverbs=["uverbs0"]), "fail", "4 RDMA devices but 1", "software"),
    Case(
        "no RDMA device at all",
        "N07",
        "spark1",
        lambda r: [entry.update(rdma=None) for entry in r.facts["spark1"]["halves"]],
        "unknown",
        "no RDMA device",
        "software",
    ),
    Case("one RDMA device gone", "N07", "spark1", half(rdma=None), "fail", "enp1s0f0np0 has no RDMA device"),
    Case(
        "rdma is not installed", "N07", "spark1", facts(problems=[NO_RDMA_TOOL]), "unknown", "rdma: command not found"
    ),
    Case("no cable, no devices", "N07", "spark1", facts(halves=[], uverbs=[]), "pass", topology="single"),
    Case("uverbs not known", "N07", "spark1", facts(uverbs=None), "unknown"),
    Case(
        "forces TCP",
        "N08",
        "spark1",
        settings(NCCL_IB_DISABLE="1"),
        "fail",
        "NCCL_IB_DISABLE=1 in /etc/nccl.conf",
        "configuration",
    ),
    Case("sockets", "N08", "spark1", settings(NCCL_NET="Socket"), "fail", "NCCL_NET=Socket"),
    Case("sockets on a single node", "N08", "spark1", settings(NCCL_NET="Socket"), "fail", topology="single"),
    Case("IB on a single node", "N08", "spark1", settings(NCCL_NET="IB"), "pass", topology="single"),
    Case("disable on a single node", "N08", "spark1", settings(NCCL_IB_DISABLE="1"), "fail", topology="single"),
    Case("pinned GID", "N08", "spark1", settings(NCCL_IB_GID_INDEX="3"), "fail", "NCCL_IB_GID_INDEX=3"),
    Case("inline leftover (luxingcom#1)", "N08", "spark1", settings(NCCL_IB_USE_INLINE="1"), "fail"),
    Case("contradicts the plan", "N08", "spark1", settings(NCCL_SOCKET_IFNAME="wlP9s9"), "fail", "wlP9s9"),
    Case("a key nobody planned", "N08", "spark1", settings(NCCL_ALGO="Tree"), "degraded", "NCCL_ALGO"),
    Case("logging is harmless", "N08", "spark1", settings(NCCL_DEBUG="INFO"), "pass"),
    Case("no file", "N08", "spark1", facts(nccl_files=[]), "pass"),
    Case("files not known", "N08", "spark1", facts(nccl_files=None), "unknown"),
    Case(
        "a GPU process",
        "N09",
        "spark1",
        facts(gpu_processes=[{"pid": 4711, "used_mib": None}]),
        "unknown",
        "4711",
        "environment",
    ),
    Case("little memory", "N09", "spark1", memory(MemAvailable=4 * 1024 * 1024), "unknown", "4.0 GiB", "environment"),
    Case("memory not told", "N09", "spark1", lambda r: r.facts["spark1"]["memory_kib"].pop("MemAvailable"), "unknown"),
    Case("fatal AER", "N11", "spark1", facts(kernel_log=[AER_FATAL]), "fail", "Uncorrectable", "hardware"),
    Case("corrected AER", "N11", "spark1", facts(kernel_log=[AER_CORRECTED] * 3), "degraded", "3 corrected"),
    Case("mlx5 health", "N11", "spark1", facts(kernel_log=["mlx5_core 0000:01:00.0: health poll: FATAL"]), "fail"),
    Case("Xid", "N11", "spark1", facts(kernel_log=["NVRM: Xid (PCI:000f:01:00): 79"]), "fail"),
    Case(
        "27 W is a red herring",
        "N11",
        "spark1",
        facts(kernel_log=["mlx5_core health: insufficient power on the PCIe slot (27W)."]),
        "pass",
    ),
    Case("log not readable", "N11", "spark1", facts(kernel_log=None), "unknown"),
    Case(
        "a firmware tool", "N12", "spark1", facts(hazards=["module mstflint_access is loaded"]), "degraded", "mstflint"
    ),
    Case("a foreign netplan file", "N12", "spark1", facts(netplan_files=[OWN, NETPLAN]), "degraded", "40-cx7.yaml"),
    Case("hazards not known", "N12", "spark1", facts(hazards=None), "unknown"),
    Case("old kernel runs", "N13", "spark1", facts(newest_kernel="6.17.0-1031-nvidia"), "degraded", "1031", "software"),
    Case("reboot pending", "N13", "spark1", facts(reboot_required=True), "degraded", "a reboot is pending"),
    Case("an update is torn", "N13", "spark1", facts(ota_torn_percent=83), "fail", "83 % of the", "software"),
    Case("an update is half done", "N13", "spark1", facts(ota_torn_percent=40), "degraded", "40 % of the", "software"),
    Case("desktop packages purged (headless)", "N13", "spark1", facts(ota_torn_percent=6), "pass"),
    Case("no such tool on the node", "N13", "spark1", facts(tools={}, ota_torn_percent=None), "pass"),
    Case(
        "fwupdmgr hangs under it",
        "N13",
        "spark1",
        facts(ota_torn_percent=None, problems=["`nvidia-spark-ota-check torn-score` ended with 124"]),
        "unknown",
        "ended with 124",
    ),
    Case("torn or not is not told", "N13", "spark1", facts(ota_torn_percent=None), "unknown", "did not say"),
    Case("tools not known", "N13", "spark1", facts(tools=None), "unknown"),
    Case("newest kernel not known", "N13", "spark1", facts(newest_kernel=None), "unknown"),
    # --- half-link ---
    Case("no carrier", "L01", HALF, half(carrier=False), "fail", "no carrier on enp1s0f0np0", "hardware"),
    Case("100G cable", "L01", HALF, half(speed_mbps=100000), "fail", "speed_mbps 100000 (expected 200000)"),
    Case("two lanes", "L01", HALF, half(lanes=2), "fail", "lanes 2"),
    Case("no FEC", "L01", HALF, half(fec="None"), "fail", "fec None"),
    Case("admin down", "L01", HALF, half(operstate="down"), "fail", "is down"),
    Case("lanes not told", "L01", HALF, half(lanes=None), "unknown", "does not tell its lanes"),
    Case(
        "why they are not told",
        "L01",
        HALF,
        all_of(half(lanes=None), facts(problems=["`ethtool enp1s0f0np0` ended with 127: ethtool: command not found"])),
        "unknown",
        "does not tell its lanes: `ethtool enp1s0f0np0` ended with 127",
    ),
    Case("no lanes in the lab", "L01", HALF, half(lanes=None, fec=None), "pass", profile=LAB),
    Case("carrier not known", "L01", HALF, half(carrier=None), "unknown", "is not known"),
    Case(
        "switched off",
        "L01",
        HALF,
        half(carrier=None, operstate="down"),
        "fail",
        "enp1s0f0np0 is switched off",
        "configuration",
    ),
    Case("rdma down", "L02", HALF, rdma(state="DOWN", physical_state="POLLING"), "fail", "DOWN, POLLING", "hardware"),
    Case(
        "bound to another netdev", "L02", HALF, rdma(netdev="enP2p1s0f0np0"), "fail", "enP2p1s0f0np0", "configuration"
    ),
    Case("in another namespace", "L02", HALF, rdma(netdev=None), "unknown"),
    Case("InfiniBand", "L02", HALF, rdma(link_layer="InfiniBand"), "fail", "InfiniBand"),
    Case("no RDMA device", "L02", HALF, half(rdma=None), "unknown"),
    Case("MTU 1500", "L04", HALF, all_of(half(mtu=1500), rdma(active_mtu=1024)), "fail", "MTU 1500", "configuration"),
    Case("MTU live, RDMA not", "L04", HALF, rdma(active_mtu=1024), "fail", "1024 bytes"),
    Case("MTU not known", "L04", HALF, half(mtu=None), "unknown"),
    Case("no address", "L05", HALF, half(ipv4=[]), "fail", "has no address", "configuration"),
    Case("old address", "L05", HALF, half(ipv4=["192.168.100.10/24"]), "fail", "192.168.100.10/24"),
    Case("extra address", "L05", HALF, half(ipv4=["10.210.0.1/24", "192.168.100.10/24"]), "degraded", "besides"),
    Case(
        "extra address of another's subnet",
        "L05",
        HALF,
        half(ipv4=["10.210.0.1/24", "192.0.2.77/24"]),
        "fail",
        "enP7s7",
    ),
    Case(
        "twins in one subnet",
        "L05",
        HALF,
        second_address("enP2p1s0f0np0", "10.210.0.9/24"),
        "fail",
        "enp1s0f0np0 and enP2p1s0f0np0 are in one subnet 10.210.0.0/24",
        "configuration",
    ),
    Case("two links in one subnet", "L05", HALF, second_address("enp1s0f1np1", "10.210.0.9/30"), "fail", "enp1s0f1np1"),
    Case("a wider network around it", "L05", HALF, second_address("wlP9s9", "10.0.0.5/8"), "fail", "wlP9s9"),
    Case("IPv6 elsewhere is no twin", "L05", HALF, second_address("wlP9s9", "fd00::1/64"), "pass"),
    Case(
        "default route",
        "L05",
        HALF,
        route("default", "enp1s0f0np0"),
        "fail",
        "a default route over enp1s0f0np0",
        remedy="remove a default route over enp1s0f0np0 on spark1",
    ),
    Case("stale bond", "L05", HALF, route("10.210.0.0/24", "bond0"), "fail", "over bond0"),
    Case("address is garbage", "L05", HALF, half(ipv4=["10.210.0.1/24", "garbage"]), "unknown", "cannot be judged"),
    Case("addresses not known", "L05", HALF, facts(addresses=None), "unknown"),
    Case("address of the port not known", "L05", HALF, half(ipv4=None), "unknown", "ipv4 is not known"),
    Case(
        "why it is not known",
        "L05",
        HALF,
        facts(addresses=None, problems=[NO_IP]),
        "unknown",
        "addresses is not known: `ip -j addr` ended with 127",
    ),
    Case("no GID for the address", "L06", HALF, rdma(gids=[]), "fail", "no RoCE v2 entry", "configuration"),
    Case(
        "two GIDs",
        "L06",
        HALF,
        lambda r: half_of(r, "spark1", "p0", "a")["rdma"]["gids"].append(
            {"index": 5, "type": "RoCE v2", "netdev": "enp1s0f0np0", "gid": "", "ipv4": "10.210.0.1"}
        ),
        "degraded",
        "2 RoCE v2 entries",
    ),
    Case(
        "only RoCE v1",
        "L06",
        HALF,
        lambda r: [gid.update(type="IB/RoCE v1") for gid in half_of(r, "spark1", "p0", "a")["rdma"]["gids"]],
        "fail",
    ),
    Case("GIDs not known", "L06", HALF, rdma(gids=None), "unknown"),
    Case("lost packets", "L08", HALF, growth(packet_seq_err=3), "fail", "packet_seq_err +3", "hardware"),
    Case("CRC errors", "L08", HALF, growth(rx_crc_errors_phy=1), "fail", "rx_crc_errors_phy +1"),
    Case("corrected bits are no error", "L08", HALF, growth(rx_corrected_bits_phy=4671), "pass"),
    Case("flush errors are no error", "L08", HALF, growth(req_cqe_flush_error=32), "pass"),
    Case("congestion behind a switch", "L08", HALF, growth(packet_seq_err=3), "degraded", topology="switch"),
    Case("CRC behind a switch", "L08", HALF, growth(packet_seq_err=3, rx_crc_errors_phy=1), "fail", topology="switch"),
    Case(
        "a counter is absent",
        "L08",
        HALF,
        lambda r: r.measurements["spark1"]["counter_deltas"]["rocep1s0f0"].pop("packet_seq_err"),
        "unknown",
        "packet_seq_err",
    ),
    Case(
        "no counters",
        "L08",
        HALF,
        lambda r: r.measurements["spark1"]["counter_deltas"].pop("rocep1s0f0"),
        "unknown",
        "no error counters of rocep1s0f0",
    ),
    Case("some loss in the lab", "L08", HALF, growth(completer_retry_err=7), "pass", profile=LAB),
    Case("a lossy wire in the lab", "L08", HALF, growth(completer_retry_err=900), "fail", profile=LAB),
    Case("only runtime", "L10", HALF, facts(netplan_files=[]), "fail", "gone after a reboot", "configuration"),
    Case("only foreign", "L10", HALF, facts(netplan_files=[NETPLAN]), "fail", "40-cx7.yaml"),
    Case("ours and foreign", "L10", HALF, facts(netplan_files=[OWN, NETPLAN]), "degraded", "40-cx7.yaml"),
    Case("files not known", "L10", HALF, facts(netplan_files=None), "unknown"),
    # --- between the ends ---
    Case("large ones lost on the way", "L11", WAY, ping(received=0, rc=1), "fail", "none of 8972", "configuration"),
    Case("large ones lost at the switch", "L11", WAY, ping(received=0), "fail", "none of 8972", topology="switch"),
    Case(
        "the node itself refuses",
        "L11",
        WAY,
        ping(received=0, problem="this node itself sends no more than 1500 bytes at once"),
        "fail",
        "no more than 1500 bytes",
        "configuration",
    ),
    Case("some large ones lost", "L11", WAY, ping(received=2), "degraded", "2 packets of 8972", "hardware"),
    Case("some small ones lost", "L11", WAY, ping(small_received=1), "degraded", "1 small", "hardware"),
    Case(
        "nothing comes back, and nothing else went",
        "L11",
        WAY,
        all_of(ping(received=0, small_received=0), way(bandwidth=[])),
        "fail",
        "no ping comes back",
        "hardware",
    ),
    Case(
        "ping is not answered where data goes",
        "L11",
        WAY,
        ping(received=0, small_received=0),
        "unknown",
        "although the path carries data",
        "configuration",
    ),
    Case(
        "no ping on the node",
        "L11",
        WAY,
        ping(received=None, small_received=None, problem="ping is not installed: install the package iputils-ping"),
        "unknown",
        "iputils-ping",
        "instrument",
    ),
    Case("ping says nothing", "L11", WAY, ping(received=None), "unknown", "did not say"),
    Case("pinged with another size", "L11", WAY, ping(size_bytes=1472), "unknown", "do not fill MTU 9000"),
    Case(
        "not pinged",
        "L11",
        WAY,
        lambda r: r.measurements["spark1"].update(pings=[]),
        "unknown",
        "spark1 did not ping this path",
    ),
    Case("a probe that knows no ping", "L11", WAY, lambda r: r.measurements["spark1"].pop("pings"), "unknown"),
    Case("the sender is gone", "L11", WAY, lambda r: r.measurements.pop("spark1"), "unknown", "no measurement"),
    Case("virtual Sparks", "L11", WAY, ping(), "pass", "8972 bytes in one piece", profile=LAB),
    Case(
        "pauses without loss",
        "L13",
        HALF,
        growth(rx_prio3_pause=9),
        "degraded",
        "rx_prio3_pause +9, no",
        topology="switch",
    ),
    Case(
        "pauses with loss",
        "L13",
        HALF,
        all_of(growth(tx_pause_ctrl_phy=9), lambda r: slow(r, "spark1")),
        "fail",
        "tx_pause_ctrl_phy +9, bandwidth lost",
        "configuration",
        topology="switch",
    ),
    Case(
        "pauses, and no bandwidth to see",
        "L13",
        HALF,
        all_of(growth(tx_pause_ctrl_phy=9), lambda r: r.measurements["spark1"].update(directions=[])),
        "unknown",
        "whether bandwidth was lost is not known",
        topology="switch",
    ),
    Case(
        "pauses by design",
        "L13",
        HALF,
        lossless(rx_prio3_pause=5900, tx_prio3_pause=5900),
        "pass",
        "no more pauses than a lossless priority 3 has",
        topology="switch",
    ),
    Case("lossless without pauses", "L13", HALF, lossless(), "pass", "no pauses", topology="switch"),
    Case(
        "more pauses than are by design",
        "L13",
        HALF,
        lossless(tx_prio3_pause=5901),
        "degraded",
        "tx_prio3_pause +5901, no bandwidth lost",
        "configuration",
        topology="switch",
    ),
    Case(
        "more pauses than are by design, with loss",
        "L13",
        HALF,
        all_of(lossless(rx_prio3_pause=60000), lambda r: slow(r, "spark1")),
        "fail",
        "rx_prio3_pause +60000, bandwidth lost",
        "configuration",
        topology="switch",
    ),
    Case(
        "another priority than is lossless",
        "L13",
        HALF,
        lossless(rx_prio3_pause=9, rx_prio0_pause=1),
        "degraded",
        "rx_prio0_pause +1, no",
        topology="switch",
    ),
    Case(
        "the whole link in a lossless fabric",
        "L13",
        HALF,
        lossless(rx_pause_ctrl_phy=1),
        "degraded",
        "rx_pause_ctrl_phy +1, no",
        topology="switch",
    ),
    Case(
        "PFC is off at a node of a lossless fabric",
        "L13",
        HALF,
        all_of(lossless(), lambda r: r.measurements["spark1"]["counter_deltas"]["rocep1s0f0"].pop("tx_prio3_pause")),
        "unknown",
        "enp1s0f0np0 does not count tx_prio3_pause: is priority flow control on?",
        topology="switch",
    ),
    *(
        Case(
            f"pauses by design in {seconds!r} s",
            "L13",
            HALF,
            all_of(lossless(), lambda r, seconds=seconds: r.measurements["spark1"].update(duration_s=seconds)),
            "unknown",
            "how long spark1 measured is not known",
            topology="switch",
        )
        for seconds in (None, 0.0, "100", float("nan"))
    ),
    Case("pauses on a cable", "L13", HALF, growth(rx_pause_ctrl_phy=9), "pass", "no switch"),
    Case("pauses not counted", "L13", HALF, no_pause_counters, "unknown", "does not count pauses", topology="switch"),
    Case(
        "no counters at all",
        "L13",
        HALF,
        lambda r: r.measurements["spark1"]["counter_deltas"].pop("rocep1s0f0"),
        "unknown",
        "no error counters of rocep1s0f0",
        topology="switch",
    ),
    # --- cage ---
    Case("a 40G text on a good cable", "L12", "spark1:p0", half(), "pass", "Amphenol NJAAKK-N911 1m"),
    Case("one half tells", "L12", "spark1:p0", half(module=None), "pass", "NJAAKK-N911"),
    Case(
        "a plug without a name", "L12", "spark1:p0", plug(vendor=None, part_number=None, length=None), "pass", "QSFP28"
    ),
    Case("no half tells", "L12", "spark1:p0", no_module, "unknown", "does not tell what it is"),
    Case("garbage in the EEPROM", "L12", "spark1:p0", plug(vendor=7), "unknown", "does not tell"),
    Case("one twin down", "L03", "spark1:p0", half(carrier=False), "fail", "enP2p1s0f0np0 is up", "configuration"),
    Case("twin not known", "L03", "spark1:p0", half(carrier=None), "unknown"),
    Case(
        "p0 to p0",
        "L09",
        "spark1:p0",
        lambda r: r.discoveries.update(builders.cabled(r.plan, [(("spark1", "p0"), ("spark2", "p0"))])),
        "fail",
        "joined to spark2 p0, planned is spark2 p1",
        "configuration",
    ),
    Case(
        "unplugged",
        "L09",
        "spark1:p0",
        lambda r: r.discoveries.update(builders.cabled(r.plan, [])),
        "fail",
        "no cable seen",
    ),
    Case(
        "silent",
        "L09",
        "spark1:p0",
        lambda r: r.discoveries["spark1"].update(neighbours=[], silent=["enp1s0f0np0"]),
        "unknown",
        "nothing was heard",
    ),
    Case("did not listen", "L09", "spark1:p0", lambda r: r.discoveries.pop("spark1"), "unknown", "did not listen"),
    # --- pair ---
    Case("text and JSON differ", "P01", WAY, runs(agrees=False), "unknown", "do not agree", "instrument"),
    Case("no JSON", "P01", WAY, runs(agrees=None), "unknown", "no JSON"),
    Case("exit code", "P01", WAY, runs(rc=1), "unknown", "ib_write_bw ended with 1"),
    Case("zero with exit code 0 (CRS804)", "P01", WAY, runs(gbps=0.0), "unknown", "no measurement"),
    Case("no iterations", "P01", WAY, runs(iterations=0), "unknown", "0 iterations"),
    Case("MTU negotiated down", "P01", WAY, runs(mtu=1024), "fail", "1024 bytes", "configuration"),
    Case("fe80 GID", "P01", WAY, runs(local_ipv4=None), "fail", "from None"),
    Case("wrong device", "P01", WAY, runs(remote_ipv4="10.210.5.9"), "fail", "10.210.5.9"),
    Case("no runs", "P01", WAY, way(bandwidth=[]), "unknown", "no bandwidth run"),
    Case("peer did not come", "P01", WAY, failure("environment", "spark2 did not appear"), "unknown", "did not appear"),
    Case("the tool is broken", "P01", WAY, failure("instrument"), "unknown", "it broke"),
    Case(
        "RTR fails", "P01", WAY, failure("configuration", "Failed to modify QP to RTR"), "fail", "RTR", "configuration"
    ),
    Case("port is down", "P01", WAY, failure("hardware", "Port number 1 state is Down"), "fail", "Down", "hardware"),
    Case(
        "the server failed",
        "P01",
        WAY,
        lambda r: served(r).update(
            failure={
                "stage": "rendezvous",
                "cause": "environment",
                "message": "nobody came",
                "argv": [],
                "rc": None,
                "raw_sha256": None,
            }
        ),
        "unknown",
        "nobody came",
    ),
    Case(
        "receiver sent nothing",
        "P01",
        WAY,
        lambda r: r.measurements.pop("spark2"),
        "unknown",
        "spark2 sent no measurement",
    ),
    Case(
        "sender was busy",
        "P01",
        WAY,
        lambda r: r.measurements["spark1"].update(directions=[], skipped="busy: a process is using the GPU (pid 7)"),
        "unknown",
        "spark1 measured nothing: busy: a process is using the GPU",
        "environment",
    ),
    Case(
        "path not measured", "P01", WAY, lambda r: r.measurements["spark1"]["directions"].pop(0), "unknown", "no result"
    ),
    Case(
        "measured twice",
        "P01",
        WAY,
        lambda r: r.measurements["spark1"]["directions"].append(direction_of(r, PATH, "spark1")),
        "unknown",
    ),
    Case(
        "clamp (playbooks#108)",
        "P02",
        WAY,
        measured(13.4, 13.3, 13.3),
        "fail",
        "13.3 Gb/s, expected at least 95",
        "hardware",
    ),
    Case("MTU 1500 (NVIDIA guide)", "P02", WAY, measured(92.6, 92.57, 92.5), "degraded", "92.57 Gb/s"),
    Case("the cold first run does not decide", "P02", WAY, measured(111.9, 111.8, 111.7), "pass", "111.8 Gb/s"),
    Case("median decides", "P02", WAY, measured(111.8, 96.0, 111.7), "pass"),
    Case("runs differ", "P02", WAY, measured(111.8, 60.0, 111.7), "unknown", "differ by"),
    Case("runs differ, all bad", "P02", WAY, measured(13.0, 6.0, 20.0), "fail"),
    Case(
        "a run is missing",
        "P02",
        WAY,
        lambda r: direction_of(r, PATH, "spark1")["bandwidth"].pop(),
        "unknown",
        "2 of 3",
    ),
    Case("other queue pairs", "P02", WAY, runs(qps=1), "unknown", "4 queue pairs"),
    Case("other size", "P02", WAY, runs(size_bytes=1048576), "unknown", "65536 bytes"),
    Case("all zero", "P02", WAY, measured(0.0, 0.0, 0.0), "fail"),
    Case("runs not known", "P02", WAY, way(bandwidth=None), "unknown"),
    Case(
        "2 % loss in the lab", "P02", WAY, measured(0.024, 0.02, 0.03), "fail", "expected at least 0.048", profile=LAB
    ),
    Case("a slow run in the lab", "P02", WAY, measured(0.07, 0.12, 0.12), "pass", profile=LAB),
    Case("under the floor in the lab", "P02", WAY, measured(0.004, 0.004, 0.004), "fail", profile=LAB),
    Case("both halves", "P03", BOTH, at_once(98.0, 98.1), "pass", "196.1 Gb/s (98 + 98.1), expected at least 180"),
    Case("the least that passes", "P03", BOTH, at_once(90.0, 90.0), "pass"),
    Case("NVIDIA 189.85", "P03", BOTH, at_once(94.93, 94.92), "pass", "189.9 Gb/s"),
    Case("under the pass", "P03", BOTH, at_once(89.9, 90.0), "degraded", "179.9 Gb/s", "hardware"),
    Case("the least that is degraded", "P03", BOTH, at_once(75.0, 75.0), "degraded"),
    Case("under the degraded", "P03", BOTH, at_once(75.0, 74.9), "fail", "149.9 Gb/s", "hardware"),
    Case(
        "clamp (capetron)",
        "P03",
        BOTH,
        at_once(13.3, 13.3),
        "fail",
        "26.6 Gb/s (13.3 + 13.3), expected at least 180: a th",
    ),
    Case("clamp of both together", "P03", BOTH, at_once(6.7, 6.7), "fail", "a throttled NIC", "hardware"),
    Case("one half stops", "P03", BOTH, at_once(110.0, 0.2), "fail", "one half stops beside the other"),
    Case("one PCIe link", "P03", BOTH, at_once(55.0, 55.0), "fail", "share the PCIe link of one"),
    Case("no known number", "P03", BOTH, at_once(30.5, 30.5), "fail", "expected at least 180"),
    Case("more than a cable carries", "P03", BOTH, at_once(111.8, 111.8), "unknown", "not measured at the same time"),
    Case("median of each half", "P03", BOTH, repeats_at_once((98, 95, 98), (98, 98, 99)), "pass", "196 Gb/s"),
    Case("halves take turns", "P03", BOTH, repeats_at_once((120, 98, 76), (76, 98, 120)), "pass", "196 Gb/s"),
    Case("sums differ", "P03", BOTH, repeats_at_once((98, 50, 98), (98, 98, 98)), "unknown", "differ by 24%"),
    Case("sums differ, all bad", "P03", BOTH, repeats_at_once((13, 6, 13), (13, 13, 6)), "fail"),
    Case("zero", "P03", BOTH, at_once(98.0, 0.0), "unknown", "half b: 0 Gb/s"),
    Case(
        "a run of one half is missing",
        "P03",
        BOTH,
        lambda r: pair(r)["halves"][1]["bandwidth"].pop(),
        "unknown",
        "2 of 3",
    ),
    Case("a half is missing", "P03", BOTH, lambda r: pair(r)["halves"].pop(), "unknown", "no result for both halves"),
    Case(
        "halves of another cable", "P03", BOTH, lambda r: pair(r)["halves"][1].update(path=PATH), "unknown", "no result"
    ),
    Case("halves measured twice", "P03", BOTH, lambda r: r.measurements["spark1"]["pairs"].append(pair(r)), "unknown"),
    Case("other queue pairs at once", "P03", BOTH, runs_at_once(qps=1), "unknown", "half b: not measured with 4 queue"),
    Case("text and JSON differ at once", "P03", BOTH, runs_at_once(agrees=False), "unknown", "half b: text and JSON"),
    Case("exit code at once", "P03", BOTH, runs_at_once(rc=1), "unknown", "half b: ib_write_bw ended with 1"),
    Case(
        "another address at once",
        "P03",
        BOTH,
        runs_at_once(local_ipv4="10.9.9.9"),
        "unknown",
        "half b: ran from 10.9.9.9",
    ),
    Case(
        "one end has no GID",
        "P03",
        BOTH,
        lambda r: pair(r).update(failed_at_once("configuration", "spark2 says: no GID")),
        "fail",
        "rendezvous: spark2 says: no GID",
        "configuration",
    ),
    Case(
        "the peer says why it gave up",
        "P03",
        BOTH,
        lambda r: (
            pair(r).update(failed_at_once("environment", "spark2 has given up")),
            pair_served(r).update(failed_at_once("software", "memory cannot be registered")),
        ),
        "fail",
        "memory cannot be registered",
        "software",
    ),
    Case(
        "nobody came for both",
        "P03",
        BOTH,
        lambda r: pair(r).update(failed_at_once("environment", "no word from spark2")),
        "unknown",
        "no word from spark2",
        "environment",
    ),
    Case(
        "pair not served",
        "P03",
        BOTH,
        lambda r: r.measurements["spark2"]["pairs_served"].clear(),
        "unknown",
        "spark2 has",
    ),
    Case(
        "pairs are garbage", "P03", BOTH, lambda r: r.measurements["spark1"].update(pairs="x"), "unknown", "spark1 has"
    ),
    Case("a probe that knows no pairs", "P03", BOTH, lambda r: r.measurements["spark1"].pop("pairs"), "unknown"),
    Case("switch", "P03", BOTH, at_once(98.0, 98.0), "pass", topology="switch"),
    Case("one CPU in the lab", "P03", BOTH, at_once(0.05, 0.06), "pass", "expected at least 0.048", profile=LAB),
    Case("one CPU stands still", "P03", BOTH, at_once(0.02, 0.02), "fail", "expected at least 0.048", profile=LAB),
    Case(
        "nothing to compare with in the lab",
        "P03",
        BOTH,
        way(bandwidth=[]),
        "unknown",
        "carries alone is not known",
        profile=LAB,
    ),
    Case("4 us", "P04", WAY, latency(typical_us=4.0), "degraded", "4 us, expected at most 3"),
    Case("40 us", "P04", WAY, latency(typical_us=40.0), "fail", "40 us", "hardware"),
    Case("no time at all", "P04", WAY, latency(typical_us=0.0), "unknown", "no measurement"),
    Case("latency tool failed", "P04", WAY, latency(rc=1), "unknown", "exit code 1"),
    Case("no latency", "P04", WAY, way(latency=None), "unknown"),
    Case(
        "went inside the chip",
        "P05",
        WAY,
        way(tx_bytes={"rocep1s0f0": 0}),
        "fail",
        "rocep1s0f0 sent 0%",
        "configuration",
    ),
    Case(
        "went over another port",
        "P05",
        WAY,
        lambda r: direction_of(r, PATH, "spark1")["tx_bytes"].update(roceP2p1s0f0=10**10),
        "fail",
        "roceP2p1s0f0 sent",
    ),
    Case(
        "arrived elsewhere", "P05", WAY, lambda r: served(r).update(rx_bytes={"rocep1s0f1": 10}), "fail", "received 0%"
    ),
    Case("not counted by the sender", "P05", WAY, way(tx_bytes={"rocep1s0f0": None}), "unknown", "nobody counted"),
    Case("not counted by the receiver", "P05", WAY, lambda r: served(r).update(rx_bytes={}), "unknown", "received by"),
    Case("nothing reported", "P05", WAY, runs(iterations=0), "unknown", "nobody counted"),
    Case("server gone", "P05", WAY, lambda r: r.measurements["spark2"]["served"].clear(), "unknown", "no result"),
    Case(
        "over Wi-Fi",
        "P07",
        WAY,
        lambda r: r.facts["spark1"]["routes"].__setitem__(slice(1, None), []),
        "fail",
        "over enP7s7",
        "configuration",
    ),
    Case(
        "a narrower route wins",
        "P07",
        WAY,
        route("10.210.0.2/32", "wlP9s9"),
        "fail",
        "over wlP9s9",
        remedy="remove the route to 10.210.0.2 over wlP9s9 on spark1",
    ),
    Case("a bare address is a route", "P07", WAY, route("10.210.0.2", "wlP9s9"), "fail", "over wlP9s9"),
    Case("two equal routes", "P07", WAY, route("10.210.0.0/24", "wlP9s9"), "fail", "enp1s0f0np0 and wlP9s9"),
    Case("no route", "P07", WAY, facts(routes=[]), "fail", "over nothing"),
    Case("routes not known", "P07", WAY, facts(routes=None), "unknown", "routes is not known"),
    # --- admission ---
    Case(
        "its time was up",
        "C10",
        "spark1",
        admission("expired", "it ended; run x"),
        "degraded",
        "before this run: it ended",
    ),
    Case("first run", "C10", "spark1", admission("absent", "none was given yet"), "skipped", "none was given yet"),
    Case(
        "refused before",
        "C10",
        "spark1",
        admission("revoked", "run 1 refused: N07 spark1; repair"),
        "fail",
        "N07 spark1",
    ),
    Case("started again", "C10", "spark1", admission("different", "started again; run x"), "fail", "started again"),
    Case("no verifier", "C10", "spark1", admission("unreadable", "no answer"), "unknown", "no answer"),
    Case("not asked", "C10", "spark1", facts(admission=None), "unknown", "admission is not known"),
    Case("an unheard-of state", "C10", "spark1", admission("fine", None), "unknown", "admission is not known"),
    # --- cluster ---
    Case(
        "kernel differs",
        "C01",
        "spark1+spark2+spark3",
        facts(kernel="6.17.0-1008-nvidia"),
        "fail",
        "kernel differs",
        "software",
        remedy="bring spark1 to the DGX OS update of the others",
    ),
    Case(
        "kernel differs everywhere",
        "C01",
        "spark1+spark2+spark3",
        lambda r: [facts_.update(kernel=f"6.17.0-{name}") for name, facts_ in r.facts.items()],
        "fail",
        "kernel differs",
        remedy="bring all nodes to the same DGX OS update",
    ),
    Case(
        "tool differs", "C01", "spark1+spark2+spark3", facts(packages={"perftest": "26.01"}), "fail", "perftest differs"
    ),
    Case(
        "tool not installed",
        "C01",
        "spark1+spark2+spark3",
        facts(packages={"perftest": None}),
        "unknown",
        "perftest of spark1",
    ),
    Case("firmware not told", "C01", "spark1+spark2+spark3", rdma(fw_ver=None), "unknown", "firmware of spark1"),
    Case(
        "a member is missing",
        "C01",
        "spark1+spark2+spark3",
        lambda r: r.facts.pop("spark3"),
        "unknown",
        "not every node",
    ),
]


@pytest.mark.parametrize(
    ("rc", "cause", "want"),
    [
        pytest.param(-9, "instrument", ("unknown", "instrument"), id="server killed"),
        pytest.param(137, "instrument", ("unknown", "instrument"), id="server killed, by a shell's word"),
        pytest.param(1, "instrument", ("fail", "hardware"), id="server failed too"),
        pytest.param(-9, "environment", ("fail", "hardware"), id="server ended by us, its client had given up"),
    ],
)
def test_a_server_that_was_killed_is_no_dead_path(rc, cause, want):
    """Its client sees that nothing is acknowledged, which it calls hardware (P01, and P03 where both halves run)."""
    reading = builders.healthy_reading(builders.plan())
    ends = {"spark1": ("hardware", 1), "spark2": (cause, rc)}
    failures = {
        node: {
            "stage": "bandwidth",
            "cause": said,
            "message": "x",
            "argv": ["ib_write_bw"],
            "rc": code,
            "raw_sha256": None,
        }
        for node, (said, code) in ends.items()
    }
    builders.direction_of(reading, "spark1:p0:a-spark2:p1:a", "spark1")["failure"] = failures["spark1"]
    builders.pair_of(reading, "spark1", "spark2")["failure"] = failures["spark1"]
    for served in (*reading.measurements["spark2"]["served"], *reading.measurements["spark2"]["pairs_served"]):
        if served["from_node"] == "spark1":
            served["failure"] = failures["spark2"]
    for check_id, key in (("P01", "spark1:p0:a>spark2:p1:a"), ("P03", "spark1:p0>spark2:p1")):
        scope = CHECKS[check_id].scope
        view = next(view for view in views(scope, reading) if view.key == key)
        outcome = evaluate(CHECKS[check_id], view, parsed_limits(reading.profile)[check_id])
        assert (outcome.name, outcome.cause) == want


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}/{case.id}")
def test_check(case):
    reading = builders.healthy_reading(builders.plan(case.topology), case.profile)
    case.spoil(reading)
    key = case.key
    if case.topology == "switch":
        key = key.replace("spark2:p1", "spark2:p0")
    outcome = ask(reading, case.check, key)
    assert outcome.name == case.want, outcome.message
    assert case.says in outcome.message
    if case.cause:
        assert outcome.cause == case.cause
    assert (outcome.cause is None) == (outcome.name in ("pass", "skipped"))
    assert (outcome.remedy or ("",))[0].startswith(case.remedy)


@pytest.mark.parametrize("name", [GB10, LAB])
@pytest.mark.parametrize("topology", ["single", "direct", "triangle", "switch"])
def test_everything_passes_on_a_healthy_cluster(topology, name):
    reading = builders.soaked(builders.healthy_reading(builders.plan(topology), name))
    for check_id, limits in parsed_limits(reading.profile).items():
        for view in views(CHECKS[check_id].scope, reading):
            outcome = evaluate(CHECKS[check_id], view, limits)
            assert outcome.name == "pass", (check_id, view.key, outcome.message)


def test_the_table_asks_every_check_whether_it_can_refuse_and_stay_unknown():
    for entry in catalogue():
        if {need.partition(".")[0] for need in entry.needs} & {"rank", "ranks", "numbers", "ends"}:
            continue  # asked in test_nccl_checks.py, test_nccl_load_checks.py, test_regression.py and test_flaps.py
        wants = {case.want for case in CASES if case.check == entry.id}
        # A busy node is not bad, and what a plug says is for the record (health-checks N09, L12).
        assert entry.id in ("N09", "L12") or wants & {"fail", "degraded"}, entry.id
        assert "unknown" in wants, entry.id


@pytest.mark.parametrize(
    ("gbps", "signature"),
    [
        ((98.0, 98.0), None),
        ((13.3, 13.3), "cx7-init-clamp"),
        ((6.7, 6.7), "cx7-init-clamp"),
        ((55.0, 55.0), "one-half"),
        ((110.0, 0.2), "one-half"),
        ((80.0, 80.0), None),
    ],
)
def test_a_known_number_bears_its_name(gbps, signature):
    reading = builders.healthy_reading(builders.plan())
    at_once(*gbps)(reading)
    outcome = ask(reading, "P03", BOTH)
    assert outcome.signature == signature
    assert outcome.measured["halves_gbps"] == list(gbps)


def test_a_finding_says_what_to_do():
    for case in CASES:
        reading = builders.healthy_reading(builders.plan(case.topology), case.profile)
        case.spoil(reading)
        outcome = ask(
            reading, case.check, case.key.replace("spark2:p1", "spark2:p0") if case.topology == "switch" else case.key
        )
        assert outcome.name not in ("fail", "degraded") or outcome.remedy, case.id


def test_the_catalogue_goes_from_node_to_cluster_and_speaks():
    assert [entry.id[0] for entry in catalogue()] == sorted((e.id[0] for e in catalogue()), key="NLPC".index)
    assert all(len(entry.text) > 20 for entry in catalogue())
    assert all(set(entry.parents) <= CHECKS.keys() for entry in catalogue())


def test_a_check_needs_an_id_of_its_own_and_a_catalogue_entry():
    with pytest.raises(ValueError, match="N00 is registered twice"):
        check("N00", scope="node")(lambda view, limits: None)
    with pytest.raises(ValueError, match="no catalogue entry"):
        check("N99", scope="node")(lambda view, limits: None)
    assert "N99" not in CHECKS


def test_a_firmware_floor_refuses_what_is_older():
    reading = builders.healthy_reading(builders.plan())
    reading.profile["thresholds"]["N04"] = {"firmware": {"min_version": "28.46.0", "source": "made up for this test"}}
    assert "older than 28.46.0" in ask(reading, "N04", "spark1").message
    reading.profile["thresholds"]["N04"]["firmware"]["min_version"] = "28.5"
    assert ask(reading, "N04", "spark1").name == "pass"
