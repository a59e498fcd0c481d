"""Tools that lie, hang, are missing or die, and what the measurement itself meets; perftest is a fake one."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from tests.faults.case import Case, Expected
from tests.faults.probes import Probes
from tests.faults.recorded.words import LINKS, PATH, paths_of
from tests.faults.spark import FIXTURES

WAY = "spark1:p0:a>spark2:p1:a"
HALF_LINK = (f"half-link {PATH}",)


# ping as recorded; a packet of 9000 bytes gets no answer.
LARGE_LOST = f'case "$*" in *8972*) cat {FIXTURES}/real-debian12-ping-jumbo-lost.txt; exit 1 ;;\n*) cat {FIXTURES}/real-debian12-ping-small.txt ;; esac'


@dataclass(frozen=True)
class Tool(Case):
    spoil: t.Callable[[Probes], t.Any] = lambda probes: None


def case(name: str, spoil: t.Callable[[Probes], t.Any], expected: Expected, sample: bool = False) -> Tool:
    return Tool(name, "tool", expected, sample, spoil)


def lies(how: str) -> t.Callable[[Probes], t.Any]:
    """The client of one path, in both tools."""
    return lambda probes: probes.misbehave("spark1", "rocep1s0f0", how)


def quick(how: str) -> t.Callable[[Probes], t.Any]:
    def spoil(probes: Probes) -> None:
        probes.profile["command_timeout_s"] = 3
        probes.misbehave("spark1", "rocep1s0f0", how)

    return spoil


AGAIN = "measure spark1 and spark2 again; if it stays so, see "
NO_JSON = f"{AGAIN}that perftest there is 24.01 or newer"
BANDWIDTH, LATENCY = f"{AGAIN}what ib_write_bw prints there", f"{AGAIN}what ib_write_lat prints there"
LOOK = f"compare PCIe (N03) and carrier (L01) at both ends of {PATH}"
COMPARE = "compare addresses, GIDs and MTU of spark1 and spark2"
BOTH_UP = "see that spark1 and spark2 are both up and measure at the same time"


def doubt(action: str) -> Expected:
    """The instrument is to blame, so nothing is to be moved."""
    return Expected(f"P01 {WAY}", HALF_LINK, action, outcome="unknown", cause="instrument")


def broken(check: str, action: str = LOOK, cause: t.Any = "hardware", signature: str | None = None) -> Expected:
    return Expected(f"{check} {WAY}", HALF_LINK, action, cause=cause, signature=signature)


def uncounted(why: str) -> Expected:
    action = f"L08 spark1:p0:a: rocep1s0f0 has no counter {why}"
    return Expected("L08 spark1:p0:a", HALF_LINK, action, outcome="unknown", cause="instrument")


def loses(counter: str) -> t.Callable[[Probes], t.Any]:
    return lambda probes: probes.sparks["spark1"].halves["p0:a"].counters.pop(counter)


def without_perftest(probes: Probes) -> None:
    probes.without |= {"spark2 ib_write_bw", "spark2 ib_write_lat"}


def dies(probes: Probes) -> None:
    probes.killed = ("spark3", 3)
    probes.silence_s = 5.0


CASES = [
    case("lies: 0.000000 Gb/s and exit code 0", lies("zero"), doubt(BANDWIDTH), sample=True),
    case("lies: half of the JSON is missing", lies("half json"), doubt(NO_JSON)),
    case("lies: the JSON of perftest before 24.01", lies("old json"), doubt(NO_JSON)),
    case("lies: no JSON", lies("no json"), doubt(NO_JSON)),
    case("lies: two result rows", lies("two rows"), doubt(BANDWIDTH)),
    case("lies: a header, no row and exit code 0", lies("no row"), doubt(BANDWIDTH)),
    case("lies: text and JSON disagree", lies("disagree"), doubt(LATENCY)),
    case("lies: MB/s where Gb/s were asked for", lies("megabytes"), doubt(NO_JSON)),
    case("lies: a unit that nobody knows", lies("no unit"), doubt(BANDWIDTH)),
    case("lies: something else altogether", lies("garbage"), doubt(LATENCY)),
    case("lies: its clock fails every time", lies("clock 99"), doubt(LATENCY)),
    case("hangs: until it is killed", quick("hang"), doubt(LATENCY)),
    case("hangs: and does not hear SIGTERM", quick("deaf"), doubt(LATENCY)),
    case("dies: the client is killed", lies("killed"), doubt(LATENCY)),
    case("slow: one iteration", lies("one iteration"), broken("P02", signature="broken-path")),
    case("slow: 13.33 Gb/s one way", lies("clamp"), broken("P02", signature="cx7-init-clamp")),
    case("slow: answers take 9 us", lies("slow answers"), broken("P04")),
    case("path: nothing is acknowledged", lies("retry exceeded"), broken("P01")),
    case("path: RDMA packets of 1024 bytes", lies("small packets"), broken("P01", COMPARE, "configuration")),
    case("path: over link-local GIDs", lies("link-local"), broken("P01", COMPARE, "configuration")),
    case(
        "path: the bytes leave through another port",
        lies("astray rocep1s0f1"),
        broken("P05", "compare the RDMA device names, addresses and routes", "configuration", "wrong-hca"),
    ),
    case(
        "counters: packets lost on the way",
        lies("errors packet_seq_err 7"),
        Expected("L08 spark1:p0:a", HALF_LINK, "reseat or swap the cable of spark1 p0", cause="hardware"),
    ),
    case(
        "counters: reset in the middle", lies("errors local_ack_timeout_err -100"), uncounted("local_ack_timeout_err")
    ),
    case("counters: one is missing", loses("out_of_sequence"), uncounted("out_of_sequence")),
    case(
        "dies: the server fails",
        lambda probes: probes.misbehave("spark2", "serve:rocep1s0f1", "fail"),
        Expected(f"P01 {WAY}", HALF_LINK, BOTH_UP, outcome="unknown", cause="environment"),
    ),
    case(
        "dies: the server is killed in mid-run, which its client takes for a dead path",
        lambda probes: probes.misbehave("spark2", "serve:rocep1s0f1", "killed"),
        doubt(BANDWIDTH),
    ),
    case(
        "clock: the node's is set by an hour in mid-measurement",
        lambda probes: probes.clock_step_s.update(spark2=3600.0),
        Expected(
            "L08 spark2:p0:a",
            ("node spark2",),
            "L08 spark2:p0:a: the clock of spark2 was set by +3600 s while it measured",
            outcome="unknown",
            cause="instrument",
            also=("P0? *spark2*", "L08 spark2:*", "L11 *spark2*"),
        ),
    ),
    case(
        "busy: somebody else holds the maintenance lock",
        lambda probes: setattr(probes, "locked", "spark2"),
        Expected("N09 spark2", ("node spark2",), "drain spark2", outcome="unknown", cause="environment"),
    ),
    case(
        "dies: a node in the middle of the measurement",
        dies,
        Expected(
            "L08 spark3:p0:a",
            ("node spark3",),
            "L08 spark3:p0:a: spark3 sent no measurement",
            outcome="unknown",
            cause="instrument",
            also=("P0? *spark3*", "L08 spark3:*", "L11 *spark3*"),
        ),
    ),
    case(
        "tools: no perftest on one node",
        without_perftest,
        Expected(
            "L08 spark2:p0:a",
            ("node spark2",),
            "L08 spark2:p0:a: spark2 measured nothing: ib_write_bw is not installed",
            outcome="unknown",
            cause="instrument",
            also=("P0? *spark2*", "L08 spark2:*", "L11 *spark2*"),
        ),
    ),
    case(
        "tools: no ping on one node",
        lambda probes: probes.sparks["spark2"].commands.update(ping=None),
        Expected(
            "L11 spark2:p1:a>spark1:p0:a",
            ("node spark2",),
            "run role dgx_os on spark2: it installs iputils-ping",
            outcome="unknown",
            cause="instrument",
            also=("L11 spark2:*",),
        ),
    ),
    case(
        "path: large packets are lost, small ones are not",
        lambda probes: probes.sparks["spark2"].commands.update(ping=LARGE_LOST),
        Expected(
            "L11 spark2:p1:a>spark1:p0:a",
            tuple(f"path {path}" for link in LINKS[:2] for path in paths_of(link)),
            "see what holds packets of spark2 and spark1 below MTU 9000",
            also=("L11 spark2:*",),
        ),
    ),
]
