"""A receipt and its request: what an attester checks before a client's signature counts."""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from eth_account.typed_transactions.typed_transaction import TypedTransaction

from chain.primitives.client_request import (
    MAX_START_DELAY_S,
    ClientClaim,
    ClientRequest,
    sign_client_request,
    unsigned_request,
)
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, attestation_digest, attestation_preimage, salted_prompt_hash
from chain.primitives.receipt_request import audience_of, check_request
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import Address, Amount, Hash32
from chain.primitives.units import compute_amount

ReasonOf = Callable[..., RejectionReason | None]

PROVIDER = PrivateKey(b"\x01" * 32)
CLIENT = PrivateKey(b"\x02" * 32)
CHAIN_ID = 424_242
SALT = b"\x0a" * 32
PARAMETERS = RequestParameters(width=512, height=512, steps=20, guidance=7.5)
EXPIRY = 1_770_000_600


def request_for(audience: str, **change: Any) -> ClientRequest:
    claim = ClientClaim(
        client=CLIENT.address,
        salt=SALT,
        max_price=Amount(2 * 10**18),
        nonce=Hash32(b"\x0b" * 32),
        expiry=EXPIRY,
        signature=b"",
    )
    request = claim.request(chain_id=CHAIN_ID, audience=audience, prompt="a cat", parameters=PARAMETERS)
    return msgspec.structs.replace(request, **change)


def receipt_of(request: ClientRequest, *, hub_id: str = "", **change: Any) -> Receipt:
    """The honest receipt of a signed request, then bent."""
    fields: dict[str, Any] = {
        "job_id": "job-1",
        "provider": PROVIDER.address,
        "client": to_checksum_address(CLIENT.address),
        "client_signature": sign_client_request(CLIENT, request),
        "micro_units": 1_500_000,
        "unit_type": "gpu_seconds",
        "model": "tiny-sd",
        "prompt_hash": salted_prompt_hash(SALT, "a cat"),
        "request_hash": request.hash,
        "started_at": EXPIRY - 10,
        "finished_at": EXPIRY - 8,
        "artifact_sha256": "cd" * 32,
        "nonce": request.nonce.hex(),
        "hub_id": hub_id,
        "chain_id": CHAIN_ID,
        "price_per_unit": Amount(10**18),
        "amount": compute_amount(1_500_000, 10**18),
    }
    return Receipt(**fields | change).checked()


DIRECT = request_for(to_checksum_address(PROVIDER.address))


def test_direct_receipt_of_its_request() -> None:
    receipt = receipt_of(DIRECT)
    assert audience_of(receipt) == to_checksum_address(PROVIDER.address)
    check_request(receipt, DIRECT)


def test_hubs_receipt_of_its_request() -> None:
    request = request_for("hub-1")
    receipt = receipt_of(request, hub_id="hub-1", nonce="attempt-7")
    assert audience_of(receipt) == "hub-1"
    check_request(receipt, request)


def test_receipt_of_a_client_without_a_key() -> None:
    request = unsigned_request(
        chain_id=CHAIN_ID,
        audience=to_checksum_address(PROVIDER.address),
        prompt_hash=DIRECT.prompt_hash,
        parameters_hash=PARAMETERS.hash,
    )
    receipt = receipt_of(request, client="alice", client_signature=None, nonce="drawn")
    check_request(receipt, request)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"chain_id": CHAIN_ID + 1}, "chain_id"),
        ({"hub_id": "hub-1"}, "audience"),
        ({"provider": CLIENT.address}, "audience"),
        ({"prompt_hash": salted_prompt_hash(SALT, "a dog")}, "prompt_hash"),
        ({"prompt_hash": salted_prompt_hash(bytes(32), "a cat")}, "prompt_hash"),
        ({"price_per_unit": Amount(2 * 10**18), "amount": Amount(3 * 10**18)}, "amount"),
        ({"started_at": EXPIRY + MAX_START_DELAY_S + 1, "finished_at": EXPIRY + 9_999}, "started_at"),
        ({"nonce": "0c" * 32}, "nonce"),
    ],
)
def test_receipt_that_is_not_for_the_request(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_request(receipt_of(DIRECT, **change), DIRECT)
    assert caught.value.reason is RejectionReason.WRONG_REQUEST
    assert caught.value.values["field"] == field


@pytest.mark.parametrize(
    "change",
    [
        {"parameters_hash": Hash32(bytes(32))},
        {"max_price": Amount(3 * 10**18)},
        {"nonce": Hash32(bytes(32))},
        {"expiry": EXPIRY + 1},
    ],
)
def test_request_that_was_not_signed(change: dict[str, Any], reason_of: ReasonOf) -> None:
    other = msgspec.structs.replace(DIRECT, **change)
    assert reason_of(check_request, receipt_of(DIRECT), other) is RejectionReason.WRONG_REQUEST


def unsigned_transaction(transaction: Transaction) -> Any:
    """As eth_account sees what was signed."""
    return TypedTransaction.from_dict(
        {
            "type": 2,
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "maxPriorityFeePerGas": transaction.max_priority_fee,
            "maxFeePerGas": transaction.max_fee,
            "gas": transaction.gas_limit,
            "to": transaction.to,
            "value": transaction.value,
            "data": transaction.data,
        }
    )


def test_other_things_that_the_client_signed_are_no_requests(reason_of: ReasonOf) -> None:
    """The receipt alone cannot tell them from a request; with a preimage that has to fit, they are worth nothing."""
    transaction = sign_transaction(CLIENT, chain_id=CHAIN_ID, nonce=0, to=Address(b"\x09" * 20), value=1)
    signing_hash = unsigned_transaction(transaction).hash()
    receipt_hash = keccak256(b"another receipt")
    attestation = attestation_digest(PROVIDER.address, 1, receipt_hash)
    message = keccak256(b"any 32 bytes that a page asked a wallet to sign")
    for digest, signature in (
        (Hash32(bytes(signing_hash)), transaction.signature),
        (attestation, CLIENT.sign_keccak(attestation_preimage(PROVIDER.address, 1, receipt_hash))),
        (message, CLIENT.sign(message)),
        (Hash32(secrets.token_bytes(32)), None),
    ):
        forged = receipt_of(DIRECT, request_hash=digest, client_signature=signature or CLIENT.sign(digest))
        assert reason_of(check_request, forged, DIRECT) is RejectionReason.WRONG_REQUEST


def test_hub_that_is_called_like_the_provider(reason_of: ReasonOf) -> None:
    """It could use what the client signed for the provider: two jobs of one signature."""
    receipt = receipt_of(DIRECT, hub_id=to_checksum_address(PROVIDER.address), job_id="job-2")
    assert reason_of(check_request, receipt, DIRECT) is RejectionReason.MALFORMED
