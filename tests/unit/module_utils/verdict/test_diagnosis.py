from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.matrix import parts
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.wording import suspect
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import half_of, set_bandwidth, set_both_halves


def diagnosis(plan, spoil):
    reading = builders.healthy_reading(plan)
    spoil(reading)
    return decide(reading, "run")["verdict"]["diagnosis"]


def slow(*paths, sender=None):
    def spoil(reading):
        for path in paths:
            set_bandwidth(reading, path, 13.3, sender)

    return spoil


@pytest.mark.parametrize("topology", ["triangle", "switch"])
def test_each_single_fault_of_the_matrix_is_found_from_the_numbers(topology):
    plan = builders.plan(topology)
    for part in parts(plan):
        found = diagnosis(plan, slow(*part.footprint))
        assert found["suspects"] == [part.name]
        assert found["failing_paths"] == [path["id"] for path in plan["paths"] if path["id"] in part.footprint]
        assert found["next_action"]
        assert part.name not in found["exonerated"]


def at_once(*pairs, gbps=(55.0, 55.0)):
    def spoil(reading):
        for sender, receiver in pairs:
            set_both_halves(reading, sender, receiver, *gbps)

    return spoil


ONE_TWO, TWO_THREE, ONE_THREE = ("spark1", "spark2"), ("spark2", "spark3"), ("spark1", "spark3")


@pytest.mark.parametrize(
    ("pairs", "suspects"),
    [
        pytest.param([ONE_TWO], ["node spark1", "node spark2"], id="one pair: either end"),
        pytest.param([TWO_THREE, ONE_THREE], ["node spark3"], id="the node of both pairs"),
        pytest.param([ONE_TWO, ONE_THREE], ["node spark1"], id="the node that sends to both"),
        pytest.param(
            [ONE_TWO, TWO_THREE, ONE_THREE], ["node spark1", "node spark2", "node spark3"], id="all: nobody is cleared"
        ),
    ],
)
@pytest.mark.parametrize("topology", ["triangle", "switch"])
def test_where_only_both_halves_at_once_fail_it_is_a_node_and_no_cable(topology, pairs, suspects):
    found = diagnosis(builders.plan(topology), at_once(*pairs))
    assert found["suspects"] == suspects
    assert not set(suspects) & set(found["exonerated"])
    assert not any(name.startswith(("link", "half-link", "plane")) for name in found["suspects"])
    assert len(found["failing_paths"]) == 2 * len(pairs)
    assert "compare the PCIe links (N03)" in found["next_action"]


def test_two_nodes_that_cannot_carry_both_halves_at_once():
    found = diagnosis(builders.plan("direct"), at_once(ONE_TWO, gbps=(13.3, 13.3)))
    assert found["suspects"] == ["node spark1", "node spark2"]
    assert "link spark1:p0-spark2:p1" in found["exonerated"]
    assert found["next_action"] == "reboot spark1 and spark2 with the cable attached"


def test_a_half_that_fails_alone_is_the_nearer_suspect():
    def spoil(reading):
        set_bandwidth(reading, "spark1:p0:a-spark2:p1:a", 90.0)  # degraded: it blocks nothing
        set_both_halves(reading, "spark1", "spark2", 70.0, 80.0)

    found = diagnosis(builders.plan(), spoil)
    assert found["suspects"] == ["half-link spark1:p0:a-spark2:p1:a"]


def test_what_is_wrong_elsewhere_does_not_hide_a_node_that_cannot_do_both():
    def spoil(reading):
        set_bandwidth(reading, "spark2:p0:a-spark3:p1:a", 13.3)
        set_both_halves(reading, "spark1", "spark2", 55.0, 55.0)

    found = diagnosis(builders.plan(), spoil)
    assert found["suspects"] == ["half-link spark2:p0:a-spark3:p1:a", "node spark2"]


def test_one_bad_direction_makes_a_bad_path():
    found = diagnosis(builders.plan(), slow("spark1:p0:a-spark2:p1:a", sender="spark2"))
    assert found["suspects"] == ["half-link spark1:p0:a-spark2:p1:a"]
    assert "node spark1" in found["exonerated"]
    # The cable carries its other half, but to call it cleared beside a suspect half of it would read as a contradiction.
    assert "link spark1:p0-spark2:p1" not in found["exonerated"]


def test_an_unplugged_cable_is_a_matter_of_the_cabling_and_of_the_plug():
    plan = builders.plan()

    def unplug(reading):
        ends = [("spark2", "p0"), ("spark3", "p1")]
        rest = [(("spark1", "p0"), ("spark2", "p1")), (("spark3", "p0"), ("spark1", "p1"))]
        reading.discoveries.update(builders.cabled(plan, rest))
        for node, cage in ends:
            for half in ("a", "b"):
                half_of(reading, node, cage, half)["carrier"] = False

    found = diagnosis(plan, unplug)
    assert found["suspects"] == ["cage spark2:p0", "cage spark3:p1", "link spark2:p0-spark3:p1"]
    assert found["next_action"] == "spark2 p0: no cable seen"


def test_a_setting_explains_itself_and_the_cable_is_not_accused():
    found = diagnosis(builders.plan(), lambda r: half_of(r, "spark1", "p0", "a").update(mtu=1500))
    assert found["suspects"] == ["port spark1:p0:a"]
    assert found["failing_paths"] == ["spark1:p0:a-spark2:p1:a"]
    assert found["next_action"] == "run site.yml: role fabric sets MTU 9000 live on spark1"
    assert "node spark1" not in found["exonerated"]


def test_a_finding_of_the_cluster_names_its_nodes():
    found = diagnosis(builders.plan("direct"), lambda r: r.facts["spark2"].update(kernel="6.17.0-1008-nvidia"))
    # An old kernel is also an update that is half done.
    assert found["suspects"] == ["node spark2", "difference between spark1 and spark2"]


def test_a_finding_without_a_remedy_is_the_next_action_itself():
    found = diagnosis(builders.plan(), lambda r: r.facts["spark2"].update(kernel_log=None))
    assert found["suspects"] == ["node spark2"]
    assert found["next_action"] == "N11 spark2: kernel_log is not known"


def test_a_dead_half_is_a_plug_to_look_at_first():
    found = diagnosis(builders.plan(), lambda r: half_of(r, "spark1", "p0", "a").update(carrier=False))
    assert found["suspects"] == ["half-link spark1:p0:a-spark2:p1:a"]
    assert found["next_action"] == "see that the plug is seated in spark1 p0 and at the far end"


def test_errors_everywhere_are_not_a_plug():
    """As on virtual nodes whose emulated wire timed out on every path: one cause, and not the first cable of the list."""

    def errors(reading):
        for measurement in reading.measurements.values():
            for growth in measurement["counter_deltas"].values():
                growth["packet_seq_err"] = 400

    found = diagnosis(builders.plan(), errors)
    assert found["suspects"] == ["common cause"]
    assert "before any cable" in found["next_action"]


def test_two_faults_that_can_be_told_in_several_ways_come_with_the_action_that_tells():
    plan = builders.plan()
    found = diagnosis(plan, slow(*(path["id"] for path in plan["paths"][:5])))
    assert len(found["suspects"]) > 1
    assert found["next_action"].startswith("tell ")
    assert "reboot" in found["next_action"]
    halves = diagnosis(plan, slow(plan["paths"][0]["id"], plan["paths"][3]["id"]))
    assert halves["suspects"] == [
        "half-link spark1:p0:a-spark2:p1:a and half-link spark2:p0:b-spark3:p1:b",
    ]


def test_without_a_node_among_the_suspects_cables_are_swapped():
    found = diagnosis(
        builders.plan(),
        slow("spark1:p0:a-spark2:p1:a", "spark1:p0:b-spark2:p1:b", "spark2:p0:a-spark3:p1:a"),
    )
    assert found["suspects"] == [
        "controller spark2:a and link spark1:p0-spark2:p1",
        "controller spark2:a and half-link spark1:p0:b-spark2:p1:b",
        "link spark1:p0-spark2:p1 and half-link spark2:p0:a-spark3:p1:a",
    ]
    assert found["next_action"].endswith(
        "swap two cables and measure again: the fault moves with a cable and stays with a node"
    )


@pytest.mark.parametrize(
    ("failing", "says"),
    [
        pytest.param(slice(None), "the only cable", id="both halves"),
        pytest.param(slice(0, 1), "N03", id="one half"),
    ],
)
def test_two_nodes(failing, says):
    plan = builders.plan("direct")
    found = diagnosis(plan, slow(*(path["id"] for path in plan["paths"][failing])))
    assert says in found["next_action"]


def test_no_measurement_from_one_node_points_at_that_node():
    found = diagnosis(builders.plan(), lambda r: r.measurements.pop("spark3"))
    assert found["suspects"] == ["node spark3"]


def test_no_verbs_anywhere_is_one_common_cause_and_not_six_cables():
    """As in containers, where there is no RDMA device."""

    def without_verbs(reading):
        for facts in reading.facts.values():
            facts["uverbs"] = []
            for half in facts["halves"]:
                half["rdma"] = None
        for measurement in reading.measurements.values():
            measurement.update(directions=[], served=[], counter_deltas={}, skipped="this node has no RDMA device")

    found = diagnosis(builders.plan(), without_verbs)
    assert found["suspects"] == ["node spark1", "node spark2", "node spark3", "common cause"]
    assert "drivers of the NIC" in found["next_action"]


def test_nothing_to_say_about_a_healthy_cluster():
    found = diagnosis(builders.plan(), lambda r: None)
    assert (found["suspects"], found["failing_paths"], found["next_action"]) == ([], [], None)
    assert len(found["exonerated"]) == 20


@pytest.mark.parametrize(
    ("name", "topology", "words"),
    [
        pytest.param("node spark3", "triangle", "spark3", id="node"),
        pytest.param("node spark3", "switch", "spark3, its cable or its switch port", id="node behind a switch"),
        pytest.param("controller spark3:b", "triangle", "half b of spark3 (PCI domain 0002)", id="controller"),
        pytest.param("link spark1:p0-spark2:p1", "triangle", "the cable spark1:p0-spark2:p1", id="link"),
        pytest.param(
            "half-link a-1:p0:b-a-2:p1:b", "triangle", "half b of the cable a-1:p0-a-2:p1", id="names with dashes"
        ),
        pytest.param("plane a", "triangle", "half a on every node", id="plane"),
        pytest.param("common cause", "triangle", "one cause behind all of them", id="common"),
        pytest.param("path spark1:p0:a-spark2:p0:a", "switch", "the way between spark1:p0-spark2:p0", id="path"),
        pytest.param("port spark1:p0:a", "triangle", "spark1 p0 a", id="port"),
        pytest.param("node spark1 and plane b", "triangle", "spark1 and half b on every node", id="two"),
        pytest.param(
            "difference between spark1 and spark2", "triangle", "difference between spark1 and spark2", id="difference"
        ),
    ],
)
def test_suspects_in_words(name, topology, words):
    assert suspect(name, builders.plan(topology)) == words
