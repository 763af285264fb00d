"""What pays a paid job: the digest as any wallet's library computes it, and the call that carries it there and back."""

from typing import Any

import eth_abi
import pytest
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from chain.primitives.client_request import MAX_START_DELAY_S, MAX_VALIDITY_S, ClientRequest
from chain.primitives.escrow import MAX_DEPOSIT_S, NOTICE_S, SETTLE, SETTLE_WINDOW_S, audience_hash
from chain.primitives.escrow_records import Deposit
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.modules import ESCROW
from chain.primitives.settlement import SETTLE_TYPE, Settlement
from chain.primitives.types import MAX_UINT256, ZERO_ADDRESS, Address, Amount, Hash32

CHAIN_ID = 3_141_592_653
REQUEST = ClientRequest(
    chain_id=CHAIN_ID,
    audience="hub.example",
    prompt_hash=Hash32(b"\x01" * 32),
    parameters_hash=Hash32(b"\x02" * 32),
    max_price=Amount(10**18),
    nonce=Hash32(b"\x03" * 32),
    expiry=1_800_000_000,
)


def settlement(**changes: Any) -> Settlement:
    values: dict[str, Any] = {
        "client": Address(b"\x11" * 20),
        "request": REQUEST,
        "client_signature": bytes(range(65)),
        "providers": (Address(b"\x22" * 20), Address(b"\x33" * 20)),
        "amounts": (5, 7 * 10**17),
        "receipt_hash": Hash32(b"\x44" * 32),
        "fee_recipient": Address(b"\x55" * 20),
        "fee": 9,
    }
    return Settlement(**values | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fee": 0, "fee_recipient": ZERO_ADDRESS},
        {"providers": (), "amounts": ()},
        {"amounts": (0, MAX_UINT256)},
        {"request": ClientRequest(**{n: getattr(REQUEST, n) for n in REQUEST.__struct_fields__} | {"chain_id": 5})},
    ],
)
def test_the_digest_is_that_of_the_typed_data(changes: dict[str, Any]) -> None:
    settled = settlement(**changes)
    name, fields = SETTLE_TYPE.rstrip(")").split("(")
    types = [{"type": kind, "name": field} for kind, field in (each.split(" ") for each in fields.split(","))]
    signable = encode_typed_data(
        {
            "name": "AITBC",
            "version": "1",
            "chainId": settled.request.chain_id,
            "verifyingContract": to_checksum_address(ESCROW),
        },
        {name: types},
        {
            "client": to_checksum_address(settled.client),
            "requestHash": settled.request.hash,
            "providers": [to_checksum_address(provider) for provider in settled.providers],
            "amounts": list(settled.amounts),
            "feeRecipient": to_checksum_address(settled.fee_recipient),
            "fee": settled.fee,
            "receiptHash": settled.receipt_hash,
        },
    )
    assert settled.digest == keccak(b"\x19" + signable.version + signable.header + signable.body)
    assert settled.digest == keccak(settled.preimage)


def test_the_call_carries_all_of_it() -> None:
    settled, signatures = settlement(), bytes(130)
    call_data = settled.call_data(signatures)
    assert Settlement.from_arguments(CHAIN_ID, SETTLE.decode(call_data)) == (settled, signatures)
    decoded = eth_abi.decode([each.name for each in SETTLE.input_types], call_data[4:])
    assert eth_abi.encode([each.name for each in SETTLE.input_types], decoded) == call_data[4:]
    assert decoded[0] == "0x" + "11" * 20
    assert (decoded[1], decoded[4], decoded[6], decoded[-1]) == ("hub.example", 10**18, 1_800_000_000, signatures)


def test_what_leaves_the_deposit() -> None:
    assert settlement().total == 5 + 7 * 10**17 + 9
    assert settlement(amounts=(0, 0), fee=0).total == 0


def test_golden_digest() -> None:
    """An attester's signature made by one version must settle on another."""
    assert settlement().digest.hex() == "b2092ac569814e5ce3a5698b98cbcc99baa063c2b4044e4bc6d9928dce75177e"


@pytest.mark.parametrize(
    "deposit",
    [
        Deposit(audience="h", balance=Amount(1), deadline=1),
        Deposit(
            audience="x" * 64, balance=Amount(MAX_UINT256), deadline=2**40, withdrawal=Amount(5), withdrawable_from=9
        ),
    ],
)
def test_a_deposit_is_what_was_written(deposit: Deposit) -> None:
    assert Deposit.decode(deposit.encode()) == deposit
    assert Deposit.decode(deposit.encode()).encode() == deposit.encode()


def test_what_was_accepted_before_a_notice_can_be_settled_within_it() -> None:
    assert NOTICE_S >= MAX_VALIDITY_S + SETTLE_WINDOW_S
    assert MAX_START_DELAY_S < SETTLE_WINDOW_S
    assert NOTICE_S < MAX_DEPOSIT_S
    assert audience_hash("hub.example") == keccak(b"hub.example")
