"""What a client signs when it orders pictures: one struct, for a hub or for a provider, on one network.

EIP-712 typed data under the domain {"AITBC", "1", chainId}, which names no contract: hubs and providers read it, and
the escrow module where a job is paid from a deposit. The request's hash is the digest of the typed data. A client signs
that digest (`eth_signTypedData_v4`), or its 32 bytes as an EIP-191 message (`personal_sign`), which wallets without
typed data can do too; both count the same.

Neither kind of signature says by itself that the 32 bytes are a request: a transaction, a transfer's authorization or
an attestation is a signature over 32 bytes as well, and a liar could present it as one over "a request's hash". It is
the preimage that tells: nobody can find a request whose digest is that of something else. So whoever believes a
client's signature must have the request and recompute its hash (`chain.primitives.receipt_request`); with that, both
forms are sound.

The prompt stands in it salted and the other parameters as a hash, so that a receipt gives nothing away.
"""

import re
from typing import Any, Final, Self

import msgspec

from chain.primitives.hashing import keccak256, sha256
from chain.primitives.hexadecimal import parse_address, parse_amount, parse_hash, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import SIGNATURE_BYTES, RecoverAddress, Signer, check_signature_form, recover_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.signing import eip191_digest, eip712_preimage
from chain.primitives.strict_json import check_keys
from chain.primitives.transaction import MAX_CHAIN_ID
from chain.primitives.types import MAX_UINT256, ZERO_HASH, Address, Amount, Hash32

SALT_BYTES: Final = 32
MAX_VALIDITY_S: Final = 86_400
"""How far ahead a request may expire: for so long its nonce has to be remembered."""
MAX_START_DELAY_S: Final = 3_600
"""How long after its request's expiry work may begin: the longest that an accepted job may wait in a queue."""

_MAX_EXPIRY: Final = 2**40  # Seconds; far away, but bounded, and exact in every JSON reader.

_AUDIENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,63}")
_LOOKS_LIKE_ADDRESS: Final = re.compile(r"0[xX][0-9a-fA-F]{40}")

_FIELDS: Final = (
    ("string", "audience"),
    ("bytes32", "promptHash"),
    ("bytes32", "parametersHash"),
    ("uint256", "maxPrice"),
    ("bytes32", "nonce"),
    ("uint64", "expiry"),
)
_DOMAIN_FIELDS: Final = (("string", "name"), ("string", "version"), ("uint256", "chainId"))
_NAME: Final = "ClientRequest"
_DOMAIN_NAME: Final = "AITBC"
_DOMAIN_VERSION: Final = "1"


def _type_hash(name: str, fields: tuple[tuple[str, str], ...]) -> Hash32:
    return keccak256(f"{name}({','.join(f'{kind} {field}' for kind, field in fields)})".encode())


TYPE_HASH: Final = _type_hash(_NAME, _FIELDS)
_DOMAIN_TYPE_HASH: Final = _type_hash("EIP712Domain", _DOMAIN_FIELDS)


def domain_separator(chain_id: int) -> Hash32:
    """Of the domain that names no contract: what clients, providers and hubs sign for one another on one network."""
    return keccak256(
        _DOMAIN_TYPE_HASH
        + keccak256(_DOMAIN_NAME.encode())
        + keccak256(_DOMAIN_VERSION.encode())
        + chain_id.to_bytes(32, "big")
    )


def salted_hash(salt: bytes, text: str) -> Hash32:
    """SHA-256(salt ‖ text in UTF-8); unsalted, a short text could be guessed. Rejected for what UTF-8 cannot hold."""
    try:
        return sha256(salt + text.encode())
    except UnicodeEncodeError:
        raise Rejected(RejectionReason.MALFORMED, "a lone surrogate is no text", field="prompt") from None


class ClientRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed."""

    chain_id: int
    """Of the domain."""
    audience: str
    """Who may serve it: a hub's id, or a provider's address in EIP-55 form."""
    prompt_hash: Hash32
    """SHA-256(salt ‖ prompt in UTF-8)."""
    parameters_hash: Hash32
    max_price: Amount
    """Atoms: the most that the receipt may ask for."""
    nonce: Hash32
    """Random: of one client, it is accepted once."""
    expiry: int
    """Unix seconds: it must be accepted by then."""

    @property
    def preimage(self) -> bytes:
        """What the digest is the Keccak-256 of: what a `Signer` takes."""
        struct_hash = keccak256(
            TYPE_HASH
            + keccak256(self.audience.encode())
            + self.prompt_hash
            + self.parameters_hash
            + self.max_price.to_bytes(32, "big")
            + self.nonce
            + self.expiry.to_bytes(32, "big")
        )
        return eip712_preimage(domain_separator(self.chain_id), struct_hash)

    @property
    def hash(self) -> Hash32:
        """The `request_hash` of the receipt: the EIP-712 digest."""
        return keccak256(self.preimage)

    def checked(self) -> Self:
        """The request itself; raises Rejected for a field out of bounds."""
        assert len(self.prompt_hash) == len(self.parameters_hash) == len(self.nonce) == 32
        if not 1 <= self.chain_id <= MAX_CHAIN_ID:
            raise _out_of_range("chain_id", f"must be from 1 to {MAX_CHAIN_ID}")
        check_audience(self.audience)
        if not 0 <= self.max_price <= MAX_UINT256:
            raise _out_of_range("max_price", "must be from 0 to 2^256 - 1")
        if not 0 <= self.expiry <= _MAX_EXPIRY:
            raise _out_of_range("expiry", f"must be from 0 to {_MAX_EXPIRY}")
        return self

    def typed_data(self) -> dict[str, Any]:
        """The JSON that any wallet's `eth_signTypedData_v4` takes; amounts and times are decimal strings."""
        return {
            "types": {
                "EIP712Domain": [{"name": field, "type": kind} for kind, field in _DOMAIN_FIELDS],
                _NAME: [{"name": field, "type": kind} for kind, field in _FIELDS],
            },
            "primaryType": _NAME,
            "domain": {"name": _DOMAIN_NAME, "version": _DOMAIN_VERSION, "chainId": self.chain_id},
            "message": {
                "audience": self.audience,
                "promptHash": to_hex(self.prompt_hash),
                "parametersHash": to_hex(self.parameters_hash),
                "maxPrice": str(self.max_price),
                "nonce": to_hex(self.nonce),
                "expiry": str(self.expiry),
            },
        }


class ClientClaim(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sends with a job that it signed: with the job's own fields, it makes up the request."""

    client: Address
    salt: bytes
    max_price: Amount
    nonce: Hash32
    expiry: int
    signature: bytes

    def to_object(self) -> dict[str, Any]:
        """The `client_request` of an HTTP body."""
        return {
            "client": to_checksum_address(self.client),
            "salt": to_hex(self.salt),
            "max_price": str(self.max_price),
            "nonce": to_hex(self.nonce),
            "expiry": self.expiry,
            "signature": to_hex(self.signature),
        }

    @classmethod
    def from_object(cls, fields: object) -> Self:
        """From parsed JSON, strictly; raises Rejected that names the field (`client_request.…`)."""
        known = check_keys(fields, cls.__struct_fields__, "client_request")
        expiry = known["expiry"]
        if isinstance(expiry, bool) or not isinstance(expiry, int) or not 0 <= expiry <= _MAX_EXPIRY:
            raise _malformed("client_request.expiry", f"must be Unix seconds, an integer from 0 to {_MAX_EXPIRY}")
        return cls(
            client=parse_address(known["client"], "client_request.client"),
            salt=parse_hex(known["salt"], length=SALT_BYTES, field="client_request.salt"),
            max_price=parse_amount(known["max_price"], "client_request.max_price"),
            nonce=parse_hash(known["nonce"], "client_request.nonce"),
            expiry=expiry,
            signature=parse_hex(known["signature"], length=SIGNATURE_BYTES, field="client_request.signature"),
        )

    def request(self, *, chain_id: int, audience: str, prompt: str, parameters: RequestParameters) -> ClientRequest:
        """What the signature must be over, for this audience and job."""
        return ClientRequest(
            chain_id=chain_id,
            audience=audience,
            prompt_hash=salted_hash(self.salt, prompt),
            parameters_hash=parameters.hash,
            max_price=self.max_price,
            nonce=self.nonce,
            expiry=self.expiry,
        ).checked()


def unsigned_request(
    *, chain_id: int, audience: str, prompt_hash: Hash32, parameters_hash: Hash32, max_price: Amount | None = None
) -> ClientRequest:
    """The request of a client without a key, so that its receipt has a request hash of the same form.

    Its nonce and expiry are 0: nobody could have signed it, since a signed request expires in the future.
    """
    return ClientRequest(
        chain_id=chain_id,
        audience=audience,
        prompt_hash=prompt_hash,
        parameters_hash=parameters_hash,
        max_price=Amount(MAX_UINT256) if max_price is None else max_price,
        nonce=ZERO_HASH,
        expiry=0,
    ).checked()


def sign_client_request(signer: Signer, request: ClientRequest) -> bytes:
    """The client's signature over the typed data, 65 bytes. Raises SignerUnavailable."""
    return signer.sign_keccak(request.checked().preimage)


def is_signed_by(
    request_hash: Hash32, signature: bytes, client: Address, *, recover: RecoverAddress = recover_address
) -> bool:
    """Whether the client signed the digest, or an EIP-191 message of its 32 bytes: at most two recoveries.

    Raises Rejected (bad_signature, high_s) for a malformed signature. The caller must know the request's preimage.
    """
    check_signature_form(signature)
    for digest in (request_hash, eip191_digest(request_hash)):
        try:
            if recover(digest, signature) == client:
                return True
        except Rejected:  # Recovers to nobody for this digest; the other one has its own key.
            continue
    return False


def check_claim(claim: ClientClaim, request: ClientRequest, *, now_s: int) -> None:
    """Raises Rejected unless the client signed the request, and it can be accepted now. Its nonce is for the caller."""
    check_expiry(request.expiry, now_s=now_s)
    field = "client_request.signature"
    try:
        is_signed = is_signed_by(request.hash, claim.signature, claim.client)
    except Rejected as rejected:
        raise Rejected(rejected.reason, rejected.message, field=field) from None
    if not is_signed:
        message = "the signature is not the client's over this request for this audience and network"
        raise Rejected(RejectionReason.BAD_SIGNATURE, message, field=field)


def check_expiry(expiry: int, *, now_s: int) -> None:
    """Raises Rejected (request_expired, out_of_range)."""
    if expiry < now_s:
        raise Rejected(
            RejectionReason.REQUEST_EXPIRED,
            f"the request expired {now_s - expiry} s ago: sign it anew",
            field="client_request.expiry",
        )
    if expiry > now_s + MAX_VALIDITY_S:
        raise _out_of_range("client_request.expiry", f"must be within {MAX_VALIDITY_S} s from now")


def check_audience(audience: str) -> None:
    """Raises Rejected (malformed) unless it can name a hub, or a provider by its address."""
    if not _AUDIENCE.fullmatch(audience):
        raise _malformed("audience", f"must match {_AUDIENCE.pattern}")


def check_hub_id_is_no_address(hub_id: str) -> None:
    """Raises Rejected: a hub that is called like a provider could use what clients sign for that provider."""
    if _LOOKS_LIKE_ADDRESS.fullmatch(hub_id):
        raise _malformed("hub_id", "must not look like an address")


def _malformed(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"{field} {requirement}", field=field)


def _out_of_range(field: str, requirement: str) -> Rejected:
    return Rejected(RejectionReason.OUT_OF_RANGE, f"{field} {requirement}", field=field)
