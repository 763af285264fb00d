"""Who has dialled in: challenge, signed hello, the chain's registry. Or why it is turned away, in a word."""

import secrets
from typing import Final, Protocol

from chain.client import NodeError
from chain.primitives.hexadecimal import parse_address, parse_hash, to_hex
from chain.primitives.hub_messages import PROTOCOL_VERSION, Challenge
from chain.primitives.provider_messages import Hello
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.primitives.worker_fields import octets_of
from chain.primitives.worker_hello import check_hello, is_audience_of
from chain.primitives.worker_messages import decode_from_provider, encode
from hub.workers.desk import HubIdentity
from hub.workers.errors import SessionEnds
from hub.workers.socket import WorkerSocket

_NONCE_BYTES: Final = 32


class ProviderRegistry(Protocol):
    """What the chain and the operator say of a provider."""

    async def is_registered(self, provider: Address) -> bool:
        """Whether it has an active entry in the chain's registry; raises NodeError where the node is silent."""

    async def ban_of(self, provider: Address) -> str | None:
        """Why this hub takes no work from it, in a sentence; None where it does."""


async def greet(socket: WorkerSocket, hub: HubIdentity, registry: ProviderRegistry, *, heartbeat_s: float) -> Hello:
    """The hello of a provider that may come in; raises SessionEnds, SocketClosed."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    challenge = Challenge(
        hub_id=hub.hub_id,
        chain_id=hub.chain_id,
        genesis_hash=hub.genesis_hash,
        nonce=to_hex(nonce),
        heartbeat_s=heartbeat_s,
    )
    await socket.send_text(encode(challenge))
    hello = _read(await socket.receive())
    provider = parse_address(hello.address)
    if not is_audience_of(hello.audience, hub.hosts):
        detail = f"this hub is not known by {hello.audience}; if it should be, its operator sets AITBC_HUB_WORKER_HOSTS"
        raise SessionEnds("wrong_audience", detail)
    try:
        check_hello(
            provider,
            octets_of(hello.signature),
            chain_id=hub.chain_id,
            hub_id=hub.hub_id,
            audience=hello.audience,
            nonce=parse_hash(challenge.nonce),
            genesis_hash=parse_hash(hub.genesis_hash),
        )
    except Rejected as rejected:
        raise SessionEnds("bad_signature", rejected.message) from None
    await _check_standing(provider, registry)
    return hello


def _read(frame: str | bytes) -> Hello:
    if isinstance(frame, bytes):
        raise SessionEnds("malformed", "the first message must be a hello")
    try:
        hello = decode_from_provider(frame)
    except Rejected as rejected:
        raise SessionEnds("malformed", rejected.message) from None
    if not isinstance(hello, Hello):
        raise SessionEnds("malformed", "the first message must be a hello")
    if hello.version != PROTOCOL_VERSION:
        detail = f"this hub speaks version {PROTOCOL_VERSION} of the protocol, you {hello.version}"
        raise SessionEnds("wrong_version", detail)
    return hello


async def _check_standing(provider: Address, registry: ProviderRegistry) -> None:
    ban = await registry.ban_of(provider)
    if ban is not None:
        raise SessionEnds("banned", ban)
    try:
        is_registered = await registry.is_registered(provider)
    except NodeError:
        raise SessionEnds("chain_unreachable", "the hub's chain node does not answer; try again later") from None
    if not is_registered:
        detail = "this address has no active entry in the chain's registry: run `aitbc provider register`"
        raise SessionEnds("not_registered", detail)
