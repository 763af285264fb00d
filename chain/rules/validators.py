"""Who the validators are, changed by governance: add, remove, rotate a key, and begin an epoch with the same ones.

A change in a block of epoch e makes the state's epoch e + 1, however many changes there are; the block is the last one
of epoch e. A key that has left never returns. So its consent cannot be used twice, its approvals of proposals stay
without effect, and nobody has to know what its old machine may have signed.
"""

from typing import Final

import msgspec

from chain.primitives.consent import Consent, check_consent
from chain.primitives.modules import (
    ADD_VALIDATOR,
    EPOCH_ENDED_EVENT,
    FORCE_EPOCH,
    GOVERNANCE,
    REMOVE_VALIDATOR,
    ROTATE_VALIDATOR,
    VALIDATOR_ADDED_EVENT,
    VALIDATOR_REMOVED_EVENT,
)
from chain.primitives.network import MAX_VALIDATORS
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address
from chain.rules.call import Call, Operation


class SetChange(msgspec.Struct, frozen=True):
    """A checked change: the whole set after it, who joins, and who leaves."""

    validators: tuple[Address, ...]
    joins: Address | None = None
    public_key: bytes = b""
    leaves: Address | None = None


def _impossible(message: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_CHANGE, message)


def _check_newcomer(call: Call, consent: Consent) -> Address:
    """The address of a key that may join; cheap checks before the signature."""
    validator = check_consent(
        consent, chain_id=call.block.chain_id, time_ms=call.block.time_ms, recover=call.block.recover
    )
    if validator in call.state.validators():
        raise _impossible("this key is a validator's already")
    if call.state.was_validator(validator):
        raise _impossible("this key was a validator's before, and such a key never returns: make a fresh one")
    return validator


def validate_add_validator(call: Call, public_key: bytes, expires_at_ms: int, consent: bytes) -> SetChange:
    """addValidator(publicKey, expiresAtMs, consent): at the end of the order."""
    validators = call.state.validators()
    if len(validators) >= MAX_VALIDATORS:
        raise _impossible(f"there are at most {MAX_VALIDATORS} validators")
    validator = _check_newcomer(call, Consent(public_key, expires_at_ms, consent))
    return SetChange((*validators, validator), joins=validator, public_key=public_key)


def validate_remove_validator(call: Call, validator: Address) -> SetChange:
    """removeValidator(validator); those after it move up."""
    validators = call.state.validators()
    if validator not in validators:
        raise _impossible("this address is no validator")
    if len(validators) == 1:
        raise _impossible("nobody would be left to make blocks")
    return SetChange(tuple(entry for entry in validators if entry != validator), leaves=validator)


def validate_rotate_validator(
    call: Call, validator: Address, public_key: bytes, expires_at_ms: int, consent: bytes
) -> SetChange:
    """rotateValidator(validator, publicKey, expiresAtMs, consent): the new key takes the old one's place."""
    validators = call.state.validators()
    if validator not in validators:
        raise _impossible("this address is no validator")
    successor = _check_newcomer(call, Consent(public_key, expires_at_ms, consent))
    changed = tuple(successor if entry == validator else entry for entry in validators)
    return SetChange(changed, joins=successor, public_key=public_key, leaves=validator)


def validate_force_epoch(call: Call) -> SetChange:
    """forceEpoch()."""
    return SetChange(call.state.validators())


def apply_set_change(call: Call, change: SetChange) -> None:
    """Holds from the next block on, which is the new epoch's first; in this block, governance counts the new set."""
    if change.leaves is not None:
        call.state.set_was_validator(change.leaves)
        call.emit(GOVERNANCE, VALIDATOR_REMOVED_EVENT, change.leaves)
    if change.joins is not None:
        call.emit(GOVERNANCE, VALIDATOR_ADDED_EVENT, change.joins, change.public_key)
    call.state.begin_epoch(change.validators)
    call.emit(GOVERNANCE, EPOCH_ENDED_EVENT, call.state.epoch(), change.validators)


OPERATIONS: Final = tuple(
    Operation(module=GOVERNANCE, function=function, validate=validate, apply=apply_set_change, is_governed=True)
    for function, validate in (
        (ADD_VALIDATOR, validate_add_validator),
        (REMOVE_VALIDATOR, validate_remove_validator),
        (ROTATE_VALIDATOR, validate_rotate_validator),
        (FORCE_EPOCH, validate_force_epoch),
    )
)
