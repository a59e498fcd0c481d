from __future__ import annotations

import json

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.probe.error import ProbeError
from ansible_collections.gb10.cluster.plugins.module_utils.probe.perftest import (
    Bandwidth,
    Latency,
    bandwidth_agrees,
    latency_agrees,
    parse_bandwidth,
    parse_latency,
    parse_version,
)
from hypothesis import given
from hypothesis import strategies as st

GBIT = " #bytes     #iterations    BW peak[Gb/sec]    BW average[Gb/sec]   MsgRate[Mpps]"
MB = " #bytes     #iterations    BW peak[MB/sec]    BW average[MB/sec]   MsgRate[Mpps]"
MIB = " #bytes     #iterations    BW peak[MiB/sec]    BW average[MiB/sec]   MsgRate[Mpps]"
LATENCY_TITLE = (
    " #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    t_stdev[usec]   "
    "99% percentile[usec]   99.9% percentile[usec] "
)
OWN = "00:00:00:00:00:00:00:00:00:00:255:255:10:210:00:01"
PEER = "00:00:00:00:00:00:00:00:00:00:255:255:10:210:00:02"
LINK_LOCAL = "254:128:00:00:00:00:00:00:80:84:00:255:254:00:00:01"


def output(row: str, title: str = GBIT, mtu: int = 4096, own: str = OWN, peer: str = PEER) -> str:
    return (
        " WARNING: BW peak won't be measured in this run.\n"
        " Number of qps   : 4\t\tTransport type : IB\n"
        f" Mtu             : {mtu}[B]\n Link type       : Ethernet\n"
        f" local address: LID 0000 QPN 0x0011 PSN 0xeb9c9c\n GID: {own}\n"
        f" remote address: LID 0000 QPN 0x0011 PSN 0x55dec1\n GID: {peer}\n"
        f"{title}\n{row}\n-----\n"
    )


# (id, row, title, gbps, iterations). Rows of health-checks 8 unless the id says otherwise.
ROWS = [
    (
        "quoted/capetron healthy",
        " 1048576    40005            0.00               111.86 \t\t   0.013335",
        GBIT,
        111.86,
        40005,
    ),
    (
        "quoted/nvidia guide mtu 1024",
        " 65536      882805           0.00               92.57                0.176554",
        GBIT,
        92.57,
        882805,
    ),
    ("quoted/clamp", " 1048576    9534             0.00               13.33  \t\t   0.001589", GBIT, 13.33, 9534),
    (
        "synthetic/below 0.1 prints six decimals",
        " 65536    300           0.134971            0.094733            0.002891",
        GBIT,
        0.094733,
        300,
    ),
    ("quoted/zero with rc 0", " 65536    5           0.000000            0.000000            0.000000", GBIT, 0.0, 5),
    (
        "quoted/one iteration",
        " 65536    1           0.000000            0.011185            0.000021",
        GBIT,
        0.011185,
        1,
    ),
    (
        "synthetic/24.01 without --report_gbits",
        " 65536    1000    13335.00    13334.66    0.213354",
        MB,
        13334.66 * 2**20 * 8 / 1e9,
        1000,
    ),
    (
        "synthetic/26.01 without --report_gbits",
        " 65536    1000    13335.00    13334.66    0.213354",
        MIB,
        13334.66 * 2**20 * 8 / 1e9,
        1000,
    ),
]


@pytest.mark.parametrize(
    ("row", "title", "gbps", "iterations"), [case[1:] for case in ROWS], ids=[case[0] for case in ROWS]
)
def test_bandwidth(row: str, title: str, gbps: float, iterations: int) -> None:
    parsed = parse_bandwidth(output(row, title))
    assert parsed.gbps == pytest.approx(gbps)
    assert parsed.iterations == iterations
    assert (parsed.qps, parsed.mtu, parsed.local_ipv4, parsed.remote_ipv4) == (4, 4096, "10.210.0.1", "10.210.0.2")


def test_bandwidth_of_a_whole_output(recorded) -> None:
    assert parse_bandwidth(recorded("ib_write_bw-25.01-format.txt")) == Bandwidth(
        gbps=111.86,
        iterations=40005,
        size_bytes=1048576,
        qps=4,
        mtu=4096,
        local_ipv4="192.168.100.1",
        remote_ipv4="192.168.100.2",
    )


def test_a_negotiated_mtu_is_what_counts() -> None:
    assert parse_bandwidth(output(ROWS[0][1], mtu=1024)).mtu == 1024


def test_a_link_local_gid_has_no_ipv4() -> None:
    parsed = parse_bandwidth(output(ROWS[0][1], own=LINK_LOCAL))
    assert (parsed.local_ipv4, parsed.remote_ipv4) == (None, "10.210.0.2")


def test_queue_pairs_with_different_gids_have_no_address() -> None:
    text = output(ROWS[0][1]).replace(" remote address", f" local address: LID 0000\n GID: {PEER}\n remote address", 1)
    assert parse_bandwidth(text).local_ipv4 is None


WRONG = [
    ("empty", "", "0 tables"),
    ("header without a row", output(""), "0 result rows"),
    ("two rows", output(f"{ROWS[0][1]}\n{ROWS[1][1]}"), "2 result rows"),
    ("two tables", output(ROWS[0][1]) + output(ROWS[0][1]), "2 tables"),
    ("unknown unit", output(ROWS[0][1], GBIT.replace("Gb", "furlong")), "no known unit"),
    ("not a number", output(" 65536 1000 0.00 fast 0.1"), "'fast'"),
    ("nan", output(" 65536 1000 0.00 nan 0.1"), "'nan'"),
    ("negative", output(" 65536 1000 0.00 -1.0 0.1"), "'-1.0'"),
    ("no mtu", output(ROWS[0][1]).replace("Mtu", "Nto"), "no 'Mtu'"),
    ("no qps", output(ROWS[0][1]).replace("Number of qps", "Number of cows"), "no 'Number of qps'"),
    ("limit glued to the row (-w)", output(ROWS[0][1] + " Error: BW result is below bw limit"), "0 result rows"),
]


@pytest.mark.parametrize(("text", "says"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_no_bandwidth_is_refused(text: str, says: str) -> None:
    with pytest.raises(ProbeError, match=says):
        parse_bandwidth(text)


# --- JSON ---

# The sample of health-checks 3.4 (24.01), and the same as 4.5 prints it.
JSON_24_01 = (
    '{"test_info":{"test":"RDMA_Write_BW_Test","Device":"rocep1s0f0","Number_of_qps":1,"Mtu":4096,"Link_type":"Ethernet",'
    '"GID_index":1},"results":{"MsgSize":4096,"n_iterations":300,"BW_peak":0.134971,"BW_average":0.094733,"MsgRate":0.002891}}'
)
JSON_4_5 = "{\ntest_info: {\ntest: RDMA_Write_BW_Test,\nDevice: rocep1s0f0,\n},\nresults: {\nMsgSize: 4096,\nBW_average: 0.094733,\n}\n}"
MEASURED = Bandwidth(0.094733, 300, 4096, 1, 4096, None, None)


def changed(section: str, **values: object) -> str:
    data = json.loads(JSON_24_01)
    data[section] |= values
    return json.dumps(data)


AGREEMENT = [
    ("quoted/24.01", JSON_24_01, True),
    ("synthetic/4.5 is not JSON", JSON_4_5, None),
    ("no file", None, None),
    ("empty file", "", None),
    ("another document", "[1]", None),
    ("no results", '{"test_info": {}}', None),
    ("other bandwidth", changed("results", BW_average=0.1947), False),
    ("other iterations", changed("results", n_iterations=299), False),
    ("other size", changed("results", MsgSize=8), False),
    ("other mtu", changed("test_info", Mtu=1024), False),
    ("other qps", changed("test_info", Number_of_qps=4), False),
    ("text for a number", changed("results", BW_average="0.094733"), False),
]


@pytest.mark.parametrize(("text", "agrees"), [case[1:] for case in AGREEMENT], ids=[case[0] for case in AGREEMENT])
def test_bandwidth_text_and_json(text: str | None, agrees: bool | None) -> None:
    assert bandwidth_agrees(MEASURED, text) is agrees


@given(
    gbps=st.floats(0, 400, allow_nan=False),
    iterations=st.integers(1, 10**9),
    size=st.sampled_from([8, 4096, 65536, 1048576]),
    mtu=st.sampled_from([1024, 2048, 4096]),
)
def test_what_perftest_prints_both_ways_agrees(gbps: float, iterations: int, size: int, mtu: int) -> None:
    shown = f"{gbps:.6f}" if gbps < 0.1 else f"{gbps:.2f}"
    parsed = parse_bandwidth(
        output(f" {size:<7d}    {iterations:<10d}       0.00            {shown}\t\t     0.1", mtu=mtu)
    )
    data = {
        "test_info": {"Mtu": mtu, "Number_of_qps": 4},
        "results": {"MsgSize": size, "n_iterations": iterations, "BW_average": float(shown)},
    }
    assert bandwidth_agrees(parsed, json.dumps(data)) is True
    data["results"]["BW_average"] = float(shown) + 0.02
    assert bandwidth_agrees(parsed, json.dumps(data)) is False


# --- latency ---

LATENCY_ROW = (
    " 8       5000          1.47           4.11         1.62     \t       1.63        \t0.05   \t\t1.81    \t\t3.93   "
)
LATENCY_JSON = {
    "test_info": {},
    "results": {"MsgSize": 8, "n_iterations": 5000, "t_typical": 1.62, "percentile_99": 1.81},
}


def test_latency() -> None:
    assert parse_latency(f"-----\n{LATENCY_TITLE}\n{LATENCY_ROW}\n-----\n") == Latency(1.62, 1.81, 5000, 8)


def test_latency_without_percentiles_has_none() -> None:
    title = LATENCY_TITLE.replace("99%", "some").replace("99.9%", "most")
    assert parse_latency(f"{title}\n{LATENCY_ROW}\n").p99_us is None


WRONG_LATENCY = [
    ("empty", "", "0 tables"),
    ("of -D", " #bytes        #iterations       t_avg[usec]    tps average\n 8  100  1.6  300000.00\n", "no t_typical"),
    ("no row", f"{LATENCY_TITLE}\n", "0 result rows"),
    ("not a number", f"{LATENCY_TITLE}\n{LATENCY_ROW.replace('1.62', 'soon')}\n", "'soon'"),
]


@pytest.mark.parametrize(
    ("text", "says"), [case[1:] for case in WRONG_LATENCY], ids=[case[0] for case in WRONG_LATENCY]
)
def test_what_is_no_latency_is_refused(text: str, says: str) -> None:
    with pytest.raises(ProbeError, match=says):
        parse_latency(text)


@pytest.mark.parametrize(
    ("values", "agrees"),
    [
        ({}, True),
        ({"t_typical": 9.0}, False),
        ({"percentile_99": 9.0}, False),
        ({"MsgSize": 2}, False),
        ({"n_iterations": 1}, False),
    ],
)
def test_latency_text_and_json(values: dict[str, float], agrees: bool) -> None:
    data = {"test_info": {}, "results": LATENCY_JSON["results"] | values}
    assert latency_agrees(Latency(1.62, 1.81, 5000, 8), json.dumps(data)) is agrees


def test_latency_without_json_is_not_compared() -> None:
    assert latency_agrees(Latency(1.62, None, 5000, 8), JSON_4_5) is None
    assert latency_agrees(Latency(1.62, None, 5000, 8), json.dumps(LATENCY_JSON)) is True


def test_version() -> None:
    assert parse_version("Version: 6.24\n") == "6.24"  # real: perftest 25.01.0 of Debian 13
    assert parse_version("error while loading shared libraries") is None
