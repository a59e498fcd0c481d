"""KVM where a trial boot proves it, emulation otherwise.

The device file proves nothing: there are hosts whose /dev/kvm makes machines that die before their kernel's first line.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.image import TRIAL_MARKER, Image
from lab.machine import QEMU
from lab.progress import Step
from lab.state import write

# An older model is the faster one to emulate: without the carry-less multiplication of `max`, soft-RoCE's checksum runs
# on tables and ib_write_bw is twice as fast; without AVX there is less state to switch.
EMULATED = ("-accel", "tcg,thread=multi,tb-size=256", "-cpu", "Nehalem,+rdrand")
KVM = ("-accel", "kvm", "-cpu", "host")
OLDEST_QEMU = (7, 2)
TRIAL_SECONDS = 15
DEVICE = Path("/dev/kvm")


@dataclass(frozen=True)
class Accelerator:
    """How machines run here; ``key`` changes when a saved state may no longer fit."""

    name: str
    arguments: tuple[str, ...]
    key: str


def choose(cache: Path, image: Image) -> Accelerator:
    """KVM if it was seen to work with this kernel and this QEMU, else emulation. The trial is remembered."""
    qemu = qemu_version()
    host = hashlib.sha256("\n".join([platform.release(), qemu, cpu_model()]).encode()).hexdigest()[:12]
    answers_file = cache / "kvm.json"
    answers: dict[str, bool] = json.loads(answers_file.read_text()) if answers_file.exists() else {}
    if host not in answers:
        with Step("does KVM work here? trial boot", usual=f"at most {TRIAL_SECONDS} s"):
            answers[host] = DEVICE.exists() and boots([*KVM], image)
        write(answers_file, json.dumps(answers))
    if answers[host]:
        return Accelerator("kvm", KVM, f"kvm-{host}")
    return Accelerator("tcg", EMULATED, f"tcg-{hashlib.sha256(qemu.encode()).hexdigest()[:12]}")


def boots(accelerator: list[str], image: Image, patience: float = TRIAL_SECONDS) -> bool:
    """Boot kernel and initrd, and see whether the first user program gets to say so on the serial console."""
    with tempfile.TemporaryDirectory(prefix="gb10-lab-") as folder:
        console = Path(folder) / "console"
        command = [
            *(QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-m", "512", *accelerator),
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
            *("-append", "console=ttyS0 quiet gb10lab.trial", "-serial", f"file:{console}"),
        ]
        machine = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline and machine.poll() is None:
                if console.exists() and TRIAL_MARKER in console.read_text(errors="replace"):
                    return True
                time.sleep(0.1)
            return False
        finally:
            machine.kill()
            machine.wait()


def qemu_version() -> str:
    """The version of the installed QEMU; refuses one that lacks what the lab uses."""
    try:
        text = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise LabError(f"{QEMU} is not installed (Debian and Ubuntu: package qemu-system-x86).") from None
    match = re.search(r"version (\d+)\.(\d+)[^\s]*( \([^)]*\))?", text)
    if match is None or (int(match[1]), int(match[2])) < OLDEST_QEMU:
        raise LabError(f"The lab needs QEMU 7.2 or newer (datagram network links), and found: {text.splitlines()[0]}")
    return match[0]


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
