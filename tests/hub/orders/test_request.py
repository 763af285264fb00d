"""The body of a job: bounds, prompts, fingerprints, and what a client signs of it."""

import secrets
from typing import Any

import pytest
from pydantic import ValidationError

from chain.primitives.client_request import ClientClaim, sign_client_request
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from chain.primitives.types import Amount, Hash32
from hub.orders.request import JobRequest, WebhookTarget

KEY = PrivateKey(b"\x31" * 32)
NOW_S = 1_800_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prompt": "a", "prompts": ["b"]},
        {"prompt": ""},
        {"prompt": " \n"},
        {"prompt": "a\x00"},
        {"prompt": "\ud800"},
        {"prompt": "a" * 1_001},
        {"prompts": []},
        {"prompts": ["a", " "]},
        {"prompts": ["a"] * 257},
        {"prompts": ["a", "b"], "n": 3},
        {"prompt": "a", "n": 0},
        {"prompt": "a", "n": True},
        {"prompt": "a", "steps": 4},
        {"prompt": "a", "steps": "30"},
        {"prompt": "a", "guidance": float("nan")},
        {"prompt": "a", "width": 257},
        {"prompt": "a", "seed": 2**53},
        {"prompt": "a", "model": "two words"},
        {"prompt": "a", "max_price": "-1"},
        {"prompt": "a", "max_price": 5},
        {"prompt": "a", "max_price_per_unit": "1e5"},
        {"prompt": "a", "priority": 10},
        {"prompt": "a", "deadline_s": 0},
        {"prompt": "a", "deadline_s": float("inf")},
        {"prompt": "a", "webhook": {"url": "https://x.example"}},
        {"prompt": "a", "webhook": {"url": "file:///etc/passwd", "secret": "s" * 16}},
        {"prompt": "a", "webhook": {"url": "https://x.example/\n", "secret": "s" * 16}},
        {"prompt": "a", "payment": "escrow"},
        {"prompt": "a", "unknown": 1},
    ],
)
def test_refused(fields: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, Rejected)):
        JobRequest(**fields)


@pytest.mark.parametrize("field", ["max_price", "max_price_per_unit"])
def test_an_amount_that_is_none_is_told_by_its_own_name(field: str) -> None:
    fields: dict[str, Any] = {"prompt": "a", field: "1e5"}
    with pytest.raises(Rejected, match=f"^{field} must be"):
        JobRequest(**fields)


def test_pictures_and_prompts() -> None:
    assert (JobRequest(prompt="a", n=5).pictures, JobRequest(prompt="a", n=5).texts) == (5, ["a"])
    assert (JobRequest(prompts=["a", "b"]).pictures, JobRequest(prompts=["a", "b"]).texts) == (2, ["a", "b"])


def test_a_fingerprint_is_of_the_job_and_not_of_how_it_is_answered() -> None:
    plain = JobRequest(prompt="a").fingerprint()
    assert JobRequest(prompt="a", wait_s=5).fingerprint() == plain
    assert JobRequest(prompt="b").fingerprint() != plain
    assert JobRequest(prompt="a", n=2).fingerprint() != plain


def test_neither_prompts_nor_secrets_are_kept() -> None:
    request = JobRequest(
        prompt="what nobody shall read",
        negative_prompt="nor this",
        webhook=WebhookTarget(url="https://x.example", secret="s" * 16),
    )
    kept = str(request.kept())
    assert "shall" not in kept
    assert "nor this" not in kept
    assert "ssss" not in kept


def signed(request: JobRequest, **changes: Any) -> JobRequest:
    claim = ClientClaim(
        client=KEY.address,
        salt=secrets.token_bytes(32),
        max_price=Amount(10**18),
        nonce=Hash32(secrets.token_bytes(32)),
        expiry=NOW_S + 60,
        signature=b"\x01" * 65,
    )
    probe = JobRequest.model_validate(request.model_dump() | {"client_request": claim.to_object()})
    signature = sign_client_request(KEY, probe.to_sign(hub_id="hub-1", chain_id=7, salt=b""))
    part = claim.to_object() | {"signature": "0x" + signature.hex()} | changes
    return JobRequest.model_validate(request.model_dump() | {"client_request": part})


@pytest.mark.parametrize("fields", [{"prompt": "a", "n": 4}, {"prompts": ["a", "b"], "negative_prompt": "c"}])
def test_a_signature_is_for_one_request_hub_and_network(fields: dict[str, Any]) -> None:
    request = signed(JobRequest(**fields))
    request.check_client_signature(request.to_sign(hub_id="hub-1", chain_id=7, salt=b""), now_s=NOW_S)
    for hub_id, chain_id in (("hub-2", 7), ("hub-1", 8)):
        with pytest.raises(Rejected):
            request.check_client_signature(request.to_sign(hub_id=hub_id, chain_id=chain_id, salt=b""), now_s=NOW_S)
    other = request.model_copy(update={"steps": 31})
    with pytest.raises(Rejected):
        other.check_client_signature(other.to_sign(hub_id="hub-1", chain_id=7, salt=b""), now_s=NOW_S)
    with pytest.raises(Rejected):
        request.check_client_signature(request.to_sign(hub_id="hub-1", chain_id=7, salt=b""), now_s=NOW_S + 61)
