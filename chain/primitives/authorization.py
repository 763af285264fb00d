"""Transfers that their owner signs and anybody submits (ERC-3009): what is signed, and the call that carries it.

EIP-712 typed data under the token module's domain, so a signature holds for one network, between two times and once.
Its nonce is 32 random bytes instead of a counter: authorizations are submitted in any order, none waits for another.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.modules import (
    CANCEL_AUTHORIZATION,
    RECEIVE_WITH_AUTHORIZATION,
    TOKEN,
    TRANSFER_WITH_AUTHORIZATION,
)
from chain.primitives.signing import Eip712Domain, eip712_digest
from chain.primitives.types import Address, Hash32


class AuthorizationKind(StrEnum):
    """Who may submit it; the value is the name of the EIP-712 type."""

    TRANSFER = "TransferWithAuthorization"
    """Anybody."""
    RECEIVE = "ReceiveWithAuthorization"
    """Only the recipient."""


_CANCEL: Final = "CancelAuthorization"
_TRANSFER_FIELDS: Final = (
    ("address", "from"),
    ("address", "to"),
    ("uint256", "value"),
    ("uint256", "validAfter"),
    ("uint256", "validBefore"),
    ("bytes32", "nonce"),
)
_CANCEL_FIELDS: Final = (("address", "authorizer"), ("bytes32", "nonce"))
_DOMAIN_FIELDS: Final = (
    ("string", "name"),
    ("string", "version"),
    ("uint256", "chainId"),
    ("address", "verifyingContract"),
)


def _type_hash(name: str, fields: tuple[tuple[str, str], ...]) -> Hash32:
    return keccak256(f"{name}({','.join(f'{kind} {field}' for kind, field in fields)})".encode())


TYPE_HASHES: Final = {kind: _type_hash(kind, _TRANSFER_FIELDS) for kind in AuthorizationKind}
CANCEL_TYPE_HASH: Final = _type_hash(_CANCEL, _CANCEL_FIELDS)


class Authorization(msgspec.Struct, frozen=True):
    """What an owner signs: so many atoms to this recipient, between two times, once."""

    sender: Address
    """The owner, whose signature it takes: the EIP's `from`."""
    recipient: Address
    amount: int
    valid_after: int
    """Unix seconds, as the EIP has it; the block's time must be after this."""
    valid_before: int
    """Unix seconds; the block's time must be before this."""
    nonce: Hash32
    kind: AuthorizationKind = AuthorizationKind.TRANSFER

    def struct_hash(self) -> Hash32:
        """EIP-712's hash of the struct."""
        return keccak256(
            TYPE_HASHES[self.kind]
            + bytes(12)
            + self.sender
            + bytes(12)
            + self.recipient
            + self.amount.to_bytes(32, "big")
            + self.valid_after.to_bytes(32, "big")
            + self.valid_before.to_bytes(32, "big")
            + self.nonce
        )


def cancellation_struct_hash(authorizer: Address, nonce: Hash32) -> Hash32:
    """EIP-712's hash of the struct by which an owner takes an authorization back."""
    return keccak256(CANCEL_TYPE_HASH + bytes(12) + authorizer + nonce)


def token_domain(chain_id: int) -> Eip712Domain:
    """The domain of everything that is signed for the token module of a network."""
    return Eip712Domain(chain_id, TOKEN)


def authorization_digest(chain_id: int, authorization: Authorization) -> Hash32:
    """What the owner signs."""
    return eip712_digest(token_domain(chain_id), authorization.struct_hash())


def cancellation_digest(chain_id: int, authorizer: Address, nonce: Hash32) -> Hash32:
    """What an owner signs so that an authorization with this nonce can never be used."""
    return eip712_digest(token_domain(chain_id), cancellation_struct_hash(authorizer, nonce))


def transfer_call_data(authorization: Authorization, signature: bytes) -> bytes:
    """The token module's call that carries out a signed authorization."""
    is_transfer = authorization.kind is AuthorizationKind.TRANSFER
    function = TRANSFER_WITH_AUTHORIZATION if is_transfer else RECEIVE_WITH_AUTHORIZATION
    *fields, _kind = msgspec.structs.astuple(authorization)
    return function.encode(*fields, signature)


def cancellation_call_data(authorizer: Address, nonce: Hash32, signature: bytes) -> bytes:
    """The token module's call that carries out a signed cancellation."""
    return CANCEL_AUTHORIZATION.encode(authorizer, nonce, signature)


def authorization_typed_data(chain_id: int, authorization: Authorization) -> dict[str, Any]:
    """The JSON that any wallet's `eth_signTypedData_v4` takes; amounts and times are decimal strings."""
    message = {
        "from": to_checksum_address(authorization.sender),
        "to": to_checksum_address(authorization.recipient),
        "value": str(authorization.amount),
        "validAfter": str(authorization.valid_after),
        "validBefore": str(authorization.valid_before),
        "nonce": to_hex(authorization.nonce),
    }
    return _typed_data(chain_id, authorization.kind, _TRANSFER_FIELDS, message)


def cancellation_typed_data(chain_id: int, authorizer: Address, nonce: Hash32) -> dict[str, Any]:
    """The same for a cancellation."""
    message = {"authorizer": to_checksum_address(authorizer), "nonce": to_hex(nonce)}
    return _typed_data(chain_id, _CANCEL, _CANCEL_FIELDS, message)


def _typed_data(
    chain_id: int, name: str, fields: tuple[tuple[str, str], ...], message: dict[str, str]
) -> dict[str, Any]:
    domain = token_domain(chain_id)
    return {
        "types": {
            "EIP712Domain": [{"name": field, "type": kind} for kind, field in _DOMAIN_FIELDS],
            str(name): [{"name": field, "type": kind} for kind, field in fields],
        },
        "primaryType": str(name),
        "domain": {
            "name": domain.name,
            "version": domain.version,
            "chainId": chain_id,
            "verifyingContract": to_checksum_address(domain.verifying_contract),
        },
        "message": message,
    }
