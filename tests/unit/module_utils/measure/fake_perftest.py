#!/usr/bin/env python3
"""Stands in for ib_write_bw and ib_write_lat: a real TCP handshake, perftest's own output formats, no verbs.

Installed under both names. What it should do wrong is read from the JSON file FAKE_PERFTEST names:
{"rocep1s0f0": "hang"} concerns the client on that device, {"serve:rocep1s0f0": ...} the server. A port instead of a
device concerns one turn of one slot. At the ports FAKE_AT_ONCE lists two halves share a cable. When each client transmitted is kept in the file "transmitted".
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

TOOL = Path(sys.argv[0]).name
ROOT = Path(os.environ["FAKE_ROOT"])
BANDWIDTH = TOOL == "ib_write_bw"
LINE = "-" * 87
RETRY_EXCEEDED = " Completion with error at client\n Failed status 12: wr_id 0 syndrom 0x81\nscnt=128, ccnt=0"


def option(name: str, default: str = "") -> str:
    arguments = sys.argv[1:]
    for position, argument in enumerate(arguments):
        if argument == name:
            return arguments[position + 1]
        if argument.startswith(name + "="):
            return argument.split("=", 1)[1]
    return default


def behaviour(end: str = "") -> str:
    wrong = json.loads(Path(os.environ["FAKE_PERFTEST"]).read_text())
    return wrong.get(end + option("-d"), "") or wrong.get(end + option("-p"), "")


def decimal_gid(address: str) -> str:
    if behaviour() == "link-local":
        return "254:128:00:00:00:00:00:00:78:187:71:255:254:45:26:22"
    return ":".join(f"{octet:02d}" for octet in [0] * 10 + [255, 255] + [int(part) for part in address.split(".")])


def spend(name: str) -> bool:
    """Whether a fault that happens a limited number of times has one left: "clock 2"."""
    store = ROOT / f"spent {option('-d')}"
    spent = int(store.read_text()) if store.exists() else 0
    store.write_text(str(spent + 1))
    return spent < int(name.split()[1])


def header(own: str, peer: str) -> str:
    name = "BW" if BANDWIDTH else "Latency"
    addresses = ""
    for _ in range(int(option("-q", "1"))):
        addresses += f" local address: LID 0000 QPN 0x0011 PSN 0xeb9c9c RKey 0x000275 VAddr 0x007f6d6ee9d000\n GID: {decimal_gid(own)}\n"
    for _ in range(int(option("-q", "1"))):
        addresses += f" remote address: LID 0000 QPN 0x0011 PSN 0x55dec1 RKey 0x000275 VAddr 0x007f2a34c5e000\n GID: {decimal_gid(peer)}\n"
    return (
        f"{LINE}\n                    RDMA_Write {name} Test\n"
        f" Dual-port       : OFF\t\tDevice         : {option('-d')}\n"
        f" Number of qps   : {option('-q', '1')}\t\tTransport type : IB\n"
        " Connection type : RC\t\tUsing SRQ      : OFF\n PCIe relax order: ON\n ibv_wr* API     : OFF\n"
        f" TX depth        : 128\n CQ Moderation   : 1\n Mtu             : {1024 if behaviour() == 'small packets' else 4096}[B]\n Link type       : Ethernet\n"
        f" GID index       : {option('-x')}\n Max inline data : 0[B]\n rdma_cm QPs\t : OFF\n Data ex. method : Ethernet\n"
        f"{LINE}\n{addresses}{LINE}\n"
    )


def add(device: str, counter: str, growth: int) -> None:
    path = ROOT / f"sys/class/infiniband/{device}/ports/1/{counter}"
    path.write_text(f"{int(path.read_text()) + growth}\n")


def count(name: str, packets: int, device: str) -> None:
    """Packets as rxe counts them; where there are counters of mlx5, words of four bytes."""
    words = {"sent_pkts": "counters/port_xmit_data", "rcvd_pkts": "counters/port_rcv_data"}[name]
    if (ROOT / f"sys/class/infiniband/{device}/ports/1/{words}").exists():
        add(device, words, packets * 4096 // 4)
    else:
        add(device, f"hw_counters/{name}", packets)


def serve() -> None:
    wrong = behaviour("serve:")
    if wrong == "fail":
        sys.exit("Couldn't listen to port")
    listener = socket.create_server((option("--bind_source_ip"), int(option("-p"))))
    print(
        "\n************************************\n* Waiting for client to connect... *\n************************************"
    )
    connection, address = listener.accept()
    if wrong == "hang":
        time.sleep(300)
    connection.recv(64)
    if wrong == "killed" and BANDWIDTH:
        os.kill(os.getpid(), signal.SIGKILL)
    connection.sendall(b"ready")
    if not connection.recv(64):
        sys.exit(" Unable to read to socket/rdma_cm")
    if BANDWIDTH:
        count("rcvd_pkts", 1000 * 16, option("-d"))
    print(header(option("--bind_source_ip"), address[0]) + LINE)


def transmit(peer: str) -> None:
    wrong = behaviour()
    own = option("--bind_source_ip")
    try:
        if wrong == "no route":
            raise OSError
        connection = socket.create_connection((peer, int(option("-p"))), source_address=(own, 0))
    except OSError:
        sys.exit(
            f"Couldn't connect to {peer}:{option('-p')}\nUnable to open file descriptor for socket connection\n Unable to init the socket connection"
        )
    connection.sendall(b"hello")
    gone = not connection.recv(64)
    begin = time.monotonic()
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
    with (ROOT / "transmitted").open("a") as log:
        log.write(f"{option('-p')} {begin} {time.monotonic()}\n")
    if wrong in ("hang", "deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN if wrong == "deaf" else signal.SIG_DFL)
        time.sleep(300)
    if wrong == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if gone or wrong == "retry exceeded":  # nobody acknowledges what is sent to a server that is no more
        sys.exit(RETRY_EXCEEDED)
    connection.sendall(b"done")
    if BANDWIDTH:
        count("sent_pkts", 1000 * 16, wrong.partition("astray ")[2] or option("-d"))
    if wrong.startswith("errors "):
        add(option("-d"), f"hw_counters/{wrong.split()[1]}", int(wrong.split()[2]))
    if wrong.startswith("clock") and spend(wrong):
        print("Correlation coefficient r^2: 0.843015 < 0.9", file=sys.stderr)
        wrong = "zero"
    if wrong == "garbage":
        print("Segmentation fault is near \x00 �")
    else:
        report(own, peer, wrong)


def report(own: str, peer: str, wrong: str) -> None:
    size = int(option("-s"))
    if BANDWIDTH:
        healthy = 97.5 if option("-p") in os.environ.get("FAKE_AT_ONCE", "").split() else 111.86
        gbps = {"zero": 0.0, "clamp": 13.33, "one iteration": 0.011185}.get(wrong, healthy)
        iterations = 1 if wrong == "one iteration" else 1000
        unit = {"megabytes": "MB/sec", "no unit": "furlongs/sec"}.get(wrong, "Gb/sec")
        shown = f"{gbps:<7.6f}" if gbps < 0.1 else f"{gbps:<7.2f}"
        print(" WARNING: BW peak won't be measured in this run.")
        print(header(own, peer), end="")
        print(f" #bytes     #iterations    BW peak[{unit}]    BW average[{unit}]   MsgRate[Mpps]")
        row = f" {size:<7d}    {iterations:<10d}       {0:<7.2f}            {shown}\t\t     {0.213352:<7.6f}"
        print(*[row] * {"two rows": 2, "no row": 0}.get(wrong, 1), sep="\n")
        results = {"MsgSize": size, "n_iterations": iterations, "BW_peak": 0.0, "BW_average": gbps, "MsgRate": 0.213352}
    else:
        typical = 9.11 if wrong == "slow answers" else 1.62
        print(header(own, peer), end="")
        print(
            " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec] "
        )
        print(
            f" {size:<7d} {option('-n')}          1.47           4.11         {typical}     \t       1.63        \t0.05   \t\t1.81    \t\t3.93   "
        )
        results = {
            "MsgSize": size,
            "n_iterations": int(option("-n")),
            "t_min": 1.47,
            "t_max": 4.11,
            "t_typical": typical,
            "t_avg": 1.63,
            "t_stdev": 0.05,
            "percentile_99": 1.81,
            "percentile_99.9": 3.93,
        }
    print(LINE)
    if wrong == "disagree":
        results |= {"BW_average": 11.0, "t_typical": 9.9}
    mtu = 1024 if wrong == "small packets" else 4096
    info = {"test": "RDMA_Write_BW_Test", "Device": option("-d"), "Number_of_qps": int(option("-q", "1")), "Mtu": mtu}
    if option("--out_json_file") and wrong != "no json":
        text = json.dumps({"test_info": info, "results": results})
        # Before 24.01 keys stood there without quotes (health-checks 3.4).
        text = (
            text.replace('"', "") if wrong == "old json" else text[: len(text) // 2] if wrong == "half json" else text
        )
        Path(option("--out_json_file")).write_text(text)


if "--help" in sys.argv:
    print("  --out_json_file=<file>  Name of the report json file.\n  --bind_source_ip  Source IP of the interface")
elif "--version" in sys.argv:
    print("Version: 6.24")
elif sys.argv[-1].count(".") == 3 and "=" not in sys.argv[-1]:
    transmit(sys.argv[-1])
else:
    serve()
