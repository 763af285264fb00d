"""What attesters sign of a receipt in each form, how signatures stand on the chain, and what providers are sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chain.primitives.client_request import ClientRequest
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, to_checksum_address, to_hex
from chain.primitives.hub_messages import Attested, SettlementTerms
from chain.primitives.keys import recover_address
from chain.primitives.receipt import Receipt, attestation_preimage, mint_split_preimage
from chain.primitives.rejection import Rejected
from chain.primitives.settlement import settlement_of
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32
from chain.primitives.worker_messages import raw_json
from hub.store.receipts import Form
from wallet.attester import AttesterSigner

_WORDS: Final = {Form.MINT: "mint", Form.MINT_SPLIT: "split", Form.SETTLE: "settle"}
"""What a provider is told."""
BASIS_POINTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Fee:
    """What the hub takes of a settlement, in atoms, beside the providers."""

    recipient: Address = ZERO_ADDRESS
    amount: int = 0

    def to_object(self) -> dict[str, str]:
        """As it stands among a job's facts."""
        return {"recipient": to_checksum_address(self.recipient), "amount": str(self.amount)}

    @classmethod
    def from_object(cls, fields: Mapping[str, str]) -> "Fee":
        """From `to_object`'s."""
        return cls(parse_address(fields["recipient"]), int(fields["amount"]))


NO_FEE: Final = Fee()
FEE_FACT: Final = "fee"
"""Among a paid job's facts: what was decided before the first signature of its receipt."""


def form_of(receipt: Receipt, *, is_paid: bool) -> Form:
    """One form per job, for good: whoever pays from a deposit mints nothing."""
    if is_paid:
        return Form.SETTLE
    return Form.MINT if len(receipt.payouts()) == 1 else Form.MINT_SPLIT


def fee_of(receipt: Receipt, request: ClientRequest, recipient: Address, basis_points: int) -> Fee:
    """The hub's share of what the providers get, rounded down, within what the client has signed for."""
    room = request.max_price - receipt.amount
    amount = min(receipt.amount * basis_points // BASIS_POINTS, max(0, room))
    return Fee(recipient, amount) if amount and recipient != ZERO_ADDRESS else NO_FEE


def digest_of(form: Form, receipt: Receipt, request: ClientRequest | None, fee: Fee = NO_FEE) -> Hash32:
    """What every attester's signature of this receipt is over; a settlement's needs the request, which it pays for.

    Raises Rejected, as `settlement_of`.
    """
    if form == Form.SETTLE:
        assert request is not None
        return settlement_of(receipt, request, fee_recipient=fee.recipient, fee=fee.amount).digest
    payouts = receipt.payouts()
    if form == Form.MINT:
        return keccak256(attestation_preimage(receipt.provider, receipt.amount, receipt.hash))
    providers, amounts = [provider for provider, _ in payouts], [amount for _, amount in payouts]
    return keccak256(mint_split_preimage(receipt.chain_id, providers, amounts, receipt.hash))


def sign(attester: AttesterSigner, form: Form, receipt: Receipt, request: ClientRequest, fee: Fee = NO_FEE) -> bytes:
    """The attester's 65 bytes; blocks for its log's disk. Raises what the signer does."""
    if form == Form.SETTLE:
        return attester.sign_settlement(receipt, request, fee_recipient=fee.recipient, fee=fee.amount)
    return attester.sign_mint(receipt) if form == Form.MINT else attester.sign_mint_split(receipt)


def is_signed_by(attester: Address, digest: Hash32, signature: bytes) -> bool:
    """Whether this attester has signed it, in the one form that the chain takes."""
    try:
        return recover_address(digest, signature) == attester
    except Rejected:
        return False


def in_order(signatures: Mapping[Address, bytes]) -> bytes:
    """As the chain wants them: ascending by address, one after the other."""
    return b"".join(signatures[attester] for attester in sorted(signatures))


def attested_message(
    form: Form,
    receipt: Receipt,
    provider_signature: str,
    attestation: str,
    request: ClientRequest | None,
    fee: Fee = NO_FEE,
) -> Attested:
    """What each of the receipt's providers is sent; the request is needed where it is settled."""
    terms = None
    if form == Form.SETTLE:
        assert request is not None
        terms = SettlementTerms(
            audience=request.audience,
            prompt_hash=to_hex(request.prompt_hash),
            parameters_hash=to_hex(request.parameters_hash),
            max_price=str(request.max_price),
            nonce=to_hex(request.nonce),
            expiry=request.expiry,
            fee_recipient=to_checksum_address(fee.recipient),
            fee=str(fee.amount),
        )
    if receipt.shards is None and form != Form.SETTLE:
        return Attested(receipt_hash=to_hex(receipt.hash), form=_WORDS[form], signatures=attestation)
    return Attested(
        receipt_hash=to_hex(receipt.hash),
        form=_WORDS[form],
        signatures=attestation,
        receipt=raw_json(receipt.to_object()),
        receipt_signature=provider_signature,
        settlement=terms,
    )
