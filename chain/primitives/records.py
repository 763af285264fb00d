"""What stands in the state: the domains of its keys, and the record under each key.

A state key is one byte of domain and a raw key; a record is canonical MessagePack. A default (an account that never
held or sent anything, an allowance of 0) is absent, so that equal states have equal trees.
"""

from enum import IntEnum
from typing import Any, Final, Protocol, Self

import msgspec

from chain.primitives import message_pack
from chain.primitives.message_pack import amount_from_bytes, amount_to_bytes, decode_trusted
from chain.primitives.network import AttesterAllowance
from chain.primitives.types import Address, Amount


class Domain(IntEnum):
    """First byte of a state key; the raw key that follows stands beside each."""

    ACCOUNT = 1  # address → Account
    SUPPLY = 2  # empty → Supply
    ALLOWANCE = 3  # owner ‖ spender → amount
    RECEIPT = 4  # receipt hash → ReceiptUse, for ever
    PARAMETERS = 5  # empty → Parameters
    VALIDATORS = 6  # empty → ValidatorSet
    ATTESTERS = 7  # empty → AttesterAllowance entries in order of entry
    ATTESTER_USAGE = 8  # address → Usage
    PROVIDER_USAGE = 9  # address → ProviderUsage
    MINT_USAGE = 10  # empty → Usage of all mints
    MINTING_PAUSED = 11  # empty → true, or absent
    REGISTRATION = 12  # provider → Registration
    REGISTRATION_USAGE = 13  # empty → Usage (receipts count registry calls by newcomers)
    PROPOSAL = 14  # number as 8 bytes → Proposal
    PROPOSAL_COUNT = 15  # empty → how many were ever made
    OPEN_PROPOSALS = 16  # validator → numbers of its proposals that may still be open
    ISSUERS = 17  # empty → addresses in order
    UPGRADE = 18  # empty → Upgrade
    FORMER_VALIDATOR = 19  # address → true, for ever
    AUTHORIZATION = 20  # authorizer ‖ nonce → true, for ever: used or canceled
    ASSET = 21  # number as 4 bytes → Asset
    ASSET_COUNT = 22  # empty → how many were ever issued; they are numbered from 1
    ASSET_BALANCE = 23  # asset ‖ holder → amount
    ASSET_ALLOWANCE = 24  # asset ‖ owner ‖ spender → amount
    ASSET_STANDING = 25  # asset ‖ holder → bits: 1 authorised, 2 frozen
    ASSETS_HELD = 26  # holder → how many assets it holds: whoever holds one is no newcomer
    AUTHORITIES = 27  # empty → addresses in order
    CREDENTIAL = 28  # authority ‖ subject → Credential
    POLICY = 29  # number as 4 bytes → Policy
    POLICY_COUNT = 30  # empty → how many were ever defined; they are numbered from 1
    MARKET = 31  # number as 4 bytes → Market
    MARKET_COUNT = 32  # empty → how many were ever created; they are numbered from 1
    ORDER = 33  # id as 8 bytes → Order, while it rests
    ORDER_COUNT = 34  # empty → how many were ever placed; they are numbered from 1
    PRICE_NODE = 35  # market as 4 bytes ‖ side ‖ depth ‖ the price's upper bytes → bitmap of 256 children, 32 bytes
    LEVEL = 36  # market as 4 bytes ‖ side ‖ ticks as 4 bytes → Level
    LEVEL_PAGE = 37  # as of LEVEL ‖ page as 4 bytes → LevelPage
    OPEN_ORDERS = 38  # market as 4 bytes ‖ owner → (order id, client id) of each resting order, oldest first
    SWAP = 39  # id → Swap, for ever
    SLA = 40  # provider → hash of the service level that it promises; provider ‖ hash → true, for ever: it did once
    REPUTATION = 41  # provider → Reputation
    EVIDENCE = 42  # provider ‖ evidence hash → true, for ever: an attester's record that counts
    DEPOSIT = 43  # client ‖ keccak256(audience) → Deposit, while it holds anything
    DEPOSITS = 44  # client → audiences of its deposits, oldest first
    SETTLED_REQUEST = 45  # client ‖ request hash → receipt hash, for ever


_DOMAIN_BYTES: Final = {domain: bytes((domain,)) for domain in Domain}


def state_key(domain: Domain, raw_key: bytes = b"") -> bytes:
    """The key of a record; its place in the tree is SHA-256 of this."""
    return _DOMAIN_BYTES[domain] + raw_key


class Record(Protocol):
    """Anything that the state can hold."""

    def encode(self) -> bytes:
        """Canonical bytes."""

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""


class Account(msgspec.Struct, frozen=True, gc=False):
    """Transactions sent so far, and atoms held."""

    nonce: int = 0
    balance: Amount = Amount(0)

    def encode(self) -> bytes:
        """[nonce, balance]."""
        return message_pack.encode((self.nonce, amount_to_bytes(self.balance)))

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        nonce, balance = decode_trusted(encoded, tuple[int, bytes])
        return cls(nonce, amount_from_bytes(balance))


class Supply(msgspec.Struct, frozen=True, gc=False):
    """Atoms ever minted and ever burned; what circulates is the difference."""

    minted: int = 0
    burned: int = 0

    @property
    def circulating(self) -> Amount:
        """Sum of all balances."""
        return Amount(self.minted - self.burned)

    def encode(self) -> bytes:
        """[minted, burned]."""
        return message_pack.encode((amount_to_bytes(self.minted), amount_to_bytes(self.burned)))

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        minted, burned = decode_trusted(encoded, tuple[bytes, bytes])
        return cls(amount_from_bytes(minted), amount_from_bytes(burned))


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What was used of an allowance or cap within one period; in any other period it is nothing."""

    period: int = 0
    atoms: int = 0
    receipts: int = 0

    def within(self, period: int) -> "Usage":
        """This usage if it is of that period, else none."""
        return self if self.period == period else Usage(period)

    def plus(self, atoms: int) -> "Usage":
        """One receipt and its atoms more."""
        return Usage(self.period, self.atoms + atoms, self.receipts + 1)

    def encode(self) -> bytes:
        """[period, atoms, receipts]."""
        return message_pack.encode((self.period, amount_to_bytes(self.atoms), self.receipts))

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        period, atoms, receipts = decode_trusted(encoded, tuple[int, bytes, int])
        return cls(period, amount_from_bytes(atoms), receipts)


class ProviderUsage(msgspec.Struct, frozen=True, gc=False):
    """A provider's usage of its cap in one period, and all that it ever got for receipts, minted or settled: one
    record, as every mint changes both."""

    period: int = 0
    atoms: int = 0
    receipts: int = 0
    lifetime_atoms: int = 0
    lifetime_receipts: int = 0

    def within(self, period: int) -> "ProviderUsage":
        """This usage if it is of that period, else none there; the lifetime's totals stay."""
        if self.period == period:
            return self
        return ProviderUsage(period, 0, 0, self.lifetime_atoms, self.lifetime_receipts)

    def plus(self, atoms: int) -> "ProviderUsage":
        """One receipt and its atoms more."""
        return ProviderUsage(
            self.period,
            self.atoms + atoms,
            self.receipts + 1,
            self.lifetime_atoms + atoms,
            self.lifetime_receipts + 1,
        )

    def plus_settled(self, atoms: int) -> "ProviderUsage":
        """One receipt and its atoms more over the lifetime: a cap bounds what is minted, and nothing was."""
        return ProviderUsage(
            self.period,
            self.atoms,
            self.receipts,
            self.lifetime_atoms + atoms,
            self.lifetime_receipts + 1,
        )

    def encode(self) -> bytes:
        """Fields in order."""
        return message_pack.encode(
            (
                self.period,
                amount_to_bytes(self.atoms),
                self.receipts,
                amount_to_bytes(self.lifetime_atoms),
                self.lifetime_receipts,
            )
        )

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        period, atoms, receipts, lifetime_atoms, lifetime_receipts = decode_trusted(
            encoded, tuple[int, bytes, int, bytes, int]
        )
        return cls(period, amount_from_bytes(atoms), receipts, amount_from_bytes(lifetime_atoms), lifetime_receipts)


class ReceiptKind(IntEnum):
    """By what a receipt hash was used up."""

    MINT = 1
    MINT_SPLIT = 2
    SETTLEMENT = 3


class ReceiptUse(msgspec.Struct, frozen=True, gc=False):
    """How a receipt hash was used up, and for how many atoms."""

    kind: ReceiptKind
    amount: Amount

    def encode(self) -> bytes:
        """[kind, amount]."""
        return message_pack.encode((int(self.kind), amount_to_bytes(self.amount)))

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        kind, amount = decode_trusted(encoded, tuple[ReceiptKind, bytes])
        return cls(kind, amount_from_bytes(amount))


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's offer. It stays after a withdrawal, inactive, so that its payout address cannot be swapped."""

    active: bool
    endpoint: str
    models: tuple[str, ...]
    price_per_unit: Amount
    unit_type: str
    vram_mib: int
    payout: Address

    def encode(self) -> bytes:
        """Fields in order."""
        return message_pack.encode(
            (
                self.active,
                self.endpoint,
                self.models,
                amount_to_bytes(self.price_per_unit),
                self.unit_type,
                self.vram_mib,
                self.payout,
            )
        )

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        active, endpoint, models, price, unit_type, vram_mib, payout = decode_trusted(
            encoded, tuple[bool, str, tuple[str, ...], bytes, str, int, bytes]
        )
        return cls(
            active=active,
            endpoint=endpoint,
            models=models,
            price_per_unit=amount_from_bytes(price),
            unit_type=unit_type,
            vram_mib=vram_mib,
            payout=Address(payout),
        )


class ArrayRecord(msgspec.Struct, frozen=True, array_like=True):
    """A record whose fields MessagePack holds as they are."""

    def encode(self) -> bytes:
        """Fields in order."""
        return message_pack.encode(self)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """From `encode`'s bytes."""
        return decode_trusted(encoded, cls)


class Reputation(ArrayRecord, frozen=True):
    """What attesters recorded of a provider; what was minted for it stands in its ProviderUsage."""

    failures: int = 0
    disputes: int = 0
    breaches: int = 0


class Proposal(ArrayRecord, frozen=True):
    """A call that validators may let governance make."""

    proposer: Address
    target: Address
    call_data: bytes
    created_at_ms: int
    lapses_at_ms: int
    """Fixed when it is made: a longer lifetime set later must not bring back what has lapsed, with its approvals."""
    approvals: tuple[Address, ...]
    executed: bool = False


class ValidatorSet(ArrayRecord, frozen=True):
    """Who decides, and the number of their reign. Blocks on top of a state belong to the epoch that it names."""

    epoch: int = 0
    addresses: tuple[Address, ...] = ()
    """In the order of certificates' bitmaps."""


class Upgrade(ArrayRecord, frozen=True):
    """The rules in force, and the ones scheduled to follow (height 0: none)."""

    protocol_version: int = 1
    next_version: int = 1
    next_height: int = 0

    def version_at(self, height: int) -> int:
        """Protocol version of the block at this height."""
        return self.next_version if self.next_height and height >= self.next_height else self.protocol_version


def encode_attesters(attesters: tuple[AttesterAllowance, ...]) -> bytes:
    """[[address, atoms per period, receipts per period], …]."""
    return message_pack.encode(
        [(a.address, amount_to_bytes(a.atoms_per_period), a.receipts_per_period) for a in attesters]
    )


def decode_attesters(encoded: bytes) -> tuple[AttesterAllowance, ...]:
    """From `encode_attesters`' bytes."""
    entries: list[tuple[bytes, bytes, int]] = decode_trusted(encoded, list[tuple[bytes, bytes, int]])
    return tuple(
        AttesterAllowance(Address(address), amount_from_bytes(atoms), receipts) for address, atoms, receipts in entries
    )


def decode_addresses(encoded: bytes) -> tuple[Address, ...]:
    """A list of addresses."""
    addresses: Any = decode_trusted(encoded, tuple[bytes, ...])
    return tuple(Address(address) for address in addresses)


def decode_integer(encoded: bytes) -> int:
    """A lone integer of at most 64 bits."""
    return decode_trusted(encoded, int)


def decode_flag(encoded: bytes) -> bool:
    """A lone truth value."""
    return decode_trusted(encoded, bool)


def decode_amount(encoded: bytes) -> Amount:
    """A lone amount, as minimal bytes."""
    return amount_from_bytes(decode_trusted(encoded, bytes))


def encode_amount(amount: int) -> bytes:
    """A lone amount, as minimal bytes."""
    return message_pack.encode(amount_to_bytes(amount))
