# Copyright (c) 2026, gb10.cluster contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subnets of the fabric, carved from the pools. netaddr does the arithmetic; controller only."""

from __future__ import annotations

import typing as t

from .errors import PlanError

try:
    import netaddr
except ImportError:
    # Whoever reads the documentation of the filter need not have it; Pools says what to install.
    netaddr = None  # type: ignore[assignment]

PREFIX = 24  # NCCL_IB_SUBNET_PREFIX_LEN is 24 unless set, so nothing has to be told to NCCL (spark-facts 2.4)
SUBNET_SIZE = 256
DEFAULT_POOLS = ("10.210.0.0/16",)
DOCKER_DEFAULT = "172.17.0.0/16"

Taken = tuple[str, str]  # who has it, CIDR


def pair_index(number: int, other: int) -> int:
    """The place of a pair of nodes in a list that only grows at its end: (1,2) (1,3) (2,3) (1,4) ..."""
    low, high = sorted((number, other))
    return (high - 1) * (high - 2) // 2 + low - 1


class Pools:
    """Address space for the fabric, cut into /24s in order."""

    def __init__(self, declared: t.Sequence[str], taken: t.Sequence[Taken]) -> None:
        _need_netaddr()
        self._pools = [_pool(text) for text in ([declared] if isinstance(declared, str) else declared)]
        self._check_overlaps()
        for who, cidr in taken:
            self._refuse_taken(who, cidr)

    def subnet(self, index: int, purpose: str) -> netaddr.IPNetwork:
        left = index
        for pool in self._pools:
            count = pool.size // SUBNET_SIZE
            if left < count:
                return netaddr.IPNetwork(f"{pool[left * SUBNET_SIZE]}/{PREFIX}")
            left -= count
        raise PlanError(
            f"the address pools ({', '.join(map(str, self._pools)) or 'none'}) are too small: {purpose} needs /24"
            f" number {index + 1}, and they hold {index - left}; enlarge fabric_pools, or give the nodes low"
            " numbers with fabric_node_number"
        )

    def _check_overlaps(self) -> None:
        for place, pool in enumerate(self._pools):
            for other in self._pools[place + 1 :]:
                if _overlap(pool, other):
                    raise PlanError(f"fabric_pools has {pool} and {other}, which overlap; remove or shrink one of them")

    def _refuse_taken(self, who: str, cidr: str) -> None:
        for pool in self._pools:
            if _overlap(pool, read_network(cidr, who)):
                raise PlanError(
                    f"the address pool {pool} overlaps {who} ({cidr});"
                    " set fabric_pools to private networks that nothing else on the nodes uses"
                )


def read_address(text: t.Any) -> netaddr.IPAddress | None:
    _need_netaddr()
    try:
        return netaddr.IPAddress(str(text), version=4)
    except (netaddr.AddrFormatError, ValueError):
        return None


def network_around(address: netaddr.IPAddress) -> netaddr.IPNetwork:
    return netaddr.IPNetwork(f"{address}/{PREFIX}").cidr


def read_network(text: str, what: str) -> netaddr.IPNetwork:
    try:
        network = netaddr.IPNetwork(str(text), version=4)
    except (netaddr.AddrFormatError, ValueError):
        raise PlanError(f"{what} has {text!r}; expected an IPv4 network like 10.210.0.0/16") from None
    if str(network.cidr) != str(network):
        raise PlanError(f"{what} has {text}, an address and not a network; did you mean {network.cidr}?")
    return network


def for_hosts(address: netaddr.IPAddress) -> bool:
    """Whether an address can be a host's own and lasting address."""
    special = address.is_loopback() or address.is_link_local() or address.is_multicast()
    return not special and 1 <= address.words[0] < 240


def _pool(text: str) -> netaddr.IPNetwork:
    network = read_network(text, "fabric_pools")
    if network.prefixlen > PREFIX:
        raise PlanError(f"the address pool {network} is too small for one /24; every half-link needs a /24 of its own")
    if not for_hosts(network[0]):
        raise PlanError(f"the address pool {network} is not for hosts; take a private network like {DEFAULT_POOLS[0]}")
    return network


def _need_netaddr() -> None:
    if netaddr is None:
        raise PlanError("the controller's Python lacks the library netaddr; install it with pip install netaddr")


def _overlap(one: netaddr.IPNetwork, other: netaddr.IPNetwork) -> bool:
    return bool(one.first <= other.last and other.first <= one.last)
