from __future__ import annotations

import itertools
import typing as t

import netaddr
import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Plan
from ansible_collections.gb10.cluster.plugins.module_utils.plan.build import (
    Declaration,
    build_plan,
    refuse_shared_subnets,
)
from ansible_collections.gb10.cluster.plugins.module_utils.plan.errors import PlanError
from hypothesis import given, settings
from hypothesis import strategies as st


def inventory(*numbers: int) -> dict[str, dict[str, t.Any]]:
    return {f"spark{number}": {"ansible_host": f"192.0.2.{number}"} for number in numbers}


def plan_of(topology: str, *numbers: int, **declared: t.Any) -> Plan:
    hosts = inventory(*numbers)
    return build_plan(list(hosts), hosts, Declaration(topology, **declared))


def addresses(plan: Plan) -> dict[str, dict[str, str]]:
    return {name: {half["netdev"]: half["ipv4"] for half in node["halves"]} for name, node in plan["nodes"].items()}


def test_the_triangle() -> None:
    """NVIDIA connect-three-sparks README: N1P0-N2P1, N2P0-N3P1, N3P0-N1P1, two /24s for each cable."""
    plan = plan_of("triangle", 1, 2, 3)
    assert addresses(plan) == {
        "spark1": {
            "enp1s0f0np0": "10.210.0.1",
            "enP2p1s0f0np0": "10.210.1.1",
            "enp1s0f1np1": "10.210.2.1",
            "enP2p1s0f1np1": "10.210.3.1",
        },
        "spark2": {
            "enp1s0f0np0": "10.210.4.2",
            "enP2p1s0f0np0": "10.210.5.2",
            "enp1s0f1np1": "10.210.0.2",
            "enP2p1s0f1np1": "10.210.1.2",
        },
        "spark3": {
            "enp1s0f0np0": "10.210.2.3",
            "enP2p1s0f0np0": "10.210.3.3",
            "enp1s0f1np1": "10.210.4.3",
            "enP2p1s0f1np1": "10.210.5.3",
        },
    }
    assert [link["id"] for link in plan["links"]] == [
        "spark1:p0-spark2:p1",
        "spark2:p0-spark3:p1",
        "spark3:p0-spark1:p1",
    ]
    assert [path["id"] for path in plan["paths"]] == [
        "spark1:p0:a-spark2:p1:a",
        "spark1:p0:b-spark2:p1:b",
        "spark2:p0:a-spark3:p1:a",
        "spark2:p0:b-spark3:p1:b",
        "spark3:p0:a-spark1:p1:a",
        "spark3:p0:b-spark1:p1:b",
    ]
    assert [half["id"] for half in plan["half_links"]] == [path["id"] for path in plan["paths"]]
    assert plan["nodes"]["spark2"]["halves"][0] == {
        "cage": "p0",
        "half": "a",
        "netdev": "enp1s0f0np0",
        "rdma": "rocep1s0f0",
        "pci": "0000:01:00.0",
        "ipv4": "10.210.4.2",
        "prefix": 24,
        "subnet": "10.210.4.0/24",
        "peer": {"node": "spark3", "cage": "p1", "half": "a", "ipv4": "10.210.4.3"},
        "switch_port": None,
    }
    assert plan["switch_ports"] == []


def test_a_single_node_has_no_fabric() -> None:
    plan = plan_of("single", 7)
    assert plan["nodes"]["spark7"]["halves"] == []
    assert (plan["links"], plan["half_links"], plan["paths"]) == ([], [], [])
    assert "NCCL_NET" not in plan["nccl_env"]["spark7"]


def test_direct_with_p0_to_p0_when_declared() -> None:
    plan = plan_of("direct", 1, 2, cabling=[["spark2:p0", "spark1:p0"]])
    assert [path["id"] for path in plan["paths"]] == ["spark1:p0:a-spark2:p0:a", "spark1:p0:b-spark2:p0:b"]


def test_the_switch() -> None:
    """spark-facts 2.2: one subnet for each plane, and 3.2: 200G-baseCR4, l2mtu 9216."""
    plan = plan_of("switch", 1, 2, 3, 4)
    assert addresses(plan) == {
        f"spark{n}": {"enp1s0f0np0": f"10.210.0.{n}", "enP2p1s0f0np0": f"10.210.1.{n}"} for n in range(1, 5)
    }
    assert len(plan["paths"]) == 6 * 2
    assert [path["id"] for path in plan["paths"]][:3] == [
        "spark1:p0:a-spark2:p0:a",
        "spark1:p0:b-spark2:p0:b",
        "spark1:p0:a-spark3:p0:a",
    ]
    assert plan["half_links"][0]["id"] == "spark1:p0:a-crs812:qsfp56-1-1:a"
    assert [end["node"] for end in plan["half_links"][0]["ends"]] == ["spark1"]
    assert plan["links"][3] == {
        "id": "spark4:p0-crs812:qsfp56-dd-1-5",
        "ends": [{"device": "spark4", "port": "p0"}, {"device": "crs812", "port": "qsfp56-dd-1-5"}],
    }
    assert plan["switch_ports"][1] == {
        "port": "qsfp56-2-1",
        "node": "spark2",
        "cage": "p0",
        "speed": "200G-baseCR4",
        "l2mtu": 9216,
    }
    half = plan["nodes"]["spark3"]["halves"][0]
    assert (half["peer"], half["switch_port"]) == (None, "qsfp56-dd-1-1")


# --- properties ---

topologies = st.sampled_from(
    [("single", 1), ("direct", 2), ("triangle", 3), ("switch", 2), ("switch", 3), ("switch", 4)]
)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[str, list[int]]:
    topology, count = draw(topologies)
    return topology, draw(st.lists(st.integers(1, 15), min_size=count, max_size=count, unique=True))


@settings(deadline=None)
@given(clusters())
def test_every_half_has_a_subnet_of_its_own(cluster: tuple[str, list[int]]) -> None:
    topology, numbers = cluster
    plan = plan_of(topology, *numbers)
    for node in plan["nodes"].values():
        subnets = [half["subnet"] for half in node["halves"]]
        assert len(set(subnets)) == len(subnets)
    everywhere = [address for node in addresses(plan).values() for address in node.values()]
    assert len(set(everywhere)) == len(everywhere)


@settings(deadline=None)
@given(clusters())
def test_addresses_lie_in_their_subnets_and_end_in_the_number(cluster: tuple[str, list[int]]) -> None:
    topology, numbers = cluster
    for node in plan_of(topology, *numbers)["nodes"].values():
        for half in node["halves"]:
            assert netaddr.IPAddress(half["ipv4"]) in netaddr.IPNetwork(half["subnet"])
            assert half["ipv4"].endswith(f".{node['number']}")


@settings(deadline=None)
@given(clusters())
def test_both_ends_of_a_path_agree(cluster: tuple[str, list[int]]) -> None:
    topology, numbers = cluster
    plan = plan_of(topology, *numbers)
    ranks = {name: node["rank"] for name, node in plan["nodes"].items()}
    for path in plan["paths"]:
        for end in path["ends"]:
            (half,) = [h for h in plan["nodes"][end["node"]]["halves"] if h["netdev"] == end["netdev"]]
            assert (half["subnet"], half["ipv4"], half["half"]) == (path["subnet"], end["ipv4"], path["half"])
            assert half["rdma"] == end["rdma"]
        near, far = (ranks[end["node"]] for end in path["ends"])
        assert near < far or (topology, near, far) == ("triangle", 2, 0)
    for node in plan["nodes"].values():
        for half in node["halves"]:
            if half["peer"]:
                back = [
                    h["peer"]
                    for h in plan["nodes"][half["peer"]["node"]]["halves"]
                    if h["ipv4"] == half["peer"]["ipv4"]
                ]
                assert [peer and peer["ipv4"] for peer in back] == [half["ipv4"]]


@settings(deadline=None)
@given(clusters(), st.randoms())
def test_the_order_of_the_inventory_plays_no_part(cluster: tuple[str, list[int]], shuffler: t.Any) -> None:
    topology, numbers = cluster
    shuffled = list(numbers)
    shuffler.shuffle(shuffled)
    assert plan_of(topology, *numbers) == plan_of(topology, *shuffled)


def test_a_third_node_renumbers_nobody() -> None:
    pair, triangle = addresses(plan_of("direct", 1, 2)), addresses(plan_of("triangle", 1, 2, 3))
    for name, halves in pair.items():
        assert halves.items() <= triangle[name].items()


@settings(deadline=None)
@given(st.lists(st.integers(1, 15), min_size=4, max_size=4, unique=True))
def test_more_nodes_at_the_switch_renumber_nobody(numbers: list[int]) -> None:
    four = addresses(plan_of("switch", *numbers))
    for few in itertools.chain(itertools.combinations(numbers, 2), itertools.combinations(numbers, 3)):
        assert all(four[name] == halves for name, halves in addresses(plan_of("switch", *few)).items())


@settings(deadline=None)
@given(st.permutations([1, 2, 3]), st.lists(st.booleans(), min_size=3, max_size=3), st.permutations([0, 1, 2]))
def test_the_same_cables_are_the_same_plan(ring: list[int], turned: list[bool], order: list[int]) -> None:
    """However a triangle is written down: each cable from either end, in any order, and around either way."""
    cables = [[f"spark{ring[i]}:p0", f"spark{ring[(i + 1) % 3]}:p1"] for i in range(3)]
    written = [cables[i][::-1] if turned[i] else cables[i] for i in order]
    plan = plan_of("triangle", 1, 2, 3, cabling=written)
    assert plan == plan_of("triangle", 1, 2, 3, cabling=cables)
    subnets = {frozenset(end["node"] for end in path["ends"]): path["subnet"] for path in plan["paths"]}
    assert subnets[frozenset({"spark1", "spark2"})] == "10.210.1.0/24"


# --- refusals ---

REFUSED = [
    ("no-such-topology", "ring", (1, 2, 3), {}, "fabric_topology is 'ring'; expected one of single"),
    (
        "four-in-a-triangle",
        "triangle",
        (1, 2, 3, 4),
        {},
        "takes 3 nodes, but the inventory group has 4 .*set fabric_topology to switch",
    ),
    ("one-in-a-triangle", "triangle", (1,), {}, "set fabric_topology to single"),
    ("two-as-single", "single", (1, 2), {}, "takes 1 node, .*direct or switch"),
    ("five-at-the-switch", "switch", (1, 2, 3, 4, 5), {}, "takes 2 to 4 nodes.*one to four nodes make a cluster"),
    ("none", "direct", (), {}, r"has 0 \(none\)"),
    ("mtu-1500", "direct", (1, 2), {"mtu": 1500}, "fabric_mtu is 1500, and below 4200 .*fabric_allow_small_mtu"),
    ("mtu-10000", "direct", (1, 2), {"mtu": 10000}, "expected 1500 to 9000"),
    ("mtu-1499", "direct", (1, 2), {"mtu": 1499, "allow_small_mtu": True}, "expected 1500 to 9000"),
    ("mtu-word", "direct", (1, 2), {"mtu": "jumbo"}, "fabric_mtu is 'jumbo'"),
    ("mtu-true", "direct", (1, 2), {"mtu": True}, "fabric_mtu is True"),
    ("pool-too-small", "triangle", (1, 2, 3), {"pools": ["10.0.0.0/23"]}, "too small: .*needs /24 number"),
    (
        "high-numbers",
        "direct",
        (101, 102),
        {},
        "too small: the cable between spark101 and spark102 .*fabric_node_number",
    ),
    ("pool-of-addresses", "direct", (1, 2), {"pools": ["10.0.0.0/25"]}, "too small for one /24"),
    (
        "pools-overlap",
        "direct",
        (1, 2),
        {"pools": ["10.0.0.0/16", "10.0.4.0/24"]},
        "10.0.0.0/16 and 10.0.4.0/24, which overlap",
    ),
    (
        "pool-on-management",
        "direct",
        (1, 2),
        {"pools": ["192.0.0.0/16"]},
        "overlaps the management network of spark1 .192.0.2.0/24",
    ),
    ("pool-on-docker", "direct", (1, 2), {"pools": ["172.16.0.0/12"]}, "overlaps Docker's default bridge"),
    (
        "pool-on-reserved",
        "direct",
        (1, 2),
        {"reserved_networks": ["10.210.9.0/24"]},
        "overlaps fabric_reserved_networks",
    ),
    (
        "reserved-nonsense",
        "direct",
        (1, 2),
        {"reserved_networks": ["docker0"]},
        "fabric_reserved_networks has 'docker0'; expected",
    ),
    ("pool-is-an-address", "direct", (1, 2), {"pools": ["10.0.0.1/16"]}, "did you mean 10.0.0.0/16"),
    ("pool-nonsense", "direct", (1, 2), {"pools": ["ten"]}, "fabric_pools has 'ten'; expected an IPv4 network"),
    ("pool-ipv6", "direct", (1, 2), {"pools": ["fd00::/64"]}, "expected an IPv4 network"),
    ("pool-link-local", "direct", (1, 2), {"pools": ["169.254.0.0/16"]}, "is not for hosts"),
    (
        "routing-unknown",
        "triangle",
        (1, 2, 3),
        {"nccl_routing": "ring"},
        "fabric_nccl_routing is 'ring'; expected in_tree or",
    ),
    ("plugin-at-switch", "switch", (1, 2, 3), {"nccl_routing": "mesh_plugin"}, "mesh_plugin, which is for a triangle"),
]


@pytest.mark.parametrize(
    ("topology", "numbers", "declared", "says"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_refused(topology: str, numbers: tuple[int, ...], declared: dict[str, t.Any], says: str) -> None:
    with pytest.raises(PlanError, match=says) as refusal:
        plan_of(topology, *numbers, **declared)
    assert "\n" not in str(refusal.value)


def test_a_small_mtu_when_meant() -> None:
    assert plan_of("direct", 1, 2, mtu="1500", allow_small_mtu=True)["mtu"] == 1500


def test_pools_are_used_in_order() -> None:
    plan = plan_of("triangle", 1, 2, 3, pools=["10.1.0.0/23", "10.2.0.0/22"])
    assert {half["subnet"] for half in plan["half_links"]} == {
        "10.1.0.0/24",
        "10.1.1.0/24",
        *(f"10.2.{third}.0/24" for third in range(4)),
    }


def test_one_pool_may_be_written_as_a_word() -> None:
    assert plan_of("direct", 1, 2, pools="10.9.0.0/16")["half_links"][0]["subnet"] == "10.9.0.0/24"


def test_twins_in_one_subnet_are_refused() -> None:
    """NVIDIA's spark_cluster_setup and cx7-netplan-example.yaml do this (spark-facts 2.2); a plan from elsewhere could."""
    plan = plan_of("direct", 1, 2)
    one, other = plan["nodes"]["spark1"]["halves"]
    other["subnet"] = one["subnet"]
    with pytest.raises(PlanError, match=r"enp1s0f0np0 and enP2p1s0f0np0 of spark1 are both in 10.210.0.0/24"):
        refuse_shared_subnets(plan)
