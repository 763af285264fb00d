"""A job's claims: whatever part of file or pictures is bent, some check says so."""

import json
from typing import Any

import msgspec
import pytest

from chain.primitives.client_request import ClientClaim, sign_client_request
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, sign_receipt
from chain.primitives.signing import eip191_digest
from chain.primitives.types import Amount, Hash32
from provider.receipts.claims import check_claims
from provider.receipts.client_requests import request_parameters, signed_origin, verify_client_request
from provider.receipts.job_file import read_job_file

SALT = b"s" * 32
CLIENT = PrivateKey(b"\x08" * 32)
STRANGER = PrivateKey(b"\x09" * 32)


def states(fields: dict[str, Any], pictures: tuple[bytes, ...]) -> dict[str, bool | None]:
    job = read_job_file(json.dumps(fields).encode())
    return {check.name: check.passed for check in check_claims(job, pictures)}


def failed(fields: dict[str, Any], pictures: tuple[bytes, ...]) -> set[str]:
    return {name for name, passed in states(fields, pictures).items() if passed is False}


def test_honest_job(make_job: Any) -> None:
    job = make_job()
    assert states(job.file(Hash32(bytes(32))), job.pictures) == {
        "receipt": True,
        "receipt_hash": True,
        "provider_signature": True,
        "trajectory_root": None,
        "request": True,
        "parameters": True,
        "client_signature": None,
        "artifact": True,
    }


def test_without_pictures_and_without_job_file_questions_stay_open(make_job: Any) -> None:
    job = make_job()
    assert states(job.file(), ())["artifact"] is None
    bare = states(job.file()["receipt"], ())
    assert (bare["receipt"], bare["request"], bare["provider_signature"]) == (True, None, None)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"request": {"prompt": "a blue circle", "seed": 7}}, {"request"}),
        ({"prompt_salt": "0x" + "00" * 32}, {"request"}),
        ({"request": {"prompt": "a red circle", "seed": 7, "negative_prompt": "text"}}, {"parameters"}),
        ({"receipt_hash": "0x" + "00" * 32}, {"receipt_hash"}),
        ({"provider_signature": "0x" + "11" * 65}, {"provider_signature"}),
    ],
)
def test_bent_file(make_job: Any, change: dict[str, Any], names: set[str]) -> None:
    job = make_job()
    assert failed(job.file() | change, job.pictures) == names


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"steps": 100}, {"request"}),
        ({"guidance": 2.6}, {"request"}),
        ({"seed": "8"}, {"request", "parameters"}),
        ({"seed": "7"}, {"request"}),
        ({"model": "other/model"}, {"request", "parameters"}),
        ({"count": 3}, {"request"}),
        ({"negative_prompt_hash": "sha256:" + "00" * 32}, {"request", "parameters"}),
    ],
)
def test_bent_parameters(make_job: Any, change: dict[str, Any], names: set[str]) -> None:
    job = make_job()
    fields = job.file()
    assert failed({**fields, "parameters": fields["parameters"] | change}, job.pictures) == names


def test_other_pictures(make_job: Any) -> None:
    job = make_job()
    one, two = job.pictures
    for pictures in ((two, one), (one,), (one, two, two), (one, b"x"), (b"",)):
        assert failed(job.file(), pictures) == {"artifact"}


def test_receipt_signed_by_a_stranger(make_job: Any) -> None:
    job = make_job()
    forged = to_hex(sign_receipt(STRANGER, job.sign(None).receipt))
    assert failed(job.file(provider_signature=forged), job.pictures) == {"provider_signature"}


def test_more_pictures_charged_than_asked_for(make_job: Any) -> None:
    job = make_job()
    receipt = Receipt.from_object(
        job.file()["receipt"] | {"unit_type": "images", "units": 3, "amount": str(3 * 10**17)}
    )
    fields = job.file(
        receipt=receipt.to_object(),
        receipt_hash=to_hex(receipt.hash),
        provider_signature=to_hex(sign_receipt(job.key, receipt)),
    )
    assert failed(fields, job.pictures) == {"parameters"}


class TestSignedRequest:
    """A client that signed finds its request in the receipt, and nothing else passes for it."""

    @pytest.fixture
    def signed(self, make_job: Any) -> tuple[Any, dict[str, Any]]:
        job = make_job()
        audience = to_checksum_address(job.key.address)
        parameters = request_parameters(job.request, salt=SALT, seed_asked=None, model_asked=None)
        claim = ClientClaim(
            client=CLIENT.address,
            salt=SALT,
            max_price=Amount(10**18),
            nonce=Hash32(b"n" * 32),
            expiry=1_770_000_100,
            signature=b"",
        )
        request = claim.request(chain_id=4242, audience=audience, prompt="a red circle", parameters=parameters)
        claim = msgspec.structs.replace(claim, signature=sign_client_request(CLIENT, request))
        verified = verify_client_request(
            claim,
            prompt="a red circle",
            parameters=parameters,
            provider=job.key.address,
            chain_id=4242,
            now_s=1_770_000_000,
        )
        from dataclasses import replace

        job = replace(job, origin=signed_origin("2026-11-22-000001", verified))
        return job, job.file(client_request=claim.to_object())

    def test_honest(self, signed: tuple[Any, dict[str, Any]]) -> None:
        job, fields = signed
        found = states(fields, job.pictures)
        assert (found["request"], found["client_signature"], False in found.values()) == (True, True, False)

    def test_signature_that_the_client_never_gave(self, signed: tuple[Any, dict[str, Any]]) -> None:
        job, fields = signed
        assert failed(fields | {"client_request": None}, job.pictures) == {"request", "client_signature"}

    def test_other_kind_of_signature_than_the_client_gave(self, signed: tuple[Any, dict[str, Any]]) -> None:
        job, fields = signed
        digest = bytes.fromhex(fields["receipt"]["request_hash"][2:])
        personal = to_hex(CLIENT.sign(eip191_digest(digest)))
        fields["client_request"] = fields["client_request"] | {"signature": personal}
        assert failed(fields, job.pictures) == {"client_signature"}

    def test_request_of_another_price(self, signed: tuple[Any, dict[str, Any]]) -> None:
        job, fields = signed
        fields["client_request"] = fields["client_request"] | {"max_price": str(2 * 10**18)}
        assert failed(fields, job.pictures) == {"request", "client_signature"}

    def test_bytes_that_the_client_signed_as_something_else(self, signed: tuple[Any, dict[str, Any]]) -> None:
        """A receipt whose "request" is another message of the client's: valid by itself, and found out."""
        job, fields = signed
        message = Hash32(b"m" * 32)
        receipt = Receipt.from_object(
            fields["receipt"] | {"request_hash": to_hex(message), "client_signature": to_hex(CLIENT.sign(message))}
        )
        fields |= {
            "receipt": receipt.to_object(),
            "receipt_hash": to_hex(receipt.hash),
            "provider_signature": to_hex(sign_receipt(job.key, receipt)),
        }
        assert {"request", "client_signature"} <= failed(fields, job.pictures)
