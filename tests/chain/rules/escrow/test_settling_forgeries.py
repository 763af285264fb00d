"""What settles nothing: bad forms, forged and foreign signatures, attesters that may not; each changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import modules
from chain.primitives.escrow import (
    SETTLE,
)
from chain.primitives.hashing import keccak256
from chain.primitives.keys import CURVE_ORDER
from chain.primitives.modules import ESCROW, GOVERNANCE, MINTER, TOKEN
from chain.primitives.receipt import attestation_digest, mint_split_digest
from chain.primitives.records import Domain, Supply, Usage
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip191_digest
from chain.primitives.types import ZERO_ADDRESS, Address
from chain.rules.attesting import MAX_SHARES
from tests.chain.rules.escrow.paid_jobs import (
    DEPOSITED,
    PRICE,
    RECEIPT,
    assert_nothing_paid,
    changed,
    deposit,
    held,
    request,
    send,
    settlement,
    signed,
    with_signatures,
)

if TYPE_CHECKING:
    from tests.chain.rules.conftest import Chain, MakeChain

# Form


def test_shares_and_their_recipients(paying_chain: Chain) -> None:
    chain = paying_chain
    good = settlement(chain, request(chain), [("one", 1), ("two", 2)], receipt_hash=RECEIPT)
    one, two = good.providers
    invalid_split, invalid_recipient = RejectionReason.INVALID_SPLIT, RejectionReason.INVALID_RECIPIENT
    everybody = [Address(keccak256(b"%d" % index)[12:]) for index in range(MAX_SHARES + 1)]
    cases: list[tuple[dict[str, Any], RejectionReason]] = [
        ({"providers": (), "amounts": ()}, invalid_split),
        ({"providers": (one,)}, invalid_split),
        ({"amounts": (1, 2, 3)}, invalid_split),
        ({"providers": (one, one)}, invalid_split),
        ({"providers": tuple(everybody), "amounts": (0,) * (MAX_SHARES + 1)}, invalid_split),
        ({"providers": (one, ZERO_ADDRESS)}, invalid_recipient),
        ({"providers": (ESCROW, two)}, invalid_recipient),
        ({"providers": (one, Address(TOKEN[:19] + b"\xee"))}, invalid_recipient),
        ({"fee_recipient": chain.address("hub")}, invalid_recipient),
        ({"fee": 1}, invalid_recipient),
        ({"fee": 1, "fee_recipient": ESCROW}, invalid_recipient),
        ({"fee": 1, "fee_recipient": TOKEN}, invalid_recipient),
    ]
    for changes, reason in cases:
        chain.refuse(send(chain, "courier", changed(good, **changes)), reason)
    assert_nothing_paid(chain)
    most = changed(good, providers=tuple(everybody[:-1]), amounts=(1,) * MAX_SHARES)
    chain.add(send(chain, "courier", most))
    assert held(chain) == DEPOSITED - MAX_SHARES


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request_audience": ""}, RejectionReason.MALFORMED),
        ({"request_audience": "x" * 65}, RejectionReason.MALFORMED),
        ({"request_audience": "h\0b"}, RejectionReason.MALFORMED),
        ({"request_expiry": 2**40 + 1}, RejectionReason.OUT_OF_RANGE),
        ({"request_expiry": 2**64 - 1}, RejectionReason.OUT_OF_RANGE),
    ],
)
def test_no_request(paying_chain: Chain, changes: dict[str, Any], reason: RejectionReason) -> None:
    settled = changed(settlement(paying_chain, request(paying_chain), receipt_hash=RECEIPT), **changes)
    paying_chain.refuse(send(paying_chain, "courier", settled), reason)


# Forgeries


def test_every_field_of_the_request_is_what_the_client_signed(paying_chain: Chain) -> None:
    """The chain computes the hash itself: attesters that collude cannot pass off other terms as the client's."""
    chain = paying_chain
    chain.add(deposit(chain, audience="other-hub"))
    good = settlement(chain, request(chain), receipt_hash=RECEIPT)
    for changes in (
        {"request_audience": "other-hub"},
        {"request_prompt_hash": keccak256(b"x")},
        {"request_parameters_hash": keccak256(b"x")},
        {"request_max_price": PRICE + 1},
        {"request_nonce": keccak256(b"x")},
        {"request_expiry": good.request.expiry + 1},
    ):
        chain.refuse(send(chain, "courier", changed(good, **changes)), RejectionReason.BAD_SIGNATURE)
    chain.add(send(chain, "courier", good))


def test_the_client_has_signed_this_and_nothing_else(paying_chain: Chain) -> None:
    chain = paying_chain
    asked = request(chain)
    good = settlement(chain, asked, receipt_hash=RECEIPT)
    alice = chain.key("alice")
    signature = good.client_signature
    r, s, v = signature[:32], signature[32:64], signature[64]
    high_s = (CURVE_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    bad = RejectionReason.BAD_SIGNATURE
    cases: list[tuple[bytes, RejectionReason]] = [
        (b"", bad),
        (signature[:64], bad),
        (signature + b"\0", bad),
        (bytes(65), bad),
        (b"\xff" * 65, bad),
        (r + s + bytes((v - 27,)), bad),
        (r + s + bytes((55 - v,)), bad),
        (r + high_s + bytes((55 - v,)), RejectionReason.HIGH_S),
        (r + high_s + bytes((v,)), RejectionReason.HIGH_S),
        # Others' signatures, and the client's over something else.
        (chain.key("bob").sign(asked.hash), bad),
        (chain.key("attester").sign(asked.hash), bad),
        (alice.sign(request(chain, 1).hash), bad),
        (alice.sign(eip191_digest(eip191_digest(asked.hash))), bad),
        (alice.sign(good.digest), bad),
        (alice.sign(RECEIPT), bad),
        (alice.sign(request(chain, chain_id=chain.network.chain_id + 1).hash), bad),
    ]
    for forged, reason in cases:
        chain.refuse(send(chain, "courier", changed(good, client_signature=forged)), reason)
    assert_nothing_paid(chain)
    # Another client's good request and signature do not pay out of this one's deposit.
    bobs = settlement(chain, asked, client="bob", receipt_hash=RECEIPT)
    chain.refuse(send(chain, "courier", changed(bobs, client=chain.address("alice"))), bad)
    chain.refuse(send(chain, "courier", settlement(chain, asked, signer="bob")), bad)
    chain.add(send(chain, "courier", good))


def test_no_list_of_signatures_settles_unless_it_is_the_attesters(paying_chain: Chain) -> None:
    chain = paying_chain
    settled = settlement(chain, request(chain), receipt_hash=RECEIPT)
    good = signed(chain, settled)
    r, s, v = good[:32], good[32:64], good[64]
    high_s = (CURVE_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    count, stranger = RejectionReason.SIGNATURE_COUNT, RejectionReason.NOT_AN_ATTESTER
    for signatures, reason in (
        (b"", count),
        (b"x", count),
        (good[:64], count),
        (good + b"\0", count),
        (good + good, count),
        (bytes(130), count),
        (bytes(65), RejectionReason.BAD_SIGNATURE),
        (r + high_s + bytes((55 - v,)), RejectionReason.HIGH_S),
        (r + high_s + bytes((v,)), RejectionReason.HIGH_S),
        (r + s + bytes((55 - v,)), stranger),
        (signed(chain, settled, "alice"), stranger),
        (signed(chain, settled, "provider"), stranger),
        (signed(chain, settled, "validator-0"), stranger),
    ):
        chain.refuse(with_signatures(chain, settled, signatures), reason)
    assert_nothing_paid(chain)
    chain.add(with_signatures(chain, settled, good))


def test_the_attesters_have_signed_exactly_this(paying_chain: Chain) -> None:
    chain = paying_chain
    chain.add(deposit(chain, "bob"))
    asked = request(chain)
    good = settlement(chain, asked, [("one", 1), ("two", 2)], fee=("hub", 3), receipt_hash=RECEIPT)
    attested = signed(chain, good)
    one, two = good.providers
    for changes in (
        {"providers": (one, chain.address("thief"))},
        {"providers": (two, one)},
        {"amounts": (2, 1)},
        {"amounts": (1, 3)},
        {"fee": 2},
        {"fee_recipient": chain.address("thief")},
        {"fee": 0, "fee_recipient": ZERO_ADDRESS},
        {"receipt_hash": keccak256(b"another receipt")},
    ):
        chain.refuse(with_signatures(chain, changed(good, **changes), attested), RejectionReason.NOT_AN_ATTESTER)
    # Another request of the same client, and the same request of another client, each well signed.
    for other in (settlement(chain, request(chain, 1)), settlement(chain, asked, client="bob")):
        mixed = changed(
            good, client=other.client, client_signature=other.client_signature, request_nonce=other.request.nonce
        )
        mixed = changed(mixed, request_prompt_hash=other.request.prompt_hash)
        chain.refuse(with_signatures(chain, mixed, attested), RejectionReason.NOT_AN_ATTESTER)
    chain.add(with_signatures(chain, good, attested))


def test_what_attests_a_mint_settles_nothing_and_the_other_way_round(paying_chain: Chain) -> None:
    chain = paying_chain
    settled = settlement(chain, request(chain), receipt_hash=RECEIPT)
    provider, chain_id = chain.address("provider"), chain.network.chain_id
    attester = chain.key("attester")
    for digest in (
        attestation_digest(provider, PRICE, RECEIPT),
        mint_split_digest(chain_id, [provider], [PRICE], RECEIPT),
        RECEIPT,
        eip191_digest(RECEIPT),
        eip191_digest(settled.digest),
        settled.request.hash,
    ):
        chain.refuse(with_signatures(chain, settled, attester.sign(digest)), RejectionReason.NOT_AN_ATTESTER)
    attested = signed(chain, settled)
    mint = chain.call("courier", MINTER, modules.MINT_WITH_RECEIPT, provider, PRICE, RECEIPT, attested)
    split = chain.call("courier", MINTER, modules.MINT_SPLIT, [provider], [PRICE], RECEIPT, attested)
    for minting in (mint, split):
        chain.refuse(minting, RejectionReason.NOT_AN_ATTESTER)


def test_another_networks_signatures(paying_chain: Chain) -> None:
    chain = paying_chain
    other = chain.network.chain_id + 1
    here = settlement(chain, request(chain), receipt_hash=RECEIPT)
    there = settlement(chain, request(chain, chain_id=other), receipt_hash=RECEIPT)
    # The call names no chain: what was signed for another network is read as for this one.
    chain.refuse(with_signatures(chain, there, signed(chain, there)), RejectionReason.BAD_SIGNATURE)
    chain.refuse(with_signatures(chain, here, signed(chain, there)), RejectionReason.NOT_AN_ATTESTER)
    assert_nothing_paid(chain)


def test_no_bit_of_a_settlement_can_be_changed(paying_chain: Chain) -> None:
    chain = paying_chain
    good = send(chain, "courier", settlement(chain, request(chain), receipt_hash=RECEIPT)).data
    head = 4 + 32 * len(SETTLE.inputs)
    for position in (*range(4, 36, 3), *range(36, head, 7), *range(head, len(good), 5)):
        data = good[:position] + bytes((good[position] ^ 1,)) + good[position + 1 :]
        execution = chain.execution()
        with pytest.raises(Rejected):
            execution.add(chain.send("courier", ESCROW, data=data))
        assert execution.finish().changes == {}


# Attesters


def test_exactly_m_distinct_attesters_sign(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={f"a{index}": (10**24, 100) for index in range(1, 5)}, attester_threshold=3)
    low, middle, high, top = sorted(("a1", "a2", "a3", "a4"), key=chain.address)
    chain.add(chain.mint("alice", "alice", 2 * DEPOSITED, signers=[low, middle, high]))
    chain.add(deposit(chain))
    settled = settlement(chain, request(chain), receipt_hash=RECEIPT)

    def of(*names: str) -> bytes:
        return b"".join(chain.key(name).sign(settled.digest) for name in names)

    count, order = RejectionReason.SIGNATURE_COUNT, RejectionReason.SIGNATURE_ORDER
    for signatures, reason in (
        (of(), count),
        (of(low, middle), count),
        (of(low, middle, high, top), count),
        (of(low, low, low), order),
        (of(low, middle, middle), order),
        (of(middle, low, high), order),
        (of(high, middle, low), order),
        (of("thief", middle, high), RejectionReason.NOT_AN_ATTESTER),
    ):
        chain.refuse(with_signatures(chain, settled, signatures), reason)
    before = {name: chain.read().usage(Domain.ATTESTER_USAGE, chain.address(name), 0) for name in (low, top)}
    chain.add(with_signatures(chain, settled, of(middle, high, top)))
    after = {name: chain.read().usage(Domain.ATTESTER_USAGE, chain.address(name), 0) for name in (low, top)}
    assert after == {low: before[low], top: Usage(0, before[top].atoms, before[top].receipts + 1)}


def test_an_allowance_counts_receipts_not_atoms(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={"attester": (2 * DEPOSITED, 3)}, period_ms=100_000)
    chain.add(chain.mint("alice", "alice", 2 * DEPOSITED))  # All the atoms, and one of three receipts.
    chain.refuse(chain.mint("courier", "provider", 1), RejectionReason.ATTESTER_ALLOWANCE)
    chain.add(deposit(chain))
    first = send(chain, "a", settlement(chain, request(chain, 1)))
    second = send(chain, "b", settlement(chain, request(chain, 2)))
    third = send(chain, "c", settlement(chain, request(chain, 3)))
    chain.refuse(third, RejectionReason.ATTESTER_ALLOWANCE, after=[first, second])
    chain.add(first, second)
    chain.refuse(third, RejectionReason.ATTESTER_ALLOWANCE)
    chain.refuse(chain.mint("courier", "provider", 0), RejectionReason.ATTESTER_ALLOWANCE)
    chain.add(third, time_ms=100_000)
    assert chain.balance("provider") == 3 * PRICE


def test_an_allowance_of_atoms_that_is_overdrawn_stops_no_settlement(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={"attester": (2 * DEPOSITED, 10)}, period_ms=100_000)
    chain.add(chain.mint("alice", "alice", 2 * DEPOSITED))
    chain.add(deposit(chain))
    lowered = modules.SET_ATTESTER_ALLOWANCE.encode(chain.address("attester"), 1, 10)
    chain.govern(GOVERNANCE, lowered)
    chain.refuse(chain.mint("courier", "provider", 1), RejectionReason.ATTESTER_ALLOWANCE)
    chain.add(send(chain, "courier", settlement(chain, request(chain))))


def test_no_bound_on_minting_binds_and_a_pause_stops_nothing(make_chain: MakeChain) -> None:
    chain = make_chain(
        receipt_ceiling_atoms=10 * PRICE,
        provider_cap_atoms=10 * PRICE,
        period_cap_atoms=10 * PRICE,
        period_ms=10**6,
    )
    chain.add(chain.mint("alice", "alice", 10 * PRICE))
    chain.add(deposit(chain, value=10 * PRICE))
    chain.govern(GOVERNANCE, modules.SET_PARAMETER.encode("receipt_ceiling_atoms", 1))
    chain.govern(GOVERNANCE, modules.PAUSE.encode())
    chain.refuse(chain.mint("courier", "provider", 0), RejectionReason.MINTING_PAUSED)
    asked = request(chain, max_price=10 * PRICE)
    chain.add(send(chain, "courier", settlement(chain, asked, [("alice", 10 * PRICE)])))
    assert chain.balance("alice") == 10 * PRICE
    assert chain.read().supply() == Supply(10 * PRICE, 0)


def test_a_removed_attester_settles_no_longer(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={"attester": (10**24, 100), "thief": (10**24, 100)})
    chain.give("alice")
    chain.add(deposit(chain))
    stolen = send(chain, "courier", settlement(chain, request(chain)), signers=["thief"])
    removal = chain.decision(GOVERNANCE, modules.REMOVE_ATTESTER.encode(chain.address("thief")))
    chain.refuse(stolen, RejectionReason.NOT_AN_ATTESTER, after=removal)
