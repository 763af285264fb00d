"""Messages that nobody honest sends, all of them decodable."""

from random import Random
from typing import Any, Final

import msgspec

from chain.consensus.messages import Message, decode_message, encode_message
from chain.primitives.certificate import Certificate, Vote, quorum
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
