"""`aitbc wallet tx`: a transaction step by step, so that the key may be on a machine that has no network."""

from pathlib import Path
from typing import Annotated

import typer

from chain.primitives.hexadecimal import parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.transaction import MAX_GAS_LIMIT, Transaction, decode_transaction
from chain.primitives.types import Address, Hash32
from wallet.accounts import Accounts
from wallet.actions import describe_action
from wallet.commands.arguments import account_of, address_of, amount_of, parse_argument, read_transaction_text
from wallet.commands.outcomes import follow, hand_in, report
from wallet.drafts import Draft, describe_fields, describe_lines
from wallet.known_networks import KnownNetworks, NetworkMismatchError
from wallet.node_session import open_node
from wallet.options import (
    AsJson,
    Atoms,
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
from wallet.payees import check_payee
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, columns, confirm, emit, say
from wallet.unsigned import decode_unsigned, draft_transaction, encode_unsigned, is_signed

TransactionSource = Annotated[
    str, typer.Argument(metavar="TX", help="0x-hex, or a file with it or with the JSON of build or sign; - for stdin.")
]
TransactionHash = Annotated[str, typer.Argument(metavar="HASH", help="0x and 64 hex digits.")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES)


@app.callback()
def tx() -> None:
    """Build, sign, decode, hand in and follow transactions; signing needs no network."""


@app.command()
def build(
    home: Home,
    to: Annotated[str, typer.Argument(help="Address (also a module's, with --data), or the name of an account.")],
    amount: Annotated[str, typer.Argument(help="AIT, such as 1.5.")] = "0",
    call_data: Annotated[str, typer.Option("--data", help="0x-hex: a module's call, or a short note.")] = "0x",
    sender: From = None,
    atoms: Atoms = False,
    nonce: Nonce = None,
    max_fee: Annotated[
        int | None, typer.Option("--max-fee", min=0, help="Atoms per gas; the network's base fee if not given.")
    ] = None,
    gas_limit: Annotated[
        int | None, typer.Option("--gas-limit", min=0, max=MAX_GAS_LIMIT, help="Exactly what it uses if not given.")
    ] = None,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """Write a transaction to sign elsewhere. With --nonce, --max-fee and --chain-id no node is asked."""
    keys = Accounts(home)
    octets = parse_argument(lambda: parse_hex(call_data, field="data"))
    value = amount_of(amount, atoms=atoms)
    payee = parse_argument(lambda: _target_of(keys, to, octets))
    from_address = address_of(keys, sender)
    if nonce is None or max_fee is None or chain_id is None:
        with open_node(node_url, home, chain_id) as (client, status):
            chain_id = status.chain_id
            nonce = client.account(from_address).pending_nonce if nonce is None else nonce
            if max_fee is None:
                max_fee = client.parameters().parameters.get("base_fee_atoms", 0)
    transaction = draft_transaction(
        chain_id=chain_id, nonce=nonce, to=payee, value=value, data=octets, gas_limit=gas_limit, max_fee=max_fee
    )
    draft = _draft(home, transaction, from_address)
    for line in columns(draft.lines()):
        say(line)
    unsigned = to_hex(encode_unsigned(transaction))
    emit(as_json, {"unsigned_transaction": unsigned, **draft.to_object()}, [unsigned])


@app.command()
def sign(
    home: Home,
    source: TransactionSource,
    sender: From = None,
    yes: Yes = False,
    chain_id: ChainId = None,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Sign what `tx build` (or ethers, viem, …) wrote. Asks no node; prints the signed transaction."""
    octets, said_sender = read_transaction_text(source)
    transaction = decode_unsigned(octets)
    keys = Accounts(home)
    if sender is None and said_sender is not None:
        sender = to_checksum_address(said_sender)
    account = account_of(keys, sender)
    if said_sender is not None and said_sender != account.address:
        raise CommandError(
            f"it was built for {to_checksum_address(said_sender)}, which is not the address of {account.name}",
            ExitCode.FAILED,
        )
    _check_chain(home, transaction, chain_id)
    draft = _draft(home, transaction, account.address)
    confirm(draft.lines(), yes=yes, question="Sign it?")
    signed = draft.sign(account.open(password_file))
    document = {"raw_transaction": to_hex(signed.raw), "transaction_hash": to_hex(signed.hash)}
    emit(as_json, document | draft.to_object(), [to_hex(signed.raw)])


@app.command()
def decode(home: Home, source: TransactionSource, as_json: AsJson = False) -> None:
    """Say in words what a transaction does, signed or not. Asks no node."""
    octets, said_sender = read_transaction_text(source)
    signed = is_signed(octets)
    transaction = decode_transaction(octets) if signed else decode_unsigned(octets)
    sender = transaction.recover_sender() if signed else said_sender
    document = {
        "signed": signed,
        "transaction_hash": to_hex(transaction.hash) if signed else None,
        "type": transaction.type,
        "gas_limit": transaction.gas_limit,
        "max_fee_per_gas_atoms": str(transaction.max_fee),
        **describe_fields(transaction, sender),
        "details": dict(describe_action(transaction.to, transaction.value, transaction.data).details),
    }
    name = "not said" if sender is None else f"{_name_of(home, sender)} {to_checksum_address(sender)}".lstrip()
    lines = describe_lines(transaction, name, _network_name(home, transaction.chain_id))
    lines.append(("hash", to_hex(transaction.hash)) if signed else ("signed", "not yet"))
    emit(as_json, document, columns(lines))


@app.command()
def broadcast(
    home: Home,
    source: TransactionSource,
    wait: WaitFor = Wait.FINAL,
    timeout_s: TimeoutS = 60,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a signed transaction. Again is harmless: the same bytes are taken once."""
    octets, _ = read_transaction_text(source)
    if not is_signed(octets):
        raise CommandError("it is not signed yet: aitbc wallet tx sign", ExitCode.FAILED)
    transaction = decode_transaction(octets)
    sender = transaction.recover_sender()
    draft = _draft(home, transaction, sender)
    with open_node(node_url, home, chain_id) as (client, status):
        if transaction.chain_id != status.chain_id:
            raise CommandError(
                f"it is signed for chain {transaction.chain_id}, the node serves {status.chain_id}",
                ExitCode.WRONG_NETWORK,
            )
        hand_in(client, transaction)
        outcome = follow(client, transaction.hash, wait, timeout_s)
    report(outcome, wait, as_json, draft.to_object())


@app.command()
def status(
    home: Home,
    transaction_hash: TransactionHash,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """How far a transaction is by now; the exit code is that of `tx wait`."""
    wanted = _hash(transaction_hash)
    with open_node(node_url, home, chain_id) as (client, _):
        from wallet.sending import look

        outcome = look(client, wanted)
    report(outcome, Wait.FINAL, as_json, {})


@app.command()
def wait(
    home: Home,
    transaction_hash: TransactionHash,
    timeout_s: TimeoutS = 60,
    node_url: NodeUrl = None,
    chain_id: ChainId = None,
    as_json: AsJson = False,
) -> None:
    """Wait until a transaction is final."""
    wanted = _hash(transaction_hash)
    with open_node(node_url, home, chain_id) as (client, _):
        outcome = follow(client, wanted, Wait.FINAL, timeout_s)
    report(outcome, Wait.FINAL, as_json, {})


def _target_of(keys: Accounts, to: str, call_data: bytes) -> Address:
    """A transfer's payee; modules are called, which takes data, but never paid."""
    address = address_of(keys, to)
    if not call_data:
        check_payee(address)
    return address


def _hash(text: str) -> Hash32:
    return parse_argument(lambda: parse_hash(text))


def _draft(home: Path, transaction: Transaction, sender: Address) -> Draft:
    """With the names that this home has for sender and network."""
    return Draft(transaction, sender, _name_of(home, sender), _network_name(home, transaction.chain_id))


def _name_of(home: Path, address: Address) -> str:
    return next((account.name for account in Accounts(home).readable() if account.key.address == address), "")


def _network_name(home: Path, chain_id: int) -> str:
    known = KnownNetworks(home).get(chain_id)
    return known.name if known else "a network that this home does not know"


def _check_chain(home: Path, transaction: Transaction, chain_id: int | None) -> None:
    """Raises NetworkMismatchError unless it is for the network that was asked for, or else for the default one."""
    meant = KnownNetworks(home).meant(chain_id)
    if transaction.chain_id != meant:
        known = "and this home knows no network yet" if meant is None else f"not chain {meant}"
        raise NetworkMismatchError(
            f"the transaction is for chain {transaction.chain_id}, {known}. If you mean that network, "
            f"add --chain-id {transaction.chain_id}"
        )
