"""What the lab remembers between two commands: a JSON file in the checkout's ``.lab``, and the processes it names."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.cabling import Cabling, Impairment
from lab.errors import LabError


@dataclass(frozen=True)
class Process:
    """A process that the lab started. Process ids are used again, so the start time belongs to the name."""

    pid: int
    started: int  # clock ticks after boot

    @classmethod
    def of(cls, pid: int) -> Process:
        started = _start_time(pid)
        if started is None:
            raise LabError(f"Process {pid} ended as soon as it was started.")
        return cls(pid, started)

    @property
    def alive(self) -> bool:
        return _start_time(self.pid) == self.started

    def end(self, sig: signal.Signals = signal.SIGTERM, patience: float = 5) -> None:
        """Send the signal if this is still our process; SIGKILL follows when it does not go."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The handle pins the process: whoever it is now, it is the one that the signal goes to.
            if self.alive:
                signal.pidfd_send_signal(handle, sig)
                if not _gone(handle, patience):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    _gone(handle, patience)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)


@dataclass
class State:
    """A lab that was started."""

    topology: str
    cabling_name: str
    run: str  # folder of the sockets; short, since a socket's path may have 107 bytes
    ports: dict[str, int]  # node -> SSH port on 127.0.0.1
    snapshots: dict[str, str] = field(default_factory=dict)  # node -> folder, in the cache or kept by us
    kept: bool = False  # `reset` goes back to the nodes as they were when they were kept
    image: str = ""
    accelerator: str = ""
    accelerator_arguments: list[str] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    cabling: Cabling = field(default_factory=lambda: Cabling([]))
    impairments: dict[str, Impairment] = field(default_factory=dict)

    @property
    def nodes(self) -> list[str]:
        return self.cabling.nodes

    def alive(self, name: str) -> bool:
        return name in self.processes and self.processes[name].alive


class Store:
    """The ``.lab`` folder of a checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "state.json"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One command at a time changes the lab."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive(self.folder / "lock", "Another lab command is at work in this checkout; wait for it to end."):
            yield

    def load(self) -> State | None:
        try:
            data = json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        data["processes"] = {name: Process(**process) for name, process in data["processes"].items()}
        data["impairments"] = {half: Impairment(**value) for half, value in data["impairments"].items()}
        cables = [(one, other) for one, other in data["cabling"].pop("cables")]
        data["cabling"] = Cabling(cables=cables, **data["cabling"])
        return State(**data)

    def save(self, state: State) -> None:
        write(self._file, json.dumps(asdict(state), indent=1) + "\n")

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(path: Path, refusal: str | None = None) -> Iterator[None]:
    """Hold a lock file. With a refusal: raise it instead of waiting."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError:
            raise LabError(refusal or "locked") from None
        yield


def write(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            os.fchmod(file.fileno(), mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def end_all(processes: Sequence[Process]) -> None:
    for process in processes:
        process.end()


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process, or only its remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _gone(handle: int, patience: float) -> bool:
    return bool(select.select([handle], [], [], patience)[0])
