#!/usr/bin/env python3
"""Stands in for ib_write_bw and ib_write_lat: a real TCP handshake, perftest's own output formats, no verbs.

Installed under both names. What it should do wrong is read from the JSON file FAKE_PERFTEST names:
{"rocep1s0f0": "hang"} concerns the client on that device, {"serve:rocep1s0f0": ...} the server. A port instead of a
device concerns one turn of one slot. When each client transmitted is kept in the file "transmitted".
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

TOOL = Path(sys.argv[0]).name
ROOT = Path(os.environ["FAKE_ROOT"])
BANDWIDTH = TOOL == "ib_write_bw"
LINE = "-" * 87


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
        f" TX depth        : 128\n CQ Moderation   : 1\n Mtu             : 4096[B]\n Link type       : Ethernet\n"
        f" GID index       : {option('-x')}\n Max inline data : 0[B]\n rdma_cm QPs\t : OFF\n Data ex. method : Ethernet\n"
        f"{LINE}\n{addresses}{LINE}\n"
    )


def count(name: str, packets: int) -> None:
    path = ROOT / f"sys/class/infiniband/{option('-d')}/ports/1/hw_counters/{name}"
    path.write_text(f"{int(path.read_text()) + packets}\n")


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
    connection.sendall(b"ready")
    if not connection.recv(64):
        sys.exit(" Unable to read to socket/rdma_cm")
    if BANDWIDTH:
        count("rcvd_pkts", 1000 * 16)
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
    connection.recv(64)
    begin = time.monotonic()
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
    with (ROOT / "transmitted").open("a") as log:
        log.write(f"{option('-p')} {begin} {time.monotonic()}\n")
    if wrong == "hang":
        time.sleep(300)
    if wrong == "retry exceeded":
        sys.exit(" Completion with error at client\n Failed status 12: wr_id 0 syndrom 0x81\nscnt=128, ccnt=0")
    connection.sendall(b"done")
    if BANDWIDTH:
        count("sent_pkts", 1000 * 16)
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
        gbps = 0.0 if wrong == "zero" else 111.86
        shown = f"{gbps:<7.6f}" if gbps < 0.1 else f"{gbps:<7.2f}"
        print(" WARNING: BW peak won't be measured in this run.")
        print(header(own, peer), end="")
        print(" #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]")
        print(f" {size:<7d}    {1000:<10d}       {0:<7.2f}            {shown}\t\t     {0.213352:<7.6f}")
        results = {"MsgSize": size, "n_iterations": 1000, "BW_peak": 0.0, "BW_average": gbps, "MsgRate": 0.213352}
    else:
        print(header(own, peer), end="")
        print(
            " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   99% percentile[usec]   99.9% percentile[usec] "
        )
        print(
            f" {size:<7d} {option('-n')}          1.47           4.11         1.62     \t       1.63        \t0.05   \t\t1.81    \t\t3.93   "
        )
        results = {
            "MsgSize": size,
            "n_iterations": int(option("-n")),
            "t_min": 1.47,
            "t_max": 4.11,
            "t_typical": 1.62,
            "t_avg": 1.63,
            "t_stdev": 0.05,
            "percentile_99": 1.81,
            "percentile_99.9": 3.93,
        }
    print(LINE)
    if wrong == "disagree":
        results |= {"BW_average": 11.0, "t_typical": 9.9}
    info = {"test": "RDMA_Write_BW_Test", "Device": option("-d"), "Number_of_qps": int(option("-q", "1")), "Mtu": 4096}
    if option("--out_json_file") and wrong != "no json":
        Path(option("--out_json_file")).write_text(json.dumps({"test_info": info, "results": results}))


if "--help" in sys.argv:
    print("  --out_json_file=<file>  Name of the report json file.\n  --bind_source_ip  Source IP of the interface")
elif "--version" in sys.argv:
    print("Version: 6.24")
elif sys.argv[-1].count(".") == 3 and "=" not in sys.argv[-1]:
    transmit(sys.argv[-1])
else:
    serve()
