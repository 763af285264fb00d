"""The state transition: a block is what its proposer made of it, to the last field of its header, or it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from chain.primitives import modules
from chain.primitives.block import (
    PROTOCOL_VERSION,
    Block,
    TransactionResult,
    decode_block,
    results_root,
    transactions_root,
)
from chain.primitives.certificate import validators_hash
from chain.primitives.modules import GOVERNANCE, SCHEDULE_UPGRADE
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Address
from chain.rules.block import Proposal, apply_block, check_header

if TYPE_CHECKING:
    from tests.chain.rules.conftest import Chain, MakeChain

HASHES = ("parent_hash", "transactions_root", "results_root", "state_root", "next_validators_hash")
ROOTS = HASHES[1:]


def flipped(octets: bytes) -> bytes:
    """The same with its last bit changed."""
    return octets[:-1] + bytes((octets[-1] ^ 1,))


def replaced(block: Block, **fields: Any) -> Block:
    """The block with other header fields."""
    return Block(msgspec.structs.replace(block.header, **fields), block.transactions)


def assert_refused(chain: Chain, block: Block, reason: RejectionReason, field: str | None = None) -> Rejected:
    """apply_block refuses for exactly this reason; `chain.check` sees to it that the state stays."""
    with pytest.raises(Rejected) as caught:
        chain.check(block)
    assert caught.value.reason is reason, caught.value.message
    assert caught.value.values.get("field") == field
    return caught.value


@pytest.fixture
def proposal(rich_chain: Chain) -> Proposal:
    """A block with two transfers of alice's, one of bob's, a mint, and a call that fails."""
    chain = rich_chain
    built = chain.build(
        chain.transfer("alice", "carol", 5),
        chain.transfer("alice", "bob", 6, later=1),
        chain.transfer("bob", "alice", 7),
        chain.mint("dave", "dave", ATOMS_PER_AIT),
        chain.call("bob", modules.TOKEN, modules.TOKEN_TRANSFER, chain.address("erin"), 2**200, later=1),
    )
    assert [result.status for result in built.outcome.results] == [1, 1, 1, 1, 0]
    return built


def test_a_proposed_block_is_accepted_with_the_same_outcome(rich_chain: Chain, proposal: Proposal) -> None:
    block = decode_block(proposal.block.encode())
    outcome = rich_chain.check(block)
    assert outcome.changes == proposal.outcome.changes
    assert outcome.results == proposal.outcome.results
    assert [failure is None for failure in outcome.failures] == [True, True, True, True, False]
    header, validators = block.header, rich_chain.network.validator_addresses
    assert header.height == rich_chain.head.height + 1
    assert header.parent_hash == rich_chain.head.hash
    assert header.transactions_root == transactions_root([t.hash for t in outcome.transactions])
    assert header.results_root == results_root(outcome.results)
    assert header.state_root == rich_chain.state.root(outcome.changes)
    assert header.next_validators_hash == validators_hash(header.epoch, validators)


def test_an_empty_block_changes_nothing(rich_chain: Chain) -> None:
    built = rich_chain.build()
    assert built.outcome.changes == {}
    assert built.block.header.state_root == rich_chain.head.state_root
    assert rich_chain.adopt(built).transactions == ()


@pytest.mark.parametrize(
    ("field", "delta", "reason"),
    [
        ("protocol_version", 1, RejectionReason.WRONG_PROTOCOL_VERSION),
        ("protocol_version", -1, RejectionReason.WRONG_PROTOCOL_VERSION),
        ("chain_id", 1, RejectionReason.WRONG_CHAIN_ID),
        ("chain_id", -1, RejectionReason.WRONG_CHAIN_ID),
        ("epoch", 1, RejectionReason.WRONG_EPOCH),
        ("epoch", -1, RejectionReason.WRONG_EPOCH),
        ("height", 1, RejectionReason.WRONG_HEIGHT),
        ("height", -1, RejectionReason.WRONG_HEIGHT),
        ("height", 2**62, RejectionReason.WRONG_HEIGHT),
        ("time_ms", -1_000, RejectionReason.WRONG_TIME),  # The parent's own time.
        ("time_ms", -1_001, RejectionReason.WRONG_TIME),
    ],
)
def test_a_wrong_number_in_the_header(
    rich_chain: Chain, proposal: Proposal, field: str, delta: int, reason: RejectionReason
) -> None:
    wrong = getattr(proposal.block.header, field) + delta
    assert_refused(rich_chain, replaced(proposal.block, **{field: wrong}), reason)


def test_any_time_after_the_parents_is_a_valid_one(rich_chain: Chain, proposal: Proposal) -> None:
    for time_ms in (rich_chain.head.time_ms + 1, rich_chain.head.time_ms + 1_001):
        rich_chain.check(replaced(proposal.block, time_ms=time_ms))


@pytest.mark.parametrize("field", HASHES)
def test_a_wrong_hash_in_the_header(rich_chain: Chain, proposal: Proposal, field: str) -> None:
    declared = getattr(proposal.block.header, field)
    for wrong in (flipped(declared), bytes(32), declared[:31], declared + b"\0", b""):
        block = replaced(proposal.block, **{field: wrong})
        if field == "parent_hash":
            assert_refused(rich_chain, block, RejectionReason.WRONG_PARENT)
        else:
            rejection = assert_refused(rich_chain, block, RejectionReason.WRONG_ROOT, field)
            assert field in rejection.message
            assert declared.hex() in rejection.message  # What was computed stands beside what was declared.


@pytest.mark.parametrize("field", [*HASHES, "proposer"])
def test_a_hash_of_another_length_does_not_even_decode(proposal: Proposal, field: str) -> None:
    declared = getattr(proposal.block.header, field)
    for wrong in (declared[:-1], declared + b"\0", b"", 7, declared.hex()):
        with pytest.raises(Rejected) as caught:
            decode_block(replaced(proposal.block, **{field: wrong}).encode())
        assert caught.value.reason is RejectionReason.MALFORMED


def test_a_root_of_another_block_is_not_accepted(rich_chain: Chain, proposal: Proposal) -> None:
    """Every root is checked by itself: one that is right for another block does not pass."""
    other = rich_chain.build(rich_chain.transfer("alice", "carol", 6)).block.header
    for field in ROOTS[:-1]:
        block = replaced(proposal.block, **{field: getattr(other, field)})
        assert_refused(rich_chain, block, RejectionReason.WRONG_ROOT, field)


@pytest.mark.parametrize("name", ["alice", "attester", "stranger", "validator-1", "validator-2"])
def test_only_a_validator_proposes(make_chain: MakeChain, name: str) -> None:
    chain = make_chain(validators=2)
    block = chain.build().block
    if name == "validator-1":
        chain.check(replaced(block, proposer=chain.address(name)))
        return
    assert_refused(chain, replaced(block, proposer=chain.address(name)), RejectionReason.UNKNOWN_PROPOSER)
    with pytest.raises(Rejected) as caught:
        chain.build(proposer=name)
    assert caught.value.reason is RejectionReason.UNKNOWN_PROPOSER


@pytest.mark.parametrize("proposer", [ZERO_ADDRESS, GOVERNANCE, b"", bytes(19), bytes(21)])
def test_nobody_is_no_proposer(chain: Chain, proposer: bytes) -> None:
    block = replaced(chain.build().block, proposer=proposer)
    assert_refused(chain, block, RejectionReason.UNKNOWN_PROPOSER)


def test_a_genesis_block_is_not_a_next_block(chain: Chain) -> None:
    with pytest.raises(Rejected) as caught:
        check_header(chain.read(), chain.head, chain.head, chain.network.chain_id)
    assert caught.value.reason is RejectionReason.WRONG_PARENT


def test_the_same_block_is_not_applied_twice(rich_chain: Chain, proposal: Proposal) -> None:
    rich_chain.adopt(proposal)
    assert_refused(rich_chain, proposal.block, RejectionReason.WRONG_PARENT)


# The body


def test_another_body_under_the_same_header(rich_chain: Chain, proposal: Proposal) -> None:
    block = proposal.block
    first, second, *others = block.transactions
    extra = rich_chain.transfer("bob", "alice", 1, later=2).raw
    for body in (
        (second, first, *others),
        (first, first, second, *others),
        (*block.transactions, block.transactions[-1]),
        block.transactions[:-1],
        block.transactions[1:],
        (*block.transactions, extra),
        (),
    ):
        assert_refused(rich_chain, Block(block.header, body), RejectionReason.WRONG_ROOT, field="transactions_root")


@pytest.mark.parametrize(
    ("order", "reason", "field"),
    [
        ((1, 0, 2, 3, 4), RejectionReason.NONCE_TOO_HIGH, None),
        ((0, 0, 1, 2, 3, 4), RejectionReason.NONCE_TOO_LOW, None),
        ((0, 1, 2, 3, 4, 0), RejectionReason.NONCE_TOO_LOW, None),
        ((1, 2, 3, 4), RejectionReason.NONCE_TOO_HIGH, None),
        ((0, 1, 2, 3), RejectionReason.WRONG_ROOT, "results_root"),
        ((2, 0, 1, 3, 4), RejectionReason.WRONG_ROOT, "results_root"),
        ((), RejectionReason.WRONG_ROOT, "results_root"),
    ],
)
def test_another_body_under_a_header_that_names_it(
    rich_chain: Chain, proposal: Proposal, order: tuple[int, ...], reason: RejectionReason, field: str | None
) -> None:
    transactions = [proposal.outcome.transactions[index] for index in order]
    block = rich_chain.with_body(proposal.block, [transaction.raw for transaction in transactions], transactions)
    assert_refused(rich_chain, block, reason, field)


def test_a_failed_call_cannot_be_passed_off_as_a_success(rich_chain: Chain, proposal: Proposal) -> None:
    results = (*proposal.outcome.results[:-1], TransactionResult(1, ()))
    block = replaced(proposal.block, results_root=results_root(results))
    assert_refused(rich_chain, block, RejectionReason.WRONG_ROOT, field="results_root")


def test_a_malformed_transaction_in_a_block(rich_chain: Chain, proposal: Proposal) -> None:
    good = proposal.block.transactions[0]
    for bad, reason in (
        (b"", RejectionReason.MALFORMED),
        (b"\x02", RejectionReason.MALFORMED),
        (good[:-1], RejectionReason.MALFORMED),
        (good + b"\0", RejectionReason.NON_CANONICAL),
        (b"\x01" + good[1:], RejectionReason.UNSUPPORTED_TRANSACTION_TYPE),
        (b"\x03" + good[1:], RejectionReason.UNSUPPORTED_TRANSACTION_TYPE),
        (b"\x80", RejectionReason.MALFORMED),
        (bytes(32 * 1024 + 1), RejectionReason.TOO_LARGE),
    ):
        for body in ((bad,), (*proposal.block.transactions, bad), (bad, *proposal.block.transactions)):
            assert_refused(rich_chain, Block(proposal.block.header, body), reason)


def test_bounds_of_a_block_hold_before_anything_is_decoded(make_chain: MakeChain) -> None:
    chain = make_chain(max_block_transactions=3, max_block_bytes=64 * 1024)
    header = chain.build().block.header
    assert_refused(chain, Block(header, (b"",) * 3), RejectionReason.MALFORMED)
    assert_refused(chain, Block(header, (b"",) * 4), RejectionReason.BLOCK_FULL)
    assert_refused(
        chain, Block(header, (bytes(32 * 1024), bytes(32 * 1024))), RejectionReason.UNSUPPORTED_TRANSACTION_TYPE
    )
    assert_refused(chain, Block(header, (bytes(32 * 1024), bytes(32 * 1024), b"\0")), RejectionReason.BLOCK_FULL)


def test_transactions_are_compared_with_the_header_before_they_are_executed(
    rich_chain: Chain, proposal: Proposal
) -> None:
    """A peer that swaps the body costs a decoding, not an execution: no signature is recovered."""

    def must_not_be_asked(digest: bytes, signature: bytes) -> Address:
        raise AssertionError("a signature was recovered")

    with pytest.raises(Rejected) as caught:
        apply_block(
            rich_chain.state,
            rich_chain.head,
            Block(proposal.block.header, proposal.block.transactions[:-1]),
            chain_id=rich_chain.network.chain_id,
            compute_state_root=rich_chain.state.root,
            recover=must_not_be_asked,
        )
    assert caught.value.reason is RejectionReason.WRONG_ROOT


# Proposing


def test_a_proposer_leaves_out_what_cannot_be_in_a_block(rich_chain: Chain) -> None:
    chain = rich_chain
    good = [chain.transfer("alice", "carol", 1), chain.transfer("bob", "carol", 1)]
    gap = chain.transfer("alice", "carol", 1, later=5)
    foreign = chain.transfer("bob", "carol", 1, later=1, chain_id=1)
    newcomer = chain.transfer("nobody", "carol", 1)
    built = chain.build(good[0], gap, foreign, newcomer, good[1])
    assert built.block.transactions == tuple(transaction.raw for transaction in good)
    assert [(transaction.hash, why.reason) for transaction, why in built.rejected] == [
        (gap.hash, RejectionReason.NONCE_TOO_HIGH),
        (foreign.hash, RejectionReason.WRONG_CHAIN_ID),
        (newcomer.hash, RejectionReason.NEWCOMER_CALL),
    ]
    assert built.outcome.changes == chain.build(*good).outcome.changes


def test_a_proposer_refuses_a_time_that_is_not_after_the_parents(chain: Chain) -> None:
    for time_ms in (0, -1):
        with pytest.raises(Rejected) as caught:
            chain.build(time_ms=time_ms)
        assert caught.value.reason is RejectionReason.WRONG_TIME


# Upgrades of the rules


def test_a_scheduled_upgrade_stops_software_that_does_not_know_it(chain: Chain) -> None:
    # Given an upgrade that takes effect two blocks after the one that schedules it
    height = chain.head.height + 3
    chain.govern(GOVERNANCE, SCHEDULE_UPGRADE.encode(PROTOCOL_VERSION + 1, height))
    # When the last block before it comes, then it follows the old rules
    assert chain.build().block.header.protocol_version == PROTOCOL_VERSION
    wrong = replaced(chain.build().block, protocol_version=PROTOCOL_VERSION + 1)
    assert_refused(chain, wrong, RejectionReason.WRONG_PROTOCOL_VERSION)
    last = chain.build()
    chain.add()
    assert chain.head.height == height - 1
    # When the height has come, then nothing can be proposed or applied, and the message says what to do
    with pytest.raises(Rejected) as caught:
        chain.build()
    assert caught.value.reason is RejectionReason.WRONG_PROTOCOL_VERSION
    assert "protocol version 2" in caught.value.message
    assert "Upgrade it" in caught.value.message
    for version in (PROTOCOL_VERSION, PROTOCOL_VERSION + 1):
        block = replaced(
            last.block,
            protocol_version=version,
            height=height,
            parent_hash=chain.head.hash,
            time_ms=chain.head.time_ms + 1,
        )
        rejection = assert_refused(chain, block, RejectionReason.WRONG_PROTOCOL_VERSION)
        assert rejection.message == caught.value.message
