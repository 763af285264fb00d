"""The calls that pay for a receipt, and what attesters sign for each: a mint, a split mint, a settlement."""

from dataclasses import dataclass
from typing import Final

import msgspec

from chain.primitives.client_request import ClientRequest
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hash
from chain.primitives.hub_messages import SettlementTerms
from chain.primitives.modules import ESCROW, MINT_SPLIT, MINT_WITH_RECEIPT, MINTER
from chain.primitives.receipt import Receipt, attestation_digest, mint_split_digest
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.settlement import Settlement, settlement_of
from chain.primitives.types import Address, Hash32
from provider.storage.rows import ReceiptForm, StoredReceipt

_DECODER: Final = msgspec.json.Decoder(SettlementTerms)


@dataclass(frozen=True)
class Payment:
    """How a receipt is paid for."""

    receipt: Receipt
    form: ReceiptForm
    settlement: Settlement | None = None

    @classmethod
    def of(cls, receipt: Receipt, form: ReceiptForm, terms: SettlementTerms | None = None) -> "Payment":
        """Raises Rejected where the receipt cannot be paid for like this."""
        has_several = len(receipt.payouts()) > 1  # One provider may have made several shards.
        if form is not ReceiptForm.SETTLE and (form is ReceiptForm.SPLIT) != has_several:
            message = "a receipt of several providers is minted by a split, another one is not"
            raise Rejected(RejectionReason.INVALID_SPLIT, message, field="form")
        if form is not ReceiptForm.SETTLE:
            return cls(receipt, form)
        assert terms is not None, "the message's own check has seen to it"
        return cls(receipt, form, _settlement(receipt, terms))

    @classmethod
    def of_stored(cls, stored: StoredReceipt) -> "Payment":
        """Of a receipt whose attestation was accepted."""
        terms = None if stored.settlement_json is None else _DECODER.decode(stored.settlement_json)
        return cls.of(Receipt.from_json(stored.receipt_json), stored.form, terms)

    @property
    def digest(self) -> Hash32:
        """What each attester signs."""
        receipt = self.receipt
        if self.settlement is not None:
            return self.settlement.digest
        if self.form is ReceiptForm.SPLIT:
            providers, amounts = zip(*receipt.payouts(), strict=True)
            return mint_split_digest(receipt.chain_id, providers, amounts, receipt.hash)
        return attestation_digest(receipt.provider, receipt.amount, receipt.hash)

    def call(self, attestation: bytes) -> tuple[Address, bytes]:
        """The module and its call data."""
        receipt = self.receipt
        if self.settlement is not None:
            return ESCROW, self.settlement.call_data(attestation)
        if self.form is ReceiptForm.SPLIT:
            providers, amounts = zip(*receipt.payouts(), strict=True)
            return MINTER, MINT_SPLIT.encode(providers, amounts, receipt.hash, attestation)
        return MINTER, MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, attestation)


def _settlement(receipt: Receipt, terms: SettlementTerms) -> Settlement:
    request = ClientRequest(
        chain_id=receipt.chain_id,
        audience=terms.audience,
        prompt_hash=parse_hash(terms.prompt_hash, "settlement.prompt_hash"),
        parameters_hash=parse_hash(terms.parameters_hash, "settlement.parameters_hash"),
        max_price=parse_amount(terms.max_price, "settlement.max_price"),
        nonce=parse_hash(terms.nonce, "settlement.nonce"),
        expiry=terms.expiry,
    ).checked()
    fee_recipient = parse_address(terms.fee_recipient, "settlement.fee_recipient")
    fee = parse_amount(terms.fee, "settlement.fee")
    return settlement_of(receipt, request, fee_recipient=fee_recipient, fee=fee)
