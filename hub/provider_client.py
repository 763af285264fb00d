"""The HTTP calls to a provider, bounded in time and bytes: make a picture, take an attestation.

Redirects are not followed and no proxy is taken from the environment: the hub talks to the registered endpoint only.
"""

import asyncio
from typing import Any, Final

import httpx
import msgspec

from hub.errors import FaultReason, ProviderFault

_MAX_PROBLEM_BYTES: Final = 64 * 1024
_MAX_DETAIL_CHARACTERS: Final = 200
_LONGEST_RETRY_AFTER_S: Final = 60.0
_DEFAULT_RETRY_AFTER_S: Final = 1.0


class _Problem(msgspec.Struct):
    """What the hub reads of a problem body (RFC 9457)."""

    reason: str = ""
    detail: str = ""


class ProviderClient:
    """Calls to any number of providers over one pool of connections. Close it with `close`."""

    def __init__(self, *, connect_timeout_s: float, answer_timeout_s: float) -> None:
        self._answer_timeout_s = answer_timeout_s
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(answer_timeout_s, connect=connect_timeout_s),
            follow_redirects=False,
            trust_env=False,
            # Uncompressed, so that few bytes cannot become many.
            headers={"Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    async def generate(self, endpoint: str, request: dict[str, Any], *, max_bytes: int, timeout_s: float) -> bytes:
        """The body of a 200, of at most `max_bytes`; ProviderFault for everything else, after `timeout_s` at most."""
        return await self._post(
            f"{endpoint}/v1/generate-image",
            request,
            headers={},
            max_bytes=max_bytes,
            timeout_s=min(timeout_s, self._answer_timeout_s),
        )

    async def deliver(
        self, endpoint: str, api_key: str, *, receipt_hash: str, attestation: str, timeout_s: float
    ) -> None:
        """Gives the provider the attestation of its receipt; returns when it has it, ProviderFault otherwise."""
        await self._post(
            f"{endpoint}/v1/attestations",
            {"receipt_hash": receipt_hash, "attestation": attestation},
            headers={"Authorization": f"Bearer {api_key}"},
            max_bytes=_MAX_PROBLEM_BYTES,
            timeout_s=timeout_s,
        )

    async def _post(
        self, url: str, body: dict[str, Any], *, headers: dict[str, str], max_bytes: int, timeout_s: float
    ) -> bytes:
        try:
            # Over the whole exchange: httpx's own timeouts start anew with each byte that drips in.
            async with asyncio.timeout(timeout_s), self._http.stream("POST", url, json=body, headers=headers) as answer:
                if answer.status_code != 200:
                    raise _fault_of_status(answer, await _read(answer, _MAX_PROBLEM_BYTES))
                return await _read(answer, max_bytes)
        except (TimeoutError, httpx.TimeoutException):
            raise ProviderFault(FaultReason.TIMED_OUT, f"no whole answer within {timeout_s:g} s") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError, ExceptionGroup):
            # An endpoint is whatever somebody registered. Odd names and ports fail as deep as in the socket layer.
            raise ProviderFault(FaultReason.UNREACHABLE, "the registered endpoint is not an HTTP URL") from None
        except (httpx.HTTPError, OSError) as error:
            raise ProviderFault(FaultReason.UNREACHABLE, f"{type(error).__name__}: the connection failed") from None


async def _read(answer: httpx.Response, max_bytes: int) -> bytes:
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise ProviderFault(FaultReason.MALFORMED_ANSWER, "the answer is compressed, which was not asked for")
    content = bytearray()
    async for piece in answer.aiter_raw():
        content += piece
        if len(content) > max_bytes:
            raise ProviderFault(FaultReason.ANSWER_TOO_LARGE, f"the answer has more than {max_bytes} bytes")
    return bytes(content)


def _fault_of_status(answer: httpx.Response, body: bytes) -> ProviderFault:
    """The fault that a status other than 200 stands for. The provider's words are cut short; they may say anything."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        problem = _Problem()
    words = " ".join(f"{problem.reason} {problem.detail}".split())[:_MAX_DETAIL_CHARACTERS]
    printable = "".join(character if character.isprintable() else "?" for character in words)
    message = f"answered {answer.status_code} {printable}".rstrip()
    status = answer.status_code
    if status in (429, 503) or problem.reason == "job_in_progress":
        return ProviderFault(FaultReason.BUSY, message, retry_after_s=_retry_after_s(answer))
    if status in (401, 403):
        return ProviderFault(FaultReason.KEY_REFUSED, message)
    if 400 <= status < 500:
        return ProviderFault(FaultReason.REQUEST_REFUSED, message)
    return ProviderFault(FaultReason.SERVER_ERROR, message)


def _retry_after_s(answer: httpx.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        return _DEFAULT_RETRY_AFTER_S
    return min(max(float(text), 0.1), _LONGEST_RETRY_AFTER_S)
