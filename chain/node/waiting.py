"""The transactions that wait, by hash, sender and receipt, and how much room each lane takes."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from chain.primitives.parameters import Parameters
from chain.primitives.transaction import Transaction
from chain.primitives.types import Address, Hash32
from chain.rules.admission import Lane

NO_NONCES: Final[Mapping[Address, int]] = MappingProxyType({})


class Entry(msgspec.Struct, frozen=True):
    """A waiting transaction and what its admission found out."""

    transaction: Transaction
    sender: Address
    lane: Lane
    """Its sender's, but for mints: what fills the members' lane must not keep out what providers have earned."""
    receipt_hash: Hash32 | None
    cost_atoms: int
    recoveries: int
    added_at_ms: int
    """By the clock that never jumps."""
    replacements: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the raw transaction."""
        return len(self.transaction.raw)


class Waiting:
    """What the mempool keeps; it decides nothing."""

    def __init__(self) -> None:
        self.by_hash: dict[Hash32, Entry] = {}
        """In the order of arrival."""
        self.by_sender: dict[Address, dict[int, Entry]] = {}
        """Each in the order of nonces; the senders in the order in which they were last served, so that those whom one
        block has no room for come first in a later one, however many others keep something waiting."""
        self.by_receipt: dict[Hash32, Entry] = {}
        self.cost_atoms: dict[Address, int] = {}
        """What each sender's transactions cost together."""
        self.sender_lane_count: Counter[tuple[Address, Lane]] = Counter()
        self.lane_count: Counter[Lane] = Counter()
        self.lane_bytes: Counter[Lane] = Counter()

    def insert(self, entry: Entry) -> None:
        """Takes an entry in; its nonce is free."""
        self.by_hash[entry.transaction.hash] = entry
        waiting = self.by_sender.setdefault(entry.sender, {})
        is_next = not waiting or entry.transaction.nonce > next(reversed(waiting))
        waiting[entry.transaction.nonce] = entry
        if not is_next:
            self.by_sender[entry.sender] = dict(sorted(waiting.items()))
        if entry.receipt_hash is not None:
            self.by_receipt[entry.receipt_hash] = entry
        self.cost_atoms[entry.sender] = self.cost_atoms.get(entry.sender, 0) + entry.cost_atoms
        self.sender_lane_count[entry.sender, entry.lane] += 1
        self.lane_count[entry.lane] += 1
        self.lane_bytes[entry.lane] += entry.size_bytes

    def remove(self, entry: Entry) -> None:
        """Takes an entry out."""
        del self.by_hash[entry.transaction.hash]
        waiting = self.by_sender[entry.sender]
        del waiting[entry.transaction.nonce]
        self.cost_atoms[entry.sender] -= entry.cost_atoms
        self.sender_lane_count[entry.sender, entry.lane] -= 1
        if not self.sender_lane_count[entry.sender, entry.lane]:
            del self.sender_lane_count[entry.sender, entry.lane]
        del self.by_sender[entry.sender]
        if waiting:
            self.by_sender[entry.sender] = waiting  # Behind the others now.
        else:
            del self.cost_atoms[entry.sender]
        if entry.receipt_hash is not None:
            del self.by_receipt[entry.receipt_hash]
        self.lane_count[entry.lane] -= 1
        self.lane_bytes[entry.lane] -= entry.size_bytes

    def covered_by(self, next_nonces: Mapping[Address, int]) -> int:
        """How many wait whose nonces unfinalized blocks have used already, if `next_nonces` is what they leave."""
        return sum(
            nonce < next_nonce for sender, next_nonce in next_nonces.items() for nonce in self.by_sender.get(sender, ())
        )

    def select(self, parameters: Parameters, next_nonces: Mapping[Address, int]) -> list[Transaction]:
        """What fits into one block: a transaction of each sender in turn, each sender's in the order of nonces.

        `next_nonces` has, for each sender in an unfinalized block that this one will follow, the nonce to go on from.
        """
        bytes_left, recoveries_left = parameters.max_block_bytes, parameters.max_block_recoveries
        selected: list[Transaction] = []
        turns: deque[Iterator[Entry]] = deque(
            iter(waiting.values()) if next_nonce is None else iter(_from_nonce(waiting, next_nonce))
            for sender, waiting in self.by_sender.items()
            for next_nonce in (next_nonces.get(sender),)
        )
        while turns and len(selected) < parameters.max_block_transactions:
            turn = turns.popleft()
            entry = next(turn, None)
            if entry is None or entry.size_bytes > bytes_left or entry.recoveries > recoveries_left:
                continue  # This sender's turns are over: its later nonces need this one.
            bytes_left -= entry.size_bytes
            recoveries_left -= entry.recoveries
            selected.append(entry.transaction)
            turns.append(turn)
        return selected


def _from_nonce(waiting: Mapping[int, Entry], nonce: int) -> list[Entry]:
    return [entry for each, entry in waiting.items() if each >= nonce]
