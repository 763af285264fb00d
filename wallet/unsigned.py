"""A transaction before it is signed, as bytes that travel to the machine with the key: what the signature is over.

The form is EIP-1559's `0x02 ‖ rlp([chain_id, …, access_list])`, which ethers, viem and others read and write too. In
this process such a transaction is a `Transaction` with a signature that stands for none.
"""

from typing import Final

from chain.primitives import rlp
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import (
    DYNAMIC_FEE,
    MAX_TRANSACTION_BYTES,
    Transaction,
    decode_transaction,
    intrinsic_gas,
)
from chain.primitives.types import Address

_FIELDS: Final = 9
_SIGNED_FIELDS: Final = 12
# Well-formed, so that the strict decoder takes it; whom it would recover to does not matter.
_PLACEHOLDER: Final[tuple[rlp.Item, ...]] = (b"", b"\x01", b"\x01")


def draft_transaction(
    *,
    chain_id: int,
    nonce: int,
    to: Address,
    value: int = 0,
    data: bytes = b"",
    gas_limit: int | None = None,
    max_fee: int = 0,
) -> Transaction:
    """A transaction that nobody has signed; the gas limit defaults to exactly what the call is charged."""
    if gas_limit is None:
        gas_limit = intrinsic_gas(data)
    before = [rlp.encode_integer(number) for number in (chain_id, nonce, 0, max_fee, gas_limit)]
    return _with_placeholder([*before, to, rlp.encode_integer(value), data, []])


def encode_unsigned(transaction: Transaction) -> bytes:
    """The bytes that a type-2 transaction's signature is over, whether it is signed or not."""
    assert transaction.type == DYNAMIC_FEE
    fields = rlp.decode(transaction.raw, 1)
    assert isinstance(fields, list)
    return transaction.raw[:1] + rlp.encode(fields[:_FIELDS])


def decode_unsigned(unsigned: bytes) -> Transaction:
    """Reads such bytes as strictly as a signed transaction; raises Rejected. Its signature and hash mean nothing."""
    fields = _fields(unsigned)
    if fields is None or len(fields) != _FIELDS:
        raise Rejected(
            RejectionReason.MALFORMED,
            f"not an unsigned transaction: it is of type 2 and begins with 0x02, before a list of {_FIELDS} fields",
        )
    return _with_placeholder(fields)


def is_signed(octets: bytes) -> bool:
    """Whether these are the bytes of a signed transaction rather than of an unsigned one; Rejected where not RLP."""
    fields = _fields(octets)
    return fields is None or len(fields) == _SIGNED_FIELDS


def _fields(octets: bytes) -> list[rlp.Item] | None:
    """The fields of a type-2 transaction, signed or not; None for another type, or too many bytes."""
    if octets[:1] != bytes((DYNAMIC_FEE,)) or len(octets) > MAX_TRANSACTION_BYTES:
        return None
    fields = rlp.decode(octets, 1)
    return fields if isinstance(fields, list) else None


def _with_placeholder(fields: list[rlp.Item]) -> Transaction:
    return decode_transaction(bytes((DYNAMIC_FEE,)) + rlp.encode([*fields, *_PLACEHOLDER]))
