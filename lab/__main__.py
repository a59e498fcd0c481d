"""The command line of the lab. Plugs are named by where they are: spark1:p0, crs812:qsfp56-1-1; halves: spark1:p0:a."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import types
from collections.abc import Callable

from lab import inventory
from lab.api import CHECKOUT, GATEWAY, PANEL, Lab, describe
from lab.cabling import CABLINGS, TOPOLOGIES, default_nodes, parse_loss
from lab.errors import LabError
from lab.state import Store

Command = Callable[[argparse.Namespace], int]


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    command: Command = arguments.command
    try:
        return command(arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: stopped; what had been started was ended", file=sys.stderr)
        return 130


def _interrupt(_signal: int, _frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="Virtual Sparks: machines, cables, switch.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str, *positional: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        for argument in positional:
            command.add_argument(argument)
        command.set_defaults(command=run)
        return command

    up = add("up", _up, "Start a lab from pristine nodes")
    up.add_argument("--topology", choices=list(TOPOLOGIES), default="triangle")
    up.add_argument("--nodes", default="", help="how many; as many as the topology usually has when left out")
    up.add_argument("--cabling", choices=CABLINGS, default="planned")
    add("down", _down, "End the lab and everything that it started")
    add("status", _status, "Show nodes, cables and faults").add_argument("--json", action="store_true")
    ssh = add("ssh", _ssh, "Log in to a node, or run a command there", "node")
    ssh.add_argument("remote", nargs=argparse.REMAINDER, metavar="COMMAND")

    add("plug", _do(lambda lab, a: lab.plug(a.one, a.other)), "Join two empty cages or ports", "one", "other")
    add("unplug", _do(lambda lab, a: lab.unplug(a.end)), "Take away the cable that is in a cage or port", "end")
    add("move", _do(lambda lab, a: lab.move(a.source, a.target)), "Put a plug elsewhere", "source", "target")
    add("swap", _do(lambda lab, a: lab.swap(a.one, a.other)), "Exchange two plugs", "one", "other")
    half = add("half", _do(lambda lab, a: lab.half(a.name, a.state == "on")), "Take a half down, or back up", "name")
    power = add("power", _do(lambda lab, a: lab.power(a.node, a.state == "on")), "Pull or give a node's power", "node")
    for command in (half, power):
        command.add_argument("state", choices=["on", "off"])
    loss = add("loss", _do(_loss), "Lose a percentage of the frames that a half sends (0: none)", "half", "percent")
    loss.add_argument("--delay-ms", type=float, default=0.0)
    add("restore", _do(lambda lab, _: lab.restore()), "Cables, halves, losses and power as `up` made them")
    add("reset", _do(lambda lab, _: lab.reset()), "Everything as `up` made it, the nodes' disks and memory too")
    return parser


def _up(arguments: argparse.Namespace) -> int:
    try:
        count = int(arguments.nodes) if arguments.nodes else default_nodes(arguments.topology)
    except ValueError:
        raise LabError(f"--nodes is a number, not '{arguments.nodes}'.") from None
    lab = Lab.up(arguments.topology, count, arguments.cabling)
    print(f"{describe(lab.state)} is up; inventory: {inventory.inventory_file(CHECKOUT).relative_to(CHECKOUT)}")
    return 0


def _down(_arguments: argparse.Namespace) -> int:
    if Store(CHECKOUT / ".lab").load() is None:
        print("No lab is up.")
    else:
        Lab.last().down()
    return 0


def _do(action: Callable[[Lab, argparse.Namespace], None]) -> Command:
    def command(arguments: argparse.Namespace) -> int:
        action(Lab.current(), arguments)
        return 0

    return command


def _loss(lab: Lab, arguments: argparse.Namespace) -> None:
    lab.loss(arguments.half, parse_loss(arguments.percent), arguments.delay_ms)


def _ssh(arguments: argparse.Namespace) -> int:
    lab = Lab.current()
    port = lab.state.ports[lab.state.cabling.node(arguments.node)]
    terminal = not arguments.remote and sys.stdin.isatty()
    command = inventory.ssh_command(CHECKOUT, port, arguments.remote, terminal)
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606


def _status(arguments: argparse.Namespace) -> int:
    lab = Lab.current()
    state, counters = lab.state, lab.counters()
    if arguments.json:
        print(json.dumps({"nodes": state.nodes, "cables": state.cabling.cables, "counters": counters}, indent=1))
        return 0
    print(f"{describe(state)}\n")
    for name in (*state.nodes, GATEWAY, PANEL):
        process = state.processes.get(name)
        power = f"pid {process.pid}" if process and process.alive else "off"
        print(f"  {name:10} {power:12}" + (f"ssh port {state.ports[name]}" if name in state.ports else ""))
    print(f"\n  {'half':14} {'far end':22} {'link':6} {'frames out':>12} {'frames in':>12} {'lost':>8}")
    for half in state.cabling.halves():
        seen = counters.get(half, {})
        far = state.cabling.far_end(half.rpartition(":")[0]) or "-"
        link = "up" if state.cabling.carrier(half) and state.alive(half.partition(":")[0]) else "down"
        fault = "taken down" if half in state.cabling.halves_off else ""
        if half in state.impairments:
            fault += f" loses {state.impairments[half].loss:.1%}"
        numbers = "".join(f" {seen.get(key, 0):>12}" for key in ("received", "sent")) + f" {seen.get('lost', 0):>8}"
        print(f"  {half:14} {far:22} {link:6}{numbers}  {fault}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
