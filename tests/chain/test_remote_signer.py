"""The client of a remote signer, against signers of every kind: honest, lying, silent, endless, gone and back."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import SignerUnavailable, format_public_key, recover_address
from chain.primitives.rejection import Rejected
from chain.remote_signer import RemoteSigner, SignerMistaken, SignerSettings
from tests.chain.signer_server import (
    KEY,
    NAME,
    OTHER,
    PATIENT_S,
    SLACK_S,
    TIMEOUT_S,
    Answer,
    SignerServer,
    answer_text,
    await_that,
    honest,
)


def drip(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    """A byte now and then: each one in time."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(200):
        handler.wfile.write(b"X-More: 1\r\n")
        handler.wfile.flush()
        time.sleep(TIMEOUT_S / 3)


def endless(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    """A body that never ends."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    for _ in range(10_000):
        handler.wfile.write(b"0" * 4096)


@pytest.fixture
def server() -> Iterator[SignerServer]:
    """An honest one, until a test changes that."""
    server = SignerServer(honest)
    yield server
    server.close()


@pytest.fixture
def patient(server: SignerServer) -> Iterator[RemoteSigner]:
    """For KEY, with much time."""
    signer = RemoteSigner(SignerSettings(server.url, KEY.public_key, timeout_s=PATIENT_S))
    yield signer
    signer.close()


@pytest.fixture
def signer(server: SignerServer) -> Iterator[RemoteSigner]:
    """For KEY."""
    signer = RemoteSigner(SignerSettings(server.url, KEY.public_key, timeout_s=TIMEOUT_S))
    yield signer
    signer.close()


def test_it_signs_as_the_key_itself(patient: RemoteSigner, server: SignerServer) -> None:
    assert patient.address == KEY.address
    assert patient.public_key == KEY.public_key
    for message in (b"", b"vote", bytes(40_000)):
        assert patient.sign_keccak(message) == KEY.sign_keccak(message)
    assert set(server.paths) == {f"/api/v1/eth1/sign/{NAME}"}


def test_either_form_of_the_public_key_and_a_path_before_the_apis(server: SignerServer) -> None:
    public_key = format_public_key(KEY.public_key, compressed=False)
    settings = SignerSettings(server.url + "/behind/", public_key, timeout_s=PATIENT_S)
    signer = RemoteSigner(settings)
    assert recover_address(keccak256(b"m"), signer.sign_keccak(b"m")) == KEY.address
    assert signer.public_key == KEY.public_key
    assert server.paths == [f"/behind/api/v1/eth1/sign/{NAME}"]
    signer.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda handler, data: answer_text(handler, 200, to_hex(OTHER.sign_keccak(data)).encode()), "belongs to 0x"),
        (
            lambda handler, data: answer_text(handler, 200, to_hex(KEY.sign_keccak(data + b"!")).encode()),
            "belongs to 0x",
        ),
        (lambda handler, data: answer_text(handler, 200, b"0x" + b"00" * 65), "is no signature"),
        (lambda handler, data: answer_text(handler, 200, KEY.sign_keccak(data)), "is no signature"),
        (
            lambda handler, data: answer_text(handler, 200, to_hex(KEY.sign_keccak(data))[:-2].encode()),
            "is no signature",
        ),
        (lambda handler, data: answer_text(handler, 200, b"\x1b[2Jno\r\n"), "is no signature"),
        (lambda handler, data: answer_text(handler, 404, b""), "does not hold the key"),
        (lambda handler, data: answer_text(handler, 403, b"not for votes"), r"refuses \(403\): not for votes"),
    ],
)
def test_a_mistaken_signer_gives_nothing(
    patient: RemoteSigner, server: SignerServer, answer: Answer, said: str
) -> None:
    server.answer = answer
    with pytest.raises(SignerMistaken, match=said) as caught:
        patient.sign_keccak(b"vote")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "answer",
    [
        lambda handler, data: answer_text(handler, 500, b"oh"),
        lambda handler, data: answer_text(handler, 302, b""),
        lambda handler, data: time.sleep(3 * TIMEOUT_S),
        lambda handler, data: handler.wfile.write(b"what?\r\n\r\n"),
        lambda handler, data: None,
        drip,
        endless,
    ],
)
def test_an_unwell_signer_costs_little_time(signer: RemoteSigner, server: SignerServer, answer: Answer) -> None:
    server.answer = answer
    started_s = time.monotonic()
    with pytest.raises(SignerUnavailable):
        signer.sign_keccak(b"vote")
    assert time.monotonic() - started_s < TIMEOUT_S + SLACK_S
    asked = len(server.paths)
    started_s = time.monotonic()
    for _ in range(100):
        with pytest.raises(SignerUnavailable):
            signer.sign_keccak(b"vote")
    assert time.monotonic() - started_s < 100 * TIMEOUT_S / 2  # As it would be if each had asked.
    assert len(server.paths) <= asked + 1  # At most a probe in the background.


def test_it_comes_back_by_itself_and_says_so(server: SignerServer) -> None:
    changes: list[str | None] = []
    settings = SignerSettings(server.url, KEY.public_key, timeout_s=PATIENT_S)
    signer = RemoteSigner(settings, on_change=changes.append)
    server.answer = lambda handler, data: answer_text(handler, 503, b"")
    with pytest.raises(SignerUnavailable):
        signer.sign_keccak(b"vote")
    assert signer.fault is not None
    server.answer = honest
    await_that(lambda: changes[1:] == [None])
    assert signer.fault is None
    assert signer.sign_keccak(b"vote") == KEY.sign_keccak(b"vote")
    assert len(changes) == 2
    signer.close()


def test_an_answer_that_comes_too_late_is_not_taken(signer: RemoteSigner, server: SignerServer) -> None:
    """What was given up stays given up: the next request never gets the last one's signature."""
    is_slow = True

    def slow_once(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        if is_slow:
            time.sleep(1.5 * TIMEOUT_S)
        honest(handler, data)

    server.answer = slow_once
    with pytest.raises(SignerUnavailable):
        signer.sign_keccak(b"first")
    is_slow = False
    await_that(lambda: signer.fault is None)
    assert signer.sign_keccak(b"second") == KEY.sign_keccak(b"second")


def test_many_threads_share_one(patient: RemoteSigner) -> None:
    wrong: list[int] = []

    def sign(number: int) -> None:
        message = number.to_bytes(4, "big")
        if patient.sign_keccak(message) != KEY.sign_keccak(message):
            wrong.append(number)

    threads = [threading.Thread(target=sign, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert patient.fault is None


def test_a_check_names_what_was_mixed_up(server: SignerServer) -> None:
    server.answer = lambda handler, data: answer_text(handler, 404, b"")
    signer = RemoteSigner(SignerSettings(server.url, OTHER.public_key))
    with pytest.raises(SignerMistaken, match=f"key of {to_checksum_address(OTHER.address)}; it holds 0x") as caught:
        signer.check()
    assert to_checksum_address(KEY.address) in str(caught.value)
    signer.close()


def test_nobody_listening_is_a_fault_and_not_a_crash() -> None:
    server = SignerServer(honest)
    server.close()
    signer = RemoteSigner(SignerSettings(server.url, KEY.public_key))
    with pytest.raises(SignerUnavailable, match=r"no answer from the signer at http://127\.0\.0\.1"):
        signer.check()
    signer.close()
    with pytest.raises(SignerUnavailable):
        signer.sign_keccak(b"vote")


def test_a_password_in_the_url_is_not_shown(server: SignerServer) -> None:
    url = server.url.replace("http://", "http://node:secret@")
    signer = RemoteSigner(SignerSettings(url, KEY.public_key))
    server.answer = lambda handler, data: answer_text(handler, 500, b"")
    with pytest.raises(SignerUnavailable) as caught:
        signer.sign_keccak(b"vote")
    assert "secret" not in str(caught.value) + signer.url + (signer.fault or "")
    signer.close()


@pytest.mark.parametrize("url", ["", "127.0.0.1:9000", "ftp://host", "http://", "https:///path"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a signer"):
        RemoteSigner(SignerSettings(url, KEY.public_key))


def test_what_is_no_public_key_is_refused() -> None:
    with pytest.raises(Rejected):
        RemoteSigner(SignerSettings("http://127.0.0.1:9000", bytes(33)))


@pytest.fixture
def certificates(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Certificate and key, each signed by itself: so each is its own authority."""

    def make(name: str) -> tuple[Path, Path]:
        certificate, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(
            [*command, *names, "-out", str(certificate), "-keyout", str(key)],
            check=True,
            capture_output=True,
            timeout=30,
        )
        return certificate, key

    return make


def test_tls_with_certificates_on_both_sides(certificates: Callable[[str], tuple[Path, Path]]) -> None:
    (server_certificate, server_key), (own_certificate, own_key) = certificates("signer"), certificates("node")
    stranger_certificate, stranger_key = certificates("stranger")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server_certificate, server_key)
    tls.load_verify_locations(own_certificate)
    tls.verify_mode = ssl.CERT_REQUIRED
    server = SignerServer(honest, tls)

    def signature(certificate: Path | None, key: Path | None, ca: Path | None) -> bytes:
        signer = RemoteSigner(
            SignerSettings(
                server.url, KEY.public_key, certificate=certificate, certificate_key=key, ca=ca, timeout_s=PATIENT_S
            )
        )
        try:
            return signer.sign_keccak(b"vote")
        finally:
            signer.close()

    try:
        assert signature(own_certificate, own_key, server_certificate) == KEY.sign_keccak(b"vote")
        for certificate, key, ca in (
            (None, None, server_certificate),
            (stranger_certificate, stranger_key, server_certificate),
            (own_certificate, own_key, None),
            (own_certificate, own_key, stranger_certificate),
        ):
            with pytest.raises(SignerUnavailable):
                signature(certificate, key, ca)
        with pytest.raises(ValueError, match="TLS files cannot be used"):
            signature(own_certificate, stranger_key, server_certificate)
        with pytest.raises(ValueError, match="TLS files cannot be used"):
            signature(own_certificate, own_key, own_key)
    finally:
        server.close()
