"""What the methods work with: one node's chain, blocks found by whatever names them, states at recent heights."""

from collections import OrderedDict
from threading import Lock
from typing import Final

import msgspec

from chain.api.reading import BlockCache, StoredBlock
from chain.api.rpc.base_fees import BaseFees
from chain.api.rpc.block_ids import BlockId, BlockTag
from chain.api.rpc.errors import SERVER_ERROR, RpcError
from chain.node.clock import now_ms
from chain.node.runner import Node
from chain.primitives import message_pack
from chain.primitives.block import Block, Log
from chain.primitives.bloom import logs_bloom
from chain.primitives.transaction import decode_transaction
from chain.primitives.types import Hash32
from chain.rules.call import BlockContext
from chain.rules.state import State, StateReader
from chain.storage.errors import HistoryPruned
from chain.storage.records import Head
from chain.storage.view import StateView

_REMEMBERED_BLOCKS: Final = 32
"""Whose figures are kept: wallets ask for the newest few again and again. A full block's take a megabyte."""
_REMEMBERED_GAS: Final = 4_096


class BlockFigures(msgspec.Struct, frozen=True):
    """What Ethereum tools want to know of a block and its transactions, and nobody has stored."""

    hashes: tuple[Hash32, ...]
    cumulative_gas: tuple[int, ...]
    """Gas of the block's transactions up to and including each."""
    log_starts: tuple[int, ...]
    """Place of each transaction's first log among the block's."""
    logs_bloom: bytes
    size_bytes: int

    @property
    def gas_used(self) -> int:
        """Gas of the whole block."""
        return self.cumulative_gas[-1] if self.cumulative_gas else 0


class ServedChain:
    """One node's chain. Any thread, but for what waits in the mempool."""

    def __init__(self, node: Node, cache: BlockCache, *, version: str) -> None:
        self.node = node
        self.cache = cache
        self.version = version
        self.chain_id = node.ledger.network.chain_id
        self._base_fees = BaseFees(node.ledger.network.parameters.base_fee_atoms)
        self._gas_used: OrderedDict[int, int] = OrderedDict()
        self._figures: OrderedDict[int, BlockFigures] = OrderedDict()
        self._lock = Lock()

    def view(self) -> StateView:
        """The newest final state, and everything before it."""
        return self.node.ledger.view()

    def head(self, view: StateView | None = None) -> Head:
        """The newest final block, or a view's."""
        head = (view or self.view()).head
        assert head is not None
        return head

    def height_of(self, view: StateView, block: BlockId) -> int | None:
        """A block's height, None where there is no such block."""
        newest = self.head(view).height
        if isinstance(block, bytes):
            return view.height_of(block)
        if isinstance(block, BlockTag):
            return 0 if block is BlockTag.EARLIEST else newest
        return block if block <= newest else None

    def is_newest(self, block: BlockId) -> bool:
        """Whether a state is the head's, for which nothing has to be put together."""
        if isinstance(block, BlockTag):
            return block is not BlockTag.EARLIEST
        view = self.view()
        return self.height_of(view, block) == self.head(view).height

    def state_at(self, block: BlockId) -> StateReader:
        """The state after a block; raises RpcError where there is no such block, or its state is no longer kept."""
        view = self.view()
        if isinstance(block, BlockTag) and block is not BlockTag.EARLIEST:
            return view
        return self._past_state(view, self.existing_height(block))

    def context_at(self, block: BlockId) -> tuple[StateReader, BlockContext]:
        """A state, and the block in which a call on it would be: the next one."""
        view = self.view()
        height = self.existing_height(block, view)
        head = self.head(view)
        if height == head.height:
            time_ms = max(now_ms(), head.time_ms + 1)  # As for admission to the mempool.
            return view, BlockContext(self.chain_id, height + 1, time_ms, self.node.ledger.signatures.recover)
        state, stored = self._past_state(view, height), self.cache.block_at(view, height)
        assert stored is not None
        time_ms = stored.block.header.time_ms + 1
        return state, BlockContext(self.chain_id, height + 1, time_ms, self.node.ledger.signatures.recover)

    def existing_height(self, block: BlockId, view: StateView | None = None) -> int:
        """A block's height; raises RpcError where there is no such block."""
        height = self.height_of(view or self.view(), block)
        if height is None:
            raise RpcError(
                SERVER_ERROR, "header for hash not found" if isinstance(block, bytes) else "header not found"
            )
        return height

    def _past_state(self, view: StateView, height: int) -> StateReader:
        if height == self.head(view).height:
            return view
        try:
            return self.node.ledger.store.state_at(height)
        except HistoryPruned as pruned:
            raise RpcError(SERVER_ERROR, f"historical state is not available: {pruned}") from None

    def next_base_fee(self) -> int:
        """Atoms per gas that the next block burns."""
        return State(self.view()).parameters().base_fee_atoms

    def gas_used_at(self, view: StateView, height: int) -> int:
        """Gas of a block; remembered for more blocks than their figures are."""
        with self._lock:
            found = self._gas_used.get(height)
        if found is None:
            encoded = view.block_at(height)
            assert encoded is not None
            raws = message_pack.decode_trusted(encoded, Block).transactions
            found = sum(decode_transaction(raw).gas_used for raw in raws)
            with self._lock:
                self._gas_used[height] = found
                if len(self._gas_used) > _REMEMBERED_GAS:
                    self._gas_used.popitem(last=False)
        return found

    def base_fee_at(self, height: int) -> int:
        """Atoms per gas that held for a block, or for the next one."""
        return self._base_fees.at(self.view(), height)

    def stored_block(self, view: StateView, block: BlockId) -> StoredBlock | None:
        """A block and what its transactions did."""
        height = self.height_of(view, block)
        return None if height is None else self.cache.block_at(view, height)

    def figures(self, stored: StoredBlock) -> BlockFigures:
        """A block's figures; those of the newest blocks are remembered. Takes a tenth of a second for a full block."""
        height = stored.block.header.height
        with self._lock:
            found = self._figures.get(height)
            if found is not None:
                self._figures.move_to_end(height)
                return found
        figures = _work_out(stored)
        with self._lock:
            self._figures[height] = figures
            if len(self._figures) > _REMEMBERED_BLOCKS:
                self._figures.popitem(last=False)
        return figures


def _work_out(stored: StoredBlock) -> BlockFigures:
    hashes: list[Hash32] = []
    cumulative_gas: list[int] = []
    log_starts: list[int] = []
    logs: list[Log] = []
    gas_used = 0
    for index, raw in enumerate(stored.block.transactions):
        transaction = decode_transaction(raw)
        gas_used += transaction.gas_used
        hashes.append(transaction.hash)
        cumulative_gas.append(gas_used)
        log_starts.append(len(logs))
        logs += stored.results.result(index).logs
    return BlockFigures(
        tuple(hashes), tuple(cumulative_gas), tuple(log_starts), logs_bloom(logs), len(stored.block.encode())
    )
