"""How a key comes into the wallet: `new`, `import`, `derive`. Keys and words come from prompts or stdin only."""

from pathlib import Path
from typing import Annotated, Final

import typer

from chain.primitives.hexadecimal import parse_hex, to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from wallet.accounts import Accounts
from wallet.attester import attester_network, network_field
from wallet.commands.arguments import parse_argument
from wallet.commands.keys import DERIVATION_FIELD, emit_account
from wallet.commands.phrases import can_show, read_seed, show_once
from wallet.derivation import MAX_INDEX, account_path, derive_key, format_path, parse_path
from wallet.keystore import LIGHT_SCRYPT_N, STANDARD_SCRYPT_N, Keystore, KeystoreError, read_keystore
from wallet.options import AsJson, Home, Light, NewName, PasswordFile
from wallet.passwords import read_password, read_secret
from wallet.terminal import CommandError, ExitCode, columns, emit, say
from wallet.words import new_words, seed_of

_LONGEST_KEY: Final = 256
_MOST_ADDRESSES: Final = 1000

Index = Annotated[
    int | None,
    typer.Option(
        "--index", min=0, max=MAX_INDEX, help=f"Which key of the words or Ledger: {account_path(0)[:-1]}INDEX."
    ),
]
DerivationPath = Annotated[str | None, typer.Option("--path", help="The whole derivation path, instead of --index.")]
Passphrase = Annotated[
    bool,
    typer.Option("--passphrase", help="The words have a passphrase of their own (BIP-39), which is asked for, too."),
]


def new(
    name: NewName,
    home: Home,
    words: Annotated[
        int | None,
        typer.Option("--words", help="Derive it from so many new words, 12 or 24, which restore it anywhere."),
    ] = None,
    password_file: PasswordFile = None,
    light: Light = False,
    as_json: AsJson = False,
) -> None:
    """Make a new key. The keystore file with its password, or the words, are the only way to it: back them up.

    The words are shown once, at a terminal only until they are written down; with --json, or where nobody is at a
    terminal, they stand in the output.
    """
    accounts = Accounts(home)
    _check_free(accounts, name)
    if words not in (None, 12, 24):
        raise CommandError("--words takes 12 or 24", ExitCode.USAGE)
    password = read_password(password_file, purpose=f"the new account {name}", is_new=True)
    if words is None:
        account = accounts.create(name, PrivateKey.generate(), password, scrypt_n=_scrypt_n(light))
        emit_account(account, as_json)
        return
    phrase = new_words(words)
    is_shown = can_show() and not as_json
    if is_shown:
        show_once(phrase)
    key, extra = _derived(seed_of(phrase), account_path(0))
    account = accounts.create(name, key, password, scrypt_n=_scrypt_n(light), extra=extra)
    emit_account(account, as_json, None if is_shown else {"words": phrase})


def import_(
    name: NewName,
    home: Home,
    keystore: Annotated[
        Path | None, typer.Option("--keystore", help="A Web3 keystore (geth, Foundry, …); its password stays the same.")
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="From the words of a wallet (BIP-39).")] = False,
    ledger: Annotated[bool, typer.Option("--ledger", help="A key in the connected Ledger; it stays there.")] = False,
    index: Index = None,
    derivation_path: DerivationPath = None,
    passphrase: Passphrase = False,
    password_file: PasswordFile = None,
    light: Light = False,
    as_json: AsJson = False,
) -> None:
    """Bring in a key: hex digits or words from stdin or, at a terminal, a hidden prompt; or what the options name."""
    accounts = Accounts(home)
    _check_free(accounts, name)
    if (keystore is not None) + words + ledger > 1:
        raise CommandError("--keystore, --words and --ledger exclude each other", ExitCode.USAGE)
    if (passphrase and not words) or ((index is not None or derivation_path) and not (words or ledger)):
        raise CommandError("--index and --path are for --words and --ledger, --passphrase for --words", ExitCode.USAGE)
    if ledger:
        from wallet.ledger import open_ledger

        path = _chosen_path(index, derivation_path)
        emit_account(accounts.create_for_ledger(name, path, open_ledger(path).address), as_json)
        return
    extra: dict[str, object] = {}
    if keystore is not None:
        locked = _read_foreign_keystore(keystore)
        password = read_password(password_file, purpose=str(keystore))
        key, extra = locked.unlock(password), _extra_fields(locked)
    else:
        if words:
            path = _chosen_path(index, derivation_path)
            key, extra = _derived(read_seed(with_passphrase=passphrase), path)
        else:
            key = _read_key()
        password = read_password(password_file, purpose=f"the account {name}", is_new=True)
    emit_account(accounts.create(name, key, password, scrypt_n=_scrypt_n(light), extra=extra), as_json)


def derive(
    home: Home,
    name: Annotated[
        str | None, typer.Argument(help="Keep the key as an account of this name; without one, addresses are shown.")
    ] = None,
    index: Index = None,
    derivation_path: DerivationPath = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=_MOST_ADDRESSES, help="So many addresses from --index on.")
    ] = 5,
    passphrase: Passphrase = False,
    password_file: PasswordFile = None,
    light: Light = False,
    as_json: AsJson = False,
) -> None:
    """The keys of a wallet's words, which are asked for and never kept: see addresses, or keep one as an account."""
    first = _chosen_path(index, derivation_path)
    accounts = Accounts(home)
    if name is not None:
        _check_free(accounts, name)
        key, extra = _derived(read_seed(with_passphrase=passphrase), first)
        password = read_password(password_file, purpose=f"the account {name}", is_new=True)
        emit_account(accounts.create(name, key, password, scrypt_n=_scrypt_n(light), extra=extra), as_json)
        return
    *parents, start = parse_path(first)
    seed = read_seed(with_passphrase=passphrase)
    rows: list[tuple[str, str]] = []
    # A path ends with its last index, hardened or not.
    for last in range(start, min(start + count, (start | MAX_INDEX) + 1)):
        path = format_path((*parents, last))
        rows.append((path, to_checksum_address(derive_key(seed, path).address)))
    emit(as_json, {"keys": [{"derivation_path": path, "address": address} for path, address in rows]}, columns(rows))


def _scrypt_n(light: bool) -> int:
    return LIGHT_SCRYPT_N if light else STANDARD_SCRYPT_N


def _check_free(accounts: Accounts, name: str) -> None:
    """Said before anyone is asked for a password; `create` makes sure of it."""
    if accounts.path_of(name).exists():
        raise CommandError(f"there is an account {name!r} already; nothing was changed", ExitCode.FAILED)


def _chosen_path(index: int | None, derivation_path: str | None) -> str:
    if derivation_path is None:
        return account_path(index or 0)
    if index is not None:
        raise CommandError("--index and --path exclude each other", ExitCode.USAGE)
    return format_path(parse_argument(lambda: parse_path(derivation_path)))


def _derived(seed: bytes, path: str) -> tuple[PrivateKey, dict[str, object]]:
    return derive_key(seed, path), {DERIVATION_FIELD: path}


def _read_key() -> PrivateKey:
    text = read_secret("Private key, 64 hex digits: ", longest=_LONGEST_KEY)
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


def _extra_fields(keystore: Keystore) -> dict[str, object]:
    """What a copy must say as well: whose attester it is, and where it was derived."""
    extra: dict[str, object] = {}
    if network := attester_network(keystore):
        extra = network_field(network)
    if isinstance(path := keystore.fields.get(DERIVATION_FIELD), str):
        extra[DERIVATION_FIELD] = path
    return extra
