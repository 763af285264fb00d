"""Every request of a node's REST API as a value: what to ask for, and how to read the answer.

A function each, `account(address) -> Call[AccountView]`; `chain.client` performs them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from chain.answers import (
    AccountView,
    AttestersView,
    BlockView,
    MintView,
    Page,
    ParametersView,
    ProviderView,
    ReceiptView,
    SentTransaction,
    SentTransactions,
    StatusView,
    SupplyView,
    TransactionView,
    ValidatorsView,
    answer_decoder,
)
from chain.governance_answers import FinalityView, ProposalView
from chain.primitives.abi import Function
from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.types import Address, Hash32

T = TypeVar("T")


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One request: what to ask for, and how to read the answer."""

    method: str
    path: str
    read: Callable[[bytes], T]
    parameters: Mapping[str, str | int] = {}
    body: bytes | None = None


def get(view: type[T], path: str, **parameters: str | int | None) -> Call[T]:
    """A GET whose answer is of one type; parameters that are None are left out."""
    query = {name: value for name, value in parameters.items() if value is not None}
    return Call("GET", path, answer_decoder(view).decode, query)


def status() -> Call[StatusView]:
    """Which network this is, and how far the node is."""
    return get(StatusView, "/v1/status")


def block(height_or_hash: int | Hash32 | str) -> Call[BlockView]:
    """One block. NodeRefused (not_found) where there is none."""
    return get(BlockView, f"/v1/blocks/{hash_text(height_or_hash)}")


def blocks(*, cursor: str | None = None, limit: int = 50) -> Call[Page[BlockView]]:
    """All blocks, newest first."""
    return get(Page[BlockView], "/v1/blocks", cursor=cursor, limit=limit)


def transaction(transaction_hash: Hash32 | str) -> Call[TransactionView]:
    """One transaction, waiting or in a block. NodeRefused (not_found) where the node knows neither."""
    return get(TransactionView, f"/v1/transactions/{hash_text(transaction_hash)}")


def transactions(*, cursor: str | None = None, limit: int = 50) -> Call[Page[TransactionView]]:
    """All transactions in blocks, newest first."""
    return get(Page[TransactionView], "/v1/transactions", cursor=cursor, limit=limit)


def send_transaction(raw: bytes) -> Call[SentTransaction]:
    """Hands a signed transaction in. The same bytes again are harmless; NodeRefused says why another is not taken."""
    body = msgspec.json.encode({"raw_transaction": to_hex(raw)})
    return Call("POST", "/v1/transactions", answer_decoder(SentTransaction).decode, {}, body)


def send_transactions(raws: Sequence[bytes]) -> Call[SentTransactions]:
    """Hands a batch in, at most 500 and 128 KiB of JSON: one result per entry, in the same order."""
    body = msgspec.json.encode({"transactions": [to_hex(raw) for raw in raws]})
    return Call("POST", "/v1/transactions", answer_decoder(SentTransactions).decode, {}, body)


def account(address: Address | str) -> Call[AccountView]:
    """Balance and nonces; an account nobody has touched has zeros."""
    return get(AccountView, f"/v1/accounts/{address_text(address)}")


def account_transactions(
    address: Address | str, *, cursor: str | None = None, limit: int = 50
) -> Call[Page[TransactionView]]:
    """What an account sent, received, or was paid by a mint, newest first."""
    path = f"/v1/accounts/{address_text(address)}/transactions"
    return get(Page[TransactionView], path, cursor=cursor, limit=limit)


def account_mints(address: Address | str, *, cursor: str | None = None, limit: int = 50) -> Call[Page[MintView]]:
    """The mints for this provider, newest first."""
    return get(Page[MintView], f"/v1/accounts/{address_text(address)}/mints", cursor=cursor, limit=limit)


def receipt(receipt_hash: Hash32 | str) -> Call[ReceiptView]:
    """How a receipt was used. NodeRefused (not_found) while it is not."""
    return get(ReceiptView, f"/v1/receipts/{hash_text(receipt_hash)}")


def receipts(*, cursor: str | None = None, limit: int = 50) -> Call[Page[ReceiptView]]:
    """All used receipts, newest first."""
    return get(Page[ReceiptView], "/v1/receipts", cursor=cursor, limit=limit)


def supply() -> Call[SupplyView]:
    """Atoms in circulation."""
    return get(SupplyView, "/v1/supply")


def validators() -> Call[ValidatorsView]:
    """The present validator set."""
    return get(ValidatorsView, "/v1/validators")


def proposals(*, cursor: str | None = None, limit: int = 50) -> Call[Page[ProposalView]]:
    """What validators have proposed, newest first."""
    return get(Page[ProposalView], "/v1/proposals", cursor=cursor, limit=limit)


def proposal(number: int) -> Call[ProposalView]:
    """One proposal. NodeRefused (not_found) where no proposal has this number."""
    return get(ProposalView, f"/v1/proposals/{hash_text(number)}")


def finality_proof(height: int, *, known_epoch: int = 0) -> Call[FinalityView]:
    """Why a block is final, for somebody who knows an epoch's validators. NodeRefused (not_found) above the head."""
    return get(FinalityView, f"/v1/proofs/finality/{hash_text(height)}", known_epoch=known_epoch)


def attesters() -> Call[AttestersView]:
    """Who may attest receipts, and what is left of each allowance."""
    return get(AttestersView, "/v1/attesters")


def provider(address: Address | str) -> Call[ProviderView]:
    """One registered provider. NodeRefused (not_found) where it never registered."""
    return get(ProviderView, f"/v1/providers/{address_text(address)}")


def providers(*, cursor: str | None = None, limit: int = 50) -> Call[Page[ProviderView]]:
    """Registered providers by address."""
    return get(Page[ProviderView], "/v1/providers", cursor=cursor, limit=limit)


def parameters() -> Call[ParametersView]:
    """What governance has set."""
    return get(ParametersView, "/v1/parameters")


class GasEstimate(msgspec.Struct, frozen=True):
    """What would become of a transaction: the gas that it is charged, or why it would be refused, or fail."""

    gas: int | None
    refusal: str | None


class _RpcError(msgspec.Struct):
    message: str


class _RpcAnswer(msgspec.Struct):
    result: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{1,16}$")] | None = None
    error: _RpcError | None = None


def estimate_gas(sender: Address, to: Address, value: int, call_data: bytes) -> Call[GasEstimate]:
    """Whether the sender's transaction would succeed now: the node runs the chain's rules on it, and keeps nothing."""
    call = {"from": to_hex(sender), "to": to_hex(to), "value": hex(value), "data": to_hex(call_data)}
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_estimateGas", "params": [call]}
    return Call("POST", "/rpc", _read_estimate, {}, msgspec.json.encode(request))


def _read_estimate(content: bytes) -> GasEstimate:
    answer = msgspec.json.decode(content, type=_RpcAnswer)
    if answer.error is not None:
        # The words that Ethereum's clients expect around the reason.
        return GasEstimate(None, answer.error.message.removeprefix("execution reverted: ")[:500])
    if answer.result is None:
        raise msgspec.ValidationError("neither a result nor an error")
    return GasEstimate(int(answer.result, 16), None)


class ViewAnswer(msgspec.Struct, frozen=True):
    """What a module's view returned, in the order of its outputs, or why it refuses, or fails."""

    values: tuple[Any, ...] | None
    refusal: str | None


class _ViewRpcAnswer(msgspec.Struct):
    result: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{0,65536}$")] | None = None
    error: _RpcError | None = None


def view(to: Address, function: Function, *arguments: Any) -> Call[ViewAnswer]:
    """Asks a view of a module or of an asset, as of the newest block."""

    def read(content: bytes) -> ViewAnswer:
        answer = msgspec.json.decode(content, type=_ViewRpcAnswer)
        if answer.error is not None:
            return ViewAnswer(None, answer.error.message.removeprefix("execution reverted: ")[:500])
        if answer.result is None:
            raise msgspec.ValidationError("neither a result nor an error")
        return ViewAnswer(tuple(function.decode_output(parse_hex(answer.result))), None)

    call = {"to": to_hex(to), "data": to_hex(function.encode(*arguments))}
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}
    return Call("POST", "/rpc", read, {}, msgspec.json.encode(request))


def hash_text(key: int | bytes | str) -> str:
    """A hash, height or address as it stands in a path. Raises ValueError for text that cannot stand there."""
    text = to_hex(key) if isinstance(key, bytes) else str(key)
    if not text.isalnum():  # It becomes a part of a path.
        raise ValueError("a hash is 0x and 64 hex digits")
    return text


def address_text(address: Address | str) -> str:
    """An address as it stands in a path. Raises ValueError for text that cannot stand there."""
    return to_checksum_address(address) if isinstance(address, bytes) else hash_text(address)
