"""Paying a served job out of its client's deposit: what attesters sign, and the call that carries it.

EIP-712 typed data under the escrow module's domain, so that it can never be minted, nor a mint's attestation settle,
and a signature is for one network. The client's request travels in the call with all its fields: only with them does
the client's signature say anything (`client_request`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Self

import msgspec

from chain.primitives.client_request import ClientRequest
from chain.primitives.escrow import SETTLE
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address
from chain.primitives.modules import ESCROW
from chain.primitives.receipt import Receipt
from chain.primitives.receipt_request import check_request
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import Eip712Domain, eip712_preimage
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32

SETTLE_TYPE: Final = (
    "Settle(address client,bytes32 requestHash,address[] providers,uint256[] amounts,address feeRecipient,uint256 fee,"
    "bytes32 receiptHash)"
)
_TYPE_HASH: Final = keccak256(SETTLE_TYPE.encode())


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """Who is paid how much for a receipt, out of whose deposit, and the request that allows it."""

    client: Address
    request: ClientRequest
    client_signature: bytes
    """By the client over the request, 65 bytes."""
    providers: tuple[Address, ...]
    amounts: tuple[int, ...]
    """Atoms, one for each provider; they come to the receipt's amount."""
    receipt_hash: Hash32
    fee_recipient: Address = ZERO_ADDRESS
    """Who gets the hub's fee; the zero address where there is none."""
    fee: int = 0
    """Atoms, beside the providers'."""

    @property
    def total(self) -> int:
        """Atoms that leave the deposit."""
        return sum(self.amounts) + self.fee

    @property
    def preimage(self) -> bytes:
        """What the digest is the Keccak-256 of: what a `Signer` takes."""
        struct_hash = keccak256(
            _TYPE_HASH
            + bytes(12)
            + self.client
            + self.request.hash
            + _array_hash(bytes(12) + provider for provider in self.providers)
            + _array_hash(amount.to_bytes(32, "big") for amount in self.amounts)
            + bytes(12)
            + self.fee_recipient
            + self.fee.to_bytes(32, "big")
            + self.receipt_hash
        )
        domain = Eip712Domain(chain_id=self.request.chain_id, verifying_contract=ESCROW)
        return eip712_preimage(domain.separator(), struct_hash)

    @property
    def digest(self) -> Hash32:
        """What each attester signs."""
        return keccak256(self.preimage)

    def call_data(self, attester_signatures: bytes) -> bytes:
        """The escrow module's call; the signatures are concatenated, ascending by the signers' addresses."""
        request = self.request
        return SETTLE.encode(
            self.client,
            request.audience,
            request.prompt_hash,
            request.parameters_hash,
            request.max_price,
            request.nonce,
            request.expiry,
            self.client_signature,
            self.providers,
            self.amounts,
            self.fee_recipient,
            self.fee,
            self.receipt_hash,
            attester_signatures,
        )

    @classmethod
    def from_arguments(cls, chain_id: int, arguments: Sequence[Any]) -> tuple[Self, bytes]:
        """The settlement that a decoded `settle` call on this network is about, unchecked, and its attesters'
        signatures."""
        (
            client,
            audience,
            prompt_hash,
            parameters_hash,
            max_price,
            nonce,
            expiry,
            client_signature,
            providers,
            amounts,
            fee_recipient,
            fee,
            receipt_hash,
            attester_signatures,
        ) = arguments
        request = ClientRequest(
            chain_id=chain_id,
            audience=audience,
            prompt_hash=prompt_hash,
            parameters_hash=parameters_hash,
            max_price=max_price,
            nonce=nonce,
            expiry=expiry,
        )
        settlement = cls(
            client=client,
            request=request,
            client_signature=client_signature,
            providers=tuple(providers),
            amounts=tuple(amounts),
            receipt_hash=receipt_hash,
            fee_recipient=fee_recipient,
            fee=fee,
        )
        return settlement, attester_signatures


def _array_hash(words: Iterable[bytes]) -> Hash32:
    """EIP-712's encoding of an array of values of one word each."""
    return keccak256(b"".join(words))


def settlement_of(
    receipt: Receipt, request: ClientRequest, *, fee_recipient: Address = ZERO_ADDRESS, fee: int = 0
) -> Settlement:
    """What pays a receipt: its payouts, and the hub's fee beside them; the client is who signed the request in it.

    Raises Rejected where the receipt is not for this request (wrong_request) or has no signature of its client's
    (missing_field, bad_signature), and where amount and fee are above the client's maximum (price_limit).
    """
    check_request(receipt.checked(), request)
    if receipt.client_signature is None:
        raise Rejected(
            RejectionReason.MISSING_FIELD,
            "the client has not signed this request, so nothing can be paid from its deposit",
            field="client_signature",
        )
    if (fee == 0) != (fee_recipient == ZERO_ADDRESS):
        raise Rejected(RejectionReason.INVALID_RECIPIENT, "a fee needs a recipient, and none names nobody", field="fee")
    payouts = receipt.payouts()
    settlement = Settlement(
        client=parse_address(receipt.client, "client"),
        request=request,
        client_signature=receipt.client_signature,
        providers=tuple(provider for provider, _ in payouts),
        amounts=tuple(amount for _, amount in payouts),
        receipt_hash=receipt.hash,
        fee_recipient=fee_recipient,
        fee=fee,
    )
    if settlement.total > request.max_price:
        raise Rejected(
            RejectionReason.PRICE_LIMIT,
            f"{settlement.total} atoms with the fee are above the client's signed maximum of {request.max_price}",
            field="fee",
        )
    return settlement
