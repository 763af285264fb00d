"""What peers say about themselves: the handshake, heartbeats, neighbours, URLs; and transactions in batches.

Canonical MessagePack arrays, like the messages of engines, with tags of their own.
"""

from typing import Annotated, Final

import msgspec

from chain.primitives.block import HashField, Uint63
from chain.primitives.keys import SIGNATURE_BYTES
from chain.primitives.transaction import MAX_TRANSACTION_BYTES

PROTOCOL_VERSION: Final = 2
"""Since 2, votes and proofs are signed over Keccak-256 instead of SHA-256."""
MAX_URL_BYTES: Final = 256
MAX_NEIGHBOURS: Final = 128
MAX_URLS: Final = 32
MAX_TRANSACTIONS: Final = 4_096
MAX_BATCH_BYTES: Final = 256 * 1024
"""Of raw transactions in one message."""

AddressField = Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]
UrlField = Annotated[str, msgspec.Meta(max_length=MAX_URL_BYTES)]
Octets16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Octets33 = Annotated[bytes, msgspec.Meta(min_length=33, max_length=33)]
SignatureField = Annotated[bytes, msgspec.Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=32):
    """The first frame of each side. Nothing in it is proven until the proofs are checked."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    genesis_hash: HashField
    identity: AddressField
    """A validator's address, or that of a key drawn at the process's start."""
    nonce: HashField
    session_key: Octets33
    """Public key drawn for this connection alone."""
    instance: Octets16
    """Drawn at the process's start: tells a restart, a second process with one key, and oneself."""
    listen_url: UrlField
    is_probe: bool
    """Dialled only to see whether the URL works; ends after the handshake."""


class Proof(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=33):
    """The second frame of each side: a signature over the handshake by the identity's key."""

    signature: SignatureField


class Ping(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=34):
    """Asks for a Pong with the same number."""

    number: Uint63


class Pong(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=35):
    """The answer to a Ping."""

    number: Uint63


class Neighbours(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=36):
    """To whom the sender is connected now: what these have, it gets from them."""

    identities: Annotated[tuple[AddressField, ...], msgspec.Meta(max_length=MAX_NEIGHBOURS)]


class Urls(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=37):
    """Where the sender has found nodes of this network."""

    urls: Annotated[tuple[UrlField, ...], msgspec.Meta(max_length=MAX_URLS)]


class Transactions(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=38):
    """Raw transactions that the sender has admitted to its mempool."""

    raws: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_TRANSACTION_BYTES)], ...],
        msgspec.Meta(min_length=1, max_length=MAX_TRANSACTIONS),
    ]


Control = Ping | Pong | Neighbours | Urls
