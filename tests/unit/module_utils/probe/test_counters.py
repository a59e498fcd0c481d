from __future__ import annotations

from ansible_collections.gb10.cluster.plugins.module_utils.probe.counters import (
    MLX5,
    RXE,
    counter_rules,
    deltas,
    pause_counters,
    phy_errors,
    to_bytes,
)
from hypothesis import given
from hypothesis import strategies as st

COUNTERS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2**40))


def test_rules_by_driver() -> None:
    assert counter_rules("mlx5_core") is MLX5
    assert counter_rules("rdma_rxe") is RXE
    assert counter_rules("irdma") is None
    assert counter_rules(None) is None


def test_what_is_an_error() -> None:
    # L08 of health-checks 2.2
    assert {
        "packet_seq_err",
        "out_of_sequence",
        "local_ack_timeout_err",
        "rnr_nak_retry_err",
        "req_cqe_error",
        "resp_cqe_error",
    } <= MLX5.errors
    assert {"completer_retry_err", "out_of_seq_request", "duplicate_request"} <= RXE.errors


def test_what_is_none() -> None:
    assert not [name for name in MLX5.errors | RXE.errors if "flush" in name]
    assert not {"np_cnp_sent", "rp_cnp_handled", "ack_deferred", "sent_pkts", "rcvd_pkts", "lifespan"} & (
        MLX5.errors | RXE.errors
    )


def test_bytes() -> None:
    assert to_bytes(1000, MLX5, None) == 4000  # words of four bytes
    assert to_bytes(1000, MLX5, 1024) == 4000
    assert to_bytes(1000, RXE, 4096) == 4096000
    assert to_bytes(1000, RXE, None) is None
    assert to_bytes(None, MLX5, 4096) is None
    assert to_bytes(0, MLX5, None) == 0


def test_phy_errors(recorded) -> None:
    from ansible_collections.gb10.cluster.plugins.module_utils.probe.ethtool import parse_statistics

    # quoted: health-checks 8, clamped but clean
    assert phy_errors(parse_statistics(recorded("ethtool-S-mlx5.txt"))) == {
        "rx_crc_errors_phy": 0,
        "rx_corrected_bits_phy": 198,
        "rx_err_lane_0_phy": 6,
        "rx_err_lane_2_phy": 190,
        "link_down_events_phy": 1,
        "rx_discards_phy": 0,
    }


def test_deltas() -> None:
    # quoted residue of healthy nodes: only growth counts
    assert deltas(
        {"local_ack_timeout_err": 192, "req_cqe_error": 64}, {"local_ack_timeout_err": 199, "req_cqe_error": 64}
    ) == {
        "local_ack_timeout_err": 7,
        "req_cqe_error": 0,
    }


@given(COUNTERS, COUNTERS)
def test_a_delta_is_never_invented(before: dict[str, int], after: dict[str, int]) -> None:
    grown = deltas(before, after)
    assert set(grown) <= set(before) & set(after)
    assert all(value >= 0 and before[name] + value == after[name] for name, value in grown.items())
    assert {name for name in before if after.get(name, -1) < before[name]}.isdisjoint(grown)


def test_pauses_of_the_link_and_of_each_priority() -> None:
    """Names of mlx5 (Documentation/networking/device_drivers/ethernet/mellanox/mlx5/counters.rst)."""
    statistics = {
        "rx_prio3_pause": 7,
        "tx_prio0_pause": 0,
        "rx_prio3_pause_duration": 4000,
        "rx_prio3_pause_transition": 3,
        "rx_prio3_bytes": 10**9,
        "rx_pause_ctrl_phy": 7,
        "tx_pause_ctrl_phy": 1,
        "rx_global_pause": 7,
        "tx_pause_storm_warning_events": 0,
    }
    assert pause_counters(statistics) == {
        "rx_prio3_pause": 7,
        "tx_prio0_pause": 0,
        "rx_pause_ctrl_phy": 7,
        "tx_pause_ctrl_phy": 1,
    }
