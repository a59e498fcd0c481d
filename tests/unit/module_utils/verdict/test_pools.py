from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.verdict import decide
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.wording import pools
from ansible_collections.gb10.cluster.tests.unit import builders
from ansible_collections.gb10.cluster.tests.unit.builders import half_of, set_bandwidth

ONE, TWO, THREE = "spark1", "spark2", "spark3"
SINGLES = [[ONE], [TWO], [THREE]]


@pytest.mark.parametrize(
    ("spoil", "want"),
    [
        pytest.param(
            lambda r: None, [[ONE, TWO, THREE], [ONE, TWO], [ONE, THREE], [TWO, THREE], *SINGLES], id="healthy"
        ),
        # A bad cable leaves pairs and no bad node (health-checks 4.1).
        pytest.param(
            lambda r: set_bandwidth(r, "spark1:p0:a-spark2:p1:a", 13.3),
            [[ONE, THREE], [TWO, THREE], *SINGLES],
            id="cable",
        ),
        pytest.param(
            lambda r: half_of(r, TWO, "p1", "b").update(mtu=1500),
            [[ONE, THREE], [TWO, THREE], *SINGLES],
            id="MTU at one end",
        ),
        pytest.param(lambda r: r.discoveries.pop(TWO), [[ONE, THREE], *SINGLES], id="cabling of a node unknown"),
        pytest.param(lambda r: r.facts.pop(TWO), [[ONE, THREE], [ONE], [THREE]], id="node off"),
        pytest.param(
            lambda r: r.facts[TWO]["nccl_files"][0]["settings"].update(NCCL_IB_DISABLE="1"),
            [[ONE, THREE], [ONE], [THREE]],
            id="bad setting on a node",
        ),
        # Equality is asked again of every smaller set.
        pytest.param(
            lambda r: r.facts[TWO].update(os_version="22.04"), [[ONE, THREE], *SINGLES], id="one node differs"
        ),
    ],
)
def test_valid_pools(spoil, want):
    reading = builders.healthy_reading(builders.plan())
    spoil(reading)
    verdict = decide(reading, "run")["verdict"]
    assert verdict["valid_pools"] == want
    assert (verdict["outcome"] == "admit") == ([ONE, TWO, THREE] in want)


@pytest.mark.parametrize(
    ("valid", "words"),
    [
        pytest.param([], "no node", id="none"),
        pytest.param([[ONE, TWO], *SINGLES], "spark1+spark2, or each node alone", id="pair and all alone"),
        pytest.param([[ONE, TWO], [ONE], [TWO]], "spark1+spark2, or spark1 or spark2 alone", id="pair, some alone"),
        pytest.param([[ONE]], "spark1 alone", id="one"),
        pytest.param(SINGLES, "each node alone", id="all alone"),
    ],
)
def test_in_words(valid, words):
    assert pools(valid, [ONE, TWO, THREE]) == words
