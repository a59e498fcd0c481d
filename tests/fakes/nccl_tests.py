"""all_gather_perf and all_reduce_perf without a GPU: prints what nccl-tests 2.19.7 does, for any size and any ranks.

Rank and number of ranks come from hydra over PMI, and all ranks wait for each other there, or from PMI_RANK and PMI_SIZE.
FAKE_NCCL_TESTS names the behaviour of a node: a JSON object, with "in" the collective that it is meant for.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

TITLE = """\
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)"""
USAGE = "USAGE: {name} \n\t[-b,--minbytes <min size in bytes>] \n\t[-c,--check <check iteration count>]"
SPEED = 23.9  # busbw of the fixture at 16 GiB


class Pmi:
    """Of PMI 1 what is needed to know who we are, and to wait for the others."""

    def __init__(self) -> None:
        self._file = None
        port = os.environ.get("PMI_PORT")
        if port is None:
            self.rank, self.size = int(os.environ["PMI_RANK"]), int(os.environ["PMI_SIZE"])
            return
        host, number = port.rsplit(":", 1)
        self._file = socket.create_connection((host, int(number))).makefile("rw", newline="\n")
        self._say(f"initack pmiid={os.environ['PMI_ID']}")
        answers = [self._file.readline() for _line in range(4)]
        found = dict(pair.split("=") for line in answers for pair in line.split()[1:] if "=" in pair)
        self.rank, self.size = int(found["rank"]), int(found["size"])
        self._say("init pmi_version=1 pmi_subversion=1")
        self._file.readline()

    def barrier(self) -> None:
        if self._file is not None:
            self._say("barrier_in")
            self._file.readline()

    def end(self) -> None:
        if self._file is not None:
            self._say("finalize")
            self._file.readline()

    def _say(self, command: str) -> None:
        self._file.write(f"cmd={command}\n")
        self._file.flush()


def numbers(size: int, ranks: int, collective: str, slow: float) -> tuple[int, int, list[float]]:
    size = size // 4 // ranks // 4 * 4 * ranks * 4
    factor = (ranks - 1) / ranks * (2 if collective == "all_reduce" else 1)
    busbw = SPEED / slow
    algbw = busbw / factor
    return size, size // 4 // (ranks if collective == "all_gather" else 1), [size / algbw / 1e3, algbw, busbw]


def main() -> int:
    name = Path(sys.argv[0]).name
    collective = name.removesuffix("_perf")
    how = json.loads(Path(os.environ["FAKE_NCCL_TESTS"]).read_text())
    how = how if how.get("in", collective) == collective else {}
    if "--help" in sys.argv:
        print(USAGE.format(name=name) + ("" if how.get("old") else " \n\t[-J,--output_file <file>]"))
        return 0
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    Path(os.environ["FAKE_NCCL_TESTS"]).with_name("seen.json").write_text(
        json.dumps({"argv": sys.argv, "environment": dict(os.environ)})
    )
    pmi = Pmi()
    if "log" in how:
        shutil.copy(how["log"], os.environ["NCCL_DEBUG_FILE"])
    if how.get("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if how.get("hang"):
        time.sleep(600)
    pmi.barrier()
    if pmi.rank == 0:
        report(name, collective, options, pmi.size, how)
    pmi.end()
    return int(how.get("rc", 0))


def report(name: str, collective: str, options: dict[str, str], ranks: int, how: dict) -> None:
    named = ranks if not how.get("alone") else 1
    print("# nccl-tests version 2.19.7 nccl-headers=23007 nccl-library=23007")
    print(f"# Collective test starting: {name}\n#\n# Using devices")
    for rank in range(named):
        print(f"#  Rank {rank:2} Group  0 Pid     62 on     spark{rank + 1} device  0 [000f:01:00] NVIDIA GB10")
    print(f"#\n{TITLE}")
    redop, rows, wrong = ("none" if collective == "all_gather" else "sum"), [], how.get("wrong", 0)
    for cycle in range(int(options["-N"])):
        size, count, (micros, algbw, busbw) = numbers(int(options["-b"]), ranks, collective, 5.0 if cycle == 0 else 1.0)
        side = f"{micros:8.2f} {algbw:7.2f} {busbw:7.2f} {wrong:7d}"
        print(f"{size:12d} {count:12d}     float  {redop:>6}      -1 {side} {side}")
        values = {"time": micros, "alg_bw": algbw, "bus_bw": busbw, "nwrong": float(wrong)}
        rows.append(
            {"size": size, "count": count, "type": "float", "redop": redop, "root": "    -1"}
            | {"out_of_place": values, "in_place": values}
        )
    if how.get("cut"):
        return
    print(f"# Out of bounds values : {wrong} {'FAILED' if wrong else 'OK'}\n# Avg bus bandwidth    : 18.1646\n#")
    if "-J" in options:
        devices = [
            {"rank": rank, "group": 0, "pid": 62, "hostname": f"spark{rank + 1}", "device": 0}
            | {"device_hex": "000f:01:00", "device_info": "NVIDIA GB10"}
            for rank in range(named)
        ]
        document = json.dumps(
            {"version": 3, "args": sys.argv, "env": ["HF_TOKEN=made-up-secret"], "nccl_version": 23007}
            | {"config": {"devices": devices}, "results": rows}
            | {"out_of_bounds": {"count": wrong, "okay": "false" if wrong else "true"}}
        )
        Path(options["-J"]).write_text(document[:200] if how.get("truncate") else document)


if __name__ == "__main__":
    sys.exit(main())
