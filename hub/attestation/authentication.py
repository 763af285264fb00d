"""Who asks an attester: another hub, by its own key, shown by a signature over the call.

EIP-712 typed data under the domain of client requests. It names the attester that is asked and the body's hash, so a
call that was overheard can only be repeated as it is, which gives the same answer; and its time, so not for long.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chain.primitives.client_request import domain_separator
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import Signer, recover_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip712_preimage
from chain.primitives.types import Address, Hash32

CALL_TYPE: Final = "AttestationCall(address attester,bytes32 bodyHash,uint64 sentAt,bytes32 genesisHash)"
_TYPE_HASH: Final = keccak256(CALL_TYPE.encode())
CALLER_HEADER: Final = "aitbc-caller"
BODY_HEADER: Final = "aitbc-body-hash"
SENT_HEADER: Final = "aitbc-sent-at"
SIGNATURE_HEADER: Final = "aitbc-signature"
VALID_S: Final = 300
"""How far the caller's clock may be from ours; a body of 64 MiB is on its way for some of it."""
_MAX_TIME_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Network:
    """Which one a call is for."""

    chain_id: int
    genesis_hash: Hash32


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose signature holds; `body_hash` (Keccak-256) is what its body must have."""

    caller: Address
    body_hash: Hash32


def _preimage(network: Network, attester: Address, body_hash: Hash32, sent_at_s: int) -> bytes:
    struct_hash = keccak256(
        _TYPE_HASH + bytes(12) + attester + body_hash + sent_at_s.to_bytes(32, "big") + network.genesis_hash
    )
    return eip712_preimage(domain_separator(network.chain_id), struct_hash)


def sign_call(key: Signer, network: Network, attester: Address, body: bytes, *, sent_at_s: int) -> dict[str, str]:
    """The headers of a call to this attester, sent at a Unix time. Raises SignerUnavailable."""
    body_hash = keccak256(body)
    return {
        CALLER_HEADER: to_checksum_address(key.address),
        BODY_HEADER: to_hex(body_hash),
        SENT_HEADER: str(sent_at_s),
        SIGNATURE_HEADER: to_hex(key.sign_keccak(_preimage(network, attester, body_hash, sent_at_s))),
    }


def check_call(headers: Mapping[str, str], network: Network, attester: Address, *, now_s: int) -> Call:
    """Who calls; raises Rejected (missing_field, malformed, bad_signature, out_of_range) that names the header."""
    caller = parse_address(_header(headers, CALLER_HEADER), CALLER_HEADER)
    body_hash = parse_hash(_header(headers, BODY_HEADER), BODY_HEADER)
    sent_at = _header(headers, SENT_HEADER)
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) <= _MAX_TIME_DIGITS):
        raise Rejected(RejectionReason.MALFORMED, f"{SENT_HEADER} must be Unix seconds", field=SENT_HEADER)
    if abs(now_s - int(sent_at)) > VALID_S:
        raise Rejected(
            RejectionReason.OUT_OF_RANGE, f"{SENT_HEADER} must be within {VALID_S} s of now", field=SENT_HEADER
        )
    signature = parse_hex(_header(headers, SIGNATURE_HEADER), length=65, field=SIGNATURE_HEADER)
    digest = keccak256(_preimage(network, attester, body_hash, int(sent_at)))
    if recover_address(digest, signature) != caller:
        raise Rejected(RejectionReason.BAD_SIGNATURE, "the call is not signed by its caller", field=SIGNATURE_HEADER)
    return Call(caller, body_hash)


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise Rejected(RejectionReason.MISSING_FIELD, f"the header {name} is missing", field=name)
    return value
