"""What a party to a swap must not lose, in the wallet's home: one file per swap, mode 0600, written durably.

The maker's file has the secret. It is there before anything is locked, and says that the secret is shown before it is:
so whoever was killed anywhere finds on its return all that it needs.
"""

import json
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from chain.primitives.hexadecimal import parse_hex, to_hex
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys, parse_json
from chain.primitives.swaps import SECRET_BYTES
from chain.primitives.types import Hash32
from wallet.keystore import read_closed_file, replace_file, write_new_file
from wallet.swaps.terms import Terms

_FOLDER: Final = "swaps"
_MAX_BYTES: Final = 16 * 1024
_MAX_NONCE: Final = 2**64 - 1
_MAX_FEE: Final = 2**128


class SentOffer(msgspec.Struct, frozen=True):
    """The last transaction of a step on the other chain: while it is in no block, the next one takes its place."""

    nonce: int
    max_fee: int
    max_priority_fee: int


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One swap, as this party knows it."""

    terms: Terms
    secret: bytes | None = None
    was_shown: bool = False
    sent: dict[str, SentOffer] = {}
    """By the name of the step."""

    def to_json(self) -> bytes:
        """The file."""
        fields = {
            "terms": self.terms.to_object(),
            "secret": None if self.secret is None else to_hex(self.secret),
            "was_shown": self.was_shown,
            "sent": {step: list(msgspec.structs.astuple(offer)) for step, offer in self.sent.items()},
        }
        return json.dumps(fields, indent=2).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Reads the file; raises Rejected where it is damaged."""
        fields = check_keys(parse_json(text, _MAX_BYTES, "a swap's record"), _FIELDS, "record")
        if not isinstance(fields["was_shown"], bool) or not isinstance(fields["sent"], dict):
            raise Rejected(RejectionReason.MALFORMED, "the swap's record is damaged")
        secret = fields["secret"]
        return cls(
            terms=Terms.from_object(fields["terms"]),
            secret=None if secret is None else parse_hex(secret, length=SECRET_BYTES, field="secret"),
            was_shown=fields["was_shown"],
            sent={step: _read_offer(offer) for step, offer in fields["sent"].items()},
        )


_FIELDS: Final = ("terms", "secret", "was_shown", "sent")


def _read_offer(fields: Any) -> SentOffer:
    try:
        nonce, max_fee, tip = msgspec.convert(fields, tuple[int, int, int])
    except msgspec.ValidationError as error:
        raise Rejected(RejectionReason.MALFORMED, f"the swap's record is damaged: {error}") from None
    if not (0 <= nonce <= _MAX_NONCE and 0 <= tip <= max_fee <= _MAX_FEE):
        raise Rejected(RejectionReason.MALFORMED, "the swap's record is damaged: a fee or nonce out of range")
    return SentOffer(nonce, max_fee, tip)


class SwapStore:
    """The swaps of one home."""

    def __init__(self, home: Path) -> None:
        self.folder = home / _FOLDER

    def path_of(self, hash_: Hash32) -> Path:
        """Where the swap with this hash is or would be."""
        return self.folder / f"{hash_.hex()}.json"

    def find(self, terms: Terms) -> Record | None:
        """What is known of a swap; raises Rejected, or KeystoreError for a file that is open to others."""
        path = self.path_of(terms.hash)
        if not path.exists():
            return None
        record = self.read(path)
        if record.terms != terms:
            raise Rejected(
                RejectionReason.MALFORMED, "this wallet knows a swap with the same hash and other terms: keep away"
            )
        return record

    def paths(self) -> list[Path]:
        """Of all swaps, by hash."""
        return sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []

    def read(self, path: Path) -> Record:
        """One of them; raises Rejected, or KeystoreError for a file that is open to others."""
        return Record.from_json(read_closed_file(path))

    def add(self, record: Record) -> None:
        """A new swap; AlreadyExistsError where there is one of this hash."""
        write_new_file(self.path_of(record.terms.hash), record.to_json())

    def save(self, record: Record) -> None:
        """In place of what was known."""
        replace_file(self.path_of(record.terms.hash), record.to_json())
