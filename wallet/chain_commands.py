"""The commands that ask a node: balance, send, mint, history."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chain.primitives.hexadecimal import format_ait, parse_address, parse_ait, parse_amount, to_checksum_address, to_hex
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address, Hash32
from wallet.accounts import Account, AccountError, Accounts
from wallet.documents import read_document
from wallet.node_session import open_node
from wallet.options import (
    DEFAULT_NODE_URL,
    AsJson,
    ChainId,
    From,
    Home,
    NodeUrl,
    Nonce,
    PasswordFile,
    TimeoutS,
    Wait,
    WaitFor,
    Yes,
)
from wallet.passwords import read_password
from wallet.terminal import CommandError, ExitCode, Progress, columns, confirm, emit, say
from wallet.verification import parse_attestation, recover_attesters

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    from chain.client import NodeClient
    from chain.primitives.transaction import Transaction
    from wallet.sending import Draft, Outcome


def balance(
    home: Home,
    accounts: Annotated[list[str] | None, typer.Argument(help="Names or addresses; all of this home if none.")] = None,
    node_url: NodeUrl = DEFAULT_NODE_URL,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """Final balances."""
    keys = Accounts(home)
    named = _addresses(keys, accounts) if accounts else [(each.name, each.address) for each in keys.readable()]
    if not named:
        keys.only()  # Says that there is none, and how to make one.
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


def send(
    home: Home,
    to: Annotated[str, typer.Argument(help="Address, or the name of another account of this home.")],
    amount: Annotated[str, typer.Argument(help="AIT, such as 1.5.")],
    sender: From = None,
    atoms: Annotated[bool, typer.Option("--atoms", help="AMOUNT counts atoms: 10^18 are 1 AIT.")] = False,
    wait: WaitFor = Wait.FINAL,
    timeout_s: TimeoutS = 60,
    nonce: Nonce = None,
    yes: Yes = False,
    node_url: NodeUrl = DEFAULT_NODE_URL,
    chain_id: ChainId = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Send AIT to an address."""
    keys = Accounts(home)
    payee = _payee(keys, to)
    value = _argument(lambda: parse_amount(amount) if atoms else parse_ait(amount))
    account = keys.find(sender) if sender else keys.only()
    with open_node(node_url, home, chain_id) as (client, status):
        from wallet.sending import plan_transaction

        with keys.hold(account, say):
            draft = plan_transaction(client, status, account.address, account.name, to=payee, value=value, nonce=nonce)
            transaction = _sign_and_submit(client, draft, account, password_file, yes=yes)
        outcome = _follow(client, transaction, wait, timeout_s)
    _report(draft, outcome, wait, as_json, {"amount_atoms": str(value)})


def mint(
    home: Home,
    receipt_file: Annotated[Path, typer.Argument(help="A receipt's JSON, or a hub's answer that has it; - for stdin.")],
    attestation: Annotated[
        str | None, typer.Option("--attestation", help="0x-hex signature(s); not needed where the file has them.")
    ] = None,
    sender: From = None,
    wait: WaitFor = Wait.FINAL,
    timeout_s: TimeoutS = 60,
    nonce: Nonce = None,
    yes: Yes = False,
    node_url: NodeUrl = DEFAULT_NODE_URL,
    chain_id: ChainId = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Mint for an attested receipt. Anyone may send it, the AIT go to the receipt's provider; twice is once."""
    document = read_document(receipt_file)
    signatures = parse_attestation(attestation) if attestation else document.attestation
    if signatures is None:
        raise CommandError("there is no attestation in the file: give --attestation", ExitCode.USAGE)
    receipt = document.receipt
    recover_attesters(receipt, signatures)
    keys = Accounts(home)
    account = keys.find(sender) if sender else keys.only()
    with open_node(node_url, home, chain_id) as (client, status):
        from wallet.sending import find_mint, plan_transaction

        if receipt.chain_id != status.chain_id:
            raise CommandError(
                f"the receipt is of chain {receipt.chain_id}, the node serves {status.chain_id}", ExitCode.WRONG_NETWORK
            )
        call_data = MINT_WITH_RECEIPT.encode(receipt.provider, receipt.amount, receipt.hash, signatures)
        with keys.hold(account, say):
            draft = plan_transaction(
                client, status, account.address, account.name, to=MINTER, call_data=call_data, nonce=nonce
            )
            outcome = find_mint(client, receipt.hash)
            transaction = None if outcome else _sign_and_submit(client, draft, account, password_file, yes=yes)
        if transaction is not None:
            outcome = _follow(client, transaction, wait, timeout_s, receipt.hash)
        else:
            say("The receipt was minted before; nothing was sent.")
        assert outcome is not None
    minted = {
        "receipt_hash": to_hex(receipt.hash),
        "provider": to_checksum_address(receipt.provider),
        "amount_atoms": str(receipt.amount),
    }
    _report(draft, outcome, wait, as_json, minted)


def history(
    home: Home,
    account: Annotated[str | None, typer.Argument(help="Name or address; not needed where there is one only.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most this many.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="next_cursor of the part before.")] = None,
    node_url: NodeUrl = DEFAULT_NODE_URL,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """What an account sent, received and was paid by mints, newest first."""
    from wallet.history import describe_transaction

    keys = Accounts(home)
    address = _addresses(keys, [account])[0][1] if account else keys.only().address
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


def _argument(parse: Any) -> Any:
    """What a command line's argument means; a wrong one is a usage error."""
    try:
        return parse()
    except Rejected as error:
        raise CommandError(error.message, ExitCode.USAGE) from None


def _addresses(keys: Accounts, names: list[str]) -> list[tuple[str | None, Address]]:
    """Name (where there is one) and address of each; addresses need not be this wallet's own."""
    found: list[tuple[str | None, Address]] = []
    for name in names:
        if name.startswith(("0x", "0X")):
            found.append((None, _argument(lambda text=name: parse_address(text))))
        else:
            found.append((name, keys.get(name).address))
    return found


def _payee(keys: Accounts, to: str) -> Address:
    from wallet.payees import check_payee

    try:
        address = _addresses(keys, [to])[0][1]
    except AccountError as error:
        raise CommandError(f"{error}; an address begins with 0x", ExitCode.USAGE) from None
    _argument(lambda: check_payee(address))
    return address


def _sign_and_submit(
    client: "NodeClient", draft: "Draft", account: Account, password_file: Path | None, *, yes: bool
) -> "Transaction":
    from chain.client import NodeUnavailable
    from wallet.sending import submit

    confirm(draft.lines(), yes=yes)
    key = account.keystore.unlock(read_password(password_file, purpose=f"the account {account.name}"))
    transaction = draft.sign(key)
    try:
        submit(client, transaction)
    except NodeUnavailable as error:
        raise CommandError(
            f"{error}. Whether transaction {to_hex(transaction.hash)} arrived is not known: look at "
            f"`aitbc wallet history` before you send again, or send with --nonce {transaction.nonce}",
            ExitCode.NODE_UNAVAILABLE,
        ) from error
    say(f"Sent as {to_hex(transaction.hash)}")
    return transaction


def _follow(
    client: "NodeClient", transaction: "Transaction", wait: Wait, timeout_s: float, receipt_hash: Hash32 | None = None
) -> "Outcome":
    from wallet.sending import Outcome, wait_until_final

    if wait is Wait.NONE:
        return Outcome(to_hex(transaction.hash))
    progress = Progress("Waiting until it is final")
    try:
        return wait_until_final(
            client, transaction, timeout_s=timeout_s, receipt_hash=receipt_hash, on_progress=progress.show
        )
    finally:
        progress.clear()


def _report(draft: "Draft", outcome: "Outcome", wait: Wait, as_json: bool, details: dict[str, str]) -> None:
    """The outcome on stdout, and the exit code that says the same."""
    state = "final" if outcome.is_final else "pending"
    status = None if outcome.succeeded is None else ("success" if outcome.succeeded else "failed")
    document = {
        "transaction_hash": outcome.transaction_hash,
        "state": state,
        "status": status,
        "height": outcome.height,
        "reason": outcome.reason,
        "action": draft.action.name,
        "from": to_checksum_address(draft.sender),
        "to": to_checksum_address(draft.transaction.to),
        "nonce": draft.transaction.nonce,
        "chain_id": draft.transaction.chain_id,
        "max_fee_atoms": str(draft.fee_atoms),
        **details,
    }
    where = f"final in block {outcome.height}: {status}" if outcome.is_final else "sent, not final yet"
    emit(as_json, document, [f"{outcome.transaction_hash}  {where}"])
    if outcome.is_final and not outcome.succeeded:
        raise CommandError(f"the transaction failed: {outcome.reason}", ExitCode.TRANSACTION_FAILED)
    if not outcome.is_final and wait is Wait.FINAL:
        raise CommandError(f"not final in time ({outcome.reason}); it may still become final", ExitCode.NOT_FINAL)
