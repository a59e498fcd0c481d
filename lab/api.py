"""The lab as an object: what the command line does, and what the end-to-end tests do to inject faults.

lab = Lab.current()
lab.unplug("spark2:p0"); lab.half("spark1:p0:a", on=False); lab.loss("spark1:p0:a", 0.05); lab.power("spark3", on=False)
lab.run("spark1", ["ip", "-br", "link"]).stdout
lab.restore()      # cables, halves, losses as `up` made them; nodes with power
lab.reset()        # the nodes too: back to the pristine snapshot, in seconds
lab.keep()         # as they are now is what `reset` goes back to
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from lab import accel, image, inventory, snapshot
from lab.cabling import SWITCH, Cabling, Impairment, cables_for
from lab.errors import LabError
from lab.identity import MANAGEMENT, Node
from lab.identity import nodes as make_nodes
from lab.image import READY_MARKER, Image
from lab.machine import Files, free_ports, gateway_command, link_id, nic_names, node_command, spawn
from lab.panel import PanelClient, nic_link
from lab.progress import Step
from lab.qmp import Qmp
from lab.snapshot import BOOT_SECONDS, Snapshot
from lab.state import State, Store, exclusive

GATEWAY = "gateway"
PANEL = "panel"
KEPT = "kept"
CHECKOUT = Path(__file__).resolve().parent.parent
SSH_PATIENCE = 60


def cache_folder() -> Path:
    """Images and snapshots, shared by all checkouts of a user."""
    chosen = os.environ.get("GB10_LAB_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "gb10-lab"


class Lab:
    """A running lab of one checkout."""

    def __init__(self, checkout: Path, store: Store, state: State) -> None:
        self.checkout = checkout
        self.state = state
        self._store = store
        self._run = Path(state.run)
        self._panel = PanelClient(self._run / PANEL)

    # --- start and end ---

    @classmethod
    def current(cls, checkout: Path = CHECKOUT) -> Lab:
        """The lab that runs in this checkout."""
        store = Store(checkout / ".lab")
        state = store.load()
        if state is None or not state.alive(PANEL):
            raise LabError("No lab is running in this checkout; start one with `make lab-up` or `python -m lab up`.")
        return cls(checkout, store, state)

    @classmethod
    def last(cls, checkout: Path = CHECKOUT) -> Lab:
        """The lab that was started last, whether or not it still runs: for taking it down."""
        store = Store(checkout / ".lab")
        state = store.load()
        if state is None:
            raise LabError("No lab was started in this checkout.")
        return cls(checkout, store, state)

    @classmethod
    def up(cls, topology: str, count: int, cabling: str = "planned", checkout: Path = CHECKOUT) -> Lab:
        """Start a lab from pristine nodes. One that already runs as asked is left as it is."""
        cables = cables_for(topology, count, cabling)
        store = Store(checkout / ".lab")
        with store.lock():
            state = store.load()
            if state is not None and _runs(state, topology, count, cabling):
                print(f"The lab is up already: {describe(state)}.", file=sys.stderr)
                return cls(checkout, store, state)
            if state is not None:
                _end(checkout, store, state)
            members = make_nodes(count)
            made, accelerator, snapshots = _ensure(members)
            ports = dict(zip([node.name for node in members], free_ports(count), strict=True))
            state = State(topology, cabling, tempfile.mkdtemp(prefix="gb10-lab-"), ports)
            state.image = str(made.folder)
            state.accelerator, state.accelerator_arguments = accelerator.name, list(accelerator.arguments)
            state.snapshots = {name: str(kept.folder) for name, kept in snapshots.items()}
            state.cabling = Cabling([node.name for node in members], cables)
            lab = cls(checkout, store, state)
            try:
                lab._start(members, made)
            except BaseException:
                _end(checkout, store, state)
                raise
        return lab

    def _start(self, members: Sequence[Node], made: Image) -> None:
        with Step(f"start {describe(self.state)}", usual="5-10 s"):
            self._store.save(self.state)
            self._spawn(PANEL, [sys.executable, "-m", "lab.panel", str(self._run / PANEL)])
            self._start_gateway(members)
            self._resume(members)
            keys = {name: Snapshot(Path(folder)).host_key for name, folder in self.state.snapshots.items()}
            inventory.write_all(
                self.checkout,
                inventory.hosts_yml(self.state.topology, members, self.state.ports),
                inventory.known_hosts(keys, self.state.ports),
                made.key.read_bytes(),
            )
            self._wait_ssh([node.name for node in members], SSH_PATIENCE)

    def down(self) -> None:
        with self._store.lock():
            _end(self.checkout, self._store, self.state)

    # --- cables and faults ---

    def plug(self, one: str, other: str) -> None:
        """Join two empty cages or switch ports by a cable."""
        self._change(lambda cabling: cabling.plug(one, other))

    def unplug(self, end: str) -> None:
        """Take away the cable whose plug is in this cage or port."""
        self._change(lambda cabling: cabling.unplug(end))

    def move(self, source: str, target: str) -> None:
        """Put a plug into another, empty cage."""
        self._change(lambda cabling: cabling.move(source, target))

    def swap(self, one: str, other: str) -> None:
        """Exchange the plugs of two cages."""
        self._change(lambda cabling: cabling.swap(one, other))

    def half(self, name: str, on: bool) -> None:
        """Take one half of a cage down, or bring it back."""

        def change(cabling: Cabling) -> None:
            cabling.half(name)
            cabling.halves_off = [half for half in cabling.halves_off if half != name] + ([] if on else [name])

        self._change(change)

    def loss(self, half: str, share: float, delay_ms: float = 0.0) -> None:
        """Lose a share (0 to 1) of the frames that this half sends, and delay the others."""

        def change(cabling: Cabling) -> None:
            cabling.half(half)
            self.state.impairments.pop(half, None)
            if share or delay_ms:
                self.state.impairments[half] = Impairment(share, delay_ms)

        self._change(change)

    def power(self, name: str, on: bool) -> None:
        """Pull a node's power, or give it back: it then boots as a real one does, from the disk as it was."""
        with self._changing():
            node = self._member(name)
            if on == self.state.alive(name):
                return
            if on:
                with Step(f"boot {name}", usual="40 s emulated, 10 s with KVM"):
                    self._start_node(node, resume=False)
                    self._wait_booted(name)
                    self._wait_ssh([name], SSH_PATIENCE)
                # Only now: soft-RoCE believes in a carrier until it sees it go.
                self.state.cabling.nodes_off.remove(name)
                self._apply()
            else:
                self._stop_node(name)
                self.state.cabling.nodes_off.append(name)
                self._apply()

    def restore(self) -> None:
        """Cables, halves and losses as `up` made them; nodes without power boot."""
        for name in list(self.state.cabling.nodes_off):
            self.power(name, on=True)
        with self._changing():
            self._pristine_cabling()
            self._apply()

    def reset(self) -> None:
        """Everything as `up` made it, the nodes too: they resume from their pristine snapshots."""
        with self._changing(), Step("reset all nodes", usual="5-10 s"):
            members = [self._member(name) for name in self.state.nodes]
            for node in members:
                self._stop_node(node.name)
            self._pristine_cabling()
            self._resume(members)
            self._wait_ssh(self.state.nodes, SSH_PATIENCE)

    def keep(self) -> None:
        """From now on `reset` goes back to the nodes as they are now, cables as `up` made them. `up` starts afresh."""
        with self._changing(), Step("keep all nodes as they are", usual="20 s"):
            if self.state.kept:
                raise LabError(
                    "The nodes of this lab are kept already; to keep others, take it down and start it again."
                )
            members = [self._member(name) for name in self.state.nodes]
            for node in members:
                self._keep(node.name)
            self.state.kept = True
            self._pristine_cabling()
            self._resume(members)
            self._wait_ssh(self.state.nodes, SSH_PATIENCE)

    def counters(self) -> dict[str, dict[str, int]]:
        """Frames and bytes per NIC, as the patch panel counted them."""
        return self._panel.counters()

    def run(
        self, node: str, argv: Sequence[str], timeout: float = 60, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node as the ordinary user (who may use sudo)."""
        command = inventory.ssh_command(self.checkout, self.state.ports[self._member(node).name], [shlex.join(argv)])
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=check, stdin=subprocess.DEVNULL
        )

    # --- inside ---

    def _member(self, name: str) -> Node:
        return Node(self.state.nodes.index(self.state.cabling.node(name)) + 1)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, work on the state as it is now, and keep what became of it even when the change broke off."""
        with self._store.lock():
            present = self._store.load()
            if present is None:
                raise LabError("The lab was taken down in the meantime.")
            self.state = present
            try:
                yield
            finally:
                self._store.save(self.state)

    def _change(self, change: Callable[[Cabling], None]) -> None:
        with self._changing():
            change(self.state.cabling)
            self._apply()

    def _pristine_cabling(self) -> None:
        state = self.state
        state.cabling = Cabling(state.nodes, cables_for(state.topology, len(state.nodes), state.cabling_name))
        state.impairments = {}

    def _apply(self) -> None:
        """Make panel and carriers say what the state says."""
        cabling = self.state.cabling
        management = [[GATEWAY], *([f"{node}:{MANAGEMENT}"] for node in cabling.nodes)]
        switches = {MANAGEMENT: management, SWITCH: cabling.switch_ports()}
        impairments = {half: asdict(value) for half, value in self.state.impairments.items()}
        self._panel.configure(cabling.wires(), switches, impairments)
        for node in cabling.nodes:
            if self.state.alive(node):
                with Qmp(self._run / node) as machine:
                    for half in (half for half in cabling.halves() if half.startswith(f"{node}:")):
                        machine.set_link(link_id(half.partition(":")[2]), cabling.carrier(half))

    def _keep(self, name: str) -> None:
        folder = self._store.folder / KEPT / name
        origin = Snapshot(Path(self.state.snapshots[name]))
        kept = snapshot.keep(self._store.folder / f"{name}.qcow2", self._run / name, origin, folder)
        self.state.snapshots[name] = str(kept.folder)
        self.state.processes[name].end(patience=20)  # it writes its disk out before it goes
        self._stop_node(name)

    def _spawn(self, name: str, argv: Sequence[str], links: Sequence[socket.socket] = ()) -> None:
        log = self._store.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        self.state.processes[name] = spawn(argv, log, links, python_path=CHECKOUT)
        self._store.save(self.state)

    def _start_gateway(self, members: Sequence[Node]) -> None:
        near, far = nic_link()
        with near, far:
            self._panel.attach(GATEWAY, far)
            self._spawn(GATEWAY, gateway_command(self.state.ports, members, near.fileno()), [near])

    def _start_node(self, node: Node, resume: bool) -> None:
        """Resumed from the snapshot on a new disk, and paused; or booted from the disk as it was."""
        kept, made = Snapshot(Path(self.state.snapshots[node.name])), Image(Path(self.state.image))
        files = Files(
            disk=self._store.folder / f"{node.name}.qcow2",
            kernel=made.kernel,
            initrd=made.initrd,
            seed=kept.seed,
            console=self._store.folder / f"{node.name}.console",
            monitor=self._run / node.name,
            state=kept.state if resume else None,
        )
        if resume:
            snapshot.overlay(files.disk, kept.disk, "qcow2")
        with contextlib.ExitStack() as stack:
            links = {}
            for nic in nic_names():
                near, far = (stack.enter_context(end) for end in nic_link())
                self._panel.attach(f"{node.name}:{nic}", far)
                links[nic] = near
            nics = {nic: link.fileno() for nic, link in links.items()}
            self._spawn(
                node.name, node_command(node, files, self.state.accelerator_arguments, nics), list(links.values())
            )

    def _stop_node(self, name: str) -> None:
        if name in self.state.processes:
            self.state.processes.pop(name).end(signal.SIGKILL)
        for nic in nic_names():
            self._panel.detach(f"{name}:{nic}")
        (self._run / name).unlink(missing_ok=True)

    def _resume(self, members: Sequence[Node]) -> None:
        """Start from the snapshots. A saved state brings its own carriers, so ours are set after it is loaded."""
        for node in members:
            self._start_node(node, resume=True)
        for node in members:
            self._wait_loaded(node)
        self._apply()
        for node in members:
            with Qmp(self._run / node.name) as machine:
                machine.command("cont")

    def _wait_loaded(self, node: Node) -> None:
        try:
            with Qmp(self._run / node.name) as machine:
                machine.wait_loaded()
        except LabError as error:
            log = (self._store.folder / f"{node.name}.log").read_text(errors="replace").strip()[-300:]
            kept = self.state.snapshots[node.name]
            raise LabError(f"{node.name} did not resume: {error} {log}\nTo have it made anew, remove {kept}") from None

    def _wait_booted(self, name: str) -> None:
        console = self._store.folder / f"{name}.console"
        deadline = time.monotonic() + BOOT_SECONDS
        while not (console.exists() and READY_MARKER in console.read_text(errors="replace")):
            if time.monotonic() > deadline or not self.state.alive(name):
                raise LabError(f"{name} did not boot. Its console: {console}")
            time.sleep(0.5)

    def _wait_ssh(self, names: Sequence[str], patience: float) -> None:
        """Until every node lets us in."""
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            for refusal in pool.map(lambda name: self._log_in(name, time.monotonic() + patience), names):
                if refusal:
                    raise LabError(refusal)

    def _log_in(self, name: str, deadline: float) -> str:
        """Why a node does not let us in; empty when it does.

        A resumed node lives in the hour of its snapshot, so it is told the time.
        """
        while True:
            try:
                done = self.run(name, ["sudo", "date", "-u", "-s", f"@{time.time():.2f}"])
                if done.returncode == 0:
                    return ""
                said = done.stderr.strip()
            except subprocess.TimeoutExpired:
                said = "no answer"
            if time.monotonic() > deadline or not self.state.alive(name):
                return f"{name} does not let us in over SSH: {said}. Its console: {self._store.folder / name}.console"
            time.sleep(0.2)


def _ensure(members: Sequence[Node]) -> tuple[Image, accel.Accelerator, dict[str, Snapshot]]:
    """Image, accelerator and snapshots, out of the cache or made now; one command at a time makes them."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with exclusive(cache / "lock"):
        made = image.ensure(cache)
        accelerator = accel.choose(cache, made)
        return made, accelerator, snapshot.ensure(made, accelerator, members)


def _runs(state: State, topology: str, count: int, cabling: str) -> bool:
    asked = (state.topology, len(state.nodes), state.cabling_name) == (topology, count, cabling)
    return asked and not state.kept and all(state.alive(name) for name in (PANEL, GATEWAY, *state.nodes))


def _end(checkout: Path, store: Store, state: State) -> None:
    """End what is recorded, remove what was written."""
    with Step(f"end {describe(state)}"):
        for name, process in state.processes.items():
            process.end(signal.SIGTERM if name in (PANEL, GATEWAY) else signal.SIGKILL)
        shutil.rmtree(state.run, ignore_errors=True)
        for name in state.nodes:
            (store.folder / f"{name}.qcow2").unlink(missing_ok=True)
        shutil.rmtree(store.folder / KEPT, ignore_errors=True)
        inventory.remove_all(checkout)
        store.forget()


def describe(state: State) -> str:
    cabling = "" if state.cabling_name == "planned" else f", cabled {state.cabling_name}"
    return f"{state.topology} of {len(state.nodes)}{cabling}, {state.accelerator}"
