"""Outcomes in a real database: score, standing, pauses that are audited, and what waits for the chain's record."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub.reputation.noting import note, note_breach
from hub.reputation.public import describe
from hub.reputation.rules import LIE_PAUSE_MS, Outcome
from hub.store import audit, outcomes, providers
from hub.store.outcomes import OutcomeKind, OutcomeState
from hub.store.providers import Provider, Standing
from hub.store.store import HubIdentity, Store
from hub.store.transaction import Transaction

NOW_MS = 1_790_000_000_000
ANNA = "0x" + "aA" * 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'hub.sqlite3'}", HubIdentity("hub-1", 424_242, "0x" + "ab" * 32))
    yield opened
    opened.close_now()


def tell(store: Store, *kinds: Outcome, detail: str = "", evidence: Mapping[str, Any] | None = None) -> Provider:
    def all_of_them(transaction: Transaction) -> None:
        for kind in kinds:
            note(transaction, ANNA, kind, NOW_MS, detail=detail, evidence=evidence)

    store.write_now(all_of_them)
    found = store.read_now(lambda c: providers.get(c, ANNA))
    assert found is not None
    return found


def test_counts_score_and_standing(store: Store) -> None:
    known = tell(store, *[Outcome.SERVED] * 20, *[Outcome.PASSED] * 5, Outcome.LATE, Outcome.DECLINED)
    assert (known.accepted, known.failed, known.standing) == (21, 0, Standing.NORMAL)
    assert 0.9 < known.score < 1.0
    assert store.read_now(lambda c: outcomes.providers_waiting(c, limit=9)) == []


def test_a_lie_pauses_and_says_why(store: Store) -> None:
    known = tell(store, Outcome.LIED, detail="the receipt names another picture", evidence={"job_id": "job-1"})
    assert known.suspended_until_ms == NOW_MS + LIE_PAUSE_MS
    assert known.suspended_detail is not None and "another picture" in known.suspended_detail
    entries = store.read_now(lambda c: audit.of_subject(c, ANNA))
    assert [entry.kind for entry in entries] == ["provider_suspended"]
    public = store.read_now(lambda c: describe(c, ANNA, NOW_MS))
    assert public is not None and public["suspension"]["reason"] == "false_answer"
    later = store.read_now(lambda c: describe(c, ANNA, NOW_MS + LIE_PAUSE_MS))
    assert later is not None and later["suspension"] is None
    assert store.read_now(lambda c: describe(c, "0x" + "bb" * 20, NOW_MS)) is None


def test_a_pause_is_never_shortened(store: Store) -> None:
    store.write_now(
        lambda t: providers.suspend(t, ANNA, until_ms=None, reason="operator", detail="by hand", now_ms=NOW_MS)
    )
    assert tell(store, Outcome.LIED).suspended_reason == "operator"


def test_what_the_chain_is_told(store: Store) -> None:
    tell(store, Outcome.FAILED, Outcome.SERVED, Outcome.DISPUTED, evidence={"job_id": "job-1"})
    store.write_now(lambda t: note_breach(t, ANNA, "0x" + "05" * 32, {"samples": 200}, NOW_MS))
    waiting = store.read_now(lambda c: outcomes.of_provider(c, ANNA, OutcomeState.WAITING, limit=9))
    assert [each.kind for each in waiting] == [OutcomeKind.FAILURE, OutcomeKind.DISPUTE, OutcomeKind.BREACH]
    assert msgspec.json.decode(waiting[0].evidence)["job_id"] == "job-1"


def test_an_unknown_kind_counts_nothing(store: Store) -> None:
    with pytest.raises(ValueError, match="praised"):
        store.write_now(lambda t: note(t, ANNA, "praised", NOW_MS))
    assert store.read_now(lambda c: providers.get(c, ANNA)) is None
