"""Events of the chain's modules by stretches of final blocks: `eth_getLogs` of a node, checked and bounded."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import httpx
import msgspec
import structlog

from chain.client import NodeError
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.types import Address
from hub.store.errors import StoreError

_MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
_TIMEOUT_S: Final = 30.0
_PAUSE_S: Final = 0.5
"""Between looks at a chain of which all is followed."""


class ChainUnclear(Exception):
    """The node answered what no node of ours answers; nothing is booked."""


class Log(msgspec.Struct):
    """What is read of a log."""

    block: str = msgspec.field(name="blockNumber")
    transaction_hash: str = msgspec.field(name="transactionHash")
    log_index: str = msgspec.field(name="logIndex")
    topics: list[str]
    data: str


class _Fault(msgspec.Struct):
    code: int
    message: str


class _Answer(msgspec.Struct):
    result: list[Log] | None = None
    error: _Fault | None = None


async def keep_following(follow: Callable[[], Awaitable[bool]], log: structlog.stdlib.BoundLogger) -> None:
    """Until cancelled: `follow` does the next stretch of blocks, and says whether there are more."""
    while True:
        try:
            is_behind = await follow()
        except (NodeError, httpx.HTTPError, ChainUnclear, StoreError) as error:
            log.warning("chain_not_followed", detail=str(error) or type(error).__name__)
            is_behind = False
        if not is_behind:
            await asyncio.sleep(_PAUSE_S)


class ChainLogs:
    """One node's."""

    def __init__(self, node_url: str) -> None:
        self._url = node_url.rstrip("/") + "/rpc"
        self._http = httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def between(self, first: int, last: int, module: Address, topics: Sequence[Any]) -> list[Log]:
        """Those of a module in these blocks, in the chain's order. Raises httpx.HTTPError and ChainUnclear."""
        query = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": to_checksum_address(module),
            "topics": list(topics),
        }
        answer = await self._ask({"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [query]})
        if answer.result is not None:
            return _in_order(answer.result)
        if answer.error is not None and first < last:  # Too many for one answer: in halves.
            middle = (first + last) // 2
            earlier = await self.between(first, middle, module, topics)
            return [*earlier, *await self.between(middle + 1, last, module, topics)]
        raise ChainUnclear("the node gives no logs" if answer.error is None else answer.error.message[:200])

    async def _ask(self, call: dict[str, Any]) -> _Answer:
        async with self._http.stream("POST", self._url, json=call) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_ANSWER_BYTES:
                    raise ChainUnclear("the node's answer is too large")
        try:
            return msgspec.json.decode(bytes(content), type=_Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ChainUnclear("the node answered no JSON-RPC") from None


def _in_order(logs: list[Log]) -> list[Log]:
    try:
        return sorted(logs, key=lambda log: (int(log.block, 16), int(log.log_index, 16)))
    except ValueError:
        raise ChainUnclear("the node's logs have no place in the chain") from None
