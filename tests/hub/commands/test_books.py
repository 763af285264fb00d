"""`aitbc hub books`: balances and postings as they are in the database, and books that do not balance."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hub.cli import app
from hub.ledger import accounts, posting
from hub.opening import DATABASE_NAME
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, BERTA, IDENTITY, NOW_MS

HASH = "0x" + "5a" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a hub for one receipt of which two providers were minted three AIT."""
    store = Store(f"sqlite:///{tmp_path / DATABASE_NAME}", IDENTITY)
    shares = [(ANNA, 2 * 10**18), (BERTA, 10**18)]
    store.write_now(lambda t: posting.book_mint(t, HASH, shares, NOW_MS))
    store.close_now()
    return tmp_path


def books(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["books", *words, "--data-dir", str(folder)])


def test_what_is_owed_to_whom(folder: Path) -> None:
    shown = books(folder)
    assert shown.exit_code == 0
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["-3", "AIT", accounts.MINTED],
        ["2", "AIT", accounts.provider_earnings(ANNA)],
        ["1", "AIT", accounts.provider_earnings(BERTA)],
    ]


def test_one_accounts_postings(folder: Path) -> None:
    account = accounts.provider_earnings(BERTA)
    (shown, posted) = books(folder, account).stdout.splitlines()
    assert shown.split() == ["1", "AIT", account]
    assert posted.split()[-2:] == [f"mint/{HASH}", accounts.MINTED]
    found = json.loads(books(folder, account, "--json").stdout)
    assert found["balances"] == {account: str(10**18)}
    assert [each["reference"] for each in found["postings"]] == [HASH]


def test_an_entry_with_a_line_missing_is_noticed(folder: Path) -> None:
    """The triggers refuse it, so whoever did it has dropped them."""
    with sqlite3.connect(folder / DATABASE_NAME) as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            database.execute(f"DROP TRIGGER {name}")
        database.execute("DELETE FROM ledger_transfers WHERE line = 0")
    shown = books(folder)
    assert shown.exit_code == 1
    assert "1 entries are incomplete" in shown.stderr
