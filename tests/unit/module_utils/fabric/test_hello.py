"""What nodes say to each other, on wires made of lists."""

from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Plan
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.discovery import fabric_ports
from ansible_collections.gb10.cluster.plugins.module_utils.fabric.hello import (
    MAGIC,
    Conversation,
    Hello,
    Plug,
    cluster_id,
    decode,
    encode,
)
from hypothesis import given
from hypothesis import strategies as st

PLUGS = st.builds(Plug, st.text(min_size=1), st.sampled_from(["p0", "p1"]), st.sampled_from(["a", "b"]))


@given(st.builds(Hello, st.text(), PLUGS, st.frozensets(PLUGS, max_size=16)), st.integers(0, 40))
def test_a_hello_survives_the_wire_and_its_padding(hello: Hello, padding: int) -> None:
    assert decode(encode(hello) + b"\0" * padding) == hello


@given(st.binary())
def test_any_other_payload_is_nobodys_hello(payload: bytes) -> None:
    assert decode(payload) is None
    assert decode(MAGIC + payload) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{}", id="no-fields"),
        pytest.param(b"[1]", id="not-an-object"),
        pytest.param(b'{"cluster":"x","sender":["spark2","p2","a"],"heard":[]}', id="no-such-cage"),
        pytest.param(b'{"cluster":"x","sender":["spark2","p1","c"],"heard":[]}', id="no-such-half"),
        pytest.param(b'{"cluster":"x","sender":[2,"p1","a"],"heard":[]}', id="name-is-a-number"),
        pytest.param(b'{"cluster":"x","sender":["spark2","p1","a"],"heard":3}', id="heard-is-a-number"),
        pytest.param(b'{"cluster":"x","sender":["spark2","p1"],"heard":[]}', id="sender-too-short"),
    ],
)
def test_a_malformed_hello_is_dropped(body: bytes) -> None:
    assert decode(MAGIC + body) is None


def talks(plan: Plan) -> dict[str, Conversation]:
    return {node: Conversation(cluster_id(plan), fabric_ports(plan, node)) for node in plan["nodes"]}


def exchange(conversations: dict[str, Conversation], wires: list[list[tuple[str, str]]], rounds: int = 1) -> None:
    """Everyone says hello on every wire, and all other ends of the wire hear it."""
    for _ in range(rounds):
        for wire in wires:
            for node, netdev in wire:
                port = next(port for port in conversations[node].ports if port.netdev == netdev)
                payload = conversations[node].hello(port)
                for far_node, far_netdev in wire:
                    if (far_node, far_netdev) != (node, netdev):
                        conversations[far_node].hear(far_netdev, payload)


def planned_wires(plan: Plan) -> list[list[tuple[str, str]]]:
    """A wire for each half-link, as in the lab."""
    return [[(end["node"], end["netdev"]) for end in one["ends"]] for one in plan["half_links"]]


def shared_wires(plan: Plan) -> list[list[tuple[str, str]]]:
    """A wire for each cable, as on ConnectX-7: both halves of both cages hear everything."""
    wires: dict[str, list[tuple[str, str]]] = {}
    for one in plan["half_links"]:
        wires.setdefault(one["link"], []).extend((end["node"], end["netdev"]) for end in one["ends"])
    return list(wires.values())


@pytest.mark.parametrize("wires_of", [planned_wires, shared_wires], ids=["lab-wires", "shared-wires"])
def test_a_triangle_settles_when_both_ends_know(plan: Plan, wires_of: object) -> None:
    conversations = talks(plan)
    wires = wires_of(plan)  # type: ignore[operator]
    exchange(conversations, wires)
    assert not all(talk.settled for talk in conversations.values())
    exchange(conversations, wires)
    assert all(talk.settled for talk in conversations.values())
    cages = {(one["netdev"], one["peer_node"], one["peer_cage"]) for one in conversations["spark1"].neighbours()}
    assert cages == {
        ("enp1s0f0np0", "spark2", "p1"),
        ("enP2p1s0f0np0", "spark2", "p1"),
        ("enp1s0f1np1", "spark3", "p0"),
        ("enP2p1s0f1np1", "spark3", "p0"),
    }


def test_a_plug_in_the_wrong_cage_never_settles_and_is_heard_where_it_is(plan: Plan) -> None:
    conversations = talks(plan)
    swap = {
        ("spark2", "enp1s0f1np1"): ("spark2", "enp1s0f0np0"),
        ("spark2", "enP2p1s0f1np1"): ("spark2", "enP2p1s0f0np0"),
    }
    wires = [[swap.get(end, end) for end in wire] for wire in planned_wires(plan)[:2]]
    exchange(conversations, wires, rounds=3)
    assert not any(talk.settled for talk in conversations.values())
    assert {(one["netdev"], one["peer_node"], one["peer_cage"]) for one in conversations["spark2"].neighbours()} == {
        ("enp1s0f0np0", "spark1", "p0"),
        ("enP2p1s0f0np0", "spark1", "p0"),
    }


def test_the_twin_is_not_a_neighbour_and_a_cable_to_oneself_is(plan: Plan) -> None:
    talk = talks(plan)["spark1"]
    exchange({"spark1": talk}, [[("spark1", "enp1s0f0np0"), ("spark1", "enP2p1s0f0np0"), ("spark1", "enp1s0f1np1")]])
    assert {(one["netdev"], one["peer_node"], one["peer_cage"]) for one in talk.neighbours()} == {
        ("enp1s0f0np0", "spark1", "p1"),
        ("enP2p1s0f0np0", "spark1", "p1"),
        ("enp1s0f1np1", "spark1", "p0"),
    }
    assert not talk.heard_on("enP2p1s0f1np1")


def test_another_cluster_behind_the_same_switch_is_not_heard(plan: Plan) -> None:
    talk = talks(plan)["spark1"]
    stranger = Hello("0" * 12, Plug("spark2", "p1", "a"), frozenset())
    talk.hear("enp1s0f0np0", encode(stranger))
    talk.hear("eth0", encode(Hello(cluster_id(plan), Plug("spark2", "p1", "a"), frozenset())))
    assert talk.neighbours() == []


def test_nothing_planned_never_settles(plan: Plan) -> None:
    plan["paths"] = []
    assert not talks(plan)["spark1"].settled
