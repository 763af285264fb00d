"""The htlc module: somebody locks an asset for whoever shows a secret before a deadline, and gets it back from then on.

With the same hash on another chain, two strangers exchange what they hold with nobody in between: claiming on one side
shows the secret, which claims on the other. The balance of the module's address is what the open swaps hold.

A lapsed or frozen standing never keeps a sender from its refund. Anybody may send a claim or a refund, since each pays
whom the swap names; who has no standing on the chain may do so for itself (`Operation.is_open_to`).
"""

from typing import Any, Final

import msgspec

from chain.primitives.hashing import sha256
from chain.primitives.modules import HTLC
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.swap_records import Swap, SwapStatus
from chain.primitives.swaps import (
    CLAIM,
    CLAIMED_EVENT,
    LOCK,
    LOCKED_EVENT,
    MAX_LOCK_S,
    REFUND,
    REFUNDED_EVENT,
    SWAP,
    swap_id,
)
from chain.primitives.types import ZERO_ADDRESS, Address, Amount, Hash32
from chain.rules.assets.holdings import check_asset, check_balance, check_may_trade, move
from chain.rules.call import Call, Operation, ViewTable
from chain.rules.state import State
from chain.rules.token import check_recipient


class SwapPlan(msgspec.Struct, frozen=True):
    """A checked new state of one swap."""

    id: Hash32
    swap: Swap


def read_swap(state: State, swap_id: Hash32) -> Swap | None:
    """The swap with this id, open or closed."""
    return state.read_record(state_key(Domain.SWAP, swap_id), Swap.decode, None)


def _write(call: Call, plan: SwapPlan) -> None:
    call.state.write_record(state_key(Domain.SWAP, plan.id), plan.swap, Swap.encode)


def _time_s(call: Call) -> int:
    return call.block.time_ms // 1_000


def _open_swap(call: Call, id_: Hash32) -> Swap:
    swap = read_swap(call.state, id_)
    if swap is None:
        raise Rejected(RejectionReason.UNKNOWN_SWAP, f"there is no swap 0x{id_.hex()}")
    if swap.status is not SwapStatus.OPEN:
        raise Rejected(RejectionReason.SWAP_CLOSED, f"this swap was {swap.status.name.lower()} before")
    return swap


def validate_lock(call: Call, hash_: Hash32, recipient: Address, asset: Address, value: int, deadline: int) -> SwapPlan:
    """lock(hash, recipient, asset, value, deadline)."""
    if value == 0:
        raise Rejected(RejectionReason.OUT_OF_RANGE, "a swap locks at least one atom", field="value")
    now_s = _time_s(call)
    if not now_s < deadline <= now_s + MAX_LOCK_S:
        raise Rejected(
            RejectionReason.INVALID_DEADLINE,
            f"the deadline must be after {now_s}, at most {MAX_LOCK_S} seconds ahead",
            field="deadline",
        )
    check_recipient(recipient)
    check_asset(call.state, asset)
    check_may_trade(call.state, asset, call.sender)
    check_may_trade(call.state, asset, recipient)
    check_balance(call.state, asset, call.sender, value)
    id_ = swap_id(hash_, call.sender, recipient, asset, value, deadline)
    if read_swap(call.state, id_) is not None:
        raise Rejected(RejectionReason.SWAP_EXISTS, "a swap with exactly these terms was locked before")
    swap = Swap(
        sender=call.sender,
        recipient=recipient,
        asset=asset,
        value=Amount(value),
        hash=hash_,
        deadline=deadline,
    )
    return SwapPlan(id_, swap)


def apply_lock(call: Call, plan: SwapPlan) -> None:
    """Puts the asset aside."""
    swap = plan.swap
    _write(call, plan)
    move(call, swap.asset, swap.sender, HTLC, swap.value)
    call.emit(
        HTLC,
        LOCKED_EVENT,
        plan.id,
        swap.sender,
        swap.recipient,
        swap.asset,
        swap.value,
        swap.hash,
        swap.deadline,
    )


def validate_claim(call: Call, id_: Hash32, secret: bytes) -> SwapPlan:
    """claim(id, secret), by anybody, before the deadline."""
    swap = _open_swap(call, id_)
    if _time_s(call) >= swap.deadline:
        raise Rejected(RejectionReason.DEADLINE_PASSED, f"this swap could be claimed before {swap.deadline}")
    if sha256(secret) != swap.hash:
        raise Rejected(RejectionReason.WRONG_SECRET, "the secret's SHA-256 is not the swap's hash")
    check_may_trade(call.state, swap.asset, swap.recipient)
    return SwapPlan(id_, msgspec.structs.replace(swap, status=SwapStatus.CLAIMED, secret=secret))


def apply_claim(call: Call, plan: SwapPlan) -> None:
    """Pays the recipient, and shows the secret to all."""
    _write(call, plan)
    move(call, plan.swap.asset, HTLC, plan.swap.recipient, plan.swap.value)
    call.emit(HTLC, CLAIMED_EVENT, plan.id, plan.swap.secret)


def validate_refund(call: Call, id_: Hash32) -> SwapPlan:
    """refund(id), by anybody, from the deadline on."""
    swap = _open_swap(call, id_)
    if _time_s(call) < swap.deadline:
        raise Rejected(RejectionReason.DEADLINE_AHEAD, f"this swap can be refunded from {swap.deadline} on")
    return SwapPlan(id_, msgspec.structs.replace(swap, status=SwapStatus.REFUNDED))


def apply_refund(call: Call, plan: SwapPlan) -> None:
    """Pays the sender back."""
    _write(call, plan)
    move(call, plan.swap.asset, HTLC, plan.swap.sender, plan.swap.value)
    call.emit(HTLC, REFUNDED_EVENT, plan.id)


def _is_recipient(state: State, sender: Address, id_: Hash32, _secret: bytes) -> bool:
    swap = read_swap(state, id_)
    return swap is not None and swap.recipient == sender


def _is_sender(state: State, sender: Address, id_: Hash32) -> bool:
    swap = read_swap(state, id_)
    return swap is not None and swap.sender == sender


def _swap(call: Call, id_: Hash32) -> tuple[Any, ...]:
    swap = read_swap(call.state, id_)
    if swap is None:
        return (ZERO_ADDRESS, ZERO_ADDRESS, ZERO_ADDRESS, 0, bytes(32), 0, SwapStatus.NONE, bytes(32))
    return (
        swap.sender,
        swap.recipient,
        swap.asset,
        swap.value,
        swap.hash,
        swap.deadline,
        swap.status,
        swap.secret or bytes(32),
    )


OPERATIONS: Final = (
    Operation(module=HTLC, function=LOCK, validate=validate_lock, apply=apply_lock, answer=lambda plan: (plan.id,)),
    Operation(module=HTLC, function=CLAIM, validate=validate_claim, apply=apply_claim, is_open_to=_is_recipient),
    Operation(module=HTLC, function=REFUND, validate=validate_refund, apply=apply_refund, is_open_to=_is_sender),
)
VIEWS: Final[ViewTable] = {(HTLC, SWAP): _swap}
