"""nccl-tests, as text and as JSON. The fixtures are constructed: tests/fixtures/nccl/README.md."""

from __future__ import annotations

import dataclasses
import json
import traceback
import typing as t
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.error import ProbeError
from ansible_collections.gb10.cluster.plugins.module_utils.probe.nccl_tests import (
    MAX_ERROR,
    Device,
    NcclTests,
    Result,
    Row,
    agrees,
    library_version,
    parse_json,
    parse_text,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures" / "nccl"
TEXT = (FIXTURES / "all_gather.txt").read_text(encoding="utf-8")
JSON = (FIXTURES / "all_gather.json").read_text(encoding="utf-8")
SECRET = "made-up-secret"

TITLE = "#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong"
# quoted/colonel-otto, 3 Sparks, triangle, NCCL 2.30.7
WARM = " 17179869168    1431655764     float    none      -1   478885   35.87   23.92       0   474170   36.23   24.15       0"
COLD = "    33554400       2796200     float    none      -1  4651.96    7.21    4.81       0  1130.97   29.67   19.78       0"
FOOTER = "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 24.0354 \n"


def output(*rows: str, title: str = TITLE, footer: str = FOOTER) -> str:
    return "\n".join([title, *rows, footer])


def report(**changes: t.Any) -> str:
    return json.dumps(json.loads(JSON) | changes)


def row_with(**changes: t.Any) -> str:
    return report(results=[json.loads(JSON)["results"][0] | changes])


def side_with(**changes: t.Any) -> str:
    return row_with(out_of_place={"time": 1.0, "alg_bw": 1.0, "bus_bw": 1.0, "nwrong": 0.0} | changes)


def without(*keys: str) -> str:
    return json.dumps({key: value for key, value in json.loads(JSON).items() if key not in keys})


# --- text ---


def test_a_whole_run() -> None:
    parsed = parse_text(TEXT)
    assert parsed == NcclTests(
        collective="all_gather_perf",
        version="2.19.7",
        headers=23007,
        format=None,
        library=23007,
        devices=tuple(Device(rank, f"spark{rank + 1}", 0, "000f:01:00", "NVIDIA GB10") for rank in range(3)),
        rows=(
            Row(
                33554400, 2796200, "float", "none", -1, Result(4651.96, 7.21, 4.81, 0), Result(1130.97, 29.67, 19.78, 0)
            ),
            Row(
                17179869168,
                1431655764,
                "float",
                "none",
                -1,
                Result(478885, 35.87, 23.92, 0),
                Result(474170, 36.23, 24.15, 0),
            ),
        ),
        out_of_bounds=0,
        error=None,
    )
    assert (parsed.headers_match, parsed.correct) == (True, True)


def test_the_average_is_nowhere_in_the_result() -> None:
    # quoted/colonel-otto: 4.81 cold and 19.78 warm printed an average of 12.2939 that nobody measured
    parsed = parse_text(output(COLD, footer=FOOTER.replace("24.0354", "12.2939")))
    assert "12.29" not in repr(parsed)
    assert (parsed.rows[0].out_of_place.busbw, parsed.rows[0].in_place.busbw) == (4.81, 19.78)


def test_another_library_than_the_one_built_against() -> None:
    # quoted/vllm #42354: the loader picked the system's NCCL
    assert parse_text(TEXT.replace("nccl-library=23007", "nccl-library=22809")).headers_match is False


def test_an_old_program_names_no_version() -> None:
    parsed = parse_text(output(WARM))
    assert (parsed.version, parsed.collective, parsed.headers_match, parsed.devices) == (None, None, None, ())


@pytest.mark.parametrize(
    ("line", "device"),
    [
        (
            "#  Rank  0 Group  0 Pid  62 on node0 device  0 [000f:01:00] NVIDIA GB10",
            ("node0", "000f:01:00", "NVIDIA GB10"),
        ),
        ("#  Rank  0 Pid  62 on node0 device  0 [0x01] NVIDIA GB10", ("node0", "0x01", "NVIDIA GB10")),
    ],
    ids=["quoted/2.19.7", "synthetic/before groups"],
)
def test_device_lines(line: str, device: tuple[str, str, str]) -> None:
    (parsed,) = parse_text(f"{line}\n{output(WARM)}").devices
    assert (parsed.hostname, parsed.pci, parsed.name) == device


# (id, title, row, out of place busbw, in place busbw); column sets of nccl-tests 2.19 with -T, -C and per-iteration reports
COLUMNS = [
    ("plain", TITLE, WARM, 23.92, 24.15),
    ("tag of mpirun", f"[1,0]<stdout>:{TITLE}", f"[1,0]<stdout>:{WARM}", 23.92, 24.15),
    ("timestamp", f"{TITLE}  timestamp", f"{WARM}  2026-08-01 10:00:00", 23.92, 24.15),
    ("cpu time", TITLE.replace("time", "cputime"), WARM, 23.92, 24.15),
    (
        "per iteration and bitwise",
        "#  size  count  type  redop  root  time  algbw  busbw  #wrong  #bitdiff  i_min  i_max  i_p99  i_cv%"
        "  time  algbw  busbw  #wrong  #bitdiff  i_min  i_max  i_p99  i_cv%",
        " 8 2 float sum -1 10.0 1.5 2.5 0 0 9.0 11.0 11.0 3.0 12.0 3.5 4.5 0 0 9.0 13.0 13.0 4.0",
        2.5,
        4.5,
    ),
    ("huge time", TITLE, WARM.replace("478885", "1.2e+08"), 23.92, 24.15),
]


@pytest.mark.parametrize(
    ("title", "row", "out", "inside"), [case[1:] for case in COLUMNS], ids=[case[0] for case in COLUMNS]
)
def test_columns(title: str, row: str, out: float, inside: float) -> None:
    (parsed,) = parse_text(output(row, title=title)).rows
    assert (parsed.out_of_place.busbw, parsed.in_place.busbw) == (out, inside)


@pytest.mark.parametrize(
    ("old", "new", "correct"),
    [
        ("   0\n", "   0\n", True),
        ("24.15       0", "24.15       3", False),
        ("23.92       0", "23.92   1e+06", False),
        ("24.15       0", "24.15    N/A", None),
        ("values : 0 OK", "values : 2 FAILED", False),
    ],
)
def test_correct(old: str, new: str, correct: bool | None) -> None:
    assert parse_text(TEXT.replace(old, new)).correct is correct


def test_a_wrong_value_counts_more_than_an_unchecked_one() -> None:
    assert (
        parse_text(TEXT.replace("24.15       0", "24.15    N/A").replace("4.81       0", "4.81       1")).correct
        is False
    )


def test_lines_of_nccl_between_the_rows() -> None:
    noise = "spark1:62:80 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[0] [send] via NET/IB/0"
    assert len(parse_text(output(noise, COLD, noise, WARM)).rows) == 2


def test_errors_are_bounded() -> None:
    assert parse_text(output(WARM) + f"# error: {'x' * 999}\n").error == "x" * MAX_ERROR


WRONG = [
    ("empty", "", "0 tables"),
    ("two runs", TEXT + TEXT, "2 tables"),
    ("no row", output(), "without a result row"),
    ("killed after the first row", output(WARM, footer=""), "0 `Out of bounds values` lines, so the run did not end"),
    ("killed within a row", output(COLD, WARM[:60]), "a row of 6 values instead of 13"),
    ("log within a row", output(WARM + " spark1:62:80 [0] NCCL INFO comm"), "instead of 13"),
    (
        "no redop",
        output("8 2 float 1 1 1 0 1 1 1 0", title="# size count type time algbw busbw error time algbw busbw error"),
        "without redop, root, #wrong",
    ),
    (
        "one side",
        output("8 2 float none -1 1 1 1 0", title="# size count type redop root time algbw busbw #wrong"),
        "without time, algbw, busbw, #wrong",
    ),
    ("nan", output(WARM.replace("23.92", "nan")), "'nan' where a number belongs"),
    ("infinite", output(WARM.replace("23.92", "inf")), "'inf' where a number belongs"),
    ("negative", output(WARM.replace("23.92", "-23.92")), "'-23.92' where a number belongs"),
    ("not a number", output(WARM.replace("23.92", "fast")), "'fast' where a number belongs"),
    ("root", output(WARM.replace("-1", "none")), "'none' as the root rank"),
]


@pytest.mark.parametrize(("text", "says"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_no_run_is_refused(text: str, says: str) -> None:
    with pytest.raises(ProbeError, match=says):
        parse_text(text)


# --- JSON ---


def test_a_whole_report() -> None:
    parsed = parse_json(JSON)
    assert (parsed.collective, parsed.format, parsed.library, parsed.headers) == ("all_gather_perf", 3, 23007, None)
    assert parsed.rows[1].in_place == Result(474169.95, 36.231459, 24.154306, 0)
    assert parsed.rows[1].root == -1
    assert parsed.devices == parse_text(TEXT).devices
    assert (parsed.correct, parsed.headers_match) == (True, None)


def test_the_environment_is_gone() -> None:
    assert SECRET in JSON
    assert SECRET not in repr(parse_json(JSON))


@pytest.mark.parametrize("at", range(0, len(JSON) - 2, 97))
def test_no_message_quotes_a_report_that_was_cut_short(at: int) -> None:
    with pytest.raises(ProbeError, match="cut short") as caught:
        parse_json(JSON[:at])
    assert caught.value.__context__ is None  # the error of json would carry the whole text
    assert SECRET not in "".join(traceback.format_exception(caught.value))


VERSIONS = [
    ("1, up to 2.19.1", report(version=1), 1),
    ("2, from 2.19.2", report(version=2), 2),
    ("no number", without("version"), None),
]


@pytest.mark.parametrize(("text", "number"), [case[1:] for case in VERSIONS], ids=[case[0] for case in VERSIONS])
def test_versions_of_the_file(text: str, number: int | None) -> None:
    parsed = parse_json(text)
    assert (parsed.format, parsed.rows) == (number, parse_json(JSON).rows)


def test_what_may_be_absent() -> None:
    parsed = parse_json(without("args", "config", "errors", "nccl_version", "average_bus_bandwidth"))
    assert (parsed.collective, parsed.devices, parsed.error, parsed.library) == (None, (), None, None)
    parsed = parse_json(report(args=[7], nccl_version=0, errors=["", "unhandled system error"]))
    assert (parsed.collective, parsed.library, parsed.error) == (None, None, "unhandled system error")


def test_cpu_time_and_unchecked_values() -> None:
    side = {"cpu_time": 7.5, "alg_bw": 1.0, "bus_bw": 1.0, "nwrong": None}
    parsed = parse_json(row_with(out_of_place=side))
    assert parsed.rows[0].out_of_place == Result(7.5, 1.0, 1.0, None)
    assert parsed.correct is None


@pytest.mark.parametrize(
    ("bounds", "count"),
    [
        ({"count": 0, "okay": "true"}, 0),
        ({"count": 3, "okay": "false"}, 3),
        ({"count": 3, "okay": False}, 3),
        ({"count": 0, "okay": "unchecked"}, 0),
        ({"count": 0}, 0),
    ],
)
def test_out_of_bounds(bounds: dict[str, t.Any], count: int) -> None:
    parsed = parse_json(report(out_of_bounds=bounds))
    assert (parsed.out_of_bounds, parsed.correct) == (count, count == 0)


WRONG_JSON = [
    ("not an object", "[1]", "not one object"),
    ("too deep", "[" * 100_000, "not one object"),
    ("infinite in the file", JSON.replace("24.154306", "inf"), "not one object"),
    ("no results", without("results"), "no list 'results'"),
    ("no rows", report(results=[]), "no result row"),
    ("a row that is none", report(results=[1]), "a result row that is no object"),
    ("no bounds", without("out_of_bounds"), "no dict 'out_of_bounds'"),
    ("a boolean for a count", report(out_of_bounds={"count": True}), "no integer 'count'"),
    ("contradiction", report(out_of_bounds={"count": 3, "okay": "true"}), "counts 3 values out of bounds and says okay: True"),
    ("other contradiction", report(out_of_bounds={"count": 0, "okay": "false"}), "says okay: False"),
    ("version", report(version="3"), "no integer 'version'"),
    ("size", row_with(size="8"), "no integer 'size'"),
    ("type", row_with(type=None), "no str 'type'"),
    ("root", row_with(root="somewhere"), "'somewhere' as the root rank"),
    ("in place only (trace replay)", row_with(out_of_place=None), "no dict 'out_of_place'"),
    ("nan", side_with(bus_bw="nan"), "'nan' where a number belongs"),
    ("no bandwidth", side_with(bus_bw=None), "'None' where a number belongs"),
    ("a boolean", side_with(alg_bw=True), "'True' where a number belongs"),
    ("too large", side_with(alg_bw=10**400), "where a number belongs"),
    ("no count of wrong values", row_with(out_of_place={"time": 1.0, "alg_bw": 1.0, "bus_bw": 1.0}), "where a number belongs"),
    ("devices", report(config={"devices": 3}), "no list 'devices'"),
    ("device", report(config={"devices": [3]}), "a device that is no object"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), [case[1:] for case in WRONG_JSON], ids=[case[0] for case in WRONG_JSON])
def test_what_is_no_report_is_refused(text: str, says: str) -> None:
    with pytest.raises(ProbeError, match=says) as caught:
        parse_json(text)
    assert SECRET not in str(caught.value)


# --- both ---


def test_both_agree() -> None:
    assert agrees(parse_text(TEXT), parse_json(JSON))


def test_what_only_one_says_is_no_disagreement() -> None:
    assert agrees(parse_text(output(COLD, WARM)), parse_json(without("args", "config", "nccl_version")))


def in_last_row(**changes: t.Any) -> str:
    rows = json.loads(JSON)["results"]
    return report(results=[rows[0], rows[1] | changes])


def in_place(**changes: t.Any) -> str:
    return in_last_row(in_place=json.loads(JSON)["results"][1]["in_place"] | changes)


DISAGREE = [
    ("library", report(nccl_version=22809)),
    ("collective", report(args=["/opt/all_reduce_perf"])),
    ("devices", report(config={"devices": json.loads(JSON)["config"]["devices"][:2]})),
    ("out of bounds", report(out_of_bounds={"count": 1, "okay": "false"})),
    ("a row less", report(results=json.loads(JSON)["results"][:1])),
    ("size", in_last_row(size=8)),
    ("count", in_last_row(count=8)),
    ("type", in_last_row(type="half")),
    ("redop", in_last_row(redop="sum")),
    ("root", in_last_row(root="     0")),
    ("wrong", in_place(nwrong=1.0)),
    ("unchecked", in_place(nwrong=None)),
    ("time", in_place(time=474171.0)),
    ("algbw", in_place(alg_bw=36.24)),
    ("busbw", in_place(bus_bw=24.16)),
]


@pytest.mark.parametrize("text", [case[1] for case in DISAGREE], ids=[case[0] for case in DISAGREE])
def test_both_disagree(text: str) -> None:
    assert not agrees(parse_text(TEXT), parse_json(text))


def printed(value: float, width: int) -> str:
    """getFloatStr of nccl-tests 2.19.6 and later."""
    for digits in (2, 1, 0):
        text = f"{value:{width}.{digits}f}"
        if len(text) <= width:
            return text
    return f"{value:{width}.1e}"


@given(time=st.floats(0, 9e10), algbw=st.floats(0, 999_999), busbw=st.floats(0, 999_999))
def test_what_is_printed_both_ways_agrees(time: float, algbw: float, busbw: float) -> None:
    side = f"  {printed(time, 7)}  {printed(algbw, 6)}  {printed(busbw, 6)}       0"
    text = parse_text(output(f"    33554400       2796200     float    none      -1{side}{side}"))
    exact = {"time": float(f"{time:f}"), "alg_bw": float(f"{algbw:f}"), "bus_bw": float(f"{busbw:f}"), "nwrong": 0.0}
    written = parse_json(row_with(out_of_place=exact, in_place=exact))
    assert agrees(text, written)
    wrong = dataclasses.replace(written.rows[0].in_place, busbw=busbw * 1.5 + 1)
    assert not agrees(text, dataclasses.replace(written, rows=(dataclasses.replace(written.rows[0], in_place=wrong),)))


@pytest.mark.parametrize(("code", "name"), [(23007, "2.30.7"), (22809, "2.28.9"), (23102, "2.31.2")])
def test_library_version(code: int, name: str) -> None:
    assert library_version(code) == name


# --- whatever comes ---

WORDS = [
    "#",
    "size",
    "count",
    "type",
    "redop",
    "root",
    "time",
    "algbw",
    "busbw",
    "#wrong",
    "8",
    "-1",
    "float",
    "N/A",
    "nan",
    "9" * 30,
    "²",
    "\x1c",
    "Out of bounds values : 0 OK",
]


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), max_size=6).map("\n".join),
    )
)
def test_arbitrary_text_parses_or_is_refused(text: str) -> None:
    try:
        parse_text(output(text))
    except ProbeError:
        pass


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


@given(st.data())
def test_arbitrary_reports_parse_or_are_refused(data: st.DataObject) -> None:
    whole = json.loads(JSON)
    target = data.draw(
        st.sampled_from(
            [
                whole,
                whole["config"],
                whole["config"]["devices"][0],
                whole["results"][0],
                whole["results"][0]["in_place"],
                whole["out_of_bounds"],
            ]
        )
    )
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(VALUES)
    try:
        parsed = parse_json(json.dumps(whole))
    except ProbeError as error:
        assert SECRET not in str(error)
    else:
        assert SECRET not in repr(parsed)
