"""What may wait, what is dropped, and what a block gets; and that no history breaks the pool's promises."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.node.mempool import Mempool
from chain.node.pool_limits import LaneLimits, PoolLimits
from chain.primitives.client_request import ClientRequest, sign_client_request
from chain.primitives.escrow import DEPOSIT
from chain.primitives.hashing import sha256
from chain.primitives.market import (
    ADD_AUTHORITY,
    CLAW_BACK,
    GRANT_CREDENTIAL,
    ISSUE_ASSET,
    MINT_ASSET,
    REMOVE_AUTHORITY,
    AssetFlag,
    asset_address,
)
from chain.primitives.modules import (
    ADD_ISSUER,
    ESCROW,
    EXECUTE,
    GOVERNANCE,
    HTLC,
    MARKET,
    PAUSE,
    PROPOSE,
    TOKEN,
    TOKEN_TRANSFER,
)
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.settlement import Settlement
from chain.primitives.swaps import CLAIM, LOCK, swap_id
from chain.primitives.transaction import Transaction
from chain.primitives.types import ATOMS_PER_AIT, Address, Amount
from chain.rules.admission import Lane

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.chain.conftest import Chain, MakeChain

NOW_MS = 1_700_000_500_000
SMALL = PoolLimits(
    lanes={
        Lane.MEMBER: LaneLimits(max_per_sender=4, max_transactions=6, max_bytes=1_400),
        Lane.ROLE: LaneLimits(max_per_sender=1, max_transactions=1, max_bytes=1_400),
        Lane.MINT: LaneLimits(max_per_sender=2, max_transactions=3, max_bytes=100_000),
        Lane.REGISTRATION: LaneLimits(max_per_sender=1, max_transactions=2, max_bytes=100_000),
        Lane.CLOSING: LaneLimits(max_per_sender=2, max_transactions=3, max_bytes=100_000),
    },
    max_age_ms=10_000,
)


class AgeClock:
    """A clock that never jumps, moved by the test."""

    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        return self.ms


def pool_on(chain: Chain, limits: PoolLimits | None = None, age_clock_ms: AgeClock | None = None) -> Mempool:
    pool = Mempool(
        limits or PoolLimits(),
        age_clock_ms=age_clock_ms or AgeClock(),
        chain_id=chain.people.network.chain_id,
        recover=chain.ledger.signatures.recover,
        decode=chain.ledger.transactions.decode,
    )
    pool.rebase(chain.ledger.view(), chain.head)
    return pool


def add(pool: Mempool, *transactions: Transaction, now_ms: int = NOW_MS) -> None:
    for transaction in transactions:
        pool.add(transaction.raw, now_ms)


def refusal(pool: Mempool, transaction: Transaction) -> RejectionReason:
    """Why it is not taken; the pool must be as before."""
    before = contents(pool)
    with pytest.raises(Rejected) as caught:
        pool.add(transaction.raw, NOW_MS)
    assert contents(pool) == before
    return caught.value.reason


def contents(pool: Mempool) -> tuple[int, int, dict[Lane, int], list[bytes]]:
    return len(pool), pool.size_bytes, pool.lane_sizes(), [transaction.hash for transaction in pool.select()]


def make_block(chain: Chain, pool: Mempool) -> list[Transaction]:
    """What the runner does: select, propose, commit, re-check. Returns what got in."""
    candidate = chain.propose(*pool.select())
    pool.drop_rejected(candidate.rejected)
    chain.commit(candidate)
    pool.rebase(chain.ledger.view(), chain.head)
    included = [transaction.hash for transaction in candidate.outcome.transactions]
    for sender in pool.senders_touched(candidate.outcome.changes):
        pool.recheck(sender, NOW_MS, included)
    return list(candidate.outcome.transactions)


def test_same_bytes_again_change_nothing(chain: Chain) -> None:
    chain.fund("ann")
    pool = pool_on(chain)
    transfer = chain.people.transfer("ann", "bob", 1, nonce=1)
    first = pool.add(transfer.raw, NOW_MS)
    assert pool.add(transfer.raw, NOW_MS + 5) is first
    assert len(pool) == 1


def test_nonces_have_no_gap(chain: Chain) -> None:
    chain.fund("ann")
    pool, transfer = pool_on(chain), chain.people.transfer
    assert refusal(pool, transfer("ann", "bob", 1, nonce=0)) is RejectionReason.NONCE_TOO_LOW
    assert refusal(pool, transfer("ann", "bob", 1, nonce=2)) is RejectionReason.NONCE_TOO_HIGH
    add(pool, transfer("ann", "bob", 1, nonce=1), transfer("ann", "bob", 1, nonce=2))
    assert pool.next_nonce(chain.people.address("ann")) == 3
    assert refusal(pool, transfer("ann", "bob", 1, nonce=4)) is RejectionReason.NONCE_TOO_HIGH


def test_nonce_is_replaced_at_most_three_times(chain: Chain) -> None:
    chain.fund("ann")
    pool, transfer = pool_on(chain), chain.people.transfer
    add(pool, transfer("ann", "bob", 1, nonce=1), transfer("ann", "bob", 1, nonce=2))
    wishes = [transfer("ann", "bob", value, nonce=1) for value in (2, 3, 4)]
    add(pool, *wishes)
    assert refusal(pool, transfer("ann", "bob", 5, nonce=1)) is RejectionReason.TOO_MANY_REPLACEMENTS
    assert [each.value for each in pool.select()] == [4, 1]
    dropped = pool.why_dropped(wishes[0].hash)
    assert dropped is not None
    assert "replaced" in dropped.message


def test_waiting_transactions_together_stay_within_the_balance(chain: Chain) -> None:
    chain.fund("ann", atoms=10 * ATOMS_PER_AIT)
    pool, transfer = pool_on(chain), chain.people.transfer
    add(pool, transfer("ann", "bob", 6 * ATOMS_PER_AIT, nonce=1))
    assert refusal(pool, transfer("ann", "bob", 6 * ATOMS_PER_AIT, nonce=2)) is RejectionReason.INSUFFICIENT_FUNDS
    add(pool, transfer("ann", "bob", 4 * ATOMS_PER_AIT, nonce=2))
    assert refusal(pool, transfer("ann", "bob", 7 * ATOMS_PER_AIT, nonce=1)) is RejectionReason.INSUFFICIENT_FUNDS
    add(pool, transfer("ann", "bob", 5 * ATOMS_PER_AIT, nonce=1))


def test_one_mint_per_receipt_waits(chain: Chain) -> None:
    pool, people = pool_on(chain), chain.people
    receipt_hash = people.receipt_hash()
    add(pool, people.mint("ann", 5, nonce=0, receipt_hash=receipt_hash))
    rival = people.mint("bob", 5, nonce=0, receipt_hash=receipt_hash)
    assert refusal(pool, rival) is RejectionReason.RECEIPT_PENDING
    # Its own sender may replace it by another for the same receipt.
    add(pool, people.mint("ann", 6, nonce=0, receipt_hash=receipt_hash))
    assert len(pool) == 1


def test_one_mint_or_settlement_per_receipt_waits(chain: Chain) -> None:
    people = chain.people
    chain.fund("cat")
    receipt_hash, now_s = people.receipt_hash(), chain.head.time_ms // 1_000
    deposit = DEPOSIT.encode("hub", 50, now_s + 10_000)
    assert not chain.add_block(people.send("cat", ESCROW, nonce=1, data=deposit)).rejected
    request = ClientRequest(
        chain_id=people.network.chain_id,
        audience="hub",
        prompt_hash=receipt_hash,
        parameters_hash=receipt_hash,
        max_price=Amount(5),
        nonce=receipt_hash,
        expiry=now_s,
    )
    settlement = Settlement(
        client=people.address("cat"),
        request=request,
        client_signature=sign_client_request(people.key("cat"), request),
        providers=(people.address("ann"),),
        amounts=(5,),
        receipt_hash=receipt_hash,
    )
    call = settlement.call_data(people.key("attester").sign(settlement.digest))
    settling = people.send("bob", ESCROW, nonce=0, data=call)
    minting = people.mint("ann", 5, nonce=0, receipt_hash=receipt_hash)
    other_pool, pool = pool_on(chain), pool_on(chain)
    for each, first, second in ((other_pool, settling, minting), (pool, minting, settling)):
        add(each, first)
        assert each.lane_sizes()[Lane.MINT] == 1
        assert refusal(each, second) is RejectionReason.RECEIPT_PENDING
    # Once one of them is in a block, nothing waits for the receipt any more.
    candidate = chain.add_block(settling)
    pool.rebase(chain.ledger.view(), chain.head)
    assert pool.senders_touched(candidate.outcome.changes) == [people.address("ann")]
    pool.recheck(people.address("ann"), chain.head.time_ms + 1)
    assert len(pool) == 0
    assert refusal(pool, minting) is RejectionReason.RECEIPT_USED


def test_member_without_an_attestation_cannot_keep_a_mint_waiting(chain: Chain) -> None:
    chain.fund("eve")
    pool, people = pool_on(chain), chain.people
    receipt_hash = people.receipt_hash()
    forged = people.mint("eve", 5, nonce=1, receipt_hash=receipt_hash, attester="eve")
    assert refusal(pool, forged) is RejectionReason.NOT_AN_ATTESTER
    add(pool, people.mint("ann", 5, nonce=0, receipt_hash=receipt_hash))


def test_full_member_lane_keeps_out_neither_mints_nor_governance(chain: Chain) -> None:
    chain.fund("ann", "bob", "provider")
    pool, people = pool_on(chain, SMALL), chain.people
    add(pool, *(people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 5)))
    add(pool, *(people.transfer("bob", "ann", 1, nonce=nonce) for nonce in range(1, 3)))
    assert refusal(pool, people.transfer("provider", "ann", 1, nonce=1)) is RejectionReason.MEMPOOL_FULL
    add(pool, people.mint("provider", 5, nonce=1))
    add(pool, people.send("validator", GOVERNANCE, nonce=0, data=PROPOSE.encode(GOVERNANCE, PAUSE.encode())))
    assert pool.lane_sizes() == {Lane.MEMBER: 6, Lane.ROLE: 1, Lane.MINT: 1, Lane.REGISTRATION: 0, Lane.CLOSING: 0}


def test_newcomers_only_mint_for_good_receipts_or_register(chain: Chain) -> None:
    pool, people = pool_on(chain), chain.people
    assert refusal(pool, people.transfer("eve", "bob", 0, nonce=0)) is RejectionReason.NEWCOMER_CALL
    assert refusal(pool, people.mint("eve", 5, nonce=0, attester="eve")) is RejectionReason.NOT_AN_ATTESTER
    add(pool, people.register("eve", nonce=0), people.mint("ann", 5, nonce=0))
    assert pool.lane_sizes() == {Lane.MEMBER: 0, Lane.ROLE: 0, Lane.MINT: 1, Lane.REGISTRATION: 1, Lane.CLOSING: 0}


def test_a_newcomer_claims_what_was_locked_for_it_and_nothing_else(chain: Chain) -> None:
    chain.fund("ann")
    people, secret = chain.people, b"\x07" * 32
    deadline = chain.head.header.time_ms // 1_000 + 1_000_000
    terms = (sha256(secret), people.address("eve"), TOKEN, 5, deadline)
    chain.add_block(people.send("ann", HTLC, nonce=1, data=LOCK.encode(*terms)))
    id_ = swap_id(terms[0], people.address("ann"), *terms[1:])
    pool, claim = pool_on(chain), CLAIM.encode(id_, secret)
    assert refusal(pool, people.send("bob", HTLC, nonce=0, data=claim)) is RejectionReason.NEWCOMER_CALL
    wrong = people.send("eve", HTLC, nonce=0, data=CLAIM.encode(id_, bytes(32)))
    assert refusal(pool, wrong) is RejectionReason.WRONG_SECRET
    add(pool, people.send("eve", HTLC, nonce=0, data=claim))
    assert pool.lane_sizes()[Lane.CLOSING] == 1
    assert len(make_block(chain, pool)) == 1
    assert chain.balance("eve") == 5


def test_every_lane_and_sender_is_bounded(chain: Chain) -> None:
    chain.fund("ann", "bob")
    pool, people = pool_on(chain, SMALL), chain.people
    add(pool, *(people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 5)))
    assert refusal(pool, people.transfer("ann", "bob", 1, nonce=5)) is RejectionReason.MEMPOOL_FULL
    large = people.transfer("bob", "ann", 1, nonce=1, data=b"x" * 256)
    add(pool, large, people.transfer("bob", "ann", 1, nonce=2, data=b"x" * 256))
    assert refusal(pool, people.transfer("bob", "ann", 1, nonce=3)) is RejectionReason.MEMPOOL_FULL
    # Neither a full member lane nor a full lane of registrations stands in the way of a mint.
    add(pool, people.register("cat", nonce=0), people.register("dan", nonce=0))
    assert refusal(pool, people.register("eve", nonce=0)) is RejectionReason.MEMPOOL_FULL
    add(pool, *(people.mint(name, 5, nonce=0) for name in ("cat2", "dan2", "eve2")))
    assert refusal(pool, people.mint("fay", 5, nonce=0)) is RejectionReason.MEMPOOL_FULL
    # A full lane still lets somebody replace, and bytes count.
    add(pool, people.transfer("bob", "ann", 2, nonce=1))
    assert pool.size_bytes == sum(len(each.raw) for each in pool.select())


def test_lane_is_bounded_in_bytes(chain: Chain) -> None:
    chain.fund("ann", "bob", "cat")
    pool, people = pool_on(chain, SMALL), chain.people
    for name in ("ann", "bob", "cat"):
        add(pool, people.transfer(name, "dan", 1, nonce=1, data=b"x" * 256))
    assert refusal(pool, people.transfer("ann", "dan", 1, nonce=2, data=b"x" * 256)) is RejectionReason.MEMPOOL_FULL
    assert pool.size_bytes <= 1_400


def test_old_transactions_expire_with_what_follows_them(chain: Chain) -> None:
    chain.fund("ann", "bob")
    clock = AgeClock()
    pool, transfer = pool_on(chain, SMALL, clock), chain.people.transfer
    old, follower, other = (
        transfer("ann", "bob", 1, nonce=1),
        transfer("ann", "bob", 1, nonce=2),
        transfer("bob", "ann", 1, nonce=1),
    )
    add(pool, old)
    clock.ms = 9_000
    add(pool, follower, other)
    clock.ms = 9_999
    pool.expire()
    assert len(pool) == 3
    clock.ms = 10_000
    pool.expire()
    assert [each.hash for each in pool.select()] == [other.hash]
    dropped = pool.why_dropped(follower.hash)
    assert dropped is not None
    assert "earlier transaction" in dropped.message
    assert pool.drops.total() == 2
    clock.ms = 19_000
    add(pool, transfer("ann", "bob", 1, nonce=1))
    assert pool.get(other.hash) is None


def test_wall_clock_that_jumps_drops_nothing(chain: Chain) -> None:
    chain.fund("ann", "bob")
    pool, transfer = pool_on(chain, SMALL), chain.people.transfer
    add(pool, transfer("ann", "bob", 1, nonce=1))
    add(pool, transfer("bob", "ann", 1, nonce=1), now_ms=NOW_MS + 3_600_000)
    add(pool, transfer("ann", "bob", 1, nonce=2), now_ms=NOW_MS - 3_600_000)
    pool.expire()
    assert len(pool) == 3


def test_selection_goes_on_where_unfinalized_blocks_end(chain: Chain) -> None:
    chain.fund("ann", "bob")
    pool, transfer = pool_on(chain), chain.people.transfer
    ann, bob = chain.people.address("ann"), chain.people.address("bob")
    transfers = [transfer("ann", "cat", 1, nonce=nonce) for nonce in (1, 2, 3)]
    add(pool, *transfers, transfer("bob", "cat", 1, nonce=1))
    assert [each.hash for each in pool.select({ann: 3, bob: 2})] == [transfers[2].hash]
    assert pool.covered_by({ann: 3, bob: 2}) == 3
    # Another transaction has used the nonce there: the one that waits is not it, and cannot be executed either.
    add(pool, transfer("ann", "cat", 7, nonce=2))
    assert [each.hash for each in pool.select({ann: 3, bob: 2})] == [transfers[2].hash]
    assert pool.select({ann: 9, bob: 9}) == []
    assert len(pool.select()) == 4


def test_what_no_block_on_the_head_takes_does_not_wait_for_ever(chain: Chain) -> None:
    chain.fund("ann", "bob")
    pool, transfer = pool_on(chain), chain.people.transfer
    first, second = transfer("ann", "cat", 1, nonce=1), transfer("ann", "cat", 1, nonce=2)
    came_meanwhile = transfer("bob", "cat", 1, nonce=1)
    add(pool, first, second, came_meanwhile)
    pool.drop_firsts([(first, Rejected(RejectionReason.NEWCOMER_CALL, "no"))])
    assert pool.select() == [came_meanwhile]
    reasons = [dropped.reason for each in (first, second) if (dropped := pool.why_dropped(each.hash))]
    assert reasons == [RejectionReason.NEWCOMER_CALL, RejectionReason.NONCE_TOO_HIGH]


def test_selection_takes_turns_between_senders(chain: Chain) -> None:
    chain.fund("ann", "bob", "cat")
    pool, transfer = pool_on(chain), chain.people.transfer
    add(pool, *(transfer("ann", "bob", 1, nonce=nonce) for nonce in (1, 2, 3)))
    add(pool, transfer("bob", "ann", 1, nonce=1), transfer("cat", "ann", 1, nonce=1))
    senders = [each.recover_sender(chain.ledger.signatures.recover) for each in pool.select()]
    ann, bob, cat = (chain.people.address(name) for name in ("ann", "bob", "cat"))
    assert senders == [ann, bob, cat, ann, ann]


def test_selection_stops_at_the_blocks_bounds(make_chain: MakeChain) -> None:
    chain = make_chain(max_block_transactions=3, max_block_recoveries=32)
    chain.fund("ann", "bob")
    pool, people = pool_on(chain), chain.people
    add(pool, *(people.transfer("ann", "bob", 1, nonce=nonce) for nonce in range(1, 6)))
    assert len(pool.select()) == 3
    assert [len(make_block(chain, pool)) for _ in range(3)] == [3, 2, 0]
    assert len(pool) == 0


def test_block_takes_out_what_it_includes_and_what_it_makes_impossible(chain: Chain) -> None:
    chain.fund("ann", "bob")
    pool, people = pool_on(chain), chain.people
    receipt_hash = people.receipt_hash()
    doomed = people.mint("cat", 5, nonce=0, receipt_hash=receipt_hash)
    stays = people.transfer("bob", "ann", 1, nonce=1)
    add(pool, doomed, stays, people.transfer("ann", "bob", 1, nonce=1), people.transfer("ann", "bob", 2, nonce=2))
    # A block from elsewhere: ann's nonce 1 is used for something else, the receipt by somebody else.
    candidate = chain.add_block(
        people.transfer("ann", "dan", 99, nonce=1),
        people.mint("dan", 5, nonce=0, receipt_hash=receipt_hash),
    )
    assert not candidate.rejected
    pool.rebase(chain.ledger.view(), chain.head)
    touched = pool.senders_touched(candidate.outcome.changes)
    assert people.address("bob") not in touched
    for sender in touched:
        pool.recheck(sender, NOW_MS)
    assert [each.value for each in pool.select()] == [1, 2]
    dropped = pool.why_dropped(doomed.hash)
    assert dropped is not None
    assert dropped.reason is RejectionReason.RECEIPT_USED


def test_governance_makes_everybody_be_checked_again(chain: Chain) -> None:
    pool, people = pool_on(chain), chain.people
    add(pool, people.mint("ann", 5, nonce=0))
    propose = people.send("validator", GOVERNANCE, nonce=0, data=PROPOSE.encode(GOVERNANCE, PAUSE.encode()))
    execute = people.send("validator", GOVERNANCE, nonce=1, data=EXECUTE.encode(1))
    candidate = chain.add_block(propose, execute)
    assert [result.status for result in candidate.outcome.results] == [1, 1]
    pool.rebase(chain.ledger.view(), chain.head)
    for sender in pool.senders_touched(candidate.outcome.changes):
        pool.recheck(sender, NOW_MS)
    assert len(pool) == 0
    assert refusal(pool, people.mint("ann", 5, nonce=0)) is RejectionReason.MINTING_PAUSED


def add_block(chain: Chain, pool: Mempool, *transactions: Transaction) -> None:
    """One from elsewhere, in which all succeed; the pool checks again what it touches."""
    candidate = chain.add_block(*transactions)
    assert [result.status for result in candidate.outcome.results] == [1] * len(transactions)
    pool.rebase(chain.ledger.view(), chain.head)
    for sender in pool.senders_touched(candidate.outcome.changes):
        pool.recheck(sender, NOW_MS)


def decision(chain: Chain, number: int, target: Address, call_data: bytes) -> list[Transaction]:
    """The first, second, … of the only validator."""
    calls = PROPOSE.encode(target, call_data), EXECUTE.encode(number)
    return [
        chain.people.send("validator", GOVERNANCE, nonce=2 * number - 2 + index, data=data)
        for index, data in enumerate(calls)
    ]


def test_a_removed_authority_that_holds_nothing_has_nothing_waiting(chain: Chain) -> None:
    pool, people = pool_on(chain), chain.people
    add_block(chain, pool, *decision(chain, 1, MARKET, ADD_AUTHORITY.encode(people.address("ann"))))
    grant = GRANT_CREDENTIAL.encode(people.address("bob"), 276, 1, 2**40, bytes(32))
    add(pool, people.send("ann", MARKET, nonce=0, data=grant))
    add_block(chain, pool, *decision(chain, 2, MARKET, REMOVE_AUTHORITY.encode(people.address("ann"))))
    assert len(pool) == 0


def test_whose_asset_was_taken_back_has_nothing_waiting(chain: Chain) -> None:
    """It was all that he had; nothing else of his account has changed."""
    pool, people = pool_on(chain), chain.people
    coin, ann = asset_address(1), people.address("ann")
    add_block(chain, pool, *decision(chain, 1, GOVERNANCE, ADD_ISSUER.encode(people.address("bank"))))
    calls = (
        ISSUE_ASSET.encode("Worth nothing", "COIN", 6, 0, AssetFlag.CLAWBACK, bytes(32)),
        MINT_ASSET.encode(coin, ann, 5),
        CLAW_BACK.encode(coin, ann, 5),
    )
    issue, mint, claw_back = (people.send("bank", MARKET, nonce=nonce, data=data) for nonce, data in enumerate(calls))
    add_block(chain, pool, issue, mint)
    add(pool, people.send("ann", coin, nonce=0, data=TOKEN_TRANSFER.encode(people.address("bob"), 1)))
    add_block(chain, pool, claw_back)
    assert len(pool) == 0


def test_newcomer_who_got_coins_moves_to_the_members_lane(chain: Chain) -> None:
    pool, people = pool_on(chain), chain.people
    add(pool, people.mint("ann", ATOMS_PER_AIT, nonce=0), people.register("ann", nonce=1))
    candidate = chain.propose(pool.select()[0])
    chain.commit(candidate)
    pool.rebase(chain.ledger.view(), chain.head)
    pool.recheck(people.address("ann"), NOW_MS)
    assert pool.lane_sizes() == {Lane.MEMBER: 1, Lane.ROLE: 0, Lane.MINT: 0, Lane.REGISTRATION: 0, Lane.CLOSING: 0}
    assert len(make_block(chain, pool)) == 1
    assert chain.balance("ann") == ATOMS_PER_AIT


NAMES = ("ann", "bob", "cat")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("transfer"), st.sampled_from(NAMES), st.integers(0, 5), st.integers(0, 60)),
        st.tuples(st.just("mint"), st.sampled_from((*NAMES, "eve")), st.integers(0, 5), st.integers(1, 4)),
        st.tuples(st.just("register"), st.sampled_from((*NAMES, "eve")), st.integers(0, 3), st.just(0)),
        st.tuples(st.sampled_from(["block", "foreign block", "expire"]), st.just(""), st.just(0), st.just(0)),
    ),
    max_size=25,
)


def check_promises(pool: Mempool, chain: Chain, limits: PoolLimits) -> None:
    selected = pool.select()
    assert len(pool) == len({each.hash for each in selected}) == len(selected)
    assert pool.size_bytes == sum(len(each.raw) for each in selected)
    receipts = [entry.receipt_hash for each in selected if (entry := pool.get(each.hash)) and entry.receipt_hash]
    assert len(receipts) == len(set(receipts))
    nonces: dict[bytes, list[int]] = {}
    for each in selected:
        nonces.setdefault(each.recover_sender(chain.ledger.signatures.recover), []).append(each.nonce)
    for sender, used in nonces.items():
        first = chain.state().account(sender).nonce  # type: ignore[arg-type]
        assert used == list(range(first, first + len(used)))
    for lane, size in pool.lane_sizes().items():
        assert size <= limits.lanes[lane].max_transactions


@given(steps=STEPS, seed=st.integers(0, 2**32))
def test_no_history_breaks_the_pools_promises(
    tmp_path_factory: pytest.TempPathFactory,
    chain_in: Callable[[Path], Chain],
    steps: list[tuple[str, str, int, int]],
    seed: int,
) -> None:
    chain = chain_in(tmp_path_factory.mktemp("pool"))
    try:
        chain.fund(*NAMES, atoms=50 * ATOMS_PER_AIT)
        clock = AgeClock()
        pool, people, clock_ms = pool_on(chain, SMALL, clock), chain.people, NOW_MS
        shuffled = random.Random(seed)
        for kind, name, nonce, amount in steps:
            elapsed_ms = shuffled.randrange(3_000)
            clock_ms, clock.ms = clock_ms + elapsed_ms, clock.ms + elapsed_ms
            try:
                if kind == "transfer":
                    target = shuffled.choice(NAMES)
                    pool.add(people.transfer(name, target, amount * ATOMS_PER_AIT, nonce=nonce).raw, clock_ms)
                elif kind == "mint":
                    receipt_hash = bytes(31) + bytes((amount,))
                    pool.add(people.mint(name, amount, nonce=nonce, receipt_hash=receipt_hash).raw, clock_ms)  # type: ignore[arg-type]
                elif kind == "register":
                    pool.add(people.register(name, nonce=nonce).raw, clock_ms)
                elif kind == "block":
                    make_block(chain, pool)
                elif kind == "expire":
                    pool.expire()
                else:
                    _foreign_block(chain, pool, shuffled)
            except Rejected:
                assert kind in ("transfer", "mint", "register")
            check_promises(pool, chain, SMALL)
        supply = chain.state().supply()
        everybody = sum(chain.balance(name) for name in (*NAMES, "eve"))
        assert supply.circulating == everybody
    finally:
        chain.ledger.close()


def _foreign_block(chain: Chain, pool: Mempool, shuffled: random.Random) -> None:
    """A block that somebody else made of what waits here, in another order, and of something unknown."""
    waiting = pool.select()
    own = shuffled.sample(waiting, shuffled.randint(0, len(waiting)))
    name = shuffled.choice(NAMES)
    nonce = chain.state().account(chain.people.address(name)).nonce
    candidate = chain.add_block(chain.people.transfer(name, "ann", ATOMS_PER_AIT, nonce=nonce), *own)
    pool.rebase(chain.ledger.view(), chain.head)
    included = [transaction.hash for transaction in candidate.outcome.transactions]
    for sender in pool.senders_touched(candidate.outcome.changes):
        pool.recheck(sender, NOW_MS, included)
