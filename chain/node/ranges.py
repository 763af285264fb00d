"""Ranges: some consecutive final blocks of one epoch as one message, the last of them with its certificate.

A certificate makes final what it is over and every ancestor, so not each block has one of its own. Where the blocks up
to the next certificate are too much for one message, a range ends without one, and the next range goes on. Signatures
are not looked at here: whoever takes a range checks them against the validators of the epoch.
"""

from typing import Final

import msgspec

from chain.consensus.messages import Link, Range
from chain.primitives import message_pack
from chain.primitives.block import Block, Header, decode_block, transactions_root
from chain.primitives.certificate import Certificate, VoteKind
from chain.primitives.hashing import keccak256
from chain.primitives.parameters import PARAMETER_BOUNDS
from chain.primitives.rejection import Rejected, RejectionReason
from chain.storage.reader import ChainReader

MAX_RANGE_BLOCKS: Final = 256
RANGE_BYTES: Final = 4 * 1024 * 1024
"""A range has more only if it is a single block."""
RANGE_BYTES_LIMIT: Final = 9 * PARAMETER_BOUNDS["max_block_bytes"][1]
"""Of blocks and certificates, always; also as much as a node holds without a certificate: eight of the largest blocks
that governance may allow, after which a chain that is not final has empty ones, and something to spare."""
MAX_CERTIFICATE_BYTES: Final = 8 * 1024  # 60 signatures and their frame are half of this.

Links = tuple[tuple[Block, Certificate | None], ...]
"""Blocks, oldest first, each with its own certificate where it has one."""


class UnboundBody(Rejected):
    """A block's transactions are not those that its header names: the hash says nothing about them."""


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    """A block of which only the header is decoded."""

    header: Header
    transactions: msgspec.Raw


def read_range(
    reader: ChainReader, from_height: int, *, max_bytes: int = RANGE_BYTES, max_blocks: int = MAX_RANGE_BLOCKS
) -> Range | None:
    """What a reader holds from a height on, up to its epoch's end; None where no certificate makes it final.

    Genesis is in no range: everybody has it from the network file. Raises StorageError.
    """
    if not 0 < from_height < 2**63 or reader.certificate_covering(from_height) is None:
        return None
    links: list[Link] = []
    certified_count, byte_count, epoch = 0, 0, None
    for height in range(from_height, from_height + max_blocks):
        encoded = reader.block_at(height)
        if encoded is None:
            break
        certificate = reader.certificate_at(height) or b""
        byte_count += len(encoded) + len(certificate)
        if links and byte_count > max_bytes:
            break
        block_epoch = message_pack.decode_trusted(encoded, _Frame).header.epoch
        if epoch is not None and block_epoch != epoch:
            break
        epoch = block_epoch
        links.append(Link(encoded, certificate))
        if certificate:
            certified_count = len(links)
    return Range(from_height, tuple(links[: certified_count or len(links)])) if links else None


def open_range(range_: Range) -> Links:
    """Decodes a stranger's range and checks that it is one, but no signature and nothing that needs the state.

    Raises Rejected.
    """
    _check_size(range_)
    links: list[tuple[Block, Certificate | None]] = []
    view = 0
    for height, link in enumerate(range_.links, start=range_.from_height):
        block = decode_block(link.block)
        header = block.header
        if header.height != height:
            raise Rejected(RejectionReason.WRONG_HEIGHT, f"height {header.height} stands where {height} should")
        if links:
            check_follows(header, links[-1][0].header)
        check_body(block)
        certificate = message_pack.decode(link.certificate, Certificate) if link.certificate else None
        if certificate is not None:
            check_finalizes(certificate, header, above_view=view)
            view = certificate.view
        links.append((block, certificate))
    return tuple(links)


def certified(links: Links) -> Links:
    """The blocks up to the last one with a certificate: those that the range makes final."""
    count = max((index for index, (_, certificate) in enumerate(links, start=1) if certificate is not None), default=0)
    return links[:count]


def check_follows(header: Header, parent: Header) -> None:
    """Raises Rejected unless a block stands on another one of the same epoch."""
    if header.parent_hash != parent.hash or header.height != parent.height + 1:
        raise Rejected(RejectionReason.WRONG_PARENT, f"block {header.height} does not extend the one before it")
    if header.epoch != parent.epoch:
        raise Rejected(RejectionReason.WRONG_EPOCH, f"block {header.height} lies beyond the end of an epoch")


def check_body(block: Block) -> None:
    """Raises UnboundBody unless the block's transactions are those that its header names."""
    root = transactions_root([keccak256(raw) for raw in block.transactions])
    if root != block.header.transactions_root:
        raise UnboundBody(
            RejectionReason.WRONG_ROOT,
            f"transactions_root is declared as 0x{block.header.transactions_root.hex()}, computed as 0x{root.hex()}",
            field="transactions_root",
        )


def check_finalizes(certificate: Certificate, header: Header, *, above_view: int) -> None:
    """Raises Rejected unless the certificate claims to finalize this block, in a later view of the block's epoch."""
    named = (certificate.kind, certificate.epoch, certificate.block_hash)
    if named != (VoteKind.FINALIZE, header.epoch, header.hash):
        raise Rejected(
            RejectionReason.BAD_CERTIFICATE, "the certificate does not finalize this block", field="certificate"
        )
    if certificate.view <= above_view:
        raise Rejected(
            RejectionReason.BAD_CERTIFICATE, f"its view does not lie above {above_view}", field="certificate"
        )


def _check_size(range_: Range) -> None:
    if not 0 < len(range_.links) <= MAX_RANGE_BLOCKS:
        raise Rejected(RejectionReason.TOO_LARGE, f"a range has 1 to {MAX_RANGE_BLOCKS} blocks")
    if sum(len(link.block) + len(link.certificate) for link in range_.links) > RANGE_BYTES_LIMIT:
        raise Rejected(RejectionReason.TOO_LARGE, f"a range has at most {RANGE_BYTES_LIMIT} bytes")
    if any(len(link.certificate) > MAX_CERTIFICATE_BYTES for link in range_.links):
        raise Rejected(RejectionReason.TOO_LARGE, "the certificate is too large", field="certificate")
