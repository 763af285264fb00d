"""Connections for webhooks: the name is resolved once, every address of it is judged, and one of those is connected to.

So a name that means another address a moment later (DNS rebinding) gains nothing; TLS still checks the name.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence

import httpcore

from hub.delivery.addresses import Network, is_open


class InnerAddress(httpcore.ConnectError):
    """The name stands for an address that webhooks never reach."""


class JudgedNetwork(httpcore.AsyncNetworkBackend):
    """httpcore's way to the network, for hosts in the open internet only."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own parameter
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """To the first of the name's addresses; raises InnerAddress where one of them is not to be called."""
        address = await self.resolve(host, port)
        return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own parameter
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise InnerAddress("webhooks do not go to Unix sockets")

    async def sleep(self, seconds: float) -> None:
        """As httpcore wants it."""
        await self._backend.sleep(seconds)

    async def resolve(self, host: str, port: int) -> str:
        """The first of the name's addresses; raises InnerAddress where one of them is not to be called."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name cannot be resolved: {type(error).__name__}") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses:
            raise httpcore.ConnectError("the name stands for no address")
        for text in addresses:
            if not is_open(ipaddress.ip_address(text), self._allowed):
                raise InnerAddress("the name stands for an address that is not in the open internet")
        return addresses[0]
