"""Run the rank of one node in a process of its own: run_nccl.py FOLDER NODE RUNTIME PORT SOAK_S."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl import measure
from ansible_collections.gb10.cluster.plugins.module_utils.measure.nccl_runtime import Docker, Venv

folder, node, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[4])
runtime = Docker("vllm:1") if sys.argv[3] == "docker" else Venv(str(folder / node / "bin/python"))
plan, profile = (json.loads((folder / f"{name}.json").read_text()) for name in ("plan", "profile"))
host = Host(folder / node, path=f"{folder / node / 'bin'}:/usr/bin:/bin")
print(json.dumps(measure(host, node, plan, profile, runtime, port, int(sys.argv[5]))))
