"""A wallet's home: a folder with one keystore per named account.

$AITBC_HOME or ~/.aitbc
  keys/NAME.json        Web3 Secret Storage v3, mode 0600
  networks/…            which networks this wallet knows (`wallet.known_networks`)
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Address
from wallet.keystore import STANDARD_SCRYPT_N, Keystore, KeystoreError, read_keystore, save_key

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
    """A named keystore, locked."""

    name: str
    keystore: Keystore

    @property
    def address(self) -> Address:
        """As its file says; raises AccountError for a foreign file that says nothing."""
        address = self.keystore.address
        if address is None:
            raise AccountError(
                f"{self.keystore.path} names no address; bring it in with: aitbc wallet import --keystore"
            )
        return address


class Accounts:
    """The accounts in one home."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "keys"

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

    def get(self, name: str) -> Account:
        """The account of this name; raises AccountError where there is none, KeystoreError where its file is bad."""
        path = self.path_of(name)
        if not path.exists():
            raise AccountError(f"there is no account {name!r} in {self.folder}; see: aitbc wallet list")
        return Account(name, read_keystore(path))

    def find(self, name_or_address: str) -> Account:
        """By name, or by an address that one of the files names."""
        if not name_or_address.startswith(("0x", "0X")):
            return self.get(name_or_address)
        address = parse_address(name_or_address)
        for account in self.readable():
            if account.keystore.address == address:
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

    @contextlib.contextmanager
    def hold(self, account: Account, on_wait: Callable[[str], None]) -> Iterator[None]:
        """Lets one process at a time choose a nonce for an account and use it; two would replace each other's."""
        descriptor = os.open(self.folder / f".{account.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait(f"waiting for another command that sends from {account.name}")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

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
