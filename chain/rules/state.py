"""Typed access to the state: an overlay of changed records over a reader of the parent state."""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar, cast

from chain.primitives import message_pack
from chain.primitives.message_pack import decode_trusted
from chain.primitives.network import AttesterAllowance
from chain.primitives.parameters import Parameters
from chain.primitives.records import (
    Account,
    Domain,
    Proposal,
    ProviderUsage,
    ReceiptUse,
    Registration,
    Supply,
    Upgrade,
    Usage,
    ValidatorSet,
    decode_addresses,
    decode_amount,
    decode_attesters,
    decode_flag,
    decode_integer,
    encode_amount,
    encode_attesters,
    state_key,
)
from chain.primitives.types import MAX_UINT256, Address, Amount, Hash32

T = TypeVar("T")


class StateReader(Protocol):
    """Anything that knows the records of one state."""

    def get(self, state_key: bytes) -> bytes | None:
        """The record under a state key, or None."""


class _AccountEntry:
    """An account that this overlay has touched, beside what it was in the parent state."""

    __slots__ = ("balance", "nonce", "parent")

    def __init__(self, parent: Account) -> None:
        self.parent = parent
        self.nonce = parent.nonce
        self.balance: int = parent.balance


_ACCOUNT_PREFIX: Final = state_key(Domain.ACCOUNT)
_ABSENT: Final = Account()
_NO_SUPPLY: Final = Supply()
_NO_USAGE: Final = Usage()
_NO_PROVIDER_USAGE: Final = ProviderUsage()
_NO_VALIDATORS: Final = ValidatorSet()

# Keys of the records that there is one of: every mint reads most of them.
_SUPPLY: Final = state_key(Domain.SUPPLY)
_PARAMETERS: Final = state_key(Domain.PARAMETERS)
_VALIDATORS: Final = state_key(Domain.VALIDATORS)
_ATTESTERS: Final = state_key(Domain.ATTESTERS)
_MINTING_PAUSED: Final = state_key(Domain.MINTING_PAUSED)
_ISSUERS: Final = state_key(Domain.ISSUERS)
_PROPOSAL_COUNT: Final = state_key(Domain.PROPOSAL_COUNT)
_UPGRADE: Final = state_key(Domain.UPGRADE)


class State:
    """One block's view: reads fall through to the parent state, writes stay here until `changes` is taken."""

    def __init__(self, reader: StateReader) -> None:
        self._reader = reader
        self._accounts: dict[Address, _AccountEntry] = {}
        self._records: dict[bytes, Any] = {}
        self._parent_records: dict[bytes, bytes | None] = {}
        self._writes: dict[bytes, Callable[[Any], bytes] | None] = {}

    # Accounts

    def _account(self, address: Address) -> _AccountEntry:
        entry = self._accounts.get(address)
        if entry is None:
            record = self._reader.get(_ACCOUNT_PREFIX + address)
            entry = _AccountEntry(Account.decode(record) if record is not None else _ABSENT)
            self._accounts[address] = entry
        return entry

    def account(self, address: Address) -> Account:
        """Nonce and balance as they are now."""
        entry = self._account(address)
        return Account(entry.nonce, Amount(entry.balance))

    def nonce(self, address: Address) -> int:
        """Transactions sent so far."""
        return self._account(address).nonce

    def balance(self, address: Address) -> int:
        """Atoms of AIT held now."""
        return self._account(address).balance

    def parent_balance(self, address: Address) -> Amount:
        """The balance before this block."""
        return self._account(address).parent.balance

    def credit(self, address: Address, amount: int) -> None:
        """Adds atoms. Supply is bounded far below 2^256, so an overflow is a programmer's error."""
        entry = self._account(address)
        assert amount >= 0 and entry.balance + amount <= MAX_UINT256
        entry.balance += amount

    def debit(self, address: Address, amount: int) -> None:
        """Takes atoms; the caller has checked that they are there."""
        entry = self._account(address)
        assert 0 <= amount <= entry.balance
        entry.balance -= amount

    def increment_nonce(self, address: Address) -> None:
        """One transaction more."""
        self._account(address).nonce += 1

    # Records: decoded once per block, encoded when they change

    def read_record(self, key: bytes, decode: Callable[[bytes], T], default: T) -> T:
        """The record under a state key as it is now. Modules with many records keep their accessors themselves."""
        if key in self._records:
            return cast("T", self._records[key])
        encoded = self._parent_records[key] = self._reader.get(key)
        value = default if encoded is None else decode(encoded)
        self._records[key] = value
        return value

    def parent_record(self, key: bytes) -> bytes | None:
        """The record before this block, encoded, or None."""
        if key not in self._parent_records:
            return self._reader.get(key)
        return self._parent_records[key]

    def write_record(self, key: bytes, value: T, encode: Callable[[T], bytes] | None) -> None:
        """Without `encode` the record is removed. A record that every mint changes is encoded once, at the end."""
        if key not in self._records:
            self._parent_records[key] = self._reader.get(key)
        self._records[key] = value
        self._writes[key] = encode

    def supply(self) -> Supply:
        """Minted and burned so far."""
        return self.read_record(_SUPPLY, Supply.decode, _NO_SUPPLY)

    def set_supply(self, supply: Supply) -> None:
        """Replaces it."""
        self.write_record(_SUPPLY, supply, Supply.encode)

    def burn(self, address: Address, amount: int) -> None:
        """Takes atoms out of an account and of circulation."""
        self.debit(address, amount)
        supply = self.supply()
        self.set_supply(Supply(supply.minted, supply.burned + amount))

    def allowance(self, owner: Address, spender: Address) -> Amount:
        """What the spender may still take from the owner."""
        return self.read_record(state_key(Domain.ALLOWANCE, owner + spender), decode_amount, Amount(0))

    def set_allowance(self, owner: Address, spender: Address, amount: int) -> None:
        """Replaces it; 0 removes the record."""
        key = state_key(Domain.ALLOWANCE, owner + spender)
        self.write_record(key, Amount(amount), encode_amount if amount else None)

    def authorization_used(self, authorizer: Address, nonce: Hash32) -> bool:
        """Whether the owner has used up this nonce of its authorizations."""
        return self.read_record(state_key(Domain.AUTHORIZATION, authorizer + nonce), decode_flag, False)

    def use_authorization(self, authorizer: Address, nonce: Hash32) -> None:
        """Uses it up for ever."""
        self.write_record(state_key(Domain.AUTHORIZATION, authorizer + nonce), True, message_pack.encode)

    def receipt_use(self, receipt_hash: Hash32) -> ReceiptUse | None:
        """How the receipt was used up, or None."""
        return self.read_record(state_key(Domain.RECEIPT, receipt_hash), ReceiptUse.decode, None)

    def use_receipt(self, receipt_hash: Hash32, use: ReceiptUse) -> None:
        """Uses it up for ever."""
        self.write_record(state_key(Domain.RECEIPT, receipt_hash), use, ReceiptUse.encode)

    def parameters(self) -> Parameters:
        """What governance has set."""
        return self.read_record(_PARAMETERS, Parameters.decode, Parameters())

    def set_parameters(self, parameters: Parameters) -> None:
        """Replaces all; the caller has checked the bounds."""
        self.write_record(_PARAMETERS, parameters, Parameters.encode)

    def validators(self) -> tuple[Address, ...]:
        """In the order of certificates' bitmaps."""
        return self.validator_set().addresses

    def epoch(self) -> int:
        """The epoch of the blocks that extend this state."""
        return self.validator_set().epoch

    def validator_set(self) -> ValidatorSet:
        """Validators and epoch."""
        return self.read_record(_VALIDATORS, ValidatorSet.decode, _NO_VALIDATORS)

    def begin_epoch(self, validators: tuple[Address, ...]) -> None:
        """Another set, or the same one anew: the epoch is the parent state's and one more, however often in a block."""
        self.validator_set()  # So that the parent's record has been read.
        parent = self._parent_records[_VALIDATORS]
        epoch = 0 if parent is None else ValidatorSet.decode(parent).epoch + 1
        self.write_record(_VALIDATORS, ValidatorSet(epoch, validators), ValidatorSet.encode)

    def was_validator(self, address: Address) -> bool:
        """Whether this key has left the set before."""
        return self.read_record(state_key(Domain.FORMER_VALIDATOR, address), decode_flag, False)

    def set_was_validator(self, address: Address) -> None:
        """It has left, for good."""
        self.write_record(state_key(Domain.FORMER_VALIDATOR, address), True, message_pack.encode)

    def attesters(self) -> tuple[AttesterAllowance, ...]:
        """In order of entry."""
        return self.read_record(_ATTESTERS, decode_attesters, ())

    def attester(self, address: Address) -> AttesterAllowance | None:
        """The attester's allowance, or None for anybody else."""
        return next((attester for attester in self.attesters() if attester.address == address), None)

    def set_attesters(self, attesters: tuple[AttesterAllowance, ...]) -> None:
        """Replaces the set."""
        self.write_record(_ATTESTERS, attesters, encode_attesters)

    def usage(self, domain: Domain, raw_key: bytes, period: int) -> Usage:
        """What was used in this period under one of the usage domains."""
        return self.read_record(state_key(domain, raw_key), Usage.decode, _NO_USAGE).within(period)

    def set_usage(self, domain: Domain, raw_key: bytes, usage: Usage) -> None:
        """Replaces it."""
        self.write_record(state_key(domain, raw_key), usage, Usage.encode)

    def provider_usage(self, provider: Address, period: int) -> ProviderUsage:
        """What was minted for a provider, in this period and ever."""
        key = state_key(Domain.PROVIDER_USAGE, provider)
        return self.read_record(key, ProviderUsage.decode, _NO_PROVIDER_USAGE).within(period)

    def set_provider_usage(self, provider: Address, usage: ProviderUsage) -> None:
        """Replaces it."""
        self.write_record(state_key(Domain.PROVIDER_USAGE, provider), usage, ProviderUsage.encode)

    def minting_paused(self) -> bool:
        """Whether governance has paused minting."""
        return self.read_record(_MINTING_PAUSED, decode_flag, False)

    def set_minting_paused(self, paused: bool) -> None:
        """Pauses or goes on."""
        self.write_record(_MINTING_PAUSED, paused, message_pack.encode if paused else None)

    def registration(self, provider: Address) -> Registration | None:
        """The provider's offer, also a withdrawn one."""
        return self.read_record(state_key(Domain.REGISTRATION, provider), Registration.decode, None)

    def set_registration(self, provider: Address, registration: Registration) -> None:
        """Replaces it."""
        self.write_record(state_key(Domain.REGISTRATION, provider), registration, Registration.encode)

    def issuers(self) -> tuple[Address, ...]:
        """Who may issue assets."""
        return self.read_record(_ISSUERS, decode_addresses, ())

    def set_issuers(self, issuers: tuple[Address, ...]) -> None:
        """Replaces the set."""
        self.write_record(_ISSUERS, issuers, message_pack.encode if issuers else None)

    def proposal_count(self) -> int:
        """How many proposals were ever made; they are numbered from 1."""
        return self.read_record(_PROPOSAL_COUNT, decode_integer, 0)

    def set_proposal_count(self, count: int) -> None:
        """Replaces it."""
        self.write_record(_PROPOSAL_COUNT, count, message_pack.encode)

    def proposal(self, number: int) -> Proposal | None:
        """A proposal by number."""
        if not 0 < number <= self.proposal_count():
            return None
        return self.read_record(state_key(Domain.PROPOSAL, number.to_bytes(8, "big")), Proposal.decode, None)

    def set_proposal(self, number: int, proposal: Proposal) -> None:
        """Replaces it."""
        self.write_record(state_key(Domain.PROPOSAL, number.to_bytes(8, "big")), proposal, Proposal.encode)

    def open_proposals(self, proposer: Address) -> tuple[int, ...]:
        """Numbers of a validator's proposals that may still be open."""
        return self.read_record(state_key(Domain.OPEN_PROPOSALS, proposer), _decode_ints, ())

    def set_open_proposals(self, proposer: Address, numbers: tuple[int, ...]) -> None:
        """Replaces them."""
        key = state_key(Domain.OPEN_PROPOSALS, proposer)
        self.write_record(key, numbers, message_pack.encode if numbers else None)

    def upgrade(self) -> Upgrade:
        """The rules in force and the ones scheduled."""
        return self.read_record(_UPGRADE, Upgrade.decode, Upgrade())

    def set_upgrade(self, upgrade: Upgrade) -> None:
        """Replaces it."""
        self.write_record(_UPGRADE, upgrade, Upgrade.encode)

    def changes(self) -> dict[bytes, bytes | None]:
        """Every record that differs from the parent state; None removes one."""
        changes: dict[bytes, bytes | None] = {}
        for key, encode in self._writes.items():
            encoded = None if encode is None else encode(self._records[key])
            if encoded != self._parent_records[key]:
                changes[key] = encoded
        for address, entry in self._accounts.items():
            if entry.nonce != entry.parent.nonce or entry.balance != entry.parent.balance:
                account = Account(entry.nonce, Amount(entry.balance))
                changes[_ACCOUNT_PREFIX + address] = None if account == _ABSENT else account.encode()
        return changes


def _decode_ints(encoded: bytes) -> tuple[int, ...]:
    return decode_trusted(encoded, tuple[int, ...])
