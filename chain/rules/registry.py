"""The registry module: what providers offer, and where their earnings go.

The payout address is apart from the machine's hot key: only it can name another, also across a withdrawal, so a
stolen hot key cannot redirect what its owner earned.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from chain.primitives.modules import (
    PAYOUT_CHANGED_EVENT,
    PROVIDER_REGISTERED_EVENT,
    PROVIDER_UPDATED_EVENT,
    PROVIDER_WITHDRAWN_EVENT,
    REGISTER,
    REGISTRY,
    SET_PAYOUT,
    UPDATE,
    WITHDRAW,
    is_reserved,
)
from chain.primitives.receipt import UNIT_TYPES
from chain.primitives.records import Registration
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address, Amount
from chain.rules.call import Call, Operation

MAX_MODELS: Final = 16
MAX_PRICE_ATOMS: Final = 2**128
_ENDPOINT: Final = re.compile(r"(?:https?://[\x21-\x7e]{1,240})?")
_MODEL: Final = re.compile(r"[\x21-\x7e]{1,128}")


class RegistrationPlan(msgspec.Struct, frozen=True):
    """A checked new state of one provider's record."""

    provider: Address
    registration: Registration


def _check_offer(endpoint: str, models: Sequence[str], price_per_unit: int, unit_type: str) -> None:
    if not _ENDPOINT.fullmatch(endpoint):
        raise _invalid("endpoint", "must be an http(s) URL of at most 248 characters, or empty")
    if not 1 <= len(models) <= MAX_MODELS or len(set(models)) != len(models):
        raise _invalid("models", f"must be 1 to {MAX_MODELS} different names")
    if not all(_MODEL.fullmatch(model) for model in models):
        raise _invalid("models", "must be names of 1 to 128 printable ASCII characters without spaces")
    if price_per_unit > MAX_PRICE_ATOMS:
        raise _invalid("pricePerUnit", f"must be at most {MAX_PRICE_ATOMS} atoms")
    if unit_type not in UNIT_TYPES:
        raise _invalid("unitType", f"must be one of {', '.join(UNIT_TYPES)}")


def _invalid(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_REGISTRATION, f"{field} {requirement}", field=field)


def _active_registration(call: Call) -> Registration:
    registration = call.state.registration(call.sender)
    if registration is None or not registration.active:
        raise Rejected(RejectionReason.NOT_REGISTERED, "this address is not registered as a provider")
    return registration


def validate_register(
    call: Call,
    endpoint: str,
    models: Sequence[str],
    price_per_unit: int,
    unit_type: str,
    vram_mib: int,
    payout: Address,
) -> RegistrationPlan:
    """register(…): the zero address as payout means the sender; one that was set before cannot be changed here."""
    _check_offer(endpoint, models, price_per_unit, unit_type)
    if is_reserved(payout):
        raise Rejected(RejectionReason.INVALID_RECIPIENT, "a module cannot be a payout address")
    previous = call.state.registration(call.sender)
    if previous is not None and previous.active:
        raise Rejected(RejectionReason.ALREADY_REGISTERED, "already registered: update or withdraw instead")
    wanted = call.sender if payout == ZERO_ADDRESS else payout
    if previous is not None and wanted != previous.payout:
        raise Rejected(
            RejectionReason.NOT_PAYOUT_ADDRESS,
            f"the payout address stays 0x{previous.payout.hex()}; only it can change that, with setPayout",
        )
    return RegistrationPlan(
        call.sender,
        Registration(
            active=True,
            endpoint=endpoint,
            models=tuple(models),
            price_per_unit=Amount(price_per_unit),
            unit_type=unit_type,
            vram_mib=vram_mib,
            payout=wanted,
        ),
    )


def apply_register(call: Call, plan: RegistrationPlan) -> None:
    """Enters the offer."""
    call.state.set_registration(plan.provider, plan.registration)
    call.emit(REGISTRY, PROVIDER_REGISTERED_EVENT, plan.provider, plan.registration.endpoint)


def validate_update(
    call: Call, endpoint: str, models: Sequence[str], price_per_unit: int, unit_type: str, vram_mib: int
) -> RegistrationPlan:
    """update(…): everything but the payout address."""
    _check_offer(endpoint, models, price_per_unit, unit_type)
    registration = msgspec.structs.replace(
        _active_registration(call),
        endpoint=endpoint,
        models=tuple(models),
        price_per_unit=Amount(price_per_unit),
        unit_type=unit_type,
        vram_mib=vram_mib,
    )
    return RegistrationPlan(call.sender, registration)


def apply_update(call: Call, plan: RegistrationPlan) -> None:
    """Replaces the offer."""
    call.state.set_registration(plan.provider, plan.registration)
    call.emit(REGISTRY, PROVIDER_UPDATED_EVENT, plan.provider, plan.registration.endpoint)


def validate_set_payout(call: Call, provider: Address, payout: Address) -> RegistrationPlan:
    """setPayout(provider, payout), sent by the present payout address."""
    registration = call.state.registration(provider)
    if registration is None:
        raise Rejected(RejectionReason.NOT_REGISTERED, "this provider never registered")
    if registration.payout != call.sender:
        raise Rejected(RejectionReason.NOT_PAYOUT_ADDRESS, "only the present payout address may name another")
    if payout == ZERO_ADDRESS or is_reserved(payout):
        raise Rejected(RejectionReason.INVALID_RECIPIENT, "AIT cannot go to the zero address or to a module")
    return RegistrationPlan(provider, msgspec.structs.replace(registration, payout=payout))


def apply_set_payout(call: Call, plan: RegistrationPlan) -> None:
    """Redirects future mints."""
    call.state.set_registration(plan.provider, plan.registration)
    call.emit(REGISTRY, PAYOUT_CHANGED_EVENT, plan.provider, call.sender, plan.registration.payout)


def validate_withdraw(call: Call) -> RegistrationPlan:
    """withdraw()."""
    return RegistrationPlan(call.sender, msgspec.structs.replace(_active_registration(call), active=False))


def apply_withdraw(call: Call, plan: RegistrationPlan) -> None:
    """Takes the offer back."""
    call.state.set_registration(plan.provider, plan.registration)
    call.emit(REGISTRY, PROVIDER_WITHDRAWN_EVENT, plan.provider)


OPERATIONS = (
    Operation(
        module=REGISTRY, function=REGISTER, validate=validate_register, apply=apply_register, is_registration=True
    ),
    Operation(module=REGISTRY, function=UPDATE, validate=validate_update, apply=apply_update, is_registration=True),
    Operation(module=REGISTRY, function=SET_PAYOUT, validate=validate_set_payout, apply=apply_set_payout),
    Operation(
        module=REGISTRY, function=WITHDRAW, validate=validate_withdraw, apply=apply_withdraw, is_registration=True
    ),
)
