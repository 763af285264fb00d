"""eth_newFilter and its like: what has come since somebody asked last, for clients that poll.

A filter is remembered for a while after each question. When there are too many, those that nobody has asked about for
longest are forgotten; libraries then make a new one. Ids are drawn at random, so nobody finds another one's filter.
"""

import secrets
import time
from collections import OrderedDict, deque
from enum import Enum, auto
from threading import Lock
from typing import Final

from chain.api.log_search import TooMuch, search_logs
from chain.api.rpc.errors import INVALID_PARAMETERS, SERVER_ERROR, RpcError
from chain.api.rpc.log_queries import LOG_QUERY, LogQuery, bounding_number
from chain.api.rpc.logs import LOGS_SCHEMA, find_logs, found_log_object
from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.objects import RpcLog
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import HASH_SCHEMA, NAME
from chain.node.waiting import Entry
from chain.primitives.block import header_of_trusted
from chain.primitives.hexadecimal import to_hex
from chain.primitives.types import BlockHeight, Hash32
from chain.storage.view import StateView

EXPIRES_S: Final = 300.0
"""As in geth."""
MAX_FILTERS: Final = 2_000
MAX_ALTERNATIVES_OF_ALL: Final = 50_000
"""Addresses and topics of all filters together."""
_MAX_BLOCKS: Final = 1_000
"""Hashes in one answer; the next one goes on from there."""
_MAX_TRANSACTIONS: Final = 10_000
"""The newest that the mempool has admitted; who asks too rarely misses some."""
_ID_BYTES: Final = 16
_ID_SCHEMA: Final = {"title": "filter id", "type": "string", "pattern": "^0x[0-9a-f]{32}$"}


class _Sort(Enum):
    LOGS = auto()
    BLOCKS = auto()
    TRANSACTIONS = auto()


class _Filter:
    """What one client wants to hear of, and what it has heard."""

    def __init__(self, sort: _Sort, query: LogQuery, *, next_height: int, next_transaction: int) -> None:
        self.sort = sort
        self.query = query
        self.next_height = next_height
        self.next_transaction = next_transaction
        self.asked_s = time.monotonic()
        self.lock = Lock()

    @property
    def size(self) -> int:
        """Addresses and topics that it keeps in memory."""
        topics = sum(len(choice) for choice in self.query.topics if choice is not None)
        return len(self.query.addresses) + topics


class Filters:
    """All filters of one node; a listener of its feed. Any thread."""

    def __init__(self, chain: ServedChain, *, expires_s: float = EXPIRES_S, max_filters: int = MAX_FILTERS) -> None:
        self._chain = chain
        self._expires_s = expires_s
        self._max_filters = max_filters
        self._filters: OrderedDict[str, _Filter] = OrderedDict()  # Whoever was asked for longest ago comes first.
        self._size = 0
        self._admitted: deque[Hash32] = deque(maxlen=_MAX_TRANSACTIONS)
        self._admitted_count = 0
        self._lock = Lock()
        chain.node.feed.listen(self)

    def __len__(self) -> int:
        return len(self._filters)

    # From the node

    def on_block(self, height: BlockHeight) -> None:
        """As in Listener: blocks are in the store."""

    def on_transaction(self, entry: Entry) -> None:
        """As in Listener."""
        with self._lock:
            self._admitted.append(entry.transaction.hash)
            self._admitted_count += 1

    # From clients

    def watch_logs(self, query: LogQuery) -> str:
        """Logs of blocks to come; the id."""
        if query.block_hash is not None:
            raise RpcError(INVALID_PARAMETERS, "a filter is of blocks to come: blockHash has no meaning")
        return self._add(_Sort.LOGS, query)

    def watch_blocks(self) -> str:
        """Hashes of blocks to come; the id."""
        return self._add(_Sort.BLOCKS, LogQuery())

    def watch_transactions(self) -> str:
        """Hashes of transactions that the mempool will admit; the id."""
        return self._add(_Sort.TRANSACTIONS, LogQuery())

    def forget(self, filter_id: str) -> bool:
        """Whether there was such a filter."""
        with self._lock:
            return self._drop(filter_id)

    def changes(self, filter_id: str) -> list[str] | list[RpcLog]:
        """What has come since it was asked last."""
        asked = self._get(filter_id)
        with asked.lock:  # Two questions at the same time must not be told the same.
            view = self._chain.view()
            match asked.sort:
                case _Sort.LOGS:
                    return self._new_logs(asked, view)
                case _Sort.BLOCKS:
                    return self._new_blocks(asked, view)
                case _Sort.TRANSACTIONS:
                    return self._new_transactions(asked)

    def logs(self, filter_id: str) -> list[RpcLog]:
        """All logs of a filter's blocks, old and new."""
        asked = self._get(filter_id)
        if asked.sort is not _Sort.LOGS:
            raise RpcError(SERVER_ERROR, "filter not found: it is none of logs")
        view = self._chain.view()
        return [found_log_object(found) for found in find_logs(view, asked.query.resolve(self._chain, view))]

    def _new_logs(self, asked: _Filter, view: StateView) -> list[RpcLog]:
        newest = self._chain.head(view).height
        first = max(asked.next_height, bounding_number(asked.query.from_block, 0))
        last = min(newest, bounding_number(asked.query.to_block, newest))
        heard_to = int(newest)
        try:
            found = search_logs(view, asked.query.within(first, last))
        except TooMuch as too_much:  # The rest comes with the next answer.
            heard_to = too_much.to_height
            found = search_logs(view, asked.query.within(first, heard_to))
        asked.next_height = heard_to + 1
        return [found_log_object(each) for each in found]

    def _new_blocks(self, asked: _Filter, view: StateView) -> list[str]:
        end = min(self._chain.head(view).height + 1, asked.next_height + _MAX_BLOCKS)
        hashes = []
        for height in range(asked.next_height, end):
            encoded = view.block_at(height)
            assert encoded is not None
            hashes.append(to_hex(header_of_trusted(encoded).hash))
        asked.next_height = end
        return hashes

    def _new_transactions(self, asked: _Filter) -> list[str]:
        with self._lock:
            count = min(self._admitted_count - asked.next_transaction, len(self._admitted))
            newest = list(self._admitted)[len(self._admitted) - count :]
            asked.next_transaction = self._admitted_count
        return [to_hex(each) for each in newest]

    def _add(self, sort: _Sort, query: LogQuery) -> str:
        filter_id = "0x" + secrets.token_hex(_ID_BYTES)
        with self._lock:
            added = _Filter(
                sort, query, next_height=self._chain.head().height + 1, next_transaction=self._admitted_count
            )
            self._filters[filter_id] = added
            self._size += added.size
            while (
                len(self._filters) > self._max_filters
                or self._size > MAX_ALTERNATIVES_OF_ALL
                or self._is_oldest_expired()
            ):
                self._drop(next(iter(self._filters)))
        return filter_id

    def _get(self, filter_id: str) -> _Filter:
        with self._lock:
            while self._filters and self._is_oldest_expired():
                self._drop(next(iter(self._filters)))
            found = self._filters.get(filter_id)
            if found is None:
                raise RpcError(SERVER_ERROR, "filter not found")
            found.asked_s = time.monotonic()
            self._filters.move_to_end(filter_id)
            return found

    def _is_oldest_expired(self) -> bool:
        oldest = next(iter(self._filters.values()))
        return time.monotonic() - oldest.asked_s > self._expires_s

    def _drop(self, filter_id: str) -> bool:
        dropped = self._filters.pop(filter_id, None)
        self._size -= dropped.size if dropped is not None else 0
        return dropped is not None


def filter_methods(filters: Filters) -> tuple[Method, ...]:
    """For clients that poll."""
    by_id = (Parameter("id", NAME),)
    hashes_schema = {"type": "array", "items": HASH_SCHEMA}
    return (
        Method(
            name="eth_newFilter",
            summary="Begins to watch for logs; ask with eth_getFilterChanges",
            parameters=(Parameter("filter", LOG_QUERY),),
            result=_ID_SCHEMA,
            handler=filters.watch_logs,
        ),
        Method(
            name="eth_newBlockFilter",
            summary="Begins to watch for blocks",
            result=_ID_SCHEMA,
            handler=filters.watch_blocks,
        ),
        Method(
            name="eth_newPendingTransactionFilter",
            summary="Begins to watch for transactions that the mempool admits",
            result=_ID_SCHEMA,
            handler=filters.watch_transactions,
        ),
        Method(
            name="eth_getFilterChanges",
            summary="What has come since this was asked last; who does not ask for five minutes is forgotten",
            parameters=by_id,
            result={"anyOf": [hashes_schema, LOGS_SCHEMA]},
            handler=filters.changes,
            is_heavy=True,
        ),
        Method(
            name="eth_getFilterLogs",
            summary="All logs that a filter matches, as eth_getLogs would answer",
            parameters=by_id,
            result=LOGS_SCHEMA,
            handler=filters.logs,
            is_heavy=True,
        ),
        Method(
            name="eth_uninstallFilter",
            summary="Ends a filter; false where there was none",
            parameters=by_id,
            result={"type": "boolean"},
            handler=filters.forget,
        ),
    )
