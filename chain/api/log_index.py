"""Which blocks can hold a filter's logs, in order, from the indexes alone.

For each event that the filter can match: the blocks that hold it, and among these the blocks in which an account took
part that a topic names. Lists are joined by leaping: what costs is the shorter list, however long the other is.
"""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack
from heapq import heappop, heapreplace
from typing import Final, Protocol

import msgspec

from chain.node.index import ZERO_TOPIC, address_topics, event_kind
from chain.primitives.block import Log
from chain.primitives.market import ANY_ASSET, is_asset_address
from chain.primitives.modules import ASSET_EVENTS, EVENTS
from chain.primitives.types import Address, BlockHeight, Hash32
from chain.storage.cursor import IndexCursor
from chain.storage.keys import HEIGHT_BYTES, Table
from chain.storage.reader import ChainReader

_MAX_ACCOUNT_LISTS: Final = 128
"""Lists of accounts that are worth opening: with more of them, few blocks are spared."""
_MAX_ASSET_LISTS: Final = 16
"""Lists of single assets that are worth opening instead of the one of them all."""
_UNITS_PER_LIST: Final = 10
_ADDRESS_PADDING: Final = bytes(12)


class LogFilter(msgspec.Struct, frozen=True):
    """Which logs are wanted, as `eth_getLogs` has it."""

    from_height: int
    to_height: int
    """Both are included."""
    addresses: frozenset[Address] = frozenset()
    """Empty: any."""
    topics: tuple[frozenset[Hash32] | None, ...] = ()
    """By position; None: any, but there must be one."""

    def matches(self, log: Log) -> bool:
        """Whether a log is wanted, whichever block it is in."""
        if self.addresses and log.address not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(choice is None or topic in choice for choice, topic in zip(self.topics, log.topics, strict=False))


class Work:
    """What a search has cost, in units of about 2 µs."""

    def __init__(self) -> None:
        self.units = 0


def candidate_heights(reader: ChainReader, wanted: LogFilter, work: Work) -> Generator[BlockHeight]:
    """Heights within the filter's range, ascending: all that hold wanted logs, and few others. Raises StorageError."""
    events = list(_possible_events(wanted))
    account_lists = len(events) * sum(len(choice) for choice in wanted.topics[1:] if choice is not None)
    with ExitStack() as opened:
        lists = _Lists(reader, wanted, work, opened, has_accounts=account_lists <= _MAX_ACCOUNT_LISTS)
        heights = _AnyOf([lists.of_event(signature) for signature in events])
        height = heights.seek(wanted.from_height)
        while height is not None:
            yield BlockHeight(height)
            height = heights.seek(height + 1)


def _possible_events(wanted: LogFilter) -> Iterator[bytes]:
    """Module or asset, and topic, of each event of which the filter can match a log."""
    emitters = [item for item in EVENTS.items() if not wanted.addresses or item[0] in wanted.addresses]
    for emitter, events in (*emitters, *((asset, ASSET_EVENTS) for asset in _possible_assets(wanted))):
        for event in events:
            topic_count = 1 + sum(parameter.indexed for parameter in event.parameters)
            if len(wanted.topics) <= topic_count and (
                not wanted.topics or wanted.topics[0] is None or event.topic in wanted.topics[0]
            ):
                yield emitter + event.topic


def _possible_assets(wanted: LogFilter) -> Collection[Address]:
    """The assets that a filter names, or all in one where it names none or many."""
    if not wanted.addresses:
        return (ANY_ASSET,)
    named = [address for address in wanted.addresses if is_asset_address(address)]
    return named if len(named) <= _MAX_ASSET_LISTS else (ANY_ASSET,)


class _Heights(Protocol):
    """An ascending list of heights that is not all in memory."""

    def seek(self, height: int) -> int | None:
        """The first of the list from this height on, None after the last; never asked for a lower one than before."""


class _Lists:
    """Builds the lists of a filter upon the indexes."""

    def __init__(
        self, reader: ChainReader, wanted: LogFilter, work: Work, opened: ExitStack, *, has_accounts: bool
    ) -> None:
        """Without accounts, only the kinds of events narrow the blocks down."""
        self._has_accounts = has_accounts
        self._reader = reader
        self._wanted = wanted
        self._work = work
        self._opened = opened

    def of_event(self, signature: bytes) -> _Heights:
        """Blocks that can hold wanted logs of one event."""
        topics = self._wanted.topics
        lists = [self._of_index(Table.EVENT_BLOCK, event_kind(signature))]
        for position in address_topics(signature):
            choice = topics[position] if position < len(topics) else None
            if choice is not None and self._has_accounts:
                accounts = [topic for topic in choice if topic.startswith(_ADDRESS_PADDING)]
                lists.append(_AnyOf([self._of_account(signature, position, topic) for topic in accounts]))
        return lists[0] if len(lists) == 1 else _AllOf(lists)

    def _of_account(self, signature: bytes, position: int, topic: Hash32) -> _Heights:
        if topic == ZERO_TOPIC:
            return self._of_index(Table.EVENT_BLOCK, event_kind(signature, position))
        return self._of_index(Table.ACCOUNT_TRANSACTION, topic[len(_ADDRESS_PADDING) :])

    def _of_index(self, table: Table, prefix: bytes) -> _Heights:
        self._work.units += _UNITS_PER_LIST
        cursor = self._opened.enter_context(self._reader.index_cursor(table, prefix))
        return _Entries(cursor, self._wanted.to_height, self._work)


class _Entries:
    """The heights with which an index's keys go on after a prefix, up to a last one."""

    def __init__(self, cursor: IndexCursor, last_height: int, work: Work) -> None:
        self._cursor = cursor
        self._last_height = last_height
        self._work = work
        self._current: int | None = -1

    def seek(self, height: int) -> int | None:
        """As in _Heights."""
        if self._current is not None and self._current < height:
            self._work.units += 1
            key = self._cursor.seek(height.to_bytes(HEIGHT_BYTES, "big"))
            found = None if key is None else int.from_bytes(key[:HEIGHT_BYTES], "big")
            self._current = None if found is None or found > self._last_height else found
        return self._current


class _AllOf:
    """Heights that are in every one of some lists."""

    def __init__(self, lists: Sequence[_Heights]) -> None:
        self._lists = lists

    def seek(self, height: int) -> int | None:
        """As in _Heights."""
        agreeing, turn = 0, 0
        while agreeing < len(self._lists):
            found = self._lists[turn].seek(height)
            if found is None:
                return None
            agreeing = agreeing + 1 if found == height else 1
            height, turn = found, (turn + 1) % len(self._lists)
        return height


class _AnyOf:
    """Heights that are in one of some lists."""

    def __init__(self, lists: Sequence[_Heights]) -> None:
        self._heap = [(-1, order, heights) for order, heights in enumerate(lists)]

    def seek(self, height: int) -> int | None:
        """As in _Heights."""
        while self._heap and self._heap[0][0] < height:
            _, order, heights = self._heap[0]
            found = heights.seek(height)
            if found is None:
                heappop(self._heap)
            else:
                heapreplace(self._heap, (found, order, heights))
        return self._heap[0][0] if self._heap else None
