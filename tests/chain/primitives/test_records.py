"""What stands in the state: golden encodings, and records that cannot be mistaken for one another."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives.message_pack import encode
from chain.primitives.network import AttesterAllowance
from chain.primitives.records import (
    Account,
    Domain,
    Proposal,
    ReceiptKind,
    ReceiptUse,
    Record,
    Registration,
    Supply,
    Upgrade,
    Usage,
    ValidatorSet,
    decode_addresses,
    decode_amount,
    decode_attesters,
    encode_amount,
    encode_attesters,
    state_key,
)
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import MAX_UINT256, Address, Amount

ReasonOf = Callable[..., RejectionReason | None]
Mutations = Callable[[bytes, int, int], Iterator[bytes]]

ALICE = Address(b"\1" * 20)
BOB = Address(b"\2" * 20)

GOLDEN: list[tuple[Record, str]] = [
    (Account(), "9200c400"),
    (Account(7, Amount(10**18)), "9207c4080de0b6b3a7640000"),
    (Supply(minted=256, burned=1), "92c4020100c40101"),
    (Usage(period=20_000, atoms=5, receipts=2), "93cd4e20c4010502"),
    (ReceiptUse(ReceiptKind.MINT, Amount(5)), "9201c40105"),
    (ReceiptUse(ReceiptKind.MINT_SPLIT, Amount(0)), "9202c400"),
    (
        Registration(
            active=True,
            endpoint="https://e.org",
            models=("m",),
            price_per_unit=Amount(3),
            unit_type="images",
            vram_mib=24_576,
            payout=BOB,
        ),
        "97c3ad68747470733a2f2f652e6f726791a16dc40103a6696d61676573cd6000c414" + "02" * 20,
    ),
    (
        Proposal(ALICE, BOB, b"call", 1_000, 2_000, (ALICE,)),
        "97c414" + "01" * 20 + "c414" + "02" * 20 + "c40463616c6ccd03e8cd07d091c414" + "01" * 20 + "c2",
    ),
    (Upgrade(1, 2, 300), "930102cd012c"),
    (ValidatorSet(300, (ALICE, BOB)), f"92cd012c92c414{ALICE.hex()}c414{BOB.hex()}"),
]


@pytest.mark.parametrize(("record", "encoded"), GOLDEN, ids=range(len(GOLDEN)))
def test_golden_records(record: Record, encoded: str) -> None:
    assert record.encode().hex() == encoded
    assert type(record).decode(bytes.fromhex(encoded)) == record


@pytest.mark.parametrize(("record", "encoded"), GOLDEN, ids=range(len(GOLDEN)))
def test_damaged_records_are_refused_or_say_something(
    record: Record, encoded: str, reason_of: ReasonOf, mutations: Mutations
) -> None:
    for mutated in mutations(bytes.fromhex(encoded), 500, 1):
        reason_of(type(record).decode, mutated)  # No other exception than Rejected comes out.
    assert reason_of(type(record).decode, b"") is RejectionReason.MALFORMED
    assert reason_of(type(record).decode, b"\xc0") is RejectionReason.MALFORMED


@given(st.integers(0, 2**63 - 1), st.integers(0, MAX_UINT256))
def test_accounts_and_amounts_go_there_and_back(nonce: int, balance: int) -> None:
    account = Account(nonce, Amount(balance))
    assert Account.decode(account.encode()) == account
    assert decode_amount(encode_amount(balance)) == balance


def test_lists_go_there_and_back(reason_of: ReasonOf) -> None:
    attesters = (AttesterAllowance(ALICE, 10**24, 5), AttesterAllowance(BOB, 0, 0))
    assert decode_attesters(encode_attesters(attesters)) == attesters
    assert decode_addresses(encode([ALICE, BOB])) == (ALICE, BOB)
    for decode in (decode_attesters, decode_addresses, decode_amount):
        assert reason_of(decode, b"\xc0") is RejectionReason.MALFORMED


def test_no_two_domains_share_a_key() -> None:
    keys = {state_key(domain, ALICE) for domain in Domain}
    assert len(keys) == len(Domain)
    assert state_key(Domain.ACCOUNT, ALICE) == b"\1" + ALICE
    assert state_key(Domain.SUPPLY) == b"\2"
    assert state_key(Domain.FORMER_VALIDATOR, ALICE) == b"\x13" + ALICE


def test_usage_counts_within_its_period_only() -> None:
    usage = Usage(period=3).plus(5).plus(7)
    assert usage == Usage(3, 12, 2)
    assert usage.within(3) == usage
    assert usage.within(4) == Usage(4, 0, 0)


def test_rules_change_at_the_scheduled_height() -> None:
    assert [Upgrade(1, 2, 300).version_at(height) for height in (0, 299, 300, 301)] == [1, 1, 2, 2]
    assert Upgrade().version_at(10**9) == 1
    assert Supply(minted=10, burned=4).circulating == 6
