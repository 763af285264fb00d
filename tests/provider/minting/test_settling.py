"""Receipts that a client's deposit pays, where somebody else's transaction is there first."""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from chain.primitives.client_request import ClientRequest, sign_client_request
from chain.primitives.escrow import DEPOSIT
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.hub_messages import SettlementTerms
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import ESCROW, MINT_WITH_RECEIPT, MINTER
from chain.primitives.receipt import Receipt, attestation_digest, sign_receipt
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ZERO_ADDRESS, Address, Amount
from provider.minting.payment import Payment
from provider.storage.rows import NewReceipt, ReceiptForm, ReceiptState
from tests.provider.minting.conftest import ATTESTER, CHAIN_ID, PRICE

HUB_ID = "main-hub"
FRIEND = PrivateKey(b"\x73" * 32)

WithEarner = Callable[..., None]


async def send(earner: Any, key: PrivateKey, to: Address, call: bytes) -> Any:
    """A call that must succeed."""
    nonce = (await earner.client.account(key.address)).pending_nonce
    signed = sign_transaction(key, chain_id=CHAIN_ID, nonce=nonce, to=to, data=call)
    await earner.client.send_transaction(signed.raw)
    sent = await earner.client.wait_for_transaction(signed.hash)
    assert sent.status == "success", sent.reason
    return signed.hash


async def client_with_deposit(earner: Any) -> PrivateKey:
    client = PrivateKey.generate()
    fund = keccak256(client.address)
    signature = ATTESTER.sign(attestation_digest(client.address, 5 * PRICE, fund))
    await send(earner, client, MINTER, MINT_WITH_RECEIPT.encode(client.address, 5 * PRICE, fund, signature))
    await send(earner, client, ESCROW, DEPOSIT.encode(HUB_ID, 4 * PRICE, int(time.time()) + 20 * 86_400))
    return client


def request_of(client: PrivateKey) -> ClientRequest:
    return ClientRequest(
        chain_id=CHAIN_ID,
        audience=HUB_ID,
        prompt_hash=keccak256(b"prompt"),
        parameters_hash=keccak256(b"parameters"),
        max_price=Amount(2 * PRICE),
        nonce=keccak256(b"nonce" + client.address),
        expiry=int(time.time()) + 600,
    )


def paid(earner: Any, client: PrivateKey, request: ClientRequest, job_id: str) -> tuple[Receipt, bytes, Payment]:
    """A receipt in the outbox, not attested yet; what attests it, and how it is paid."""
    now = int(time.time())
    receipt = Receipt(
        job_id=job_id,
        provider=earner.key.address,
        client=to_checksum_address(client.address),
        client_signature=sign_client_request(client, request),
        micro_units=10**6,
        unit_type="images",
        model="m",
        prompt_hash="sha256:" + request.prompt_hash.hex(),
        request_hash=request.hash,
        started_at=now - 1,
        finished_at=now,
        artifact_sha256="ab" * 32,
        nonce=f"lease-{job_id}",
        hub_id=HUB_ID,
        chain_id=CHAIN_ID,
        price_per_unit=Amount(PRICE),
        amount=Amount(PRICE),
    ).checked()
    earner.outbox.add(
        NewReceipt(
            receipt_hash=receipt.hash,
            hub_id=HUB_ID,
            job_id=job_id,
            key_name=f"@{HUB_ID}",
            request_fingerprint=b"f",
            receipt_json=receipt.canonical_bytes(),
            provider_signature=sign_receipt(earner.key, receipt),
            prompt_salt=b"",
            answer_json="{}",
        )
    )
    payment = Payment.of(receipt, ReceiptForm.SETTLE, terms_of(request))
    return receipt, ATTESTER.sign(payment.digest), payment


def terms_of(request: ClientRequest) -> SettlementTerms:
    return SettlementTerms(
        audience=request.audience,
        prompt_hash=to_hex(request.prompt_hash),
        parameters_hash=to_hex(request.parameters_hash),
        max_price=str(request.max_price),
        nonce=to_hex(request.nonce),
        expiry=request.expiry,
        fee_recipient=to_checksum_address(ZERO_ADDRESS),
        fee="0",
    )


def accept(earner: Any, receipt: Receipt, attestation: bytes, request: ClientRequest) -> None:
    terms = msgspec.json.encode(terms_of(request)).decode()
    earner.outbox.accept_attestation(receipt.hash, attestation, form=ReceiptForm.SETTLE, settlement_json=terms)


def test_somebody_else_sent_the_settlement(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    """Another provider of a split job, say, whose turn it was: the chain has paid all of them."""

    async def scenario(earner: Any) -> None:
        client = await client_with_deposit(earner)
        request = request_of(client)
        receipt, attestation, payment = paid(earner, client, request, "job-1")
        transaction_hash = await send(earner, FRIEND, *payment.call(attestation))
        accept(earner, receipt, attestation, request)
        await earner.mint_until((receipt, ReceiptState.FINAL))
        assert earner.stored(receipt).transaction_hash == transaction_hash

    with_earner(scenario)
    assert node.balance(key.address) == PRICE


def test_a_request_that_another_receipt_has_settled(node: Any, with_earner: WithEarner, key: PrivateKey) -> None:
    async def scenario(earner: Any) -> None:
        client = await client_with_deposit(earner)
        request = request_of(client)
        _, attestation, payment = paid(earner, client, request, "job-1")
        second, other_attestation, _ = paid(earner, client, request, "job-2")
        await send(earner, FRIEND, *payment.call(attestation))
        accept(earner, second, other_attestation, request)
        tries = 0
        while earner.state(second) is not ReceiptState.REFUSED:
            assert (tries := tries + 1) < 100
            await earner.minter.step()
            if earner.state(second) is ReceiptState.ATTESTED:
                earner.outbox.mark_waiting(second.hash, reason="its turn", next_attempt_ms=0)
        assert earner.stored(second).reason.startswith("request_settled")

    with_earner(scenario)
    assert node.balance(key.address) == PRICE
