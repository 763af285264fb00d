"""The chain on disk, and the four things that happen to it: execute, propose, import, commit.

Every block, own or foreign, is executed by `chain.rules` and written by one `Store.commit`. It may stand on a
block that is executed but not committed. One thread at a time executes, proposes, imports or commits; any thread reads
through `view`. No clock is looked at: whether a block comes too early is the engine's to say; a final one never does.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from chain.consensus.effects import Floor, Settings
from chain.consensus.messages import Range
from chain.node.caches import SignatureCache, TransactionCache
from chain.node.index import index_block
from chain.node.market_index import index_market
from chain.node.ranges import (
    MAX_CERTIFICATE_BYTES,
    MAX_RANGE_BLOCKS,
    RANGE_BYTES,
    UnboundBody,
    check_body,
    check_finalizes,
    read_range,
)
from chain.node.records import encode_results
from chain.primitives import message_pack
from chain.primitives.block import PROTOCOL_VERSION, Block, Header, decode_block
from chain.primitives.certificate import Certificate, verify_certificate
from chain.primitives.network import Network
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction
from chain.primitives.types import Address, Hash32
from chain.rules.block import apply_block, propose_block
from chain.rules.execution import BlockOutcome
from chain.rules.genesis import genesis_block, genesis_changes
from chain.rules.state import State
from chain.storage.errors import StorageError
from chain.storage.pending import PendingState
from chain.storage.store import CommittedBlock, Head, Store
from chain.storage.view import StateView

__all__ = ["Candidate", "Ledger", "UnboundBody", "UnknownProtocolVersion"]

_HEADER_BYTES: Final = 1024  # A header takes about 250.
_LENGTH_BYTES: Final = 5  # MessagePack's longest prefix of a byte string.


class UnknownProtocolVersion(Exception):
    """Governance has set rules that this software does not know; `str(error)` tells the operator what to do."""


class Candidate(msgspec.Struct, frozen=True):
    """An executed block that nothing has been written of."""

    block: Block
    outcome: BlockOutcome
    pending: PendingState
    rejected: tuple[tuple[Transaction, Rejected], ...] = ()
    """What its proposer had to leave out, and why."""


class _Preparation:
    """Computes a state root through the store, and keeps the state that it belongs to."""

    def __init__(self, store: Store, parent: StateView | PendingState) -> None:
        self._store = store
        self._parent = parent
        self._pending: PendingState | None = None

    def __call__(self, changes: Mapping[bytes, bytes | None]) -> Hash32:
        self._pending = self._store.prepare(changes, on=self._parent)
        return self._pending.state_root

    @property
    def pending(self) -> PendingState:
        """The state after the block."""
        assert self._pending is not None
        return self._pending


class Ledger:
    """One network's chain in one folder."""

    def __init__(self, store: Store, network: Network) -> None:
        """Use `Ledger.open`."""
        self._store = store
        self.network = network
        self.signatures = SignatureCache()
        self.transactions = TransactionCache()

    @classmethod
    def open(cls, path: Path, network: Network, *, create: bool = False) -> Self:
        """Opens the folder; where it is new and `create` is given, writes the genesis block. Raises StorageError."""
        store = Store.open(path, genesis_hash=network.genesis_hash, create=create)
        try:
            ledger = cls(store, network)
            if store.head is None:
                ledger._commit_genesis()
            return ledger
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Frees the folder."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def store(self) -> Store:
        """For proofs and statistics."""
        return self._store

    @property
    def head(self) -> Head:
        """The newest final block."""
        head = self._store.head
        assert head is not None
        return head

    def view(self) -> StateView:
        """The newest final state and everything before it, as of now and for good."""
        return self._store.view()

    def floor(self) -> Floor:
        """In which view the head was finalized. Raises StorageError where the record contradicts the head."""
        encoded = self._store.floor()
        if encoded is None:
            return Floor(epoch=0, view=0, height=self.head.height, block_hash=self.head.block_hash)
        floor = message_pack.decode_trusted(encoded, Floor)
        if floor.block_hash != self.head.block_hash:
            raise StorageError("The record of the last finalized view is not of the newest block: restore a backup.")
        return floor

    def check_protocol_version(self) -> None:
        """Raises UnknownProtocolVersion where the next block needs rules that this software does not know."""
        needed = State(self.view()).upgrade().version_at(self.head.height + 1)
        if needed > PROTOCOL_VERSION:
            raise UnknownProtocolVersion(
                f"Governance has set protocol version {needed} from height {self.head.height + 1} on, and this version "
                f"of aitbc knows versions up to {PROTOCOL_VERSION}. Install a newer one and start the node again: it "
                "goes on from here, nothing is lost."
            )

    def settings(self) -> Settings:
        """What the engine needs of the newest final state."""
        state = State(self.view())
        parameters = state.parameters()
        return Settings(
            epoch=state.epoch(),
            validators=state.validators(),
            network_delay_ms=parameters.network_delay_ms,
            block_interval_ms=self.network.block_interval_ms,
            heartbeat_ms=parameters.heartbeat_ms,
        )

    def propose(
        self, candidates: Sequence[Transaction], *, proposer: Address, time_ms: int, on: Candidate | None = None
    ) -> Candidate:
        """A block with every candidate that can be in it, executed, on an executed block or the head. Writes nothing.

        Raises Rejected where the next block needs unknown rules; StorageError, also where `on` lost to another block.
        """
        parent, reader = self._parent(on)
        preparation = _Preparation(self._store, reader)
        proposal = propose_block(
            reader,
            parent,
            candidates,
            chain_id=self.network.chain_id,
            proposer=proposer,
            time_ms=time_ms,
            compute_state_root=preparation,
            recover=self.signatures.recover,
        )
        return Candidate(proposal.block, proposal.outcome, preparation.pending, proposal.rejected)

    def execute(self, block: Block, *, on: Candidate | None = None) -> Candidate:
        """Executes a stranger's block on an executed block or the head, checking every header field. Writes nothing.

        Raises UnboundBody where its transactions are not those that its hash stands for, Rejected where the block that
        its hash stands for breaks a rule, and StorageError, also where `on` lost to another block.
        """
        parent, reader = self._parent(on)
        preparation = _Preparation(self._store, reader)
        try:
            outcome = apply_block(
                reader,
                parent,
                block,
                chain_id=self.network.chain_id,
                compute_state_root=preparation,
                recover=self.signatures.recover,
                decode=self.transactions.decode,
            )
        except Rejected:
            check_body(block)  # A body that does not belong to the hash is no reason to blame the block.
            raise
        return Candidate(block, outcome, preparation.pending)

    def _parent(self, on: Candidate | None) -> tuple[Header, StateView | PendingState]:
        if on is None:
            return self.head.header, self.view()
        return on.block.header, on.pending

    def import_block(self, encoded_block: bytes, encoded_certificate: bytes) -> Head:
        """Takes a final block from outside: certificate, header, transactions, roots; then commits it.

        Raises Rejected with nothing changed, and StorageError.
        """
        if len(encoded_certificate) > MAX_CERTIFICATE_BYTES:
            raise Rejected(RejectionReason.TOO_LARGE, "the certificate is too large", field="certificate")
        parameters = State(self.view()).parameters()
        frame_bytes = _HEADER_BYTES + _LENGTH_BYTES * parameters.max_block_transactions
        max_block_bytes = parameters.max_block_bytes + frame_bytes
        if len(encoded_block) > max_block_bytes:
            raise Rejected(
                RejectionReason.TOO_LARGE, f"a block has at most {max_block_bytes} bytes here", field="block"
            )
        certificate = message_pack.decode(encoded_certificate, Certificate)
        block = decode_block(encoded_block)
        self.check_certificate(block.header, certificate)
        candidate = self.execute(block)
        return self.commit(candidate, certificate, self.floor_after(candidate, certificate))

    def check_certificate(self, header: Header, certificate: Certificate) -> None:
        """Raises Rejected unless a quorum of the present epoch's validators has finalized exactly this block."""
        floor = self.floor()
        if header.epoch != floor.epoch:
            raise Rejected(RejectionReason.WRONG_EPOCH, f"epoch {header.epoch}, but the current one is {floor.epoch}")
        check_finalizes(certificate, header, above_view=floor.view)
        verify_certificate(
            certificate,
            genesis_hash=self.network.genesis_hash,
            validators=State(self.view()).validators(),
            recover=self.signatures.recover,
        )

    def floor_after(self, candidate: Candidate, certificate: Certificate | None) -> Floor:
        """The floor that a commit of this block with this certificate leads to; without one, the view stays."""
        header, epoch = candidate.block.header, State(candidate.pending).epoch()
        if epoch != header.epoch:
            return Floor(epoch, 0, header.height, header.hash)
        view = self.floor().view if certificate is None else certificate.view
        return Floor(epoch, view, header.height, header.hash)

    def commit(self, candidate: Candidate, certificate: Certificate | None, floor: Floor, *, sync: bool = True) -> Head:
        """Writes an executed block, whose parent is the head, for good, with everything that belongs to it.

        The certificate is None where only a descendant's makes the block final. Without `sync` a power cut may take the
        newest blocks back, but never parts of them. Raises StorageError.
        """
        header = candidate.block.header
        assert (floor.height, floor.block_hash) == (header.height, header.hash)
        assert certificate is None or certificate.block_hash == header.hash
        encoded_certificate = None if certificate is None else message_pack.encode(certificate)
        return self._commit(candidate, encoded_certificate, message_pack.encode(floor), sync=sync)

    def read_range(
        self, from_height: int, *, max_bytes: int = RANGE_BYTES, max_blocks: int = MAX_RANGE_BLOCKS
    ) -> Range | None:
        """Final blocks from a height on, for a peer; None where there are none. Any thread. Raises StorageError."""
        return read_range(self.view(), from_height, max_bytes=max_bytes, max_blocks=max_blocks)

    def _commit(
        self, candidate: Candidate, certificate: bytes | None, floor: bytes | None, *, sync: bool = True
    ) -> Head:
        header, outcome = candidate.block.header, candidate.outcome
        failures = tuple(
            (index, failure.reason.value, failure.message)
            for index, failure in enumerate(outcome.failures)
            if failure is not None
        )
        committed = CommittedBlock(
            header=header,
            block=candidate.block.encode(),
            transaction_hashes=[transaction.hash for transaction in outcome.transactions],
            results=encode_results(outcome.results, outcome.senders, failures),
            certificate=certificate,
            index_puts=[*index_block(header.height, outcome), *index_market(self._store.view(), header, outcome)],
            floor=floor,
        )
        return self._store.commit(committed, candidate.pending, sync=sync)

    def _commit_genesis(self) -> None:
        """Height 0 needs no certificate: it follows from the network file."""
        changes = genesis_changes(self.network)
        pending = self._store.prepare(changes, on=self._store.view())
        block = genesis_block(self.network, pending.state_root)
        self._commit(Candidate(block, BlockOutcome(changes, (), (), (), ()), pending), None, None)
