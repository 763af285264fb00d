"""Replaying a stored chain from genesis; of what is stored only the blocks are taken, and these as they prove true.

Every block is executed on a new store by the code that a node runs: signatures, certificates, epochs and roots are
checked on the way. What else the folder holds (state, results, indexes, records) must be what that execution leaves.
Certificates cannot be derived: each that is there must be valid, the block that ends an epoch must have one, and the
last one must be where the record of the last finalized view says.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from chain.node.folder import NodeFolder
from chain.node.ledger import Ledger
from chain.node.ranges import MAX_CERTIFICATE_BYTES
from chain.node.verification.stored_rows import Difference, check_results, check_rows
from chain.primitives import message_pack
from chain.primitives.block import Block, decode_block
from chain.primitives.certificate import Certificate
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import Hash32
from chain.rules.state import State
from chain.storage.errors import StorageError
from chain.storage.folder_copy import FolderCopy, open_copy
from chain.storage.records import decode_head

Report = Callable[[int, int], None]
"""Told the height that has been checked, and the one to reach."""

_PREFIX: Final = "aitbc-verify-"


class Fault(Exception):
    """What is wrong first. `str(fault)` names the height where it belongs to one."""

    def __init__(self, height: int | None, reason: str) -> None:
        super().__init__(reason if height is None else f"block {height}: {reason}")
        self.height = height
        self.reason = reason


class Verification(msgspec.Struct, frozen=True):
    """What was found good."""

    network: str
    genesis_hash: Hash32
    height: int
    """Of the newest block; there is one more, genesis."""
    block_hash: Hash32
    state_root: Hash32
    """Of the state after the newest block."""
    certified_height: int
    """The newest block that a certificate makes final; lower only after a crash between two commits."""
    epoch: int
    """Of the next block."""
    transactions: int
    signatures: int
    """Of senders, attesters and validators."""
    certificates: int
    seconds: float


def verify_folder(folder: NodeFolder, *, report: Report, scratch: Path | None = None) -> Verification:
    """Checks the chain in a stopped node's folder, which is not changed.

    `scratch` is a folder for temporary files, about as large as the chain; without it the system's is used. Raises
    Fault; SetupError and StorageError where the chain cannot be checked, also while a node runs on the folder.
    """
    started_s = time.monotonic()
    network = folder.read_network()
    with TemporaryDirectory(prefix=_PREFIX, dir=scratch) as temporary:
        copy, replayed = Path(temporary) / "copy", Path(temporary) / "replayed"
        with (
            open_copy(folder.chain, copy, genesis_hash=network.genesis_hash) as stored,
            Ledger.open(replayed, network, create=True) as ledger,
        ):
            replay = _Replay(stored, ledger)
            replay.run(report)
            return replay.summary(time.monotonic() - started_s)


class _Replay:
    """A stored chain, and a ledger that it is executed on."""

    def __init__(self, stored: FolderCopy, ledger: Ledger) -> None:
        self._stored = stored
        self._ledger = ledger
        self._certified_height = 0
        self._certificates = 0
        self._transactions = 0

    def run(self, report: Report) -> None:
        """Raises Fault."""
        head_height = self._read_head_height()
        self._check_genesis()
        for height in range(1, head_height + 1):
            report(height - 1, head_height)
            self._replay(height)
        report(head_height, head_height)
        self._check_rest()

    def summary(self, seconds: float) -> Verification:
        """After `run`."""
        ledger, signatures = self._ledger, self._ledger.signatures
        return Verification(
            network=ledger.network.name,
            genesis_hash=ledger.network.genesis_hash,
            height=ledger.head.height,
            block_hash=ledger.head.block_hash,
            state_root=ledger.head.state_root,
            certified_height=self._certified_height,
            epoch=ledger.settings().epoch,
            transactions=self._transactions,
            signatures=signatures.hits + signatures.misses,
            certificates=self._certificates,
            seconds=seconds,
        )

    def _read_head_height(self) -> int:
        encoded = self._stored.head_record()
        if encoded is None:
            raise Fault(None, "the record of the newest block is missing")
        try:
            return decode_head(encoded).header.height
        except Rejected as rejected:
            raise Fault(None, f"the record of the newest block: {rejected}") from None

    def _check_genesis(self) -> None:
        stored, computed = self._read(0, self._stored.block_at), self._ledger.view().block_at(0)
        if stored != computed:
            raise Fault(0, "it is not the genesis block of the network file")

    def _replay(self, height: int) -> None:
        block, certificate = self._read_block(height), self._read_certificate(height)
        header = block.header
        try:
            if certificate is not None:
                self._ledger.check_certificate(header, certificate)
            candidate = self._ledger.execute(block)
        except Rejected as rejected:
            raise Fault(height, str(rejected)) from None
        if certificate is None and State(candidate.pending).epoch() != header.epoch:
            raise Fault(height, f"it ends epoch {header.epoch}, and its certificate is missing")
        self._ledger.commit(candidate, certificate, self._ledger.floor_after(candidate, certificate), sync=False)
        self._transactions += len(block.transactions)
        if certificate is not None:
            self._certified_height = height
            self._certificates += 1
        computed = self._ledger.view().results_at(height)
        assert computed is not None
        try:
            check_results(self._read(height, self._stored.results_at), computed)
        except Difference as difference:
            raise Fault(height, str(difference)) from None

    def _read_block(self, height: int) -> Block:
        encoded = self._read(height, self._stored.block_at)
        if encoded is None:
            raise Fault(height, "it is missing")
        try:
            return decode_block(encoded)
        except Rejected as rejected:
            raise Fault(height, f"it cannot be decoded: {rejected}") from None

    def _read_certificate(self, height: int) -> Certificate | None:
        encoded = self._read(height, self._stored.certificate_at)
        if encoded is None:
            return None
        try:
            if len(encoded) > MAX_CERTIFICATE_BYTES:
                raise Rejected(RejectionReason.TOO_LARGE, f"{len(encoded)} bytes")
            return message_pack.decode(encoded, Certificate)
        except Rejected as rejected:
            raise Fault(height, f"its certificate cannot be decoded: {rejected}") from None

    def _read(self, height: int, read: Callable[[int], bytes | None]) -> bytes | None:
        try:
            return read(height)
        except StorageError as error:
            raise Fault(height, str(error)) from None

    def _check_rest(self) -> None:
        """Everything that follows from the blocks: state, locations, indexes, records."""
        try:
            check_rows(self._stored, self._ledger.view())
        except Difference as difference:
            raise Fault(difference.height, str(difference)) from None
