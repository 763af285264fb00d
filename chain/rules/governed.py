"""What governance can do once validators agree: calls that take effect only as an executed proposal.

Others stand beside what they govern: `setAttester` in `mint.py`, the market's in `market/markets.py`, authorities and
policies in `compliance.py`, what the treasury pays in `assets/treasury.py`.
"""

import msgspec

from chain.primitives.modules import (
    ADD_ISSUER,
    ATTESTER_ALLOWANCE_EVENT,
    GOVERNANCE,
    ISSUER_ADDED_EVENT,
    ISSUER_REMOVED_EVENT,
    PARAMETER_CHANGED_EVENT,
    PAUSE,
    PAUSED_EVENT,
    REMOVE_ATTESTER,
    REMOVE_ISSUER,
    SCHEDULE_UPGRADE,
    SET_ATTESTER_ALLOWANCE,
    SET_PARAMETER,
    UNPAUSE,
    UNPAUSED_EVENT,
    UPGRADE_SCHEDULED_EVENT,
    is_reserved,
)
from chain.primitives.network import MAX_ATTESTERS, AttesterAllowance
from chain.primitives.parameters import PARAMETER_BOUNDS
from chain.primitives.records import Upgrade
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address
from chain.rules.call import Call, Operation

MAX_ISSUERS = 64


class ParameterChange(msgspec.Struct, frozen=True):
    """A checked new value."""

    name: str
    value: int


def _impossible(message: str) -> Rejected:
    return Rejected(RejectionReason.INVALID_CHANGE, message)


def validate_set_parameter(call: Call, name: str, value: int) -> ParameterChange:
    """setParameter(name, value)."""
    call.state.parameters().changed(name, value)
    if name == "attester_threshold" and value > len(call.state.attesters()):
        raise _impossible("the threshold would be above the number of attesters: nobody could mint")
    return ParameterChange(name, value)


def apply_set_parameter(call: Call, change: ParameterChange) -> None:
    """Holds for the rest of this block's calls; the block's bounds, fee and standing change with the next block."""
    call.state.set_parameters(call.state.parameters().changed(change.name, change.value))
    call.emit(GOVERNANCE, PARAMETER_CHANGED_EVENT, change.name, change.value)


def validate_set_attester_allowance(
    call: Call, attester: Address, atoms_per_period: int, receipts_per_period: int
) -> AttesterAllowance:
    """setAttesterAllowance(attester, atomsPerPeriod, receiptsPerPeriod): adds an attester, or changes one."""
    if attester == ZERO_ADDRESS or is_reserved(attester):
        raise _impossible("an attester cannot be the zero address or a module")
    for name, value in (
        ("default_attester_atoms", atoms_per_period),
        ("default_attester_receipts", receipts_per_period),
    ):
        if value > PARAMETER_BOUNDS[name][1]:
            raise Rejected(RejectionReason.OUT_OF_RANGE, f"an allowance is at most {PARAMETER_BOUNDS[name][1]}")
    if call.state.attester(attester) is None and len(call.state.attesters()) >= MAX_ATTESTERS:
        raise _impossible(f"there are at most {MAX_ATTESTERS} attesters")
    return AttesterAllowance(attester, atoms_per_period, receipts_per_period)


def apply_set_attester_allowance(call: Call, allowance: AttesterAllowance) -> None:
    """What the attester has used of this period stays used."""
    attesters = call.state.attesters()
    if call.state.attester(allowance.address) is None:
        attesters = (*attesters, allowance)
    else:
        attesters = tuple(allowance if a.address == allowance.address else a for a in attesters)
    call.state.set_attesters(attesters)
    call.emit(
        GOVERNANCE,
        ATTESTER_ALLOWANCE_EVENT,
        allowance.address,
        allowance.atoms_per_period,
        allowance.receipts_per_period,
    )


def validate_remove_attester(call: Call, attester: Address) -> Address:
    """removeAttester(attester)."""
    if call.state.attester(attester) is None:
        raise _impossible("this address is no attester")
    if len(call.state.attesters()) <= call.state.parameters().attester_threshold:
        raise _impossible("fewer attesters than the threshold would remain: nobody could mint")
    return attester


def apply_remove_attester(call: Call, attester: Address) -> None:
    """Its signatures count no longer."""
    call.state.set_attesters(tuple(a for a in call.state.attesters() if a.address != attester))
    call.emit(GOVERNANCE, ATTESTER_ALLOWANCE_EVENT, attester, 0, 0)


def validate_pause(call: Call) -> bool:
    """pause()."""
    if call.state.minting_paused():
        raise _impossible("minting is paused already")
    return True


def validate_unpause(call: Call) -> bool:
    """unpause()."""
    if not call.state.minting_paused():
        raise _impossible("minting is not paused")
    return False


def apply_pause(call: Call, paused: bool) -> None:
    """Stops minting, or lets it go on."""
    call.state.set_minting_paused(paused)
    call.emit(GOVERNANCE, PAUSED_EVENT if paused else UNPAUSED_EVENT)


def validate_add_issuer(call: Call, issuer: Address) -> Address:
    """addIssuer(issuer)."""
    issuers = call.state.issuers()
    if issuer == ZERO_ADDRESS or is_reserved(issuer) or issuer in issuers or len(issuers) >= MAX_ISSUERS:
        raise _impossible(f"an issuer is an ordinary address, entered once; at most {MAX_ISSUERS}")
    return issuer


def apply_add_issuer(call: Call, issuer: Address) -> None:
    """May issue assets from now on."""
    call.state.set_issuers((*call.state.issuers(), issuer))
    call.emit(GOVERNANCE, ISSUER_ADDED_EVENT, issuer)


def validate_remove_issuer(call: Call, issuer: Address) -> Address:
    """removeIssuer(issuer)."""
    if issuer not in call.state.issuers():
        raise _impossible("this address is no issuer")
    return issuer


def apply_remove_issuer(call: Call, issuer: Address) -> None:
    """May issue nothing more."""
    call.state.set_issuers(tuple(entry for entry in call.state.issuers() if entry != issuer))
    call.emit(GOVERNANCE, ISSUER_REMOVED_EVENT, issuer)


def validate_schedule_upgrade(call: Call, protocol_version: int, height: int) -> Upgrade:
    """scheduleUpgrade(protocolVersion, height); a height that has not come yet can be moved."""
    current = call.state.upgrade().version_at(call.block.height)
    if protocol_version != current + 1 or not call.block.height < height < 2**62:
        raise _impossible(f"the next version is {current + 1}, and its height must lie ahead")
    return Upgrade(current, protocol_version, height)


def apply_schedule_upgrade(call: Call, upgrade: Upgrade) -> None:
    """From that height on, blocks follow the next version's rules."""
    call.state.set_upgrade(upgrade)
    call.emit(GOVERNANCE, UPGRADE_SCHEDULED_EVENT, upgrade.next_version, upgrade.next_height)


OPERATIONS = tuple(
    Operation(module=GOVERNANCE, function=function, validate=validate, apply=apply, is_governed=True)
    for function, validate, apply in (
        (SET_PARAMETER, validate_set_parameter, apply_set_parameter),
        (SET_ATTESTER_ALLOWANCE, validate_set_attester_allowance, apply_set_attester_allowance),
        (REMOVE_ATTESTER, validate_remove_attester, apply_remove_attester),
        (PAUSE, validate_pause, apply_pause),
        (UNPAUSE, validate_unpause, apply_pause),
        (ADD_ISSUER, validate_add_issuer, apply_add_issuer),
        (REMOVE_ISSUER, validate_remove_issuer, apply_remove_issuer),
        (SCHEDULE_UPGRADE, validate_schedule_upgrade, apply_schedule_upgrade),
    )
)
