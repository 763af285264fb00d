"""What waits, and the sums over it that admission asks for."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

from chain.node.waiting import Entry, Waiting
from chain.rules.admission import Lane

if TYPE_CHECKING:
    from tests.chain.conftest import People


def test_sums_are_those_of_what_waits(people: People) -> None:
    rng = random.Random(20261122)
    entries = [
        Entry(
            transaction=people.transfer(name, "cat", 1, nonce=nonce),
            sender=people.address(name),
            lane=rng.choice([Lane.MEMBER, Lane.MINT]),
            receipt_hash=None,
            cost_atoms=rng.randrange(1_000),
            recoveries=1,
            added_at_ms=0,
            replacements=0,
        )
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
