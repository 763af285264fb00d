"""Which index entries a block leaves: the read model behind the API's lists.

Accounts find their transactions as sender, recipient, or in an event's indexed address. The zero address, which nobody
owns, stands for everybody: its list has every block that holds transactions, so that the list of all transactions skips
the empty ones.

Logs are found through the kinds of events that a block holds, one entry for each however many logs there are, and
through the accounts in their topics. The zero address as a topic, the origin of what is minted, is a kind of its own;
and an asset's event is of two kinds, that asset's and any asset's: who asks for all transfers asks for one list, not
for one of each asset.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from chain.node.records import EpochEntry, MintEntry, ReceiptEntry, epoch_key
from chain.primitives.block import Log
from chain.primitives.escrow import PAID_EVENT
from chain.primitives.hashing import keccak256
from chain.primitives.market import ANY_ASSET, is_asset_address
from chain.primitives.modules import (
    ASSET_EVENTS,
    ESCROW,
    EVENTS,
    MINTED_EVENT,
    MINTER,
    PROVIDER_REGISTERED_EVENT,
    REGISTRY,
    is_reserved,
)
from chain.primitives.records import Domain, ValidatorSet, state_key
from chain.primitives.types import ZERO_ADDRESS, Address, BlockHeight, Hash32
from chain.rules.execution import BlockOutcome
from chain.storage.keys import (
    Table,
    account_transaction_key,
    event_block_key,
    provider_mint_key,
    receipt_order_key,
)

Put = tuple[Table, bytes, bytes]

ZERO_TOPIC: Final = Hash32(bytes(32))
"""The zero address as a topic."""
_EVENT_KIND_BYTES: Final = 16
_CACHED_KINDS: Final = 1_024
_INDEXED_MODULES: Final = (MINTER, REGISTRY, ESCROW)
_PAYS_FOR_RECEIPT: Final = frozenset({MINTER + MINTED_EVENT.topic, ESCROW + PAID_EVENT.topic})
"""Both events have a provider, its atoms and the receipt's hash, in the same places."""
_VALIDATORS: Final = state_key(Domain.VALIDATORS)

_ADDRESS_TOPICS: Final[dict[bytes, tuple[int, ...]]] = {
    module + event.topic: tuple(
        position
        for position, parameter in enumerate((each for each in event.parameters if each.indexed), start=1)
        if parameter.type.name == "address"
    )
    for module, events in (*EVENTS.items(), (ANY_ASSET, ASSET_EVENTS))
    for event in events
}


def address_topics(signature: bytes) -> tuple[int, ...]:
    """The topics of an event that hold an address. `signature` is the address of its module or asset, and its topic."""
    return _ADDRESS_TOPICS.get(_of_any_asset(signature) or signature, ())


def _of_any_asset(signature: bytes) -> bytes | None:
    """The same event of any asset, None where it is a module's."""
    return ANY_ASSET + signature[20:] if is_asset_address(Address(signature[:20])) else None


@lru_cache(_CACHED_KINDS)
def event_kind(signature: bytes, zero_topic: int | None = None) -> bytes:
    """What EVENT_BLOCK's keys begin with.

    `signature` is the module's or asset's address, or `ANY_ASSET`, and the event's topic; `zero_topic` the position
    where the zero address stands.
    """
    place = b"" if zero_topic is None else bytes((zero_topic,)) + ZERO_TOPIC
    return keccak256(signature + place)[:_EVENT_KIND_BYTES]


def index_block(height: BlockHeight, outcome: BlockOutcome) -> list[Put]:
    """The entries for all transactions of a block."""
    puts: list[Put] = []
    validators = outcome.changes.get(_VALIDATORS)
    if validators is not None:
        begun = ValidatorSet.decode(validators)
        puts.append((Table.EPOCH, epoch_key(begun.epoch), EpochEntry(height, begun.addresses).encode()))
    if outcome.transactions:
        puts.append((Table.ACCOUNT_TRANSACTION, account_transaction_key(ZERO_ADDRESS, height, 0), b""))
    kinds: set[tuple[bytes, int | None]] = set()
    steps = zip(outcome.transactions, outcome.senders, outcome.results, strict=True)
    for index, (transaction, sender, result) in enumerate(steps):
        for account in _parties(sender, transaction.to, result.logs, kinds):
            key = account_transaction_key(account, height, index)
            puts.append((Table.ACCOUNT_TRANSACTION, key, b""))
        if any(log.address in _INDEXED_MODULES for log in result.logs):
            puts += _used_receipts(height, index, result.logs)
            puts += _registrations(result.logs)
    puts += [(Table.EVENT_BLOCK, event_block_key(event_kind(*kind), height), b"") for kind in kinds]
    return puts


def _parties(
    sender: Address, recipient: Address, logs: tuple[Log, ...], kinds: set[tuple[bytes, int | None]]
) -> set[Address]:
    """The accounts of one transaction; adds the kinds of its events."""
    parties = {sender}
    if not is_reserved(recipient):
        parties.add(recipient)
    for log in logs:
        signature = log.address + log.topics[0]
        of_any_asset = _of_any_asset(signature)
        signatures = (signature,) if of_any_asset is None else (signature, of_any_asset)
        kinds.update((each, None) for each in signatures)
        for position in address_topics(signature):
            parties.add(Address(log.topics[position][12:]))
            if log.topics[position] == ZERO_TOPIC:
                kinds.update((each, position) for each in signatures)
    parties.discard(ZERO_ADDRESS)  # The origin of minted tokens.
    return parties


def _used_receipts(height: BlockHeight, index: int, logs: tuple[Log, ...]) -> Iterator[Put]:
    shares: dict[Hash32, list[tuple[Address, bytes]]] = {}
    minted: set[Hash32] = set()
    for log in logs:
        if log.address + log.topics[0] in _PAYS_FOR_RECEIPT:
            # As `chain.rules.mint.minted_log` lays it out: decoding it by its declaration took longer than indexing it.
            provider, amount, receipt_hash = log.topics[1][12:], log.data[:32].lstrip(b"\0"), Hash32(log.data[32:])
            shares.setdefault(receipt_hash, []).append((Address(provider), amount))
            if log.address == MINTER:
                minted.add(receipt_hash)
    for order, (receipt_hash, shared) in enumerate(shares.items()):
        yield Table.RECEIPT, receipt_hash, ReceiptEntry(height, index, tuple(shared)).encode()
        yield Table.RECEIPT_ORDER, receipt_order_key(height, index, order), receipt_hash
        if receipt_hash not in minted:
            continue
        for part, (provider, amount) in enumerate(shared):
            entry = MintEntry(height, index, receipt_hash, amount)
            yield Table.PROVIDER_MINT, provider_mint_key(provider, height, index, part), entry.encode()


def _registrations(logs: tuple[Log, ...]) -> Iterator[Put]:
    for log in logs:
        if log.address == REGISTRY and log.topics[0] == PROVIDER_REGISTERED_EVENT.topic:
            yield Table.PROVIDER, log.topics[1][12:], b""  # The offer itself is in the state.
