"""The minter module: AIT comes into being here and nowhere else, once per receipt hash (DESIGN §5).

Bounds, in the order of the checks: pause, form, the receipt unused, ceiling per receipt, total per period, exactly m
distinct attesters, each within its allowance of atoms and receipts, and the cap per provider and period. That one reads
a record per provider, which only an attested split may ask for.
"""

from collections.abc import Sequence

import msgspec

from chain.primitives.block import Log
from chain.primitives.modules import (
    ATTESTER_CHANGED_EVENT,
    MINT_SPLIT,
    MINT_WITH_RECEIPT,
    MINTED_EVENT,
    MINTER,
    SET_ATTESTER,
    is_reserved,
)
from chain.primitives.network import AttesterAllowance
from chain.primitives.receipt import attestation_digest, mint_split_digest
from chain.primitives.records import Domain, ReceiptKind, ReceiptUse, Supply
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address, Amount, Hash32
from chain.rules.attesting import (
    Shares,
    charge_attesters,
    check_attesters,
    check_providers,
    check_receipt_unused,
    check_shares,
    payout_address,
)
from chain.rules.call import Call, Operation
from chain.rules.token import transfer_log


class MintPlan(msgspec.Struct, frozen=True):
    """A checked mint, and who attested."""

    shares: Shares
    receipt_hash: Hash32
    kind: ReceiptKind
    attesters: tuple[Address, ...]


def validate_mint(call: Call, provider: Address, amount: int, receipt_hash: Hash32, signatures: bytes) -> MintPlan:
    """mintWithReceipt(provider, units, receiptHash, attesterSig)."""
    shares = ((provider, amount),)
    _check_bounds(call, shares, receipt_hash)
    digest = attestation_digest(provider, amount, receipt_hash)
    attesters = check_attesters(call, digest, signatures, minted_atoms=amount)
    _check_provider_caps(call, shares)
    return MintPlan(shares, receipt_hash, ReceiptKind.MINT, attesters)


def validate_mint_split(
    call: Call, providers: Sequence[Address], amounts: Sequence[int], receipt_hash: Hash32, signatures: bytes
) -> MintPlan:
    """mintSplit(providers, units, receiptHash, attesterSigs): all shares or none."""
    shares = check_shares(providers, amounts)
    _check_bounds(call, shares, receipt_hash)
    digest = mint_split_digest(call.block.chain_id, providers, amounts, receipt_hash)
    attesters = check_attesters(call, digest, signatures, minted_atoms=sum(amounts))
    _check_provider_caps(call, shares)
    return MintPlan(shares, receipt_hash, ReceiptKind.MINT_SPLIT, attesters)


def _check_bounds(call: Call, shares: Shares, receipt_hash: Hash32) -> None:
    state, period = call.state, call.period
    parameters = state.parameters()
    if state.minting_paused():
        raise Rejected(RejectionReason.MINTING_PAUSED, "minting is paused by governance")
    check_providers(shares)
    check_receipt_unused(call, receipt_hash)
    total = sum(amount for _, amount in shares)
    if total > parameters.receipt_ceiling_atoms:
        raise Rejected(
            RejectionReason.RECEIPT_CEILING, f"one receipt may mint at most {parameters.receipt_ceiling_atoms} atoms"
        )
    if state.usage(Domain.MINT_USAGE, b"", period).atoms + total > parameters.period_cap_atoms:
        raise Rejected(RejectionReason.PERIOD_CAP, "the network's total for this period is reached")


def _check_provider_caps(call: Call, shares: Shares) -> None:
    cap, period = call.state.parameters().provider_cap_atoms, call.period
    for provider, amount in shares:
        if call.state.provider_usage(provider, period).atoms + amount > cap:
            raise Rejected(RejectionReason.PROVIDER_CAP, f"the cap of 0x{provider.hex()} for this period is reached")


def apply_mint(call: Call, plan: MintPlan) -> None:
    """Uses the receipt up, charges every bound, and credits each provider's payout address."""
    state, period = call.state, call.period
    total = sum(amount for _, amount in plan.shares)
    state.use_receipt(plan.receipt_hash, ReceiptUse(plan.kind, Amount(total)))
    state.set_usage(Domain.MINT_USAGE, b"", state.usage(Domain.MINT_USAGE, b"", period).plus(total))
    charge_attesters(call, plan.attesters, minted_atoms=total)
    supply = state.supply()
    state.set_supply(Supply(supply.minted + total, supply.burned))
    for provider, amount in plan.shares:
        state.set_provider_usage(provider, state.provider_usage(provider, period).plus(amount))
        payout = payout_address(call, provider)
        state.credit(payout, amount)
        call.logs.append(transfer_log(ZERO_ADDRESS, payout, amount))
        call.logs.append(minted_log(provider, amount, plan.receipt_hash))


def minted_log(provider: Address, amount: int, receipt_hash: Hash32) -> Log:
    """A Minted event; written out, like `transfer_log`, because every mint makes one."""
    return Log(MINTER, (MINTED_EVENT.topic, Hash32(bytes(12) + provider)), amount.to_bytes(32, "big") + receipt_hash)


def validate_set_attester(call: Call, attester: Address) -> Address:
    """setAttester(attester), as the plan's contract has it: from now on this one, alone."""
    if attester == ZERO_ADDRESS or is_reserved(attester):
        raise Rejected(RejectionReason.INVALID_CHANGE, "an attester cannot be the zero address or a module")
    return attester


def apply_set_attester(call: Call, attester: Address) -> None:
    """Replaces all attesters by one with the default allowance, and the threshold by 1."""
    state = call.state
    parameters = state.parameters()
    previous = state.attesters()[0].address
    allowance = AttesterAllowance(attester, parameters.default_attester_atoms, parameters.default_attester_receipts)
    state.set_attesters((allowance,))
    state.set_parameters(parameters.changed("attester_threshold", 1))
    call.emit(MINTER, ATTESTER_CHANGED_EVENT, previous, attester)


OPERATIONS = (
    Operation(module=MINTER, function=MINT_WITH_RECEIPT, validate=validate_mint, apply=apply_mint, uses_receipt=True),
    Operation(module=MINTER, function=MINT_SPLIT, validate=validate_mint_split, apply=apply_mint, uses_receipt=True),
    Operation(
        module=MINTER,
        function=SET_ATTESTER,
        validate=validate_set_attester,
        apply=apply_set_attester,
        is_governed=True,
    ),
)
