"""What attesters sign and what is called for each way in which a receipt is paid for."""

import pytest
from msgspec.structs import replace

from chain.primitives.client_request import ClientRequest, sign_client_request
from chain.primitives.escrow import SETTLE
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.hub_messages import SettlementTerms
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import ESCROW, MINT_SPLIT, MINT_WITH_RECEIPT, MINTER
from chain.primitives.receipt import (
    Receipt,
    attestation_digest,
    combined_artifact_sha256,
    mint_split_digest,
)
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.settlement import settlement_of
from chain.primitives.shards import Shard
from chain.primitives.types import ZERO_ADDRESS, Amount, Hash32
from provider.minting.payment import Payment
from provider.storage.rows import ReceiptForm

CLIENT = PrivateKey(b"\x21" * 32)
PROVIDERS = [PrivateKey(bytes([number]) * 32).address for number in (0x31, 0x32)]
SIGNATURE = b"\xcd" * 65
REQUEST = ClientRequest(
    chain_id=7,
    audience="main-hub",
    prompt_hash=Hash32(b"\x01" * 32),
    parameters_hash=Hash32(b"\x02" * 32),
    max_price=Amount(1_000),
    nonce=Hash32(b"\x03" * 32),
    expiry=2_000_000_000,
)
TERMS = SettlementTerms(
    audience="main-hub",
    prompt_hash=to_hex(REQUEST.prompt_hash),
    parameters_hash=to_hex(REQUEST.parameters_hash),
    max_price="1000",
    nonce=to_hex(REQUEST.nonce),
    expiry=REQUEST.expiry,
    fee_recipient=to_checksum_address(ZERO_ADDRESS),
    fee="0",
)
ONE = Receipt(
    job_id="job-1",
    provider=PROVIDERS[0],
    client=to_checksum_address(CLIENT.address),
    client_signature=sign_client_request(CLIENT, REQUEST),
    micro_units=3 * 10**6,
    unit_type="images",
    model="m",
    prompt_hash="sha256:" + "01" * 32,
    request_hash=REQUEST.hash,
    started_at=1_999_999_000,
    finished_at=1_999_999_001,
    artifact_sha256="ab" * 32,
    nonce="lease-1",
    hub_id="main-hub",
    chain_id=7,
    price_per_unit=Amount(100),
    amount=Amount(300),
).checked()
PARTS = (
    Shard(provider=PROVIDERS[0], micro_units=2 * 10**6, artifact_sha256="ab" * 32, receipt_hash=Hash32(b"\x05" * 32)),
    Shard(provider=PROVIDERS[1], micro_units=10**6, artifact_sha256="cd" * 32, receipt_hash=Hash32(b"\x06" * 32)),
)
SPLIT = replace(
    ONE, shards=PARTS, artifact_sha256=combined_artifact_sha256([bytes.fromhex(part.artifact_sha256) for part in PARTS])
).checked()


def test_a_mint_is_the_plans_own() -> None:
    payment = Payment.of(ONE, ReceiptForm.MINT)
    assert payment.digest == attestation_digest(ONE.provider, ONE.amount, ONE.hash)
    assert payment.call(SIGNATURE) == (MINTER, MINT_WITH_RECEIPT.encode(ONE.provider, 300, ONE.hash, SIGNATURE))


def test_a_split_mint_pays_all_in_proportion() -> None:
    payment = Payment.of(SPLIT, ReceiptForm.SPLIT)
    assert payment.digest == mint_split_digest(7, PROVIDERS, [200, 100], SPLIT.hash)
    assert payment.call(SIGNATURE) == (MINTER, MINT_SPLIT.encode(PROVIDERS, [200, 100], SPLIT.hash, SIGNATURE))


def test_shards_of_one_provider_are_one_mint() -> None:
    parts = tuple(replace(part, provider=PROVIDERS[0]) for part in PARTS)
    alone = replace(SPLIT, shards=parts).checked()
    payment = Payment.of(alone, ReceiptForm.MINT)
    assert payment.digest == attestation_digest(alone.provider, alone.amount, alone.hash)
    assert payment.call(SIGNATURE) == (MINTER, MINT_WITH_RECEIPT.encode(alone.provider, 300, alone.hash, SIGNATURE))
    with pytest.raises(Rejected):
        Payment.of(alone, ReceiptForm.SPLIT)


@pytest.mark.parametrize("receipt", [ONE, SPLIT], ids=["one", "split"])
def test_a_settlement_pays_out_of_the_clients_deposit(receipt: Receipt) -> None:
    payment = Payment.of(receipt, ReceiptForm.SETTLE, TERMS)
    wanted = settlement_of(receipt, REQUEST)
    assert payment.digest == wanted.digest
    module, data = payment.call(SIGNATURE)
    assert (module, data) == (ESCROW, wanted.call_data(SIGNATURE))
    assert data[:4] == SETTLE.selector


@pytest.mark.parametrize(("receipt", "form"), [(ONE, ReceiptForm.SPLIT), (SPLIT, ReceiptForm.MINT)])
def test_parts_and_form_go_together(receipt: Receipt, form: ReceiptForm) -> None:
    with pytest.raises(Rejected) as caught:
        Payment.of(receipt, form)
    assert caught.value.reason is RejectionReason.INVALID_SPLIT


def test_a_settlement_for_another_request_is_refused() -> None:
    with pytest.raises(Rejected):
        Payment.of(ONE, ReceiptForm.SETTLE, replace(TERMS, max_price="1001"))
    with pytest.raises(Rejected):
        Payment.of(ONE, ReceiptForm.SETTLE, replace(TERMS, fee="701"))
