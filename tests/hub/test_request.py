"""Requests: strict bounds, and a request hash that a client can compute and sign beforehand."""

import hashlib
from typing import Any

import msgspec
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak
from pydantic import ValidationError

from chain.primitives.client_request import MAX_VALIDITY_S, ClientClaim, sign_client_request
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip191_digest
from chain.primitives.types import MAX_UINT256, Amount, Hash32
from hub.request import JobRequest

SALT = b"\x0a" * 32
WHERE: dict[str, Any] = {"hub_id": "hub-1", "chain_id": 424_242, "salt": SALT}
NOW_S = 1_770_000_000
PART = {
    "client": "0x" + "11" * 20,
    "salt": to_hex(SALT),
    "max_price": "1000",
    "nonce": "0x" + "22" * 32,
    "expiry": NOW_S + 60,
    "signature": "0x" + "33" * 65,
}


def test_defaults_are_the_plans() -> None:
    request = JobRequest(prompt="a cat")
    assert (request.steps, request.guidance, request.width, request.height) == (30, 7.5, 512, 512)
    assert request.seed is None


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": ""},
        {"prompt": "x" * 1001},
        {"prompt": 5},
        {"steps": 4},
        {"steps": 101},
        {"steps": "30"},
        {"steps": 30.5},
        {"steps": True},
        {"guidance": -0.1},
        {"guidance": 25.1},
        {"guidance": float("nan")},
        {"guidance": "7.5"},
        {"width": 255},
        {"width": 1032},
        {"width": 260},
        {"height": 10**100},
        {"seed": -1},
        {"seed": 2**53},
        {"seed": 1.0},
        {"unknown": 1},
        {"max_price": 5},
        {"client": "0x" + "11" * 20},
        {"client_signature": "0x" + "11" * 65},
        {"client_request": "0x"},
        {"client_request": {}},
        {"client_request": [PART]},
        {"client_request": PART | {"more": 1}},
        {"client_request": PART | {"expiry": str(NOW_S)}},
        {"client_request": PART | {"expiry": True}},
        {"client_request": PART | {"expiry": -1}},
        {"client_request": PART | {"expiry": 2**64}},
        {"client_request": PART | {"max_price": 5}},
        {"client_request": PART | {"nonce": "0x" + "22" * 33}},
        {"client_request": PART | {"signature": "0x" + "33" * 70_000}},
    ],
)
def test_out_of_bounds(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JobRequest.model_validate({"prompt": "a cat"} | fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt": "  "}, "prompt"),
        ({"prompt": "a\0b"}, "prompt"),
        ({"prompt": "a\x1b[2Jb"}, "prompt"),
        ({"model": "two words"}, "model"),
        ({"model": ""}, "model"),
        ({"max_price": "-1"}, "max_price"),
        ({"max_price": "01"}, "max_price"),
        ({"max_price": "1e3"}, "max_price"),
        ({"max_price": str(2**256)}, "max_price"),
        ({"client_request": PART | {"client": "alice"}}, "client_request.client"),
        ({"client_request": PART | {"client": "0x" + "aB" * 20}}, "client_request.client"),
        ({"client_request": PART | {"signature": "0x00"}}, "client_request.signature"),
        ({"client_request": PART | {"salt": "0x00"}}, "client_request.salt"),
        ({"client_request": PART | {"nonce": "22" * 32}}, "client_request.nonce"),
        ({"client_request": PART | {"max_price": "01"}}, "client_request.max_price"),
        ({"client_request": PART | {"max_price": "-1"}}, "client_request.max_price"),
        ({"client_request": PART, "max_price": "999"}, "max_price"),
    ],
)
def test_malformed_texts_name_their_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Rejected) as caught:
        JobRequest.model_validate({"prompt": "a cat"} | fields)
    assert caught.value.values["field"] == field


def test_prompt_may_have_lines_and_any_script() -> None:
    assert JobRequest(prompt="eine Katze\n\tと犬 🐈").prompt.endswith("🐈")


def request_hash(request: JobRequest, **change: Any) -> Hash32:
    return request.to_sign(**(WHERE | change)).hash


def test_the_request_can_be_signed_with_what_docs_hub_md_says() -> None:
    """Exactly the recipe, with nothing of ours."""
    parameters = (
        '{"count":1,"guidance":7,"height":512,"image_format":"png","model":null,"negative_prompt_hash":null,'
        '"quality":null,"scheduler":"default","seed":"5","source_sha256":null,"steps":30,"strength":null,"version":1,'
        '"width":512}'
    )
    account = Account.from_key(b"\x31" * 32)
    message = {
        "audience": "hub-1",
        "promptHash": hashlib.sha256(SALT + b"a cat").digest(),
        "parametersHash": keccak(parameters.encode()),
        "maxPrice": 10**18,
        "nonce": b"\x22" * 32,
        "expiry": NOW_S + 60,
    }
    fields = {
        "ClientRequest": [
            {"name": "audience", "type": "string"},
            {"name": "promptHash", "type": "bytes32"},
            {"name": "parametersHash", "type": "bytes32"},
            {"name": "maxPrice", "type": "uint256"},
            {"name": "nonce", "type": "bytes32"},
            {"name": "expiry", "type": "uint64"},
        ]
    }
    domain = {"name": "AITBC", "version": "1", "chainId": 424_242}
    signed = account.sign_message(encode_typed_data(domain, fields, message))
    part = PART | {"client": account.address, "max_price": str(10**18), "signature": to_hex(bytes(signed.signature))}

    request = JobRequest.model_validate({"prompt": "a cat", "guidance": 7, "seed": 5, "client_request": part})

    to_sign = request.to_sign(**WHERE)
    request.check_client_signature(to_sign, now_s=NOW_S)
    assert to_sign.hash == bytes(signed.message_hash)
    assert request.client == account.address
    assert request.max_price_atoms == 10**18


def test_golden_request_hash() -> None:
    request = JobRequest(prompt="a red circle", steps=20, guidance=2.5, width=256, height=320, seed=7, model="aitbc/m")
    golden = "0x3d62c2f9a81c977661cc7fa4633dcdd2bc4f5a9de021320b3c3166a221b7929d"
    assert to_hex(request.to_sign(hub_id="hub", chain_id=1, salt=bytes(32)).hash) == golden


def test_unsigned_request_has_a_hash_that_nobody_could_have_signed_for() -> None:
    to_sign = JobRequest(prompt="a cat").to_sign(**WHERE)
    assert (to_sign.nonce, to_sign.expiry, to_sign.max_price) == (bytes(32), 0, MAX_UINT256)
    assert JobRequest(prompt="a cat", max_price="7").to_sign(**WHERE).max_price == 7


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a dog"},
        {"steps": 31},
        {"guidance": 7.6},
        {"width": 520},
        {"height": 520},
        {"seed": 0},
        {"model": "m"},
        {"max_price": "0"},
    ],
)
def test_every_field_changes_the_request_hash(fields: dict[str, Any]) -> None:
    plain = JobRequest(prompt="a cat")
    assert request_hash(JobRequest.model_validate({"prompt": "a cat"} | fields)) != request_hash(plain)


@pytest.mark.parametrize("change", [{"hub_id": "hub-2"}, {"chain_id": 1}, {"salt": b"\x0b" * 32}])
def test_hub_network_and_salt_change_the_request_hash(change: dict[str, Any]) -> None:
    request = JobRequest(prompt="a cat")
    assert request_hash(request, **change) != request_hash(request)


def signed(key: PrivateKey, *, by: PrivateKey | None = None, until: int = NOW_S + 60, **fields: Any) -> JobRequest:
    """A request of `key`, signed `by` another where that is given; `fields` are bent after the signing."""
    plain = JobRequest(prompt="a cat")
    claim = ClientClaim(
        client=key.address, salt=SALT, max_price=Amount(1_000), nonce=Hash32(b"\x22" * 32), expiry=until, signature=b""
    )
    to_sign = claim.request(chain_id=424_242, audience="hub-1", prompt="a cat", parameters=plain.parameters())
    part = msgspec.structs.replace(claim, signature=sign_client_request(by or key, to_sign)).to_object()
    for name in part.keys() & fields.keys():
        part[name] = fields.pop(name)
    return JobRequest.model_validate({"prompt": "a cat", "client_request": part} | fields)


def reason(request: JobRequest, *, now_s: int = NOW_S, **change: Any) -> RejectionReason | None:
    try:
        request.check_client_signature(request.to_sign(**(WHERE | change)), now_s=now_s)
    except Rejected as rejected:
        return rejected.reason
    return None


def test_signed_request(client_key: PrivateKey) -> None:
    request = signed(client_key)
    assert reason(request) is None
    assert request.client == to_checksum_address(client_key.address)
    assert request.max_price_atoms == 1_000


def test_personal_signature_counts_as_well(client_key: PrivateKey) -> None:
    digest = request_hash(signed(client_key))
    assert reason(signed(client_key, signature=to_hex(client_key.sign(eip191_digest(digest))))) is None
    # Of the hexadecimal text, as a careless wallet would sign it, it does not.
    text = to_hex(digest).encode()
    careless = signed(client_key, signature=to_hex(client_key.sign(eip191_digest(text))))
    assert reason(careless) is RejectionReason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 31},
        {"prompt": "a dog"},
        {"seed": 0},
        {"max_price": "1001"},
        {"expiry": NOW_S + 61},
        {"nonce": "0x" + "23" * 32},
        {"salt": "0x" + "0b" * 32},
        {"client": "0x" + "11" * 20},
    ],
)
def test_signature_over_another_request(client_key: PrivateKey, change: dict[str, Any]) -> None:
    assert reason(signed(client_key, **change)) is RejectionReason.BAD_SIGNATURE


def test_signature_of_somebody_else(client_key: PrivateKey, provider_key: PrivateKey) -> None:
    assert reason(signed(client_key, by=provider_key)) is RejectionReason.BAD_SIGNATURE


def test_signature_for_another_hub_or_network(client_key: PrivateKey) -> None:
    assert reason(signed(client_key), hub_id="hub-2") is RejectionReason.BAD_SIGNATURE
    assert reason(signed(client_key), chain_id=1) is RejectionReason.BAD_SIGNATURE


def test_signature_with_high_s(client_key: PrivateKey) -> None:
    request = signed(client_key)
    assert request.claim is not None
    low = request.claim.signature
    high_s = (CURVE_ORDER - int.from_bytes(low[32:64], "big")).to_bytes(32, "big")
    twin = low[:32] + high_s + bytes((55 - low[64],))
    assert reason(signed(client_key, signature=to_hex(twin))) is RejectionReason.HIGH_S


def test_request_is_taken_until_its_expiry_which_is_a_day_ahead_at_most(client_key: PrivateKey) -> None:
    request = signed(client_key)
    assert reason(request, now_s=NOW_S + 60) is None
    assert reason(request, now_s=NOW_S + 61) is RejectionReason.REQUEST_EXPIRED
    far = signed(client_key, until=NOW_S + MAX_VALIDITY_S)
    assert reason(far) is None
    assert reason(far, now_s=NOW_S - 1) is RejectionReason.OUT_OF_RANGE


def test_fingerprint_is_of_the_meaning() -> None:
    assert JobRequest(prompt="a cat").fingerprint() == JobRequest(prompt="a cat", steps=30, guidance=7.5).fingerprint()
    assert JobRequest(prompt="a cat").fingerprint() != JobRequest(prompt="a cat", seed=1).fingerprint()
