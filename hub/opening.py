"""What a hub stands on, opened in order: folder, secrets, the chain, the attester's key, the database, the pictures."""

import asyncio
import fcntl
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import structlog

from chain.answers import StatusView
from chain.client import AsyncNodeClient, NodeError
from chain.primitives.hexadecimal import parse_hash
from chain.primitives.keys import PrivateKey
from hub.artifacts import Artifacts
from hub.attestation.peers import Peer, read_peers
from hub.chain_view import ChainView
from hub.errors import HubConfigurationError
from hub.hub_secrets import HubSecrets, load_or_draw
from hub.secret_files import ClientKeys, read_client_keys
from hub.settings import HubSettings
from hub.signing import account_key, opened_attester
from hub.store.store import HubIdentity, Store
from wallet.attester import AttesterNetwork, AttesterSigner

DATABASE_NAME: Final = "hub.sqlite3"
_ATTESTATION_LOG: Final = "attestations.sqlite3"
_SECRETS: Final = "hub-secrets.json"
_ARTIFACTS: Final = "artifacts"
_ORDERS: Final = "orders"
_WAIT_POLL_S: Final = 1.0

OnWaiting = Callable[[str], None]
"""Gets what is waited for, in a sentence."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub")


@dataclass(frozen=True, slots=True)
class Opened:
    """What the parts are made on."""

    settings: HubSettings
    identity: HubIdentity
    process: str
    """The name of this process among those that share the database."""
    clients: ClientKeys
    secrets: HubSecrets
    peers: tuple[Peer, ...]
    node: AsyncNodeClient
    chain: ChainView
    signer: AttesterSigner
    account_key: PrivateKey | None = field(repr=False)
    """The attester's, where its account is to write outcomes of providers' work on the chain."""
    store: Store
    artifacts: Artifacts
    orders: Artifacts | None
    """Files of what the processes ask of each other; None where this one serves alone."""
    closing: AsyncExitStack = field(repr=False)
    """What is open, to be closed in reverse; parts add what they open."""


async def open_parts(
    settings: HubSettings, password: str, closing: AsyncExitStack, *, wait: OnWaiting | None
) -> Opened:
    """Raises HubConfigurationError, KeystoreError or AttestationLogError with what to do about it.

    With `wait`, a silent node and an attester that is not on the chain's list (yet) are waited for instead, and `wait`
    is told so; another network never is.
    """
    clients = read_client_keys(settings.clients_file)
    peers = () if settings.attesters_file is None else read_peers(settings.attesters_file)
    closing.enter_context(_lock_folder(settings.data_dir))
    own_secrets = load_or_draw(settings.secrets_file or settings.data_dir / _SECRETS)
    node = await closing.enter_async_context(_node_client(settings.node_url))
    status = await _read_status(node, wait)
    network = AttesterNetwork(status.chain_id, parse_hash(status.genesis_hash))
    log_path = settings.attestation_log or settings.data_dir / _ATTESTATION_LOG
    signer = await closing.enter_async_context(opened_attester(settings, password, network, log_path))
    chain = ChainView(
        node,
        attester=signer.address,
        co_attesters=sum(peer.url is not None for peer in peers),
        refresh_s=settings.chain_refresh_s,
        grace_s=settings.chain_grace_s,
    )
    await _await_attester(chain, wait)
    identity = HubIdentity(settings.hub_id, network.chain_id, status.genesis_hash)
    url = settings.database_url or f"sqlite:///{settings.data_dir / DATABASE_NAME}"
    store = await asyncio.to_thread(Store, url, identity)
    closing.push_async_callback(store.close)
    where = settings.artifacts or str(settings.data_dir / _ARTIFACTS)
    return Opened(
        settings=settings,
        identity=identity,
        process=secrets.token_hex(8),
        clients=clients,
        secrets=own_secrets,
        peers=peers,
        node=node,
        chain=chain,
        signer=signer,
        account_key=await asyncio.to_thread(account_key, settings, password),
        store=store,
        artifacts=await asyncio.to_thread(Artifacts, where),
        orders=await asyncio.to_thread(Artifacts, f"{where.rstrip('/')}/{_ORDERS}") if store.is_shared else None,
        closing=closing,
    )


def _lock_folder(folder: Path) -> IO[bytes]:
    """Makes the data folder and keeps a second process out of it for as long as the file is open."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "hub.lock").open("ab")
    except OSError as error:
        raise HubConfigurationError(f"cannot use the data folder {folder}: {error.strerror or error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise HubConfigurationError(f"another hub is running on {folder}; stop it, or use another --data-dir") from None
    return lock


def _node_client(url: str) -> AsyncNodeClient:
    try:
        return AsyncNodeClient(url)
    except ValueError as error:
        raise HubConfigurationError(f"--node: {error}") from None


async def _read_status(node: AsyncNodeClient, wait: OnWaiting | None) -> StatusView:
    told = ""
    while True:
        try:
            return await node.status()
        except NodeError as error:
            told = await _wait_or_raise(wait, str(error), told, "start the node first, or wait for it with --wait")


async def _await_attester(chain: ChainView, wait: OnWaiting | None) -> None:
    """Returns once an attestation of this hub's attester leads to a mint."""
    told = ""
    while True:
        try:
            fault = (await chain.refresh()).attester_fault
            if fault is None:
                return
        except NodeError as error:
            fault = str(error)
        told = await _wait_or_raise(wait, fault, told, "meanwhile the hub can wait with --wait")


async def _wait_or_raise(wait: OnWaiting | None, fault: str, told: str, advice: str) -> str:
    """Pauses, and says what for unless that was `told` last; without `wait`, raises HubConfigurationError."""
    if wait is None:
        raise HubConfigurationError(f"{fault} ({advice})")
    if fault != told:
        _log.warning("waiting", detail=fault)
        wait(fault)
    await asyncio.sleep(_WAIT_POLL_S)
    return fault
