"""Which networks a wallet knows: the first node that it meets for a chain id sets the genesis hash, for good.

A chain id is a number that anyone can claim; the genesis hash is what a network is. So a node that claims a known chain
id with another genesis is refused, and so is another chain id than the wallet's own, unless the user asks for it.
Each file under `networks/` is written once and never changed: `CHAIN_ID.json`, and `default` with a chain id in it.
"""

import json
from pathlib import Path
from typing import Final

import msgspec

from wallet.keystore import AlreadyExistsError, KeystoreError, write_new_file

_MAX_FILE_BYTES: Final = 4096


class KnownNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """What stays the same for the life of a network; the hash as lowercase 0x-hex."""

    chain_id: int
    genesis_hash: str
    name: str


class NetworkMismatchError(Exception):
    """The node serves another network than the one that this wallet expects."""


class KnownNetworks:
    """The networks that one home remembers."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "networks"

    def check(self, met: KnownNetwork, expected_chain_id: int | None) -> KnownNetwork:
        """The network as it is remembered, from first sight on; NetworkMismatchError where it is not the expected one.

        `expected_chain_id` is what the user asked for; without it, the first network that this home met.
        """
        default = self._default()
        expected = default if expected_chain_id is None else expected_chain_id
        if expected is not None and met.chain_id != expected:
            how = "remembered by this wallet" if expected_chain_id is None else "asked for"
            raise NetworkMismatchError(
                f"the node serves chain {met.chain_id} ({met.name}), not chain {expected}, which was {how}. "
                f"If you mean the node's network, add --chain-id {met.chain_id}, or use another --home"
            )
        known = self._remember(met)
        if known.genesis_hash != met.genesis_hash:
            raise NetworkMismatchError(
                f"the node says chain {met.chain_id} began with genesis {met.genesis_hash}, but this wallet knows it "
                f"with genesis {known.genesis_hash}: another network under the same number, or a node that lies. "
                f"Nothing was sent. If the network was really started anew, remove {self._path(met.chain_id)}"
            )
        if default is None:
            self._write(self.folder / "default", str(met.chain_id).encode() + b"\n")
        return known

    def _remember(self, met: KnownNetwork) -> KnownNetwork:
        path = self._path(met.chain_id)
        self._write(path, msgspec.json.format(msgspec.json.encode(met)) + b"\n")
        try:
            return msgspec.json.decode(self._read(path), type=KnownNetwork)
        except msgspec.DecodeError as error:
            raise KeystoreError(f"{path} is damaged ({error}); remove it, and the wallet writes it anew") from None

    def _default(self) -> int | None:
        path = self.folder / "default"
        if not path.exists():
            return None
        try:
            return int(json.loads(self._read(path)))
        except (ValueError, TypeError, RecursionError):
            raise KeystoreError(f"{path} is damaged: it should hold a chain id and nothing else") from None

    def _path(self, chain_id: int) -> Path:
        return self.folder / f"{chain_id}.json"

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        """Unless it is there: two processes that meet a network at once must agree on what the first one saw."""
        if path.exists():
            return
        try:
            write_new_file(path, content)
        except AlreadyExistsError:
            return

    @staticmethod
    def _read(path: Path) -> bytes:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES)
