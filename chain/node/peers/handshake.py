"""The handshake: both sides prove their identity for this network and this connection, and agree on keys.

The side that dialled sends its Hello, the other answers with its own; then both prove themselves in the same order,
each with a signature over Keccak-256("aitbc/p2p/1" ‖ genesis hash ‖ role ‖ both identities ‖ both nonces ‖ both session
keys), where the dialling side's come first. The role differs, so a proof cannot be sent back to its maker; the nonces
are new, so it cannot be used again. The frames' keys come from the session keys (Diffie-Hellman) and both Hellos as
they were sent: whoever relays a handshake between two honest nodes learns no key, and changes nothing unseen.
"""

import asyncio
import hmac
import secrets
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import coincurve

from chain.node.peers.messages import PROTOCOL_VERSION, Hello, Proof
from chain.node.peers.sockets import Socket, SocketClosed
from chain.node.peers.urls import is_sane_url
from chain.primitives import message_pack
from chain.primitives.hashing import keccak256, sha256
from chain.primitives.keys import Signer, SignerUnavailable, recover_address
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.signable import PROOF_PREFIX
from chain.primitives.types import Address, Hash32

MAX_HANDSHAKE_BYTES: Final = 1_024
"""Of one frame of the handshake."""


class Role(IntEnum):
    """Who signs."""

    DIALLED = 1
    ACCEPTED = 2


class WrongNetwork(Exception):
    """The other side is of another network or speaks another version. `str(error)` says which."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a node shows to every peer."""

    genesis_hash: Hash32
    key: Signer
    instance: bytes
    listen_url: str


@dataclass(frozen=True, slots=True)
class Session:
    """A handshake that has succeeded."""

    identity: Address
    instance: bytes
    listen_url: str
    is_probe: bool
    sending_key: bytes
    receiving_key: bytes


class _Side:
    """This side's Hello, and the secret behind its session key."""

    def __init__(self, credentials: Credentials, *, is_probe: bool) -> None:
        self._secret = coincurve.PrivateKey()
        self.hello = Hello(
            version=PROTOCOL_VERSION,
            genesis_hash=credentials.genesis_hash,
            identity=credentials.key.address,
            nonce=Hash32(secrets.token_bytes(32)),
            session_key=self._secret.public_key.format(),
            instance=credentials.instance,
            listen_url=credentials.listen_url,
            is_probe=is_probe,
        )
        self.encoded = message_pack.encode(self.hello)

    def shared_secret(self, session_key: bytes) -> bytes:
        """Raises Rejected where the other side's session key is no point."""
        try:
            return self._secret.ecdh(session_key)
        except ValueError:
            raise Rejected(RejectionReason.MALFORMED, "the session key is no public key") from None


async def shake_hands_dialled(socket: Socket, credentials: Credentials, *, is_probe: bool = False) -> Session:
    """The side that dialled. Raises WrongNetwork, Rejected, and SocketClosed."""
    ours = _Side(credentials, is_probe=is_probe)
    await socket.send(ours.encoded)
    encoded = await _receive(socket)
    theirs = _read_hello(encoded, credentials.genesis_hash)
    secret = ours.shared_secret(theirs.session_key)
    preimages = {role: proof_preimage(role, ours.hello, theirs) for role in Role}
    await _prove(socket, credentials, preimages[Role.DIALLED])
    await _check_proof(socket, theirs, preimages[Role.ACCEPTED])
    sending, receiving = _frame_keys(secret, ours.encoded, encoded)
    return _session(theirs, sending, receiving)


async def shake_hands_accepted(socket: Socket, credentials: Credentials) -> Session:
    """The side that was dialled; it signs nothing before the other has. Raises as `shake_hands_dialled` does."""
    encoded = await _receive(socket)
    ours = _Side(credentials, is_probe=False)
    # Its own Hello goes out whatever the other's says, so that a stranger learns which network this is.
    await socket.send(ours.encoded)
    theirs = _read_hello(encoded, credentials.genesis_hash)
    secret = ours.shared_secret(theirs.session_key)
    preimages = {role: proof_preimage(role, theirs, ours.hello) for role in Role}
    await _check_proof(socket, theirs, preimages[Role.DIALLED])
    await _prove(socket, credentials, preimages[Role.ACCEPTED])
    receiving, sending = _frame_keys(secret, encoded, ours.encoded)
    return _session(theirs, sending, receiving)


def proof_preimage(role: Role, dialled: Hello, accepted: Hello) -> bytes:
    """What the side with this role signs the hash of."""
    return (
        PROOF_PREFIX
        + dialled.genesis_hash
        + bytes((role,))
        + dialled.identity
        + accepted.identity
        + dialled.nonce
        + accepted.nonce
        + dialled.session_key
        + accepted.session_key
    )


async def _prove(socket: Socket, credentials: Credentials, preimage: bytes) -> None:
    try:
        # In a thread, because the signer may be far away.
        signature = await asyncio.to_thread(credentials.key.sign_keccak, preimage)
    except SignerUnavailable as error:
        raise SocketClosed(f"this node cannot prove itself: {error}") from None
    await socket.send(message_pack.encode(Proof(signature)))


async def _receive(socket: Socket) -> bytes:
    frame = await socket.receive()
    if len(frame) > MAX_HANDSHAKE_BYTES:
        raise Rejected(RejectionReason.TOO_LARGE, f"a handshake frame has at most {MAX_HANDSHAKE_BYTES} bytes")
    return frame


def _read_hello(encoded: bytes, genesis_hash: Hash32) -> Hello:
    hello = message_pack.decode(encoded, Hello)
    if hello.genesis_hash != genesis_hash:
        raise WrongNetwork(
            f"the genesis hash of this network is 0x{genesis_hash.hex()}, not 0x{hello.genesis_hash.hex()}"
        )
    if hello.version != PROTOCOL_VERSION:
        raise WrongNetwork(f"this node speaks version {PROTOCOL_VERSION} of the peer protocol, not {hello.version}")
    if hello.listen_url and not is_sane_url(hello.listen_url):
        raise Rejected(RejectionReason.MALFORMED, "the listening URL is none")
    return hello


async def _check_proof(socket: Socket, theirs: Hello, preimage: bytes) -> None:
    proof = message_pack.decode(await _receive(socket), Proof)
    if recover_address(keccak256(preimage), proof.signature) != theirs.identity:
        raise Rejected(RejectionReason.BAD_SIGNATURE, "the proof is not signed by the identity that it names")


def _frame_keys(secret: bytes, dialled_hello: bytes, accepted_hello: bytes) -> tuple[bytes, bytes]:
    """For frames of the side that dialled, and for those of the other."""
    transcript = sha256(dialled_hello) + sha256(accepted_hello)
    dialled, accepted = (
        hmac.digest(secret, b"aitbc/p2p/1/frames" + bytes((role,)) + transcript, "sha256") for role in Role
    )
    return dialled, accepted


def _session(theirs: Hello, sending_key: bytes, receiving_key: bytes) -> Session:
    return Session(
        identity=Address(theirs.identity),
        instance=theirs.instance,
        listen_url=theirs.listen_url,
        is_probe=theirs.is_probe,
        sending_key=sending_key,
        receiving_key=receiving_key,
    )
