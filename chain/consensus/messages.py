"""What engines say to each other, as canonical MessagePack; and the journal's entries.

A message is a MessagePack array whose first element is its tag. Bounds on bytes and counts are the transport's; what a
message claims is the engine's to check.
"""

from typing import Annotated, Final

import msgspec

from chain.primitives import message_pack
from chain.primitives.block import Block, HashField, Uint63
from chain.primitives.certificate import Certificate, Vote

MAX_NULLIFICATIONS: Final = 32
"""In one proposal; the rest is asked for."""


class Proposal(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """A leader's block with its Notarize, and why it may stand there.

    `parent_certificate` is a NotarCert or FinalCert of the vote's parent view, None for view 0.
    """

    block: Block
    vote: Vote
    parent_certificate: Certificate | None
    nullifications: Annotated[tuple[Certificate, ...], msgspec.Meta(max_length=MAX_NULLIFICATIONS)]
    """A NullCert for every view between, or the newest 32 of them."""


class VoteMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """One vote of the sender's."""

    vote: Vote


class CertificateMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """A certificate, whoever made it."""

    certificate: Certificate


class EvidenceMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """Two votes that no honest validator signs both of."""

    first: Vote
    second: Vote


class GetCertificates(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=5):
    """Asks for the certificates of a view; a FinalCert of a later view is an answer too."""

    epoch: Uint63
    view: Uint63


class GetBlock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=6):
    """Asks for a block, final or not."""

    block_hash: HashField


class BlockMessage(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=7):
    """The answer to GetBlock."""

    block: Block


class Status(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=8):
    """How far the sender is: its newest committed block and its view."""

    epoch: Uint63
    view: Uint63
    height: Uint63


class GetRange(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=9):
    """Asks for final blocks from a height on, as many as the answering side finds fit."""

    from_height: Uint63


class Link(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A final block, encoded, and its own FinalCert, encoded and empty where it has none."""

    block: bytes
    certificate: bytes


class Range(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=10):
    """The answer to GetRange: consecutive final blocks of one epoch, none where there are none.

    The last one has a certificate, unless the blocks up to the next certificate are too much for one answer.
    """

    from_height: Uint63
    links: tuple[Link, ...]


Message = (
    Proposal
    | VoteMessage
    | CertificateMessage
    | EvidenceMessage
    | GetCertificates
    | GetBlock
    | BlockMessage
    | Status
    | GetRange
    | Range
)


def encode_message(message: Message) -> bytes:
    """Canonical MessagePack."""
    return message_pack.encode(message)


def decode_message(encoded: bytes) -> Message:
    """Raises Rejected unless `encoded` is exactly one canonical message. The caller bounds its length."""
    message: Message = message_pack.decode(encoded, Message)  # type: ignore[arg-type]
    return message


class JournalEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an engine must find again after a crash: one vote of its own or a certificate, and blocks it voted for."""

    vote: Vote | None = None
    certificate: Certificate | None = None
    block: Block | None = None
