"""Which networks a wallet knows: the first node that it meets for a chain id sets the genesis hash, for good.

A chain id is a number that anyone can claim; the genesis hash is what a network is. So a node that claims a known chain
id with another genesis is refused, and so is another chain id than the wallet's own, unless the user asks for it.

    networks/CHAIN_ID.json   what stays the same for the life of a network, and the node to ask, which may change
    networks/default         the chain id of the network that is meant where nobody says which
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec

from chain.primitives.transaction import MAX_CHAIN_ID
from wallet.keystore import AlreadyExistsError, KeystoreError, replace_file, write_new_file

_MAX_FILE_BYTES: Final = 64 * 1024  # Far more than the longest name and URL take.
_ENDING: Final = ".json"
_MAX_NETWORKS: Final = 1_000


class KnownNetwork(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network; the hash as lowercase 0x-hex."""

    chain_id: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHAIN_ID)]
    genesis_hash: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]
    name: Annotated[str, msgspec.Meta(max_length=256)]
    node_url: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    """Whom to ask where the command line does not say."""


class NetworkMismatchError(Exception):
    """The node serves another network than the one that this wallet expects."""


class UnknownNetworkError(KeystoreError):
    """No network of this home is meant by that, or several are."""


class KnownNetworks:
    """The networks that one home remembers."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "networks"

    def check(self, met: KnownNetwork, expected_chain_id: int | None) -> KnownNetwork:
        """The network as it is remembered, from first sight on; NetworkMismatchError where it is not the expected one.

        `expected_chain_id` is what the user asked for; without it, the default network, which is the first one met.
        """
        self.compare(met, expected_chain_id)
        known = self._remember(met)
        _check_genesis(known, met, self.path_of(met.chain_id))
        if self.default_chain_id() is None:
            self._write_first(self.folder / "default", _default_file(met.chain_id))
        return known

    def compare(self, met: KnownNetwork, expected_chain_id: int | None) -> None:
        """Raises NetworkMismatchError as `check`, but remembers nothing."""
        expected = self.meant(expected_chain_id)
        if expected is not None and met.chain_id != expected:
            how = "remembered by this wallet" if expected_chain_id is None else "asked for"
            raise NetworkMismatchError(
                f"the node serves chain {met.chain_id} ({met.name}), not chain {expected}, which was {how}. "
                f"If you mean the node's network, add --chain-id {met.chain_id}, or use another --home"
            )
        if known := self.get(met.chain_id):
            _check_genesis(known, met, self.path_of(met.chain_id))

    def add(self, network: KnownNetwork, *, name: str | None = None) -> KnownNetwork:
        """Remembers a network, or another node's URL of a known one; NetworkMismatchError where the genesis differs.

        `name` is what the user calls it, known before or not. The first network of a home becomes the default.
        """
        known = self._remember(network if name is None else msgspec.structs.replace(network, name=name))
        path = self.path_of(network.chain_id)
        _check_genesis(known, network, path)
        changed = msgspec.structs.replace(
            known, name=known.name if name is None else name, node_url=network.node_url or known.node_url
        )
        if changed != known:
            _check_form(changed)
            replace_file(path, _network_file(changed))
        if self.default_chain_id() is None:
            self._write_first(self.folder / "default", _default_file(network.chain_id))
        return changed

    def use(self, network: KnownNetwork) -> None:
        """Makes it the default."""
        replace_file(self.folder / "default", _default_file(network.chain_id))

    def remove(self, network: KnownNetwork) -> None:
        """Forgets it; where it was the default, the next one met becomes it."""
        if self.default_chain_id() == network.chain_id:
            (self.folder / "default").unlink(missing_ok=True)
        self.path_of(network.chain_id).unlink(missing_ok=True)

    def get(self, chain_id: int) -> KnownNetwork | None:
        """The network of this chain id; raises KeystoreError where its file is damaged."""
        path = self.path_of(chain_id)
        try:
            network = msgspec.json.decode(self._read(path), type=KnownNetwork)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise KeystoreError(f"{path} is damaged ({error}); remove it, and the wallet writes it anew") from None
        if network.chain_id != chain_id:
            raise KeystoreError(f"{path} is damaged (it is of chain {network.chain_id}); remove it")
        return network

    def find(self, name_or_chain_id: str) -> KnownNetwork:
        """By chain id or by name; raises UnknownNetworkError where none or several have it."""
        networks = self.each()
        found = [each for each in networks if name_or_chain_id == str(each.chain_id)]
        # A network may be called like another one's number; its own number still means it.
        found = found or [each for each in networks if name_or_chain_id == each.name]
        if not found:
            raise UnknownNetworkError(
                f"this home knows no network {name_or_chain_id[:80]!r}; see: aitbc wallet network list"
            )
        if len(found) > 1:
            chain_ids = ", ".join(str(each.chain_id) for each in found)
            raise UnknownNetworkError(
                f"several networks are called {name_or_chain_id[:80]!r}: say a chain id ({chain_ids})"
            )
        return found[0]

    def each(self) -> list[KnownNetwork]:
        """By chain id; raises KeystoreError where a file is damaged."""
        if not self.folder.exists():
            return []
        stems = [path.stem for path in self.folder.iterdir() if path.suffix == _ENDING and _is_chain_id(path.stem)]
        found = [self.get(chain_id) for chain_id in sorted(map(int, stems))[:_MAX_NETWORKS]]
        return [network for network in found if network is not None]

    def default_chain_id(self) -> int | None:
        """The chain id of the network that is meant where nobody says which; KeystoreError for a damaged file."""
        path = self.folder / "default"
        try:
            text = self._read(path).strip().decode("ascii", errors="replace")
        except FileNotFoundError:
            return None
        if not _is_chain_id(text):
            raise KeystoreError(f"{path} is damaged: it should hold a chain id and nothing else")
        return int(text)

    def meant(self, asked_for: int | None) -> int | None:
        """The chain id that was asked for, or else that of the default network; None where there is neither."""
        return self.default_chain_id() if asked_for is None else asked_for

    def path_of(self, chain_id: int) -> Path:
        """The file of a network."""
        return self.folder / f"{chain_id}{_ENDING}"

    def _remember(self, met: KnownNetwork) -> KnownNetwork:
        """The network as the first one wrote it: two processes that meet it at once must agree on what that one saw."""
        _check_form(met)
        self._write_first(self.path_of(met.chain_id), _network_file(met))
        known = self.get(met.chain_id)
        return met if known is None else known

    @staticmethod
    def _write_first(path: Path, content: bytes) -> None:
        """Unless it is there."""
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


def _check_form(network: KnownNetwork) -> None:
    """What nodes say of themselves has no bounds; what is written must be readable again."""
    try:
        msgspec.convert(msgspec.structs.asdict(network), KnownNetwork)
    except msgspec.ValidationError as error:
        raise KeystoreError(f"this cannot be remembered as a network: {error}") from None


def _check_genesis(known: KnownNetwork, met: KnownNetwork, path: Path) -> None:
    if known.genesis_hash != met.genesis_hash:
        raise NetworkMismatchError(
            f"chain {met.chain_id} is said to have begun with genesis {met.genesis_hash}, but this wallet knows it "
            f"with genesis {known.genesis_hash}: another network under the same number, or a node that lies. "
            f"Nothing was sent. If the network was really started anew, remove {path}"
        )


def _network_file(network: KnownNetwork) -> bytes:
    return msgspec.json.format(msgspec.json.encode(network)) + b"\n"


def _default_file(chain_id: int) -> bytes:
    return str(chain_id).encode() + b"\n"


def _is_chain_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text[:11])) == text and 1 <= int(text) <= MAX_CHAIN_ID
