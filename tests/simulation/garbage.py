"""Messages that nobody honest sends, all of them decodable."""

from random import Random
from typing import Any, Final

import msgspec

from chain.consensus.messages import Link, Message, Range, decode_message, encode_message
from chain.primitives.block import Block, decode_block
from chain.primitives.certificate import Certificate, Vote, quorum
from chain.primitives.message_pack import decode_trusted, encode
from chain.primitives.rejection import Rejected

_NUMBERS: Final = (0, 1, 2, 3, 62, 63, 64, 2**31, 2**53, 2**62, 2**63 - 1)


def garbled(message: Message, random: Random) -> Message | None:
    """The same with one field somewhere within changed; None where that would be no message."""
    changed = _change(message, random)
    try:
        return decode_message(encode_message(changed))
    except (Rejected, OverflowError):
        return None


def _change(value: Any, random: Random) -> Any:
    if isinstance(value, msgspec.Struct):
        name = random.choice(value.__struct_fields__)
        return msgspec.structs.replace(value, **{name: _change(getattr(value, name), random)})
    if isinstance(value, tuple):
        items = list(value)
        if not items or random.random() < 0.3:
            return tuple(items[: random.randrange(len(items) + 1)]) if random.random() < 0.5 else (*items, *items)
        position = random.randrange(len(items))
        items[position] = _change(items[position], random)
        return tuple(items)
    if isinstance(value, bytes):
        octets = bytearray(value)
        if octets:
            octets[random.randrange(len(octets))] ^= 1 << random.randrange(8)
        return bytes(octets)
    if isinstance(value, int):
        return random.choice((*_NUMBERS, max(0, int(value) - 1), int(value) + 1))
    return None


def repeated_signer(vote: Vote, validator_count: int, random: Random) -> Certificate:
    """A quorum by the looks of it, all by one signer."""
    needed = quorum(validator_count)
    others = [index for index in range(validator_count) if index != vote.signer]
    random.shuffle(others)
    signers = [vote.signer, *others[: needed - 1]]
    bitmap = sum(1 << signer for signer in signers)
    if random.random() < 0.3:
        bitmap = 1 << vote.signer
    return Certificate(
        kind=vote.kind,
        epoch=vote.epoch,
        view=vote.view,
        parent_view=vote.parent_view,
        block_hash=vote.block_hash,
        signer_bitmap=bitmap,
        signatures=(vote.signature,) * needed,
    )


def false_range(range_: Range, random: Random) -> Range:
    """Final blocks as nobody honest answers: too few, in the wrong place, uncertified, forged, or not decodable."""
    links = list(range_.links)
    kind = random.randrange(6)
    if kind == 0:
        return Range(range_.from_height, ())
    if kind == 1:
        return Range(range_.from_height + 1, range_.links)
    if kind == 2:
        links[-1] = Link(links[-1].block, b"")
    elif kind == 3:
        links[-1] = Link(links[-1].block, links[-1].certificate[:-20] + bytes(20))
    elif kind == 4:
        links[0] = Link(links[0].block[:-1], links[0].certificate)
    else:
        block = decode_block(links[-1].block)
        header = msgspec.structs.replace(block.header, time_ms=block.header.time_ms + 1)
        certificate = decode_trusted(links[-1].certificate, Certificate)
        forged = msgspec.structs.replace(certificate, block_hash=header.hash)
        links[-1] = Link(Block(header, block.transactions).encode(), encode(forged))
    return Range(range_.from_height, tuple(links))
