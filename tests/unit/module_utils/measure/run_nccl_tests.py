"""Run the programs of nccl-tests on one node, in a process of its own: run_nccl_tests.py FOLDER NODE PORT CONTROL_PORT."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure import nccl_programs

folder, node = Path(sys.argv[1]), sys.argv[2]
plan, profile = (json.loads((folder / f"{name}.json").read_text()) for name in ("plan", "profile"))
host = Host(folder / node, path=f"{folder / node / 'bin'}:/usr/bin:/bin")
own = folder / f"programs-{node}"
programs = nccl_programs.Programs(str(own if own.exists() else folder / "programs"))
print(json.dumps(nccl_programs.measure(host, node, plan, profile, programs, int(sys.argv[3]), int(sys.argv[4]))))
