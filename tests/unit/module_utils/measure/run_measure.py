"""Run the probe of one node in a process of its own: run_measure.py FOLDER NODE SILENCE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure import hello, matrix

folder, node = Path(sys.argv[1]), sys.argv[2]
hello.SILENCE_S = float(sys.argv[3])
host = Host(folder / node, path=f"{folder / 'bin'}:/usr/bin:/bin")
plan = json.loads((folder / node / "plan.json").read_text())
profile = json.loads((folder / "profile.json").read_text())
print(json.dumps(matrix.measure(host, node, plan, profile)))
