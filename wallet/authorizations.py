"""A signed transfer, or its cancellation, on its way from the owner to whoever submits it (ERC-3009): a JSON document.

{
  "chain_id": 3141592653,
  "primary_type": "TransferWithAuthorization",        or ReceiveWithAuthorization, CancelAuthorization
  "authorization": {"from": "0x…", "to": "0x…", "value": "1000", "validAfter": "0", "validBefore": "1790000000",
                    "nonce": "0x…"},                  a cancellation has `authorizer` and `nonce`
  "signature": "0x…"
}

`authorization` is the `message` of the typed data that any wallet signs (`eth_signTypedData_v4`), so what a browser's
wallet has signed can stand here as well.
"""

from typing import Annotated, Any, Final

import msgspec

from chain.primitives.authorization import (
    Authorization,
    AuthorizationKind,
    authorization_typed_data,
    cancellation_call_data,
    cancellation_struct_hash,
    cancellation_typed_data,
    token_domain,
    transfer_call_data,
)
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import SIGNATURE_BYTES, Signer, recover_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip712_preimage
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import Address, Hash32
from wallet.actions import describe_amount, describe_time

MAX_DOCUMENT_BYTES: Final = 4096
CANCELLATION: Final = "CancelAuthorization"


class Cancellation(msgspec.Struct, frozen=True):
    """That an owner takes back the authorization with this nonce, before anybody has used it."""

    sender: Address
    nonce: Hash32

    def struct_hash(self) -> Hash32:
        """EIP-712's hash of the struct."""
        return cancellation_struct_hash(self.sender, self.nonce)


class SignedAuthorization(msgspec.Struct, frozen=True):
    """An authorization or a cancellation, for one network, signed by its `sender`."""

    chain_id: int
    statement: Authorization | Cancellation
    signature: bytes

    @classmethod
    def sign(cls, key: Signer, chain_id: int, statement: Authorization | Cancellation) -> "SignedAuthorization":
        """Signed by its owner's key."""
        return cls(chain_id, statement, key.sign_keccak(_preimage(chain_id, statement))).checked()

    @classmethod
    def from_json(cls, text: bytes | str) -> "SignedAuthorization":
        """Reads a document; raises Rejected where it is none, or where the signature is not the owner's."""
        try:
            document = msgspec.json.decode(text, type=_Document)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise Rejected(RejectionReason.MALFORMED, f"not a signed authorization: {error}") from None
        signature = parse_hex(document.signature, length=SIGNATURE_BYTES, field="signature")
        return cls(document.chain_id, _statement(document.primary_type, document.authorization), signature).checked()

    def checked(self) -> "SignedAuthorization":
        """Itself, where the owner has signed it; else Rejected."""
        signer = recover_address(keccak256(_preimage(self.chain_id, self.statement)), self.signature)
        if signer != self.statement.sender:
            raise Rejected(
                RejectionReason.BAD_SIGNATURE,
                f"signed by {to_checksum_address(signer)}, or over something else: the owner is "
                f"{to_checksum_address(self.statement.sender)}",
                field="signature",
            )
        return self

    def to_object(self) -> dict[str, Any]:
        """The document."""
        typed_data = (
            cancellation_typed_data(self.chain_id, self.statement.sender, self.statement.nonce)
            if isinstance(self.statement, Cancellation)
            else authorization_typed_data(self.chain_id, self.statement)
        )
        return {
            "chain_id": self.chain_id,
            "primary_type": typed_data["primaryType"],
            "authorization": typed_data["message"],
            "signature": to_hex(self.signature),
        }

    @property
    def call_data(self) -> bytes:
        """The token module's call that carries it out, whoever sends it."""
        if isinstance(self.statement, Cancellation):
            return cancellation_call_data(self.statement.sender, self.statement.nonce, self.signature)
        return transfer_call_data(self.statement, self.signature)


def describe_statement(
    statement: Authorization | Cancellation, sender_name: str, network: str
) -> list[tuple[str, str]]:
    """Label and text of everything that the owner's signature says."""
    owner = f"{sender_name} {to_checksum_address(statement.sender)}".lstrip()
    if isinstance(statement, Cancellation):
        middle = [("action", "cancel an authorization"), ("from", owner)]
    else:
        submitter = "anybody" if statement.kind is AuthorizationKind.TRANSFER else "only the recipient"
        middle = [
            ("action", "authorize a transfer"),
            ("from", owner),
            ("to", to_checksum_address(statement.recipient)),
            ("amount", describe_amount(statement.amount)),
            ("submitted by", submitter),
            ("valid after", describe_time(statement.valid_after)),
            ("valid before", describe_time(statement.valid_before)),
        ]
    return [*middle, ("network", network), ("nonce", to_hex(statement.nonce))]


class _Document(msgspec.Struct):
    chain_id: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHAIN_ID)]
    primary_type: str
    authorization: dict[str, str]
    signature: str


def _statement(primary_type: str, fields: dict[str, str]) -> Authorization | Cancellation:
    nonce = parse_hash(fields.get("nonce"), "nonce")
    if primary_type == CANCELLATION:
        return Cancellation(parse_address(fields.get("authorizer"), "authorizer"), nonce)
    if primary_type not in {*map(str, AuthorizationKind)}:
        raise Rejected(RejectionReason.MALFORMED, f"{primary_type[:80]!r} is no authorization", field="primary_type")
    return Authorization(
        parse_address(fields.get("from"), "from"),
        parse_address(fields.get("to"), "to"),
        parse_amount(fields.get("value"), "value"),
        parse_amount(fields.get("validAfter"), "validAfter"),
        parse_amount(fields.get("validBefore"), "validBefore"),
        nonce,
        AuthorizationKind(primary_type),
    )


def _preimage(chain_id: int, statement: Authorization | Cancellation) -> bytes:
    return eip712_preimage(token_domain(chain_id).separator(), statement.struct_hash())
