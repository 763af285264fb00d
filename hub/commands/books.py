"""`aitbc hub books`: what the hub's ledger says, and whether it is sound."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hub.commands.database import opened_store
from hub.commands.flags import AsJson, DatabaseUrl, DataDir
from hub.commands.outcome import failed, reporting

if TYPE_CHECKING:
    from hub.store.transaction import Reader

_WIDTH: Final = 32
"""A hundred million AIT with all 18 decimals."""
Account = Annotated[str | None, typer.Argument(metavar="ACCOUNT", help="Show one account's newest postings.")]


def books(
    account: Account = None,
    last: Annotated[int, typer.Option("--last", min=1, max=10_000, help="How many postings to show.")] = 20,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show every account's balance, or one account's postings; fails where the books do not balance."""
    from datetime import UTC, datetime

    from hub.ledger.books import incomplete_entries, trial_balance
    from wallet.terminal import plain

    def look(reader: "Reader") -> tuple[dict[str, Any], int, list[str]]:
        return _document(reader, account, last), trial_balance(reader), incomplete_entries(reader)

    with reporting(), opened_store(data_dir, database_url) as store:
        document, total, incomplete = store.read_now(look)
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        for name, amount in document["balances"].items():
            print(plain(f"{_ait(amount)}  {name}"))
        for each in document.get("postings", ()):
            at = datetime.fromtimestamp(each["at_ms"] / 1_000, UTC).isoformat(timespec="seconds")
            print(plain(f"{_ait(each['amount'])}  {at} {each['entry_id']} {each['counterpart']}"))
    if total or incomplete:
        raise failed(f"the books do not balance: {total} atoms too many, {len(incomplete)} entries are incomplete")


def _document(reader: "Reader", account: str | None, last: int) -> dict[str, Any]:
    """Amounts in atoms, as text."""
    from dataclasses import asdict

    from hub.ledger.books import balance, balances, statement

    if account is None:
        return {"balances": {name: str(amount) for name, amount in balances(reader).items()}}
    postings = [asdict(posting) for posting in statement(reader, account, limit=last)]
    return {
        "balances": {account: str(balance(reader, account))},
        "postings": [posting | {"amount": str(posting["amount"])} for posting in postings],
    }


def _ait(atoms: str) -> str:
    """In a column of its own."""
    from chain.primitives.hexadecimal import format_ait

    sign = "-" if atoms.startswith("-") else ""
    return f"{sign}{format_ait(abs(int(atoms)))} AIT".rjust(_WIDTH)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(books)
