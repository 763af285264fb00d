"""The bytes of a vote journal: a header, then a frame for each record, and what a crash may leave at the end.

header   magic 8 ‖ version u8 ‖ journal id 16 ‖ genesis hash 32 ‖ owner 20 ‖ flags u8 ‖ generation u64 ‖ CRC32
frame    length u32 ‖ epoch u64 ‖ view u64 ‖ flags u8 ‖ CRC32 of the payload ‖ CRC32 of these fields ‖ payload ‖ 0xA5

A frame's own CRC also covers its place in the file and the header's CRC, so that a frame of another file, or of this
one before it was written anew, is never taken for one that belongs here. The fields have a CRC of their own because a
flipped bit in a length must not look like a record that was cut off.
"""

import struct
from dataclasses import dataclass
from typing import Final
from zlib import crc32

MAX_RECORD_BYTES: Final = 40 << 20
"""More than a vote with the largest block that the parameters allow, 8 MiB."""

_MAGIC: Final = b"aitbcvot"
_VERSION: Final = 2  # Since 2, the votes in it are signed over Keccak-256.
_HEADER: Final = struct.Struct(">8sB16s32s20sBQ")
_FIELDS: Final = struct.Struct(">IQQBI")
_CRC: Final = struct.Struct(">I")
_PLACE: Final = struct.Struct(">Q")
_END: Final = b"\xa5"
"""Not zero, so that a frame that ends in zeros has not been written to its end."""

HEADER_BYTES: Final = _HEADER.size + _CRC.size
FRAME_HEADER_BYTES: Final = _FIELDS.size + _CRC.size
FRAME_EXTRA_BYTES: Final = FRAME_HEADER_BYTES + len(_END)

_HAS_VOTED, _HISTORY_LOST = 1, 2  # The header's flags.
_IS_VOTE = 1  # A frame's.

_SECTOR_BYTES: Final = 512
"""A disk writes so much or nothing; what a file system has not written reads as zeros from such a boundary on."""


class Damaged(Exception):
    """The bytes are not a journal's; `str(error)` says in a few words what is wrong. Becomes a JournalDamaged."""


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """What a journal says about itself. `has_voted` only speaks of votes that were pruned."""

    journal_id: bytes
    genesis_hash: bytes
    owner: bytes
    has_voted: bool
    is_history_lost: bool
    generation: int
    """How often the file was written anew."""

    def encode(self) -> bytes:
        """As it begins the file."""
        flags = _HAS_VOTED * self.has_voted | _HISTORY_LOST * self.is_history_lost
        fields = _HEADER.pack(_MAGIC, _VERSION, self.journal_id, self.genesis_hash, self.owner, flags, self.generation)
        return fields + _CRC.pack(crc32(fields))

    @property
    def seed(self) -> int:
        """What the CRCs of the file's frames begin with."""
        return crc32(self.encode())


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a record lies in the file, and what has to be known of it to prune."""

    epoch: int
    view: int
    is_vote: bool
    start: int
    size: int
    """With its header and its end."""


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What a whole file holds. What lies behind `end` was being written when the process or the machine died."""

    header: JournalHeader
    frames: list[Frame]
    payloads: list[bytes]
    end: int


def is_unfinished_creation(content: bytes) -> bool:
    """Whether a crash has left this while the file was made: no record can ever have been in it."""
    return len(content) < HEADER_BYTES or not any(content)


def encode_frame(payload: bytes, *, epoch: int, view: int, is_vote: bool, start: int, seed: int) -> bytes:
    """A record as it stands at `start` in a file whose header has this seed."""
    assert len(payload) <= MAX_RECORD_BYTES
    fields = _FIELDS.pack(len(payload), epoch, view, _IS_VOTE * is_vote, crc32(payload))
    return b"".join((fields, _CRC.pack(crc32(_PLACE.pack(start) + fields, seed)), payload, _END))


def decode_header(content: bytes) -> JournalHeader:
    """Raises Damaged."""
    if len(content) < HEADER_BYTES:
        raise Damaged("it is cut off within its header")
    fields, found = content[: _HEADER.size], content[_HEADER.size : HEADER_BYTES]
    if not fields.startswith(_MAGIC):
        raise Damaged("it does not begin as a vote journal does")
    if fields[len(_MAGIC)] != _VERSION:
        raise Damaged(f"it has version {fields[len(_MAGIC)]}, and this aitbc reads version {_VERSION}")
    if found != _CRC.pack(crc32(fields)):
        raise Damaged("its header is garbled")
    _, _, journal_id, genesis_hash, owner, flags, generation = _HEADER.unpack(fields)
    if flags & ~(_HAS_VOTED | _HISTORY_LOST):
        raise Damaged("its header has unknown flags")
    return JournalHeader(
        journal_id, genesis_hash, owner, bool(flags & _HAS_VOTED), bool(flags & _HISTORY_LOST), generation
    )


def decode_journal(content: bytes) -> JournalContent:
    """All records up to the end, or up to one at the end that was never written whole. Raises Damaged."""
    header = decode_header(content)
    frames: list[Frame] = []
    payloads: list[bytes] = []
    start, seed = HEADER_BYTES, header.seed
    while start < len(content):
        frame = _decode_fields(content, start, seed)
        if frame is None:
            break
        payload = content[start + FRAME_HEADER_BYTES : start + frame.size - len(_END)]
        if not _is_whole(content, frame, payload):
            if _ends_in_zeros(content, start, start + frame.size):
                break
            raise Damaged(f"the record at byte {start} is garbled")
        frames.append(frame)
        payloads.append(payload)
        start += frame.size
    return JournalContent(header, frames, payloads, start)


def _decode_fields(content: bytes, start: int, seed: int) -> Frame | None:
    """The frame that begins here, None where it was never written whole."""
    fields = content[start : start + _FIELDS.size]
    found = content[start + _FIELDS.size : start + FRAME_HEADER_BYTES]
    if len(found) < _CRC.size:
        return None
    if found != _CRC.pack(crc32(_PLACE.pack(start) + fields, seed)):
        if _ends_in_zeros(content, start, start + FRAME_HEADER_BYTES):
            return None
        raise Damaged(f"the record at byte {start} is garbled")
    length, epoch, view, flags, _ = _FIELDS.unpack(fields)
    if length > MAX_RECORD_BYTES or flags & ~_IS_VOTE:
        raise Damaged(f"the record at byte {start} is of an unknown kind")
    frame = Frame(epoch, view, bool(flags & _IS_VOTE), start, length + FRAME_EXTRA_BYTES)
    return frame if start + frame.size <= len(content) else None


def _is_whole(content: bytes, frame: Frame, payload: bytes) -> bool:
    """Whether payload and end are those that were written."""
    checksum = _FIELDS.unpack_from(content, frame.start)[-1]
    is_ended = content[frame.start + frame.size - len(_END) : frame.start + frame.size] == _END
    return is_ended and crc32(payload) == checksum


def _ends_in_zeros(content: bytes, start: int, stop: int) -> bool:
    """Whether all is zeros from `start` on, or from the beginning of a sector before `stop` on."""
    if any(content[stop:]):
        return False
    first_zero = start + len(content[start:].rstrip(b"\0"))
    return first_zero == start or -(-first_zero // _SECTOR_BYTES) * _SECTOR_BYTES < stop
