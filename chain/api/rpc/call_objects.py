"""The transaction that eth_call and eth_estimateGas are given: what wallets send of it, read and checked as in geth."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from chain.api.rpc.errors import INVALID_PARAMETERS, SERVER_ERROR, RpcError
from chain.api.rpc.methods import Kind
from chain.api.rpc.values import (
    ADDRESS_SCHEMA,
    DATA_SCHEMA,
    QUANTITY_SCHEMA,
    UINT64_SCHEMA,
    malformed,
    parse_address,
    parse_data,
    parse_members,
    parse_quantity,
    parse_uint64,
)
from chain.primitives.transaction import DYNAMIC_FEE, LEGACY, intrinsic_gas
from chain.primitives.types import Address


class CallObject(msgspec.Struct, frozen=True, kw_only=True):
    """A call that somebody thinks of making. Fees in atoms per gas; None stands for what was not given."""

    sender: Address | None = None
    to: Address | None = None
    value: int = 0
    call_data: bytes = b""
    gas: int | None = None
    max_fee: int | None = None
    chain_id: int | None = None

    def check(self, *, chain_id: int, base_fee: int) -> Address:
        """The recipient; raises RpcError for what no block would take, whatever the call does."""
        if self.chain_id is not None and self.chain_id != chain_id:
            message = f"chainId does not match node's (have={self.chain_id}, want={chain_id})"
            raise RpcError(INVALID_PARAMETERS, message)
        if self.to is None:
            raise RpcError(SERVER_ERROR, "contract creation is not supported: there is no EVM, a call needs `to`")
        needed = intrinsic_gas(self.call_data)
        if self.gas is not None and self.gas < needed:
            raise RpcError(SERVER_ERROR, f"intrinsic gas too low: have {self.gas}, want {needed}")
        if self.max_fee and self.max_fee < base_fee:  # A fee of 0 is what is sent by those who do not care.
            message = f"max fee per gas less than block base fee: maxFeePerGas: {self.max_fee}, baseFee: {base_fee}"
            raise RpcError(SERVER_ERROR, message)
        return self.to


def parse_call_object(value: Any) -> CallObject:
    """Reads a call; members that have no meaning here are left alone, as geth does."""
    fields = parse_members(value, _PARSERS, "a call")
    call_data, call_input = fields.get("data"), fields.get("input")
    if call_data is not None and call_input is not None and call_data != call_input:
        raise malformed('"data" and "input" are both given, and differ')
    max_fee, gas_price = fields.get("maxFeePerGas"), fields.get("gasPrice")
    tip = fields.get("maxPriorityFeePerGas")
    if gas_price is not None and (max_fee is not None or tip is not None):
        raise malformed("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    if max_fee is not None and tip is not None and tip > max_fee:
        raise malformed("max priority fee per gas higher than max fee per gas")
    if value.get("accessList") not in (None, []):
        raise malformed("accessList must be empty: there is no EVM")
    return CallObject(
        sender=fields.get("from"),
        to=fields.get("to"),
        value=fields.get("value", 0),
        call_data=call_input if call_input is not None else call_data or b"",
        gas=fields.get("gas"),
        max_fee=gas_price if gas_price is not None else max_fee,
        chain_id=fields.get("chainId"),
    )


def _parse_type(value: Any) -> int:
    number = parse_uint64(value)
    if number not in (LEGACY, DYNAMIC_FEE):
        raise malformed("transaction type not supported: 0x0 (legacy) or 0x2 (EIP-1559)")
    return number


def _parse_no_overrides(value: Any) -> None:
    if value != {}:
        raise malformed("state and block overrides are not supported")


_PARSERS: Final[dict[str, Callable[[Any], Any]]] = {
    "from": parse_address,
    "to": parse_address,
    "value": parse_quantity,
    "data": parse_data,
    "input": parse_data,
    "gas": parse_uint64,
    "gasPrice": parse_quantity,
    "maxFeePerGas": parse_quantity,
    "maxPriorityFeePerGas": parse_quantity,
    "nonce": parse_uint64,
    "chainId": parse_quantity,
    "type": _parse_type,
}
CALL_OBJECT: Final = Kind(
    parse_call_object,
    {
        "title": "call",
        "type": "object",
        "properties": {
            "from": ADDRESS_SCHEMA,
            "to": ADDRESS_SCHEMA,
            "value": QUANTITY_SCHEMA,
            "data": DATA_SCHEMA,
            "input": DATA_SCHEMA,
            "gas": UINT64_SCHEMA,
            "gasPrice": QUANTITY_SCHEMA,
            "maxFeePerGas": QUANTITY_SCHEMA,
            "maxPriorityFeePerGas": QUANTITY_SCHEMA,
            "nonce": UINT64_SCHEMA,
            "chainId": QUANTITY_SCHEMA,
            "type": {"type": "string", "enum": ["0x0", "0x2"]},
            "accessList": {"type": "array", "maxItems": 0},
        },
    },
)
NO_OVERRIDES: Final = Kind(_parse_no_overrides, {"title": "no overrides", "type": "object", "maxProperties": 0})
