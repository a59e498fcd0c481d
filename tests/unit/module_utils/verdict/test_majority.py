"""The odd one, when most agree."""

from __future__ import annotations

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.verdict.majority import odd_ones


@pytest.mark.parametrize(
    ("values", "odd"),
    [
        pytest.param("a", [], id="one alone"),
        pytest.param("aaa", [], id="all alike"),
        pytest.param("aba", [1], id="one of three"),
        pytest.param("abc", [], id="three ways"),
        pytest.param("ab", [], id="one of two"),
        pytest.param("aaba", [2], id="one of four"),
        pytest.param("abab", [], id="two against two"),
        pytest.param("abca", [], id="half is no majority"),
        pytest.param("abaca", [1, 3], id="two of five, each in its own way"),
    ],
)
def test_the_odd_ones(values, odd):
    nodes = {f"spark{number}": value for number, value in enumerate(values)}
    assert odd_ones(nodes) == [f"spark{number}" for number in odd]
