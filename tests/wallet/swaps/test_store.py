"""What a party must not lose: closed to others, read back whole, and refused where it is damaged."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chain.primitives.hashing import sha256
from chain.primitives.modules import HTLC, TOKEN
from chain.primitives.rejection import Rejected
from chain.primitives.types import ZERO_ADDRESS, Address
from wallet.keystore import AlreadyExistsError, KeystoreError
from wallet.swaps.store import Record, SentOffer, SwapStore
from wallet.swaps.terms import Lock, Terms

SECRET = b"\x09" * 32
MAKER, TAKER, CONTRACT = (Address(bytes((number,)) * 20) for number in (1, 2, 3))
_PARTIES: dict[str, Any] = {"hash": sha256(SECRET)}
TERMS = Terms(
    first=Lock(chain_id=7, contract=HTLC, asset=TOKEN, value=1, deadline=9, sender=MAKER, recipient=TAKER, **_PARTIES),
    second=Lock(
        chain_id=8,
        contract=CONTRACT,
        asset=ZERO_ADDRESS,
        value=2,
        deadline=8,
        sender=TAKER,
        recipient=MAKER,
        **_PARTIES,
    ),
)
RECORD = Record(terms=TERMS, secret=SECRET)


@pytest.fixture
def store(tmp_path: Path) -> SwapStore:
    """In a fresh home."""
    return SwapStore(tmp_path / "home")


def test_a_secret_is_kept_closed_and_read_back(store: SwapStore) -> None:
    assert store.find(TERMS) is None
    store.add(RECORD)
    assert stat.S_IMODE(store.path_of(TERMS.hash).stat().st_mode) == 0o600
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert store.find(TERMS) == RECORD
    later = msgspec.structs.replace(RECORD, was_shown=True, sent={"claim": SentOffer(5, 10**10, 10**9)})
    store.save(later)
    assert store.find(TERMS) == later
    assert stat.S_IMODE(store.path_of(TERMS.hash).stat().st_mode) == 0o600
    assert [path.name for path in store.folder.iterdir()] == [f"{TERMS.hash.hex()}.json"]


def test_a_secret_is_never_replaced_by_a_new_swap(store: SwapStore) -> None:
    store.add(RECORD)
    with pytest.raises(AlreadyExistsError):
        store.add(Record(terms=TERMS))
    assert store.find(TERMS) == RECORD


def test_the_same_hash_under_other_terms_is_refused(store: SwapStore) -> None:
    store.add(RECORD)
    other = msgspec.structs.replace(TERMS, first=msgspec.structs.replace(TERMS.first, value=3))
    with pytest.raises(Rejected, match="keep away"):
        store.find(other)


def test_a_file_that_others_can_read_is_refused(store: SwapStore) -> None:
    store.add(RECORD)
    store.path_of(TERMS.hash).chmod(0o644)
    with pytest.raises(KeystoreError, match="chmod 600"):
        store.find(TERMS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret", "0x12"),
        ("was_shown", 1),
        ("sent", []),
        ("sent", {"claim": [1, 2]}),
        ("sent", {"claim": [-1, 2, 1]}),
        ("sent", {"claim": [1, 2, 3]}),
        ("terms", {}),
    ],
)
def test_a_damaged_file_is_refused(store: SwapStore, name: str, value: Any) -> None:
    store.add(RECORD)
    path = store.path_of(TERMS.hash)
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(Rejected):
        store.find(TERMS)
