"""What a node knows of an account: balance, nonce, history."""

from collections.abc import Iterator
from typing import Annotated

import typer

from chain.primitives.hexadecimal import format_ait, to_checksum_address
from chain.primitives.types import Address
from wallet.accounts import Account, Accounts
from wallet.commands.arguments import address_of, is_address
from wallet.node_session import open_node
from wallet.options import AsJson, ChainId, Home, NodeUrl, complete_names
from wallet.terminal import columns, emit, say

NameOrAddress = Annotated[
    str | None,
    typer.Argument(help="Name or address; not needed where there is one only.", autocompletion=complete_names),
]
NamesOrAddresses = Annotated[
    list[str] | None,
    typer.Argument(help="Names or addresses; all of this home if none.", autocompletion=complete_names),
]


def balance(
    home: Home,
    accounts: NamesOrAddresses = None,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """Final balances."""
    keys = Accounts(home)
    if accounts:
        named = [(None if is_address(each) else each, address_of(keys, each)) for each in accounts]
    else:
        named = [*_own(keys)]
    if not named:
        keys.only().address  # noqa: B018 - says what is wrong with it, or how to make one.
    entries = []
    with open_node(node_url, home, chain_id) as (client, _):
        for name, address in named:
            view = client.account(address)
            entries.append(
                {
                    "name": name,
                    "address": to_checksum_address(address),
                    "balance_atoms": str(view.balance),
                    "nonce": view.nonce,
                    "height": view.height,
                }
            )
    rows = [
        [str(entry["name"] or ""), str(entry["address"]), f"{format_ait(int(str(entry['balance_atoms'])))} AIT"]
        for entry in entries
    ]
    emit(as_json, {"accounts": entries}, columns(rows))


def nonce(
    home: Home,
    account: NameOrAddress = None,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """The nonce of an account's next transaction, after those that wait."""
    keys = Accounts(home)
    address = address_of(keys, account)
    with open_node(node_url, home, chain_id) as (client, _):
        view = client.account(address)
    if waiting := view.pending_nonce - view.nonce:
        say(f"{waiting} of its transactions wait for a block; the final nonce is {view.nonce}")
    document = {
        "address": to_checksum_address(address),
        "nonce": view.nonce,
        "pending_nonce": view.pending_nonce,
        "height": view.height,
    }
    emit(as_json, document, [str(view.pending_nonce)])


def history(
    home: Home,
    account: NameOrAddress = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most this many.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="next_cursor of the part before.")] = None,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """What an account sent, received and was paid by mints, newest first."""
    from wallet.history import describe_transaction

    keys = Accounts(home)
    address = address_of(keys, account)
    with open_node(node_url, home, chain_id) as (client, _):
        page = client.account_transactions(address, cursor=cursor, limit=limit)
    entries = [describe_transaction(view, address) for view in page.items]
    rows = [entry.row() for entry in entries]
    lines = columns(rows) if rows else ["nothing yet"]
    if page.next_cursor:
        lines.append(f"more with --cursor {page.next_cursor}")
    document = {
        "address": to_checksum_address(address),
        "transactions": [entry.to_object() for entry in entries],
        "next_cursor": page.next_cursor,
    }
    emit(as_json, document, lines)


def _own(keys: Accounts) -> Iterator[tuple[str, Address]]:
    """Every account whose address is known; of any other it says why it is left out: no money vanishes in silence."""
    for account in keys.each():
        if not isinstance(account, Account):
            say(f"aitbc: account {account[0]}: {account[1]}")
        elif account.key.address is None:
            say(f"aitbc: account {account.name}: {account.key.path} names no address")
        else:
            yield account.name, account.address
