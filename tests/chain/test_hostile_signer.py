"""The client of a remote signer where the signer, or whoever is between, means harm, and where strangers load it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from chain.primitives.keys import SignerUnavailable
from chain.primitives.signable import PROBE_PREFIX, PROOF_PREFIX
from chain.remote_signer import RemoteSigner, SignerMistaken, SignerSettings
from tests.chain.signer_server import KEY, PATIENT_S, SignerServer, answer_text, await_that, honest


@pytest.fixture
def server() -> Iterator[SignerServer]:
    """An honest one, until a test changes that."""
    server = SignerServer(honest)
    yield server
    server.close()


@pytest.mark.parametrize(
    "head",
    [
        b"200 OK\r\nSet-Cookie: a=\xff",
        b"302 Found\r\nLocation: http://[\r\nSet-Cookie: a=\xff; Path=/",
        b"307 Over there\r\nLocation: //\xff\x1b[2J",
        b"200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: -1",
        b"101 Switching\r\nUpgrade: h2c",
    ],
)
def test_no_answer_ends_more_than_its_request(server: SignerServer, head: bytes) -> None:
    """A cookie outside ASCII was once kept, and broke every later request of the node and of its watch."""

    def strange(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 " + head + b"\r\nConnection: close\r\n\r\n")

    server.answer = strange
    signer = RemoteSigner(SignerSettings(server.url, KEY.public_key, timeout_s=PATIENT_S))
    with pytest.raises(SignerUnavailable) as caught:
        signer.sign_keccak(b"vote")
    assert str(caught.value).isprintable()
    asked = len(server.paths)
    await_that(lambda: len(server.paths) > asked)  # The watch has had such an answer, too.
    server.answer = honest
    await_that(lambda: signer.fault is None)
    assert signer.sign_keccak(b"vote") == KEY.sign_keccak(b"vote")
    signer.close()


def test_a_signer_that_signs_nothing_but_probes_is_tried_ever_more_seldom(server: SignerServer) -> None:
    """One that hangs at each vote would otherwise hold up the node at every turn."""

    def picky(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        honest(handler, data) if data.startswith(PROBE_PREFIX) else answer_text(handler, 403, b"not for votes")

    server.answer = picky
    changes: list[str | None] = []
    signer = RemoteSigner(SignerSettings(server.url, KEY.public_key, timeout_s=PATIENT_S), on_change=changes.append)
    signer.check()
    started_s = time.monotonic()
    for returns in (1, 2, 3):
        with pytest.raises(SignerMistaken, match="not for votes"):
            signer.sign_keccak(b"vote")
        await_that(lambda expected=returns: changes.count(None) == expected)  # type: ignore[misc]
    assert time.monotonic() - started_s > 0.5 + 1 + 2
    signer.close()


def test_a_signer_that_hangs_up_after_each_answer_is_not_away(server: SignerServer) -> None:
    """The client learns of it only when it uses the connection again, at times after it has sent its request."""
    signer = RemoteSigner(SignerSettings(server.url, KEY.public_key, timeout_s=PATIENT_S))
    for number in range(50):
        message = b"%d" % number
        assert signer.sign_keccak(message) == KEY.sign_keccak(message)
    assert signer.fault is None
    signer.close()


def test_no_vote_waits_for_proofs(server: SignerServer) -> None:
    """Strangers decide how many proofs a node makes: too many are no fault of the signer, and votes go before them."""
    proof = PROOF_PREFIX + bytes(32)
    release = threading.Event()

    def slow_for_peers(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        if data.startswith(PROOF_PREFIX):
            release.wait(PATIENT_S)
        honest(handler, data)

    server.answer = slow_for_peers
    signer = RemoteSigner(SignerSettings(server.url, KEY.public_key, timeout_s=PATIENT_S))
    signatures: list[bytes] = []
    threads = [threading.Thread(target=lambda: signatures.append(signer.sign_keccak(proof))) for _ in range(12)]
    for thread in threads:
        thread.start()
    await_that(lambda: len(server.paths) == 2)
    assert signer.sign_keccak(b"vote") == KEY.sign_keccak(b"vote")
    assert len(server.paths) == 3
    assert signatures == []
    release.set()
    for thread in threads:
        thread.join()
    assert signatures == [KEY.sign_keccak(proof)] * 12
    assert signer.fault is None
    signer.close()


def test_proofs_that_find_no_place_are_no_fault_of_the_signer(server: SignerServer) -> None:
    def leisurely(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        time.sleep(0.5)
        honest(handler, data)

    server.answer = leisurely
    signer = RemoteSigner(SignerSettings(server.url, KEY.public_key, timeout_s=2))
    refused: list[str] = []

    def prove() -> None:
        try:
            signer.sign_keccak(PROOF_PREFIX + bytes(32))
        except SignerUnavailable as error:
            refused.append(str(error))

    threads = [threading.Thread(target=prove) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused
    assert all("too many proofs to peers" in each for each in refused)
    assert signer.fault is None
    signer.close()
