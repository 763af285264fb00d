"""Other hubs' attesters: who they are (a TOML file), and asking one of them.

attesters.toml
[[attester]]
hub_id = "east"                       # as in its receipts
url = "https://east.example"          # where its attester is asked; leave out if only it asks us
address = "0x…"                       # its attester, as on the chain's list
key = "0x…"                           # its hub's own key (`hub_key` of its GET /v1/hub): whose calls we answer
"""

import asyncio
import math
import re
import time
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from chain.primitives.client_request import check_hub_id_is_no_address
from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address
from chain.primitives.keys import SIGNATURE_BYTES, Signer
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address, Hash32
from hub.attestation.authentication import Network, sign_call
from hub.attestation.errors import NotEndorsed, NotYet, PicturesWanted
from hub.attestation.evidence import CONTENT_TYPE, DRAWN, MAX_PICTURES
from hub.attestation.forms import is_signed_by
from hub.errors import HubConfigurationError

PATH: Final = "/v1/attestations"
PICTURES_WANTED: Final = "pictures_wanted"
MAX_PEERS: Final = 64
_MAX_FILE_BYTES: Final = 64 * 1024
_MAX_ANSWER_BYTES: Final = 16 * 1024
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")
_REASON: Final = re.compile(r"[a-z0-9_]{1,64}")
_FIELD: Final = re.compile(r"[a-z0-9_.\[\]]{1,64}")
_FIELDS: Final = ("hub_id", "url", "address", "key")
_RETRY_S: Final = 5.0
_LONGEST_RETRY_S: Final = 3_600.0
_TROUBLED_S: Final = 60.0
_SILENT_S: Final = 20.0
"""So long may nothing of the evidence be taken: it is in memory meanwhile."""
_PIECE_BYTES: Final = 64 * 1024
_TROUBLES: Final = frozenset({"attester_away", "attester_unclear", "wrong_signature"})


@dataclass(frozen=True, slots=True)
class Peer:
    """Another hub and its attester."""

    hub_id: str
    url: str | None
    address: Address
    key: Address


def read_peers(path: Path) -> tuple[Peer, ...]:
    """From the file; raises HubConfigurationError that names the entry."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise HubConfigurationError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
        entries = tomllib.loads(content.decode()).get("attester", [])
    except HubConfigurationError:
        raise
    except (ValueError, RecursionError) as error:
        raise HubConfigurationError(f"{path} is no TOML: {error}") from None
    except OSError as error:
        raise HubConfigurationError(f"cannot read {path}: {error.strerror or error}") from None
    if not isinstance(entries, list) or len(entries) > MAX_PEERS:
        raise HubConfigurationError(f"{path}: [[attester]] must stand there at most {MAX_PEERS} times")
    peers = tuple(_peer_of(entry, f"{path}: attester {number}") for number, entry in enumerate(entries, 1))
    for name in ("hub_id", "address", "key"):
        if len({getattr(peer, name) for peer in peers}) != len(peers):
            raise HubConfigurationError(f"{path}: two attesters have the same {name}")
    return peers


def _peer_of(entry: object, where: str) -> Peer:
    if not isinstance(entry, dict) or set(entry) - set(_FIELDS):
        raise HubConfigurationError(f"{where} has other fields than {', '.join(_FIELDS)}")
    fields: dict[str, Any] = entry
    if any(not isinstance(value, str) for value in fields.values()):
        raise HubConfigurationError(f"{where}: every field is text")
    try:
        hub_id = fields["hub_id"]
        if not _HUB_ID.fullmatch(hub_id):
            raise HubConfigurationError(f"{where}: hub_id must match {_HUB_ID.pattern}")
        check_hub_id_is_no_address(hub_id)
        url = fields.get("url")
        if url is not None and httpx.URL(url).scheme not in ("http", "https"):
            raise HubConfigurationError(f"{where}: url must begin with http:// or https://")
        return Peer(hub_id, url, parse_address(fields["address"], "address"), parse_address(fields["key"], "key"))
    except KeyError as missing:
        raise HubConfigurationError(f"{where}: {missing.args[0]} is missing") from None
    except httpx.InvalidURL as error:
        raise HubConfigurationError(f"{where}: url: {error}") from None
    except Rejected as rejected:
        raise HubConfigurationError(f"{where}: {rejected.message}") from None


class _Answer(msgspec.Struct):
    """Of POST /v1/attestations, done or not yet, or a problem."""

    signature: str | None = None
    retry_after_s: float | None = None
    reason: str | None = None
    detail: str | None = None
    field: str | None = None
    pictures: list[int] = []


class PeerAttester:
    """Asks one other hub's attester. Nothing that it answers is believed but a signature that holds."""

    def __init__(
        self, peer: Peer, key: Signer, network: Network, *, timeout_s: float = 120.0, silent_s: float = _SILENT_S
    ) -> None:
        """`key` is this hub's own. It has `timeout_s` for an answer, and may not stop reading for `silent_s`."""
        assert peer.url is not None
        self.peer = peer
        self._key = key
        self._network = network
        self._timeout_s = timeout_s
        self._failed_at_s = -math.inf
        self._url = peer.url.rstrip("/") + PATH
        # No redirects and no proxy from the environment: pictures go where the operator said.
        timeout = httpx.Timeout(timeout_s, write=silent_s, connect=min(timeout_s, silent_s))
        self._http = httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    @property
    def is_troubled(self) -> bool:
        """Whether it gave no answer a moment ago, or none that an attester gives: others are asked before it."""
        return time.monotonic() - self._failed_at_s < _TROUBLED_S

    async def ask(self, body: bytes, digest: Hash32) -> bytes:
        """Its signature over the digest. Raises NotYet (also where it does not answer, or lies), NotEndorsed, and
        PicturesWanted where it is to be asked again with these."""
        try:
            return await self._ask(body, digest)
        except NotYet as later:
            if later.reason in _TROUBLES:
                self._failed_at_s = time.monotonic()
            raise

    async def _ask(self, body: bytes, digest: Hash32) -> bytes:
        headers = sign_call(self._key, self._network, self.peer.address, body, sent_at_s=int(time.time()))
        headers |= {"content-type": CONTENT_TYPE, "content-length": str(len(body))}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream("POST", self._url, content=_pieces(body), headers=headers) as response,
            ):
                content = await _bounded(response)
                status = response.status_code
            answer = msgspec.json.decode(content, type=_Answer)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise NotYet("attester_away", f"{self._name} does not answer: {type(error).__name__}", _RETRY_S) from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise NotYet("attester_unclear", f"{self._name} answered what no attester does", _RETRY_S) from None
        return self._signature(status, answer, digest)

    def _signature(self, status: int, answer: _Answer, digest: Hash32) -> bytes:
        reason = answer.reason if answer.reason is not None and _REASON.fullmatch(answer.reason) else "refused"
        if status == 202 and reason == PICTURES_WANTED:
            numbers = tuple(sorted(set(answer.pictures)))
            if not numbers or len(numbers) > DRAWN or numbers[0] < 0 or numbers[-1] >= MAX_PICTURES:
                raise NotYet("attester_unclear", f"{self._name} wants pictures that there cannot be", _RETRY_S)
            raise PicturesWanted(numbers)
        if status == 202:
            wait_s = _RETRY_S if answer.retry_after_s is None else answer.retry_after_s
            bounded_s = min(_LONGEST_RETRY_S, max(1.0, wait_s)) if wait_s == wait_s else _RETRY_S
            raise NotYet(reason, f"{self._name} signs later", bounded_s)
        if status in (408, 425, 429) or status >= 500:
            raise NotYet(reason, f"{self._name} cannot sign now (HTTP {status})", _RETRY_S)
        if status != 200 or answer.signature is None:
            field = answer.field if answer.field is not None and _FIELD.fullmatch(answer.field) else None
            raise NotEndorsed(reason, f"{self._name} refuses (HTTP {status}, {reason})", field)
        try:
            signature = parse_hex(answer.signature, length=SIGNATURE_BYTES, field="signature")
        except Rejected:
            raise NotYet("attester_unclear", f"{self._name} gave no signature", _RETRY_S) from None
        if not is_signed_by(self.peer.address, digest, signature):
            raise NotYet("wrong_signature", f"{self._name} gave another's signature, or of another receipt", _RETRY_S)
        return signature

    @property
    def _name(self) -> str:
        return f"the attester {to_checksum_address(self.peer.address)} of hub {self.peer.hub_id}"


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """Each of which has its own time: a slow line is none that stands still."""
    octets = memoryview(body)
    for start in range(0, len(octets), _PIECE_BYTES):
        yield bytes(octets[start : start + _PIECE_BYTES])


async def _bounded(response: httpx.Response) -> bytes:
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _MAX_ANSWER_BYTES:
            raise httpx.DecodingError("too large an answer")
    return content
