"""What every use of a receipt needs: its shares, exactly m distinct attesters, and their allowances.

Whoever uses a receipt up, by minting or settling, charges each attester that signed with one receipt. Atoms count for
mints alone.
"""

from collections.abc import Sequence
from typing import Final

from chain.primitives.keys import SIGNATURE_BYTES
from chain.primitives.modules import is_reserved
from chain.primitives.network import AttesterAllowance
from chain.primitives.records import Domain
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32
from chain.rules.call import Call

MAX_SHARES: Final = 128

Shares = tuple[tuple[Address, int], ...]
"""(provider, atoms) of a receipt."""


def check_shares(providers: Sequence[Address], amounts: Sequence[int]) -> Shares:
    """The shares of a split receipt; raises Rejected (invalid_split)."""
    if not 0 < len(providers) == len(amounts) <= MAX_SHARES or len(set(providers)) != len(providers):
        raise Rejected(
            RejectionReason.INVALID_SPLIT,
            f"a split receipt needs equally many providers and amounts, 1 to {MAX_SHARES}, no provider twice",
        )
    return tuple(zip(providers, amounts, strict=True))


def check_providers(shares: Shares) -> None:
    """Raises Rejected (invalid_recipient) unless all are ordinary addresses."""
    if any(provider == ZERO_ADDRESS or is_reserved(provider) for provider, _ in shares):
        raise Rejected(RejectionReason.INVALID_RECIPIENT, "a receipt pays neither the zero address nor a module")


def check_receipt_unused(call: Call, receipt_hash: Hash32) -> None:
    """Raises Rejected (receipt_used) where it was minted or settled before."""
    if call.state.receipt_use(receipt_hash) is not None:
        raise Rejected(RejectionReason.RECEIPT_USED, "receipt used", receipt_hash=receipt_hash)


def check_attesters(call: Call, digest: Hash32, signatures: bytes, *, minted_atoms: int) -> tuple[Address, ...]:
    """Who signed: exactly as many attesters as the threshold, ascending by address, each within its allowance.

    Raises Rejected (signature_count, bad_signature, high_s, not_an_attester, signature_order, attester_allowance).
    """
    threshold = call.state.parameters().attester_threshold
    if len(signatures) != threshold * SIGNATURE_BYTES:
        raise Rejected(
            RejectionReason.SIGNATURE_COUNT,
            f"exactly {threshold} attester signatures of {SIGNATURE_BYTES} bytes are needed",
        )
    signers: list[Address] = []
    for start in range(0, len(signatures), SIGNATURE_BYTES):
        signer = call.block.recover(digest, signatures[start : start + SIGNATURE_BYTES])
        attester = call.state.attester(signer)
        if attester is None:
            raise Rejected(
                RejectionReason.NOT_AN_ATTESTER, "bad sig: not signed by an attester over exactly these values"
            )
        if signers and signer <= signers[-1]:
            raise Rejected(RejectionReason.SIGNATURE_ORDER, "attester signatures must ascend by address, none twice")
        _check_allowance(call, attester, minted_atoms)
        signers.append(signer)
    return tuple(signers)


def _check_allowance(call: Call, attester: AttesterAllowance, minted_atoms: int) -> None:
    used = call.state.usage(Domain.ATTESTER_USAGE, attester.address, call.period)
    if (
        minted_atoms and used.atoms + minted_atoms > attester.atoms_per_period
    ) or used.receipts >= attester.receipts_per_period:
        raise Rejected(
            RejectionReason.ATTESTER_ALLOWANCE,
            f"the allowance of attester 0x{attester.address.hex()} for this period is used up",
        )


def charge_attesters(call: Call, attesters: Sequence[Address], *, minted_atoms: int) -> None:
    """One receipt more for each, and what it minted."""
    for attester in attesters:
        used = call.state.usage(Domain.ATTESTER_USAGE, attester, call.period)
        call.state.set_usage(Domain.ATTESTER_USAGE, attester, used.plus(minted_atoms))


def payout_address(call: Call, provider: Address) -> Address:
    """Where a provider's earnings go: what it registered, or its own address."""
    registration = call.state.registration(provider)
    return provider if registration is None else registration.payout
