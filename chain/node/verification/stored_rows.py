"""What a folder holds beside its blocks and certificates, against what executing the blocks has left."""

from collections.abc import Iterator
from typing import Final

from chain.node.records import decode_results
from chain.primitives.hexadecimal import to_hex
from chain.primitives.rejection import Rejected
from chain.storage.errors import StorageError
from chain.storage.keys import FLOOR_KEY, HEIGHT_BYTES, Table, parse_location
from chain.storage.reader import ChainReader
from chain.storage.records import decode_undo
from chain.storage.view import StateView

_BY_HEIGHT: Final = (Table.BLOCK, Table.CERTIFICATE, Table.RESULTS)
"""Compared block by block; here only that there is nothing above the newest block."""

_NOT_OF_THE_CHAIN: Final = (Table.EVIDENCE,)
"""Votes that the node has seen: no block says which."""

Row = tuple[bytes, bytes]


class Difference(Exception):
    """Something stored is not what it should be; `height` is that of its block, where it says so."""

    def __init__(self, message: str, *, height: int | None = None) -> None:
        super().__init__(message)
        self.height = height


def check_results(stored: bytes | None, computed: bytes) -> None:
    """Raises Difference; the words that explain a failure may differ, as another version has written them."""
    if stored == computed:
        return
    if stored is None:
        raise Difference("its results are missing")
    try:
        ours, theirs = decode_results(computed), decode_results(stored)
    except Rejected as rejected:
        raise Difference(f"its results cannot be decoded: {rejected}") from None
    if [bytes(result) for result in theirs.encoded_results] != [bytes(result) for result in ours.encoded_results]:
        raise Difference("its stored results are not what its transactions do")
    if theirs.senders != ours.senders:
        raise Difference("its stored senders are not who signed its transactions")
    if [index for index, _, _ in theirs.failures] != [index for index, _, _ in ours.failures]:
        raise Difference("the stored reasons of failures are not of the transactions that failed")


def check_rows(stored: ChainReader, computed: StateView) -> None:
    """Compares every table; raises Difference."""
    assert computed.head is not None
    # The head and the floor come last: what is wrong with them shows better in what they speak of.
    for table in sorted(Table, key=lambda each: each is Table.METADATA):
        try:
            if table in _BY_HEIGHT:
                _check_nothing_above(table, stored, computed.head.height)
            elif table is Table.UNDO:
                _check_undo(stored, computed)
            elif table not in _NOT_OF_THE_CHAIN:
                _check_same(table, stored.rows(table), computed.rows(table))
        except StorageError as error:
            raise Difference(f"{_name(table)}: {error}") from None


def _check_nothing_above(table: Table, stored: ChainReader, height: int) -> None:
    above = (height + 1).to_bytes(HEIGHT_BYTES, "big")
    for key, _ in stored.rows(table, from_key=above):
        raise Difference(f"{_name(table)}: there is an entry above the newest block, {to_hex(key)}")


def _check_undo(stored: ChainReader, computed: ChainReader) -> None:
    """How many blocks are kept is the node's choice, and the order of a record's entries its proposer's."""
    kept = dict(computed.rows(Table.UNDO))
    for key, record in stored.rows(Table.UNDO):
        ours = kept.get(key)
        try:
            is_same = ours is None or decode_undo(record) == decode_undo(ours)
        except (Rejected, ValueError):
            is_same = False
        if not is_same:
            raise Difference("its undo record is not what it has changed", height=int.from_bytes(key, "big"))


def _check_same(table: Table, stored: Iterator[Row], computed: Iterator[Row]) -> None:
    """Both in the order of keys; raises Difference at the first key where they differ."""
    while True:
        theirs, ours = next(stored, None), next(computed, None)
        if theirs == ours:
            if ours is None:
                return
            continue
        if ours is None or (theirs is not None and theirs[0] < ours[0]):
            assert theirs is not None
            raise Difference(f"{_name(table)}: the entry {_shown(theirs[0])} should not be there")
        what = "is missing" if theirs is None or theirs[0] > ours[0] else "has another value than it should"
        if table.prefix + ours[0] == FLOOR_KEY:
            what += ", or a certificate is missing"
        raise Difference(f"{_name(table)}: the entry {_shown(ours[0])} {what}", height=_height_of(table, ours))


def _height_of(table: Table, row: Row) -> int | None:
    """The block that a row belongs to, where the row says it."""
    if table is Table.HEIGHT_BY_HASH:
        return int.from_bytes(row[1], "big")
    if table is Table.TRANSACTION:
        return parse_location(row[1])[0]
    return None


def _name(table: Table) -> str:
    return f"table {table.name.lower()}"


def _shown(key: bytes) -> str:
    return key.decode() if key.isalpha() and key.isascii() else to_hex(key)
