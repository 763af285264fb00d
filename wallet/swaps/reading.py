"""What a chain says of a lock and of an asset. Both chains are asked in the same words: `eth_call` and blocks."""

from typing import Final

import msgspec

from chain.primitives.abi import Function
from chain.primitives.hexadecimal import to_hex
from chain.primitives.market import HOLDER
from chain.primitives.modules import MARKET, TOKEN, TOKEN_BALANCE_OF, TOKEN_DECIMALS, TOKEN_SYMBOL
from chain.primitives.rejection import Rejected
from chain.primitives.swap_records import SwapStatus
from chain.primitives.swaps import SWAP
from chain.primitives.types import ZERO_ADDRESS, Address
from wallet.swaps.json_rpc import JsonRpc, RpcRefused, RpcUnavailable
from wallet.swaps.steps import LockState
from wallet.swaps.terms import Lock

_LONGEST_SYMBOL: Final = 16
_MAX_DECIMALS: Final = 36


class AssetName(msgspec.Struct, frozen=True):
    """What an asset calls itself: anybody can call a token anything, its address is what counts."""

    symbol: str
    decimals: int

    def format(self, atoms: int) -> str:
        """`1.5 AIT`"""
        whole, fraction = divmod(atoms, 10**self.decimals)
        digits = f"{fraction:0{self.decimals}d}".rstrip("0") if self.decimals else ""
        return f"{whole}{'.' if digits else ''}{digits} {self.symbol}"


ETHER: Final = AssetName("ETH", 18)


def read_lock(rpc: JsonRpc, lock: Lock, confirmations: int | None, clock_s: int) -> LockState:
    """The newest state, and what will not be undone: final, or under so many blocks, itself included."""
    head = rpc.block("latest")
    number, chain_s = rpc.read_quantity(head.get("number")), rpc.read_quantity(head.get("timestamp"))
    status, secret = _status(rpc, lock, "latest")
    # Below the chain's beginning nothing is confirmed; block 0 has no swaps.
    settled = "finalized" if confirmations is None else hex(max(0, number - confirmations + 1))
    confirmed, _ = _status(rpc, lock, settled)
    return LockState(status=status, confirmed=confirmed, secret=secret, chain_s=chain_s, clock_s=clock_s)


def _status(rpc: JsonRpc, lock: Lock, block: str) -> tuple[SwapStatus, bytes | None]:
    answer = _view(rpc, lock.contract, SWAP.encode(lock.id), block)
    if not answer:  # No contract stood there then.
        return SwapStatus.NONE, None
    try:
        *terms, status, secret = SWAP.decode_output(answer)
        known = SwapStatus(status)
    except (Rejected, ValueError):
        raise RpcUnavailable(f"{rpc.what} does not answer as a hash time lock") from None
    if known is SwapStatus.NONE:
        return known, None
    if terms != [lock.sender, lock.recipient, lock.asset, lock.value, lock.hash, lock.deadline]:
        raise RpcUnavailable(f"{rpc.what} shows other terms under this swap's id: it lies, or is damaged")
    return known, secret if known is SwapStatus.CLAIMED else None


def read_asset(rpc: JsonRpc, asset: Address) -> AssetName:
    """Of a token; raises RpcRefused where there is none."""
    if asset == ZERO_ADDRESS:
        return ETHER
    try:
        (decimals,) = TOKEN_DECIMALS.decode_output(_view(rpc, asset, TOKEN_DECIMALS.encode()))
    except Rejected:
        raise RpcRefused(f"{to_hex(asset)} is no token that says its decimals") from None
    if decimals > _MAX_DECIMALS:
        raise RpcRefused(f"{to_hex(asset)} says that it has {decimals} decimals")
    try:
        (symbol,) = TOKEN_SYMBOL.decode_output(_view(rpc, asset, TOKEN_SYMBOL.encode()))
    except Rejected:  # Some old tokens answer with bytes32.
        symbol = "?"
    printable = "".join(character for character in symbol if character.isascii() and character.isprintable())
    return AssetName(printable[:_LONGEST_SYMBOL] or "?", decimals)


def check_may_receive(rpc: JsonRpc, asset: Address, recipient: Address) -> None:
    """On this project's chain: raises RpcRefused where its issuer lets nobody pay this recipient now."""
    if asset == TOKEN:
        return
    try:
        authorized, frozen = HOLDER.decode_output(_view(rpc, MARKET, HOLDER.encode(asset, recipient)))
    except Rejected:
        raise RpcUnavailable(f"{rpc.what} does not say who may hold {to_hex(asset)}") from None
    if frozen or not authorized:
        raise RpcRefused("what you would get cannot be paid out to you now: its issuer lets you not hold it")


def read_balance(rpc: JsonRpc, asset: Address, owner: Address) -> int:
    """Smallest units of ether or a token."""
    if asset == ZERO_ADDRESS:
        return rpc.quantity("eth_getBalance", to_hex(owner), "latest")
    return read_number(rpc, asset, TOKEN_BALANCE_OF, owner)


def read_number(rpc: JsonRpc, contract: Address, function: Function, *arguments: Address) -> int:
    """The one number that a view returns."""
    try:
        (number,) = function.decode_output(_view(rpc, contract, function.encode(*arguments)))
    except Rejected:
        raise RpcUnavailable(f"{rpc.what}: {to_hex(contract)} does not answer {function.name}") from None
    return int(number)


def _view(rpc: JsonRpc, to: Address, call_data: bytes, block: str = "latest") -> bytes:
    return rpc.octets("eth_call", {"to": to_hex(to), "data": to_hex(call_data)}, block)
