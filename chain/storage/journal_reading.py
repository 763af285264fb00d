"""Whether a file is a vote journal, and the right one; what to do where it is not."""

from pathlib import Path

from chain.storage.errors import JournalDamaged, JournalForeign
from chain.storage.journal_file import WAYS_OUT, refused
from chain.storage.journal_format import (
    Damaged,
    JournalContent,
    JournalHeader,
    decode_journal,
    is_unfinished_creation,
)


def read_journal(path: Path) -> JournalContent | None:
    """What a journal holds, without a lock; None where there is none, or where making one was never finished.

    Raises JournalDamaged, and another JournalError where the system refuses.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise refused(path, error) from None
    return None if is_unfinished_creation(content) else decode_at(path, content)


def decode_at(path: Path, content: bytes) -> JournalContent:
    """`decode_journal` with an error for the operator: JournalDamaged."""
    try:
        return decode_journal(content)
    except Damaged as error:
        raise damaged(path, str(error)) from None


def damaged(path: Path, detail: str) -> JournalDamaged:
    """The error for bytes that are wrong."""
    return JournalDamaged(f"The vote journal {path} is damaged: {detail}. {WAYS_OUT}")


def check_identity(path: Path, header: JournalHeader, journal_id: bytes, genesis_hash: bytes, owner: bytes) -> None:
    """Raises JournalForeign."""
    if header.genesis_hash != genesis_hash:
        raise JournalForeign(
            f"The vote journal {path} belongs to the network with the genesis hash 0x{header.genesis_hash.hex()}; this "
            f"one's is 0x{genesis_hash.hex()}. Move the journal back to the data folder that it came from. {WAYS_OUT}"
        )
    if header.owner != owner:
        raise JournalForeign(
            f"The vote journal {path} holds the votes of the validator 0x{header.owner.hex()}, and the key is that of "
            f"0x{owner.hex()}. Put the journal and the key that belong together into one folder. {WAYS_OUT}"
        )
    if header.journal_id != journal_id:
        raise JournalForeign(
            f"The vote journal {path} is another one (0x{header.journal_id.hex()}) than the key's votes are in "
            f"(0x{journal_id.hex()}): the key has voted from another folder, or this file is a copy from elsewhere. "
            f"{WAYS_OUT}"
        )
