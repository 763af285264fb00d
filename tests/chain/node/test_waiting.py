"""What waits, and the sums over it that admission asks for."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

from chain.node.waiting import Entry, Waiting
from chain.primitives.parameters import Parameters
from chain.rules.admission import Lane

if TYPE_CHECKING:
    from tests.chain.conftest import People


def _entry(people: People, name: str, nonce: int, *, lane: Lane = Lane.MEMBER, cost_atoms: int = 1) -> Entry:
    return Entry(
        transaction=people.transfer(name, "cat", 1, nonce=nonce),
        sender=people.address(name),
        lane=lane,
        receipt_hash=None,
        cost_atoms=cost_atoms,
        recoveries=1,
        added_at_ms=0,
        replacements=0,
    )


def test_sums_are_those_of_what_waits(people: People) -> None:
    rng = random.Random(20261122)
    entries = [
        _entry(people, name, nonce, lane=rng.choice([Lane.MEMBER, Lane.MINT]), cost_atoms=rng.randrange(1_000))
        for name in ("ann", "bob")
        for nonce in range(8)
    ]
    waiting, present = Waiting(), set[int]()
    for index in [rng.randrange(len(entries)) for _ in range(400)] + [-1]:
        if index < 0:  # At last all go, and nothing of their senders stays.
            for each in present:
                waiting.remove(entries[each])
            present.clear()
        elif index in present:
            waiting.remove(entries[index])
            present.discard(index)
        else:
            waiting.insert(entries[index])
            present.add(index)
        there = [entries[each] for each in present]
        assert waiting.cost_atoms == {
            sender: sum(each.cost_atoms for each in there if each.sender == sender)
            for sender in {each.sender for each in there}
        }
        assert dict(waiting.sender_lane_count) == Counter((each.sender, each.lane) for each in there)
        assert all(list(each) == sorted(each) for each in waiting.by_sender.values())


def test_who_was_served_is_behind_those_who_were_not(people: People) -> None:
    """Else some senders with much waiting could keep all others out of every block."""
    waiting = Waiting()
    for name in ("ann", "bob", "cat"):
        for nonce in range(3):
            waiting.insert(_entry(people, name, nonce))
    parameters = Parameters(max_block_transactions=2)
    served = []
    for _ in range(5):
        for transaction in waiting.select(parameters, {}):
            served.append((entry := waiting.by_hash[transaction.hash]).sender)
            waiting.remove(entry)
    names = {people.address(name): name for name in ("ann", "bob", "cat")}
    assert [names[sender] for sender in served] == ["ann", "bob", "cat"] * 3
