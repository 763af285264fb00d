"""Typed HTTP client of a node's REST API: the only live access that wallet, provider and hub have to a chain.

`NodeClient` (for scripts and threads, which may share one) and `AsyncNodeClient` have every request of `chain.calls`,
`chain.market_calls` and `chain.escrow_calls` as a method, and differ only in how they wait. What a node answers is
bounded and checked for its shape; whether it is true is not checked here.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from functools import cache
from types import TracebackType
from typing import Any, Concatenate, Final, NoReturn, ParamSpec, Self, TypeVar

import httpx
import msgspec

from chain import calls, escrow_calls, market_calls
from chain.answers import TransactionView
from chain.calls import Call, hash_text
from chain.primitives.rejection import Rejected
from chain.primitives.types import Hash32

MAX_RESPONSE_BYTES: Final = 8 * 1024 * 1024
CONNECT_TIMEOUT_S: Final = 3.0
RESPONSE_TIMEOUT_S: Final = 15.0
POLL_INTERVAL_S: Final = 0.2  # A fraction of the usual block interval.
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

P = ParamSpec("P")
T = TypeVar("T")


class NodeError(Exception):
    """Base of what can go wrong between a client and a node; `str(error)` is a sentence for people."""


class NodeUnavailable(NodeError):
    """No usable answer: not reachable, too slow, a fault of the node's, or not an AITBC node. Trying again may help."""


class NodeRefused(NodeError):
    """The node understood and said no. `reason` is a RejectionReason's value, or `not_found` and the like."""

    def __init__(self, status: int, reason: str, message: str, field: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.field = field


class TransactionNotFinal(NodeError):
    """`wait_for_transaction` ran out of time; the transaction may still become final."""


def connection_options(url: httpx.URL) -> dict[str, Any]:
    """Of httpx's clients, for whom we ask and do not trust."""
    return {
        # Compressed answers could be small on the wire and huge in memory.
        "headers": {"Accept": "application/json", "Accept-Encoding": "identity"},
        "follow_redirects": False,
        "trust_env": url.host not in _LOOPBACK,  # No proxy stands between two processes of one machine.
        "verify": _tls_context(),
    }


@cache
def _tls_context() -> ssl.SSLContext:
    """Reading the authorities' certificates takes longer than most requests: once for all clients."""
    return httpx.create_ssl_context()


class _Base:
    """What both clients share: the URL, the options of httpx, and how an answer is read."""

    def __init__(self, url: str) -> None:
        """`url` such as http://127.0.0.1:8545. Raises ValueError where it is none."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError(f"{url[:200]!r} is not the URL of a node: it must begin with http:// or https://")
        self.url = url.rstrip("/")
        self._options: dict[str, Any] = {
            "base_url": self.url,
            "timeout": httpx.Timeout(RESPONSE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            **connection_options(parsed),
        }

    def _request_options(self, call: Call[Any]) -> dict[str, Any]:
        headers = {} if call.body is None else {"Content-Type": "application/json"}
        return {
            "method": call.method,
            "url": call.path,
            "params": call.parameters,
            "content": call.body,
            "headers": headers,
        }

    def _check_size(self, received_bytes: int) -> None:
        if received_bytes > MAX_RESPONSE_BYTES:
            raise NodeUnavailable(f"the node at {self.url} answered with more than {MAX_RESPONSE_BYTES} bytes")

    def _unreachable(self, error: Exception) -> NoReturn:
        cause = str(error) or type(error).__name__
        raise NodeUnavailable(f"no answer from the node at {self.url}: {cause}") from error

    def _read(self, call: Call[T], response: httpx.Response, content: bytes) -> T:
        try:
            if response.is_success:
                return call.read(content)
            problem = msgspec.json.decode(content, type=_ProblemBody)
        except (msgspec.MsgspecError, Rejected, RecursionError, UnicodeDecodeError) as error:
            raise NodeUnavailable(
                f"{self.url} answered {response.status_code} with something that no AITBC node says: {error}"
            ) from error
        if response.status_code >= 500:
            raise NodeUnavailable(f"the node at {self.url} has a problem: {problem.detail[:500]}")
        raise NodeRefused(response.status_code, problem.reason, problem.detail[:500], problem.field)


class _ProblemBody(msgspec.Struct):
    reason: str
    detail: str
    field: str | None = None


def _blocking(build: Callable[P, Call[T]]) -> Callable[Concatenate["NodeClient", P], T]:
    def method(client: "NodeClient", /, *arguments: P.args, **options: P.kwargs) -> T:
        return client.perform(build(*arguments, **options))

    return _documented(method, build)


def _awaitable(build: Callable[P, Call[T]]) -> Callable[Concatenate["AsyncNodeClient", P], Coroutine[Any, Any, T]]:
    async def method(client: "AsyncNodeClient", /, *arguments: P.args, **options: P.kwargs) -> T:
        return await client.perform(build(*arguments, **options))

    return _documented(method, build)


def _documented(method: Callable[P, T], build: Callable[..., Any]) -> Callable[P, T]:
    method.__name__, method.__doc__ = build.__name__, build.__doc__
    return method


def _not_final(transaction_hash: Hash32 | str, timeout_s: float) -> TransactionNotFinal:
    return TransactionNotFinal(f"transaction {hash_text(transaction_hash)} is not final after {timeout_s:g} s")


class NodeClient(_Base):
    """Blocking client; threads may share one. Every method raises NodeUnavailable and NodeRefused."""

    def __init__(self, url: str) -> None:
        """`url` such as http://127.0.0.1:8545. Raises ValueError where it is none."""
        super().__init__(url)
        self._http = httpx.Client(**self._options)

    def perform(self, call: Call[T]) -> T:
        """Sends one call and reads its answer."""
        content = bytearray()
        try:
            with self._http.stream(**self._request_options(call)) as response:
                for chunk in response.iter_raw():
                    content += chunk
                    self._check_size(len(content))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._unreachable(error)
        return self._read(call, response, bytes(content))

    def wait_for_transaction(
        self, transaction_hash: Hash32 | str, *, timeout_s: float = 60.0, poll_interval_s: float = POLL_INTERVAL_S
    ) -> TransactionView:
        """Waits until it is in a final block, whether it succeeded or failed; raises TransactionNotFinal.

        Rides out a node that restarts. NodeRefused (not_found) when the node has dropped the transaction.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                found = self.transaction(transaction_hash)
                if found.finalized:
                    return found
            except NodeUnavailable:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise _not_final(transaction_hash, timeout_s)
            time.sleep(poll_interval_s)

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    status = _blocking(calls.status)
    block = _blocking(calls.block)
    blocks = _blocking(calls.blocks)
    transaction = _blocking(calls.transaction)
    transactions = _blocking(calls.transactions)
    send_transaction = _blocking(calls.send_transaction)
    send_transactions = _blocking(calls.send_transactions)
    account = _blocking(calls.account)
    account_transactions = _blocking(calls.account_transactions)
    account_mints = _blocking(calls.account_mints)
    receipt = _blocking(calls.receipt)
    receipts = _blocking(calls.receipts)
    supply = _blocking(calls.supply)
    validators = _blocking(calls.validators)
    proposals = _blocking(calls.proposals)
    proposal = _blocking(calls.proposal)
    finality_proof = _blocking(calls.finality_proof)
    attesters = _blocking(calls.attesters)
    provider = _blocking(calls.provider)
    providers = _blocking(calls.providers)
    parameters = _blocking(calls.parameters)
    estimate_gas = _blocking(calls.estimate_gas)
    view = _blocking(calls.view)
    markets = _blocking(market_calls.markets)
    market = _blocking(market_calls.market)
    market_book = _blocking(market_calls.market_book)
    market_trades = _blocking(market_calls.market_trades)
    market_candles = _blocking(market_calls.market_candles)
    market_ticker = _blocking(market_calls.market_ticker)
    order = _blocking(market_calls.order)
    account_orders = _blocking(market_calls.account_orders)
    account_fills = _blocking(market_calls.account_fills)
    account_assets = _blocking(market_calls.account_assets)
    assets = _blocking(market_calls.assets)
    asset = _blocking(market_calls.asset)
    policy = _blocking(market_calls.policy)
    deposits = _blocking(escrow_calls.deposits)
    deposit = _blocking(escrow_calls.deposit)


class AsyncNodeClient(_Base):
    """The same for asyncio."""

    def __init__(self, url: str) -> None:
        """`url` such as http://127.0.0.1:8545. Raises ValueError where it is none."""
        super().__init__(url)
        self._http = httpx.AsyncClient(**self._options)

    async def perform(self, call: Call[T]) -> T:
        """Sends one call and reads its answer."""
        content = bytearray()
        try:
            async with self._http.stream(**self._request_options(call)) as response:
                async for chunk in response.aiter_raw():
                    content += chunk
                    self._check_size(len(content))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._unreachable(error)
        return self._read(call, response, bytes(content))

    async def wait_for_transaction(
        self, transaction_hash: Hash32 | str, *, timeout_s: float = 60.0, poll_interval_s: float = POLL_INTERVAL_S
    ) -> TransactionView:
        """As `NodeClient.wait_for_transaction`."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                found = await self.transaction(transaction_hash)
                if found.finalized:
                    return found
            except NodeUnavailable:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise _not_final(transaction_hash, timeout_s)
            await asyncio.sleep(poll_interval_s)

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    status = _awaitable(calls.status)
    block = _awaitable(calls.block)
    blocks = _awaitable(calls.blocks)
    transaction = _awaitable(calls.transaction)
    transactions = _awaitable(calls.transactions)
    send_transaction = _awaitable(calls.send_transaction)
    send_transactions = _awaitable(calls.send_transactions)
    account = _awaitable(calls.account)
    account_transactions = _awaitable(calls.account_transactions)
    account_mints = _awaitable(calls.account_mints)
    receipt = _awaitable(calls.receipt)
    receipts = _awaitable(calls.receipts)
    supply = _awaitable(calls.supply)
    validators = _awaitable(calls.validators)
    proposals = _awaitable(calls.proposals)
    proposal = _awaitable(calls.proposal)
    finality_proof = _awaitable(calls.finality_proof)
    attesters = _awaitable(calls.attesters)
    provider = _awaitable(calls.provider)
    providers = _awaitable(calls.providers)
    parameters = _awaitable(calls.parameters)
    estimate_gas = _awaitable(calls.estimate_gas)
    view = _awaitable(calls.view)
    markets = _awaitable(market_calls.markets)
    market = _awaitable(market_calls.market)
    market_book = _awaitable(market_calls.market_book)
    market_trades = _awaitable(market_calls.market_trades)
    market_candles = _awaitable(market_calls.market_candles)
    market_ticker = _awaitable(market_calls.market_ticker)
    order = _awaitable(market_calls.order)
    account_orders = _awaitable(market_calls.account_orders)
    account_fills = _awaitable(market_calls.account_fills)
    account_assets = _awaitable(market_calls.account_assets)
    assets = _awaitable(market_calls.assets)
    asset = _awaitable(market_calls.asset)
    policy = _awaitable(market_calls.policy)
    deposits = _awaitable(escrow_calls.deposits)
    deposit = _awaitable(escrow_calls.deposit)
