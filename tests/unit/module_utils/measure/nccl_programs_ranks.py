"""Three nodes on loopback addresses that run fake programs of nccl-tests, by a real hydra or a fake one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ansible_collections.gb10.cluster.plugins.module_utils.host import Host
from ansible_collections.gb10.cluster.plugins.module_utils.measure import nccl_programs
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.module_utils.measure.nccl_ranks import (
    FAKES,
    GPU,
    NODES,
    RankProcesses,
    free_port,
)

HERE = Path(__file__).parent
PROGRAMS = ("all_gather_perf", "all_reduce_perf")
LINKED = "\tlibmpich.so.12 => /lib/libmpich.so.12 (0x1)\n\tlibnccl.so.2 => {library} (0x2)\n"


class ProgramRanks(RankProcesses):
    def __init__(self, folder: Path, real: bool) -> None:
        super().__init__(folder)
        self.plan = builders.plan("triangle")
        for number, node in enumerate(self.plan["nodes"].values()):
            node["mgmt_ip"] = f"127.0.0.{number + 1}"
            node["mgmt_netdev"] = "lo"
        self.settings = {"sizes_bytes": [4096], "pair_sizes_bytes": [], "iterations": 2, "warmup": 1, "repeats": 2}
        self.settings |= {"timeout_s": 60}
        self.profile = builders.profile() | {"rendezvous_s": 40, "thresholds": {}}
        python = f"{os.path.realpath(sys.executable)} -IS"
        (folder / "programs").mkdir()
        for name in PROGRAMS:
            text = (FAKES / "nccl_tests.py").read_text()
            self.script(folder / "programs" / name, f"#!{python}\n{text}")
        self.library = folder / "libnccl.so.2"
        self.library.write_bytes(b"no ELF, but linked: NCCL_IB_SUBNET_AWARE_ROUTING")
        for node in NODES:
            for part in ("bin", "proc", "tmp", "run"):
                (folder / node / part).mkdir(parents=True)
            (folder / node / "proc/net").symlink_to("/proc/net")
            self.memory(node, 1 << 20)
            self.command(node, "nvidia-smi", GPU)
            self.command(node, "ldd", f"printf '%s' '{LINKED.format(library=self.library)}'")
            self.behave(node)
            for name in () if real else ("mpiexec.hydra", "hydra_pmi_proxy"):
                self.script(folder / node / "bin" / name, f"#!{python}\n{(FAKES / 'hydra.py').read_text()}")

    def seen(self, node: str) -> dict:
        """What the last program on a node was given."""
        return dict(json.loads((self.folder / node / "seen.json").read_text()))

    def _write(self) -> None:
        (self.folder / "plan.json").write_text(json.dumps(self.plan))
        (self.folder / "profile.json").write_text(json.dumps(self.profile | {"nccl_tests": self.settings}))

    def start(self, *nodes: str, environment: dict[str, str] | None = None) -> None:
        self._write()
        ports = [str(free_port()), str(free_port())]
        for node in nodes or NODES:
            argv = [str(HERE / "run_nccl_tests.py"), str(self.folder), node, *ports]
            fake = {"FAKE_NCCL_TESTS": str(self.folder / node / "behaviour.json")}
            self.launch(node, argv, fake | (environment or {}))

    def run(self, *nodes: str, **options) -> dict[str, dict]:
        self.start(*nodes, **options)
        return self.results()

    def here(self, node: str) -> dict:
        """One rank in this process, for what ends before the others matter."""
        host = Host(self.folder / node, path=f"{self.folder / node / 'bin'}:/usr/bin:/bin")
        programs = nccl_programs.Programs(str(self.folder / "programs"))
        profile = json.loads(json.dumps(self.profile | {"nccl_tests": self.settings}))
        return dict(nccl_programs.measure(host, node, self.plan, profile, programs, free_port(), free_port()))
