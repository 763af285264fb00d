"""Logs of the store: those of a block, and those that a filter wants, within bounds."""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import msgspec

from chain.api.log_index import LogFilter, Work, candidate_heights
from chain.api.reading import StoredBlock
from chain.node.records import StoredResults, decode_results
from chain.primitives import message_pack
from chain.primitives.block import Block, Log
from chain.primitives.hashing import keccak256
from chain.primitives.types import BlockHeight, Hash32
from chain.storage.reader import ChainReader

__all__ = ["FoundLog", "LogFilter", "TooMuch", "logs_of_block", "search_logs"]

MAX_LOGS: Final = 10_000
"""As other providers of JSON-RPC have it; a single block's logs are given however many they are."""
MAX_WORK_UNITS: Final = 500_000
"""About a second."""
_UNITS_PER_BLOCK: Final = 5
_BYTES_PER_UNIT: Final = 128
"""Of results, decoded and looked at."""
_FIRST_WINDOW_BLOCKS: Final = 64
_CHEAP_WINDOW_UNITS: Final = 4_096
_TOO_DEAR: Final = "query reads too many blocks"

Place = tuple[int, int, Log]
"""Index of the transaction in the block, index of the log in the block, the log."""


class FoundLog(msgspec.Struct, frozen=True):
    """A log and where it stands."""

    log: Log
    height: BlockHeight
    block_hash: Hash32
    time_ms: int
    transaction_hash: Hash32
    transaction_index: int
    log_index: int
    """Counts within the block."""


class TooMuch(Exception):
    """A filter finds more than is given at once, or costs too much; from `from_height` to `to_height` it does not.

    `str(error)` is what other providers say, so that the clients that look for it narrow the range by themselves.
    """

    def __init__(self, fault: str, from_height: int, to_height: int) -> None:
        super().__init__(f"{fault}. Try with this block range [{from_height:#x}, {to_height:#x}].")
        self.from_height = from_height
        self.to_height = to_height


def logs_of_block(stored: StoredBlock) -> list[FoundLog]:
    """All of them, in order."""
    return _found(stored.block, list(_places(stored.results)))


def search_logs(
    reader: ChainReader, wanted: LogFilter, *, max_logs: int = MAX_LOGS, max_work_units: int = MAX_WORK_UNITS
) -> list[FoundLog]:
    """In the order of the chain; heights above the newest block have none. Raises TooMuch and StorageError.

    The range is looked through in windows, so that there is a height up to which all is known when it costs too much.
    """
    found: list[FoundLog] = []
    work = Work()
    first = start = wanted.from_height
    width = _FIRST_WINDOW_BLOCKS
    while start <= wanted.to_height:
        end = min(start + width - 1, wanted.to_height)
        units_before = work.units
        window = msgspec.structs.replace(wanted, from_height=start, to_height=end)
        with closing(candidate_heights(reader, window, work)) as heights:
            for height in heights:
                more = _logs_at(reader, height, wanted, work)
                if height > first and len(found) + len(more) > max_logs:
                    raise TooMuch(f"query returned more than {max_logs} results", first, height - 1)
                if height > first and work.units > max_work_units:
                    raise TooMuch(_TOO_DEAR, first, height - 1)
                found += more
        if end < wanted.to_height and work.units > max_work_units:
            raise TooMuch(_TOO_DEAR, first, end)
        is_cheap = work.units - units_before < _CHEAP_WINDOW_UNITS
        width = 2 * width if is_cheap else max(width // 2, _FIRST_WINDOW_BLOCKS)
        start = end + 1
    return found


def _logs_at(reader: ChainReader, height: BlockHeight, wanted: LogFilter, work: Work) -> list[FoundLog]:
    encoded_results = reader.results_at(height)
    assert encoded_results is not None
    work.units += _UNITS_PER_BLOCK + len(encoded_results) // _BYTES_PER_UNIT
    places = [place for place in _places(decode_results(encoded_results)) if wanted.matches(place[2])]
    if not places:
        return []
    encoded = reader.block_at(height)
    assert encoded is not None
    work.units += len(encoded) // _BYTES_PER_UNIT
    return _found(message_pack.decode_trusted(encoded, Block), places)


def _places(results: StoredResults) -> Iterator[Place]:
    log_index = 0
    for index in range(len(results.encoded_results)):
        for log in results.result(index).logs:
            yield index, log_index, log
            log_index += 1


def _found(block: Block, places: list[Place]) -> list[FoundLog]:
    header = block.header
    transaction_hashes = {index: keccak256(block.transactions[index]) for index in {place[0] for place in places}}
    return [
        FoundLog(log, header.height, header.hash, header.time_ms, transaction_hashes[index], index, log_index)
        for index, log_index, log in places
    ]
