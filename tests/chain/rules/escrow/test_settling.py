"""Served jobs are paid out of their clients' deposits: within what was signed, in time, and once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import modules
from chain.primitives.client_request import MAX_VALIDITY_S
from chain.primitives.escrow import (
    DEPOSIT_OF,
    NOTICE_S,
    PAID_EVENT,
    SETTLE_WINDOW_S,
    SETTLED_EVENT,
    SETTLEMENT_OF,
    audience_hash,
    secured_atoms,
)
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.modules import ESCROW, MINTER, REGISTRY, TOKEN, TRANSFER_EVENT, USED_RECEIPT
from chain.primitives.records import Domain, ProviderUsage, ReceiptKind, ReceiptUse, Usage
from chain.primitives.rejection import RejectionReason
from chain.primitives.settlement import Settlement
from chain.primitives.signing import eip191_digest
from chain.primitives.types import ATOMS_PER_AIT, ZERO_HASH, Amount
from chain.rules.escrow.settling import read_settlement
from chain.rules.operations import decode_call
from tests.chain.rules.escrow.paid_jobs import (
    DEPOSITED,
    EXPIRY,
    HUB,
    PRICE,
    RECEIPT,
    ask,
    assert_nothing_paid,
    changed,
    deposit,
    held,
    now_s,
    refund,
    request,
    send,
    settlement,
    with_signatures,
    withdraw,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chain.rules.conftest import Chain, MakeChain


def balance_of_deposit(chain: Chain, client: str = "alice", audience: str = HUB) -> int:
    call_data = DEPOSIT_OF.encode(chain.address(client), audience)
    atoms: int = DEPOSIT_OF.decode_output(chain.raw_view(ESCROW, call_data))[0]
    return atoms


# A good settlement


def test_a_settlement_pays_providers_and_hub(paying_chain: Chain) -> None:
    chain = paying_chain
    supply, settled = (
        chain.read().supply(),
        settlement(chain, request(chain), [("one", 3), ("two", 4)], fee=("hub", PRICE - 7), receipt_hash=RECEIPT),
    )
    outcome = chain.add(send(chain, "courier", settled))
    to_one, paid_one, to_two, paid_two, to_hub, done = outcome.results[0].logs
    for log, name, atoms in ((to_one, "one", 3), (to_two, "two", 4), (to_hub, "hub", PRICE - 7)):
        assert log.address == TOKEN
        assert TRANSFER_EVENT.decode(log.topics, log.data) == {
            "from": ESCROW,
            "to": chain.address(name),
            "value": atoms,
        }
        assert chain.balance(name) == atoms
    for log, name, atoms in ((paid_one, "one", 3), (paid_two, "two", 4)):
        assert log.address == ESCROW
        assert PAID_EVENT.decode(log.topics, log.data) == {
            "provider": chain.address(name),
            "units": atoms,
            "receiptHash": RECEIPT,
        }
    assert SETTLED_EVENT.decode(done.topics, done.data) == {
        "client": chain.address("alice"),
        "hub": audience_hash(HUB),
        "requestHash": settled.request.hash,
        "receiptHash": RECEIPT,
        "total": PRICE,
        "feeRecipient": chain.address("hub"),
        "fee": PRICE - 7,
    }
    state = chain.read()
    assert state.receipt_use(RECEIPT) == ReceiptUse(ReceiptKind.SETTLEMENT, Amount(PRICE))
    assert chain.view(MINTER, USED_RECEIPT, RECEIPT) is True
    assert chain.view(ESCROW, SETTLEMENT_OF, chain.address("alice"), settled.request.hash) == RECEIPT
    assert read_settlement(state, chain.address("alice"), settled.request.hash) == RECEIPT
    assert state.supply() == supply  # Nothing was minted.
    assert (held(chain), balance_of_deposit(chain)) == (DEPOSITED - PRICE, DEPOSITED - PRICE)


def test_what_is_charged_and_counted(paying_chain: Chain) -> None:
    chain = paying_chain
    attester = chain.address("attester")
    minted = chain.read().usage(Domain.ATTESTER_USAGE, attester, 0)
    mints = chain.read().usage(Domain.MINT_USAGE, b"", 0)
    chain.add(send(chain, "courier", settlement(chain, request(chain), [("one", 3), ("two", 4)])))
    state = chain.read()
    assert state.usage(Domain.ATTESTER_USAGE, attester, 0) == Usage(0, minted.atoms, minted.receipts + 1)
    assert state.usage(Domain.MINT_USAGE, b"", 0) == mints
    # Reputation counts what a provider was paid for, its cap what was minted.
    assert state.provider_usage(chain.address("two"), 0) == ProviderUsage(0, 0, 0, 4, 1)


def test_a_settlement_of_nothing_uses_receipt_and_request_up(paying_chain: Chain) -> None:
    chain = paying_chain
    chain.add(send(chain, "courier", settlement(chain, request(chain), [("provider", 0)], receipt_hash=RECEIPT)))
    assert held(chain) == DEPOSITED
    assert chain.read().receipt_use(RECEIPT) == ReceiptUse(ReceiptKind.SETTLEMENT, Amount(0))
    chain.refuse(send(chain, "courier", settlement(chain, request(chain))), RejectionReason.REQUEST_SETTLED)


def test_providers_are_paid_where_they_registered(paying_chain: Chain) -> None:
    chain = paying_chain
    offer = ("http://hot", ["m"], 1, "images", 0)
    chain.add(chain.call("hot", REGISTRY, modules.REGISTER, *offer, chain.address("cold")))
    outcome = chain.add(send(chain, "courier", settlement(chain, request(chain), [("hot", 9)])))
    assert (chain.balance("hot"), chain.balance("cold")) == (0, 9)
    assert PAID_EVENT.decode(outcome.results[0].logs[1].topics, outcome.results[0].logs[1].data)[
        "provider"
    ] == chain.address("hot")


def test_a_client_without_typed_data_signs_a_message(paying_chain: Chain) -> None:
    chain = paying_chain
    asked = request(chain)
    personal = chain.key("alice").sign(eip191_digest(asked.hash))
    chain.add(send(chain, "courier", changed(settlement(chain, asked), client_signature=personal)))
    assert chain.balance("provider") == PRICE


def test_anybody_may_send_it(paying_chain: Chain) -> None:
    chain = paying_chain
    for number, sender in enumerate(("newcomer", "bob", "alice", "provider", "attester", "validator-0")):
        chain.add(send(chain, sender, settlement(chain, request(chain, number), [("provider", 1)])))
    assert chain.balance("provider") == 6


def test_a_provider_serves_for_a_deposit_too(paying_chain: Chain) -> None:
    chain = paying_chain
    audience = to_checksum_address(chain.address("provider"))
    asked = request(chain, audience=audience)
    chain.refuse(send(chain, "courier", settlement(chain, asked)), RejectionReason.UNKNOWN_DEPOSIT)
    chain.add(deposit(chain, value=PRICE, audience=audience))
    chain.add(send(chain, "courier", settlement(chain, asked)))
    assert (balance_of_deposit(chain), balance_of_deposit(chain, "alice", audience)) == (DEPOSITED, 0)


# Once


def test_a_request_is_settled_once_and_a_receipt_used_once(paying_chain: Chain) -> None:
    chain = paying_chain
    first = send(chain, "courier", settlement(chain, request(chain), receipt_hash=RECEIPT))
    again = send(chain, "other", settlement(chain, request(chain), receipt_hash=RECEIPT))
    other_receipt = send(chain, "other", settlement(chain, request(chain)))
    other_request = send(chain, "other", settlement(chain, request(chain, 1), receipt_hash=RECEIPT))
    for after in ([first], []):
        chain.refuse(other_receipt, RejectionReason.REQUEST_SETTLED, after=after)
        chain.refuse(other_request, RejectionReason.RECEIPT_USED, after=after)
        chain.refuse(again, RejectionReason.REQUEST_SETTLED, after=after)
        if after:
            chain.add(first)
    chain.fail(send(chain, "bob", settlement(chain, request(chain))), RejectionReason.REQUEST_SETTLED)
    assert chain.balance("provider") == PRICE


@pytest.mark.parametrize("is_split", [False, True])
def test_mint_or_settlement_whichever_comes_first(paying_chain: Chain, is_split: bool) -> None:
    chain = paying_chain
    mint = (
        chain.split("minting", [("provider", PRICE - 1), ("other", 1)], RECEIPT)
        if is_split
        else chain.mint("minting", "provider", PRICE, RECEIPT)
    )
    settling = send(chain, "courier", settlement(chain, request(chain), receipt_hash=RECEIPT))
    # Both in one block, in either order.
    chain.refuse(settling, RejectionReason.RECEIPT_USED, after=[mint])
    chain.refuse(mint, RejectionReason.RECEIPT_USED, after=[settling])
    for first, second in ((mint, settling), (settling, mint)):
        outcome = chain.build(first, second).outcome
        assert [transaction.hash for transaction in outcome.transactions] == [first.hash]
    # Members' losers stay in the block, and nothing else happens.
    member_mint = chain.mint("bob", "provider", PRICE, RECEIPT)
    member_settling = send(chain, "bob", settlement(chain, request(chain), receipt_hash=RECEIPT))
    chain.fail(member_settling, RejectionReason.RECEIPT_USED, after=[mint])
    chain.fail(member_mint, RejectionReason.RECEIPT_USED, after=[settling])
    # And in different blocks.
    minted = chain.build(mint)
    chain.adopt(minted)
    chain.refuse(settling, RejectionReason.RECEIPT_USED)
    assert (held(chain), read_settlement(chain.read(), chain.address("alice"), request(chain).hash)) == (
        DEPOSITED,
        None,
    )


def test_a_settled_receipt_is_never_minted(paying_chain: Chain) -> None:
    chain = paying_chain
    chain.add(send(chain, "courier", settlement(chain, request(chain), receipt_hash=RECEIPT)))
    chain.refuse(chain.mint("minting", "provider", PRICE, RECEIPT), RejectionReason.RECEIPT_USED)
    chain.refuse(chain.split("minting", [("provider", 1)], RECEIPT), RejectionReason.RECEIPT_USED)


def test_two_clients_who_signed_the_same_request_pay_each(paying_chain: Chain) -> None:
    """Or whoever holds two keys had two jobs for the price of one, and a stranger's copy blocked the first one's."""
    chain = paying_chain
    chain.add(deposit(chain, "bob"))
    asked = request(chain)
    chain.add(send(chain, "courier", settlement(chain, asked, client="bob")))
    chain.add(send(chain, "courier", settlement(chain, asked, client="alice")))
    assert chain.balance("provider") == 2 * PRICE
    for client in ("alice", "bob"):
        chain.refuse(send(chain, "courier", settlement(chain, asked, client=client)), RejectionReason.REQUEST_SETTLED)


# Within what the client signed, and has put aside


def test_never_more_than_the_signed_maximum(paying_chain: Chain) -> None:
    chain = paying_chain
    for shares, fee in (
        ([("provider", PRICE + 1)], None),
        ([("one", PRICE), ("two", 1)], None),
        ([("provider", PRICE)], ("hub", 1)),
        ([("provider", 0)], ("hub", PRICE + 1)),
        ([("provider", 2**256 - 1)], ("hub", 2)),
        ([("one", 2**256 - 1), ("two", 2**256 - 1)], None),
    ):
        settled = settlement(chain, request(chain), shares, fee=fee, receipt_hash=RECEIPT)
        chain.refuse(send(chain, "courier", settled), RejectionReason.PRICE_LIMIT)
    chain.refuse(
        send(chain, "courier", settlement(chain, request(chain, max_price=0), [("provider", 1)])),
        RejectionReason.PRICE_LIMIT,
    )
    assert_nothing_paid(chain)


def test_a_deposit_too_small_pays_nothing(paying_chain: Chain) -> None:
    chain = paying_chain
    dear = request(chain, max_price=2**256 - 1)
    for shares, fee in (
        ([("provider", DEPOSITED + 1)], None),
        ([("one", DEPOSITED), ("two", 1)], None),
        ([("provider", DEPOSITED)], ("hub", 1)),
        ([("provider", 2**255)], None),
    ):
        settled = settlement(chain, dear, shares, fee=fee, receipt_hash=RECEIPT)
        chain.refuse(send(chain, "courier", settled), RejectionReason.INSUFFICIENT_DEPOSIT)
        chain.fail(send(chain, "bob", settled), RejectionReason.INSUFFICIENT_DEPOSIT)
    assert_nothing_paid(chain)
    chain.add(send(chain, "courier", settlement(chain, dear, [("provider", DEPOSITED)], receipt_hash=RECEIPT)))
    assert (held(chain), chain.balance("provider")) == (0, DEPOSITED)
    chain.refuse(
        send(chain, "courier", settlement(chain, request(chain, 1), [("provider", 0)])),
        RejectionReason.UNKNOWN_DEPOSIT,
    )


def test_nobody_pays_for_another(paying_chain: Chain) -> None:
    chain = paying_chain
    chain.refuse(
        send(chain, "courier", settlement(chain, request(chain), client="bob")), RejectionReason.UNKNOWN_DEPOSIT
    )
    chain.refuse(
        send(chain, "courier", settlement(chain, request(chain, audience="other-hub"))), RejectionReason.UNKNOWN_DEPOSIT
    )
    assert_nothing_paid(chain)


# Times, to the second


def test_until_the_window_after_the_expiry_is_over(paying_chain: Chain) -> None:
    chain = paying_chain
    settling = send(chain, "courier", settlement(chain, request(chain), receipt_hash=RECEIPT))
    last_s = EXPIRY + SETTLE_WINDOW_S
    chain.refuse(settling, RejectionReason.REQUEST_EXPIRED, time_ms=(last_s + 1) * 1_000)
    assert_nothing_paid(chain)
    chain.add(settling, time_ms=last_s * 1_000 + 999)


def test_a_request_of_the_far_future_was_accepted_by_nobody(paying_chain: Chain) -> None:
    chain = paying_chain
    latest = now_s(chain) + MAX_VALIDITY_S
    for expiry in (latest + 1, 2**40):
        settled = settlement(chain, request(chain, expiry=expiry), receipt_hash=RECEIPT)
        chain.refuse(send(chain, "courier", settled), RejectionReason.OUT_OF_RANGE)
    chain.add(send(chain, "courier", settlement(chain, request(chain, expiry=latest), receipt_hash=RECEIPT)))


def test_the_deadline_ends_settling_in_the_second_that_refunds(paying_chain: Chain) -> None:
    chain = paying_chain
    chain.give("carol", amount=10 * ATOMS_PER_AIT)
    deadline = now_s(chain) + 100
    chain.add(deposit(chain, "carol", value=PRICE, deadline=deadline))
    settling = send(chain, "courier", settlement(chain, request(chain), client="carol"))
    refunding = refund(chain, "bob", "carol")
    chain.refuse(settling, RejectionReason.DEADLINE_PASSED, time_ms=deadline * 1_000)
    chain.fail(refunding, RejectionReason.DEADLINE_AHEAD, time_ms=deadline * 1_000 - 1)
    assert chain.build(refunding, time_ms=deadline * 1_000).outcome.results[0].status == 1
    chain.add(settling, time_ms=deadline * 1_000 - 1)
    chain.fail(refunding, RejectionReason.UNKNOWN_DEPOSIT, time_ms=deadline * 1_000)


def test_what_is_secured_can_be_settled_up_to_that_second(paying_chain: Chain) -> None:
    """The hub's question, answered as it would: whatever the client does afterwards, a request that was covered is."""
    chain = paying_chain
    asked = request(chain, expiry=now_s(chain) + MAX_VALIDITY_S, max_price=DEPOSITED)
    until_s = asked.expiry + SETTLE_WINDOW_S

    def secured() -> int:
        values = DEPOSIT_OF.decode_output(chain.raw_view(ESCROW, DEPOSIT_OF.encode(chain.address("alice"), HUB)))
        names = ("balance", "deadline", "withdrawal", "withdrawable_from")
        return secured_atoms(until_s=until_s, **dict(zip(names, values, strict=True)))

    assert secured() == DEPOSITED  # So the hub accepts it, and in the very next block the client wants it all back.
    accepted_s = now_s(chain)
    chain.add(ask(chain, "alice", DEPOSITED), time_ms=(accepted_s + 1) * 1_000)
    assert accepted_s + 1 + NOTICE_S > until_s
    assert secured() == DEPOSITED
    chain.fail(withdraw(chain, "alice"), RejectionReason.NOTICE_PERIOD, time_ms=until_s * 1_000 + 999)
    settling = send(chain, "courier", settlement(chain, asked, [("provider", DEPOSITED)]))
    chain.add(settling, time_ms=until_s * 1_000 + 999)
    assert chain.balance("provider") == DEPOSITED


def test_what_is_not_secured() -> None:
    terms = {"balance": 10, "deadline": 100, "withdrawal": 4, "withdrawable_from": 50}
    assert [secured_atoms(**terms, until_s=until) for until in (49, 50, 99, 100, 101)] == [10, 6, 6, 0, 0]
    nothing_asked = {**terms, "withdrawal": 0, "withdrawable_from": 0}
    assert [secured_atoms(**nothing_asked, until_s=until) for until in (0, 99, 100)] == [10, 10, 0]


# Blocks


def test_the_recoveries_of_a_block_count_client_and_attesters(make_chain: MakeChain) -> None:
    names = [f"a{index}" for index in range(5)]
    chain = make_chain(
        attesters=dict.fromkeys(names, (10**30, 10**6)), attester_threshold=5, max_block_recoveries=32, account_quota=50
    )
    chain.add(chain.mint("alice", "alice", 2 * DEPOSITED, signers=names))
    chain.add(deposit(chain))
    # One for the transaction, two for the client, five for the attesters.
    settling = [
        send(chain, f"s{number}", settlement(chain, request(chain, number)), signers=names) for number in range(5)
    ]
    chain.refuse(settling[4], RejectionReason.BLOCK_FULL, after=settling[:4])
    chain.add(*settling[:4])
    # Those above the threshold are not looked at, and do not count.
    settled = settlement(chain, request(chain, 9))
    many = chain.attest(settled.digest, names) * 20
    chain.refuse(with_signatures(chain, settled, many), RejectionReason.SIGNATURE_COUNT)


def test_a_member_that_fails_pays_for_it(make_chain: MakeChain) -> None:
    chain = make_chain(base_fee_atoms=3)
    chain.give("alice", "bob")
    chain.add(deposit(chain, max_fee=3, gas_limit=10**6))
    dear = settlement(chain, request(chain), [("provider", PRICE + 1)])
    failing = send(chain, "bob", dear, max_fee=3, gas_limit=10**6)
    chain.fail(failing, RejectionReason.PRICE_LIMIT, fee=3 * failing.gas_used)
    # A newcomer relays for nothing.
    chain.add(send(chain, "courier", settlement(chain, request(chain))))


def test_what_the_call_says_before_it_is_executed(paying_chain: Chain) -> None:
    chain = paying_chain
    settled = settlement(chain, request(chain), receipt_hash=RECEIPT)
    for count in (0, 1, 3):
        call = decode_call(with_signatures(chain, settled, bytes(65 * count + 64)))
        assert call is not None
        assert call.receipt_hash == RECEIPT
        looked_at = (65 * count + 64) // 65
        assert (call.recoveries, call.recoveries_within(2)) == (2 + looked_at, 2 + min(looked_at, 2))
        assert Settlement.from_arguments(chain.network.chain_id, call.arguments) == (settled, bytes(65 * count + 64))


def test_views_of_nothing(chain: Chain) -> None:
    nobody: Sequence[Any] = (chain.address("nobody"), keccak256(b"no request"))
    assert chain.view(ESCROW, SETTLEMENT_OF, *nobody) == ZERO_HASH
