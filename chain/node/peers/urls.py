"""Where peers listen: which URLs are acceptable, and from whom.

A node dials what peers tell it, so a peer could make it knock at other people's doors. A URL that was told has a plain
form, ends in /p2p, and leads no deeper into private networks than the peer that told it.
"""

import asyncio
import ipaddress
import re
import socket
from enum import IntEnum
from typing import Final
from urllib.parse import urlsplit

from chain.node.peers.messages import MAX_URL_BYTES

P2P_PATH: Final = "/p2p"
_URL: Final = re.compile(
    r"wss?://(?:[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?"
    r"((?:/[A-Za-z0-9._~\-]+)*/?)"
)
_RESOLVE_TIMEOUT_S: Final = 5.0


class Reach(IntEnum):
    """From where an address can be reached."""

    LOOPBACK = 0
    PRIVATE = 1
    GLOBAL = 2


def is_sane_url(url: str) -> bool:
    """Whether a URL has the one form that peers may tell each other."""
    match = _URL.fullmatch(url) if len(url) <= MAX_URL_BYTES else None
    if match is None or int(match[1] or 0) >= 2**16 or not match[2].endswith(P2P_PATH):
        return False
    try:
        host = host_of(url)
    except ValueError:
        return False  # Python reads what stands between brackets more closely.
    return not _looks_like_address(host) or _parse(host) is not None


def normalized(url: str) -> str:
    """A URL that an operator has written, with the path that it means; empty where it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        return ""
    return f"{parts.scheme}://{parts.netloc}{P2P_PATH}" if parts.path in ("", "/") else url


def host_of(url: str) -> str:
    """The host's name or address, without brackets."""
    return urlsplit(url).hostname or ""


def reach_of(host: str) -> Reach:
    """Of an address; names, but for localhost, count as global until they are resolved."""
    address = _parse(host)
    if address is None:
        return Reach.LOOPBACK if host == "localhost" or host.endswith(".localhost") else Reach.GLOBAL
    if address.is_loopback or address.is_unspecified:
        return Reach.LOOPBACK
    return Reach.GLOBAL if address.is_global and not address.is_multicast else Reach.PRIVATE


async def resolve(url: str, least_reach: Reach) -> str | None:
    """An address of the URL's host that is reachable from as far as `least_reach`; None where there is none.

    Whoever dials it dials just what was checked.
    """
    host = host_of(url)
    if _parse(host) is not None:
        return host if reach_of(host) >= least_reach else None
    try:
        async with asyncio.timeout(_RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return None
    addresses = [str(entry[4][0]) for entry in found]
    return next((address for address in addresses if reach_of(address) >= least_reach), None)


def _parse(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _looks_like_address(host: str) -> bool:
    """Resolvers read 127.1 and 0x7f.1 as addresses, too."""
    last_label = host.rstrip(".").rpartition(".")[2].lower()
    return ":" in host or last_label[:1].isdigit()
