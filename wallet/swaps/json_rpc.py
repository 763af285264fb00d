"""A small JSON-RPC 2.0 client over HTTP: bounded, and careful with what a foreign node says.

The URL may hold somebody's API key: no message repeats it.
"""

import json
from types import TracebackType
from typing import Any, Final, Self

import httpx

from chain.client import connection_options
from chain.primitives.hexadecimal import parse_hex
from chain.primitives.rejection import Rejected
from chain.primitives.strict_json import count_containers

_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_MAX_CONTAINERS: Final = 4_096
"""Arrays and objects in an answer."""

_MAX_QUANTITY_DIGITS: Final = 64
_TIMEOUT_S: Final = 30.0
_LONGEST_MESSAGE: Final = 300


class RpcUnavailable(Exception):
    """No usable answer: whether the node has done something is not known."""


class RpcRefused(Exception):
    """The node said no, and why."""


class JsonRpc:
    """One node."""

    def __init__(self, url: str, what: str) -> None:
        """`what` names the node in messages. Raises ValueError for what is no http(s) URL."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise ValueError(f"the URL of {what} is none") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError(f"the URL of {what} must begin with http:// or https://")
        self.what = what
        self._url = parsed
        self._http = httpx.Client(timeout=_TIMEOUT_S, **connection_options(parsed))

    def call(self, method: str, *parameters: Any) -> Any:
        """The result, of whatever type; raises RpcRefused and RpcUnavailable."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        content = bytearray()
        try:
            with self._http.stream("POST", self._url, json=request) as response:
                for chunk in response.iter_raw():  # Nothing was to be compressed.
                    content += chunk
                    if len(content) > _MAX_ANSWER_BYTES:
                        raise RpcUnavailable(f"{self.what} answers without end")
        except httpx.HTTPError as error:
            raise RpcUnavailable(f"no answer from {self.what}: {type(error).__name__}") from None
        return self._read(bytes(content), response.status_code)

    def _read(self, content: bytes, status: int) -> Any:
        if count_containers(content) > _MAX_CONTAINERS:
            raise RpcUnavailable(f"{self.what} gives no JSON-RPC answer: too many arrays and objects")
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise RpcUnavailable(f"{self.what} gives no JSON-RPC answer (HTTP {status})")
        if (error := answer.get("error")) is not None:
            message = error.get("message") if isinstance(error, dict) else error
            raise RpcRefused(str(message)[:_LONGEST_MESSAGE])
        return answer["result"]

    def quantity(self, method: str, *parameters: Any) -> int:
        """A number."""
        return self.read_quantity(self.call(method, *parameters))

    def read_quantity(self, value: Any) -> int:
        """A number from within an answer; raises RpcUnavailable where it is none."""
        if not isinstance(value, str) or not value.startswith("0x") or len(value) > 2 + _MAX_QUANTITY_DIGITS:
            raise RpcUnavailable(f"{self.what} gives no number where one is due")
        try:
            return int(value, 16)
        except ValueError:
            raise RpcUnavailable(f"{self.what} gives no number where one is due") from None

    def octets(self, method: str, *parameters: Any) -> bytes:
        """Bytes."""
        try:
            return parse_hex(self.call(method, *parameters))
        except Rejected:
            raise RpcUnavailable(f"{self.what} gives no bytes where they are due") from None

    def block(self, tag: str) -> dict[str, Any]:
        """A block's header by tag or number; raises RpcUnavailable where there is none."""
        found = self.call("eth_getBlockByNumber", tag, False)
        if not isinstance(found, dict):
            raise RpcUnavailable(f"{self.what} shows no block {tag}")
        return found

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
