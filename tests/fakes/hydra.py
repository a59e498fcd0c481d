"""mpiexec.hydra and hydra_pmi_proxy where MPICH is not installed: as much of them as `-launcher manual` takes.

The launcher opens its port, tells every proxy that comes what to run, prints what the ranks print and ends with the
first status that is not 0; then the proxies kill what still runs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

BAD = """
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 1 RUNNING AT {where}
=   EXIT CODE: {rc}
==================================================================================="""


def launcher(argv: list[str]) -> int:
    hosts = argv[argv.index("-hosts") + 1].split(",")
    command = argv[argv.index("-n") + 2 :]
    listener = socket.create_server(("0.0.0.0", int(os.environ["MPIEXEC_PORT_RANGE"].split(":")[0])))  # as hydra does
    print("HYDRA_LAUNCH: hydra_pmi_proxy\nHYDRA_LAUNCH_END", flush=True)
    proxies = [listener.accept()[0].makefile("rw") for _host in hosts]
    listener.close()
    for proxy in proxies:
        number = int(proxy.readline())
        proxy.write(json.dumps({"argv": command, "rank": number, "size": len(hosts)}) + "\n")
        proxy.flush()
    status = threading.Semaphore(0)
    ended: list[tuple[int, int]] = []

    def follow(proxy) -> None:
        done = json.loads(proxy.readline() or '{"rank": 0, "rc": 1, "out": ""}')
        print(done["out"], end="", flush=True)
        ended.append((done["rank"], done["rc"]))
        status.release()

    for proxy in proxies:
        threading.Thread(target=follow, args=[proxy], daemon=True).start()
    for _proxy in proxies:
        status.acquire()
        rank, rc = ended[-1]
        if rc:
            print(BAD.format(where=hosts[rank], rc=abs(rc)), flush=True)
            os._exit(abs(rc))
    return 0


def proxy(argv: list[str]) -> int:
    options = dict(zip(argv[::2], argv[1::2], strict=True))
    host, port = options["--control-port"].split(":")
    wire = socket.create_connection((host, int(port)))
    file = wire.makefile("rw")
    file.write(options["--proxy-id"] + "\n")
    file.flush()
    task = json.loads(file.readline())
    environment = os.environ | {"PMI_RANK": str(task["rank"]), "PMI_SIZE": str(task["size"])}
    rank = subprocess.Popen(task["argv"], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def until_it_closes() -> None:
        file.readline()
        if rank.poll() is None:
            os.killpg(rank.pid, signal.SIGKILL)

    threading.Thread(target=until_it_closes, daemon=True).start()
    out = rank.communicate()[0]
    file.write(json.dumps({"rank": task["rank"], "rc": rank.returncode, "out": out}) + "\n")
    file.flush()
    return 0


if __name__ == "__main__":
    sys.exit({"mpiexec.hydra": launcher, "hydra_pmi_proxy": proxy}[Path(sys.argv[0]).name](sys.argv[1:]))
