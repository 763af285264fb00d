"""AIT comes into being for an attested receipt, once, within every bound: each is met at its edge and one above."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.primitives import modules
from chain.primitives.keys import CURVE_ORDER, PrivateKey
from chain.primitives.modules import (
    GOVERNANCE,
    MINT_SPLIT,
    MINT_WITH_RECEIPT,
    MINTED_EVENT,
    MINTER,
    REGISTRY,
    TOKEN,
    TRANSFER_EVENT,
    USED_RECEIPT,
)
from chain.primitives.receipt import attestation_digest, mint_split_digest
from chain.primitives.records import Domain, ProviderUsage, ReceiptKind, ReceiptUse, Supply, Usage, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip191_digest
from chain.primitives.transaction import Transaction
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS, Address, Amount, Hash32
from chain.rules.attesting import MAX_SHARES
from chain.rules.execution import BlockExecution

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.chain.rules.conftest import Chain, MakeChain

    KeyNamed = Callable[[str], PrivateKey]

RECEIPT = Hash32(b"\x11" * 32)
AMOUNT = 5 * ATOMS_PER_AIT
HIGH = 2**200
UNBOUNDED = {"receipt_ceiling_atoms": HIGH, "provider_cap_atoms": HIGH, "period_cap_atoms": HIGH, "period_ms": 100_000}


def with_signatures(
    chain: Chain, signatures: bytes, *, sender: str = "courier", amount: int = AMOUNT, receipt: Hash32 = RECEIPT
) -> Transaction:
    """A mint for "provider" with these signatures, whatever they are."""
    arguments = (chain.address("provider"), amount, receipt, signatures)
    return chain.call(sender, MINTER, MINT_WITH_RECEIPT, *arguments)


def digest_of(chain: Chain, amount: int = AMOUNT, receipt: Hash32 = RECEIPT) -> Hash32:
    """What must be signed for "provider"."""
    return attestation_digest(chain.address("provider"), amount, receipt)


def assert_nothing_minted(chain: Chain) -> None:
    assert chain.read().supply() == Supply(0, 0)
    assert chain.read().receipt_use(RECEIPT) is None
    assert chain.view(MINTER, USED_RECEIPT, RECEIPT) is False


# A good mint


def test_a_mint_credits_the_provider_and_uses_the_receipt_up(chain: Chain) -> None:
    outcome = chain.add(chain.mint("courier", "provider", AMOUNT, RECEIPT))
    state = chain.read()
    assert chain.balance("provider") == AMOUNT
    assert state.supply() == Supply(AMOUNT, 0)
    assert state.receipt_use(RECEIPT) == ReceiptUse(ReceiptKind.MINT, Amount(AMOUNT))
    assert chain.view(MINTER, USED_RECEIPT, RECEIPT) is True
    for domain, raw_key in (
        (Domain.MINT_USAGE, b""),
        (Domain.ATTESTER_USAGE, chain.address("attester")),
    ):
        assert state.usage(domain, raw_key, 0) == Usage(0, AMOUNT, 1)
    assert state.provider_usage(chain.address("provider"), 0) == ProviderUsage(0, AMOUNT, 1, AMOUNT, 1)
    transfer, minted = outcome.results[0].logs
    assert (transfer.address, minted.address) == (TOKEN, MINTER)
    assert TRANSFER_EVENT.decode(transfer.topics, transfer.data) == {
        "from": ZERO_ADDRESS,
        "to": chain.address("provider"),
        "value": AMOUNT,
    }
    assert MINTED_EVENT.decode(minted.topics, minted.data) == {
        "provider": chain.address("provider"),
        "units": AMOUNT,
        "receiptHash": RECEIPT,
    }


def test_a_mint_of_nothing_records_the_receipt(chain: Chain) -> None:
    outcome = chain.add(chain.mint("courier", "provider", 0, RECEIPT))
    assert chain.read().supply() == Supply(0, 0)
    assert chain.read().receipt_use(RECEIPT) == ReceiptUse(ReceiptKind.MINT, Amount(0))
    assert state_key(Domain.ACCOUNT, chain.address("provider")) not in outcome.changes
    chain.refuse(chain.mint("courier", "provider", 0, RECEIPT), RejectionReason.RECEIPT_USED)
    chain.refuse(chain.mint("courier", "provider", AMOUNT, RECEIPT), RejectionReason.RECEIPT_USED)


@pytest.mark.parametrize("provider", [ZERO_ADDRESS, *modules.MODULES.values(), Address(TOKEN[:19] + b"\xee")])
def test_nothing_is_minted_for_nobody(chain: Chain, key_named: KeyNamed, provider: Address) -> None:
    for amount in (0, AMOUNT):
        signature = key_named("attester").sign(attestation_digest(provider, amount, RECEIPT))
        mint = chain.call("courier", MINTER, MINT_WITH_RECEIPT, provider, amount, RECEIPT, signature)
        chain.refuse(mint, RejectionReason.INVALID_RECIPIENT)
        other = chain.address("other")
        signature = key_named("attester").sign(
            mint_split_digest(chain.network.chain_id, [other, provider], [1, amount], RECEIPT)
        )
        arguments = ([other, provider], [1, amount], RECEIPT, signature)
        chain.refuse(chain.call("courier", MINTER, MINT_SPLIT, *arguments), RejectionReason.INVALID_RECIPIENT)


# Used once


def test_a_receipt_is_used_once_in_whatever_form(chain: Chain) -> None:
    mint = chain.mint("a", "provider", AMOUNT, RECEIPT)
    again = chain.mint("b", "provider", AMOUNT, RECEIPT)
    other_provider = chain.mint("c", "other", AMOUNT - 1, RECEIPT)
    split = chain.split("d", [("provider", 1), ("other", 2)], RECEIPT)
    for first in (mint, split):
        for second in (again, other_provider, chain.split("e", [("provider", 1)], RECEIPT)):
            chain.refuse(second, RejectionReason.RECEIPT_USED, after=[first])
    chain.add(split)
    for late in (mint, again, other_provider):
        chain.refuse(late, RejectionReason.RECEIPT_USED)
    for _ in range(3):  # And for ever.
        chain.add(time_ms=chain.head.time_ms + 10 * 86_400_000)
    chain.refuse(again, RejectionReason.RECEIPT_USED)
    assert chain.read().supply() == Supply(3, 0)


def test_a_member_that_mints_a_used_receipt_fails(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(chain.mint("alice", "provider", AMOUNT, RECEIPT))
    chain.fail(chain.mint("alice", "provider", AMOUNT, RECEIPT), RejectionReason.RECEIPT_USED)
    chain.fail(chain.mint("bob", "bob", AMOUNT, RECEIPT), RejectionReason.RECEIPT_USED)
    chain.fail(chain.split("bob", [("bob", AMOUNT)], RECEIPT), RejectionReason.RECEIPT_USED)


# Signatures


def test_no_list_of_signatures_mints_unless_it_is_the_attesters(chain: Chain, key_named: KeyNamed) -> None:
    """The existing project minted on any non-empty list."""
    good = key_named("attester").sign(digest_of(chain))
    r, s, v = good[:32], good[32:64], good[64:]
    high_s = (CURVE_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    other_v = bytes((55 - v[0],))
    count, bad, stranger = (
        RejectionReason.SIGNATURE_COUNT,
        RejectionReason.BAD_SIGNATURE,
        RejectionReason.NOT_AN_ATTESTER,
    )
    cases: list[tuple[bytes, RejectionReason]] = [
        (b"", count),
        (b"x", count),
        (b"[]", count),
        (good[:64], count),
        (good + b"\0", count),
        (good + good, count),
        (good * 3, count),
        (bytes(130), count),
        (bytes(65), bad),
        (b"\xff" * 65, bad),
        (r + s + b"\x00", bad),
        (r + s + b"\x01", bad),
        (r + s + b"\x1d", bad),
        (r + s + b"\x25", bad),
        (bytes(32) + s + v, bad),
        (r + bytes(32) + v, bad),
        (CURVE_ORDER.to_bytes(32, "big") + s + v, bad),
        (r + CURVE_ORDER.to_bytes(32, "big") + v, RejectionReason.HIGH_S),
        (r + high_s + other_v, RejectionReason.HIGH_S),
        (r + high_s + v, RejectionReason.HIGH_S),
        (r + s + other_v, stranger),
        (key_named("courier").sign(digest_of(chain)), stranger),
        (key_named("provider").sign(digest_of(chain)), stranger),
        (key_named("validator-0").sign(digest_of(chain)), stranger),
    ]
    for signatures, reason in cases:
        chain.refuse(with_signatures(chain, signatures), reason)
    swapped = chain.execution()
    with pytest.raises(Rejected):  # Whether these recover to anybody is chance.
        swapped.add(with_signatures(chain, s + r + v))
    assert swapped.finish().changes == {}
    assert_nothing_minted(chain)
    chain.add(with_signatures(chain, good))


def test_a_signature_over_anything_else_does_not_mint(chain: Chain, key_named: KeyNamed) -> None:
    provider, key = chain.address("provider"), key_named("attester")
    amount_word, receipt = AMOUNT.to_bytes(32, "big"), RECEIPT
    for digest in (
        attestation_digest(chain.address("other"), AMOUNT, receipt),
        attestation_digest(provider, AMOUNT + 1, receipt),
        attestation_digest(provider, AMOUNT - 1, receipt),
        attestation_digest(provider, AMOUNT, Hash32(bytes(32))),
        eip191_digest(receipt),  # A provider's signature of its receipt, were an attester to make one.
        receipt,
        Hash32(bytes(12) + provider),
        eip191_digest(bytes(12) + provider + amount_word + receipt),
        mint_split_digest(chain.network.chain_id, [provider], [AMOUNT], receipt),
    ):
        chain.refuse(with_signatures(chain, key.sign(digest)), RejectionReason.NOT_AN_ATTESTER)
    assert_nothing_minted(chain)


def test_no_bit_of_a_mint_can_be_changed(chain: Chain) -> None:
    good = chain.mint("courier", "provider", AMOUNT, RECEIPT).data
    for position in (*range(16, 36), *range(52, 68), *range(68, 100), *range(132, 197)):
        data = good[:position] + bytes((good[position] ^ 1,)) + good[position + 1 :]
        execution = chain.execution()
        with pytest.raises(Rejected):
            execution.add(chain.send("courier", MINTER, data=data))
        assert execution.finish().changes == {}


@pytest.fixture
def three_of_five(make_chain: MakeChain) -> Chain:
    """Five attesters a1 … a5, of whom three must sign."""
    return make_chain(attesters={f"a{index}": (10**24, 100) for index in range(1, 6)}, attester_threshold=3)


def test_exactly_m_distinct_attesters_sign(three_of_five: Chain, key_named: KeyNamed) -> None:
    chain, digest = three_of_five, digest_of(three_of_five)
    signature = {name: key_named(name).sign(digest) for name in ("a1", "a2", "a3", "a4", "a5", "thief")}
    low, middle, high, top = sorted(("a1", "a2", "a3", "a4"), key=chain.address)

    def of(*names: str) -> bytes:
        return b"".join(signature[name] for name in names)

    count, order, stranger = (
        RejectionReason.SIGNATURE_COUNT,
        RejectionReason.SIGNATURE_ORDER,
        RejectionReason.NOT_AN_ATTESTER,
    )
    for signatures, reason in (
        (of(), count),
        (of(low), count),
        (of(low, middle), count),
        (of(low, middle, high, top), count),
        (of(low, middle, high)[:-1], count),
        (of(low, middle, high) + b"\0", count),
        (of(low, low, low), order),
        (of(low, middle, middle), order),
        (of(low, low, middle), order),
        (of(middle, low, high), order),
        (of(high, middle, low), order),
        (of(low, high, middle), order),
        (of("thief", middle, high), stranger),
        (of("thief", "thief", "thief"), stranger),
        (of(low, middle) + bytes(65), RejectionReason.BAD_SIGNATURE),
    ):
        chain.refuse(with_signatures(chain, signatures), reason)
    assert_nothing_minted(chain)
    chain.add(with_signatures(chain, of(middle, high, top)))
    state = chain.read()
    usage = {name: state.usage(Domain.ATTESTER_USAGE, chain.address(name), 0) for name in (low, middle, high, top)}
    assert usage == {low: Usage(), middle: Usage(0, AMOUNT, 1), high: Usage(0, AMOUNT, 1), top: Usage(0, AMOUNT, 1)}


def test_each_of_m_attesters_stays_within_its_own_allowance(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={"big": (10**24, 100), "small": (10, 2), "other": (10**24, 100)}, attester_threshold=2)
    chain.add(chain.mint("courier", "provider", 10, signers=["big", "small"]))
    reason = RejectionReason.ATTESTER_ALLOWANCE
    chain.refuse(chain.mint("courier", "provider", 1, signers=["big", "small"]), reason)
    chain.refuse(chain.mint("courier", "provider", 1, signers=["small", "other"]), reason)
    assert chain.read().usage(Domain.ATTESTER_USAGE, chain.address("big"), 0) == Usage(0, 10, 1)  # Not charged again.
    chain.add(chain.mint("courier", "provider", 1, signers=["big", "other"]))
    chain.add(chain.mint("courier", "provider", 0, signers=["big", "small"]))
    chain.refuse(chain.mint("courier", "provider", 0, signers=["big", "small"]), reason)


def test_a_removed_attester_counts_no_longer(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={"attester": (10**24, 100), "thief": (10**24, 100)})
    stolen = chain.mint("courier", "provider", AMOUNT, signers=["thief"])
    removal = chain.decision(GOVERNANCE, modules.REMOVE_ATTESTER.encode(chain.address("thief")))
    chain.refuse(stolen, RejectionReason.NOT_AN_ATTESTER, after=removal)
    chain.add(*removal)
    chain.refuse(stolen, RejectionReason.NOT_AN_ATTESTER)


# Bounds, each at its edge

BOUNDS = {
    "receipt_ceiling_atoms": RejectionReason.RECEIPT_CEILING,
    "provider_cap_atoms": RejectionReason.PROVIDER_CAP,
    "period_cap_atoms": RejectionReason.PERIOD_CAP,
    "allowance": RejectionReason.ATTESTER_ALLOWANCE,
}


def bounded_chain(make_chain: MakeChain, bound: str, limit: int) -> Chain:
    """A chain where only this bound is low."""
    atoms = limit if bound == "allowance" else 10**30
    parameters = UNBOUNDED if bound == "allowance" else {**UNBOUNDED, bound: limit}
    return make_chain(attesters={"attester": (atoms, 10**6)}, **parameters)


@pytest.mark.parametrize("limit", [0, 1, 1_000, 7 * ATOMS_PER_AIT])
@pytest.mark.parametrize("bound", BOUNDS)
def test_one_mint_at_the_edge_of_a_bound(make_chain: MakeChain, bound: str, limit: int) -> None:
    chain = bounded_chain(make_chain, bound, limit)
    for above in (limit + 1, limit + ATOMS_PER_AIT):
        chain.refuse(chain.mint("courier", "provider", above), BOUNDS[bound])
        chain.refuse(chain.split("courier", [("provider", above)]), BOUNDS[bound])
    for far_above in (2**200 + 1, 2**255, 2**256 - 1):
        expected = BOUNDS[bound] if bound == "receipt_ceiling_atoms" else RejectionReason.RECEIPT_CEILING
        chain.refuse(chain.mint("courier", "provider", far_above), expected)
    chain.add(chain.mint("courier", "provider", limit))
    assert chain.balance("provider") == limit


@pytest.mark.parametrize("bound", ["provider_cap_atoms", "period_cap_atoms", "allowance"])
def test_mints_of_a_period_add_up(make_chain: MakeChain, bound: str) -> None:
    chain = bounded_chain(make_chain, bound, 1_000)
    first = [chain.mint("a", "provider", 400), chain.split("b", [("provider", 100), ("other", 0)])]
    # Within a block
    chain.refuse(chain.mint("c", "provider", 501), BOUNDS[bound], after=first)
    chain.refuse(chain.split("c", [("other", 0), ("provider", 501)]), BOUNDS[bound], after=first)
    # Over blocks
    chain.add(*first)
    chain.refuse(chain.mint("c", "provider", 501), BOUNDS[bound])
    chain.add(chain.mint("c", "provider", 500))
    chain.refuse(chain.mint("c", "provider", 1), BOUNDS[bound])
    chain.add(chain.mint("c", "provider", 0))  # Nothing is still within every bound of atoms.
    if bound == "provider_cap_atoms":
        chain.add(chain.mint("c", "other", 1_000))
    else:
        chain.refuse(chain.mint("c", "other", 1), BOUNDS[bound])


@pytest.mark.parametrize("bound", ["provider_cap_atoms", "period_cap_atoms", "allowance"])
def test_a_new_period_starts_anew(make_chain: MakeChain, bound: str) -> None:
    chain, period_ms = bounded_chain(make_chain, bound, 1_000), UNBOUNDED["period_ms"]
    chain.add(chain.mint("courier", "provider", 1_000))
    for period in (1, 2, 7):
        mint = chain.mint("courier", "provider", 1)
        chain.refuse(mint, BOUNDS[bound], time_ms=chain.head.time_ms + 1)
        last_ms = (chain.head.time_ms // period_ms + 1) * period_ms - 1
        chain.refuse(mint, BOUNDS[bound], time_ms=last_ms)
        chain.add(chain.mint("courier", "provider", 1_000), time_ms=period * period_ms)
        chain.refuse(chain.mint("courier", "provider", 1), BOUNDS[bound])
    assert chain.balance("provider") == 4_000


def test_receipts_are_counted_as_atoms_are(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={"attester": (10**30, 3)}, **UNBOUNDED)
    first = [chain.mint("a", "provider", 0), chain.mint("b", "provider", 5), chain.split("c", [("x", 1), ("y", 2)])]
    for late in (chain.mint("d", "provider", 0), chain.split("d", [("x", 0), ("y", 0)])):
        chain.refuse(late, RejectionReason.ATTESTER_ALLOWANCE, after=first)
    chain.add(*first)
    chain.refuse(chain.mint("d", "provider", 0), RejectionReason.ATTESTER_ALLOWANCE)
    chain.add(chain.mint("d", "provider", 0), time_ms=UNBOUNDED["period_ms"])


@pytest.mark.parametrize(("atoms", "receipts"), [(0, 0), (1_000, 0)])
def test_an_attester_without_receipts_signs_for_nothing(make_chain: MakeChain, atoms: int, receipts: int) -> None:
    chain = make_chain(attesters={"attester": (atoms, receipts)}, **UNBOUNDED)
    for amount in (0, 1):
        chain.refuse(chain.mint("courier", "provider", amount), RejectionReason.ATTESTER_ALLOWANCE)


def test_one_stolen_attester_key_mints_its_allowance_at_most(make_chain: MakeChain) -> None:
    """Whatever mixture of forms, providers and senders a thief tries within one period."""
    chain = make_chain(attesters={"attester": (1_000, 20)}, **UNBOUNDED)
    attempts: list[Transaction] = []
    for index in range(30):
        attempts.append(chain.mint(f"s{index}", f"p{index}", 90))
        attempts.append(chain.split(f"t{index}", [(f"p{index}", 70), ("q", 30)]))
    proposal = chain.build(*attempts)
    chain.adopt(proposal)
    assert proposal.rejected
    assert 900 < chain.read().supply().minted <= 1_000
    assert len(proposal.block.transactions) <= 20
    after = chain.build(*(chain.mint(f"z{index}", "q", 100) for index in range(5)))
    assert after.block.transactions == ()


def test_a_smaller_allowance_holds_at_once_and_counts_what_was_used(make_chain: MakeChain) -> None:
    chain = make_chain(attesters={"attester": (1_000, 100)}, **UNBOUNDED)
    chain.add(chain.mint("courier", "provider", 600))
    allowance = modules.SET_ATTESTER_ALLOWANCE.encode(chain.address("attester"), 700, 100)
    decision = chain.decision(GOVERNANCE, allowance)
    chain.refuse(chain.mint("courier", "provider", 101), RejectionReason.ATTESTER_ALLOWANCE, after=decision)
    chain.add(*decision, chain.mint("courier", "provider", 100))
    # Removed and entered again, it has used what it has used.
    replacement = modules.SET_ATTESTER_ALLOWANCE.encode(chain.address("second"), 5, 5)
    chain.govern(GOVERNANCE, replacement)
    chain.govern(GOVERNANCE, modules.REMOVE_ATTESTER.encode(chain.address("attester")))
    chain.govern(GOVERNANCE, allowance)
    chain.refuse(chain.mint("courier", "provider", 1), RejectionReason.ATTESTER_ALLOWANCE)


# Pause


def test_nothing_is_minted_while_paused(chain: Chain) -> None:
    mint, split = chain.mint("courier", "provider", AMOUNT, RECEIPT), chain.split("y", [("provider", 1)])
    pause = chain.decision(GOVERNANCE, modules.PAUSE.encode())
    chain.refuse(mint, RejectionReason.MINTING_PAUSED, after=pause)
    chain.add(mint, *pause)  # What came before the pause in the same block was in time.
    for transaction in (chain.mint("courier", "provider", 0), split, chain.mint("x", "provider", AMOUNT, RECEIPT)):
        chain.refuse(transaction, RejectionReason.MINTING_PAUSED)
    chain.fail(chain.mint("attester", "provider", 1), RejectionReason.MINTING_PAUSED)
    unpause = chain.decision(GOVERNANCE, modules.UNPAUSE.encode())
    chain.add(*unpause, chain.mint("courier", "provider", 1))


# Split


def test_a_split_mints_all_shares(chain: Chain) -> None:
    shares = [("x", 5), ("y", 0), ("z", 7)]
    outcome = chain.add(chain.split("courier", shares, RECEIPT))
    assert [chain.balance(name) for name, _ in shares] == [5, 0, 7]
    assert chain.read().receipt_use(RECEIPT) == ReceiptUse(ReceiptKind.MINT_SPLIT, Amount(12))
    assert chain.read().usage(Domain.ATTESTER_USAGE, chain.address("attester"), 0) == Usage(0, 12, 1)
    minted = [MINTED_EVENT.decode(log.topics, log.data) for log in outcome.results[0].logs if log.address == MINTER]
    assert minted == [
        {"provider": chain.address(name), "units": amount, "receiptHash": RECEIPT} for name, amount in shares
    ]


@pytest.mark.parametrize(
    ("providers", "amounts"),
    [
        ([], []),
        (["x"], []),
        ([], [1]),
        (["x", "y"], [1]),
        (["x"], [1, 2]),
        (["x", "x"], [1, 2]),
        (["x", "y", "x"], [1, 2, 3]),
        ([f"p{index}" for index in range(129)], [1] * 129),
        (["x"] * 200, [2**256 - 1] * 200),
    ],
)
def test_a_malformed_split(chain: Chain, key_named: KeyNamed, providers: Sequence[str], amounts: Sequence[int]) -> None:
    addresses = [chain.address(name) for name in providers]
    digest = mint_split_digest(chain.network.chain_id, addresses, amounts, RECEIPT)
    arguments = (addresses, amounts, RECEIPT, key_named("attester").sign(digest))
    chain.refuse(chain.call("courier", MINTER, MINT_SPLIT, *arguments), RejectionReason.INVALID_SPLIT)


def test_a_split_for_128_providers(chain: Chain) -> None:
    shares = [(f"p{index}", index) for index in range(MAX_SHARES)]
    chain.add(chain.split("courier", shares))
    assert chain.read().supply().minted == sum(range(MAX_SHARES))
    assert chain.balance("p127") == 127


@pytest.mark.parametrize("chain_id", [0, 1, 3_141_592_652, 2**64])
def test_a_split_is_signed_for_one_network(chain: Chain, chain_id: int) -> None:
    split = chain.split("courier", [("x", 1)], signed_chain_id=chain_id)
    chain.refuse(split, RejectionReason.NOT_AN_ATTESTER)


def test_shares_cannot_be_moved_between_providers(chain: Chain, key_named: KeyNamed) -> None:
    x, y = chain.address("x"), chain.address("y")
    signature = key_named("attester").sign(mint_split_digest(chain.network.chain_id, [x, y], [5, 7], RECEIPT))
    for providers, amounts in (
        ([y, x], [5, 7]),
        ([x, y], [7, 5]),
        ([x, y], [6, 6]),
        ([x], [12]),
        ([x, y, chain.address("z")], [5, 7, 0]),
    ):
        call = chain.call("courier", MINTER, MINT_SPLIT, providers, amounts, RECEIPT, signature)
        chain.refuse(call, RejectionReason.NOT_AN_ATTESTER)
    single = chain.call("courier", MINTER, MINT_WITH_RECEIPT, x, 12, RECEIPT, signature)
    chain.refuse(single, RejectionReason.NOT_AN_ATTESTER)
    assert_nothing_minted(chain)


def test_bounds_hold_for_the_sum_of_a_split(make_chain: MakeChain) -> None:
    for bound, reason in BOUNDS.items():
        chain = bounded_chain(make_chain, bound, 1_000)
        shares = [("x", 600), ("y", 401)]
        if bound == "provider_cap_atoms":
            shares = [("x", 5), ("y", 1_001)]
        chain.refuse(chain.split("courier", shares), reason)
        for huge in ([("x", 2**256 - 1), ("y", 1)], [("x", 2**256 - 1), ("y", 2**256 - 1)]):
            chain.refuse(chain.split("courier", huge), RejectionReason.RECEIPT_CEILING)
        exact = [("x", 600), ("y", 400)]
        chain.add(chain.split("courier", exact))


def test_one_share_above_a_cap_stops_them_all(make_chain: MakeChain) -> None:
    chain = bounded_chain(make_chain, "provider_cap_atoms", 1_000)
    chain.add(chain.mint("courier", "full", 1_000))
    chain.give("alice", amount=1_000)
    for sender in ("courier", "newcomer"):
        chain.refuse(chain.split(sender, [("x", 5), ("full", 1), ("y", 5)]), RejectionReason.PROVIDER_CAP)
    assert [chain.balance(name) for name in ("x", "y")] == [0, 0]


def test_every_attester_of_a_split_is_charged_the_whole(three_of_five: Chain) -> None:
    chain = three_of_five
    chain.add(chain.split("courier", [("x", 5), ("y", 7)], signers=["a1", "a2", "a3"]))
    for name in ("a1", "a2", "a3"):
        assert chain.read().usage(Domain.ATTESTER_USAGE, chain.address(name), 0) == Usage(0, 12, 1)


# Payout


def test_earnings_go_to_the_payout_address(chain: Chain) -> None:
    offer = ("", ["m"], 1, "images", 0)
    chain.add(
        chain.call("hot", REGISTRY, modules.REGISTER, *offer, chain.address("cold")),
        chain.call("twin", REGISTRY, modules.REGISTER, *offer, chain.address("cold")),
    )
    outcome = chain.add(chain.mint("courier", "hot", 5), chain.split("courier2", [("hot", 6), ("twin", 7), ("x", 8)]))
    assert [chain.balance(name) for name in ("hot", "twin", "cold", "x")] == [0, 0, 18, 8]
    transfer, minted = outcome.results[0].logs
    assert TRANSFER_EVENT.decode(transfer.topics, transfer.data)["to"] == chain.address("cold")
    assert MINTED_EVENT.decode(minted.topics, minted.data)["provider"] == chain.address("hot")
    # The cap is the provider's, and holds over its payout address.
    assert chain.read().provider_usage(chain.address("hot"), 0) == ProviderUsage(0, 11, 2, 11, 2)
    assert chain.read().provider_usage(chain.address("cold"), 0) == ProviderUsage()


# setAttester


def test_set_attester_leaves_one_with_the_default_allowance(make_chain: MakeChain) -> None:
    chain = make_chain(
        attesters={f"a{index}": (10**24, 100) for index in range(3)},
        attester_threshold=2,
        default_attester_atoms=50,
        default_attester_receipts=2,
    )
    outcome = chain.govern(MINTER, modules.SET_ATTESTER.encode(chain.address("new")))
    (log,) = [log for log in outcome.results[-1].logs if log.address == MINTER]
    assert modules.ATTESTER_CHANGED_EVENT.decode(log.topics, log.data) == {
        "oldA": chain.address("a0"),
        "newA": chain.address("new"),
    }
    assert chain.view(MINTER, modules.ATTESTER) == chain.address("new")
    assert [a.address for a in chain.read().attesters()] == [chain.address("new")]
    assert chain.read().parameters().attester_threshold == 1
    chain.refuse(chain.mint("courier", "p", 1, signers=["a0", "a1"]), RejectionReason.SIGNATURE_COUNT)
    chain.refuse(chain.mint("courier", "p", 51, signers=["new"]), RejectionReason.ATTESTER_ALLOWANCE)
    chain.add(chain.mint("courier", "p", 50, signers=["new"]))


@pytest.mark.parametrize("address", [ZERO_ADDRESS, TOKEN, GOVERNANCE])
def test_set_attester_to_nobody(chain: Chain, address: Address) -> None:
    *others, execute = chain.decision(MINTER, modules.SET_ATTESTER.encode(address))
    chain.fail(execute, RejectionReason.INVALID_CHANGE, after=others)


class AskedReader:
    """A state that notes which records it was asked for."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.asked: list[bytes] = []

    def get(self, state_key: bytes) -> bytes | None:
        """The record, or None."""
        self.asked.append(state_key)
        return self.chain.state.get(state_key)


def test_a_split_that_nobody_attested_reads_no_providers_record(chain: Chain) -> None:
    """Else anybody could make every node read 128 records per transaction, with no signature of an attester."""
    reader = AskedReader(chain)
    execution = BlockExecution(reader, chain_id=chain.network.chain_id, height=1, time_ms=1_000)
    shares = [(f"p{index}", 1) for index in range(MAX_SHARES)]
    with pytest.raises(Rejected) as caught:
        execution.add(chain.split("courier", shares, signers=["thief"]))
    assert caught.value.reason is RejectionReason.NOT_AN_ATTESTER
    assert not [key for key in reader.asked if key[0] in (Domain.PROVIDER_USAGE, Domain.REGISTRATION)]
    assert len(reader.asked) < 12
