"""What two parties agreed to exchange, as the JSON file that they pass to each other. It holds no secret.

Each party checks it against its chains, so it need not be signed; each lock's id is made of all of its terms.
"""

import json
from functools import cached_property
from typing import Any, Final, Self

import msgspec

from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hash, to_checksum_address, to_hex
from chain.primitives.modules import HTLC
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys, parse_json
from chain.primitives.swaps import swap_id
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import ZERO_ADDRESS, Address, Hash32

VERSION: Final = 1
MAX_FILE_BYTES: Final = 8 * 1024
_MAX_TIME: Final = 2**40  # Seconds; far away, but bounded.


class Lock(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One hash-time-locked transfer, on one of the two chains."""

    chain_id: int
    contract: Address
    """`HTLC` on this project's chain, a HashTimeLock on another."""
    asset: Address
    """On this project's chain AIT's or an asset's address; on another a token's, zero for ether."""
    value: int
    """Atoms, wei, or a token's smallest units."""
    deadline: int
    """Unix seconds."""
    sender: Address
    recipient: Address
    hash: Hash32

    @property
    def is_ours(self) -> bool:
        """Whether it is on this project's chain."""
        return self.contract == HTLC

    @cached_property
    def id(self) -> Hash32:
        """By which its chain knows it."""
        return swap_id(self.hash, self.sender, self.recipient, self.asset, self.value, self.deadline)

    def to_object(self) -> dict[str, Any]:
        """As it stands in the file; parties and hash stand beside it."""
        return {
            "chain_id": self.chain_id,
            "contract": to_checksum_address(self.contract),
            "asset": to_checksum_address(self.asset),
            "value": str(self.value),
            "deadline": self.deadline,
        }


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The maker's lock first, the taker's second. Build with keywords (checked by `checked`), or read."""

    first: Lock
    second: Lock

    @property
    def hash(self) -> Hash32:
        """SHA-256 of the secret."""
        return self.first.hash

    @property
    def maker(self) -> Address:
        """Who knows the secret, and locks first."""
        return self.first.sender

    @property
    def taker(self) -> Address:
        """Who locks second."""
        return self.second.sender

    @property
    def ours(self) -> Lock:
        """The one on this project's chain."""
        return self.first if self.first.is_ours else self.second

    @property
    def other(self) -> Lock:
        """The one on the other chain."""
        return self.second if self.first.is_ours else self.first

    def to_object(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "version": VERSION,
            "hash": to_hex(self.hash),
            "maker": to_checksum_address(self.maker),
            "taker": to_checksum_address(self.taker),
            "first": self.first.to_object(),
            "second": self.second.to_object(),
        }

    def to_json(self) -> bytes:
        """The file."""
        return json.dumps(self.to_object(), indent=2).encode() + b"\n"

    def checked(self) -> Self:
        """The terms themselves; raises Rejected where they are none."""
        _check(self)
        return self

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Reads the file; raises Rejected that names the field."""
        return cls.from_object(parse_json(text, MAX_FILE_BYTES, "a swap's file"))

    @classmethod
    def from_object(cls, fields: object) -> Self:
        """From a parsed JSON object; raises Rejected that names the field."""
        members = check_keys(fields, ("version", "hash", "maker", "taker", "first", "second"), "swap")
        if members["version"] != VERSION or isinstance(members["version"], bool):
            raise _invalid("version", f"must be {VERSION}: this wallet knows no other swap")
        hash_ = parse_hash(members["hash"], "hash")
        maker, taker = parse_address(members["maker"], "maker"), parse_address(members["taker"], "taker")
        return cls(
            first=_read_lock(members["first"], "first", sender=maker, recipient=taker, hash_=hash_),
            second=_read_lock(members["second"], "second", sender=taker, recipient=maker, hash_=hash_),
        ).checked()


def _read_lock(fields: object, where: str, *, sender: Address, recipient: Address, hash_: Hash32) -> Lock:
    members = check_keys(fields, ("chain_id", "contract", "asset", "value", "deadline"), where)
    for name, highest in (("chain_id", MAX_CHAIN_ID), ("deadline", _MAX_TIME)):
        number = members[name]
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= highest:
            raise _invalid(f"{where}.{name}", f"must be a number from 1 to {highest}")
    return Lock(
        chain_id=members["chain_id"],
        contract=parse_address(members["contract"], f"{where}.contract"),
        asset=parse_address(members["asset"], f"{where}.asset"),
        value=parse_amount(members["value"], f"{where}.value"),
        deadline=members["deadline"],
        sender=sender,
        recipient=recipient,
        hash=hash_,
    )


def _check(terms: Terms) -> None:
    if terms.first.is_ours == terms.second.is_ours:
        raise _invalid("first.contract", "or second.contract must be this chain's htlc module, and only one of them")
    if terms.first.chain_id == terms.second.chain_id:
        raise _invalid("second.chain_id", "must be another chain's")
    if ZERO_ADDRESS in (terms.maker, terms.taker) or terms.maker == terms.taker:
        raise _invalid("taker", "must be somebody else than maker, and neither the zero address")
    for where, lock in (("first", terms.first), ("second", terms.second)):
        if lock.value == 0:
            raise _invalid(f"{where}.value", "must be above 0")
        if lock.is_ours and lock.asset == ZERO_ADDRESS:
            raise _invalid(f"{where}.asset", "must be AIT's address or an asset's")
    if terms.first.deadline <= terms.second.deadline:
        raise _invalid("first.deadline", "must be later than second.deadline: the taker claims after the maker")


def _invalid(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"{field} {requirement}", field=field)
