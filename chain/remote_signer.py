"""Client of a remote signer: a service that holds keys and signs for this process, by Web3Signer's API for secp256k1.

    POST /api/v1/eth1/sign/0x{key}      {"data": "0x…"}  →  0x and 130 hex digits, as text: r‖s‖v over keccak256(data)
    GET  /api/v1/eth1/publicKeys        ["0x…", …]       a key is named by its 64 bytes x‖y

Nothing that it answers is believed: a signature that is not the key's own never leaves here. And nobody waits for long:
after the first failure every request is refused at once, while a thread tries in the background until the signer signs
a probe again; the more seldom, the longer nothing but probes is signed.
"""

import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from secrets import token_bytes
from typing import Final

import httpx
import msgspec

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import (
    SIGNATURE_BYTES,
    SignerUnavailable,
    address_of_public_key,
    format_public_key,
    recover_address,
)
from chain.primitives.rejection import Rejected
from chain.primitives.signable import PROBE_PREFIX, PROOF_PREFIX
from chain.primitives.types import Address

DEFAULT_TIMEOUT_S: Final = 1.0
"""What one signature may take. The node's event loop waits for its votes: a signer belongs near its node."""
_MAX_RESPONSE_BYTES: Final = 64 * 1024
_MAX_SHOWN: Final = 200
"""Characters of a refusal that are shown."""
_FIRST_RETRY_S: Final = 0.5
_LONGEST_RETRY_S: Final = 8.0
_THREADS: Final = 4
"""Requests at a time."""
_PROOFS: Final = 2
"""Of these, proofs to peers: strangers can have a node make many, and a vote must not wait for them."""


class SignerMistaken(SignerUnavailable):
    """The signer answers, but does not hold the key, refuses to use it, or signs with another. Waiting may not help."""


@dataclass(frozen=True, slots=True)
class SignerSettings:
    """Where a key is, and how to get there."""

    url: str
    """http:// or https://; what is behind the host is put before the API's paths."""

    public_key: bytes
    """33 bytes (compressed) or 65."""

    certificate: Path | None = None
    """PEM file that this side shows in TLS, with its key in the same file or in `certificate_key`."""

    certificate_key: Path | None = None
    """PEM file with the certificate's key."""

    ca: Path | None = None
    """PEM file of who vouches for the signer's certificate, instead of the system's list."""

    timeout_s: float = DEFAULT_TIMEOUT_S
    """What one signature may take."""


class RemoteSigner:
    """A `Signer` for one key; threads may share it. `close` it at the end."""

    def __init__(
        self, settings: SignerSettings, *, on_change: Callable[[str | None], None] = lambda fault: None
    ) -> None:
        """Speaks to nobody yet. Raises ValueError for a bad URL or certificate, Rejected for a bad public key.

        `on_change` is called from any thread: with a sentence when the signer fails, with None when it signs again.
        """
        self.public_key: bytes = format_public_key(settings.public_key, compressed=True)
        self.address: Address = address_of_public_key(self.public_key)
        self.on_change = on_change
        self.fault: str | None = None
        """Why no signature can be had now; None while all is well."""
        self._name = to_hex(format_public_key(settings.public_key, compressed=False)[1:])
        self._timeout_s = settings.timeout_s
        self._http = httpx.Client(
            base_url=_checked_url(settings.url),
            timeout=settings.timeout_s,
            headers={"Accept-Encoding": "identity"},  # Compressed answers could be small on the wire, huge in memory.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # Else it could have any number of them kept.
            follow_redirects=False,
            trust_env=False,  # No proxy stands between a node and its key.
            verify=_tls_of(settings),
        )
        self.url = str(self._http.base_url.copy_with(userinfo=b"")).rstrip("/")
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="signer")
        self._proofs = threading.BoundedSemaphore(_PROOFS)
        self._retry_s = _FIRST_RETRY_S
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def sign_keccak(self, message: bytes) -> bytes:
        """65 bytes r‖s‖v over keccak256(message); raises SignerUnavailable, at once where the last request failed."""
        if not message.startswith(PROOF_PREFIX):
            return self._sign(message)
        if not self._proofs.acquire(timeout=self._timeout_s):
            # That says nothing about the signer: it is no fault, and votes go on.
            raise SignerUnavailable(f"too many proofs to peers wait for the signer at {self.url}")
        try:
            return self._sign(message)
        finally:
            self._proofs.release()

    def _sign(self, message: bytes) -> bytes:
        if self.fault is not None:
            raise SignerUnavailable(self.fault)
        try:
            signature = self._ask(message)
        except SignerUnavailable as error:
            self._fail(str(error))
            raise
        self._retry_s = _FIRST_RETRY_S
        return signature

    def check(self) -> None:
        """Has a probe signed; raises SignerUnavailable and SignerMistaken. What fails here is tried on as usual."""
        try:
            self.sign_keccak(_probe())
        except SignerMistaken as mistaken:
            raise SignerMistaken(f"{mistaken}{self._holdings()}") from None

    def close(self) -> None:
        """Ends what waits for the signer."""
        self._closing.set()
        self._http.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, message: bytes) -> bytes:
        """Raises SignerUnavailable after the timeout, whatever the other side does."""
        ending = f"the signer at {self.url} is no longer asked: this process ends"
        try:
            request = self._threads.submit(self._request, message)
        except RuntimeError:
            raise SignerUnavailable(ending) from None
        try:
            return request.result(self._timeout_s)
        except TimeoutError:
            request.cancel()
            raise SignerUnavailable(f"the signer at {self.url} gives no answer within {self._timeout_s:g} s") from None
        except CancelledError:
            raise SignerUnavailable(ending) from None

    def _request(self, message: bytes) -> bytes:
        status, content = self._fetch("POST", f"/api/v1/eth1/sign/{self._name}", {"data": to_hex(message)})
        if status == 404:
            raise SignerMistaken(f"the signer at {self.url} does not hold the key of {self._owner}")
        if 400 <= status < 500:
            raise SignerMistaken(f"the signer at {self.url} refuses ({status}): {_shown(content)}")
        if status != 200:
            raise SignerUnavailable(f"the signer at {self.url} answers {status}: {_shown(content)}")
        try:
            signature = parse_hex(content.decode("ascii").strip(), length=SIGNATURE_BYTES, field="signature")
            signer = recover_address(keccak256(message), signature)
        except (UnicodeDecodeError, Rejected):
            raise SignerMistaken(f"what the signer at {self.url} answers is no signature: {_shown(content)}") from None
        if signer != self.address:
            raise SignerMistaken(
                f"the signer at {self.url} has not signed what it was given with the key of {self._owner}: "
                f"its signature belongs to {to_checksum_address(signer)}"
            )
        return signature

    def _fetch(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and body. Raises SignerUnavailable."""
        deadline_s = time.monotonic() + self._timeout_s
        try:
            try:
                return self._exchange(method, path, body, deadline_s)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # A connection that was kept open may have been closed at the other side a moment ago.
                return self._exchange(method, path, body, deadline_s)
        except SignerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is made of its bytes, it must end neither node nor thread
            cause = _shown(str(error).encode()) or type(error).__name__
            raise SignerUnavailable(f"no answer from the signer at {self.url}: {cause}") from None

    def _exchange(self, method: str, path: str, body: object, deadline_s: float) -> tuple[int, bytes]:
        content = b""
        with self._http.stream(method, path, json=body) as response:
            for chunk in response.iter_raw():
                content += chunk
                if len(content) > _MAX_RESPONSE_BYTES or time.monotonic() > deadline_s:
                    raise SignerUnavailable(f"the signer at {self.url} answers without end")
            return response.status_code, content

    @property
    def _owner(self) -> str:
        return to_checksum_address(self.address)

    def _holdings(self) -> str:
        """What the signer says that it holds, for a person who has mixed something up; nothing where it is silent."""
        try:
            status, content = self._fetch("GET", "/api/v1/eth1/publicKeys")
            names = msgspec.json.decode(content, type=list[str])[:5] if status == 200 else []
            keys = [b"\4" + parse_hex(name, length=64, field="public key") for name in names]
            held = [to_checksum_address(address_of_public_key(key)) for key in keys]
        except (SignerUnavailable, msgspec.MsgspecError, Rejected):
            return ""
        return f"; it holds {', '.join(held)}" if held else "; it holds no key"

    def _fail(self, fault: str) -> None:
        with self._lock:
            if self.fault is not None or self._closing.is_set():
                return
            self.fault = fault
        self.on_change(fault)
        threading.Thread(target=self._await_return, name="signer-return", daemon=True).start()

    def _await_return(self) -> None:
        """Tries a probe again and again, ever more seldom, also where probes are all that it signs."""
        while not self._closing.wait(self._retry_s):
            self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)
            try:
                self._ask(_probe())
            except SignerUnavailable as error:
                self.fault = str(error)
                continue
            self.fault = None
            self.on_change(None)
            return


def _probe() -> bytes:
    return PROBE_PREFIX + token_bytes(32)


def _shown(content: bytes) -> str:
    """The beginning of an answer, fit for a log line."""
    text = content[:_MAX_SHOWN].decode("ascii", "replace")
    return "".join(character if character.isprintable() else " " for character in text)


def _checked_url(url: str) -> str:
    """Raises ValueError."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url[:200]!r} is not the URL of a signer: it must begin with http:// or https://")
    return url.rstrip("/")


def _tls_of(settings: SignerSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        if settings.certificate is not None:
            # Without the empty password, OpenSSL would ask for one at the terminal.
            context.load_cert_chain(settings.certificate, settings.certificate_key, password="")
    except OSError as error:  # ssl.SSLError is one.
        raise ValueError(f"the signer's TLS files cannot be used: {error}") from None
    return context
