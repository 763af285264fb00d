"""Transfers of the token module that their owner has signed and somebody else submits (ERC-3009).

The submitter pays the fee and needs the standing; the owner needs neither, only the atoms. A nonce is used up by the
transfer or by a cancellation, whichever comes first, and who submits changes nothing about what happens. Checks, in
this order: the recipient, the submitter where it must be the recipient, the times, the nonce, the funds, the signature.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from chain.primitives.authorization import (
    Authorization,
    AuthorizationKind,
    authorization_digest,
    cancellation_digest,
)
from chain.primitives.modules import (
    AUTHORIZATION_CANCELED_EVENT,
    AUTHORIZATION_USED_EVENT,
    CANCEL_AUTHORIZATION,
    CANCEL_AUTHORIZATION_VRS,
    RECEIVE_WITH_AUTHORIZATION,
    RECEIVE_WITH_AUTHORIZATION_VRS,
    TOKEN,
    TRANSFER_WITH_AUTHORIZATION,
    TRANSFER_WITH_AUTHORIZATION_VRS,
)
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address, Hash32
from chain.rules.call import Call, Operation
from chain.rules.token import check_balance, check_recipient, move


class Cancellation(msgspec.Struct, frozen=True):
    """A checked cancellation."""

    authorizer: Address
    nonce: Hash32


def _check_times(call: Call, authorization: Authorization) -> None:
    now = call.block.time_ms // 1000
    if now <= authorization.valid_after:
        raise Rejected(
            RejectionReason.AUTHORIZATION_NOT_YET_VALID,
            f"authorization is not yet valid: it holds after {authorization.valid_after}, the block's time is {now}",
        )
    if now >= authorization.valid_before:
        raise Rejected(
            RejectionReason.AUTHORIZATION_EXPIRED,
            f"authorization is expired: it holds before {authorization.valid_before}, the block's time is {now}",
        )


def _check_unused(call: Call, authorizer: Address, nonce: Hash32) -> None:
    if call.state.authorization_used(authorizer, nonce):
        raise Rejected(RejectionReason.AUTHORIZATION_USED, "authorization is used or canceled")


def _check_signer(call: Call, authorizer: Address, digest: Hash32, signature: bytes) -> None:
    try:
        signer = call.block.recover(digest, signature)
    except Rejected as rejected:
        raise Rejected(rejected.reason, f"invalid signature: {rejected.message}") from None
    if signer != authorizer:
        raise Rejected(
            RejectionReason.BAD_SIGNATURE,
            f"invalid signature: not by 0x{authorizer.hex()} over exactly these values for this network",
        )


def _validate(call: Call, authorization: Authorization, signature: bytes) -> Authorization:
    check_recipient(authorization.recipient)
    if authorization.kind is AuthorizationKind.RECEIVE and call.sender != authorization.recipient:
        raise Rejected(RejectionReason.NOT_THE_PAYEE, "caller must be the payee")
    _check_times(call, authorization)
    _check_unused(call, authorization.sender, authorization.nonce)
    check_balance(call.state, authorization.sender, authorization.amount)
    digest = authorization_digest(call.block.chain_id, authorization)
    _check_signer(call, authorization.sender, digest, signature)
    return authorization


def validate_transfer(
    call: Call,
    owner: Address,
    recipient: Address,
    amount: int,
    valid_after: int,
    valid_before: int,
    nonce: Hash32,
    signature: bytes,
) -> Authorization:
    """transferWithAuthorization(from, to, value, validAfter, validBefore, nonce, signature)."""
    return _validate(call, Authorization(owner, recipient, amount, valid_after, valid_before, nonce), signature)


def validate_receive(
    call: Call,
    owner: Address,
    recipient: Address,
    amount: int,
    valid_after: int,
    valid_before: int,
    nonce: Hash32,
    signature: bytes,
) -> Authorization:
    """receiveWithAuthorization(from, to, value, validAfter, validBefore, nonce, signature), by the recipient."""
    kind = AuthorizationKind.RECEIVE
    return _validate(call, Authorization(owner, recipient, amount, valid_after, valid_before, nonce, kind), signature)


def apply_transfer(call: Call, authorization: Authorization) -> None:
    """Uses the nonce up and moves the atoms."""
    call.state.use_authorization(authorization.sender, authorization.nonce)
    call.emit(TOKEN, AUTHORIZATION_USED_EVENT, authorization.sender, authorization.nonce)
    call.logs.append(move(call.state, authorization.sender, authorization.recipient, authorization.amount))


def validate_cancel(call: Call, authorizer: Address, nonce: Hash32, signature: bytes) -> Cancellation:
    """cancelAuthorization(authorizer, nonce, signature)."""
    _check_unused(call, authorizer, nonce)
    _check_signer(call, authorizer, cancellation_digest(call.block.chain_id, authorizer, nonce), signature)
    return Cancellation(authorizer, nonce)


def apply_cancel(call: Call, cancellation: Cancellation) -> None:
    """Uses the nonce up, for nothing."""
    call.state.use_authorization(cancellation.authorizer, cancellation.nonce)
    call.emit(TOKEN, AUTHORIZATION_CANCELED_EVENT, cancellation.authorizer, cancellation.nonce)


def _in_parts(validate: Callable[..., Any]) -> Callable[..., Any]:
    """The EIP's own form of a function, whose signature comes as v, r and s."""

    def validate_parts(call: Call, *arguments: Any) -> Any:
        *values, v, r, s = arguments
        return validate(call, *values, r + s + bytes((v,)))

    return validate_parts


OPERATIONS = tuple(
    Operation(module=TOKEN, function=function, validate=validate, apply=apply, recoveries=1)
    for function, validate, apply in (
        (TRANSFER_WITH_AUTHORIZATION, validate_transfer, apply_transfer),
        (TRANSFER_WITH_AUTHORIZATION_VRS, _in_parts(validate_transfer), apply_transfer),
        (RECEIVE_WITH_AUTHORIZATION, validate_receive, apply_transfer),
        (RECEIVE_WITH_AUTHORIZATION_VRS, _in_parts(validate_receive), apply_transfer),
        (CANCEL_AUTHORIZATION, validate_cancel, apply_cancel),
        (CANCEL_AUTHORIZATION_VRS, _in_parts(validate_cancel), apply_cancel),
    )
)
