"""Both probes of one node in a process of its own: run_probe.py FOLDER NODE SILENCE_S."""

from __future__ import annotations

import json
import sys
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
print(json.dumps(matrix.measure(host, node, plan, profile)))
