"""The audit log: numbered without gaps, chained, and neither changed nor dropped unseen."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hub.store import audit
from hub.store.errors import AuditBroken, StoreError
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.store.conftest import HASH, NOW_MS


def noting(number: int) -> Callable[[Transaction], None]:
    return lambda t: audit.append(t, "attested", HASH, {"number": number, "amount": str(2**200)}, NOW_MS + number)


async def test_entries_of_two_processes_form_one_chain(open_store: Callable[[], Store]) -> None:
    stores = [open_store(), open_store()]

    await asyncio.gather(*(stores[number % 2].write(noting(number)) for number in range(60)))

    entries = stores[0].read_now(lambda c: audit.after(c, 0))
    assert [entry.sequence for entry in entries] == list(range(1, 61))
    assert sorted(entry.data["number"] for entry in entries) == list(range(60))
    assert stores[1].read_now(audit.verify) == (60, entries[-1].hash)
    assert stores[0].read_now(lambda c: audit.after(c, 58))[0].previous_hash == entries[57].hash


@pytest.mark.parametrize("change", ["UPDATE audit_log SET data = '{}' WHERE sequence = 2", "DELETE FROM audit_log"])
def test_the_database_refuses_to_change_an_entry(store: Store, change: str) -> None:
    for number in range(3):
        store.write_now(noting(number))

    with pytest.raises((StoreError, DBAPIError), match="neither changed nor dropped"):
        store.write_now(lambda t: t.execute(text(change)))

    assert store.read_now(audit.verify)[0] == 3


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ("UPDATE audit_log SET data = '{}' WHERE sequence = 2", 2),
        ("UPDATE audit_log SET hash = previous_hash WHERE sequence = 3", 3),
        ("DELETE FROM audit_log WHERE sequence = 1", 1),
        ("DELETE FROM audit_log WHERE sequence = 2", 2),
    ],
)
def test_who_takes_the_triggers_away_is_found_out(store: Store, change: str, at: int) -> None:
    for number in range(3):
        store.write_now(noting(number))

    def tamper(transaction: Transaction) -> None:
        if transaction.is_sqlite:
            transaction.execute(text("DROP TRIGGER audit_log_no_update"))
            transaction.execute(text("DROP TRIGGER audit_log_no_delete"))
        else:
            transaction.execute(text("DROP TRIGGER audit_log_append_only ON audit_log"))
        transaction.execute(text(change))

    store.write_now(tamper)

    with pytest.raises(AuditBroken) as broken:
        store.read_now(audit.verify)
    assert broken.value.sequence == at
