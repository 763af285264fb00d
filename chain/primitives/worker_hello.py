"""What a provider signs when it dials a hub: that it is there, for this hub, now, on this network.

EIP-712 typed data under the domain of client requests, which names no contract. The nonce is the hub's and new for each
connection, so a signature that was overheard opens no second one.
"""

from typing import Final

from chain.primitives.client_request import domain_separator
from chain.primitives.hashing import keccak256
from chain.primitives.keys import Signer, recover_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signing import eip712_preimage
from chain.primitives.types import Address, Hash32

WORKER_HELLO_TYPE: Final = "WorkerHello(string hubId,bytes32 nonce,bytes32 genesisHash)"
_TYPE_HASH: Final = keccak256(WORKER_HELLO_TYPE.encode())


def hello_preimage(*, chain_id: int, hub_id: str, nonce: Hash32, genesis_hash: Hash32) -> bytes:
    """What the digest is the Keccak-256 of."""
    struct_hash = keccak256(_TYPE_HASH + keccak256(hub_id.encode()) + nonce + genesis_hash)
    return eip712_preimage(domain_separator(chain_id), struct_hash)


def sign_hello(signer: Signer, *, chain_id: int, hub_id: str, nonce: Hash32, genesis_hash: Hash32) -> bytes:
    """The provider's answer to a hub's challenge, 65 bytes. Raises SignerUnavailable."""
    return signer.sign_keccak(hello_preimage(chain_id=chain_id, hub_id=hub_id, nonce=nonce, genesis_hash=genesis_hash))


def check_hello(
    provider: Address, signature: bytes, *, chain_id: int, hub_id: str, nonce: Hash32, genesis_hash: Hash32
) -> None:
    """Raises Rejected (bad_signature, high_s) unless this provider has signed this very challenge."""
    preimage = hello_preimage(chain_id=chain_id, hub_id=hub_id, nonce=nonce, genesis_hash=genesis_hash)
    if recover_address(keccak256(preimage), signature) != provider:
        message = "the signature is not the provider's over this hub's challenge on this network"
        raise Rejected(RejectionReason.BAD_SIGNATURE, message, field="signature")
