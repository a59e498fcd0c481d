from __future__ import annotations

import math
import typing as t

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.contracts import Discovery, HalfFacts, NodeFacts
from ansible_collections.gb10.cluster.plugins.module_utils.shape import answers, fits, optional_keys
from ansible_collections.gb10.cluster.tests.unit import builders


@pytest.mark.parametrize(
    ("value", "shape", "want"),
    [
        pytest.param(1, int, True, id="int"),
        pytest.param(True, int, False, id="a bool is no number"),
        pytest.param(1, float, True, id="an int is a float"),
        pytest.param(math.nan, float, False, id="nan is no number"),
        pytest.param(math.inf, float, False, id="infinity is no number"),
        pytest.param("1", int, False, id="a text is no number"),
        pytest.param(None, int | None, True, id="none where allowed"),
        pytest.param(None, int, False, id="none where not"),
        pytest.param(["a"], list[str], True, id="list"),
        pytest.param("abc", list[str], False, id="a text is no list of letters"),
        pytest.param([1], list[str], False, id="list of others"),
        pytest.param({"a": 1}, dict[str, int], True, id="dict"),
        pytest.param({"a": "1"}, dict[str, int], False, id="dict of others"),
        pytest.param({"a": [None]}, dict[str, t.Any], True, id="anything"),
        pytest.param("p0", t.Literal["p0", "p1"], True, id="literal"),
        pytest.param("p2", t.Literal["p0", "p1"], False, id="other literal"),
    ],
)
def test_fits(value, shape, want):
    assert fits(value, shape) is want


def test_healthy_records_fit_the_contracts():
    plan = builders.plan()
    assert all(fits(facts, NodeFacts) for facts in builders.healthy_facts(plan).values())
    assert all(fits(discovery, Discovery) for discovery in builders.healthy_discoveries(plan).values())


def test_a_key_that_may_be_left_out_still_has_a_shape():
    facts = builders.healthy_facts(builders.plan())["spark1"]
    assert fits(facts | {"time_sync": None}, NodeFacts)
    assert not fits(facts | {"time_sync": 7}, NodeFacts)


HALF = builders.healthy_facts(builders.plan())["spark1"]["halves"][0]


@pytest.mark.parametrize(
    ("change", "path", "want"),
    [
        pytest.param({}, ["rdma", "state"], True, id="there"),
        pytest.param({"rdma": None}, ["rdma", "state"], False, id="gone on the way"),
        pytest.param({"rdma": "garbage"}, ["rdma", "state"], False, id="garbage on the way"),
        pytest.param({"carrier": None}, ["carrier"], False, id="none is no answer, even where it is allowed"),
        pytest.param({"carrier": "yes"}, ["carrier"], False, id="wrong type"),
        pytest.param({"mac": 7}, ["carrier"], True, id="garbage beside it does not matter"),
    ],
)
def test_answers(change, path, want):
    assert answers(HALF | change, HalfFacts, path) is want


def test_every_item_of_a_list_must_answer():
    assert answers([HALF, HALF], list[HalfFacts], ["mtu"])
    assert not answers([HALF, None], list[HalfFacts], ["mtu"])
    assert not answers("text", list[HalfFacts], ["mtu"])


def test_keys_that_may_be_left_out():
    assert "time_sync" in optional_keys(NodeFacts)
    assert "kernel" not in optional_keys(NodeFacts)
