"""The signer's HTTP face: what clients of Web3Signer get, and bad requests that never become a fault of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from chain.primitives.certificate import VoteKind, vote_preimage
from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey, format_public_key
from chain.primitives.types import Hash32
from chain.remote_signer import RemoteSigner, SignerMistaken, SignerSettings
from tests.wallet.signers.conftest import MakeSigner
from tests.wallet.signers.signer_process import SignerProcess

KEY = PrivateKey(b"\x31" * 32)
NAME = format_public_key(KEY.public_key, compressed=False)[1:].hex()
VOTE = vote_preimage(Hash32(b"\xdd" * 32), epoch=1, kind=VoteKind.NULLIFY, view=2)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignerProcess]:
    """One that signs votes, for all tests here."""
    process = SignerProcess(tmp_path_factory.mktemp("signer"), KEY, "--for", "votes")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def http(process: SignerProcess) -> Iterator[httpx.Client]:
    """Asks it."""
    with httpx.Client(base_url=process.url, trust_env=False, timeout=60) as client:
        yield client


def test_it_answers_as_web3signer_does(http: httpx.Client, process: SignerProcess) -> None:
    assert http.get("/upcheck").text == "OK"
    assert http.get("/api/v1/eth1/publicKeys").json() == ["0x" + NAME]
    for identifier in (NAME, "0x" + NAME, NAME.upper()):
        answer = http.post(f"/api/v1/eth1/sign/{identifier}", json={"data": to_hex(VOTE)})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text == to_hex(KEY.sign_keccak(VOTE))
    log = [json.loads(line) for line in process.log_file.read_text().splitlines() if line.startswith("{")]
    signed = [line for line in log if line["event"] == "signed"]
    assert [line["form"] for line in signed] == ["vote"] * 3
    assert KEY.secret.hex() not in process.log_file.read_text()


def test_our_client_and_our_server_fit(process: SignerProcess) -> None:
    signer = RemoteSigner(SignerSettings(process.url, KEY.public_key))
    signer.check()
    assert signer.sign_keccak(VOTE) == KEY.sign_keccak(VOTE)
    with pytest.raises(SignerMistaken, match=r"refuses \(403\).*signer signs votes only"):
        signer.sign_keccak(b"\x02" + bytes(100))
    signer.close()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"data": "0x00"}', "application/json", 403),
        (b'{"data": "0x"}', "application/json", 403),
        (b'{"data": "0x0"}', "application/json", 422),
        (b'{"data": "00"}', "application/json", 422),
        (b'{"data": 7}', "application/json", 422),
        (b'{"data": null}', "application/json", 422),
        (b"{}", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"", "application/json", 422),
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 413),
        (b'{"data": "0x' + b"00" * 70_000 + b'"}', "application/json", 413),
        (b'{"data": "0x00"}', "text/plain", 415),
        (b'{"data": "0x00", "data": "0x01"}', "application/json", 400),
    ],
)
def test_bad_requests_are_the_clients_fault(http: httpx.Client, body: bytes, content_type: str, status: int) -> None:
    answer = http.post(f"/api/v1/eth1/sign/{NAME}", content=body, headers={"Content-Type": content_type})
    assert 400 <= answer.status_code < 500
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_keys_that_it_does_not_hold(http: httpx.Client) -> None:
    for identifier in ("0x" + "11" * 64, "0", "..%2f..", "é", "a" * 132):
        answer = http.post(f"/api/v1/eth1/sign/{identifier}", json={"data": "0x00"})
        assert answer.status_code == 404, identifier


def test_a_page_with_a_name_for_loopback_gets_nothing(http: httpx.Client) -> None:
    """DNS can make any name mean 127.0.0.1; a browser says which name it was."""
    for path in ("/upcheck", "/api/v1/eth1/publicKeys"):
        assert http.get(path, headers={"Host": "attacker.example:9000"}).status_code == 400
    answer = http.post(f"/api/v1/eth1/sign/{NAME}", json={"data": to_hex(VOTE)}, headers={"Host": "attacker.example"})
    assert answer.status_code == 400


def test_a_page_gets_nothing_signed_whatever_name_it_uses(http: httpx.Client, process: SignerProcess) -> None:
    """On an address that is not loopback every name is let in; a browser names the page with each POST all the same."""
    for origin in ("http://attacker.example", process.url, "null"):
        answer = http.post(f"/api/v1/eth1/sign/{NAME}", json={"data": to_hex(VOTE)}, headers={"Origin": origin})
        assert answer.status_code == 403, origin
        assert answer.json()["reason"] == "not_for_pages"


def test_it_ends_well(make_signer: MakeSigner) -> None:
    assert make_signer(KEY, "--for", "votes").stop() == 0
