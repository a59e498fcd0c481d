"""Real packet sockets on a veth pair, in a network namespace of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
NAMESPACE = ["unshare", "--user", "--map-root-user", "--net"]

INSIDE = """
import subprocess
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.wire import PacketWire, raise_link

def up(name):
    return ",UP" in subprocess.run(["ip", "link", "show", name], capture_output=True, text=True).stdout

for pair in (("left", "right"), ("one", "two")):
    subprocess.run(["ip", "link", "add", pair[0], "type", "veth", "peer", "name", pair[1]], check=True)
names = ["left", "right", "one", "two"]
wire = PacketWire(names)
wire.send("left", b"lost")  # down: swallowed, not an error
print("down", [up(name) for name in names], wire.receive(0.1))
for name in names:
    raise_link(name)
    raise_link(name)
print("up", [up(name) for name in names])
wire.receive(0.2)
wire.send("left", b"hello")
heard = wire.receive(2)
print("heard", [(name, payload.rstrip(b"\\0"), len(payload)) for name, payload in heard])
wire.send("two", b"x" * 1400)
print("long", [(name, len(payload)) for name, payload in wire.receive(2)])
print("quiet", wire.receive(0.1))
wire.close()
"""


def may_unshare() -> bool:
    tools = shutil.which("unshare") and shutil.which("ip")
    return bool(tools) and not subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode


@pytest.mark.skipif(not may_unshare(), reason="this machine lets no user make a network namespace")
def test_frames_arrive_at_the_other_end_and_nowhere_else() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / ".collections")}
    result = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", INSIDE], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "down [False, False, False, False] []",
        "up [True, True, True, True]",
        "heard [('right', b'hello', 46)]",
        "long [('one', 1400)]",
        "quiet []",
    ]
