"""`aitbc wallet`: the keys on this machine. What asks a node is in `wallet.chain_commands` and `receipt_commands`.

Starts fast: nothing here or in what it imports loads httpx, FastAPI or torch; a command that needs them does.
"""

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from wallet import chain_commands, receipt_commands
from wallet.accounts import Account, Accounts
from wallet.attester import AttesterNetwork, attester_network, bind_to_network, network_field
from wallet.keystore import LIGHT_SCRYPT_N, STANDARD_SCRYPT_N, Keystore, KeystoreError, read_keystore
from wallet.options import AsJson, Home, Light, PasswordFile
from wallet.passwords import has_terminal, read_password
from wallet.terminal import EXIT_CODES, CommandError, ExitCode, WalletGroup, columns, emit, say

_MAX_KEY_TEXT: Final = 256
_MAX_NETWORK_FILE_BYTES: Final = 1024 * 1024

app = typer.Typer(
    name="wallet", cls=WalletGroup, no_args_is_help=True, rich_markup_mode=None, epilog=EXIT_CODES, add_completion=False
)
app.command("balance")(chain_commands.balance)
app.command("send")(chain_commands.send)
app.command("mint")(chain_commands.mint)
app.command("history")(chain_commands.history)
app.add_typer(receipt_commands.app, name="receipt")

Name = Annotated[str, typer.Argument(help="Name of the account: letters, digits, '.', '_', '-'.")]


@app.callback()
def wallet() -> None:
    """Keep keys, see balances, send AIT, mint for receipts and check them."""


@app.command()
def new(
    name: Name, home: Home, password_file: PasswordFile = None, light: Light = False, as_json: AsJson = False
) -> None:
    """Make a new key. The keystore file and its password are the only way to it: back up both."""
    accounts = Accounts(home)
    _check_free(accounts, name)
    password = read_password(password_file, purpose=f"the new account {name}", is_new=True)
    account = accounts.create(name, PrivateKey.generate(), password, scrypt_n=_scrypt_n(light))
    _emit_account(account, as_json)


@app.command("import")
def import_(
    name: Name,
    home: Home,
    keystore: Annotated[
        Path | None, typer.Option("--keystore", help="A Web3 keystore (geth, Foundry, …); its password stays the same.")
    ] = None,
    password_file: PasswordFile = None,
    light: Light = False,
    as_json: AsJson = False,
) -> None:
    """Bring in a key: from --keystore FILE, else as hex digits from stdin or, at a terminal, from a hidden prompt."""
    accounts = Accounts(home)
    _check_free(accounts, name)
    extra: dict[str, object] = {}
    if keystore is not None:
        locked = _read_foreign_keystore(keystore)
        password = read_password(password_file, purpose=str(keystore))
        key = locked.unlock(password)
        if named := attester_network(locked):
            extra = network_field(named)
    else:
        key = _read_key()
        password = read_password(password_file, purpose=f"the account {name}", is_new=True)
    _emit_account(accounts.create(name, key, password, scrypt_n=_scrypt_n(light), extra=extra), as_json)


@app.command("list")
def list_(home: Home, as_json: AsJson = False) -> None:
    """Every account of this home, with its address. No password is needed."""
    found: list[Account] = []
    for account in Accounts(home).each():
        if isinstance(account, Account):
            found.append(account)
        else:
            say(f"aitbc: account {account[0]}: {account[1]}")
    entries = [_describe(account) for account in found]
    rows = [[entry["name"], entry["address"] or "(the file names none)", _role(entry)] for entry in entries]
    if not rows:
        say(f"No account in {Accounts(home).folder} yet; make one with: aitbc wallet new NAME")
    emit(as_json, {"accounts": entries}, columns(rows) if rows else [])


@app.command()
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

    account = Accounts(home).find(name)
    network = parse_network(_read_text(network_file, _MAX_NETWORK_FILE_BYTES))
    password = read_password(password_file, purpose=f"the account {name}")
    bind_to_network(account.keystore, password, AttesterNetwork(network.chain_id, network.genesis_hash))
    _emit_account(Accounts(home).get(account.name), as_json)


def _scrypt_n(light: bool) -> int:
    return LIGHT_SCRYPT_N if light else STANDARD_SCRYPT_N


def _check_free(accounts: Accounts, name: str) -> None:
    """Said before anyone is asked for a password; `create` makes sure of it."""
    if accounts.path_of(name).exists():
        raise CommandError(f"there is an account {name!r} already; nothing was changed", ExitCode.FAILED)


def _read_key() -> PrivateKey:
    """From a hidden prompt, or from stdin where that is no terminal; never from the command line, which others see."""
    if sys.stdin.isatty() and has_terminal():
        text = getpass.getpass("Private key, 64 hex digits: ", stream=sys.stderr)
    else:
        text = sys.stdin.read(_MAX_KEY_TEXT + 1)
    text = text.strip()
    try:
        return PrivateKey(parse_hex(text if text.startswith("0x") else "0x" + text, length=32, field="the key"))
    except Rejected as error:
        raise CommandError(f"no private key: {error.message}", ExitCode.FAILED) from None


def _read_foreign_keystore(path: Path) -> Keystore:
    try:
        return read_keystore(path)
    except KeystoreError:
        # Other tools leave such files open to everybody; ours will not be.
        locked = read_keystore(path, allow_shared=True)
        say(f"aitbc: note: other users of this machine may read {path}; the copy in your wallet will be closed to them")
        return locked


def _read_text(path: Path, longest: int) -> str:
    with path.open("rb") as file:
        content = file.read(longest + 1)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8 text", ExitCode.FAILED) from None


def _describe(account: Account) -> dict[str, Any]:
    network = attester_network(account.keystore)
    address = account.keystore.address
    return {
        "name": account.name,
        "address": to_checksum_address(address) if address else None,
        "attester_of": network and {"chain_id": network.chain_id, "genesis_hash": to_hex(network.genesis_hash)},
        "path": str(account.keystore.path),
    }


def _role(entry: dict[str, Any]) -> str:
    network = entry["attester_of"]
    return f"attester of chain {network['chain_id']}" if network else ""


def _emit_account(account: Account, as_json: bool) -> None:
    entry = _describe(account)
    emit(as_json, entry, [f"{entry['name']}  {entry['address']}  {_role(entry)}".rstrip(), entry["path"]])
