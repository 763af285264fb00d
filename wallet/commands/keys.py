"""The accounts of a home: `list`, `show`, `rename`, `remove`, `bind`; and how an account is described everywhere."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from wallet.accounts import Account, Accounts
from wallet.attester import AttesterNetwork, attester_network, bind_to_network
from wallet.commands.arguments import account_of, read_text
from wallet.keystore import Keystore, KeystoreError
from wallet.ledger_account import LedgerAccount
from wallet.options import AsJson, Home, Name, NewName, PasswordFile, Yes
from wallet.passwords import read_password
from wallet.terminal import CommandError, ExitCode, ask, columns, emit, say

DERIVATION_FIELD: Final = "aitbc_derivation_path"
"""The keystore's extra field that says at which path of its words the key is."""
_MAX_NETWORK_FILE_BYTES: Final = 1024 * 1024


def list_(home: Home, as_json: AsJson = False) -> None:
    """Every account of this home, with its address. No password is needed."""
    entries: list[dict[str, Any]] = []
    for account in Accounts(home).each():
        if not isinstance(account, Account):
            say(f"aitbc: account {account[0]}: {account[1]}")
            continue
        try:
            entries.append(describe_account(account))
        except KeystoreError as error:
            say(f"aitbc: account {account.name}: {error}")
    rows = [[entry["name"], entry["address"] or "(the file names none)", _role(entry)] for entry in entries]
    if not rows:
        say(f"No account in {Accounts(home).folder} yet; make one with: aitbc wallet new NAME")
    emit(as_json, {"accounts": entries}, columns(rows) if rows else [])


def show(
    name: Name,
    home: Home,
    public_key: Annotated[
        bool,
        typer.Option("--public-key", help="Also the public key, as a network file names a validator's; unlocks it."),
    ] = False,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """One account: its address, what kind of key it is, and where its file lies."""
    account = account_of(Accounts(home), name)
    entry = describe_account(account)
    if isinstance(account.key, Keystore):
        parameters = account.key.fields["crypto"]["kdfparams"]
        entry["key_derivation"] = f"{account.key.fields['crypto']['kdf']} {parameters.get('n') or parameters['c']}"
    if public_key:
        entry["public_key"] = to_hex(account.open(password_file).public_key)
    shown = entry | {"attester_of": _role(entry) or None}
    emit(as_json, entry, columns([(label, str(value)) for label, value in shown.items() if value is not None]))


def rename(name: Name, new_name: NewName, home: Home, as_json: AsJson = False) -> None:
    """Give an account another name. Its address and password stay."""
    accounts = Accounts(home)
    account = account_of(accounts, name)
    with accounts.hold(account, say):
        emit_account(accounts.rename(account, new_name), as_json)


def remove(name: Name, home: Home, yes: Yes = False, as_json: AsJson = False) -> None:
    """Take an account out of the wallet. Its file is kept in the home's folder `removed`: deleting it is up to you."""
    accounts = Accounts(home)
    account = account_of(accounts, name)
    if not yes:
        _confirm_removal(account)
    with accounts.hold(account, say):
        kept = accounts.remove(account)
    if isinstance(account.key, Keystore):
        say(f"To have it back: aitbc wallet import {account.name} --keystore {kept}")
    document = {"name": account.name, "address": describe_account(account)["address"], "kept": str(kept)}
    emit(as_json, document, [str(kept)])


def bind(
    name: Name,
    home: Home,
    network_file: Annotated[Path, typer.Option("--network", help="The network's TOML file.")],
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Make an account an attester's, for one network and for good.

    An attestation names no chain, so an attester's key must never serve two: from then on its keystore names the
    network, and signing refuses any other.
    """
    from chain.primitives.network import parse_network

    account = account_of(Accounts(home), name)
    network = parse_network(read_text(str(network_file), _MAX_NETWORK_FILE_BYTES))
    keystore = account.keystore
    password = read_password(password_file, purpose=f"the account {account.name}")
    bind_to_network(keystore, password, AttesterNetwork(network.chain_id, network.genesis_hash))
    emit_account(Accounts(home).get(account.name), as_json)


def describe_account(account: Account) -> dict[str, Any]:
    """What can be said of an account without its password: the JSON object of every command that shows one."""
    address = account.key.address
    network, derivation_path = _origin(account.key)
    return {
        "name": account.name,
        "address": to_checksum_address(address) if address else None,
        "kind": account.kind,
        "attester_of": network and {"chain_id": network.chain_id, "genesis_hash": to_hex(network.genesis_hash)},
        "derivation_path": derivation_path,
        "path": str(account.key.path),
    }


def emit_account(account: Account, as_json: bool, extra: dict[str, str] | None = None) -> None:
    """The account on stdout, and `extra` fields, one line each."""
    entry = describe_account(account)
    lines = [f"{entry['name']}  {entry['address']}  {_role(entry)}".rstrip(), entry["path"]]
    emit(as_json, entry | (extra or {}), [*lines, *(extra or {}).values()])


def _origin(key: Keystore | LedgerAccount) -> tuple[AttesterNetwork | None, str | None]:
    if isinstance(key, LedgerAccount):
        return None, key.derivation_path
    derivation_path = key.fields.get(DERIVATION_FIELD)
    return attester_network(key), derivation_path if isinstance(derivation_path, str) else None


def _role(entry: dict[str, Any]) -> str:
    if network := entry["attester_of"]:
        return f"attester of chain {network['chain_id']}"
    return "Ledger" if entry["kind"] == "ledger" else ""


def _confirm_removal(account: Account) -> None:
    role = _role(describe_account(account))
    say(f"{account.name} {describe_account(account)['address']}{f' ({role})' if role else ''} leaves this wallet.")
    if not sys.stdin.isatty():
        raise CommandError("nobody is there to confirm it: add --yes; nothing was removed", ExitCode.NOT_CONFIRMED)
    if ask("Type its name to confirm: ") != account.name:
        raise CommandError("not confirmed; nothing was removed", ExitCode.NOT_CONFIRMED)
