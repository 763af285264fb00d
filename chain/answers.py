"""What a node answers over REST: the shapes that `chain.api` writes and `chain.client` reads.

Hashes are lowercase 0x-hex, addresses have their EIP-55 checksum. Amounts are integers of atoms here and decimal
strings in the JSON; other integers stay below 2^53 there, or are strings too. Every list's item and every answer about
the state says whether it is final.
"""

from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from chain.primitives.hexadecimal import parse_amount
from chain.primitives.types import BlockHeight

T = TypeVar("T")

HashText = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]
AddressText = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
NetworkName = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
"""As in a network's file: nobody's name can write lines into what a person is asked to confirm."""
HexText = Annotated[str, msgspec.Meta(pattern="^0x([0-9a-f]{2})*$")]


class BigInteger(int):
    """An integer from 0 that may pass 2^53, which JSON readers cannot hold: a decimal string there."""


Atoms = BigInteger
"""An amount of AIT."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. Fields that this version does not know are ignored."""


class FinalizedHead(Answer, frozen=True):
    """The newest final block."""

    height: BlockHeight
    hash: HashText
    time_ms: int


class MempoolSize(Answer, frozen=True):
    """What waits in the node's mempool."""

    transactions: int
    bytes: int


class PeerCounts(Answer, frozen=True):
    """How many peers are connected, and how many of them are validators."""

    connected: int
    validators: int


class Syncing(Answer, frozen=True):
    """The node fetches final blocks, from `height` on up to `target`, the greatest height that it has heard of."""

    height: BlockHeight
    target: int


class StatusView(Answer, frozen=True):
    """GET /v1/status"""

    chain_id: int
    genesis_hash: HashText
    network: NetworkName
    version: str
    protocol_version: int
    finalized: FinalizedHead
    modules: dict[str, AddressText]
    peers: PeerCounts
    role: str
    """`validator` in the present set, or `follower`"""
    validator_index: int | None
    """Place in the present set, in the order of certificates' bitmaps."""
    epoch: int
    view: int
    syncing: Syncing | None
    """None while the node keeps up."""
    block_interval_ms: int
    mempool: MempoolSize


class CertificateView(Answer, frozen=True):
    """A finality certificate; `signer_bitmap` is hex of a big-endian integer."""

    height: BlockHeight
    epoch: int
    view: int
    parent_view: int
    block_hash: HashText
    signer_bitmap: str
    signatures: list[HexText]


class BlockView(Answer, frozen=True):
    """A block; `transactions` (hashes in order) and `certificate` only where one block was asked for."""

    height: BlockHeight
    hash: HashText
    parent_hash: HashText
    time_ms: int
    proposer: AddressText
    protocol_version: int
    chain_id: int
    epoch: int
    transactions_root: HashText
    results_root: HashText
    state_root: HashText
    next_validators_hash: HashText
    transaction_count: int
    size_bytes: int
    finalized: bool
    transactions: list[HashText] | None = None
    certificate: CertificateView | None = None


class LogView(Answer, frozen=True):
    """An event that a transaction left."""

    address: AddressText
    topics: list[HashText]
    data: HexText


class TransactionView(Answer, frozen=True):
    """A transaction, pending or in a block. `reason` says why a failed one failed."""

    hash: HashText
    status: str
    """`pending`, `success` or `failed`"""
    finalized: bool
    height: BlockHeight | None
    index: int | None
    time_ms: int | None
    sender: AddressText = msgspec.field(name="from")
    to: AddressText
    value: Atoms
    nonce: int
    type: int
    data: HexText
    reason: str | None
    logs: list[LogView]


class SentTransaction(Answer, frozen=True):
    """The answer to POST /v1/transactions: it waits in the mempool, or is in a block already."""

    transaction_hash: HashText
    status: str
    """`pending`, `success` or `failed`"""
    height: BlockHeight | None


class BatchEntry(Answer, frozen=True):
    """What became of one transaction of a batch. A refused one has `reason` and `detail`, and no hash."""

    status: str
    """`pending`, `success`, `failed` or `refused`"""
    transaction_hash: HashText | None = None
    height: BlockHeight | None = None
    reason: str | None = None
    detail: str | None = None


class SentTransactions(Answer, frozen=True):
    """The answer to a batch: one entry for each, in the same order."""

    results: list[BatchEntry]


class AccountView(Answer, frozen=True):
    """Balance and nonce after the block of `height`; `pending_nonce` counts the account's waiting transactions too."""

    address: AddressText
    balance: Atoms
    nonce: Count
    pending_nonce: Count
    height: BlockHeight
    finalized: bool


class MintShare(Answer, frozen=True):
    """What one provider got for a receipt."""

    provider: AddressText
    units: Atoms


class SettlementView(Answer, frozen=True):
    """Out of whose deposit a receipt was paid, and what the hub took beside the providers."""

    client: AddressText
    audience: str
    request_hash: HashText
    fee_recipient: AddressText
    """The zero address where there was no fee."""
    fee: Atoms


class ReceiptView(Answer, frozen=True):
    """A used receipt: who got how many atoms (`units`), who attested it, and where. A split receipt has several shares.

    It was minted, or settled where `settlement` is there.
    """

    receipt_hash: HashText
    provider: AddressText
    units: Atoms
    shares: list[MintShare]
    attesters: list[AddressText]
    attestation: HexText
    transaction_hash: HashText
    height: BlockHeight
    time_ms: int
    finalized: bool
    receipt: dict[str, Any] | None
    settlement: SettlementView | None = None


class MintView(Answer, frozen=True):
    """One provider's mint in the list of its mints."""

    receipt_hash: HashText
    provider: AddressText
    units: Atoms
    transaction_hash: HashText
    height: BlockHeight
    finalized: bool


class SupplyView(Answer, frozen=True):
    """Atoms minted and burned since genesis; `supply` is their difference."""

    minted: Atoms
    burned: Atoms
    supply: Atoms
    height: BlockHeight
    finalized: bool


class ValidatorView(Answer, frozen=True):
    """A member of the present validator set."""

    address: AddressText
    public_key: HexText | None
    """Where the network file names it; validators that joined later are known by their address alone."""
    peer_url: str | None
    last_signed_height: BlockHeight | None = None
    """The newest of the last 32 blocks whose certificate it has signed; None where it has signed none of them."""


class ValidatorsView(Answer, frozen=True):
    """The present set, in the order of certificates' bitmaps."""

    epoch: int
    quorum: int
    height: BlockHeight
    finalized: bool
    validators: list[ValidatorView]


class VoteView(Answer, frozen=True):
    """One validator's signed vote: `notarize`, `nullify` (which names no block) or `finalize`."""

    kind: str
    view: int
    parent_view: int
    block_hash: HashText
    signature: HexText


class EvidenceView(Answer, frozen=True):
    """Two votes of one validator that no honest one signs both of. `signer` is its index in that epoch's set."""

    epoch: int
    signer: int
    votes: list[VoteView]


class AttesterView(Answer, frozen=True):
    """An attester's allowance per period, and what of it is used in the present one."""

    address: AddressText
    atoms_per_period: Atoms
    receipts_per_period: BigInteger
    used_atoms: Atoms
    used_receipts: BigInteger


class AttestersView(Answer, frozen=True):
    """`threshold` distinct attesters must sign each mint."""

    threshold: int
    height: BlockHeight
    finalized: bool
    attesters: list[AttesterView]


class ReputationView(Answer, frozen=True):
    """What the chain has counted of a provider: mints by itself, the rest as attesters recorded it with evidence."""

    receipts: int
    units: Atoms
    """Atoms ever minted for it."""
    failures: int
    disputes: int
    breaches: int


class ProviderView(Answer, frozen=True):
    """A provider in the chain's registry; withdrawn ones are listed with `active` false."""

    address: AddressText
    active: bool
    endpoint: str
    models: list[str]
    price_per_unit: Atoms
    unit_type: str
    vram_mib: int
    payout: AddressText
    reputation: ReputationView
    sla_hash: HashText | None
    """Of the signed statement of its service level, which it hands out itself."""
    height: BlockHeight
    finalized: bool


class ParametersView(Answer, frozen=True):
    """What governance tunes, by name."""

    parameters: dict[str, BigInteger]
    minting_paused: bool
    height: BlockHeight
    finalized: bool


class Page(Answer, Generic[T], frozen=True):
    """A part of a list, newest first; give `next_cursor` for the next part, None is the end."""

    items: list[T]
    next_cursor: str | None


def encode_answer(answer: Answer) -> bytes:
    """The JSON text of an answer."""
    return _encoder.encode(answer)


def answer_decoder(expected: type[T]) -> msgspec.json.Decoder[T]:
    """A decoder for JSON from a node; raises msgspec.DecodeError, or Rejected for an amount that is none."""
    return msgspec.json.Decoder(expected, dec_hook=_decode_big_integer)


def answer_schemas(answers: list[Any]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """JSON schemas of answers, and the components that they refer to, for an OpenAPI document."""
    return msgspec.json.schema_components(
        answers, schema_hook=_schema_of_big_integer, ref_template="#/components/schemas/{name}"
    )


def _encode_big_integer(value: Any) -> str:
    if isinstance(value, BigInteger):
        return str(int(value))
    raise NotImplementedError(f"{type(value)} has no JSON form")


def _decode_big_integer(expected: type, value: Any) -> Any:
    if expected is BigInteger:
        return BigInteger(parse_amount(value))
    raise NotImplementedError(f"{expected} has no JSON form")


def _schema_of_big_integer(expected: type) -> dict[str, Any]:
    if expected is BigInteger:
        return {"type": "string", "pattern": "^(0|[1-9][0-9]{0,77})$", "description": "A decimal number."}
    raise NotImplementedError(f"{expected} has no JSON schema")


_encoder: Final = msgspec.json.Encoder(enc_hook=_encode_big_integer)
