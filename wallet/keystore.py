"""Private keys at rest: Web3 Secret Storage version 3, the format of geth, Foundry, MetaMask's export and eth-account.

    save_key(path, key, password)                      writes a new file, 0600, whole or not at all, never over another
    load_key(path, password) -> PrivateKey             geth's, Foundry's and our own
    read_keystore(path) -> Keystore                    what can be known without the password: address, extra fields

eth-keyfile does the cryptography; here stands what surrounds it: bounds, permissions, atomic writing, plain errors.
Extra JSON fields (an attester's network) stand beside those of the format, where every reader ignores them; they are
not secret and not authenticated.
"""

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from wallet.credentials import is_closed
from wallet.ethereum_libraries import load_library
from wallet.keystore_format import SECRET_BYTES, parse_fields

STANDARD_SCRYPT_N: Final = 262_144
"""geth's standard: about a second and 256 MiB. For keys of people, and of anything worth stealing."""
LIGHT_SCRYPT_N: Final = 4_096
"""geth's light: about 15 ms and 4 MiB. For devnets, tests and machines whose password lies beside the key."""

MAX_KEYSTORE_BYTES: Final = 64 * 1024
MAX_PASSWORD_BYTES: Final = 1024
_OWN_FIELDS: Final = frozenset({"address", "crypto", "id", "version"})


class KeystoreError(OSError):
    """A keystore cannot be written, read or opened; the message says what to do."""


class WrongPasswordError(KeystoreError):
    """The password does not open this keystore."""


class AlreadyExistsError(KeystoreError):
    """There is something at the path already; nothing was written."""


class Keystore(msgspec.Struct, frozen=True):
    """A checked file, still locked."""

    path: Path
    fields: dict[str, Any]
    """The JSON object; names of fields in lower case, as some tools write `Crypto`."""

    @property
    def address(self) -> Address | None:
        """What the file says; None where it says nothing, as Foundry's. Only `unlock` makes sure of it."""
        text = self.fields.get("address")
        return Address(bytes.fromhex(text.removeprefix("0x"))) if text else None

    def unlock(self, password: str) -> PrivateKey:
        """The key; raises WrongPasswordError, or KeystoreError where the file contradicts itself."""
        try:
            secret = load_library("eth_keyfile.keyfile").decode_keyfile_json(self.fields, _password_bytes(password))
        except ValueError as error:
            if "MAC mismatch" in str(error):
                raise WrongPasswordError(f"the password does not open {self.path}") from None
            raise KeystoreError(f"{self.path} is damaged: {error}") from None
        except MemoryError:
            raise KeystoreError(f"too little memory to open {self.path}: scrypt needs up to 1 GiB") from None
        try:
            # Some old tools dropped leading zeros of the secret.
            key = PrivateKey(bytes(secret).rjust(SECRET_BYTES, b"\0"))
        except Rejected as error:
            raise KeystoreError(f"{self.path} holds no usable key: {error.message}") from None
        if self.address is not None and self.address != key.address:
            raise KeystoreError(
                f"{self.path} names {to_checksum_address(self.address)}, "
                f"but its key belongs to {to_checksum_address(key.address)}: do not trust this file"
            )
        return key


def save_key(
    path: Path | str,
    key: PrivateKey,
    password: str,
    *,
    scrypt_n: int = STANDARD_SCRYPT_N,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Writes a new keystore with mode 0600; raises KeystoreError where the path exists or cannot be written.

    `scrypt_n` is scrypt's cost, a power of two; `extra` are JSON fields to stand beside those of the format.
    """
    path = Path(path)
    extra = dict(extra or {})
    assert not _OWN_FIELDS & {name.lower() for name in extra}
    assert scrypt_n.bit_count() == 1
    if os.path.lexists(path):  # Said before a second of scrypt; `write_new_file` makes sure of it.
        raise _exists(path)
    fields = load_library("eth_keyfile.keyfile").create_keyfile_json(
        key.secret, _password_bytes(password), kdf="scrypt", iterations=scrypt_n
    )
    # Lower case and without 0x, as geth writes it.
    fields |= {"address": key.address.hex()} | extra
    write_new_file(path, _to_json(fields))


def add_field(keystore: Keystore, extra: Mapping[str, object]) -> None:
    """Replaces a keystore's file by one with further fields; raises KeystoreError where it has one of them already."""
    assert not _OWN_FIELDS & extra.keys()
    if extra.keys() & keystore.fields.keys():
        raise KeystoreError(f"{keystore.path} has the field {', '.join(extra)} already")
    replace_file(keystore.path, _to_json(keystore.fields | dict(extra)))


def copy_keystore(keystore: Keystore, path: Path) -> None:
    """Writes the same keystore to another place, for the same password; AlreadyExistsError, KeystoreError."""
    write_new_file(path, _to_json(keystore.fields))


def load_key(path: Path | str, password: str, *, allow_shared: bool = False) -> PrivateKey:
    """The key in a keystore file; raises WrongPasswordError or KeystoreError.

    `allow_shared` also takes files that others may read or write.
    """
    return read_keystore(path, allow_shared=allow_shared).unlock(password)


def read_keystore(path: Path | str, *, allow_shared: bool = False) -> Keystore:
    """A checked, still locked keystore; raises KeystoreError. `allow_shared` as in `load_key`."""
    path = Path(path)
    text = read_closed_file(path, allow_shared=allow_shared)
    try:
        fields = parse_fields(text)
    except ValueError as error:
        raise KeystoreError(f"{path} is not a Web3 Secret Storage version 3 keystore: {error}") from None
    return Keystore(path, fields)


def read_closed_file(path: Path, *, allow_shared: bool = False) -> bytes:
    """A small file's content; raises KeystoreError where it is none, is too large, or is open to other users."""
    try:
        # Non-blocking, so that a named pipe in the place of the file does not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeystoreError(f"{path} is not a file")
            if not allow_shared and not is_closed(path, status.st_mode):
                raise KeystoreError(
                    f"{path} is open to other users of this machine (mode {stat.S_IMODE(status.st_mode):04o}); "
                    f"close it with: chmod 600 {path}"
                )
            text = file.read(MAX_KEYSTORE_BYTES + 1)
    except KeystoreError:
        raise
    except OSError as error:
        raise KeystoreError(f"cannot read {path}: {error.strerror or error}") from None
    if len(text) > MAX_KEYSTORE_BYTES:
        raise KeystoreError(f"{path} is not a keystore: larger than {MAX_KEYSTORE_BYTES} bytes")
    return text


def write_new_file(path: Path, content: bytes) -> None:
    """Creates `path` with mode 0600 and durable content, whole or not at all; AlreadyExistsError where it exists."""
    _write_whole(path, content, _link_new)


def move_file(source: Path, target: Path) -> None:
    """Gives a file another name, durably; AlreadyExistsError where that name is taken.

    At every moment one of the names leads to the file: after a power cut perhaps both.
    """
    try:
        _make_folder(target.parent)
        _link_new(source, target)
        sync_folder(target.parent)
        source.unlink()
        sync_folder(source.parent)
    except KeystoreError:
        raise
    except OSError as error:
        raise KeystoreError(f"cannot move {source} to {target}: {error.strerror or error}") from None


def replace_file(path: Path, content: bytes) -> None:
    """The same in place of what is there: afterwards the path holds the old content or the new, never a part."""
    _write_whole(path, content, os.replace)


def _write_whole(path: Path, content: bytes, put_in_place: Callable[[Path, Path], None]) -> None:
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.new"
    try:
        _make_folder(path.parent)
        try:
            _write_synced(temporary, content)
            put_in_place(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        sync_folder(path.parent)
    except KeystoreError:
        raise
    except OSError as error:
        raise KeystoreError(f"cannot write {path}: {error.strerror or error}") from None


def _link_new(temporary: Path, path: Path) -> None:
    """A link where one might expect a rename: a rename would replace a file that appeared meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _exists(path) from None


def _make_folder(folder: Path) -> None:
    """Durably, with what leads to it: or a power cut could take a new folder away with the file in it."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        with contextlib.suppress(PermissionError):  # Of a folder that only its owner may list.
            sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Makes the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _to_json(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, indent=2).encode() + b"\n"


def _exists(path: Path) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"{path} exists already; nothing was written. Choose another name, or move that file away"
    )


def _password_bytes(password: str) -> bytes:
    try:
        encoded = password.encode()
    except UnicodeEncodeError:  # The environment may hold any bytes.
        raise KeystoreError("the password is not UTF-8 text") from None
    if len(encoded) > MAX_PASSWORD_BYTES:
        raise KeystoreError(f"a password has at most {MAX_PASSWORD_BYTES} bytes")
    return encoded
