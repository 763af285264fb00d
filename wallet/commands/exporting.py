"""`export`: a key for another tool or a backup, in its keystore or bare."""

from pathlib import Path
from typing import Annotated

import typer

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from wallet.accounts import Account, AccountError, Accounts
from wallet.attester import attester_network
from wallet.commands.arguments import account_of
from wallet.keystore import KeystoreError, copy_keystore, write_new_file
from wallet.options import AsJson, Home, Name, PasswordFile, Yes
from wallet.passwords import read_password
from wallet.terminal import CommandError, ExitCode, confirm, emit


def export(
    name: Name,
    home: Home,
    keystore: Annotated[
        Path | None, typer.Option("--keystore", help="Copy the keystore to this new file; its password stays the same.")
    ] = None,
    private_key: Annotated[
        bool, typer.Option("--private-key", help="The bare key, protected by nothing, on stdout or in --output.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", help="A new file for the bare key, closed to others.")
    ] = None,
    yes: Yes = False,
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a key elsewhere: as a keystore that geth, Foundry and MetaMask read, or bare. The account stays."""
    if (keystore is not None) == private_key or (output is not None and not private_key):
        raise CommandError("give --keystore FILE, or --private-key with or without --output FILE", ExitCode.USAGE)
    account = account_of(Accounts(home), name)
    if keystore is not None:
        _export_keystore(account, keystore, password_file, as_json)
    else:
        _export_bare(account, output, password_file, as_json, yes=yes)


def _export_keystore(account: Account, path: Path, password_file: Path | None, as_json: bool) -> None:
    """Once the password has opened it: a backup that nobody can open is none."""
    locked = account.keystore
    key = locked.unlock(read_password(password_file, purpose=f"the account {account.name}"))
    copy_keystore(locked, path)
    address = to_checksum_address(key.address)
    emit(as_json, {"name": account.name, "address": address, "path": str(path)}, [f"{address}  {path}"])


def _export_bare(
    account: Account, output: Path | None, password_file: Path | None, as_json: bool, *, yes: bool
) -> None:
    locked = account.keystore
    if network := attester_network(locked):
        raise AccountError(
            f"{account.name} is an attester of chain {network.chain_id}: bare, its key would serve any network. "
            "Its keystore can be exported, and stays bound: --keystore FILE"
        )
    confirm(
        [("account", f"{account.name} {to_checksum_address(account.address)}"), ("to", str(output or "stdout"))],
        yes=yes,
        heading="Whoever sees the bare key can take everything that it owns:",
        question="Export it?",
        otherwise="nothing was exported",
    )
    if output is not None and output.exists():  # Said before the password; `write_new_file` makes sure of it.
        raise KeystoreError(f"{output} exists already; nothing was written")
    key = locked.unlock(read_password(password_file, purpose=f"the account {account.name}"))
    text = to_hex(key.secret)
    document = {"name": account.name, "address": to_checksum_address(key.address)}
    if output is None:
        emit(as_json, document | {"private_key": text}, [text])
    else:
        write_new_file(output, text.encode() + b"\n")
        emit(as_json, document | {"path": str(output)}, [str(output)])
