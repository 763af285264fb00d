"""What the storage tests share: blocks without transactions' meaning, and stores in temporary folders."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from chain.primitives.block import Block, Header
from chain.primitives.types import ZERO_ADDRESS, ZERO_HASH, BlockHeight, Hash32
from chain.storage.pending import PendingState
from chain.storage.store import CommittedBlock, Head, Store

GENESIS_HASH = Hash32(b"\x07" * 32)


def block_on(head: Head | None, state_root: Hash32) -> CommittedBlock:
    """The next block, with one made-up transaction."""
    height = head.height + 1 if head else 0
    transactions = (b"transaction %d" % height,)
    header = Header(
        protocol_version=1,
        chain_id=7,
        epoch=0,
        height=BlockHeight(height),
        parent_hash=head.block_hash if head else ZERO_HASH,
        time_ms=1_000 * height,
        proposer=ZERO_ADDRESS,
        transactions_root=ZERO_HASH,
        results_root=ZERO_HASH,
        state_root=state_root,
        next_validators_hash=ZERO_HASH,
    )
    return CommittedBlock(
        header=header,
        block=Block(header, transactions).encode(),
        transaction_hashes=(b"%032d" % height,),
        results=b"results %d" % height,
        certificate=b"certificate %d" % height,
    )


@pytest.fixture(scope="session")
def genesis_hash() -> Hash32:
    """The genesis hash of the stores in these tests."""
    return GENESIS_HASH


@pytest.fixture(scope="session")
def next_block() -> Callable[[Head | None, Hash32], CommittedBlock]:
    """Makes the block that follows a head."""
    return block_on


@pytest.fixture(scope="session")
def commit_changes() -> Callable[[Store, Mapping[bytes, bytes | None]], Head]:
    """Commits the next block with these state changes."""

    def commit(store: Store, changes: Mapping[bytes, bytes | None]) -> Head:
        pending: PendingState = store.prepare(changes, on=store.view())
        return store.commit(block_on(store.head, pending.state_root), pending)

    return commit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "chain"
