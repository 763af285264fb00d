"""One block's transactions, one after another: what proposers and importers both run."""

import msgspec

from chain.primitives.block import TransactionResult
from chain.primitives.keys import RecoverAddress, recover_address
from chain.primitives.records import Domain
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction
from chain.primitives.types import Address
from chain.rules.admission import (
    Admission,
    Lane,
    check_envelope,
    check_nonce,
    check_sender,
    registration_usage,
    special_roles,
)
from chain.rules.call import BlockContext, Call
from chain.rules.state import State, StateReader
from chain.rules.token import move

_FAILED = TransactionResult(0, ())


class BlockOutcome(msgspec.Struct, frozen=True):
    """What a block's transactions did. `failures` tells for each with status 0 why; it is not part of consensus."""

    changes: dict[bytes, bytes | None]
    transactions: tuple[Transaction, ...]
    senders: tuple[Address, ...]
    results: tuple[TransactionResult, ...]
    failures: tuple[Rejected | None, ...]


class Executed(msgspec.Struct, frozen=True):
    """What an admitted transaction did, and where that is nothing, why."""

    result: TransactionResult
    failure: Rejected | None = None
    surplus_work: int = 0
    """See `Call`; also of a call that failed."""


def execute(state: State, block: BlockContext, transaction: Transaction, admission: Admission) -> Executed:
    """Carries an admitted transaction out.

    Raises Rejected, with nothing changed, where a newcomer's call would fail.
    """
    sender, module_call = admission.sender, admission.call
    is_member = not admission.lane.is_newcomer
    if is_member:
        _charge(state, admission)  # Whatever the call does, and before it can spend the fee.
    if module_call is None:
        return Executed(TransactionResult(1, (move(state, sender, transaction.to, transaction.value),)))
    call = Call(state, block, sender, module_call.to)
    try:
        usage = registration_usage(state, call.period) if admission.lane is Lane.REGISTRATION else None
        plan = module_call.validate(call)
    except Rejected as failure:
        if not is_member:
            raise
        return Executed(_FAILED, failure, call.surplus_work)
    if not is_member:
        _charge(state, admission)
    if usage is not None:
        state.set_usage(Domain.REGISTRATION_USAGE, b"", usage.plus(0))
    module_call.operation.apply(call, plan)
    return Executed(TransactionResult(1, tuple(call.logs)), None, call.surplus_work)


def _charge(state: State, admission: Admission) -> None:
    if admission.fee:
        state.burn(admission.sender, admission.fee)
    state.increment_nonce(admission.sender)


class BlockExecution:
    """Executes transactions on top of a parent state, within the block's bounds.

    What a call meets in the order book is known only afterwards: so it may pass the bound on recoveries, or its
    sender's quota, but nothing follows it then.
    """

    def __init__(
        self,
        reader: StateReader,
        *,
        chain_id: int,
        height: int,
        time_ms: int,
        recover: RecoverAddress = recover_address,
    ) -> None:
        self.state = State(reader)
        self._block = BlockContext(chain_id, height, time_ms, recover)
        self._parameters = self.state.parameters()  # Bounds, fee and standing are those of the parent state.
        self._roles = special_roles(self.state)
        self._byte_count = 0
        self._recovery_count = 0
        self._sent: dict[Address, int] = {}
        self._transactions: list[Transaction] = []
        self._senders: list[Address] = []
        self._results: list[TransactionResult] = []
        self._failures: list[Rejected | None] = []

    def add(self, transaction: Transaction) -> TransactionResult:
        """Executes one more; raises Rejected, with nothing changed, where it cannot be in this block."""
        call = check_envelope(transaction, self._block.chain_id)
        recoveries = 1
        if call is not None and call.recoveries:
            recoveries += call.recoveries_within(self.state.parameters().attester_threshold)
        self._check_room(transaction, recoveries)
        sender = transaction.recover_sender(self._block.recover)
        check_nonce(transaction, self.state.nonce(sender))
        sent = self._sent.get(sender, 0)
        if sent >= self._parameters.account_quota:
            raise Rejected(
                RejectionReason.ACCOUNT_QUOTA,
                f"an account sends at most {self._parameters.account_quota} transactions per block, fewer where they "
                "meet many orders",
            )
        admission = check_sender(self.state, transaction, call, sender, roles=self._roles, parameters=self._parameters)
        executed = execute(self.state, self._block, transaction, admission)
        self._byte_count += len(transaction.raw)
        self._recovery_count += recoveries + executed.surplus_work
        self._sent[sender] = sent + 1 + executed.surplus_work
        self._transactions.append(transaction)
        self._senders.append(sender)
        self._results.append(executed.result)
        self._failures.append(executed.failure)
        return executed.result

    def _check_room(self, transaction: Transaction, recoveries: int) -> None:
        if (
            len(self._transactions) >= self._parameters.max_block_transactions
            or self._byte_count + len(transaction.raw) > self._parameters.max_block_bytes
            or self._recovery_count + recoveries > self._parameters.max_block_recoveries
        ):
            raise Rejected(RejectionReason.BLOCK_FULL, "no room left in this block")

    def finish(self) -> BlockOutcome:
        """All that was added, as one outcome."""
        return BlockOutcome(
            self.state.changes(),
            tuple(self._transactions),
            tuple(self._senders),
            tuple(self._results),
            tuple(self._failures),
        )
