"""One transaction after another: nobody overdraws, nothing is replayed, failures cost what they must, bounds hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.primitives import modules, rlp
from chain.primitives.hashing import keccak256
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.modules import (
    ESCROW,
    GOVERNANCE,
    HTLC,
    MARKET,
    MINTER,
    REGISTRY,
    TOKEN,
    TOKEN_APPROVE,
    TOKEN_TRANSFER,
    TRANSFER_EVENT,
)
from chain.primitives.records import Domain, Supply, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction, decode_transaction
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chain.rules.conftest import Chain, MakeChain

HELD = 100 * ATOMS_PER_AIT
CALL_GAS = 100_000  # Beside 16 per byte of data.


# Balances


def test_two_transfers_with_the_same_nonce_cannot_overdraw(rich_chain: Chain) -> None:
    # Given 100 AIT, and two signed transfers of 60 AIT with the same nonce
    chain, amount = rich_chain, 60 * ATOMS_PER_AIT
    first, second = chain.transfer("alice", "carol", amount), chain.transfer("alice", "dave", amount)
    # When both come in one block, then only one of them can be in it
    chain.refuse(second, RejectionReason.NONCE_TOO_LOW, after=[first])
    chain.refuse(first, RejectionReason.NONCE_TOO_LOW, after=[second])
    chain.refuse(first, RejectionReason.NONCE_TOO_LOW, after=[first])
    # When they come in two blocks, then the second is refused as well
    chain.add(first)
    chain.refuse(second, RejectionReason.NONCE_TOO_LOW)
    assert (chain.balance("alice"), chain.balance("carol"), chain.balance("dave")) == (HELD - amount, amount, 0)


def test_two_transfers_in_a_row_cannot_overdraw(rich_chain: Chain) -> None:
    chain, amount = rich_chain, 60 * ATOMS_PER_AIT
    first, second = chain.transfer("alice", "carol", amount), chain.transfer("alice", "dave", amount, later=1)
    chain.refuse(second, RejectionReason.INSUFFICIENT_FUNDS, after=[first])
    chain.add(first)
    chain.refuse(second, RejectionReason.INSUFFICIENT_FUNDS)


def test_a_balance_can_be_spent_to_the_last_atom_and_not_beyond(rich_chain: Chain) -> None:
    chain = rich_chain
    for value in (HELD + 1, 2**255, 2**256 - 1):
        chain.refuse(chain.transfer("alice", "carol", value), RejectionReason.INSUFFICIENT_FUNDS)
    chain.add(chain.transfer("alice", "carol", HELD))
    assert (chain.balance("alice"), chain.balance("carol")) == (0, HELD)
    assert chain.nonce("alice") == 2  # An account that has sent something stays, so nothing can be replayed.
    assert state_key(Domain.ACCOUNT, chain.address("alice")) in chain.state.records


def test_what_came_in_this_block_can_be_spent_in_it(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(chain.transfer("alice", "bob", HELD), chain.transfer("bob", "carol", 2 * HELD))
    assert [chain.balance(name) for name in ("alice", "bob", "carol")] == [0, 0, 2 * HELD]


def test_transfers_to_oneself_and_of_nothing(rich_chain: Chain) -> None:
    chain = rich_chain
    outcome = chain.add(
        chain.transfer("alice", "alice", HELD),
        chain.transfer("alice", "alice", 0, later=1),
        chain.transfer("alice", "carol", 0, later=2),
    )
    assert chain.balance("alice") == HELD
    # A transfer of nothing leaves no record behind at its recipient.
    assert list(outcome.changes) == [state_key(Domain.ACCOUNT, chain.address("alice"))]
    chain.refuse(chain.transfer("alice", "alice", HELD + 1), RejectionReason.INSUFFICIENT_FUNDS)


def test_a_plain_transfer_emits_what_an_erc20_would(rich_chain: Chain) -> None:
    outcome = rich_chain.add(rich_chain.transfer("alice", "carol", 42))
    (log,) = outcome.results[0].logs
    assert log.address == TOKEN
    assert TRANSFER_EVENT.decode(log.topics, log.data) == {
        "from": rich_chain.address("alice"),
        "to": rich_chain.address("carol"),
        "value": 42,
    }
    assert outcome.senders == (rich_chain.address("alice"),)


# Nonces and replays


def test_nonces_are_strict_and_sequential(rich_chain: Chain) -> None:
    chain = rich_chain
    assert chain.nonce("alice") == 1  # The mint.
    for nonce in (2, 3, 2**63, 2**64 - 2):
        chain.refuse(chain.transfer("alice", "carol", 1, nonce=nonce), RejectionReason.NONCE_TOO_HIGH)
    chain.refuse(chain.transfer("alice", "carol", 1, nonce=0), RejectionReason.NONCE_TOO_LOW)
    chain.add(*(chain.transfer("alice", "carol", 1, later=later) for later in range(3)))
    assert chain.nonce("alice") == 4


def test_nothing_is_replayed(rich_chain: Chain) -> None:
    chain = rich_chain
    sent = [chain.transfer("alice", "carol", 1), chain.mint("dave", "dave", ATOMS_PER_AIT)]
    chain.add(*sent)
    for _ in range(2):
        for transaction in sent:
            chain.refuse(transaction, RejectionReason.NONCE_TOO_LOW)
        chain.add()


@pytest.mark.parametrize("chain_id", [0, 1, 11_155_111, 3_141_592_652, 3_141_592_654, 2**32 - 1])
def test_a_transaction_of_another_network(rich_chain: Chain, chain_id: int) -> None:
    transaction = rich_chain.transfer("alice", "carol", 1, chain_id=chain_id)
    rejection = rich_chain.refuse(transaction, RejectionReason.WRONG_CHAIN_ID)
    assert str(chain_id) in rejection.message


def _legacy(key: PrivateKey, chain_id: int, nonce: int, to: Address, value: int) -> Transaction:
    fields: list[rlp.Item] = [
        rlp.encode_integer(nonce),
        b"",
        rlp.encode_integer(21_000),
        to,
        rlp.encode_integer(value),
        b"",
    ]
    signature = key.sign(keccak256(rlp.encode([*fields, rlp.encode_integer(chain_id), b"", b""])))
    v = 35 + 2 * chain_id + signature[64] - 27
    ending: list[rlp.Item] = [rlp.encode_integer(v), signature[:32].lstrip(b"\0"), signature[32:64].lstrip(b"\0")]
    return decode_transaction(rlp.encode([*fields, *ending]))


def test_legacy_and_type_2_envelopes_share_the_nonce(rich_chain: Chain, key_named: Callable[[str], PrivateKey]) -> None:
    chain, alice = rich_chain, key_named("alice")
    legacy = _legacy(alice, chain.network.chain_id, 1, chain.address("carol"), 60 * ATOMS_PER_AIT)
    modern = chain.transfer("alice", "carol", 60 * ATOMS_PER_AIT)
    chain.refuse(modern, RejectionReason.NONCE_TOO_LOW, after=[legacy])
    chain.refuse(legacy, RejectionReason.NONCE_TOO_LOW, after=[modern])
    foreign = _legacy(alice, 1, 1, chain.address("carol"), 1)
    chain.refuse(foreign, RejectionReason.WRONG_CHAIN_ID)
    chain.add(legacy)
    assert chain.balance("carol") == 60 * ATOMS_PER_AIT


def test_a_changed_transaction_is_somebody_elses(rich_chain: Chain) -> None:
    """Any changed byte gives another sender, who holds nothing, or no transaction at all; never another of alice's."""
    chain = rich_chain
    raw = chain.transfer("alice", "carol", 5).raw
    reasons = set()
    for position in range(len(raw)):
        changed = raw[:position] + bytes((raw[position] ^ 4,)) + raw[position + 1 :]
        try:
            transaction = decode_transaction(changed)
            chain.execution().add(transaction)
            pytest.fail(f"byte {position} can be changed")
        except Rejected as rejected:
            reasons.add(rejected.reason)
    assert RejectionReason.NEWCOMER_CALL in reasons or RejectionReason.NONCE_TOO_HIGH in reasons


def test_high_s_is_no_second_form_of_a_transaction(rich_chain: Chain) -> None:
    transaction = rich_chain.transfer("alice", "carol", 5)
    fields = rlp.decode(transaction.raw, 1)
    assert isinstance(fields, list)
    parity, s = fields[9], fields[11]
    assert isinstance(s, bytes)
    fields[9] = b"" if parity else b"\x01"
    fields[11] = rlp.encode_integer(CURVE_ORDER - int.from_bytes(s, "big"))
    with pytest.raises(Rejected) as caught:
        decode_transaction(b"\x02" + rlp.encode(fields))
    assert caught.value.reason is RejectionReason.HIGH_S


# Recipients and data


@pytest.mark.parametrize("value", [0, 1, HELD])
def test_nothing_goes_to_the_zero_address(rich_chain: Chain, value: int) -> None:
    transaction = rich_chain.send("alice", ZERO_ADDRESS, value=value)
    rich_chain.refuse(transaction, RejectionReason.INVALID_RECIPIENT)


@pytest.mark.parametrize(
    "module", [*modules.MODULES.values(), Address(TOKEN[:19] + b"\x00"), Address(TOKEN[:19] + b"\xff")]
)
def test_no_value_goes_to_a_module(rich_chain: Chain, module: Address) -> None:
    for data in (b"", b"\0", TOKEN_TRANSFER.selector[:3], b"\0\0\0\0", bytes(300)):
        rich_chain.refuse(rich_chain.send("alice", module, value=1, data=data), RejectionReason.UNKNOWN_CALL)
        rich_chain.refuse(rich_chain.send("alice", module, data=data), RejectionReason.UNKNOWN_CALL)


def test_a_module_call_takes_no_value(rich_chain: Chain) -> None:
    chain = rich_chain
    call = TOKEN_TRANSFER.encode(chain.address("carol"), 5)
    for value in (1, HELD, 2**256 - 1):
        chain.refuse(chain.send("alice", TOKEN, value=value, data=call), RejectionReason.VALUE_TO_MODULE)
    chain.add(chain.send("alice", TOKEN, data=call))


def test_a_view_is_no_transaction(rich_chain: Chain) -> None:
    chain = rich_chain
    views = [(module, function) for module, functions in modules.FUNCTIONS.items() for function in functions]
    for module, function in views:
        if function.is_view:
            transaction = chain.send("alice", module, data=function.selector + bytes(32 * len(function.inputs)))
            chain.refuse(transaction, RejectionReason.UNKNOWN_CALL)


@pytest.mark.parametrize("module", [ESCROW, MARKET, HTLC, MINTER, GOVERNANCE, REGISTRY])
def test_a_call_of_another_module_is_unknown(rich_chain: Chain, module: Address) -> None:
    call = TOKEN_TRANSFER.encode(rich_chain.address("carol"), 5)
    rich_chain.refuse(rich_chain.send("alice", module, data=call), RejectionReason.UNKNOWN_CALL)


def test_loose_abi_encoding_is_no_call(rich_chain: Chain) -> None:
    chain = rich_chain
    call = TOKEN_TRANSFER.encode(chain.address("carol"), 5)
    for data, reason in (
        (call + b"\0", RejectionReason.NON_CANONICAL),
        (call + bytes(32), RejectionReason.NON_CANONICAL),
        (call[:-1], RejectionReason.MALFORMED),
        (call[:4], RejectionReason.MALFORMED),
        (call[:4] + b"\1" + call[5:], RejectionReason.NON_CANONICAL),
    ):
        chain.refuse(chain.send("alice", TOKEN, data=data), reason)


def test_a_transfer_carries_a_short_note_at_most(rich_chain: Chain) -> None:
    chain = rich_chain
    for length in (257, 1_000, 30_000):
        transaction = chain.transfer("alice", "carol", 1, data=bytes(length))
        chain.refuse(transaction, RejectionReason.DATA_TOO_LARGE)
    chain.add(
        chain.transfer("alice", "carol", 1, data=bytes(256)),
        chain.transfer("alice", "carol", 1, data=TOKEN_TRANSFER.encode(chain.address("dave"), 5), later=1),
    )
    assert (chain.balance("carol"), chain.balance("dave")) == (2, 0)


# Failed calls


def test_a_failed_call_of_a_member_costs_its_nonce_and_nothing_else(rich_chain: Chain) -> None:
    chain = rich_chain
    call = chain.call("alice", TOKEN, TOKEN_TRANSFER, chain.address("carol"), HELD + 1)
    chain.fail(call, RejectionReason.INSUFFICIENT_FUNDS)
    proposal = chain.build(call, chain.transfer("alice", "carol", HELD, later=1))
    chain.adopt(proposal)
    assert [result.status for result in proposal.outcome.results] == [0, 1]
    chain.refuse(call, RejectionReason.NONCE_TOO_LOW)
    assert (chain.nonce("alice"), chain.balance("carol")) == (3, HELD)


def test_neighbours_of_a_bad_transaction_are_untouched(rich_chain: Chain) -> None:
    chain = rich_chain
    receipt = chain.receipt_hash()
    good = [
        chain.transfer("alice", "carol", 1),
        chain.mint("erin", "erin", 5, receipt),
        chain.transfer("bob", "carol", 2),
    ]
    alone = chain.build(*good).outcome
    bad = [
        chain.transfer("bob", "carol", HELD * 3),
        chain.mint("frank", "frank", 5, receipt),
        chain.transfer("frank", "carol", 1),
        chain.send("alice", MINTER, data=b"\1\2\3\4", later=1),
    ]
    mixed = chain.build(good[0], bad[0], good[1], bad[1], bad[2], good[2], bad[3])
    assert len(mixed.rejected) == len(bad)
    assert mixed.outcome.changes == alone.changes
    assert mixed.block == chain.build(*good).block


# Fees


def test_no_fee_is_taken_by_default_whatever_is_offered(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(chain.transfer("alice", "carol", 1, gas_limit=0, max_fee=10**18, max_priority_fee=10**18))
    assert chain.balance("alice") == HELD - 1
    assert chain.read().supply().burned == 0


@pytest.fixture
def fee_chain(make_chain: MakeChain) -> Chain:
    """Alice and bob hold 100 AIT each, and the base fee is 10^9 atoms per gas."""
    chain = make_chain(base_fee_atoms=10**9)
    chain.give("alice", "bob")
    return chain


def test_the_base_fee_is_burned(fee_chain: Chain) -> None:
    chain, fee = fee_chain, 21_000 * 10**9
    chain.add(chain.transfer("alice", "carol", 5, max_fee=10**9), chain.transfer("bob", "alice", 7, max_fee=10**12))
    assert chain.balance("alice") == HELD - 5 - fee + 7
    assert chain.balance("bob") == HELD - 7 - fee  # The offered fee above the base fee is not taken.
    assert chain.read().supply() == Supply(2 * HELD, 2 * fee)
    assert chain.view(TOKEN, modules.TOKEN_TOTAL_SUPPLY) == 2 * HELD - 2 * fee


@pytest.mark.parametrize(
    ("gas_limit", "max_fee"), [(21_000, 0), (21_000, 10**9 - 1), (20_999, 10**9), (0, 10**9), (0, 0)]
)
def test_an_offer_below_the_base_fee(fee_chain: Chain, gas_limit: int, max_fee: int) -> None:
    transaction = fee_chain.transfer("alice", "carol", 5, gas_limit=gas_limit, max_fee=max_fee)
    fee_chain.refuse(transaction, RejectionReason.FEE_TOO_LOW)


def test_value_and_fee_together_must_be_there(fee_chain: Chain) -> None:
    chain, fee = fee_chain, 21_000 * 10**9
    too_much = chain.transfer("alice", "carol", HELD - fee + 1, max_fee=10**9)
    chain.refuse(too_much, RejectionReason.INSUFFICIENT_FUNDS)
    chain.add(chain.transfer("alice", "carol", HELD - fee, max_fee=10**9))
    assert chain.balance("alice") == 0


def test_a_failed_call_pays_its_fee(fee_chain: Chain) -> None:
    chain = fee_chain
    call = chain.call("alice", TOKEN, TOKEN_TRANSFER, chain.address("carol"), HELD, max_fee=10**9)
    fee = call.gas_used * 10**9
    assert call.gas_used == CALL_GAS + 16 * len(call.data)
    chain.fail(call, RejectionReason.INSUFFICIENT_FUNDS, fee=fee)  # The fee comes first, so HELD is too much by it.
    fitting = chain.call("alice", TOKEN, TOKEN_TRANSFER, chain.address("carol"), HELD - fee, max_fee=10**9)
    chain.add(fitting)
    assert (chain.balance("alice"), chain.balance("carol")) == (0, HELD - fee)


def test_a_member_cannot_dodge_the_fee_by_spending_first(fee_chain: Chain) -> None:
    """Standing is judged by the parent state: who was rich pays, or is not in the block."""
    chain, fee = fee_chain, 21_000 * 10**9
    spend_all = chain.transfer("alice", "carol", HELD - fee, max_fee=10**9)
    for free in (
        chain.mint("alice", "alice", 5, later=1, max_fee=10**9),
        chain.call("alice", TOKEN, TOKEN_APPROVE, chain.address("carol"), 5, later=1, max_fee=10**9),
        chain.call("alice", REGISTRY, modules.WITHDRAW, later=1, max_fee=10**9),
    ):
        chain.refuse(free, RejectionReason.INSUFFICIENT_FUNDS, after=[spend_all])
        chain.refuse(
            free,
            RejectionReason.INSUFFICIENT_FUNDS,
            after=[spend_all, chain.transfer("bob", "alice", 9, max_fee=10**9)],
        )


# Bounds of a block


def test_account_quota(make_chain: MakeChain) -> None:
    chain = make_chain(account_quota=3)
    chain.give("alice", "bob")
    sent = [chain.transfer("alice", "carol", 1, later=later) for later in range(4)]
    chain.refuse(sent[3], RejectionReason.ACCOUNT_QUOTA, after=sent[:3])
    failing = [
        chain.call("alice", TOKEN, TOKEN_TRANSFER, chain.address("carol"), 2**255, later=later) for later in range(3)
    ]
    chain.refuse(sent[3], RejectionReason.ACCOUNT_QUOTA, after=failing)  # Failed ones count as well.
    chain.add(*sent[:3], chain.transfer("bob", "carol", 1))
    chain.add(sent[3])


def test_block_transactions(make_chain: MakeChain) -> None:
    chain = make_chain(max_block_transactions=3)
    chain.give("alice", "bob")
    sent = [chain.transfer("alice", "carol", 1, later=later) for later in range(3)]
    chain.refuse(chain.transfer("bob", "carol", 1), RejectionReason.BLOCK_FULL, after=sent)
    chain.add(*sent)


def test_block_bytes_to_the_byte(make_chain: MakeChain) -> None:
    lowest = 64 * 1024
    chain = make_chain(max_block_bytes=lowest)
    chain.give("alice", "bob")
    notes = [chain.transfer("alice", "carol", 1, data=bytes(256), later=later) for later in range(200)]
    fitting: list[Transaction] = []
    while sum(len(transaction.raw) for transaction in fitting) + len(notes[len(fitting)].raw) <= lowest:
        fitting.append(notes[len(fitting)])
    room = lowest - sum(len(transaction.raw) for transaction in fitting)
    # A signature's r and s have leading zeros now and then, so the length is found by trying.
    tried = [chain.transfer("bob", "carol", 1, data=bytes(size)) for size in range(257)]
    exact = next(transaction for transaction in tried if len(transaction.raw) == room)
    above = next(transaction for transaction in tried if len(transaction.raw) == room + 1)
    chain.refuse(above, RejectionReason.BLOCK_FULL, after=fitting)
    chain.add(*fitting, exact)


def test_block_recoveries(make_chain: MakeChain) -> None:
    """A transfer recovers one signature, a mint one more for each attester."""
    attesters = {f"attester-{index}": (10**30, 10**6) for index in range(3)}
    chain = make_chain(attesters=attesters, attester_threshold=3, max_block_recoveries=32)
    mints = [chain.mint(f"p{index}", f"p{index}", ATOMS_PER_AIT, signers=list(attesters)) for index in range(9)]
    chain.refuse(mints[8], RejectionReason.BLOCK_FULL, after=mints[:8])  # 8 × 4 = 32
    chain.add(*mints[:8])
    transfers = [chain.transfer("p0", "p1", 1, later=later) for later in range(29)]
    late = chain.mint("p9", "p9", 1, signers=list(attesters))
    chain.refuse(late, RejectionReason.BLOCK_FULL, after=transfers)
    chain.add(*transfers[:28], late)


def test_surplus_signatures_do_not_fill_a_block(make_chain: MakeChain) -> None:
    """They are refused before any of them is looked at, so only the threshold's count."""
    chain = make_chain(max_block_recoveries=32)
    chain.give("alice", "bob")
    arguments = (chain.address("alice"), 5, chain.receipt_hash(), bytes(65 * 400))
    garbage = [chain.call("alice", MINTER, modules.MINT_WITH_RECEIPT, *arguments, later=later) for later in range(15)]
    proposal = chain.build(*garbage, chain.transfer("bob", "carol", 1))
    assert proposal.rejected == ()
    assert [result.status for result in proposal.outcome.results] == [0] * 15 + [1]


def test_bounds_change_with_the_next_block(make_chain: MakeChain) -> None:
    chain = make_chain(account_quota=10)
    chain.give("alice")
    change = chain.decision(GOVERNANCE, modules.SET_PARAMETER.encode("account_quota", 2))
    chain.add(*change, *(chain.transfer("alice", "carol", 1, later=later) for later in range(5)))
    sent = [chain.transfer("alice", "carol", 1, later=later) for later in range(3)]
    chain.refuse(sent[2], RejectionReason.ACCOUNT_QUOTA, after=sent[:2])


@pytest.mark.parametrize("name", ["base_fee_atoms", "min_holding_atoms"])
def test_fee_and_standing_change_with_the_next_block(make_chain: MakeChain, name: str) -> None:
    """Otherwise transactions that were valid when the block was begun would not be, depending on their place in it."""
    chain = make_chain()
    chain.give("alice", amount=ATOMS_PER_AIT)
    change = chain.decision(GOVERNANCE, modules.SET_PARAMETER.encode(name, 10**18))
    transfer = chain.transfer("alice", "carol", 1, max_fee=0)
    assert chain.build(*change, transfer).outcome.changes == chain.build(transfer, *change).outcome.changes
    chain.add(*change, transfer)
    expected = RejectionReason.INSUFFICIENT_FUNDS if name == "base_fee_atoms" else RejectionReason.NEWCOMER_CALL
    chain.refuse(chain.transfer("alice", "carol", 1), expected)
