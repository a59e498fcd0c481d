"""Both probes of one node in a process of its own: run_probe.py FOLDER NODE SILENCE_S."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure import hello, matrix
from ansible_collections.gb10.cluster.plugins.module_utils.measure.facts import node_facts

folder, node = Path(sys.argv[1]), sys.argv[2]
hello.SILENCE_S = float(sys.argv[3])
host = Host(folder / node, path=str(folder / node / "bin"))
plan, profile = (json.loads((folder / f"{name}.json").read_text()) for name in ("plan", "profile"))
facts = node_facts(host, node, ["perftest"])
print(json.dumps(facts), flush=True)
step_s = float(os.environ.get("FAKE_CLOCK_STEP", "0"))
if step_s:  # somebody sets the clock of the node in the middle of the measurement
    true_time, middle = time.time, time.monotonic() + 1
    time.time = lambda: true_time() + (step_s if time.monotonic() > middle else 0)
print(json.dumps(matrix.measure(host, node, plan, profile)))
