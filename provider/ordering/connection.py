"""What a blocking and an asynchronous client of a provider share: addresses, headers, bounds, and when to try again."""

import time
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

import httpx

from chain.primitives.client_request import SALT_BYTES
from chain.primitives.rejection import Rejected
from provider.ordering import calls
from provider.ordering.calls import Call
from provider.ordering.errors import ClientError, ProviderUnavailable
from provider.ordering.live import PATH as LIVE_PATH
from provider.ordering.order import PictureOrder, PreparedOrder, Signing, prepare, prepare_signed
from provider.ordering.verification import Expected

CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 30.0
"""For everything but pictures."""
PICTURES_TIMEOUT_S: Final = 600.0
"""For waiting in the queue, drawing and sending together."""
MAX_ATTEMPTS: Final = 5
MAX_PORT: Final = 65_535
_FIRST_PAUSE_S: Final = 0.5
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_SHORTEST_WAIT_S: Final = 0.001

T = TypeVar("T")


@dataclass(frozen=True)
class Attempts:
    """The time that a call has, and when one that broke off may be made again."""

    deadline_s: float
    """On the monotonic clock."""

    @classmethod
    def within(cls, timeout_s: float) -> Self:
        """From now."""
        return cls(time.monotonic() + timeout_s)

    @property
    def remaining_s(self) -> float:
        """Above 0 even when the time is over, since 0 means something else to libraries."""
        return max(_SHORTEST_WAIT_S, self.deadline_s - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.deadline_s

    def pause_s(self, attempt: int) -> float | None:
        """Seconds to wait after attempt number `attempt`, the first being 0; None to give up."""
        pause_s = _FIRST_PAUSE_S * 2.0**attempt
        return pause_s if attempt + 1 < MAX_ATTEMPTS and pause_s < self.remaining_s else None

    def pause_after_s(self, attempt: int, call: Call[Any], error: httpx.HTTPError) -> float | None:
        """The same for an error of HTTP: None also where another attempt might do harm, or no good."""
        nobody_was_there = attempt == 0 and isinstance(error, httpx.ConnectError)
        if not call.may_repeat or nobody_was_there or isinstance(error, httpx.TimeoutException):
            return None
        return self.pause_s(attempt)


class Connection:
    """One provider's address, and this client's key for it."""

    def __init__(self, url: str, api_key: str, expected: Expected) -> None:
        """`url` such as http://127.0.0.1:8000; raises ClientError for what is no URL or no API key."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ClientError("a provider's URL begins with http:// or https://", reason="bad_url")
        if (parsed.port or 0) > MAX_PORT:
            raise ClientError(f"a port is at most {MAX_PORT}", reason="bad_url")
        if parsed.userinfo or "?" in url or "#" in url:  # Messages and job files show it whole.
            raise ClientError("a provider's URL holds no name or password, no ? and no #", reason="bad_url")
        if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
            raise ClientError("an API key has printable ASCII characters only, and no spaces", reason="bad_api_key")
        self.url = str(parsed).rstrip("/")
        self.api_key = api_key
        self.expected = expected
        self.is_near = parsed.host in _LOOPBACK
        """No proxy stands between two processes of one machine."""

    @property
    def http_options(self) -> dict[str, Any]:
        """Of httpx's clients."""
        return {
            "base_url": self.url,
            # Compressed answers could be small on the wire and huge in memory.
            "headers": {"Accept": "application/json, image/*", "Accept-Encoding": "identity"},
            "follow_redirects": False,  # The key is for this address.
            "trust_env": not self.is_near,
        }

    @property
    def live_url(self) -> str:
        """Of the WebSocket."""
        return self.url.replace("http", "ws", 1) + LIVE_PATH

    def live_options(self, attempts: Attempts, max_message_bytes: int) -> dict[str, Any]:
        """Of both kinds of WebSocket connection."""
        proxy: dict[str, Any] = {"proxy": None} if self.is_near else {}
        return {
            "additional_headers": {"Authorization": f"Bearer {self.api_key}"},
            "compression": None,
            "open_timeout": min(CONNECT_TIMEOUT_S, attempts.remaining_s),
            "close_timeout": 1.0,
            "ping_timeout": None,  # A busy provider may be slow to answer a ping; the order's own time bounds the wait.
            "max_size": max_message_bytes,
            **proxy,
        }

    def request_options(self, call: Call[Any], attempts: Attempts) -> dict[str, Any]:
        """Of httpx's `stream`."""
        headers = dict(call.headers)
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        remaining_s = attempts.remaining_s
        return {
            "method": call.method,
            "url": call.path,
            "params": dict(call.query),
            "content": call.body,
            "headers": headers,
            "timeout": httpx.Timeout(remaining_s, connect=min(CONNECT_TIMEOUT_S, remaining_s)),
        }

    def take(self, content: bytearray, chunk: bytes, call: Call[Any], attempts: Attempts) -> None:
        """Adds a piece of an answer; raises ProviderUnavailable beyond the bounds on size and time."""
        content += chunk
        if len(content) > call.max_answer_bytes:
            raise ProviderUnavailable(f"{self.url} answered with more than {call.max_answer_bytes} bytes")
        if attempts.is_over:
            raise self.too_slow()

    def read(self, call: Call[T], response: httpx.Response, content: bytes) -> T:
        """A whole answer; raises what it stands for where it is no success."""
        if response.is_success:
            return call.read(content)
        raise calls.error_of(response.status_code, response.headers, content)

    def unreachable(self, error: Exception) -> ProviderUnavailable:
        """For an error below HTTP."""
        if isinstance(error, (httpx.TimeoutException, TimeoutError)):
            return self.too_slow()
        return ProviderUnavailable(f"no answer from {self.url}: {str(error) or type(error).__name__}")

    def too_slow(self) -> ProviderUnavailable:
        """For a time that is up."""
        return ProviderUnavailable(f"{self.url} took too long to answer", reason="too_slow")

    def prepared(self, order: PictureOrder, signing: Signing | None) -> PreparedOrder:
        """The order, signed for the provider and the network that are expected; raises ClientError.

        Never for whom a provider calls itself: it could name another, or a network whose coins have worth, and use the
        signature there.
        """
        try:
            order.parameters(bytes(SALT_BYTES))  # JSON has no word for some of what no request could mean.
            if signing is None:
                return prepare(order)
            provider, chain_id = self.expected.provider, self.expected.chain_id
            if provider is None or chain_id is None:
                words = "an order is signed for one provider on one network: its address and the chain id must be known"
                raise ClientError(words, reason="bad_signing")
            return prepare_signed(order, signing, provider=provider, chain_id=chain_id, now_s=int(time.time()))
        except Rejected as rejected:
            raise ClientError(rejected.message, reason=rejected.reason.value) from None
