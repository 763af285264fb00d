"""Recursive Length Prefix (Ethereum yellow paper, appendix B): an encoder and a strict, bounded decoder.

Strict: every item in its shortest form, nothing after the last one.
"""

from typing import Final, TypeAlias

from chain.primitives.rejection import Rejected, RejectionReason

Item: TypeAlias = "bytes | list[Item]"

MAX_DEPTH: Final = 8  # The deepest structure that we read is an access list: 3.


def _length_prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes((offset + length,))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((offset + 55 + len(octets),)) + octets


def encode(item: Item) -> bytes:
    """The RLP of a byte string or of a list of items."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _length_prefix(len(item), 0x80) + item
    return wrap_list(b"".join([encode(element) for element in item]))


def wrap_list(payload: bytes) -> bytes:
    """The RLP of a list whose items are encoded in `payload` already."""
    return _length_prefix(len(payload), 0xC0) + payload


def encode_integer(number: int) -> bytes:
    """The byte string of a non-negative integer: big-endian without leading zeros, 0 as the empty string."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def encoded_length(octets: bytes) -> int:
    """Length of the RLP of a byte string, without making it."""
    length = len(octets)
    if length == 1 and octets[0] < 0x80:
        return 1
    if length < 56:
        return 1 + length
    return 1 + (length.bit_length() + 7) // 8 + length


def decode(encoded: bytes, start: int = 0) -> Item:
    """The one item that `encoded` holds from `start` to its end, in time linear in its length.

    Raises Rejected where it is cut off, non-canonical, followed by anything, or nested deeper than MAX_DEPTH.
    """
    if len(encoded) <= start:
        raise Rejected(RejectionReason.MALFORMED, "RLP: empty input")
    items = _decode_items(encoded, start, len(encoded), MAX_DEPTH)
    if len(items) != 1:
        raise Rejected(RejectionReason.NON_CANONICAL, "RLP: bytes after the end")
    return items[0]


def decode_integer(field: Item, maximum: int, name: str) -> int:
    """The integer in a byte string; raises Rejected that names it for a list, leading zeros, or more than `maximum`."""
    if not isinstance(field, bytes):
        raise Rejected(RejectionReason.MALFORMED, f"{name} must be an integer, not a list", field=name)
    if field[:1] == b"\0":
        raise Rejected(RejectionReason.NON_CANONICAL, f"{name} has leading zeros", field=name)
    number = int.from_bytes(field, "big")
    if number > maximum:
        raise Rejected(RejectionReason.OUT_OF_RANGE, f"{name} is above {maximum}", field=name)
    return number


def _decode_items(encoded: bytes, position: int, end: int, depth: int) -> list[Item]:
    """All items between two positions; each must end at or before `end`."""
    if depth < 0:
        raise Rejected(RejectionReason.TOO_LARGE, f"RLP: nested deeper than {MAX_DEPTH}")
    items: list[Item] = []
    append = items.append
    while position < end:
        prefix = encoded[position]
        if prefix < 0x80:
            start, stop = position, position + 1
        elif prefix < 0xB8:
            start = position + 1
            stop = start + prefix - 0x80
            if prefix == 0x81 and stop <= end and encoded[start] < 0x80:
                raise Rejected(RejectionReason.NON_CANONICAL, "RLP: a byte below 0x80 must stand for itself")
        elif 0xC0 <= prefix < 0xF8:
            start = position + 1
            stop = start + prefix - 0xC0
        else:
            start, stop = _long_extent(encoded, position + 1, end, prefix)
        if stop > end:
            raise Rejected(RejectionReason.MALFORMED, "RLP: an item is longer than what holds it")
        append(encoded[start:stop] if prefix < 0xC0 else _decode_items(encoded, start, stop, depth - 1))
        position = stop
    return items


def _long_extent(encoded: bytes, position: int, end: int, prefix: int) -> tuple[int, int]:
    """(start, stop) of an item whose length is itself spelled out after the prefix."""
    size = prefix - (0xB7 if prefix < 0xC0 else 0xF7)
    start = position + size
    if start > end:
        raise Rejected(RejectionReason.MALFORMED, "RLP: cut off inside a length")
    length = int.from_bytes(encoded[position:start], "big")
    if encoded[position] == 0 or length < 56:
        raise Rejected(RejectionReason.NON_CANONICAL, "RLP: a length is not in its shortest form")
    return start, start + length
