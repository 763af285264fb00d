"""Which addresses are a client's server in the open internet, and not something inside of the hub's own network."""

import ipaddress
from collections.abc import Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATING: Final = (
    ipaddress.IPv6Network("2002::/16"),  # 6to4
    ipaddress.IPv6Network("2001::/32"),  # Teredo
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # NAT64 of a local network
)
"""They hold IPv4 addresses whose way nobody here can judge."""
_SHARED: Final = ipaddress.IPv4Network("100.64.0.0/10")
"""Carrier-grade NAT, which Python does not call private."""


def is_open(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether a hub may call it. `allowed`: networks of its own that the operator has named."""
    if any(address.version == network.version and address in network for network in allowed):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_open(address.ipv4_mapped, allowed)
        if address in _NAT64:
            return is_open(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), allowed)
        if address.scope_id is not None or any(address in network for network in _TRANSLATING):
            return False
    elif address in _SHARED:
        return False
    return address.is_global and not (
        address.is_multicast
        or address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_reserved
        or address.is_unspecified
    )


def read_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """From CIDR notation; raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)
