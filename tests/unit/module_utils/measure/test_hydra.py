"""A real MPI program by a real hydra: three ranks on loopback addresses, no SSH."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure import hydra
from ansible_collections.gb10.cluster.plugins.module_utils.measure.results import Broken

ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
# Constants of MPICH's ABI (mpi.h): MPI_COMM_WORLD, MPI_INT, MPI_SUM.
# More than once, as nccl-tests do: MPICH 4.0.2 over UCX 1.13 hangs in MPI_Finalize when its TCP connections are still being
# made (seen in 19 of 30 runs with one reduction, in none of 60 with these).
SUM_OF_RANKS = """
import ctypes, time
mpi = ctypes.CDLL("libmpich.so.12")
world, integer, add = 0x44000000, 0x4C000405, 0x58000003
rank, sum_of_all = ctypes.c_int(), ctypes.c_int()
mpi.MPI_Init(None, None)
mpi.MPI_Comm_rank(world, ctypes.byref(rank))
for _ in range(20):
    mpi.MPI_Allreduce(ctypes.byref(rank), ctypes.byref(sum_of_all), 1, integer, add, world)
    time.sleep(0.01)
print(f"rank {rank.value} sum {sum_of_all.value}", flush=True)
mpi.MPI_Finalize()
"""

needs_mpich = pytest.mark.skipif(
    shutil.which(hydra.MPIEXEC) is None, reason="mpiexec.hydra is not installed: install mpich to run it for real"
)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@needs_mpich
def test_three_ranks_reduce_over_tcp(tmp_path: Path, port: int) -> None:
    program = tmp_path / "sum.py"
    program.write_text(SUM_OF_RANKS)
    host = Host()
    over_tcp = {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "lo", "FI_PROVIDER": "tcp", "FI_TCP_IFACE": "lo"}
    environment = hydra.inherited(os.environ) | over_tcp
    launcher = hydra.launch(host, ADDRESSES, [sys.executable, "-I", str(program)], port, 60)
    proxies = [hydra.join(host, ADDRESSES[0], port, number, "lo", environment, 60) for number in range(3)]
    result = launcher.wait(60)
    assert (result.rc, [proxy.wait(10).rc for proxy in proxies]) == (0, [0, 0, 0])
    assert sorted(hydra.output(result.stdout).splitlines()) == ["rank 0 sum 3", "rank 1 sum 3", "rank 2 sum 3"]


@needs_mpich
def test_a_rank_does_not_outlive_a_proxy_that_is_killed(tmp_path: Path, port: int) -> None:
    host, mark = Host(), tmp_path / "pid"
    launcher = hydra.launch(host, ADDRESSES[:1], ["/bin/sh", "-c", f"echo $$ > {mark}; exec sleep 600"], port, 60)
    proxy = hydra.join(host, ADDRESSES[0], port, 0, "lo", hydra.inherited(os.environ), 60)
    until = time.monotonic() + 30
    while not (mark.exists() and mark.read_text().strip()) and time.monotonic() < until:
        time.sleep(0.05)
    pid = int(mark.read_text())
    proxy.kill()
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    launcher.kill()
    assert not Path(f"/proc/{pid}").exists()


def test_a_port_that_is_taken_is_named(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Broken, match=f"TCP port {port} is taken"):
        hydra.launch(Host(), ADDRESSES, ["true"], port, 10)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(
            "=   PID 21428 RUNNING AT 127.0.0.2\n=   EXIT CODE: 9\n", ("127.0.0.2", "exit code: 9"), id="real-4.0.2"
        ),
        pytest.param(
            "=   RANK 2 PID 7 RUNNING AT 192.0.2.3\n=   KILLED BY SIGNAL: 9 (Killed)\n",
            ("192.0.2.3", "killed by signal: 9 (killed)"),
            id="synthetic-later",
        ),
        pytest.param("all is well\n", None, id="nothing"),
    ],
)
def test_the_rank_that_ended_first_is_found(text: str, found: tuple[str, str] | None) -> None:
    assert hydra.ended_first(text) == found


def test_of_the_output_only_what_ranks_print_is_left() -> None:
    assert hydra.output("HYDRA_LAUNCH: proxy --proxy-id 0\nHYDRA_LAUNCH_END\n# nccl-tests\n") == "# nccl-tests\n"


def test_the_login_brings_no_setting_along() -> None:
    given = {"PATH": "/bin", "NCCL_IB_DISABLE": "1", "MPIEXEC_PORT_RANGE": "1:2", "UCX_TLS": "rc", "HOME": "/root"}
    assert hydra.inherited(given) == {"PATH": "/bin", "HOME": "/root"}
