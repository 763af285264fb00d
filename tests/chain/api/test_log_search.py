"""What a filter finds, against a look at every log of every block; and how a search that costs too much ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.api.log_index import Work, candidate_heights
from chain.api.log_search import (
    MAX_LOGS,
    FoundLog,
    LogFilter,
    TooMuch,
    logs_of_block,
    search_logs,
)
from chain.api.reading import BlockCache
from chain.node.records import decode_results
from chain.primitives.block import Log, decode_block
from chain.primitives.escrow import DEPOSIT
from chain.primitives.hashing import keccak256
from chain.primitives.market import BURN_ASSET, ISSUE_ASSET, MINT_ASSET, asset_address
from chain.primitives.modules import (
    ADD_ISSUER,
    ESCROW,
    EVENTS,
    EXECUTE,
    GOVERNANCE,
    HTLC,
    MARKET,
    MINT_SPLIT,
    MINTED_EVENT,
    MINTER,
    PAUSE,
    PROPOSE,
    REGISTRY,
    SET_PAYOUT,
    TOKEN,
    TOKEN_APPROVE,
    TOKEN_TRANSFER,
    TOKEN_TRANSFER_FROM,
    TRANSFER_EVENT,
    WITHDRAW,
)
from chain.primitives.receipt import mint_split_digest
from chain.primitives.swaps import LOCK
from chain.primitives.types import ATOMS_PER_AIT, Address, Hash32

if TYPE_CHECKING:
    from pathlib import Path

    from chain.primitives.transaction import Transaction
    from chain.storage.view import StateView
    from tests.chain.conftest import Chain, MakeChain, People

NAMES = ("ann", "bob", "cat", "dan")
BLOCKS = 60
ASSETS = (asset_address(1), asset_address(2))


def topic_of(address: bytes) -> Hash32:
    """An address as a topic."""
    return Hash32(bytes(12) + address)


class Traffic:
    """Blocks in which the modules' events come in all mixtures, some empty ones, and transactions that fail."""

    def __init__(self, chain: Chain, rng: random.Random) -> None:
        self._chain = chain
        self._people: People = chain.people
        self._rng = rng
        self._nonces = dict.fromkeys((*NAMES, "validator"), 0)

    def run(self) -> None:
        """All blocks."""
        self._chain.add_block(*(self._mint(name) for name in (*NAMES, "validator")))
        for name in NAMES[:2]:
            self._chain.add_block(self._people.register(name, nonce=self._next_nonce(name)))
        self._issue()
        while self._chain.head.height < BLOCKS:
            transactions = [self._any() for _ in range(self._rng.choice((0, 0, 1, 1, 2, 5)))]
            assert not self._chain.add_block(*transactions).rejected

    def _issue(self) -> None:
        """Two assets of ann's, of which everybody gets some."""
        proposal = PROPOSE.encode(GOVERNANCE, ADD_ISSUER.encode(self._people.address("ann")))
        decision = (proposal, EXECUTE.encode(1))
        self._chain.add_block(*(self._send("validator", GOVERNANCE, call) for call in decision))
        issuing = [ISSUE_ASSET.encode("Coin", "COIN", 0, 0, 0, bytes(32)) for _ in ASSETS]
        minting = [MINT_ASSET.encode(asset, self._people.address(name), 100) for name in NAMES for asset in ASSETS]
        self._chain.add_block(*(self._send("ann", MARKET, call) for call in (*issuing, *minting)))

    def _next_nonce(self, name: str) -> int:
        self._nonces[name] += 1
        return self._nonces[name] - 1

    def _mint(self, name: str) -> Transaction:
        return self._people.mint(name, 10 * ATOMS_PER_AIT, nonce=self._next_nonce(name))

    def _any(self) -> Transaction:
        people, rng = self._people, self._rng
        name, other = rng.sample(NAMES, 2)
        address = people.address(other)
        choice = rng.randrange(13)
        if choice == 0:
            return self._mint(name)
        if choice == 1:
            receipt_hash, shares = people.receipt_hash(), sorted(map(people.address, rng.sample(NAMES, 2)))
            digest = mint_split_digest(people.network.chain_id, shares, [3, 4], receipt_hash)
            call = MINT_SPLIT.encode(shares, [3, 4], receipt_hash, people.key("attester").sign(digest))
            return self._send(name, MINTER, call)
        if choice == 2:
            return self._send("validator", GOVERNANCE, PROPOSE.encode(GOVERNANCE, PAUSE.encode()))
        if choice > 7:
            return self._of_an_asset(choice, name, address)
        calls = [
            (TOKEN, TOKEN_APPROVE.encode(address, rng.choice((0, 10**18)))),
            (TOKEN, TOKEN_TRANSFER_FROM.encode(address, people.address(rng.choice(NAMES)), 5)),  # May fail.
            (REGISTRY, rng.choice((WITHDRAW.encode(), SET_PAYOUT.encode(people.address("ann"), address)))),  # Too.
        ]
        if choice < 6:
            return self._send(name, *calls[choice - 3])
        return people.transfer(name, other, 1, nonce=self._next_nonce(name))

    def _of_an_asset(self, choice: int, name: str, address: Address) -> Transaction:
        asset = self._rng.choice(ASSETS)
        if choice == 8:
            return self._send(name, asset, TOKEN_TRANSFER.encode(address, 3))
        if choice == 9:
            return self._send(name, asset, TOKEN_APPROVE.encode(address, 3))
        if choice == 10:
            call = self._rng.choice((MINT_ASSET.encode(asset, address, 5), BURN_ASSET.encode(asset, 1)))
            return self._send("ann", MARKET, call)
        deadline = self._chain.head.header.time_ms // 1000 + 10_000
        if choice == 12:
            return self._send(name, ESCROW, DEPOSIT.encode("hub", 5, deadline))
        return self._send(name, HTLC, LOCK.encode(self._people.receipt_hash(), address, asset, 1, deadline))

    def _send(self, name: str, module: Address, call: bytes) -> Transaction:
        return self._people.send(name, module, nonce=self._next_nonce(name), data=call)


@pytest.fixture(scope="module")
def busy(chain_in: Callable[[Path], Chain], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain with traffic."""
    chain = chain_in(tmp_path_factory.mktemp("busy") / "chain")
    Traffic(chain, random.Random(7)).run()
    yield chain
    chain.ledger.close()


def every_log(chain: Chain) -> Iterator[FoundLog]:
    """Without any index, and without the code under test."""
    view = chain.ledger.view()
    for height in range(chain.head.height + 1):
        encoded, results = view.block_at(height), view.results_at(height)
        assert encoded is not None
        assert results is not None
        block, stored, log_index = decode_block(encoded), decode_results(results), 0
        for index, raw in enumerate(block.transactions):
            for log in stored.result(index).logs:
                header = block.header
                yield FoundLog(log, header.height, header.hash, header.time_ms, keccak256(raw), index, log_index)
                log_index += 1


def is_wanted(log: Log, wanted: LogFilter) -> bool:
    """The JSON-RPC specification, word for word."""
    if wanted.addresses and log.address not in wanted.addresses:
        return False
    for position, choice in enumerate(wanted.topics):
        if position >= len(log.topics) or (choice is not None and log.topics[position] not in choice):
            return False
    return True


def test_the_traffic_has_every_sort_of_event(busy: Chain) -> None:
    seen = {(found.log.address, found.log.topics[0]) for found in every_log(busy)}
    assert {address for address, _ in seen} == {*EVENTS, *ASSETS}
    assert len(seen) >= 14
    zero = [found for found in every_log(busy) if found.log.topics[1:2] == (Hash32(bytes(32)),)]
    assert 0 < len(zero) < len(list(every_log(busy)))


def topic_choices(chain: Chain) -> st.SearchStrategy[tuple[frozenset[Hash32] | None, ...]]:
    """By position: event topics, people, the zero address, modules, numbers, and what is no address."""
    topics = [TRANSFER_EVENT.topic, *(event.topic for events in EVENTS.values() for event in events)]
    words = [topic_of(chain.people.address(name)) for name in (*NAMES, "validator", "nobody")]
    words += [topic_of(module) for module in (*EVENTS, *ASSETS)]
    words += [Hash32(number.to_bytes(32, "big")) for number in (0, 1, 2, 2**255)]
    words.append(Hash32(b"\x01" + words[0][1:]))
    first = st.none() | st.frozensets(st.sampled_from([*topics, *words]), min_size=1, max_size=5)
    more = st.none() | st.frozensets(st.sampled_from(words), min_size=1, max_size=4)
    return (
        st.tuples()
        | st.tuples(first)
        | st.tuples(first, more)
        | st.tuples(first, more, more)
        | st.tuples(first, *[more] * 3)
    )


@given(data=st.data())
def test_a_search_finds_what_a_look_at_every_log_finds(busy: Chain, data: st.DataObject) -> None:
    emitters = [*EVENTS, *ASSETS, *ASSETS, asset_address(77), busy.people.address("ann")]
    addresses = st.frozensets(st.sampled_from(emitters), max_size=3)
    addresses |= st.just(frozenset((TOKEN, *map(asset_address, range(1, 30)))))
    heights = st.integers(0, BLOCKS + 3)
    wanted = LogFilter(data.draw(heights), data.draw(heights), data.draw(addresses), data.draw(topic_choices(busy)))
    expected = [
        found
        for found in every_log(busy)
        if wanted.from_height <= found.height <= wanted.to_height and is_wanted(found.log, wanted)
    ]
    assert search_logs(busy.ledger.view(), wanted) == expected


def test_many_accounts_in_one_topic(busy: Chain) -> None:
    people = [topic_of(busy.people.address(name)) for name in NAMES]
    strangers = [topic_of(keccak256(b"%d" % number)[:20]) for number in range(900)]
    for count in (1, 10, 900):
        wanted = LogFilter(0, BLOCKS, topics=(None, frozenset((*people, *strangers[:count]))))
        expected = [found for found in every_log(busy) if is_wanted(found.log, wanted)]
        assert expected
        assert search_logs(busy.ledger.view(), wanted) == expected


def test_the_transfers_of_one_asset_are_not_looked_for_elsewhere(busy: Chain) -> None:
    """Nor do all assets cost a list each, where a filter names none or hundreds."""
    view, transfer = busy.ledger.view(), (frozenset((TRANSFER_EVENT.topic,)),)
    for asset in ASSETS:
        heights = {found.height for found in every_log(busy) if found.log.address == asset}
        assert heights == set(candidate_heights(view, LogFilter(0, BLOCKS, frozenset((asset,))), Work()))
    assert list(candidate_heights(view, LogFilter(0, BLOCKS, frozenset((asset_address(77),))), Work())) == []
    found, work = every_log(busy), Work()
    transfers = {each.height for each in found if each.log.address in ASSETS and each.log.topics[0] in transfer[0]}
    hundreds = frozenset(map(asset_address, range(1_000)))
    assert set(candidate_heights(view, LogFilter(0, BLOCKS, hundreds, transfer), work)) == transfers
    assert work.units < 100


def test_logs_of_a_block(busy: Chain) -> None:
    cache, view = BlockCache(), busy.ledger.view()
    found = []
    for height in range(busy.head.height + 1):
        stored = cache.block_at(view, height)
        assert stored is not None
        found += logs_of_block(stored)
    assert found == list(every_log(busy))


def test_an_older_view_knows_no_later_block(make_chain: MakeChain) -> None:
    chain = make_chain()
    chain.fund("ann")
    before = chain.ledger.view()
    chain.fund("bob")
    assert {found.height for found in search_logs(before, LogFilter(0, 9))} == {1}
    assert {found.height for found in search_logs(chain.ledger.view(), LogFilter(0, 9))} == {1, 2}


def test_too_many_logs_name_a_range_that_works(make_chain: MakeChain) -> None:
    chain = make_chain(account_quota=100_000)
    people = chain.people
    chain.fund("ann")
    for block in range(3):
        chain.add_block(*(people.transfer("ann", "bob", 1, nonce=1 + 4_000 * block + each) for each in range(4_000)))
    view = chain.ledger.view()
    wanted = LogFilter(0, chain.head.height, frozenset((TOKEN,)), (frozenset((TRANSFER_EVENT.topic,)),))
    with pytest.raises(TooMuch) as refused:
        search_logs(view, wanted)
    assert str(refused.value) == f"query returned more than {MAX_LOGS} results. Try with this block range [0x0, 0x3]."
    narrowed = search_logs(view, LogFilter(refused.value.from_height, refused.value.to_height))
    assert len(narrowed) == 2 + 8_000
    assert len(search_logs(view, LogFilter(4, 4))) == 4_000


def test_one_block_is_given_whatever_it_holds(make_chain: MakeChain) -> None:
    chain = make_chain(account_quota=100_000, max_block_transactions=100_000, max_block_recoveries=100_000)
    people = chain.people
    chain.fund("ann")
    count = MAX_LOGS + 1
    chain.add_block(*(people.transfer("ann", "bob", 1, nonce=1 + each) for each in range(count)))
    view = chain.ledger.view()
    assert len(search_logs(view, LogFilter(2, 2))) == count
    with pytest.raises(TooMuch) as refused:
        search_logs(view, LogFilter(1, 2))
    assert (refused.value.from_height, refused.value.to_height) == (1, 1)


def _end_of_range(view: StateView, wanted: LogFilter) -> int:
    """How far the search says to go."""
    try:
        search_logs(view, wanted, max_work_units=300)
    except TooMuch as refused:
        return refused.to_height
    return wanted.to_height


def test_a_dear_search_names_a_range_that_works(make_chain: MakeChain) -> None:
    """With little work allowed: the blocks that would cost a second take minutes to make."""
    chain = make_chain()
    chain.fund(*NAMES)
    for height in range(2, 200):  # Ann pays in odd blocks, Bob in even ones.
        payer, payee = (("ann", "cat"), ("bob", "dan"))[height % 2]
        chain.add_block(chain.people.transfer(payer, payee, 1, nonce=height // 2))
    view = chain.ledger.view()
    ann, dan = (frozenset((topic_of(chain.people.address(name)),)) for name in ("ann", "dan"))
    for topics in ((None, ann, dan), (frozenset((TRANSFER_EVENT.topic,)), ann)):
        found, start, ends = [], 0, []
        while start <= chain.head.height:
            end = _end_of_range(view, LogFilter(start, chain.head.height, topics=topics))
            found += search_logs(view, LogFilter(start, end, topics=topics), max_work_units=300)
            ends.append(end)
            start = end + 1
        assert len(ends) > 1
        assert [each.height for each in found] == [
            each.height for each in every_log(chain) if is_wanted(each.log, LogFilter(0, 0, topics=topics))
        ]


def test_what_an_account_did_elsewhere_is_not_read(make_chain: MakeChain) -> None:
    """Ann takes part in every block but the last, and is minted for in two of them; Bob in all but the last mint."""
    chain = make_chain()
    chain.fund("ann", "bob")
    for nonce in range(1, 30):
        chain.add_block(chain.people.transfer("ann", "bob", 1, nonce=nonce))
    chain.add_block(chain.people.mint("ann", 5, nonce=30))
    chain.add_block(chain.people.transfer("bob", "cat", 5, nonce=1))
    view, head, ann = chain.ledger.view(), chain.head.height, topic_of(chain.people.address("ann"))
    minted = frozenset((MINTED_EVENT.topic,))
    by_ann = LogFilter(0, head, frozenset((MINTER,)), (minted, frozenset((ann,))))
    assert list(candidate_heights(view, by_ann, Work())) == [1, 31]
    assert [each.height for each in search_logs(view, by_ann)] == [1, 31]
    by_bob = (minted, frozenset((topic_of(chain.people.address("bob")),)))
    assert list(candidate_heights(view, LogFilter(0, head, topics=by_bob), Work())) == [1]
    no_address = frozenset((Hash32(b"\1" + ann[1:]),))
    assert list(candidate_heights(view, LogFilter(0, head, topics=(None, no_address)), Work())) == []
    work = Work()
    assert list(candidate_heights(view, LogFilter(2, 30, topics=(minted, frozenset((ann,)))), work)) == []
    assert work.units < 30  # Leaps over what lies between, whichever list is the longer one.
