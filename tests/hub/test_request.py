"""Requests: strict bounds, and a request hash that a client can compute and sign beforehand."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import salted_prompt_hash
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip191_digest
from hub.request import JobRequest

SALT = b"\x0a" * 32
WHERE = {"hub_id": "hub-1", "chain_id": 424_242, "salt": SALT}


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
        {"client": 5},
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
        ({"client": "alice"}, "client"),
        ({"client": "0x" + "aB" * 20}, "client"),
        ({"client_signature": "0x00"}, "client_signature"),
        ({"request_salt": "0x00"}, "request_salt"),
        ({"client": "0x" + "11" * 20}, "client_signature"),
        ({"client_signature": "0x" + "11" * 65}, "client"),
        ({"client": "0x" + "11" * 20, "client_signature": "0x" + "11" * 65}, "request_salt"),
    ],
)
def test_malformed_texts_name_their_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Rejected) as caught:
        JobRequest.model_validate({"prompt": "a cat"} | fields)
    assert caught.value.values["field"] == field


def test_prompt_may_have_lines_and_any_script() -> None:
    assert JobRequest(prompt="eine Katze\n\tと犬 🐈").prompt.endswith("🐈")


def test_request_hash_can_be_made_from_the_documented_text() -> None:
    """Exactly the recipe of docs/hub.md, with nothing of ours but Keccak."""
    request = JobRequest(prompt="a cat", guidance=7, seed=5)
    text = (
        '{"chain_id":424242,"guidance":7,"height":512,"hub_id":"hub-1","max_price":null,"model":null,"prompt_hash":'
        f'"{salted_prompt_hash(SALT, "a cat")}","seed":5,"steps":30,"version":1,"width":512}}'
    )
    assert request.request_hash(**WHERE) == keccak256(text.encode())  # type: ignore[arg-type]
    assert json.loads(text) == request.request_object(**WHERE)  # type: ignore[arg-type]


def test_golden_request_hash() -> None:
    request = JobRequest(prompt="a red circle", steps=20, guidance=2.5, width=256, height=320, seed=7, model="aitbc/m")
    assert to_hex(request.request_hash(hub_id="hub", chain_id=1, salt=bytes(32))) == (
        "0xc67627fd52eab2d22d2137de41b903943afc6217a1044a8c3075f39305ee3d9a"
    )


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
    assert JobRequest.model_validate({"prompt": "a cat"} | fields).request_hash(**WHERE) != plain.request_hash(**WHERE)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"hub_id": "hub-2"}, {"chain_id": 1}, {"salt": b"\x0b" * 32}])
def test_hub_network_and_salt_change_the_request_hash(change: dict[str, Any]) -> None:
    request = JobRequest(prompt="a cat")
    assert request.request_hash(**(WHERE | change)) != request.request_hash(**WHERE)  # type: ignore[arg-type]


def _signed(key: PrivateKey, signer: PrivateKey, **fields: Any) -> JobRequest:
    plain = {"prompt": "a cat"}
    request_hash = JobRequest.model_validate(plain).request_hash(**WHERE)  # type: ignore[arg-type]
    signing = {
        "client": to_checksum_address(key.address),
        "client_signature": to_hex(signer.sign(eip191_digest(request_hash))),
        "request_salt": to_hex(SALT),
    }
    return JobRequest.model_validate(plain | signing | fields)


def test_signed_request(client_key: PrivateKey) -> None:
    request = _signed(client_key, client_key)
    request.check_client_signature(request.request_hash(**WHERE))  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"steps": 31}, {"prompt": "a dog"}, {"max_price": "1"}])
def test_signature_over_another_request(client_key: PrivateKey, change: dict[str, Any]) -> None:
    request = _signed(client_key, client_key, **change)
    with pytest.raises(Rejected) as caught:
        request.check_client_signature(request.request_hash(**WHERE))  # type: ignore[arg-type]
    assert caught.value.reason is RejectionReason.BAD_SIGNATURE


def test_signature_of_somebody_else(client_key: PrivateKey, provider_key: PrivateKey) -> None:
    request = _signed(client_key, provider_key)
    with pytest.raises(Rejected) as caught:
        request.check_client_signature(request.request_hash(**WHERE))  # type: ignore[arg-type]
    assert caught.value.reason is RejectionReason.BAD_SIGNATURE


def test_signature_for_another_hub(client_key: PrivateKey) -> None:
    request = _signed(client_key, client_key)
    with pytest.raises(Rejected):
        request.check_client_signature(request.request_hash(hub_id="hub-2", chain_id=424_242, salt=SALT))


def test_fingerprint_is_of_the_meaning() -> None:
    assert JobRequest(prompt="a cat").fingerprint() == JobRequest(prompt="a cat", steps=30, guidance=7.5).fingerprint()
    assert JobRequest(prompt="a cat").fingerprint() != JobRequest(prompt="a cat", seed=1).fingerprint()
