# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters by driver: which of them mean trouble, and how many bytes went out and came in.

mlx5 keeps byte counters in `counters/` in units of four bytes. rxe has no byte counters: its packets times the path MTU
are an estimate, exact only when every packet is full, which holds for messages that are a multiple of the MTU.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

# port_xmit_data and port_rcv_data count 32-bit words (spark-facts 2.1).
_WORD = 4


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# No `*_flush_error`: it grows at every teardown of a queue pair (health-checks 2.2, L08).
_MLX5_ERRORS = _names(
    """
    implied_nak_seq_err local_ack_timeout_err out_of_buffer out_of_sequence packet_seq_err req_cqe_error
    req_remote_access_errors req_remote_invalid_request req_transport_retries_exceeded req_rnr_retries_exceeded
    resp_cqe_error resp_local_length_error resp_remote_access_errors rnr_nak_retry_err roce_adp_retrans
    roce_adp_retrans_to duplicate_request rx_icrc_encapsulated
    port_rcv_errors port_rcv_remote_physical_errors port_rcv_switch_relay_errors port_rcv_constraint_errors
    port_xmit_discards port_xmit_constraint_errors symbol_error link_error_recovery link_downed
    local_link_integrity_errors excessive_buffer_overrun_errors VL15_dropped
    """
)
_MLX5_PHY_ERRORS = _names(
    "rx_crc_errors_phy rx_symbol_err_phy rx_discards_phy tx_discards_phy tx_errors_phy link_down_events_phy "
    "rx_pcs_symbol_err_phy rx_corrected_bits_phy rx_out_of_buffer"
)
# What came in and found no place: the receiving host, not the wire.
DROPPED = frozenset({"out_of_buffer", "rx_out_of_buffer", "rx_discards_phy"})
_PAUSE = re.compile(r"[rt]x_(prio\d_pause|pause_ctrl_phy)")
# No `ack_deferred`: not an error.
_RXE_ERRORS = _names(
    """
    completer_retry_err duplicate_request link_downed out_of_seq_request rcvd_rnr_err rcvd_seq_err
    retry_exceeded_err retry_rnr_exceeded_err send_err send_rnr_err
    """
)


@dataclass(frozen=True)
class CounterRules:
    """What the counters of one driver mean."""

    errors: frozenset[str]
    sent: str
    received: str
    factor: int | None  # bytes for each count; None: the path MTU of the port, an estimate


MLX5 = CounterRules(_MLX5_ERRORS, "counters/port_xmit_data", "counters/port_rcv_data", _WORD)
RXE = CounterRules(_RXE_ERRORS, "hw_counters/sent_pkts", "hw_counters/rcvd_pkts", None)


def counter_rules(rdma_device_driver: str | None) -> CounterRules | None:
    """The rules of a driver: the one of the PCI function, or `rdma_rxe` for a device without hardware."""
    return {"mlx5_core": MLX5, "rdma_rxe": RXE}.get(rdma_device_driver or "")


def phy_errors(statistics: t.Mapping[str, int]) -> dict[str, int]:
    """The error counters among those of `ethtool -S` of an mlx5 port, per lane included."""
    return {
        name: value
        for name, value in statistics.items()
        if name in _MLX5_PHY_ERRORS or (name.startswith("rx_err_lane_") and name.endswith("_phy"))
    }


def pause_counters(statistics: t.Mapping[str, int]) -> dict[str, int]:
    """Pause frames among the counters of `ethtool -S` of an mlx5 port: of the link and of each priority (L13)."""
    return {name: value for name, value in statistics.items() if is_pause_counter(name)}


def is_pause_counter(name: str) -> bool:
    return bool(_PAUSE.fullmatch(name))


def to_bytes(count: int | None, rules: CounterRules, path_mtu: int | None) -> int | None:
    factor = rules.factor if rules.factor is not None else path_mtu
    return None if count is None or factor is None else count * factor


def deltas(before: t.Mapping[str, int], after: t.Mapping[str, int]) -> dict[str, int]:
    """Growth of the counters that were there both times. A counter that ran backwards was reset and says nothing."""
    return {name: after[name] - value for name, value in before.items() if after.get(name, -1) >= value}
