"""What a provider signs when it dials a hub: that it is there, for this hub, at this address, now, on this network.

EIP-712 typed data under the domain of client requests, which names no contract. The nonce is the hub's and new for each
connection, so a signature that was overheard opens no second one. The audience is the host and port that the provider
has dialled: a hub that passes another hub's challenge on, to be let in there as the provider, gets a signature in which
its own address stands, and the other hub does not know itself by that.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from chain.primitives.client_request import domain_separator
from chain.primitives.hashing import keccak256
from chain.primitives.keys import Signer, recover_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip712_preimage
from chain.primitives.types import Address, Hash32

WORKER_HELLO_TYPE: Final = "WorkerHello(string hubId,string audience,bytes32 nonce,bytes32 genesisHash)"
LOOPBACK_HOSTS: Final = ("127.0.0.1", "[::1]", "localhost")
_TYPE_HASH: Final = keccak256(WORKER_HELLO_TYPE.encode())
_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


def audience_of(url: str) -> str:
    """`host:port`, in lower case, of a ws:// or wss:// URL that has been found to be one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"


def is_audience_of(audience: str, hosts: Collection[str]) -> bool:
    """Whether it is one of these, which are `host:port`, or `host` for every port."""
    return audience in hosts or audience.rpartition(":")[0] in hosts


def hello_preimage(*, chain_id: int, hub_id: str, audience: str, nonce: Hash32, genesis_hash: Hash32) -> bytes:
    """What the digest is the Keccak-256 of."""
    names = keccak256(hub_id.encode()) + keccak256(audience.encode())
    return eip712_preimage(domain_separator(chain_id), keccak256(_TYPE_HASH + names + nonce + genesis_hash))


def sign_hello(
    signer: Signer, *, chain_id: int, hub_id: str, audience: str, nonce: Hash32, genesis_hash: Hash32
) -> bytes:
    """The provider's answer to a hub's challenge, 65 bytes. Raises SignerUnavailable."""
    preimage = hello_preimage(
        chain_id=chain_id, hub_id=hub_id, audience=audience, nonce=nonce, genesis_hash=genesis_hash
    )
    return signer.sign_keccak(preimage)


def check_hello(
    provider: Address,
    signature: bytes,
    *,
    chain_id: int,
    hub_id: str,
    audience: str,
    nonce: Hash32,
    genesis_hash: Hash32,
) -> None:
    """Raises Rejected (bad_signature, high_s) unless this provider has signed this very challenge for this audience."""
    preimage = hello_preimage(
        chain_id=chain_id, hub_id=hub_id, audience=audience, nonce=nonce, genesis_hash=genesis_hash
    )
    if recover_address(keccak256(preimage), signature) != provider:
        message = "the signature is not the provider's over this hub's challenge on this network"
        raise Rejected(RejectionReason.BAD_SIGNATURE, message, field="signature")
