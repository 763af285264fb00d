"""What lies in a node's data folder: the network file, the chain, and the validator's key where it has one.

network.toml     a copy of the network file
validator.key    JSON, readable by its owner alone; followers have none
chain/           LevelDB
"""

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.network import MAX_NETWORK_FILE_BYTES, Network, parse_network
from chain.primitives.rejection import Rejected

KEY_FILE_VERSION: Final = 1
_MAX_KEY_FILE_BYTES: Final = 4096
_OWNER_ONLY: Final = 0o600


class SetupError(Exception):
    """Something about the folder or its files has to be put right by the operator; `str(error)` says what and how."""


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """The paths in a data folder."""

    path: Path

    @property
    def network_file(self) -> Path:
        """A copy of the network file."""
        return self.path / "network.toml"

    @property
    def key_file(self) -> Path:
        """The validator's key."""
        return self.path / "validator.key"

    @property
    def chain(self) -> Path:
        """The database."""
        return self.path / "chain"

    @classmethod
    def existing(cls, path: Path) -> Self:
        """A folder that `create` has made; raises SetupError for any other."""
        folder = cls(path)
        if not folder.network_file.is_file():
            raise SetupError(
                f"{path} is no node's data folder: make one with `aitbc node init --network FILE --data-dir {path}`"
            )
        return folder

    @classmethod
    def create(cls, path: Path, network_text: str) -> Self:
        """Makes the folder, or accepts one that was made for the same network. Raises SetupError and Rejected."""
        network = parse_network(network_text)
        folder = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder.network_file.exists():
                existing = folder.read_network()
                if existing.genesis_hash != network.genesis_hash:
                    raise SetupError(
                        f"{path} belongs to the network {existing.name!r} with the genesis hash "
                        f"{to_hex(existing.genesis_hash)}; this file's is {to_hex(network.genesis_hash)}. "
                        "Choose another folder."
                    )
            _write_whole(folder.network_file, network_text.encode())
        except OSError as error:
            raise SetupError(f"cannot write to {path}: {error.strerror or error}") from None
        return folder

    def read_network(self) -> Network:
        """The folder's network. Raises SetupError and Rejected."""
        return parse_network(read_network_text(self.network_file))


def read_network_text(path: Path) -> str:
    """The text of a network file, bounded. Raises SetupError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_NETWORK_FILE_BYTES + 1)
        if len(content) > MAX_NETWORK_FILE_BYTES:
            raise SetupError(f"{path} is larger than any network file: at most {MAX_NETWORK_FILE_BYTES} bytes")
        return content.decode()
    except OSError as error:
        raise SetupError(f"cannot read the network file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SetupError(f"{path} is not a network file: it is not UTF-8 text") from None


def write_key_file(path: Path, key: PrivateKey) -> None:
    """A new file that only its owner can read. Raises SetupError, also where the file exists: keys are not replaced."""
    fields = {
        "version": KEY_FILE_VERSION,
        "address": to_checksum_address(key.address),
        "public_key": to_hex(key.public_key),
        "private_key": to_hex(key.secret),
    }
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(fields, indent=2).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise SetupError(f"{path} exists already, and a key is never overwritten: move it away first") from None
    except OSError as error:
        raise SetupError(f"cannot write the key file {path}: {error.strerror or error}") from None


def read_key_file(path: Path) -> PrivateKey:
    """A validator's key. Raises SetupError, also where others than the file's owner could read it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise SetupError(f"cannot read the key file {path}: {error.strerror or error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SetupError(f"{path} can be read by other users (mode {mode:04o}): run `chmod 600 {path}` first")
    try:
        fields = json.loads(content)
        if fields["version"] != KEY_FILE_VERSION:
            raise SetupError(f"{path} has version {fields['version']!r}, this aitbc reads version {KEY_FILE_VERSION}")
        key = PrivateKey(parse_hex(fields["private_key"], length=32, field="private_key"))
        if fields["address"] != to_checksum_address(key.address):
            raise SetupError(f"{path} is damaged: its address does not belong to its key")
        return key
    except (ValueError, KeyError, TypeError, Rejected):
        raise SetupError(f"{path} is not a validator's key file") from None


def _write_whole(path: Path, content: bytes) -> None:
    """The file is there whole or as it was before."""
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
