from __future__ import annotations

import copy
import json

from ansible_collections.gb10.cluster.plugins.module_utils.verdict.canonical import digest
from ansible_collections.gb10.cluster.tests.unit import builders
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def backwards(value):
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


def test_the_text_that_is_hashed_is_fixed():
    """sha256sum of {"a":[1,null],"b":"\\u00e9"}: tokens and evidence of other versions depend on it."""
    assert digest({"b": "é", "a": [1, None]}) == "fdaff1fbea8b4eb51e48128b1db50baa5f3ff6285a4d66f88d8573babc400fd4"


@given(JSON)
def test_the_order_of_keys_does_not_matter(value):
    assert digest(value) == digest(backwards(value)) == digest(json.loads(json.dumps(value)))


@given(JSON, JSON)
def test_other_data_have_another_digest(one, other):
    assert (digest(one) == digest(other)) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


def test_one_character_of_a_plan_matters():
    plan = builders.plan()
    changed = copy.deepcopy(plan)
    changed["paths"][0]["ends"][0]["ipv4"] += "0"
    assert digest(plan) != digest(changed)
