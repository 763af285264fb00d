"""One call to a client's server: signed with its secret, bounded in time and bytes, never redirected.

The receiver computes HMAC-SHA256 over "<timestamp>.<body>" with the secret and compares it with the header; a call with
an old timestamp is somebody's repetition. Webhook-Id is the same for every attempt at one call.
"""

import asyncio
import hmac
import ssl
import time
from collections.abc import Sequence
from typing import Final

import httpcore

from hub.delivery.addresses import Network
from hub.delivery.connecting import InnerAddress, JudgedNetwork

TIMEOUT_S: Final = 10.0
_JUDGING_S: Final = 2.0
_MAX_ANSWER_BYTES: Final = 64 * 1024
_DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}
_NO_URL: Final = "that is no URL that can be called"
_MOST_CONNECTIONS: Final = 64


class CallFailed(Exception):
    """The server did not take it; `is_final` where it never will."""

    def __init__(self, detail: str, *, is_final: bool = False) -> None:
        super().__init__(detail)
        self.is_final = is_final


def signature_of(secret: str, timestamp_s: int, body: bytes) -> str:
    """As the header `Webhook-Signature` has it."""
    return "v1=" + hmac.new(secret.encode(), f"{timestamp_s}.".encode() + body, "sha256").hexdigest()


class Caller:
    """Close it with `close`."""

    def __init__(self, allowed: Sequence[Network] = (), *, timeout_s: float = TIMEOUT_S) -> None:
        """`allowed`: inner networks that the operator lets webhooks into."""
        self._timeout_s = timeout_s
        self._network = JudgedNetwork(allowed)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=_MOST_CONNECTIONS,
            max_keepalive_connections=0,  # Resolved and judged anew for every call.
            network_backend=self._network,
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._pool.aclose()

    async def fault(self, url: str) -> str | None:
        """Why calls to this URL would never be made, in a sentence; None where nothing speaks against it now.

        A name that cannot be resolved in time may be resolved later; it is judged again when it is called.
        """
        try:
            parsed = httpcore.URL(url)
            port = _DEFAULT_PORTS[parsed.scheme] if parsed.port is None else parsed.port
            if not parsed.host or not 0 < port < 2**16:
                return _NO_URL
            async with asyncio.timeout(_JUDGING_S):
                await self._network.resolve(parsed.host.decode("ascii"), port)
        except InnerAddress as error:
            return str(error)
        except (ValueError, KeyError):
            return _NO_URL
        except (TimeoutError, httpcore.ConnectError):
            return None
        return None

    async def call(self, url: str, secret: str, *, webhook_id: str, event: str, body: bytes) -> None:
        """Returns when the server has answered 2xx; raises CallFailed."""
        timestamp_s = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "aitbc-hub",
            "Webhook-Id": webhook_id,
            "Webhook-Event": event,
            "Webhook-Timestamp": str(timestamp_s),
            "Webhook-Signature": signature_of(secret, timestamp_s, body),
            "Connection": "close",
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._post(url, headers, body)
        except InnerAddress as error:
            raise CallFailed(str(error), is_final=True) from None
        except (TimeoutError, httpcore.TimeoutException):
            raise CallFailed(f"no answer within {self._timeout_s:g} s") from None
        except (httpcore.UnsupportedProtocol, httpcore.LocalProtocolError, ValueError):
            raise CallFailed(_NO_URL, is_final=True) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise CallFailed(f"the connection failed ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise CallFailed(f"answered {status}", is_final=status == 410)

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        async with self._pool.stream(
            "POST",
            url,
            headers=list((headers | {"Host": _host(url)}).items()),
            content=body,
            extensions={"timeout": timeouts},
        ) as answer:
            read = 0
            async for piece in answer.aiter_stream():
                read += len(piece)
                if read > _MAX_ANSWER_BYTES:
                    break
            return int(answer.status)


def _host(url: str) -> str:
    parsed = httpcore.URL(url)
    host = parsed.host.decode("ascii")
    name = f"[{host}]" if ":" in host else host
    default = _DEFAULT_PORTS.get(parsed.scheme)
    return name if parsed.port in (None, default) else f"{name}:{parsed.port}"
