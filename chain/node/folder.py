"""What lies in a node's data folder: the network file, the chain, and the validator's key where it has one.

network.toml     a copy of the network file
validator.key    JSON, readable by its owner alone; followers have none
validator.remote the same without the key, where a remote signer holds it
votes.journal    what the validator has voted for, and must not contradict
peers.json       where peers were reached, forgotten without harm
chain/           LevelDB
"""

import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final, Self

import structlog

from chain.node.key_file import (
    SetupError,
    read_journal_id,
    read_key_file,
    read_owner,
    write_journal_id,
    write_key_file,
)
from chain.node.whole_file import write_whole
from chain.primitives.hexadecimal import to_hex
from chain.primitives.network import MAX_NETWORK_FILE_BYTES, Network, parse_network
from chain.storage.errors import JournalDamaged, JournalForeign, JournalMissing
from chain.storage.journal import VoteJournal, read_journal
from chain.storage.journal_file import WAYS_OUT, missing, open_locked, sync_folder
from chain.storage.journal_format import JournalContent
from chain.storage.journal_reading import check_identity

__all__ = [
    "NodeFolder",
    "SetupError",
    "open_journal",
    "read_journal_id",
    "read_key_file",
    "read_network_text",
    "refuse_used_key",
    "write_key_file",
]

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("chain.node")


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
    def remote_key_file(self) -> Path:
        """Where the validator's key is, if a remote signer holds it."""
        return self.path / "validator.remote"

    @property
    def journal(self) -> Path:
        """What the validator has voted for."""
        return self.path / "votes.journal"

    @property
    def peers_file(self) -> Path:
        """URLs of peers that were reached."""
        return self.path / "peers.json"

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
            write_whole(folder.network_file, network_text.encode())
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


def refuse_used_key(folder: NodeFolder, key_file: Path) -> None:
    """Raises SetupError for a key that has voted from another folder than this one."""
    journal_id = read_journal_id(key_file)
    if journal_id is None:
        return
    if folder.key_file.exists() and read_journal_id(folder.key_file) == journal_id:
        return
    raise SetupError(
        f"{key_file} holds a key that has voted already, and its votes are in another data folder. Never run two nodes "
        "with one key: move that whole folder instead of copying the key, or make a new key with `aitbc node new-key`"
    )


def open_journal(
    folder: NodeFolder,
    network: Network,
    *,
    accept_lost_history: bool,
    chain_height: int,
    key_file: Path | None = None,
) -> tuple[VoteJournal, bool]:
    """The validator's vote journal, made at its first run, and whether votes may be missing from it.

    `key_file` is the folder's, unless its key is in a remote signer.
    `accept_lost_history`: the operator knows that no other process holds the key, and wants to go on without the
    votes. Only while the folder's chain is open, whose lock keeps other processes out. Raises SetupError and
    StorageError.
    """
    try:
        journal = _Opening(folder, key_file or folder.key_file, network).open(accept_lost_history=accept_lost_history)
    except JournalMissing as error:
        raise SetupError(f"{error} The chain in this folder is at height {chain_height}.") from None
    except (JournalForeign, JournalDamaged) as error:
        raise SetupError(str(error)) from None
    return journal, journal.is_history_lost


class _Opening:
    """Which journal belongs to the key, and what to do where it is not there.

    A new journal is on the disk before its id is in the key file, and both are before the first vote.
    """

    def __init__(self, folder: NodeFolder, key_file: Path, network: Network) -> None:
        self._path, self._key_file = folder.journal, key_file
        self._genesis_hash = network.genesis_hash
        self._owner = read_owner(self._key_file)
        self._known_id = read_journal_id(self._key_file)

    def open(self, *, accept_lost_history: bool) -> VoteJournal:
        """Raises JournalMissing, JournalForeign and JournalDamaged unless lost votes are accepted."""
        try:
            found = read_journal(self._path)
            if found is None and self._known_id is not None:
                raise missing(self._path)
            if found is None:
                return self._create(is_history_lost=accept_lost_history)
            if self._is_of_former_key(found):
                self._set_aside("it holds the votes of a former key")
                return self._create(is_history_lost=accept_lost_history)
            return self._open(found, accept_lost_history=accept_lost_history)
        except (JournalMissing, JournalForeign, JournalDamaged) as error:
            if not accept_lost_history:
                raise
            if not isinstance(error, JournalMissing):
                self._set_aside(str(error))
            return self._create(is_history_lost=True)

    def _is_of_former_key(self, found: JournalContent) -> bool:
        """Whether the folder's key was replaced by one that has never voted."""
        header = found.header
        return self._known_id is None and header.genesis_hash == self._genesis_hash and header.owner != self._owner

    def _open(self, found: JournalContent, *, accept_lost_history: bool) -> VoteJournal:
        header = found.header
        has_voted = header.has_voted or any(frame.is_vote for frame in found.frames)
        # A crash before the id was in the key file leaves a journal without votes: of a first run, or of a run that
        # was to do without a lost one.
        is_adopted = not has_voted and (self._known_id is None or header.is_history_lost)
        expected = header.journal_id if is_adopted or self._known_id is None else self._known_id
        check_identity(self._path, header, expected, self._genesis_hash, self._owner)
        if self._known_id is None and has_voted:
            raise JournalForeign(
                f"The vote journal {self._path} holds votes of this key, but {self._key_file} does not name it: that "
                f"file is an older copy. Put the newer one back, which says {to_hex(header.journal_id)}. {WAYS_OUT}"
            )
        journal = VoteJournal.open(
            self._path, genesis_hash=self._genesis_hash, journal_id=header.journal_id, owner=self._owner
        )
        try:
            if accept_lost_history and journal.is_new and not journal.is_history_lost:
                journal.accept_lost_history()
            self._keep_id(journal)
        except BaseException:
            journal.close()
            raise
        return journal

    def _create(self, *, is_history_lost: bool) -> VoteJournal:
        journal = VoteJournal.open(
            self._path,
            genesis_hash=self._genesis_hash,
            journal_id=None,
            owner=self._owner,
            is_history_lost=is_history_lost,
        )
        try:
            self._keep_id(journal)
        except BaseException:
            journal.close()
            raise
        return journal

    def _keep_id(self, journal: VoteJournal) -> None:
        if journal.journal_id != self._known_id:
            write_journal_id(self._key_file, journal.journal_id)

    def _set_aside(self, reason: str) -> None:
        """Moves the file away: it is never deleted, and a new one can be made. Raises FolderInUse."""
        os.close(open_locked(self._path, create=False))
        names = (self._path.with_name(f"{self._path.name}.set-aside-{number}") for number in count(1))
        target = next(name for name in names if not name.exists())
        self._path.rename(target)
        sync_folder(self._path.parent)
        _log.warning("vote_journal_set_aside", file=str(target), reason=reason)
