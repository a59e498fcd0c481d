"""The screens of the project, as whole texts: what an operator reads is part of the contract."""

from __future__ import annotations

import dataclasses
import textwrap

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.admission import with_days
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.baseline import Kept
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.quarantine import Policy, advance, empty, kept_out
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.screen import (
    cabling_message,
    cabling_screen,
    memory_lines,
    verdict_message,
    verdict_screen,
)
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.wording import cleared, gbps, microseconds
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import GB10, LAB, half_of, set_bandwidth, set_both_halves
from ansible_collections.gb10.cluster.tests.unit.spark_tree import NOW


def text(lines):
    return "\n".join(line.text for line in lines)


def screen(reading, width=100, where="evidence/run.json"):
    return text(verdict_screen(decide(reading, "run"), where, width, reading.check_mode))


def drawn(picture):
    return textwrap.dedent(picture).strip("\n")


def test_admit():
    reading = builders.healthy_reading(builders.plan())
    assert screen(reading) == drawn("""
        fabric     triangle of 3 · MTU 9000 · 6 half-links            profile gb10-mtu9000-q4-64k

          half-link                  ->  Gb/s  <-  Gb/s        us    errors
          spark1 p0 a - p1 a spark2     111.9     111.9       1.6         0   pass
          spark1 p0 b - p1 b spark2     111.9     111.9       1.6         0   pass
          spark2 p0 a - p1 a spark3     111.9     111.9       1.6         0   pass
          spark2 p0 b - p1 b spark3     111.9     111.9       1.6         0   pass
          spark3 p0 a - p1 a spark1     111.9     111.9       1.6         0   pass
          spark3 p0 b - p1 b spark1     111.9     111.9       1.6         0   pass
          both halves at once, per link   195.8 · 195.8 · 195.8               pass
          NCCL all_gather 64 MiB, 3 ranks   5.8 GB/s busbw, IB on 4 rails     pass
          the same, per two nodes   9.4 · 9.4 · 9.4 GB/s                      pass

        ADMIT  spark1 spark2 spark3
        evidence evidence/run.json
        """)


def test_refuse():
    reading = builders.healthy_reading(builders.plan())
    for path in reading.plan["paths"]:
        if "spark3" in path["id"]:
            set_bandwidth(reading, path["id"], 13.3)
    assert screen(reading).partition("REFUSE\n")[2] == drawn("""
          because     P02 spark2 p0 a -> spark3 p1 a: 13.3 Gb/s, expected at least 95: a throttled NIC (and
                      7 more)
          suspect     spark3
          cleared     spark1, spark2 and the cable spark1:p0-spark2:p1
          do next     reboot spark3 with both cables attached; if unchanged power it off and unplug it for
                      60 s
          can serve   spark1+spark2, or each node alone; nothing was started
        evidence evidence/run.json
        """)


def at_once(reading, width=100):
    """The lines of the table about both halves at once."""
    lines = screen(reading, width).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  both halves at once"))
    after = next(number for number, line in enumerate(lines) if number > first and (not line or "NCCL" in line))
    return lines[first:after]


def of_nccl(reading, width=100):
    """The line about NCCL, and what follows it in the table."""
    lines = screen(reading, width).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  NCCL"))
    return lines[first : lines.index("", first)]


def test_nccl_that_is_slow_accuses_nobody():
    reading = builders.healthy_reading(builders.plan())
    for rank in reading.nccl.values():
        for run in rank["runs"]:
            run["busbw_gbs"] = 3.25
    assert of_nccl(reading) == [
        "  NCCL all_gather 64 MiB, 3 ranks   3.25 GB/s busbw, IB on 4 rails    fail  C04",
        "  the same, per two nodes   9.4 · 9.4 · 9.4 GB/s                      pass",
    ]
    assert screen(reading).partition("REFUSE\n")[2] == drawn("""
          because     C04: 3.25 GB/s, expected at least 5.2
          do next     measure again, with nothing else running on any node
          can serve   spark1+spark2, spark1+spark3, spark2+spark3, or each node alone; nothing was started
        evidence evidence/run.json
        """)


def test_a_slow_pair_of_nodes():
    reading = builders.healthy_reading(builders.plan())
    for node, peer in (("spark1", "spark2"), ("spark2", "spark1")):
        for pair in reading.nccl[node]["pairs"]:
            for run in pair["runs"]:
                run["busbw_gbs"] = 3.0 if pair["peer"] == peer else run["busbw_gbs"]
    assert of_nccl(reading)[1] == "  the same, per two nodes   3 · 9.4 · 9.4 GB/s                        fail  P06"
    assert screen(reading).partition("REFUSE\n")[2] == drawn("""
          because     P06 spark1+spark2: 3 GB/s, expected at least 8.3
          suspect     NCCL between spark1+spark2
          cleared     spark1, spark2, spark3 and the cables spark1:p0-spark2:p1, spark2:p0-spark3:p1,
                      spark3:p0-spark1:p1
          do next     measure again, with nothing else running on spark1 and spark2
          can serve   spark1+spark3, spark2+spark3, or each node alone; nothing was started
        evidence evidence/run.json
        """)


def test_two_nodes_are_one_pair_and_one_line():
    assert len(of_nccl(builders.healthy_reading(builders.plan("direct")))) == 1


def test_a_soak_has_a_line_where_it_was_asked_for():
    reading = builders.soaked(builders.healthy_reading(builders.plan()))
    assert of_nccl(reading)[2] == "  soak of collectives and matrices   10 min                           pass"
    reading.nccl["spark2"]["soak"] = None
    assert of_nccl(reading)[2] == "  soak of collectives and matrices   0 min                            unknown  C08"


def test_nccl_over_tcp_accuses_its_node_and_no_cable():
    reading = builders.healthy_reading(builders.plan())
    reading.nccl["spark2"]["log"].update(networks=["Socket"], transports={"NET/Socket": 8})
    shown = screen(reading)
    assert "because     C02 spark2: goes over TCP" in shown
    assert "suspect     spark2\n" in shown
    assert "can serve   spark1+spark3, or each node alone; nothing was started" in shown


def test_nccl_that_nobody_asked_for_is_one_note():
    reading = builders.healthy_reading(builders.plan(), nccl=None)
    assert of_nccl(reading) == [f"{'  NCCL was not measured':<67}   noted"]
    assert "ADMIT  spark1 spark2 spark3" in screen(reading)
    assert "C02" not in screen(reading)
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3)
    assert of_nccl(reading) == [f"{'  NCCL was not measured':<67}   noted"]


def test_nccl_that_was_asked_for_and_did_not_answer_refuses():
    assert of_nccl(builders.healthy_reading(builders.plan(), nccl={}))[0].endswith("unknown  N14")


def test_nccl_is_not_asked_for_in_the_lab():
    assert "NCCL" not in screen(builders.healthy_reading(builders.plan(), LAB))


def test_nccl_on_a_narrow_terminal():
    assert of_nccl(builders.healthy_reading(builders.plan()), 60) == [
        f"{'  NCCL all_gather 64 MiB, 3 ranks':<47}   pass",
        "    5.8 GB/s busbw, IB on 4 rails",
        f"{'  the same, per two nodes':<47}   pass",
        "    9.4 · 9.4 · 9.4 GB/s",
    ]


def test_both_halves_at_once_that_fail():
    reading = builders.healthy_reading(builders.plan())
    set_both_halves(reading, "spark2", "spark3", 13.3, 13.3)
    assert at_once(reading) == ["  both halves at once, per link   195.8 · 26.6 · 195.8                fail  P03"]
    assert screen(reading).partition("REFUSE\n")[2] == drawn("""
          because     P03 spark2 p0 -> spark3 p1: 26.6 Gb/s (13.3 + 13.3), expected at least 180: a
                      throttled NIC
          suspect     spark2, spark3
          cleared     spark1 and the cables spark1:p0-spark2:p1, spark2:p0-spark3:p1, spark3:p0-spark1:p1
          do next     reboot spark2 and spark3 with the cable attached
          can serve   spark1+spark2, spark1+spark3, or each node alone; nothing was started
        evidence evidence/run.json
        """)


def test_the_rows_of_the_halves_are_not_blamed_for_both():
    reading = builders.healthy_reading(builders.plan("direct"))
    set_both_halves(reading, "spark1", "spark2", 55.0, 55.0)
    shown = screen(reading)
    assert shown.count("         0   pass") == 2
    assert shown.count("fail  P03") == 1


def test_both_halves_at_once_behind_a_half_that_fails_alone():
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3)
    assert at_once(reading)[0].endswith("   blocked")


def test_both_halves_at_once_in_the_lab_are_noted():
    reading = builders.healthy_reading(builders.plan(), LAB)
    set_both_halves(reading, "spark1", "spark2", 0.001, 0.001)
    assert at_once(reading) == ["  both halves at once, per link   0.002 · 0.210 · 0.210               noted"]
    assert "noted       P03 spark1 p0 -> spark2 p1: 0.002 Gb/s (0.001 + 0.001)" in screen(reading)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (100, ["  both halves at once, per link   195.8 · 195.8 · 195.8               pass"]),
        (70, ["  both halves at once, per link   195.8 · 195.8 · 195.8     pass"]),
        (60, ["  both halves at once   195.8 · 195.8 · 195.8     pass"]),
        (40, ["  both halves at once                             pass", "    195.8 · 195.8 · 195.8"]),
    ],
)
def test_both_halves_at_once_on_narrow_terminals(width, lines):
    assert at_once(builders.healthy_reading(builders.plan()), width) == lines


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (80, ["  both halves at once   195.8 · 195.8 · 195.8 · 195.8 · 195.8 · 195.8   pass"]),
        (70, [f"{'  both halves at once':<60}pass", "    195.8 · 195.8 · 195.8 · 195.8 · 195.8 · 195.8"]),
        (40, [f"{'  both halves at once':<50}pass", "    195.8 · 195.8 · 195.8 · 195.8 ·", "    195.8 · 195.8"]),
    ],
)
def test_six_pairs_take_the_room_there_is(width, lines):
    assert at_once(builders.healthy_reading(builders.plan("switch", 4)), width) == lines


def test_both_directions_have_a_number_of_their_own():
    reading = builders.healthy_reading(builders.plan("direct"))
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3, "spark2")
    assert "  spark1 p0 a - p1 a spark2     111.9      13.3       1.6         0   fail  P02" in screen(reading)


def test_a_node_that_is_off_shows_as_the_reason_of_its_rows():
    reading = builders.healthy_reading(builders.plan())
    for answers in (reading.facts, reading.discoveries, reading.measurements):
        del answers["spark3"]
    shown = screen(reading)
    assert "  spark2 p0 a - p1 a spark3     111.9         -       1.6         0   blocked by N00 spark3" in shown
    assert "because     N00 spark3: did not answer" in shown


def test_what_is_observed_is_noted_and_does_not_refuse():
    reading = builders.healthy_reading(builders.plan())
    for node in ("spark1", "spark2"):
        reading.facts[node]["hazards"] = ["module mstflint_access is loaded", "mlnx-fw-updater", "sync probe"]
    shown = screen(reading)
    assert "noted       N12 spark1: module mstflint_access is loaded; mlnx-fw-updater; sync probe" in shown
    assert "ADMIT" in shown


def many_notes():
    """One of N04 on each node, of N12 on each node, of L07 on one half, and of C07 on two paths."""
    reading = builders.healthy_reading(builders.plan())
    for node in reading.plan["nodes"]:
        half_of(reading, node, "p0", "a")["rdma"]["fw_ver"] = "28.40.1000"
        reading.facts[node]["hazards"] = ["mlnx-fw-updater"]
    half_of(reading, "spark2", "p0", "b")["carrier_down_count"] = 2
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 98.0)
    return reading


def test_there_is_one_note_for_each_check():
    shown = screen(many_notes())
    notes = shown.partition("ADMIT")[0].rpartition("pass\n\n")[2]
    assert textwrap.dedent(notes).strip("\n") == drawn("""
          noted       N04 spark1: one NIC, several firmwares: 28.40.1000, 28.45.4028 (and 2 more)
          noted       N12 spark1: mlnx-fw-updater (and 2 more)
          noted       L07 spark2 p0 b: lost its carrier 2 times since run first
          noted       C07 spark1 p0 a -> spark2 p1 a: 98 Gb/s, 12.4% less than the 111.9 of run first (and 1
                      more)
        """)


def test_many_notes_are_counted():
    reading = many_notes()
    reading.profile["required"].remove("N13")
    reading.profile["observe"].append("N13")
    reading.facts["spark1"]["reboot_required"] = True
    shown = screen(reading)
    assert "and 1 more check in the evidence" in shown
    assert "C07" not in shown


def test_an_observed_check_that_passes_says_nothing():
    assert "noted" not in screen(builders.healthy_reading(builders.plan()))
    assert "noted" not in screen(builders.healthy_reading(builders.plan(), baseline={}, carriers={}))


@pytest.mark.parametrize(
    ("added", "renewed", "says"),
    [
        (0, 0, []),
        (27, 0, ["baseline 27 numbers kept for later runs to be compared with"]),
        (0, 1, ["baseline 1 number renewed"]),
        (2, 25, ["baseline 2 numbers kept for later runs to be compared with, 25 numbers renewed"]),
    ],
)
def test_what_the_run_did_to_the_baseline(added, renewed, says):
    assert [line.text for line in memory_lines(Kept({}, added, renewed))] == says


@pytest.mark.parametrize(
    ("seconds", "says"), [(None, ""), (0.4, " · 0 s"), (59.6, " · 1 min 0 s"), (131.8, " · 2 min 12 s")]
)
def test_how_long_it_took(seconds, says):
    reading = builders.healthy_reading(builders.plan())
    shown = text(verdict_screen(decide(reading, "run", "2026-11-23T14:20:00+00:00", seconds), "where", 100, False))
    assert shown.endswith(f"\nevidence where{says}")


def test_pieces_of_a_suspect_are_not_named_again():
    reading = builders.healthy_reading(builders.plan("direct"))
    reading.facts["spark1"]["kernel_log"] = None
    reading.facts["spark1"]["netplan_files"] = []
    reading.discoveries.update(builders.cabled(reading.plan, []))
    reading.facts["spark2"]["netplan_files"] = []
    assert "  suspect     spark1, spark2 p1\n" in screen(reading)


def test_check_mode():
    reading = builders.healthy_reading(builders.plan("direct"))
    reading = dataclasses.replace(reading, check_mode=True, measurements={})
    assert screen(reading, where=None) == drawn("""
        fabric     direct of 2 · MTU 9000 · 2 half-links              profile gb10-mtu9000-q4-64k

          half-link                  ->  Gb/s  <-  Gb/s        us    errors
          spark1 p0 a - p1 a spark2         -         -         -         -   not measured
          spark1 p0 b - p1 b spark2         -         -         -         -   not measured
          both halves at once, per link   -                                   not measured
          NCCL all_gather   -                                                 not measured

        WOULD NOT ADMIT  check mode measures nothing
          do next     run without --check to measure
        no evidence was written
        """)


def test_check_mode_tells_what_is_wrong_already():
    reading = builders.healthy_reading(builders.plan("direct"))
    half_of(reading, "spark1", "p0", "a")["mtu"] = 1500
    shown = screen(dataclasses.replace(reading, check_mode=True, measurements={}))
    assert "fail  L04" in shown
    assert "do next     run site.yml: role fabric sets MTU 9000 live on spark1" in shown
    assert "can serve" not in shown


def test_what_one_run_repairs_is_one_thing_to_do():
    reading = builders.healthy_reading(builders.plan("direct"))
    half_of(reading, "spark1", "p0", "a")["mtu"] = 1500
    half_of(reading, "spark2", "p1", "b")["mtu"] = 1500
    reading.facts["spark2"]["netplan_files"] = []
    shown = screen(reading)
    assert "  do next     run site.yml: it repairs L04, L10 on spark1, spark2\n" in shown


def test_moves_of_plugs_are_numbered():
    reading = builders.healthy_reading(builders.plan("direct"))
    reading.discoveries.update(builders.cabled(reading.plan, [(("spark1", "p1"), ("spark2", "p0"))]))
    shown = screen(reading)
    assert "do next     1. spark1: move the plug from p1 to p0\n" in shown
    assert "            2. spark2: move the plug from p0 to p1\n" in shown


def test_single_node():
    shown = screen(builders.healthy_reading(builders.plan("single")))
    assert "fabric     single node · MTU 9000 · 0 half-links" in shown
    assert "one node, no fabric to measure" in shown
    assert "ADMIT  spark1" in shown


def test_switch():
    assert "spark2 p0 b - p0 b spark3" in screen(builders.healthy_reading(builders.plan("switch")))


@pytest.mark.parametrize("width", [40, 60, 79, 100, 120])
@pytest.mark.parametrize("name", [GB10, LAB])
def test_no_line_is_wider_than_the_terminal(width, name):
    reading = builders.healthy_reading(builders.plan(), name)
    half_of(reading, "spark1", "p0", "a")["mtu"] = 1500
    # A terminal narrower than the two bandwidths wraps; anything that can be read side by side fits.
    assert all(len(line) <= max(width, 60) for line in screen(reading, width).splitlines())


def test_a_style_for_every_outcome():
    reading = builders.healthy_reading(builders.plan())
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 13.3)
    set_bandwidth(reading, "spark1:p0:b-spark2:p1:b", 90.0)
    lines = verdict_screen(decide(reading, "run"), None, 100, False)
    styles = {line.text.split("   ")[-1]: line.style for line in lines if " - p1 " in line.text}
    assert styles == {"fail  P02": "bad", "degraded  P02": "warn", "pass": "good"}


# --- cabling ---

DIRECT = builders.plan("direct")
TRIANGLE = builders.plan("triangle")
P0_P0 = [
    (("spark1", "p0"), ("spark2", "p0")),
    (("spark2", "p1"), ("spark3", "p1")),
    (("spark3", "p0"), ("spark1", "p1")),
]


def test_the_planned_cabling_is_one_line():
    lines = cabling_screen(TRIANGLE, builders.healthy_discoveries(TRIANGLE), 100, False)
    assert text(lines) == "cabling    3 cables as planned"
    assert cabling_message(TRIANGLE, builders.healthy_discoveries(TRIANGLE)) is None


def test_stop():
    assert text(cabling_screen(TRIANGLE, builders.cabled(TRIANGLE, P0_P0), 120, False)) == drawn("""
        STOP  cabling differs from the plan; nothing was changed
          spark2: swap the plugs of p0 and p1    (found p0 - p0 with spark1; a triangle joins p0 to p1 on every cable)
        """)
    assert cabling_message(TRIANGLE, builders.cabled(TRIANGLE, P0_P0)) == (
        "The cabling is not the planned one, nothing was changed: spark2: swap the plugs of p0 and p1"
    )


def test_stop_on_a_narrow_terminal_puts_the_reason_below():
    assert text(cabling_screen(DIRECT, builders.cabled(DIRECT, P0_P0[:1]), 79, False)) == drawn("""
        STOP  cabling differs from the plan; nothing was changed
          spark2: move the plug from p0 to p1
                      (found p0 - p0 with spark1; the plan joins spark1 p0 to spark2
                      p1)
        """)


def test_stop_when_nobody_answers_is_not_a_claim_about_cables():
    lines = cabling_screen(DIRECT, {}, 120, False)
    assert lines[0].text == "STOP  cabling is not proven; nothing was changed"
    assert lines[0].style == "bad"


def test_check_mode_cannot_raise_a_link_and_says_so():
    lines = cabling_screen(DIRECT, builders.cabled(DIRECT, []), 120, True)
    assert lines[0].text == "NOTE  cabling is not proven; nothing was changed"
    assert "check mode does not raise a link" in lines[-1].text


# --- words and numbers ---


def test_verdict_in_one_sentence():
    reading = builders.healthy_reading(builders.plan())
    assert verdict_message(decide(reading, "run")["verdict"]) == "admitted"
    reading.facts.clear()
    message = verdict_message(decide(reading, "run")["verdict"])
    assert message == "Not admitted: N00 spark1, N00 spark2, N00 spark3"
    set_bandwidth(reading := builders.healthy_reading(builders.plan()), "spark1:p0:a-spark2:p1:a", 13.3)
    set_bandwidth(reading, "spark1:p0:b-spark2:p1:b", 13.3)
    assert verdict_message(decide(reading, "run")["verdict"]).endswith("and 1 more")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.0, "0.000"), (0.1234, "0.123"), (4.853, "4.85"), (13.33, "13.3"), (111.86, "111.9")],
)
def test_gbps(value, shown):
    assert gbps(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(None, "-"), (1.62, "1.6"), (42.04, "42.0"), (2400.4, "2400")])
def test_microseconds(value, shown):
    assert microseconds(value) == shown


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], "nothing yet"),
        (["plane a"], "nothing yet"),
        (["node spark1"], "spark1"),
        (["link a:p0-b:p1"], "the cable a:p0-b:p1"),
        (["node a", "node b", "link a:p0-b:p1", "link b:p0-c:p1"], "a, b and the cables a:p0-b:p1, b:p0-c:p1"),
    ],
)
def test_cleared(names, shown):
    assert cleared(names) == shown


# --- admission, waivers, quarantine ---


def end(evidence, width=100):
    """What follows the table."""
    lines = [line.text for line in verdict_screen(evidence, "evidence/run.json", width, False)]
    return "\n".join(lines[[number for number, line in enumerate(lines) if not line][1] + 1 :])


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (79, "ADMIT  spark1 spark2 spark3    7 days at most, this boot, these versions"),
        (70, "ADMIT  spark1 spark2 spark3\n       7 days at most, this boot, these versions"),
    ],
)
def test_an_admission_says_how_long_it_holds(width, shown):
    evidence = decide(builders.healthy_reading(builders.plan()), "run")
    evidence["verdict"] = with_days(evidence["verdict"], 7)
    assert end(evidence, width) == f"{shown}\nevidence evidence/run.json"


def test_a_waiver_is_shown_with_what_it_accepts():
    reading = builders.healthy_reading(builders.plan(), baseline={})
    set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 90.0, "spark1")
    waiver = {"check": "P02", "subject": "spark1:p0:a>spark2:p1:a", "reason": "new cable on the 10th"}
    evidence = decide(
        reading, "run", waivers=[waiver | {"expires": "2026-12-11"}, waiver | {"expires": "2026-01-01"}], now=NOW
    )
    shown = text(verdict_screen(evidence, "evidence/run.json", 100, False))
    assert "spark1 p0 a - p1 a spark2      90.0     111.9       1.6         0   waived  P02\n" in shown
    assert end(evidence) == drawn("""
          waived      P02 spark1 p0 a -> spark2 p1 a: 90 Gb/s, expected at least 95; accepted until
                      2026-12-12T00:00:00Z: new cable on the 10th
          note        waiver P02 spark1:p0:a>spark2:p1:a does not help: it ended at 2026-01-02T00:00:00Z

        ADMIT  spark1 spark2 spark3
        evidence evidence/run.json
        """)


def test_a_waiver_for_both_halves_is_no_note():
    reading = builders.healthy_reading(builders.plan())
    set_both_halves(reading, "spark1", "spark2", 85.0, 85.0)
    waiver = {"check": "P03", "subject": "spark1:p0>spark2:p1", "reason": "known", "expires": "2026-12-11"}
    evidence = decide(reading, "run", waivers=[waiver], now=NOW)
    line = next(row.text for row in verdict_screen(evidence, None, 100, False) if "at once" in row.text)
    assert line.endswith("waived  P03")


def test_a_quarantine_says_since_when_why_and_what_releases():
    broken = builders.healthy_reading(builders.plan())
    del broken.facts["spark3"]["halves"][3]
    memory = advance(empty(), decide(broken, "run"), Policy(600), NOW)
    evidence = kept_out(decide(builders.healthy_reading(builders.plan()), "run"), memory, 600)
    assert end(evidence) == drawn("""
        REFUSE
          because     spark3 is in quarantine since 2026-11-24T12:00:00Z for N02 spark3: 3 of 4 NIC
                      functions found
          do next     see to it, then acknowledge it with -e gate_acknowledge=spark3; two full passes at
                      least 600 s apart release spark3
          can serve   spark1+spark2, or spark1 or spark2 alone; nothing was started
        evidence evidence/run.json
        """)
