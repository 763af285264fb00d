"""The chain on disk, and the four things that happen to it: execute, propose, import, commit.

Every block, one's own or a stranger's, is executed by `chain.rules` and written by one `Store.commit`. One thread at a
time proposes, imports or commits; any thread reads through `view`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from chain.consensus.engine import Floor
from chain.node.caches import SignatureCache, TransactionCache
from chain.node.index import index_block
from chain.node.records import encode_results
from chain.primitives import message_pack
from chain.primitives.block import PROTOCOL_VERSION, Block, Header, decode_block
from chain.primitives.certificate import Certificate, VoteKind, verify_certificate
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

MAX_CLOCK_DRIFT_MS: Final = 5_000
"""How far ahead of this node's clock a block's time may be."""
MAX_CERTIFICATE_BYTES: Final = 8 * 1024  # 60 signatures and their frame are half of this.
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

    def __init__(self, store: Store, parent: StateView) -> None:
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

    def propose(self, candidates: Sequence[Transaction], *, proposer: Address, time_ms: int) -> Candidate:
        """A block on the head with every candidate that can be in it, executed. Writes nothing."""
        view = self.view()
        preparation = _Preparation(self._store, view)
        proposal = propose_block(
            view,
            self.head.header,
            candidates,
            chain_id=self.network.chain_id,
            proposer=proposer,
            time_ms=time_ms,
            compute_state_root=preparation,
            recover=self.signatures.recover,
        )
        return Candidate(proposal.block, proposal.outcome, preparation.pending, proposal.rejected)

    def execute(self, block: Block, *, now_ms: int) -> Candidate:
        """Executes a stranger's block on the head, checking every header field. Writes nothing; raises Rejected."""
        parent = self.head.header
        latest_ms = max(now_ms + MAX_CLOCK_DRIFT_MS, parent.time_ms + 1)
        if block.header.time_ms > latest_ms:
            raise Rejected(
                RejectionReason.WRONG_TIME,
                f"the block's time is {block.header.time_ms - now_ms} ms ahead of this node's clock",
                field="time_ms",
            )
        view = self.view()
        preparation = _Preparation(self._store, view)
        outcome = apply_block(
            view,
            parent,
            block,
            chain_id=self.network.chain_id,
            compute_state_root=preparation,
            recover=self.signatures.recover,
            decode=self.transactions.decode,
        )
        return Candidate(block, outcome, preparation.pending)

    def import_block(self, encoded_block: bytes, encoded_certificate: bytes, *, now_ms: int) -> Head:
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
        candidate = self.execute(block, now_ms=now_ms)
        floor = Floor(certificate.epoch, certificate.view, block.header.height, block.header.hash)
        return self.commit(candidate, certificate, floor)

    def check_certificate(self, header: Header, certificate: Certificate) -> None:
        """Raises Rejected unless a quorum of the head's validators has finalized exactly this block."""
        if (certificate.kind, certificate.epoch, certificate.block_hash) != (
            VoteKind.FINALIZE,
            header.epoch,
            header.hash,
        ):
            raise Rejected(
                RejectionReason.BAD_CERTIFICATE, "the certificate does not finalize this block", field="certificate"
            )
        floor = self.floor()
        if certificate.view <= floor.view:
            raise Rejected(
                RejectionReason.BAD_CERTIFICATE, f"its view does not lie above {floor.view}", field="certificate"
            )
        verify_certificate(
            certificate,
            genesis_hash=self.network.genesis_hash,
            validators=State(self.view()).validators(),
            recover=self.signatures.recover,
        )

    def commit(self, candidate: Candidate, certificate: Certificate, floor: Floor) -> Head:
        """Writes an executed block for good, with everything that belongs to it. Raises StorageError."""
        return self._commit(candidate, message_pack.encode(certificate), message_pack.encode(floor))

    def _commit(self, candidate: Candidate, certificate: bytes | None, floor: bytes | None) -> Head:
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
            index_puts=index_block(header.height, outcome),
            floor=floor,
        )
        return self._store.commit(committed, candidate.pending)

    def _commit_genesis(self) -> None:
        """Height 0 needs no certificate: it follows from the network file."""
        changes = genesis_changes(self.network)
        pending = self._store.prepare(changes, on=self._store.view())
        block = genesis_block(self.network, pending.state_root)
        self._commit(Candidate(block, BlockOutcome(changes, (), (), (), ()), pending), None, None)
