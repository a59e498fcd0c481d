from __future__ import annotations

import itertools

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


def slow(*paths, sender=None, gbps=13.3):
    def spoil(reading):
        for path in paths:
            set_bandwidth(reading, path, gbps, sender)

    return spoil


@pytest.mark.parametrize(("topology", "nodes", "count"), [("triangle", 3, 21), ("switch", 3, 12), ("switch", 4, 15)])
def test_each_single_fault_of_the_matrix_is_found_from_the_numbers(topology, nodes, count):
    plan = builders.plan(topology, nodes)
    assert len(parts(plan)) == count
    for part in parts(plan):
        found = diagnosis(plan, slow(*part.footprint))
        assert found["suspects"] == [part.name]
        assert found["failing_paths"] == [path["id"] for path in plan["paths"] if path["id"] in part.footprint]
        assert found["next_action"]
        # What a passing path crosses is cleared, but not the whole of which the suspect is a piece.
        passing = {path["id"] for path in plan["paths"]} - part.footprint
        crossed = {other.name for other in parts(plan) if not other.footprint.isdisjoint(passing)} - {"common cause"}
        assert set(found["exonerated"]) <= crossed
        node = {f"node {part.what.partition(':')[0]}"} if part.kind == "controller" else set()
        link = {f"link {part.what.replace(':a', '').replace(':b', '')}"} if part.kind == "half-link" else set()
        assert crossed - set(found["exonerated"]) == node | link


OTHER_CAGES = "move both plugs of the only cable to the other cages and declare that in fabric_cabling"


@pytest.mark.parametrize(
    ("topology", "nodes", "fault", "says"),
    [
        pytest.param("triangle", 3, "node spark1", "reboot spark1 with both cables attached", id="triangle: node"),
        pytest.param("triangle", 3, "controller spark2:b", "read N03 on spark2 (expect", id="triangle: PCI domain"),
        pytest.param(
            "triangle", 3, "link spark2:p0-spark3:p1", "swap cable spark2:p0-spark3:p1 with cable spark1", id="cable"
        ),
        pytest.param(
            "triangle",
            3,
            "half-link spark1:p0:a-spark2:p1:a",
            "swap its cable with cable spark2:p0-spark3:p1",  # no cage of a triangle is free
            id="triangle: half of a cable",
        ),
        pytest.param("triangle", 3, "plane b", "compare addresses, subnets and MTU of half b", id="triangle: plane"),
        pytest.param("triangle", 3, "common cause", "before any cable", id="triangle: everything"),
        pytest.param("direct", 2, "link spark1:p0-spark2:p1", OTHER_CAGES, id="direct: both halves"),
        pytest.param("direct", 2, "plane a", "compare PCIe (N03), address and MTU of this half", id="direct: a half"),
        pytest.param("switch", 2, "node spark1", "move the cable of spark1 to a spare switch port", id="switch of 2"),
        pytest.param("switch", 2, "plane a", "reboot spark1 with its cable attached", id="switch of 2: a half"),
        pytest.param(
            "switch",
            3,
            "node spark3",
            "move the cable of spark3 to a spare switch port; if unchanged, use its other cage",
            id="switch: node side",
        ),
        pytest.param("switch", 4, "node spark4", "move the cable of spark4 to a spare switch port", id="switch of 4"),
        pytest.param("switch", 3, "controller spark2:b", "read N03 on spark2", id="switch: PCI domain"),
        pytest.param("switch", 3, "plane a", "compare addresses, subnets and MTU of half a", id="switch: plane"),
        pytest.param(
            "switch",
            3,
            "common cause",
            "so look at crs812: it is on, and all fabric ports are in one bridge",
            id="the switch",
        ),
    ],
)
def test_the_next_action_fits_the_topology(topology, nodes, fault, says):
    plan = builders.plan(topology, nodes)
    part = next(part for part in parts(plan) if part.name == fault)
    assert says in diagnosis(plan, slow(*part.footprint, gbps=60.0))["next_action"]


@pytest.mark.parametrize(("topology", "nodes"), [("direct", 2), ("switch", 2), ("switch", 3)])
def test_no_cable_is_swapped_with_another_where_there_is_none_to_swap(topology, nodes):
    plan = builders.plan(topology, nodes)
    paths = [path["id"] for path in plan["paths"]]
    for size in range(1, len(paths) + 1):
        for failing in itertools.combinations(paths, size):
            action = diagnosis(plan, slow(*failing, gbps=60.0))["next_action"]
            assert action
            assert "swap" not in action
            # A cable to a switch has one end at a node: only that can be named.
            assert "only cable" not in action or topology == "direct"


# --- behind a switch ---


def test_all_paths_slow_and_no_host_counts_an_error_is_the_switch():
    """As with the CRS804 of health-checks 5.2."""
    plan = builders.plan("switch", 3)
    every = [path["id"] for path in plan["paths"]]
    assert diagnosis(plan, slow(*every, gbps=60.0))["suspects"] == ["switch crs812"]
    second_bridge = diagnosis(plan, slow(*every, gbps=4.85))
    assert second_bridge["suspects"] == ["switch crs812"]
    assert second_bridge["next_action"] == "see that all fabric ports are in one bridge and offloaded to hardware"


def test_throttled_nics_count_no_errors_either_and_are_not_the_switch():
    plan = builders.plan("switch", 3)
    found = diagnosis(plan, slow(*(path["id"] for path in plan["paths"])))
    assert found["suspects"] == ["common cause"]
    assert found["next_action"] == "reboot spark1, spark2, spark3 with the cable attached"


def test_a_host_that_counts_errors_keeps_the_switch_out():
    def spoil(reading):
        slow(*(path["id"] for path in reading.plan["paths"]), gbps=60.0)(reading)
        reading.measurements["spark1"]["counter_deltas"]["rocep1s0f0"]["local_ack_timeout_err"] = 7

    assert diagnosis(builders.plan("switch", 3), spoil)["suspects"] == ["common cause"]


@pytest.mark.parametrize(
    ("nodes", "near", "far", "suspect_"),
    [
        pytest.param(3, ["spark1"], ["spark2"], "path spark1-spark2", id="two nodes that miss each other"),
        pytest.param(
            4, ["spark1", "spark3"], ["spark2", "spark4"], "path spark1+spark3-spark2+spark4", id="two on each bridge"
        ),
    ],
)
def test_a_way_through_the_switch(nodes, near, far, suspect_):
    plan = builders.plan("switch", nodes)
    between = [
        path["id"]
        for path in plan["paths"]
        if {end["node"] for end in path["ends"]} & {*near} and {end["node"] for end in path["ends"]} & {*far}
    ]
    found = diagnosis(plan, slow(*between, gbps=4.85))
    assert found["suspects"] == [suspect_]
    assert found["next_action"].startswith("look at the switch between the ends of")
    assert {f"node {node}" for node in plan["nodes"]} <= set(found["exonerated"])


# --- one direction ---

PATH = "spark1:p0:a-spark2:p1:a"
DEVICES = {"spark1": "rocep1s0f0", "spark2": "rocep1s0f1"}


def failing_one_way(sender, counter, *nodes, halves="a"):
    """Slow from one node to the other, with a counter that grew at some nodes."""

    def spoil(reading):
        for half in halves:
            set_bandwidth(reading, PATH.replace(":a", f":{half}"), 60.0, sender)
            for node in nodes:
                device = DEVICES[node] if half == "a" else DEVICES[node].replace("rocep", "roceP2p")
                reading.measurements[node]["counter_deltas"][device][counter] = 9

    return spoil


@pytest.mark.parametrize("counter", ["packet_seq_err", "out_of_sequence", "rx_crc_errors_phy"])
@pytest.mark.parametrize("topology", ["triangle", "direct"])
def test_lost_order_at_the_receiver_is_the_wire_or_the_sender(topology, counter):
    found = diagnosis(builders.plan(topology), failing_one_way("spark1", counter, "spark2"))
    assert f"half-link {PATH}" in found["suspects"]
    assert not any("spark2" in name for name in found["suspects"] if not name.startswith("half-link"))
    assert found["next_action"].startswith("only spark1 p0 -> spark2 p1 fails, and spark2 p1 counts lost order")
    assert "turn the cable round" in found["next_action"]


@pytest.mark.parametrize("counter", ["out_of_buffer", "rx_discards_phy"])
@pytest.mark.parametrize("topology", ["triangle", "direct"])
def test_what_the_receiver_dropped_is_the_receiver(topology, counter):
    found = diagnosis(builders.plan(topology), failing_one_way("spark1", counter, "spark2"))
    assert found["suspects"] == ["port spark2:p1:a"]
    assert "node spark2" not in found["exonerated"]
    assert found["next_action"] == (
        "the packets arrive and spark2 p1 a drops them: see what keeps it busy, and N03, before any cable"
    )


def test_both_halves_dropped_by_one_cage():
    found = diagnosis(builders.plan(), failing_one_way("spark1", "out_of_buffer", "spark2", halves="ab"))
    assert found["suspects"] == ["cage spark2:p1"]
    assert "node spark2" not in found["exonerated"]
    assert "node spark1" in found["exonerated"]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(failing_one_way("spark1", "packet_seq_err", "spark1"), id="the sender counts"),
        pytest.param(failing_one_way("spark1", "corrected", "spark2"), id="a counter that says nothing"),
        pytest.param(failing_one_way(None, "packet_seq_err", "spark2"), id="both directions fail"),
    ],
)
def test_other_counts_leave_the_matrix_alone(spoil):
    found = diagnosis(builders.plan(), spoil)
    assert found["suspects"] == [f"half-link {PATH}"]
    assert "lost order" not in found["next_action"]


def test_a_drop_beats_the_gaps_it_leaves():
    def spoil(reading):
        failing_one_way("spark1", "packet_seq_err", "spark2")(reading)
        failing_one_way("spark1", "rx_discards_phy", "spark2")(reading)

    assert diagnosis(builders.plan(), spoil)["suspects"] == ["port spark2:p1:a"]


def test_behind_a_switch_a_node_that_drops_what_everybody_sends():
    plan = builders.plan("switch", 3)

    def spoil(reading):
        for path in plan["paths"]:
            sender = next((end["node"] for end in path["ends"] if end["node"] != "spark2"), None)
            if "spark2" in path["id"]:
                set_bandwidth(reading, path["id"], 60.0, sender)
        for device in reading.measurements["spark2"]["counter_deltas"].values():
            device["out_of_buffer"] = 9

    found = diagnosis(plan, spoil)
    assert found["suspects"] == ["node spark2"]


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


@pytest.mark.parametrize(
    ("kernels", "suspects"),
    [
        pytest.param({"spark2": "6.17.0-1008"}, ["node spark2"], id="one of three"),
        pytest.param({"spark1": "a", "spark2": "b", "spark3": "c"}, ["difference between"], id="all of three"),
        pytest.param({"spark4": "6.17.0-1008"}, ["node spark4"], id="one of four"),
        pytest.param({"spark1": "a", "spark4": "b"}, ["difference between"], id="two of four, each in its own way"),
        pytest.param({"spark1": "a", "spark2": "a"}, ["difference between"], id="two against two"),
    ],
)
def test_the_node_that_differs_from_most_is_the_suspect(kernels, suspects):
    four = "spark4" in kernels or len(kernels) == 2
    plan = builders.plan("switch", nodes=4) if four else builders.plan()

    def install(reading):
        for node, kernel in kernels.items():
            reading.facts[node].update(kernel=kernel, newest_kernel=kernel)

    found = diagnosis(plan, install)
    if suspects == ["difference between"]:
        suspects = [f"difference between {' and '.join(plan['nodes'])}"]
        assert found["next_action"] == "bring all nodes to the same DGX OS update, then measure again"
    else:
        assert found["next_action"].startswith(f"bring {suspects[0].split()[1]} to the DGX OS update of the others")
    assert found["suspects"] == suspects


def test_who_differs_in_nccl_alone_is_the_suspect():
    found = diagnosis(builders.plan(), lambda r: r.nccl["spark3"]["library"].update(build_id="c0db9360"))
    assert found["suspects"] == ["node spark3"]
    assert found["next_action"] == "bring the image, or the virtual environment, of the others to spark3"


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
        pytest.param(slice(None), "reboot spark1 and spark2 with the cable attached", id="both halves"),
        pytest.param(slice(0, 1), "reboot spark1 and spark2 with the cable attached", id="one half"),
    ],
)
def test_two_nodes_with_a_known_cause(failing, says):
    plan = builders.plan("direct")
    found = diagnosis(plan, slow(*(path["id"] for path in plan["paths"][failing])))
    assert found["next_action"] == says


def test_no_measurement_from_one_node_points_at_that_node():
    found = diagnosis(builders.plan(), lambda r: r.measurements.pop("spark3"))
    assert found["suspects"] == ["node spark3"]


def test_no_verbs_anywhere_is_a_matter_of_every_node_and_not_of_six_cables():
    """As in containers, where there is no RDMA device."""

    def without_verbs(reading):
        for facts in reading.facts.values():
            facts["uverbs"] = []
            for half in facts["halves"]:
                half["rdma"] = None
        for measurement in reading.measurements.values():
            measurement.update(directions=[], served=[], counter_deltas={}, skipped="this node has no RDMA device")

    found = diagnosis(builders.plan(), without_verbs)
    assert found["suspects"] == ["node spark1", "node spark2", "node spark3"]
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
        pytest.param("path spark1-spark2", "switch", "the way between spark1-spark2", id="way through a switch"),
        pytest.param("switch crs812", "switch", "the switch crs812", id="switch"),
        pytest.param("port spark1:p0:a", "triangle", "spark1 p0 a", id="port"),
        pytest.param("node spark1 and plane b", "triangle", "spark1 and half b on every node", id="two"),
        pytest.param(
            "difference between spark1 and spark2", "triangle", "difference between spark1 and spark2", id="difference"
        ),
    ],
)
def test_suspects_in_words(name, topology, words):
    assert suspect(name, builders.plan(topology)) == words


def test_what_could_not_be_read_is_no_matter_of_a_cable():
    def no_devinfo(reading):
        reading.facts["spark1"]["problems"].append("`ibv_devinfo` ended with 127: ibv_devinfo: command not found")
        for half in reading.facts["spark1"]["halves"]:
            half["rdma"]["active_mtu"] = None

    found = diagnosis(builders.plan(), no_devinfo)
    assert found["suspects"] == [f"port spark1:{cage}:{half}" for cage in ("p0", "p1") for half in ("a", "b")]
    assert found["next_action"].startswith(
        "L04 spark1:p0:a: rdma.active_mtu is not known: `ibv_devinfo` ended with 127"
    )


def test_no_cable_mends_a_route():
    route = {"dst": "10.210.0.2/32", "dev": "wlP9s9", "gateway": None, "linkdown": False}
    found = diagnosis(builders.plan(), lambda r: r.facts["spark1"]["routes"].append(route))
    assert found["suspects"] == ["half-link spark1:p0:a-spark2:p1:a"]
    assert found["next_action"] == "remove the route to 10.210.0.2 over wlP9s9 on spark1"


def test_a_suspect_is_named_once():
    def spoil(reading):
        reading.facts["spark1"]["kernel_log"] = None
        for half in reading.facts["spark1"]["halves"]:
            half["carrier"] = False

    suspects = diagnosis(builders.plan(), spoil)["suspects"]
    assert suspects.count("node spark1") == 1
    assert len(set(suspects)) == len(suspects)


def test_a_function_that_vanished_is_one_finding():
    def vanish(reading):
        reading.facts["spark3"]["halves"].pop(1)
        reading.facts["spark3"]["netplan_files"][0]["interfaces"].remove("enP2p1s0f0np0")

    reading = builders.healthy_reading(builders.plan())
    vanish(reading)
    assert decide(reading, "run")["verdict"]["blocked_by"] == ["N02 spark3"]
