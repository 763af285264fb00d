"""Which index entries a block leaves for its logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.node.index import ZERO_TOPIC, event_kind
from chain.primitives.modules import APPROVAL_EVENT, MINTED_EVENT, MINTER, TOKEN, TOKEN_APPROVE, TRANSFER_EVENT
from chain.primitives.types import ATOMS_PER_AIT
from chain.storage.keys import Table, event_block_key

if TYPE_CHECKING:
    from tests.chain.conftest import Chain

TRANSFER = TOKEN + TRANSFER_EVENT.topic
APPROVAL = TOKEN + APPROVAL_EVENT.topic
MINTED = MINTER + MINTED_EVENT.topic


def test_one_entry_for_each_kind_however_many_logs(chain: Chain) -> None:
    people = chain.people
    chain.fund("ann", "bob", "cat")  # Height 1: three mints.
    chain.add_block(*(people.transfer("ann", "bob", ATOMS_PER_AIT, nonce=nonce) for nonce in range(1, 9)))
    chain.add_block()
    approve = TOKEN_APPROVE.encode(people.address("cat"), 5)
    chain.add_block(people.send("bob", TOKEN, nonce=1, data=approve))
    entries = [key for key, _ in chain.ledger.view().rows(Table.EVENT_BLOCK)]
    expected = [
        (event_kind(MINTED), 1),
        (event_kind(TRANSFER), 1),
        (event_kind(TRANSFER, 1), 1),  # From the zero address.
        (event_kind(TRANSFER), 2),
        (event_kind(APPROVAL), 4),
    ]
    assert entries == sorted(event_block_key(kind, height) for kind, height in expected)


def test_kinds_differ_by_module_event_and_place() -> None:
    kinds = [event_kind(signature, place) for signature in (TRANSFER, APPROVAL, MINTED) for place in (None, 1, 2)]
    assert len(set(kinds)) == len(kinds)
    assert {len(kind) for kind in kinds} == {16}
    assert bytes(32) == ZERO_TOPIC
