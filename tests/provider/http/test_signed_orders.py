"""Orders that clients sign: the signature stands in the receipt, is good for one job, and caps its price."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest

from chain.primitives.client_request import ClientClaim, sign_client_request
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.signing import eip191_digest
from chain.primitives.types import Amount, Hash32

AssertProblem = Callable[..., None]
PROMPT = "a red circle on a blue background"
CLIENT = PrivateKey(b"\x21" * 32)
CHAIN_ID = 424_242
PLENTY = 10**24


@pytest.fixture
def signed(provider_key: PrivateKey) -> Callable[..., dict[str, Any]]:
    """`signed(**changes)`: the `client_request` of the quick picture with seed 5."""

    def make(*, is_typed: bool = True, **changes: Any) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "chain_id": CHAIN_ID,
            "audience": to_checksum_address(provider_key.address),
            "max_price": PLENTY,
            "expiry": int(time.time()) + 600,
            "seed": 5,
        } | changes
        claim = ClientClaim(
            client=CLIENT.address,
            salt=secrets.token_bytes(32),
            max_price=Amount(asked["max_price"]),
            nonce=Hash32(secrets.token_bytes(32)),
            expiry=asked["expiry"],
            signature=bytes(65),
        )
        parameters = RequestParameters(width=256, height=256, steps=5, guidance=2.5, seed=asked["seed"])
        request = claim.request(
            chain_id=asked["chain_id"], audience=asked["audience"], prompt=PROMPT, parameters=parameters
        )
        signature = sign_client_request(CLIENT, request) if is_typed else CLIENT.sign(eip191_digest(request.hash))
        return claim.to_object() | {"signature": to_hex(signature)}

    return make


@pytest.mark.parametrize("is_typed", [True, False])
def test_the_signature_stands_in_the_receipt(running: Any, signed: Any, is_typed: bool) -> None:
    claim = signed(is_typed=is_typed)
    answer = running.generate(seed=5, client_request=claim)
    assert answer.status_code == 200, answer.text
    receipt = Receipt.from_object(answer.json()["receipt"])
    assert receipt.client == to_checksum_address(CLIENT.address)
    assert receipt.client_signature is not None
    assert to_hex(receipt.client_signature) == claim["signature"]
    assert answer.json()["prompt_salt"] == claim["salt"]
    assert receipt.nonce == claim["nonce"][2:]


def test_a_signed_request_is_good_for_one_job_and_for_its_repeats(
    running: Any, signed: Any, assert_problem: AssertProblem
) -> None:
    claim = signed()
    named = {"Idempotency-Key": "signed-1"}
    first = running.generate(seed=5, client_request=claim, headers=named)
    assert first.status_code == 200, first.text
    assert running.generate(seed=5, client_request=claim, headers=named).json() == first.json()
    assert_problem(running.generate(seed=5, client_request=claim), 409, "nonce_used")
    other_key = running.generate(seed=5, client_request=claim, api_key=running.other_secret)
    assert_problem(other_key, 409, "nonce_used")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"chain_id": 1}, "client_request.signature"),
        ({"audience": "hub-1"}, "client_request.signature"),
        ({"seed": 6}, "client_request.signature"),
        ({"expiry": 1_000}, "client_request.expiry"),
        ({"expiry": 2**40}, "client_request.expiry"),
    ],
)
def test_what_was_signed_for_something_else_is_refused(
    running: Any, signed: Any, assert_problem: AssertProblem, changes: dict[str, Any], field: str
) -> None:
    assert_problem(running.generate(seed=5, client_request=signed(**changes)), 422, None, field)


def test_the_maximum_price_is_looked_at_before_and_while_it_is_drawn(
    start_provider: Callable[..., Any], signed: Any, assert_problem: AssertProblem
) -> None:
    by_picture = start_provider(price_per_unit=100, unit_type="images")
    assert_problem(
        by_picture.generate(seed=5, client_request=signed(max_price=99)), 402, None, "client_request.max_price"
    )
    assert by_picture.mine("/v1/jobs").json()["items"] == []
    answer = by_picture.generate(seed=5, client_request=signed(max_price=100))
    assert answer.json()["receipt"]["amount"] == "100"
    by_second = start_provider(price_per_unit=10**9)
    claim = signed(max_price=1000)
    for _ in range(2):  # The same order again is the same wish, and is tried anew.
        stopped = by_second.generate(seed=5, client_request=claim, headers={"Idempotency-Key": "dear"})
        assert_problem(stopped, 402, "price_limit_reached")
    other_key = by_second.generate(seed=5, client_request=claim, api_key=by_second.other_secret)
    assert_problem(other_key, 409, "nonce_used")
    assert by_second.mine("/v1/receipts").json()["items"] == []
