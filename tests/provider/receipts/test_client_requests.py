"""Signed requests before any work: for this provider, this network, this job, now, and at a price that pays for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chain.primitives.client_request import MAX_VALIDITY_S, ClientClaim, salted_hash, sign_client_request
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import salted_prompt_hash
from chain.primitives.receipt_request import check_request
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.types import Amount, Hash32
from provider.generation import Encoding, ImageRequest, SourceImage
from provider.receipts.client_requests import (
    VerifiedRequest,
    check_price,
    compute_budget_microseconds,
    request_parameters,
    signed_origin,
    verify_client_request,
)
from provider.receipts.issuing import Offer, ServedWork, issue_receipt

PROVIDER = PrivateKey(b"\x07" * 32)
CLIENT = PrivateKey(b"\x08" * 32)
CHAIN_ID = 4242
NOW_S = 1_770_000_000
SALT = b"s" * 32
REQUEST = ImageRequest("a red circle", steps=30, guidance=7.5, width=512, height=512, seed=99)
PARAMETERS = request_parameters(REQUEST, salt=SALT, seed_asked=None, model_asked=None)


def claim(**change: Any) -> ClientClaim:
    """Signed for this provider, then bent."""
    unsigned = ClientClaim(
        client=CLIENT.address,
        salt=SALT,
        max_price=Amount(10**18),
        nonce=Hash32(b"n" * 32),
        expiry=NOW_S + 600,
        signature=b"",
    )
    request = unsigned.request(
        chain_id=CHAIN_ID,
        audience=to_checksum_address(PROVIDER.address),
        prompt=REQUEST.prompt,
        parameters=PARAMETERS,
    )
    signed = msgspec.structs.replace(unsigned, signature=sign_client_request(CLIENT, request))
    return msgspec.structs.replace(signed, **change)


def verify(given: ClientClaim, **change: Any) -> VerifiedRequest:
    asked: dict[str, Any] = {
        "prompt": REQUEST.prompt,
        "parameters": PARAMETERS,
        "provider": PROVIDER.address,
        "chain_id": CHAIN_ID,
        "now_s": NOW_S,
    }
    return verify_client_request(given, **asked | change)


def reason(action: Callable[..., object], *arguments: Any, **keywords: Any) -> RejectionReason | None:
    try:
        action(*arguments, **keywords)
    except Rejected as rejected:
        return rejected.reason
    return None


def test_honest_request() -> None:
    verified = verify(claim())
    assert verified.client == to_checksum_address(CLIENT.address)
    assert (verified.salt, verified.nonce, verified.max_price) == (SALT, b"n" * 32, 10**18)


def test_it_stands_in_the_receipt_and_can_be_checked_there() -> None:
    verified = verify(claim())
    offer = Offer("aitbc/tiny-sd", "gpu_seconds", 10**17, CHAIN_ID)
    work = ServedWork((bytes(32),), 1_900_000, NOW_S + 1.0, NOW_S + 3.0)
    prompt_hash = salted_prompt_hash(verified.salt, REQUEST.prompt)
    receipt = issue_receipt(
        PROVIDER, offer, signed_origin("j-1", verified), work, prompt_hash=prompt_hash, max_price=verified.max_price
    ).receipt
    assert receipt.client == verified.client
    assert receipt.nonce == (b"n" * 32).hex()
    request = claim().request(
        chain_id=CHAIN_ID,
        audience=to_checksum_address(PROVIDER.address),
        prompt=REQUEST.prompt,
        parameters=PARAMETERS,
    )
    check_request(receipt, request)


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": CHAIN_ID + 1},
        {"provider": CLIENT.address},
        {"prompt": "a red circle "},
        {"parameters": msgspec.structs.replace(PARAMETERS, steps=31)},
        {"parameters": msgspec.structs.replace(PARAMETERS, seed=99)},
        {"parameters": msgspec.structs.replace(PARAMETERS, count=2)},
        {"parameters": msgspec.structs.replace(PARAMETERS, model="aitbc/tiny-sd")},
    ],
)
def test_signed_for_something_else(change: dict[str, Any]) -> None:
    assert reason(verify, claim(), **change) is RejectionReason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "change",
    [
        {"client": PROVIDER.address},
        {"salt": bytes(32)},
        {"max_price": Amount(2 * 10**18)},
        {"nonce": Hash32(bytes(32))},
        {"expiry": NOW_S + 601},
        {"signature": bytes(65)},
    ],
)
def test_bent_on_the_way(change: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as caught:
        verify(claim(**change))
    assert caught.value.reason is RejectionReason.BAD_SIGNATURE
    assert caught.value.values["field"] == "client_request.signature"


def test_too_late_and_too_early() -> None:
    assert reason(verify, claim(), now_s=NOW_S + 600) is None
    assert reason(verify, claim(), now_s=NOW_S + 601) is RejectionReason.REQUEST_EXPIRED
    assert reason(verify, claim(), now_s=NOW_S + 599 - MAX_VALIDITY_S) is RejectionReason.OUT_OF_RANGE


def test_request_for_a_hub_of_the_providers_name_does_not_exist() -> None:
    """The audience of a hub is its id, which cannot look like an address; so no hub's request is one for a provider."""
    for_hub = claim().request(chain_id=CHAIN_ID, audience="hub-1", prompt=REQUEST.prompt, parameters=PARAMETERS)
    assert reason(verify, claim(signature=sign_client_request(CLIENT, for_hub))) is RejectionReason.BAD_SIGNATURE


def test_parameters_say_what_was_asked_for() -> None:
    request = replace(
        REQUEST,
        negative_prompt="text",
        count=3,
        scheduler="ddim",
        source=SourceImage(b"converted", 0.5),
        encoding=Encoding("webp", 70),
    )
    parameters = request_parameters(
        request, salt=SALT, seed_asked=99, model_asked="aitbc/tiny-sd", source_sha256="ab" * 32
    )
    assert parameters == RequestParameters(
        width=512,
        height=512,
        steps=30,
        guidance=7.5,
        seed=99,
        model="aitbc/tiny-sd",
        scheduler="ddim",
        count=3,
        negative_prompt_hash="sha256:" + salted_hash(SALT, "text").hex(),
        source_sha256="ab" * 32,
        strength=0.5,
        image_format="webp",
        quality=70,
    )
    assert (PARAMETERS.seed, PARAMETERS.model, PARAMETERS.negative_prompt_hash, PARAMETERS.quality) == (None,) * 4


def offer(unit_type: str, price: int) -> Offer:
    return Offer("aitbc/tiny-sd", unit_type, price, CHAIN_ID)


@pytest.mark.parametrize(
    ("unit_type", "price", "count", "max_price", "is_enough"),
    [
        ("images", 10, 3, 30, True),
        ("images", 10, 3, 29, False),
        ("images", 0, 16, 0, True),
        ("gpu_seconds", 0, 1, 0, True),
        ("gpu_seconds", 10**18, 1, 0, False),
        ("gpu_seconds", 10**18, 1, 10**12 - 1, False),
        ("gpu_seconds", 10**18, 1, 10**12, True),
    ],
)
def test_price_that_is_known_beforehand(
    unit_type: str, price: int, count: int, max_price: int, is_enough: bool
) -> None:
    found = reason(check_price, offer(unit_type, price), count, max_price)
    assert found is (None if is_enough else RejectionReason.PRICE_LIMIT)


def test_budget_of_device_time() -> None:
    assert compute_budget_microseconds(offer("gpu_seconds", 10**18), 15 * 10**17) == 1_500_000
    assert compute_budget_microseconds(offer("gpu_seconds", 0), 0) is None
    assert compute_budget_microseconds(offer("images", 10**18), 1) is None
