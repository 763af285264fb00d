"""A wallet's home: a folder with one file per named account.

$AITBC_HOME or ~/.aitbc
  keys/NAME.json        Web3 Secret Storage v3, or which key of a Ledger (`wallet.ledger_account`); mode 0600
  removed/NAME-1.json   what `aitbc wallet remove` took away
  networks/…            which networks this wallet knows (`wallet.known_networks`)
"""

import contextlib
import fcntl
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.keys import PrivateKey, Signer
from chain.primitives.types import Address
from wallet.attester import attester_network
from wallet.keystore import (
    STANDARD_SCRYPT_N,
    AlreadyExistsError,
    Keystore,
    KeystoreError,
    move_file,
    read_keystore,
    save_key,
)
from wallet.ledger_account import LedgerAccount, read_ledger_account, write_ledger_account
from wallet.passwords import read_password

HOME_VARIABLE: Final = "AITBC_HOME"
_ENDING: Final = ".json"
_MAX_ACCOUNTS: Final = 10_000
# No `0x…`: a name must never be taken for an address.
_NAME: Final = re.compile(r"(?!0[xX])[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def default_home() -> Path:
    """$AITBC_HOME, or ~/.aitbc."""
    configured = os.environ.get(HOME_VARIABLE)
    return Path(configured) if configured else Path.home() / ".aitbc"


class AccountError(KeystoreError):
    """No such account, several that fit, or a name that cannot be one."""


class Account(msgspec.Struct, frozen=True):
    """A named key, out of reach: in a locked keystore, or in a Ledger."""

    name: str
    key: Keystore | LedgerAccount

    @property
    def address(self) -> Address:
        """As its file says; raises AccountError for a foreign file that says nothing."""
        address = self.key.address
        if address is None:
            raise AccountError(f"{self.key.path} names no address; bring it in with: aitbc wallet import --keystore")
        return address

    @property
    def kind(self) -> str:
        """`keystore` or `ledger`."""
        return "keystore" if isinstance(self.key, Keystore) else "ledger"

    @property
    def keystore(self) -> Keystore:
        """For what only a key in a file can do; raises AccountError where the key is in a Ledger."""
        if isinstance(self.key, Keystore):
            return self.key
        raise AccountError(f"the key of {self.name} is in a Ledger and never leaves it")

    def open(self, password_file: Path | None) -> Signer:
        """What signs for this account, once its password is there or its Ledger answers.

        Raises WrongPasswordError, KeystoreError, or SignerUnavailable where no Ledger with this key is connected.
        """
        if isinstance(self.key, Keystore):
            return self.key.unlock(read_password(password_file, purpose=f"the account {self.name}"))
        from wallet.ledger import open_ledger

        return open_ledger(self.key.derivation_path, expected=self.key.address)

    def check_may_sign_messages(self) -> None:
        """Raises AccountError for an attester's key: a message or typed data that it signs could be an attestation."""
        if isinstance(self.key, Keystore) and (network := attester_network(self.key)):
            raise AccountError(
                f"{self.name} is an attester of chain {network.chain_id}: its key signs attestations and transactions, "
                "never messages or typed data, which could be attestations that no log remembers"
            )


class Accounts:
    """The accounts in one home."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "keys"
        self.removed_folder = home / "removed"

    def path_of(self, name: str) -> Path:
        """Where the account of this name is or would be; raises AccountError for a name that cannot be one."""
        if not _NAME.fullmatch(name):
            raise AccountError(
                f"{name[:80]!r} cannot be a name: use up to 64 letters, digits, '.', '_' or '-', not beginning with 0x"
            )
        return self.folder / (name + _ENDING)

    def create(
        self,
        name: str,
        key: PrivateKey,
        password: str,
        *,
        scrypt_n: int = STANDARD_SCRYPT_N,
        extra: dict[str, object] | None = None,
    ) -> Account:
        """Stores a key under a free name; raises AccountError, or KeystoreError as `save_key`."""
        save_key(self.path_of(name), key, password, scrypt_n=scrypt_n, extra=extra)
        return self.get(name)

    def create_for_ledger(self, name: str, derivation_path: str, address: Address) -> Account:
        """Remembers a key of a Ledger under a free name; raises AccountError, or KeystoreError where it is taken."""
        write_ledger_account(self.path_of(name), derivation_path=derivation_path, address=address)
        return self.get(name)

    def get(self, name: str) -> Account:
        """The account of this name; raises AccountError where there is none, KeystoreError where its file is bad."""
        path = self.path_of(name)
        if not path.exists():
            raise AccountError(f"there is no account {name!r} in {self.folder}; see: aitbc wallet list")
        return Account(name, read_ledger_account(path) or read_keystore(path))

    def find(self, name_or_address: str) -> Account:
        """By name, or by an address that one of the files names."""
        if not name_or_address.startswith(("0x", "0X")):
            return self.get(name_or_address)
        address = parse_address(name_or_address)
        for account in self.readable():
            if account.key.address == address:
                return account
        raise AccountError(f"no account in {self.folder} has the address {to_checksum_address(address)}")

    def only(self) -> Account:
        """The account where there is exactly one; raises AccountError that says what to do."""
        names = self.names()
        if len(names) == 1:
            return self.get(names[0])
        if not names:
            raise AccountError(f"there is no account in {self.folder} yet; make one with: aitbc wallet new NAME")
        raise AccountError(f"there are {len(names)} accounts, say which one: {', '.join(names[:10])}")

    def rename(self, account: Account, name: str) -> Account:
        """Gives an account another, free name; raises AccountError, or KeystoreError where it is taken."""
        move_file(account.key.path, self.path_of(name))
        return self.get(name)

    def remove(self, account: Account) -> Path:
        """Takes an account's file out of the wallet and keeps it in another folder; returns where it is now."""
        numbers = itertools.count(1)
        while True:
            target = self.removed_folder / f"{account.name}-{next(numbers)}{_ENDING}"
            with contextlib.suppress(AlreadyExistsError):
                move_file(account.key.path, target)
                return target

    @contextlib.contextmanager
    def hold(self, account: Account, on_wait: Callable[[str], None]) -> Iterator[None]:
        """Lets one process at a time choose a nonce for an account and use it; two would replace each other's.

        The nonce is the address's, and one key may be here under two names.
        """
        address = account.key.address
        held = account.name if address is None else to_checksum_address(address)
        descriptor = os.open(self.folder / f".{held}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait(f"waiting for another command that sends from {account.name}")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def check_may_sign_messages(self, account: Account) -> None:
        """As the account's own check, and for whatever else in this home has the same key: it may be bound there."""
        account.check_may_sign_messages()
        for other in self.readable():
            if other.key.address == account.key.address:
                other.check_may_sign_messages()

    def names(self) -> list[str]:
        """In alphabetical order; files whose names no account can have are left out."""
        try:
            entries = sorted(entry.name for entry in self.folder.iterdir() if entry.name.endswith(_ENDING))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AccountError(f"cannot read {self.folder}: {error.strerror or error}") from None
        names = [entry.removesuffix(_ENDING) for entry in entries]
        return [name for name in names if _NAME.fullmatch(name)][:_MAX_ACCOUNTS]

    def readable(self) -> Iterator[Account]:
        """Every account whose file is in order."""
        for account in self.each():
            if isinstance(account, Account):
                yield account

    def each(self) -> Iterator[Account | tuple[str, KeystoreError]]:
        """Every account, or its name and what is wrong with its file."""
        for name in self.names():
            try:
                yield self.get(name)
            except KeystoreError as error:
                yield name, error
