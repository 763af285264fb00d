"""Transactions that wait for a block: bounded in bytes, per lane, per sender and in time; nonces without gaps.

Only what could be in a block on the present head gets in, asked of the same rules that execute blocks. A sender's
transactions are kept in nonce order without a gap from its account's nonce on, so the first of each can be executed
now. A (sender, nonce) may be replaced three times, whatever fee is offered: tips mean nothing on this chain, so the
newest wish counts, and the bound keeps replacing from being free work. The same bytes again change nothing.

A sender's first ones may stand in unfinalized blocks already; whoever selects says up to which nonce. What has expired
is told by a clock that never jumps: the wall clock may be set, and an hour forward must not empty the pool.

Not thread-safe: it lives on the event loop.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Final

import msgspec

from chain.node.clock import monotonic_ms
from chain.node.pool_limits import PoolLimits, check_room
from chain.node.waiting import NO_NONCES, Entry, Waiting
from chain.primitives.keys import RecoverAddress
from chain.primitives.records import Domain
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import DecodeTransaction, Transaction
from chain.primitives.types import Address, Hash32
from chain.rules.admission import Admission, Lane, check_admission, special_roles, total_cost
from chain.rules.call import BlockContext
from chain.rules.state import State, StateReader
from chain.storage.records import Head

_LOOKUPS_PER_STATE: Final = 2_000
"""A State remembers every account it has read: it is made anew after this many admissions."""
_REMEMBERED_DROPS: Final = 4_096
_LATER_BLOCK: Final = frozenset(
    {RejectionReason.BLOCK_FULL, RejectionReason.ACCOUNT_QUOTA, RejectionReason.NONCE_TOO_HIGH}
)
"""Why a proposer leaves out a transaction that may well be in the next block."""
_CHANGES_FOR_ALL: Final = frozenset(
    {
        Domain.PARAMETERS,
        Domain.VALIDATORS,
        Domain.ATTESTERS,
        Domain.ISSUERS,
        Domain.AUTHORITIES,
        Domain.MINTING_PAUSED,
    }
)
_STANDING: Final = frozenset({Domain.ACCOUNT, Domain.ASSETS_HELD})
"""What decides about one sender, by its address."""


class Mempool:
    """See the module."""

    def __init__(
        self,
        limits: PoolLimits,
        *,
        chain_id: int,
        recover: RecoverAddress,
        decode: DecodeTransaction,
        age_clock_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        """`rebase` must follow before anything is added."""
        self._limits = limits
        self._age_clock_ms = age_clock_ms
        self._chain_id = chain_id
        self._recover = recover
        self._decode = decode
        self._waiting = Waiting()
        self._dropped: dict[Hash32, Rejected] = {}
        self.drops: Counter[str] = Counter()
        """How many were dropped, by reason, since the start."""

    def __len__(self) -> int:
        return len(self._waiting.by_hash)

    @property
    def size_bytes(self) -> int:
        """Bytes of all raw transactions."""
        return self._waiting.lane_bytes.total()

    def lane_sizes(self) -> dict[Lane, int]:
        """How many wait in each lane."""
        return {lane: self._waiting.lane_count[lane] for lane in Lane}

    def get(self, transaction_hash: Hash32) -> Entry | None:
        """A waiting transaction."""
        return self._waiting.by_hash.get(transaction_hash)

    def why_dropped(self, transaction_hash: Hash32) -> Rejected | None:
        """Why a transaction that waited here recently does not any more, unless it got into a block."""
        return self._dropped.get(transaction_hash)

    def next_nonce(self, sender: Address) -> int:
        """The nonce that this sender's next transaction needs: the account's, or what follows its waiting ones."""
        return max(self._state.account(sender).nonce, self.nonce_after_waiting(sender))

    def nonce_after_waiting(self, sender: Address) -> int:
        """What follows this sender's waiting transactions; 0 where none waits. Remembers no sender, unlike a State."""
        waiting = self._waiting.by_sender.get(sender)
        return next(reversed(waiting)) + 1 if waiting else 0

    def covered_by(self, next_nonces: Mapping[Address, int]) -> int:
        """How many wait whose nonces unfinalized blocks have used already, if `next_nonces` is what they leave."""
        return self._waiting.covered_by(next_nonces)

    def page(self, start: int, count: int) -> list[Entry]:
        """At most `count` of those that wait, longest first, leaving out the first `start`."""
        return list(islice(self._waiting.by_hash.values(), start, start + count))

    # The head

    def rebase(self, reader: StateReader, head: Head) -> None:
        """From now on, admission asks the state after `head`."""
        self._reader = reader
        self._head = head
        self._renew_state()

    def _renew_state(self) -> None:
        self._state = State(self._reader)
        self._roles = special_roles(self._state)
        self._lookups = 0

    def senders(self) -> list[Address]:
        """Everybody who has something waiting."""
        return list(self._waiting.by_sender)

    def senders_touched(self, changes: Iterable[bytes]) -> list[Address]:
        """Which senders must be re-checked after a block that changed these state keys."""
        touched: dict[Address, None] = {}
        for key in changes:
            domain, raw_key = key[0], key[1:]
            if domain in _CHANGES_FOR_ALL:
                return list(self._waiting.by_sender)
            if domain in _STANDING and raw_key in self._waiting.by_sender:
                touched[Address(raw_key)] = None
            elif domain == Domain.RECEIPT and raw_key in self._waiting.by_receipt:
                touched[self._waiting.by_receipt[Hash32(raw_key)].sender] = None
        return list(touched)

    def recheck(self, sender: Address, now_ms: int, included: Collection[Hash32] = ()) -> int:
        """Drops what is used up or cannot be in a block any more, and what would follow it with a gap.

        Returns how many transactions it had to look at.
        """
        waiting = dict(self._waiting.by_sender.get(sender, {}))
        account = self._state.account(sender)
        expected, cost_atoms = account.nonce, 0
        for nonce, entry in waiting.items():
            if nonce < account.nonce:
                self._waiting.remove(entry)
                if entry.transaction.hash not in included:
                    used = Rejected(RejectionReason.NONCE_TOO_LOW, "another transaction used its nonce")
                    self._remember_drop(entry, used)
                continue
            try:
                cost_atoms = self._check_again(entry, expected, cost_atoms, now_ms)
            except Rejected as rejection:
                self.drop(entry.transaction.hash, rejection)
                break
            expected += 1
        return len(waiting)

    def _check_again(self, entry: Entry, expected: int, cost_atoms: int, now_ms: int) -> int:
        """The costs of all so far; the entry's lane may change, as when its sender has received its first tokens."""
        admission = check_admission(
            self._state,
            entry.transaction,
            self._context(now_ms),
            next_nonce=lambda _sender: expected,
            roles=self._roles,
        )
        cost_atoms += total_cost(entry.transaction, admission)
        _check_funds(cost_atoms, self._state.account(entry.sender).balance)
        lane = _lane_of(admission)
        if lane is not entry.lane:
            self._waiting.remove(entry)
            self._waiting.insert(msgspec.structs.replace(entry, lane=lane))
        return cost_atoms

    def _context(self, now_ms: int) -> BlockContext:
        time_ms = max(now_ms, self._head.time_ms + 1)
        return BlockContext(self._chain_id, self._head.height + 1, time_ms, self._recover)

    # Getting in

    def add(self, raw: bytes, now_ms: int) -> Entry:
        """Admits a transaction, or finds it waiting already; raises Rejected with nothing changed.

        `now_ms` is the wall clock: the block that it could be in would have about that time.
        """
        transaction = self._decode(raw)
        return self._waiting.by_hash.get(transaction.hash) or self.admit(transaction, now_ms)

    def admit(self, transaction: Transaction, now_ms: int) -> Entry:
        """As `add`, for one that is decoded and does not wait yet."""
        age_ms = self._age_clock_ms()
        oldest = next(iter(self._waiting.by_hash.values()), None)
        if oldest is not None and age_ms - oldest.added_at_ms >= self._limits.max_age_ms:
            self.expire()  # A follower has no proposal that would ask for it.
        self._lookups += 1
        if self._lookups > _LOOKUPS_PER_STATE:
            self._renew_state()
        admission = check_admission(
            self._state, transaction, self._context(now_ms), next_nonce=self.next_nonce, roles=self._roles
        )
        replaced = self._waiting.by_sender.get(admission.sender, {}).get(transaction.nonce)
        call = admission.call
        entry = Entry(
            transaction=transaction,
            sender=admission.sender,
            lane=_lane_of(admission),
            receipt_hash=call.receipt_hash if call is not None else None,
            cost_atoms=total_cost(transaction, admission),
            recoveries=1 + (call.recoveries if call is not None else 0),
            added_at_ms=age_ms,
            replacements=0 if replaced is None else replaced.replacements + 1,
        )
        self._check_place(entry, replaced)
        if replaced is not None:
            self._waiting.remove(replaced)
            self._remember_drop(replaced, Rejected(RejectionReason.NONCE_TOO_LOW, "its sender has replaced it"))
        self._waiting.insert(entry)
        self._dropped.pop(transaction.hash, None)
        return entry

    def _check_place(self, entry: Entry, replaced: Entry | None) -> None:
        """What the rules do not know: what else waits."""
        if entry.replacements > self._limits.max_replacements:
            raise Rejected(
                RejectionReason.TOO_MANY_REPLACEMENTS,
                f"a waiting transaction may be replaced {self._limits.max_replacements} times; use the next nonce",
            )
        if (
            entry.receipt_hash is not None
            and self._waiting.by_receipt.get(entry.receipt_hash, replaced) is not replaced
        ):
            raise Rejected(
                RejectionReason.RECEIPT_PENDING, "a mint or settlement for this receipt hash is waiting already"
            )
        freed_atoms = replaced.cost_atoms if replaced is not None else 0
        cost_atoms = self._waiting.cost_atoms.get(entry.sender, 0) - freed_atoms + entry.cost_atoms
        _check_funds(cost_atoms, self._state.account(entry.sender).balance)
        check_room(self._limits.lanes[entry.lane], self._waiting, entry, replaced)

    # Getting out

    def _remember_drop(self, entry: Entry, rejection: Rejected) -> None:
        self.drops[rejection.reason] += 1
        self._dropped[entry.transaction.hash] = rejection
        if len(self._dropped) > _REMEMBERED_DROPS:
            del self._dropped[next(iter(self._dropped))]

    def drop(self, transaction_hash: Hash32, rejection: Rejected) -> None:
        """Takes a transaction out, and those of its sender that follow it; nothing happens where it does not wait."""
        entry = self._waiting.by_hash.get(transaction_hash)
        if entry is None:
            return
        for nonce, follower in list(self._waiting.by_sender[entry.sender].items()):
            if nonce == entry.transaction.nonce:
                self._waiting.remove(follower)
                self._remember_drop(follower, rejection)
            elif nonce > entry.transaction.nonce:
                self._waiting.remove(follower)
                cause = f"an earlier transaction of its sender was dropped: {rejection.message}"
                self._remember_drop(follower, Rejected(RejectionReason.NONCE_TOO_HIGH, cause))

    def drop_rejected(self, rejected: Iterable[tuple[Transaction, Rejected]]) -> None:
        """Drops what a proposer could not put into a block, unless it may be in a later one."""
        for transaction, rejection in rejected:
            if rejection.reason not in _LATER_BLOCK:
                self.drop(transaction.hash, rejection)

    def drop_firsts(self, rejected: Iterable[tuple[Transaction, Rejected]]) -> None:
        """After a build on the head that could take nothing: drops what was tried of each sender's first, and what fits
        into no block.

        Whatever kept it out, a full block did not, so no later block will take it: it would hold up a chain that
        makes blocks as long as something waits. What has come in meanwhile, or had no room beside these, stays.
        """
        reasons = {transaction.hash: rejection for transaction, rejection in rejected}
        too_large = Rejected(RejectionReason.BLOCK_FULL, "it does not fit into a block, even alone")
        parameters = self._state.parameters()
        for waiting in list(self._waiting.by_sender.values()):
            first = next(iter(waiting.values()))
            if first.transaction.hash in reasons:
                self.drop(first.transaction.hash, reasons[first.transaction.hash])
            elif first.size_bytes > parameters.max_block_bytes or first.recoveries > parameters.max_block_recoveries:
                self.drop(first.transaction.hash, too_large)

    def expire(self) -> None:
        """Drops what has waited too long."""
        expired = Rejected(RejectionReason.MEMPOOL_FULL, "it waited too long")
        latest_ms = self._age_clock_ms() - self._limits.max_age_ms
        for entry in list(self._waiting.by_hash.values()):
            if entry.added_at_ms <= latest_ms:
                self.drop(entry.transaction.hash, expired)  # Nothing happens where it went with an earlier one.

    # Into a block

    def select(self, next_nonces: Mapping[Address, int] = NO_NONCES) -> list[Transaction]:
        """What fits into one block: a transaction of each sender in turn, each sender's in the order of nonces.

        `next_nonces` has, for each sender in an unfinalized block that this one will follow, the nonce to go on from.
        """
        return self._waiting.select(self._state.parameters(), next_nonces)


def _lane_of(admission: Admission) -> Lane:
    uses_receipt = admission.call is not None and admission.call.operation.uses_receipt
    return Lane.MINT if uses_receipt else admission.lane


def _check_funds(cost_atoms: int, balance_atoms: int) -> None:
    if cost_atoms > balance_atoms:
        raise Rejected(
            RejectionReason.INSUFFICIENT_FUNDS,
            f"insufficient funds: balance {balance_atoms}, waiting transactions spend {cost_atoms} atoms",
        )
