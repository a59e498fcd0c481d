from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gb10.cluster.plugins.module_utils.plan import addresses
from ansible_collections.gb10.cluster.plugins.module_utils.plan.addresses import Pools, pair_index, read_address
from ansible_collections.gb10.cluster.plugins.module_utils.plan.errors import PlanError
from hypothesis import given, settings
from hypothesis import strategies as st


def test_pairs_in_order() -> None:
    pairs = [(1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (3, 4)]
    assert [pair_index(*pair) for pair in pairs] == [0, 1, 2, 3, 4, 5]


@settings(deadline=None)
@given(st.integers(1, 254), st.integers(1, 254).filter(lambda n: n > 1))
def test_a_pair_has_one_index_from_both_sides(one: int, other: int) -> None:
    assert pair_index(one, other) == pair_index(other, one)


def test_no_two_pairs_share_an_index() -> None:
    pairs = list(itertools.combinations(range(1, 40), 2))
    assert sorted(pair_index(*pair) for pair in pairs) == list(range(len(pairs)))


@pytest.mark.parametrize("index", [0, 1, 2, 5])
def test_subnets_run_through_the_pools(index: int) -> None:
    pools = Pools(["10.1.0.0/24", "10.2.0.0/23", "10.3.0.0/16"], [])
    wanted = ["10.1.0.0/24", "10.2.0.0/24", "10.2.1.0/24", "10.3.0.0/24", "10.3.1.0/24", "10.3.2.0/24"]
    assert str(pools.subnet(index, "a test")) == wanted[index]


@settings(deadline=None)
@given(st.integers(0, 65535))
def test_the_largest_pool_ends_where_it_should(index: int) -> None:
    assert str(Pools(["10.0.0.0/8"], []).subnet(index, "a test")) == f"10.{index // 256}.{index % 256}.0/24"


def test_without_netaddr_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "netaddr", None)
    with pytest.raises(PlanError, match="pip install netaddr"):
        Pools(["10.0.0.0/8"], [])
    with pytest.raises(PlanError, match="pip install netaddr"):
        read_address("192.0.2.1")


def test_the_module_loads_without_netaddr() -> None:
    """ansible-doc and ansible-test import it in a Python that has only ansible-core."""
    code = "import sys; sys.modules['netaddr'] = None; import " + addresses.__name__ + " as a; print(a.netaddr)"
    path = str(Path(__file__).resolve().parents[4] / ".collections")
    result = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("None\n", "")
