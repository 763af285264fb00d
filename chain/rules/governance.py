"""The governance module: validators propose a call, approve it, and execute it with a quorum.

A proposal is a module address and call data, executed with the governance module as its sender. A quorum q = n − f of
the present validators is needed; to pause minting f + 1 suffice, so that a theft can be stopped by fewer hands than can
undo the stop. Approvals of a validator that was removed meanwhile do not count, and never again will: its key cannot
return. A validator can take its approval back; where it is the proposer, that closes the proposal.
"""

from typing import Any, Final

import msgspec

from chain.primitives.certificate import faulty_bound, quorum
from chain.primitives.modules import (
    APPROVE_PROPOSAL,
    APPROVED_EVENT,
    EXECUTE,
    EXECUTED_EVENT,
    GOVERNANCE,
    PAUSE,
    PROPOSE,
    PROPOSED_EVENT,
    REVOKE,
    REVOKED_EVENT,
)
from chain.primitives.records import Proposal
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Address
from chain.rules import compliance, governed, mint, validators
from chain.rules.assets import treasury
from chain.rules.call import Call, Operation
from chain.rules.market import markets

MAX_CALL_DATA_BYTES: Final = 4096
MAX_OPEN_PROPOSALS: Final = 16  # Per validator: one malicious validator cannot fill the state.

_GOVERNED: Final = {
    (operation.module, operation.function.selector): operation
    for operation in (
        *governed.OPERATIONS,
        *validators.OPERATIONS,
        *mint.OPERATIONS,
        *compliance.OPERATIONS,
        *treasury.OPERATIONS,
        *markets.OPERATIONS,
    )
    if operation.is_governed
}


class NewProposal(msgspec.Struct, frozen=True):
    """A checked proposal with its number, and the proposer's proposals that are still open."""

    number: int
    proposal: Proposal
    still_open: tuple[int, ...]


class Approval(msgspec.Struct, frozen=True):
    """A checked approval."""

    number: int
    proposal: Proposal


class Revocation(msgspec.Struct, frozen=True):
    """A checked revocation, and the proposal after it."""

    number: int
    proposal: Proposal


class Execution(msgspec.Struct, frozen=True):
    """A checked execution: the operation and its own plan."""

    number: int
    proposal: Proposal
    operation: Operation
    plan: Any


def _require_validator(call: Call) -> None:
    if call.sender not in call.state.validators():
        raise Rejected(RejectionReason.NOT_A_VALIDATOR, "only validators propose, approve, revoke and execute")


def _is_open(call: Call, proposal: Proposal) -> bool:
    return not proposal.executed and call.block.time_ms <= proposal.lapses_at_ms


def _open_proposal(call: Call, number: int) -> Proposal:
    proposal = call.state.proposal(number)
    if proposal is None:
        raise Rejected(RejectionReason.UNKNOWN_PROPOSAL, f"there is no proposal {number}")
    if not _is_open(call, proposal):
        raise Rejected(RejectionReason.PROPOSAL_CLOSED, f"proposal {number} was executed or has lapsed")
    return proposal


def _governed_operation(target: Address, call_data: bytes) -> tuple[Operation, tuple[Any, ...]]:
    operation = _GOVERNED.get((target, call_data[:4]))
    if operation is None:
        raise Rejected(RejectionReason.UNKNOWN_CALL, "this call is not one that governance can make")
    return operation, operation.function.decode(call_data)


def approvals_needed(proposal: Proposal, validator_count: int) -> int:
    """f + 1 to pause minting, a quorum for everything else."""
    if proposal.target == GOVERNANCE and proposal.call_data == PAUSE.selector:
        return faulty_bound(validator_count) + 1
    return quorum(validator_count)


def counted_approvals(proposal: Proposal, validators: tuple[Address, ...]) -> int:
    """Approvals of those who are validators now."""
    return sum(validator in proposal.approvals for validator in validators)


def validate_propose(call: Call, target: Address, call_data: bytes) -> NewProposal:
    """propose(target, callData); the proposer approves by proposing."""
    _require_validator(call)
    if len(call_data) > MAX_CALL_DATA_BYTES:
        raise Rejected(RejectionReason.TOO_LARGE, f"a proposed call has at most {MAX_CALL_DATA_BYTES} bytes")
    _governed_operation(target, call_data)
    still_open = tuple(
        number
        for number in call.state.open_proposals(call.sender)
        if (proposal := call.state.proposal(number)) is not None and _is_open(call, proposal)
    )
    if len(still_open) >= MAX_OPEN_PROPOSALS:
        raise Rejected(RejectionReason.TOO_MANY_PROPOSALS, f"a validator has at most {MAX_OPEN_PROPOSALS} open")
    now_ms = call.block.time_ms
    lapses_at_ms = now_ms + call.state.parameters().proposal_lifetime_ms
    proposal = Proposal(call.sender, target, call_data, now_ms, lapses_at_ms, (call.sender,))
    return NewProposal(call.state.proposal_count() + 1, proposal, still_open)


def apply_propose(call: Call, plan: NewProposal) -> None:
    """Enters the proposal."""
    proposal = plan.proposal
    call.state.set_proposal_count(plan.number)
    call.state.set_proposal(plan.number, proposal)
    call.state.set_open_proposals(call.sender, (*plan.still_open, plan.number))
    call.emit(GOVERNANCE, PROPOSED_EVENT, plan.number, call.sender, proposal.target, proposal.call_data)
    call.emit(GOVERNANCE, APPROVED_EVENT, plan.number, call.sender)


def validate_approve(call: Call, number: int) -> Approval:
    """approve(proposalId)."""
    _require_validator(call)
    proposal = _open_proposal(call, number)
    if call.sender in proposal.approvals:
        raise Rejected(RejectionReason.ALREADY_APPROVED, f"this validator has approved proposal {number} before")
    return Approval(number, proposal)


def apply_approve(call: Call, plan: Approval) -> None:
    """Adds the approval."""
    approvals = (*plan.proposal.approvals, call.sender)
    call.state.set_proposal(plan.number, msgspec.structs.replace(plan.proposal, approvals=approvals))
    call.emit(GOVERNANCE, APPROVED_EVENT, plan.number, call.sender)


def validate_revoke(call: Call, number: int) -> Revocation:
    """revoke(proposalId)."""
    _require_validator(call)
    proposal = _open_proposal(call, number)
    if call.sender not in proposal.approvals:
        raise Rejected(RejectionReason.NOT_APPROVED, f"this validator has not approved proposal {number}")
    approvals = tuple(approver for approver in proposal.approvals if approver != call.sender)
    is_withdrawn = call.sender == proposal.proposer
    lapses_at_ms = min(proposal.lapses_at_ms, call.block.time_ms - 1) if is_withdrawn else proposal.lapses_at_ms
    return Revocation(number, msgspec.structs.replace(proposal, approvals=approvals, lapses_at_ms=lapses_at_ms))


def apply_revoke(call: Call, revocation: Revocation) -> None:
    """Takes the approval back; the proposer's closes the proposal at once."""
    call.state.set_proposal(revocation.number, revocation.proposal)
    call.emit(GOVERNANCE, REVOKED_EVENT, revocation.number, call.sender)


def validate_execute(call: Call, number: int) -> Execution:
    """execute(proposalId), by any validator once enough have approved; the call itself must be possible now."""
    _require_validator(call)
    proposal = _open_proposal(call, number)
    approvals = counted_approvals(proposal, call.state.validators())
    needed = approvals_needed(proposal, len(call.state.validators()))
    if approvals < needed:
        raise Rejected(
            RejectionReason.QUORUM_MISSING, f"proposal {number} has {approvals} of {needed} approvals it needs"
        )
    operation, arguments = _governed_operation(proposal.target, proposal.call_data)
    plan = operation.validate(call.acting_as(GOVERNANCE, proposal.target), *arguments)
    return Execution(number, proposal, operation, plan)


def apply_execute(call: Call, execution: Execution) -> None:
    """Makes the call as governance, and closes the proposal."""
    call.state.set_proposal(execution.number, msgspec.structs.replace(execution.proposal, executed=True))
    execution.operation.apply(call.acting_as(GOVERNANCE, execution.proposal.target), execution.plan)
    call.emit(GOVERNANCE, EXECUTED_EVENT, execution.number)


OPERATIONS = (
    *governed.OPERATIONS,
    *validators.OPERATIONS,
    Operation(
        module=GOVERNANCE,
        function=PROPOSE,
        validate=validate_propose,
        apply=apply_propose,
        answer=lambda plan: (plan.number,),
    ),
    Operation(module=GOVERNANCE, function=APPROVE_PROPOSAL, validate=validate_approve, apply=apply_approve),
    Operation(module=GOVERNANCE, function=REVOKE, validate=validate_revoke, apply=apply_revoke),
    # One signature: the consent of a validator that joins.
    Operation(module=GOVERNANCE, function=EXECUTE, validate=validate_execute, apply=apply_execute, recoveries=1),
)
