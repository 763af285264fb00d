"""Which index entries a block leaves for its logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.node.index import ZERO_TOPIC, event_kind
from chain.primitives.market import ANY_ASSET, ISSUE_ASSET, MINT_ASSET, asset_address
from chain.primitives.modules import (
    ADD_ISSUER,
    APPROVAL_EVENT,
    EXECUTE,
    GOVERNANCE,
    MARKET,
    MINTED_EVENT,
    MINTER,
    PROPOSE,
    TOKEN,
    TOKEN_APPROVE,
    TOKEN_TRANSFER,
    TRANSFER_EVENT,
)
from chain.primitives.types import ATOMS_PER_AIT
from chain.storage.keys import Table, account_transaction_key, event_block_key

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


def test_an_assets_events_are_its_own_and_any_assets(chain: Chain) -> None:
    people, coin = chain.people, asset_address(1)
    chain.fund("ann")  # Height 1.
    proposal = PROPOSE.encode(GOVERNANCE, ADD_ISSUER.encode(people.address("ann")))
    decision = enumerate((proposal, EXECUTE.encode(1)))
    chain.add_block(*(people.send("validator", GOVERNANCE, nonce=nonce, data=call) for nonce, call in decision))
    issue = ISSUE_ASSET.encode("Coin", "COIN", 0, 0, 0, bytes(32))
    mint = MINT_ASSET.encode(coin, people.address("bob"), 5)
    issuing = enumerate((issue, mint), start=1)
    chain.add_block(*(people.send("ann", MARKET, nonce=nonce, data=call) for nonce, call in issuing))
    chain.add_block(people.send("bob", coin, nonce=0, data=TOKEN_TRANSFER.encode(people.address("cat"), 1)))
    entries = {key for key, _ in chain.ledger.view().rows(Table.EVENT_BLOCK)}
    for emitter in (coin, ANY_ASSET):
        transfer = emitter + TRANSFER_EVENT.topic
        kinds = (event_kind(transfer), event_kind(transfer, 1))  # The second: from nobody.
        present = [[event_block_key(kind, height) in entries for height in (3, 4)] for kind in kinds]
        assert present == [[True, True], [True, False]]
    assert event_block_key(event_kind(asset_address(2) + TRANSFER_EVENT.topic), 3) not in entries
    accounts = {key for key, _ in chain.ledger.view().rows(Table.ACCOUNT_TRANSACTION)}
    for name, height, index in (("bob", 3, 1), ("bob", 4, 0), ("cat", 4, 0)):
        assert account_transaction_key(people.address(name), height, index) in accounts


def test_kinds_differ_by_module_event_and_place() -> None:
    kinds = [event_kind(signature, place) for signature in (TRANSFER, APPROVAL, MINTED) for place in (None, 1, 2)]
    assert len(set(kinds)) == len(kinds)
    assert {len(kind) for kind in kinds} == {16}
    assert bytes(32) == ZERO_TOPIC
