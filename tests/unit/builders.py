"""A healthy cluster as data, to be broken one piece at a time."""

from __future__ import annotations

import copy
import dataclasses
import functools
import typing as t
from pathlib import Path

import yaml
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import (
    BandwidthRun,
    CarrierMark,
    Direction,
    Discovery,
    HalfFacts,
    HalfPlan,
    LatencyRun,
    NcclConnection,
    NcclMeasurement,
    NcclPair,
    NcclRun,
    Neighbour,
    NodeFacts,
    Pair,
    PairServed,
    PathEnd,
    PathPlan,
    Ping,
    Plan,
    Profile,
    RdmaMeasurement,
    Served,
)
from ansible_collections.gb10.cluster.plugins.module_utils.plan.both_halves import PathWay, both_halves
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import Declaration, build_plan
from ansible_collections.gb10.cluster.plugins.module_utils.plan.hardware import HALF_PORTS, HalfPort
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.baseline import Numbers, keep
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views import Reading, measured_numbers
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.views.half import half_views

ROOT = Path(__file__).resolve().parents[2]
GB10 = "gb10-mtu9000-q4-64k"
LAB = "lab-rxe-mtu9000"

# Growth seen on healthy GB10 nodes (colonel-otto rdma-delta.json) has these names; none of them grew.
MLX5_COUNTERS = (
    "packet_seq_err",
    "out_of_sequence",
    "local_ack_timeout_err",
    "rnr_nak_retry_err",
    "req_cqe_error",
    "resp_cqe_error",
    "rx_crc_errors_phy",
)
PAUSE_COUNTERS = ("rx_prio3_pause", "tx_prio3_pause", "rx_pause_ctrl_phy", "tx_pause_ctrl_phy")
RXE_COUNTERS = (
    "retry_exceeded_err",
    "retry_rnr_exceeded_err",
    "completer_retry_err",
    "out_of_seq_request",
    "rcvd_seq_err",
)


def profile(name: str = GB10) -> Profile:
    return copy.deepcopy(_profile(name))


@functools.cache
def _profile(name: str) -> Profile:
    return t.cast("Profile", yaml.safe_load((ROOT / "profiles" / f"{name}.yml").read_text(encoding="utf-8")))


def plan(topology: str = "triangle", nodes: int | None = None, **declared: t.Any) -> Plan:
    count = nodes or {"single": 1, "direct": 2}.get(topology, 3)
    hosts = {f"spark{number}": {"ansible_host": f"192.0.2.{10 + number}"} for number in range(1, count + 1)}
    return build_plan(list(hosts), hosts, Declaration(topology, **declared))


def healthy_facts(plan: Plan) -> dict[str, NodeFacts]:
    return {name: _node_facts(plan, name) for name in plan["nodes"]}


def healthy_discoveries(plan: Plan) -> dict[str, Discovery]:
    """As the cables lie when they lie as planned."""
    if plan["topology"] == "switch":
        return {name: _behind_switch(plan, name) for name in plan["nodes"]}
    return cabled(plan, [tuple((end["device"], end["port"]) for end in link["ends"]) for link in plan["links"]])


def cabled(plan: Plan, cables: t.Sequence[t.Any]) -> dict[str, Discovery]:
    """What every node hears when these cages, ((node, cage), (node, cage)), are joined."""
    far = {end: other for one, two in cables for end, other in ((one, two), (two, one))}
    return {name: _discovery(name, far) for name in plan["nodes"]}


def healthy_measurements(
    plan: Plan, profile: Profile, gbps: float = 111.8, us: float = 1.6
) -> dict[str, RdmaMeasurement]:
    return {name: _measurement(plan, profile, name, gbps, us) for name in plan["nodes"]}


def healthy_reading(plan: Plan, profile_name: str = GB10, **changes: t.Any) -> Reading:
    lab = profile_name == LAB
    thresholds = profile(profile_name)
    measurements = healthy_measurements(plan, thresholds, *((0.12, 2400.0) if lab else (111.8, 1.6)))
    facts = healthy_facts(plan)
    if lab:
        _make_virtual(facts, measurements)
    inputs: dict[str, t.Any] = {
        "plan": plan,
        "profile": thresholds,
        "facts": facts,
        "discoveries": healthy_discoveries(plan),
        "measurements": measurements,
        "nccl": None if lab else healthy_nccl(plan, thresholds),
        "carriers": healthy_carriers(plan, facts),
    }
    inputs["baseline"] = healthy_baseline(Reading(**inputs))
    reading = Reading(**copy.deepcopy(inputs | changes))
    for kind in {"measurements", "nccl"} - changes.keys():
        measured_after(reading, getattr(reading, kind) or {})
    return reading


def measured_after(reading: Reading, measurements: t.Mapping[str, t.Any]) -> None:
    """Ten seconds after the nodes were read, in the same boot."""
    for name, measurement in measurements.items():
        facts = reading.facts.get(name)
        if isinstance(facts, dict):
            measurement |= {"boot_id": facts["boot_id"], "uptime_s": (facts["uptime_s"] or 0.0) + 10}


def healthy_baseline(reading: Reading) -> Numbers:
    """What a first run with the same numbers leaves."""
    return keep({}, measured_numbers(reading), "first", "2026-11-20T10:00:00+00:00", renew=False).numbers


def healthy_carriers(plan: Plan, facts: t.Mapping[str, NodeFacts]) -> dict[str, CarrierMark]:
    """What a first run leaves, in the same boots of the same nodes."""
    views_ = half_views(Reading(plan, profile(), facts, {}, {}))
    marks = [view.mark("first", "2026-11-20T10:00:00+00:00") for view in views_]
    return {mark["half"]: mark for mark in marks if mark is not None}


def healthy_nccl(plan: Plan, profile: Profile) -> dict[str, NcclMeasurement]:
    return {name: _nccl(plan, profile, name) for name in plan["nodes"]}


def half_of(reading: Reading, node: str, cage: str, half: str) -> HalfFacts:
    return next(entry for entry in reading.facts[node]["halves"] if (entry["cage"], entry["half"]) == (cage, half))


def direction_of(reading: Reading, path: str, sender: str) -> Direction:
    return next(entry for entry in reading.measurements[sender]["directions"] if entry["path"] == path)


def pair_of(reading: Reading, sender: str, receiver: str) -> Pair:
    return next(entry for entry in reading.measurements[sender]["pairs"] if entry["to_node"] == receiver)


def set_both_halves(reading: Reading, sender: str, receiver: str, *gbps: float) -> None:
    """Let the halves of a cable carry so much at once."""
    for half, value in zip(pair_of(reading, sender, receiver)["halves"], gbps, strict=True):
        for run in half["bandwidth"]:
            run["gbps"] = value


def set_bandwidth(reading: Reading, path: str, gbps: float, sender: str | None = None) -> None:
    """Let a path carry less, in both directions or in one."""
    for measurement in reading.measurements.values():
        for direction in measurement["directions"]:
            if direction["path"] == path and sender in (None, direction["from_node"]):
                for run in direction["bandwidth"]:
                    run["gbps"] = gbps


# --- facts ---


def _node_facts(plan: Plan, name: str) -> NodeFacts:
    node = plan["nodes"][name]
    planned = {half["netdev"]: half for half in node["halves"]}
    addresses = {half["netdev"]: [f"{half['ipv4']}/{half['prefix']}"] for half in node["halves"]}
    return {
        "schema": "1",
        "node": name,
        "hostname": name,
        "boot_id": f"boot-of-{name}",
        "uptime_s": 86400.0,
        "kernel": "6.17.0-1029-nvidia",
        "cmdline": "root=/dev/nvme0n1p2 ro",
        "architecture": "aarch64",
        "os_id": "ubuntu",
        "os_version": "24.04",
        "python": "3.12.3",
        "dmi": {"product_name": "NVIDIA_DGX_Spark"},
        "dgx_release": {"DGX_NAME": "DGX Spark"},
        "fastos_version": None,
        "gpus": [{"name": "NVIDIA GB10", "compute_cap": "12.1", "driver": "580.95.05"}],
        "gpu_processes": [],
        "memory_kib": {"MemTotal": 127600748, "MemAvailable": 120000000, "CmaTotal": 1048576, "CmaFree": 940604},
        "memlock_kib": -1,
        "uverbs": ["uverbs0", "uverbs1", "uverbs2", "uverbs3"],
        "halves": [_half_facts(plan, port, planned.get(port.netdev)) for port in HALF_PORTS],
        "addresses": {"lo": ["127.0.0.1/8"], node["mgmt_netdev"]: [f"{node['mgmt_ip']}/24"], **addresses},
        "routes": [
            {"dst": "default", "dev": node["mgmt_netdev"], "gateway": "192.0.2.1", "linkdown": False},
            *(
                {"dst": half["subnet"], "dev": half["netdev"], "gateway": None, "linkdown": False}
                for half in node["halves"]
            ),
        ],
        "lldp": [],
        "nccl_files": [{"path": "/etc/nccl.conf", "settings": dict(plan["nccl_env"].get(name, {}))}],
        "netplan_files": [
            {
                "path": "/etc/netplan/60-gb10-fabric.yaml",
                "interfaces": sorted(planned),
                "owned": True,
                "sha256": "0" * 64,
            }
        ],
        "renderer": "networkd",
        "packages": {"perftest": "24.01.0+0.38-1"},
        "tools": {"ib_write_bw": "/usr/bin/ib_write_bw", "nvidia-spark-ota-check": "/usr/bin/nvidia-spark-ota-check"},
        "reboot_required": False,
        "newest_kernel": "6.17.0-1029-nvidia",
        "ota_torn_percent": 0,
        "hazards": [],
        # On healthy nodes too, so it is part of the healthy fixture.
        "kernel_log": ["mlx5_pcie_event:326:(pid 12): Detected insufficient power on the PCIe slot (27W)."],
        "gpu_module": "580.95.05",
        "admission": {"state": "valid", "reason": None, "expires": "2026-11-30T14:20:00Z"},
        "problems": [],
    }


def _half_facts(plan: Plan, port: HalfPort, planned: HalfPlan | None) -> HalfFacts:
    cabled = planned is not None
    return {
        "netdev": port.netdev,
        "mac": "4c:bb:47:2d:1a:16",
        "driver": "mlx5_core",
        "cage": port.cage,
        "half": port.half,
        "phys_port_name": port.cage,
        "phys_switch_id": "161a2d0003474bbc4c",
        "carrier": cabled,
        "operstate": "up" if cabled else "down",
        "speed_mbps": 200000 if cabled else None,
        "lanes": 4 if cabled else None,
        "fec": "RS" if cabled else None,
        "mtu": plan["mtu"] if cabled else 1500,
        "carrier_down_count": 0,
        "ipv4": [f"{planned['ipv4']}/{planned['prefix']}"] if planned else [],
        "rdma": {
            "device": port.rdma,
            "port": 1,
            "state": "ACTIVE" if cabled else "DOWN",
            "physical_state": "LINK_UP" if cabled else "DISABLED",
            "netdev": port.netdev,
            "link_layer": "Ethernet",
            "active_mtu": 4096 if cabled else 1024,
            "fw_ver": "28.45.4028",
            "board_id": "NVD0000000087",
            "gids": [
                {
                    "index": 1,
                    "type": "RoCE v2",
                    "netdev": port.netdev,
                    "gid": "fe80::4ebb:47ff:fe2d:1a16",
                    "ipv4": None,
                },
                {"index": 3, "type": "RoCE v2", "netdev": port.netdev, "gid": "::ffff:a", "ipv4": planned["ipv4"]},
            ]
            if planned
            else [],
        },
        "pcie": {
            "address": port.pci,
            "current_speed_gts": 32.0,
            "current_width": 4,
            "max_speed_gts": 32.0,
            "max_width": 4,
        },
        "counters": dict.fromkeys(MLX5_COUNTERS, 192),
        # A good cable: its speed class is a red herring (health-checks 8).
        "module": {
            "identifier": "0x11 (QSFP28)",
            "type": "40G Ethernet: 40G Base-CR4",
            "vendor": "Amphenol",
            "part_number": "NJAAKK-N911",
            "length": "1m",
        }
        if cabled
        else None,
        "pause": {"autonegotiate": False, "rx": True, "tx": True},
    }


def _make_virtual(facts: dict[str, NodeFacts], measurements: dict[str, RdmaMeasurement]) -> None:
    """What a virtual Spark cannot tell."""
    for node in facts.values():
        node["memory_kib"] = {"MemTotal": 1000000, "MemAvailable": 600000, "CmaTotal": 0, "CmaFree": 0}
        for half in node["halves"]:
            half |= {"pcie": None, "lanes": None, "fec": None, "driver": "virtio_net", "module": None, "pause": None}
            assert half["rdma"] is not None
            half["rdma"] |= {"fw_ver": None, "board_id": None}
    for measurement in measurements.values():
        for device in measurement["counter_deltas"]:
            measurement["counter_deltas"][device] = dict.fromkeys(RXE_COUNTERS, 2) | {
                "retry_exceeded_err": 0,
                "retry_rnr_exceeded_err": 0,
            }


# --- the wire ---


def _discovery(name: str, far: t.Mapping[t.Any, t.Any]) -> Discovery:
    neighbours: list[Neighbour] = []
    down = []
    for port in HALF_PORTS:
        other = far.get((name, port.cage))
        if other is None:
            down.append(port.netdev)
            continue
        # The halves of a real cage share the wire: each hears both halves of the far cage.
        neighbours += [
            {
                "netdev": port.netdev,
                "cage": port.cage,
                "half": port.half,
                "peer_node": other[0],
                "peer_cage": other[1],
                "peer_half": half,
            }
            for half in ("a", "b")
        ]
    return {"node": name, "neighbours": neighbours, "silent": [], "down": down, "listened_s": 3.0}


def _behind_switch(plan: Plan, name: str) -> Discovery:
    own = {half["netdev"]: half for half in plan["nodes"][name]["halves"]}
    neighbours: list[Neighbour] = [
        {
            "netdev": netdev,
            "cage": half["cage"],
            "half": half["half"],
            "peer_node": port["node"],
            "peer_cage": port["cage"],
            "peer_half": half["half"],
        }
        for netdev, half in own.items()
        for port in plan["switch_ports"]
        if port["node"] != name
    ]
    down = [port.netdev for port in HALF_PORTS if port.netdev not in own]
    return {"node": name, "neighbours": neighbours, "silent": [], "down": down, "listened_s": 3.0}


# --- measurements ---


def _measurement(plan: Plan, profile: Profile, name: str, gbps: float, us: float) -> RdmaMeasurement:
    directions: list[Direction] = []
    served: list[Served] = []
    pings: list[Ping] = []
    for path in plan["paths"]:
        for sender, receiver in (path["ends"], path["ends"][::-1]):
            if sender["node"] == name:
                directions.append(_direction(profile, path, sender, receiver, gbps, us))
                pings.append(_ping(plan, path, sender, receiver))
            if receiver["node"] == name:
                served.append(_served(plan, profile, path, sender, receiver))
    ways = both_halves(plan)
    return {
        "schema": "1",
        "node": name,
        "profile": profile["name"],
        "boot_id": f"boot-of-{name}",
        "uptime_s": 86410.0,
        "clock_step_s": 0.0,
        "tool_versions": {"ib_write_bw": "6.18", "ib_write_lat": "6.18"},
        "directions": directions,
        "served": served,
        "pairs": [_pair(profile, *halves, gbps) for halves in ways if halves[0][1]["node"] == name],
        "pairs_served": [_pair_served(profile, *halves) for halves in ways if halves[0][2]["node"] == name],
        "pings": pings,
        "counter_deltas": {
            half["rdma"]: dict.fromkeys((*MLX5_COUNTERS, *PAUSE_COUNTERS), 0) for half in plan["nodes"][name]["halves"]
        },
        "skipped": None,
        "duration_s": 60.0,
    }


def _run(profile: Profile, sender: PathEnd, receiver: PathEnd, gbps: float, warmup: bool) -> BandwidthRun:
    settings = profile["bandwidth"]
    return {
        "warmup": warmup,
        "gbps": gbps,
        "iterations": 40005,
        "size_bytes": settings["size_bytes"],
        "qps": settings["qps"],
        "mtu": 4096,
        "local_ipv4": sender["ipv4"],
        "remote_ipv4": receiver["ipv4"],
        "agrees": True,
        "argv": ["ib_write_bw", "-d", sender["rdma"], receiver["ipv4"]],
        "rc": 0,
        "raw_sha256": "0" * 64,
    }


def _runs(profile: Profile, sender: PathEnd, receiver: PathEnd, gbps: float) -> list[BandwidthRun]:
    settings = profile["bandwidth"]
    # The first run is cold: a warm-up that counted would pull the median down.
    runs = [_run(profile, sender, receiver, gbps / 4, True) for _ in range(settings["warmup"])]
    return runs + [
        _run(profile, sender, receiver, gbps * (1 + index / 1000), False) for index in range(settings["repeats"])
    ]


def _direction(
    profile: Profile, path: PathPlan, sender: PathEnd, receiver: PathEnd, gbps: float, us: float
) -> Direction:
    runs = _runs(profile, sender, receiver, gbps)
    latency: LatencyRun = {
        "typical_us": us,
        "p99_us": us * 1.2,
        "iterations": profile["latency"]["iterations"],
        "size_bytes": 8,
        "argv": ["ib_write_lat"],
        "rc": 0,
        "raw_sha256": "0" * 64,
    }
    return {
        "path": path["id"],
        "from_node": sender["node"],
        "to_node": receiver["node"],
        "half": path["half"],
        "bandwidth": runs,
        "latency": latency,
        "tx_bytes": {sender["rdma"]: _bytes(runs), "rocep9s0f9": 0},
        "failure": None,
        "duration_s": 21.0,
    }


def _served(plan: Plan, profile: Profile, path: PathPlan, sender: PathEnd, receiver: PathEnd) -> Served:
    settings = profile["bandwidth"]
    count = settings["warmup"] + settings["repeats"]
    return {
        "path": path["id"],
        "from_node": sender["node"],
        "to_node": receiver["node"],
        "rx_bytes": {receiver["rdma"]: count * 40005 * settings["size_bytes"]},
        "rcs": [0] * (count + 1),
        "failure": None,
    }


def _ping(plan: Plan, path: PathPlan, sender: PathEnd, receiver: PathEnd) -> Ping:
    return {
        "path": path["id"],
        "from_node": sender["node"],
        "to_node": receiver["node"],
        "size_bytes": plan["mtu"] - 28,
        "asked": 3,
        "received": 3,
        "small_received": 3,
        "problem": None,
        "argv": ["ping", "-M", "do", "-I", sender["netdev"], receiver["ipv4"]],
        "rc": 0,
        "raw_sha256": "0" * 64,
    }


def _pair(profile: Profile, half_a: PathWay, half_b: PathWay, gbps: float) -> Pair:
    """The halves share a cable: together they carry seven eighths of what both carry alone (196 of 223.6 Gb/s)."""
    return {
        "from_node": half_a[1]["node"],
        "to_node": half_a[2]["node"],
        "halves": [
            {"path": path["id"], "half": path["half"], "bandwidth": _runs(profile, sender, receiver, gbps * 7 / 8)}
            for path, sender, receiver in (half_a, half_b)
        ],
        "failure": None,
        "duration_s": 24.0,
    }


def _pair_served(profile: Profile, half_a: PathWay, half_b: PathWay) -> PairServed:
    settings = profile["bandwidth"]
    return {
        "paths": [half_a[0]["id"], half_b[0]["id"]],
        "from_node": half_a[1]["node"],
        "to_node": half_a[2]["node"],
        "rcs": [0] * 2 * (settings["warmup"] + settings["repeats"]),
        "failure": None,
    }


def _bytes(runs: t.Sequence[BandwidthRun]) -> int:
    return sum(run["iterations"] * run["size_bytes"] for run in runs)


# --- what NCCL did ---

GATHERED = 2_000_000_000


def _nccl(plan: Plan, profile: Profile, name: str) -> NcclMeasurement:
    """A rank of a ring: it sends on its first cage and receives on its last."""
    halves = plan["nodes"][name]["halves"]
    sending = [half for half in halves if half["cage"] == halves[0]["cage"]]
    receiving = [half for half in halves if half["cage"] == halves[-1]["cage"]]
    connections: list[NcclConnection] = [
        {
            "device": half["rdma"],
            "port": 1,
            "mtu_bytes": 4096,
            "gid_index": 3,
            "ipv4": half["ipv4"],
            "queue_pairs": 2,
        }
        for half in sending
    ]
    return {
        "schema": "1",
        "node": name,
        "rank": plan["nodes"][name]["rank"],
        "world_size": len(plan["nodes"]),
        "profile": profile["name"],
        "boot_id": f"boot-of-{name}",
        "uptime_s": 86410.0,
        "clock_step_s": 0.0,
        "harness": "torch",
        "runtime": {"kind": "docker", "image": "vllm:1", "image_id": "sha256:98", "python": "python3"},
        "torch": "2.11.0+cu130",
        "library": {
            "version": "2.30.7",
            "headers": "2.30.7",
            "path": "/usr/local/lib/python3.12/dist-packages/nvidia/nccl/lib/libnccl.so.2",
            "build_id": "a7f420a1c09e4f3d",
            "size_bytes": 219000000,
            "subnet_aware_routing": True,
            "others": [],
        },
        "inside": {
            "memlock_kib": -1,
            "uverbs": ["uverbs0", "uverbs1", "uverbs2", "uverbs3"],
            "verbs_library": True,
            "nccl_files": [],
            "environment": {"NCCL_VERSION": "2.28.9-1"},  # of the image that nvidia/cuda's is made from
        },
        # 2400 MHz and more, 35-90 W on healthy nodes (spark-facts 5).
        "gpu_load": {
            "seconds": 10.02,
            "samples": 9,
            "clock_mhz": 2411.0,
            "power_w": 57.2,
            "utilisation": 97.0,
            "problem": None,
        },
        "runs": _nccl_runs(profile, len(plan["nodes"])),
        "pairs": _nccl_pairs(plan, profile, name),
        "soak": None,
        "left_out": [],
        "tx_bytes": {half["rdma"]: GATHERED if half in sending else 5000 for half in halves},
        "rx_bytes": {half["rdma"]: GATHERED if half in receiving else 5000 for half in halves},
        "log": {
            "version": "2.30.7+cuda13.3",
            "init_complete": True,
            "networks": ["IB"],
            "plugins": ["IB"],
            "external_plugins": [],
            "transports": {"NET/IB": 8},
            "hcas": [],
            "merged_devices": [],
            "bootstrap": {"name": plan["nodes"][name]["mgmt_netdev"], "address": plan["nodes"][name]["mgmt_ip"]},
            "queue_pairs": [
                {
                    "device": half["rdma"],
                    "sender": 2 if half in sending else 0,
                    "receiver": 2 if half in receiving else 0,
                    "undirected": 0,
                }
                for half in halves
            ],
            "connections": connections,
            "overrides": [],
            "findings": [],
            "env": {},
            "void": False,
            "folded": False,
            "lines": 56,
            "sha256": "b" * 64,
        },
        "pair_transports": {"NET/IB": 8} if len(plan["nodes"]) > 2 else {},
        "failure": None,
        "skipped": None,
        "duration_s": 24.1,
    }


def _nccl_runs(profile: Profile, ranks: int) -> list[NcclRun]:
    """Three healthy ranks gather 64 MiB at 5.8 GB/s, two at 9.4. A warm-up is slow, a larger size is faster."""
    settings = profile["nccl"]
    at_64_mib = {2: 9.4}.get(ranks, 5.8)
    return [
        {
            "collective": collective,
            "size_bytes": size - size % (16 * max(ranks, 1)),
            "warmup": number < settings["warmup"],
            "iterations": settings["iterations"],
            "seconds": 0.0077,
            "algbw_gbs": 8.7,
            "busbw_gbs": (at_64_mib if size < 1 << 28 else 15.0) * (0.25 if number < settings["warmup"] else 1),
            "wrong": 0,
        }
        for size in settings["sizes_bytes"]
        for collective in ("all_gather", "all_reduce")
        for number in range(settings["warmup"] + settings["repeats"])
    ]


def _nccl_pairs(plan: Plan, profile: Profile, name: str) -> list[NcclPair]:
    """Each pair of more than two, at the smaller size: 9.4 GB/s (health-checks 2.4)."""
    if len(plan["nodes"]) <= 2:
        return []
    size = profile["nccl"]["pair_sizes_bytes"][0]
    runs = [r for r in _nccl_runs(profile, 2) if (r["collective"], r["size_bytes"]) == ("all_gather", size)]
    return [{"peer": peer, "runs": copy.deepcopy(runs)} for peer in plan["nodes"] if peer != name]


def soaked(reading: Reading, seconds: int = 600) -> Reading:
    """The same after a soak on all nodes, clean."""
    for measurement in (reading.nccl or {}).values():
        halves = reading.plan["nodes"][measurement["node"]]["halves"]
        measurement["soak"] = {
            "seconds": seconds + 0.2,
            "rounds": 1900,
            "wrong": 0,
            "samples": [
                {"clock_mhz": 2411.0, "power_w": 52.0, "utilisation": 96.0, "pstate": "P0"}
                for _sample in range(seconds // 5)
            ],
            "counter_deltas": {half["rdma"]: dict.fromkeys(MLX5_COUNTERS, 0) for half in halves},
            "problem": None,
        }
    return dataclasses.replace(reading, soak_s=seconds)


def by_nccl_tests(reading: Reading) -> Reading:
    """The same cluster measured with the programs of nccl-tests: 22 GB/s of three ranks, 20 of two at 1 GiB."""
    settings = reading.profile["nccl_tests"]
    for measurement in (reading.nccl or {}).values():
        measurement["harness"], measurement["torch"], measurement["gpu_load"] = "nccl_tests", None, None
        measurement["runtime"] = {"kind": "host", "image": None, "image_id": None, "python": "/opt/nccl-tests"}
        ranks = len(reading.plan["nodes"])
        measurement["runs"] = [
            run
            for name in ("all_gather", "all_reduce")
            for run in _cycles(settings, name, ranks, 22.0 if ranks > 2 else 20.0)
        ]
        for pair in measurement["pairs"]:
            pair["runs"] = _cycles(settings, "all_gather", 2, 20.0)
    reading = dataclasses.replace(reading, harness="nccl_tests")
    return dataclasses.replace(reading, baseline=healthy_baseline(reading))


def _cycles(settings: t.Any, collective: t.Any, ranks: int, busbw: float) -> list[NcclRun]:
    """A cold cycle read 4.81 for 19.78 (health-checks 3.5)."""
    return [
        {
            "collective": collective,
            "size_bytes": size - size % (16 * ranks),
            "warmup": number < settings["warmup"],
            "iterations": settings["iterations"],
            "seconds": 0.036,
            "algbw_gbs": 30.0,
            "busbw_gbs": busbw * (0.25 if number < settings["warmup"] else 1),
            "wrong": 0,
        }
        for size in settings["sizes_bytes"]
        for number in range(settings["warmup"] + settings["repeats"])
    ]
