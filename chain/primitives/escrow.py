"""What clients put aside for a hub, and how served jobs are paid out of it: the declarations of the `escrow` module.

A deposit belongs to one client and one **audience**: the hub's id, or the provider's address, that the client's signed
requests name. What a call does is decided in `chain.rules.escrow`; what is signed stands in `settlement`.
"""

from typing import Final

from chain.primitives.abi import Event, Function
from chain.primitives.client_request import MAX_VALIDITY_S
from chain.primitives.hashing import keccak256
from chain.primitives.types import Amount, Hash32

SETTLE_WINDOW_S: Final = 2 * 86_400
"""How long after its expiry a request can be settled: work may begin an hour after it, is then done, checked, and waits
out a challenge, and a network that stood still for a night must not cost anybody his pay."""
NOTICE_S: Final = MAX_VALIDITY_S + SETTLE_WINDOW_S
"""How long before a client can take money out it has to say so: whatever request a hub had accepted by then, it can
still settle. After that, the money is the client's, whatever the hub does."""
MAX_DEPOSIT_S: Final = 366 * 86_400
"""How far ahead of a block's time a deposit's deadline may lie."""
MAX_DEPOSITS: Final = 32
"""Audiences that one client can have deposits for at a time; they are listed in one record."""

DEPOSIT: Final = Function("deposit(string audience, uint256 value, uint64 deadline)")
SETTLE: Final = Function(
    "settle(address client, string audience, bytes32 promptHash, bytes32 parametersHash, uint256 maxPrice, "
    "bytes32 requestNonce, uint64 expiry, bytes clientSignature, address[] providers, uint256[] amounts, "
    "address feeRecipient, uint256 fee, bytes32 receiptHash, bytes attesterSigs)"
)
REQUEST_WITHDRAWAL: Final = Function("requestWithdrawal(string audience, uint256 value)")
WITHDRAW_DEPOSIT: Final = Function("withdraw(string audience)")
REFUND_DEPOSIT: Final = Function("refund(address client, string audience)")
DEPOSIT_OF: Final = Function(
    "depositOf(address client, string audience) view returns (uint256 balance, uint64 deadline, uint256 withdrawal, "
    "uint64 withdrawableFrom)"
)
DEPOSITS_OF: Final = Function("depositsOf(address client) view returns (string[] audiences)")
SETTLEMENT_OF: Final = Function("settlementOf(address client, bytes32 requestHash) view returns (bytes32 receiptHash)")

# `hub` is keccak256 of the audience: a topic has 32 bytes.
DEPOSITED_EVENT: Final = Event(
    "Deposited(address indexed client, bytes32 indexed hub, string audience, uint256 value, uint256 balance, "
    "uint64 deadline)"
)
SETTLED_EVENT: Final = Event(
    "Settled(address indexed client, bytes32 indexed hub, bytes32 indexed requestHash, bytes32 receiptHash, "
    "uint256 total, address feeRecipient, uint256 fee)"
)
PAID_EVENT: Final = Event("Paid(address indexed provider, uint256 units, bytes32 receiptHash)")
"""One for each provider of a settlement, as `Minted` for a mint: `units` are atoms."""
WITHDRAWAL_REQUESTED_EVENT: Final = Event(
    "WithdrawalRequested(address indexed client, bytes32 indexed hub, uint256 value, uint64 withdrawableFrom)"
)
WITHDRAWN_EVENT: Final = Event("Withdrawn(address indexed client, bytes32 indexed hub, uint256 value)")
DEPOSIT_REFUNDED_EVENT: Final = Event("Refunded(address indexed client, bytes32 indexed hub, uint256 value)")

ESCROW_FUNCTIONS: Final = (
    DEPOSIT,
    SETTLE,
    REQUEST_WITHDRAWAL,
    WITHDRAW_DEPOSIT,
    REFUND_DEPOSIT,
    DEPOSIT_OF,
    DEPOSITS_OF,
    SETTLEMENT_OF,
)
ESCROW_EVENTS: Final = (
    DEPOSITED_EVENT,
    SETTLED_EVENT,
    PAID_EVENT,
    WITHDRAWAL_REQUESTED_EVENT,
    WITHDRAWN_EVENT,
    DEPOSIT_REFUNDED_EVENT,
)


def audience_hash(audience: str) -> Hash32:
    """An audience as a topic and in keys of the state."""
    return keccak256(audience.encode())


def secured_atoms(*, balance: int, deadline: int, withdrawal: int, withdrawable_from: int, until_s: int) -> Amount:
    """What of a deposit its client cannot take back before `until_s` (Unix seconds) has passed, whatever it does.

    Settlements lower it. For a request, `until_s` is the last second in which the hub means to settle it, at the latest
    `expiry + SETTLE_WINDOW_S`. The hub takes off what it has promised to other requests that are not settled yet.
    """
    if deadline <= until_s:
        return Amount(0)
    return Amount(balance - withdrawal if withdrawal and withdrawable_from <= until_s else balance)
