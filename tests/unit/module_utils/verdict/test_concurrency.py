from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.concurrency import obstacles

NODES = ["spark1", "spark2", "spark3"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({}, [], id="all at once"),
        pytest.param({"forks": 2}, ["forks is 2, and 3 nodes"], id="too few forks"),
        pytest.param({"targeted": NODES[:2]}, ["spark3 is not part of this play"], id="--limit"),
        pytest.param({"targeted": NODES[:1]}, ["spark2, spark3 are not part"], id="--limit to one"),
        pytest.param({"batch": ["spark1"]}, ["spark2, spark3 would run in a later batch"], id="serial"),
        # It was reached out for and did not answer: that is the verdict's business.
        pytest.param({"active": NODES[:2], "batch": NODES[:2]}, [], id="a node is off"),
        pytest.param({"forks": 1, "batch": ["spark1"]}, ["later batch", "forks is 1"], id="several"),
    ],
)
def test_obstacles(change, says):
    found = obstacles(NODES, **({"forks": 5, "targeted": NODES, "active": NODES, "batch": NODES} | change))
    assert len(found) == len(says)
    for sentence, part in zip(found, says, strict=True):
        assert part in sentence
