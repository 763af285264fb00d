"""The two transaction envelopes: type 2 (EIP-1559) and legacy with a chain id (EIP-155). Nothing else exists.

`decode_transaction` is strict: exactly one byte string stands for a transaction, so its hash names it for good.
What the chain thinks of it (chain id, nonce, balance, the call) is decided in `chain.rules`.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from chain.primitives import rlp
from chain.primitives.hashing import keccak256
from chain.primitives.keys import RecoverAddress, Signer, check_signature_form, recover_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.types import MAX_UINT256, Address, Hash32

LEGACY: Final = 0
DYNAMIC_FEE: Final = 2

MAX_TRANSACTION_BYTES: Final = 32 * 1024  # Room for a split mint with 256 recipients; geth's bound is 128 KiB.
MAX_NONCE: Final = 2**64 - 2  # EIP-2681
MAX_GAS_LIMIT: Final = 2**63 - 1
MAX_CHAIN_ID: Final = 2**32 - 1  # DESIGN §4; MetaMask itself refuses ids above 2^52.

_TRANSFER_GAS: Final = 21_000  # What every Ethereum client assumes for a plain transfer.
_GAS_PER_DATA_BYTE: Final = 16  # EIP-2028, without its discount for zeros.
_GAS_PER_CALL: Final = 79_000  # One flat charge for a module call: a round 100,000 with the transfer's.


def intrinsic_gas(call_data: bytes) -> int:
    """Gas that a transaction with this data is charged: known beforehand, since there is no EVM."""
    byte_count = len(call_data)
    return _TRANSFER_GAS + _GAS_PER_DATA_BYTE * byte_count + (_GAS_PER_CALL if byte_count else 0)


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A decoded envelope. Amounts and fees in atoms; `signature` is 65 bytes r‖s‖v with v 27 or 28."""

    type: int
    chain_id: int
    nonce: int
    max_priority_fee: int
    max_fee: int
    gas_limit: int
    to: Address
    value: int
    data: bytes
    signature: bytes
    raw: bytes
    hash: Hash32
    signing_hash: Hash32

    def recover_sender(self, recover: RecoverAddress = recover_address) -> Address:
        """The address that signed; raises Rejected where the signature recovers to nobody."""
        return recover(self.signing_hash, self.signature)

    @property
    def gas_used(self) -> int:
        """Gas that this transaction is charged, whatever its call does."""
        return intrinsic_gas(self.data)


def decode_transaction(raw: bytes) -> Transaction:
    """Decodes strictly; raises Rejected. The signature's form is checked here, its signer by `recover_sender`."""
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise Rejected(
            RejectionReason.TOO_LARGE, f"a transaction has at most {MAX_TRANSACTION_BYTES} bytes, not {len(raw)}"
        )
    if not raw:
        raise Rejected(RejectionReason.MALFORMED, "a transaction is not empty")
    if raw[0] == DYNAMIC_FEE:
        return _decode_dynamic_fee(raw)
    if raw[0] >= 0xC0:
        return _decode_legacy(raw)
    if raw[0] < 0x80:
        raise Rejected(
            RejectionReason.UNSUPPORTED_TRANSACTION_TYPE,
            f"transaction type {raw[0]} is not supported: sign type 2 (EIP-1559) or legacy with a chain id (EIP-155)",
        )
    raise Rejected(RejectionReason.MALFORMED, "not a transaction envelope")


def _fields(encoded: bytes, start: int, count: int) -> list[rlp.Item]:
    fields = rlp.decode(encoded, start)
    if not isinstance(fields, list) or len(fields) != count:
        raise Rejected(RejectionReason.MALFORMED, f"this transaction type is a list of {count} fields")
    return fields


def _decode_dynamic_fee(raw: bytes) -> Transaction:
    chain_id, nonce, max_priority_fee, max_fee, gas_limit, to, value, data, access_list, parity, r, s = _fields(
        raw, 1, 12
    )
    if access_list != []:
        if isinstance(access_list, list):
            raise Rejected(RejectionReason.ACCESS_LIST, "the access list must be empty: there is no EVM")
        raise Rejected(RejectionReason.MALFORMED, "the access list is not a list", field="access_list")
    if parity not in (b"", b"\x01"):
        raise Rejected(RejectionReason.BAD_SIGNATURE, "y parity must be 0 or 1")
    transaction = Transaction(
        type=DYNAMIC_FEE,
        chain_id=rlp.decode_integer(chain_id, MAX_CHAIN_ID, "chain_id"),
        nonce=rlp.decode_integer(nonce, MAX_NONCE, "nonce"),
        max_priority_fee=rlp.decode_integer(max_priority_fee, MAX_UINT256, "max_priority_fee"),
        max_fee=rlp.decode_integer(max_fee, MAX_UINT256, "max_fee"),
        gas_limit=rlp.decode_integer(gas_limit, MAX_GAS_LIMIT, "gas_limit"),
        to=_recipient(to),
        value=rlp.decode_integer(value, MAX_UINT256, "value"),
        data=_octets(data, "data"),
        signature=_signature(r, s, 28 if parity else 27),
        raw=raw,
        hash=keccak256(raw),
        signing_hash=keccak256(b"\x02" + rlp.wrap_list(_unsigned_payload(raw, 1, parity, r, s))),
    )
    if transaction.max_priority_fee > transaction.max_fee:
        raise Rejected(
            RejectionReason.OUT_OF_RANGE, "max priority fee per gas higher than max fee per gas", field="max_fee"
        )
    return transaction


def _decode_legacy(raw: bytes) -> Transaction:
    nonce, gas_price, gas_limit, to, value, data, v_field, r, s = _fields(raw, 0, 9)
    v = rlp.decode_integer(v_field, MAX_UINT256, "v")
    if v in (27, 28):
        raise Rejected(
            RejectionReason.UNPROTECTED_TRANSACTION, "a legacy transaction must carry the chain id (EIP-155)"
        )
    if not 35 <= v <= 36 + 2 * MAX_CHAIN_ID:
        raise Rejected(RejectionReason.BAD_SIGNATURE, "v is not 35 + 2 × chain id, or that plus 1 (EIP-155)")
    chain_id, parity = divmod(v - 35, 2)
    fee = rlp.decode_integer(gas_price, MAX_UINT256, "gas_price")
    return Transaction(
        type=LEGACY,
        chain_id=chain_id,
        nonce=rlp.decode_integer(nonce, MAX_NONCE, "nonce"),
        max_priority_fee=fee,
        max_fee=fee,
        gas_limit=rlp.decode_integer(gas_limit, MAX_GAS_LIMIT, "gas_limit"),
        to=_recipient(to),
        value=rlp.decode_integer(value, MAX_UINT256, "value"),
        data=_octets(data, "data"),
        signature=_signature(r, s, 27 + parity),
        raw=raw,
        hash=keccak256(raw),
        signing_hash=keccak256(
            rlp.wrap_list(
                _unsigned_payload(raw, 0, v_field, r, s) + rlp.encode(rlp.encode_integer(chain_id)) + b"\x80\x80"
            )
        ),
    )


def _unsigned_payload(raw: bytes, start: int, *signature_fields: rlp.Item) -> bytes:
    """The encoded fields before the signature, cut out of the list at `start`: a strict decoder has read them, so there
    is no other encoding of what they say."""
    prefix = raw[start]
    start += 1 if prefix < 0xF8 else prefix - 0xF6
    end = len(raw)
    for field in signature_fields:
        end -= rlp.encoded_length(_octets(field, "signature"))
    return raw[start:end]


def _signature(r: rlp.Item, s: rlp.Item, v: int) -> bytes:
    signature = b"".join(
        (
            rlp.decode_integer(r, MAX_UINT256, "r").to_bytes(32, "big"),
            rlp.decode_integer(s, MAX_UINT256, "s").to_bytes(32, "big"),
            v.to_bytes(1, "big"),
        )
    )
    check_signature_form(signature)
    return signature


def _octets(field: rlp.Item, name: str) -> bytes:
    if not isinstance(field, bytes):
        raise Rejected(RejectionReason.MALFORMED, f"{name} must be a byte string", field=name)
    return field


def _recipient(field: rlp.Item) -> Address:
    if field == b"":
        raise Rejected(RejectionReason.CONTRACT_CREATION, "there is no EVM: a transaction needs a recipient")
    if not isinstance(field, bytes) or len(field) != 20:
        raise Rejected(RejectionReason.MALFORMED, "the recipient must be 20 bytes", field="to")
    return Address(field)


DecodeTransaction = Callable[[bytes], Transaction]
"""`decode_transaction`, or a cache in front of it."""


def sign_transaction(
    key: Signer,
    *,
    chain_id: int,
    nonce: int,
    to: Address,
    value: int = 0,
    data: bytes = b"",
    gas_limit: int | None = None,
    max_fee: int = 0,
    max_priority_fee: int = 0,
) -> Transaction:
    """A signed type-2 transaction; the gas limit defaults to exactly what the call is charged."""
    if gas_limit is None:
        gas_limit = intrinsic_gas(data)
    integers = [rlp.encode_integer(n) for n in (chain_id, nonce, max_priority_fee, max_fee, gas_limit)]
    unsigned: list[rlp.Item] = [*integers, to, rlp.encode_integer(value), data, []]
    signature = key.sign_keccak(b"\x02" + rlp.encode(unsigned))
    signed: list[rlp.Item] = [
        *unsigned,
        rlp.encode_integer(signature[64] - 27),
        signature[:32].lstrip(b"\0"),
        signature[32:64].lstrip(b"\0"),
    ]
    return decode_transaction(b"\x02" + rlp.encode(signed))
