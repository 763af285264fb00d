"""A whole hub: opens every part in order, keeps the loops running, and closes them again."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from chain.answers import StatusView
from chain.client import AsyncNodeClient, NodeError
from chain.primitives.hexadecimal import parse_hash
from chain.primitives.types import Address
from hub.artifacts import ArtifactFolder
from hub.chain_view import ChainView
from hub.delivery import Delivery
from hub.dispatch import Dispatcher
from hub.errors import HubConfigurationError
from hub.jobs import JobRunner
from hub.metrics import HubMetrics
from hub.minting import MintWatch
from hub.provider_client import ProviderClient
from hub.secret_files import ClientKeys, read_client_keys, read_provider_keys
from hub.settings import HubSettings
from hub.signing import opened_attester
from hub.store import Store
from wallet.attester import AttesterNetwork, AttesterSigner

_ATTESTATION_LOG: Final = "attestations.sqlite3"
_DATABASE: Final = "hub.sqlite3"
_WAIT_POLL_S: Final = 1.0
_LOOP_RESTART_S: Final = 1.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub")


@dataclass(slots=True)
class Hub:
    """Every part of an open hub. `open_hub` makes it; `lifespan` runs it; `close` ends it."""

    settings: HubSettings
    clients: ClientKeys
    signer: AttesterSigner
    store: Store
    artifacts: ArtifactFolder
    chain: ChainView
    dispatcher: Dispatcher
    jobs: JobRunner
    delivery: Delivery
    mint_watch: MintWatch
    closing: AsyncExitStack = field(repr=False)
    """What is open, to be closed in reverse."""

    def fault(self) -> str | None:
        """What keeps the hub from taking jobs, in a sentence; None when nothing does."""
        if self.jobs.is_stopping:
            return "the hub is shutting down"
        snapshot = self.chain.snapshot
        if snapshot is None:
            return "the chain node does not answer"
        return snapshot.attester_fault

    @asynccontextmanager
    async def lifespan(self, _application: FastAPI) -> AsyncIterator[None]:
        """Runs the loops while the application serves; afterwards lets running jobs end within the grace."""
        loops = [
            asyncio.create_task(_keep_running(name, loop), name=name)
            for name, loop in (
                ("chain_view", self.chain.keep_fresh),
                ("delivery", self.delivery.run),
                ("mint_watch", self.mint_watch.run),
            )
        ]
        try:
            await self.jobs.resume()
            yield
            await self.jobs.drain()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def close(self) -> None:
        """Closes connections and files."""
        await self.closing.aclose()


async def open_hub(settings: HubSettings, password: str, registry: CollectorRegistry, *, wait: bool) -> Hub:
    """Opens a hub whose attester counts on the chain.

    Raises HubConfigurationError, KeystoreError or AttestationLogError with what to do about it. With `wait`, a silent
    node and an attester that is not on the chain's list (yet) are waited for instead; another network never is.
    """
    clients = read_client_keys(settings.clients_file)
    keys = read_provider_keys(settings.providers_file)
    async with AsyncExitStack() as opened:
        opened.enter_context(_lock_folder(settings.data_dir))
        node = await opened.enter_async_context(_node_client(settings.node_url))
        status = await _read_status(node, wait)
        network = AttesterNetwork(status.chain_id, parse_hash(status.genesis_hash))
        signer = await opened.enter_async_context(
            opened_attester(settings, password, network, settings.data_dir / _ATTESTATION_LOG)
        )
        chain = ChainView(
            node,
            attester=signer.address,
            providers=keys,
            refresh_s=settings.chain_refresh_s,
            grace_s=settings.chain_grace_s,
        )
        await _await_attester(chain, wait)
        store = Store(settings.database_url or f"sqlite:///{settings.data_dir / _DATABASE}")
        opened.callback(store.close)
        store.claim(hub_id=settings.hub_id, chain_id=network.chain_id, genesis_hash=status.genesis_hash)
        return _assemble(settings, clients, keys, node, signer, chain, store, registry, opened)


def _assemble(
    settings: HubSettings,
    clients: ClientKeys,
    keys: dict[Address, str],
    node: AsyncNodeClient,
    signer: AttesterSigner,
    chain: ChainView,
    store: Store,
    registry: CollectorRegistry,
    opened: AsyncExitStack,
) -> Hub:
    """The working parts on what is open; takes over `opened`."""
    metrics = HubMetrics(registry)
    artifacts = ArtifactFolder(settings.data_dir / "artifacts")
    attested = asyncio.Event()
    client = ProviderClient(connect_timeout_s=settings.connect_timeout_s, answer_timeout_s=settings.provider_timeout_s)
    opened.push_async_callback(client.close)
    dispatcher = Dispatcher(
        settings,
        chain_id=signer.network.chain_id,
        store=store,
        chain=chain,
        client=client,
        keys=keys,
        metrics=metrics,
    )
    jobs = JobRunner(
        settings,
        store=store,
        dispatcher=dispatcher,
        signer=signer,
        artifacts=artifacts,
        metrics=metrics,
        on_attested=attested,
    )
    return Hub(
        settings=settings,
        clients=clients,
        signer=signer,
        store=store,
        artifacts=artifacts,
        chain=chain,
        dispatcher=dispatcher,
        jobs=jobs,
        delivery=Delivery(settings, store=store, chain=chain, client=client, keys=keys, metrics=metrics, wake=attested),
        mint_watch=MintWatch(store=store, node=node, metrics=metrics),
        closing=opened.pop_all(),
    )


def _lock_folder(folder: Path) -> IO[bytes]:
    """Makes the data folder and keeps a second hub out of it for as long as the file is open."""
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


async def _read_status(node: AsyncNodeClient, wait: bool) -> StatusView:
    told = ""
    while True:
        try:
            return await node.status()
        except NodeError as error:
            told = await _wait_or_raise(wait, f"{error} (start the node first, or wait for it with --wait)", told)


async def _await_attester(chain: ChainView, wait: bool) -> None:
    """Returns once an attestation of this hub's attester leads to a mint."""
    told = ""
    while True:
        try:
            fault = (await chain.refresh()).attester_fault
            if fault is None:
                return
            fault += " (governance must add it; meanwhile the hub can wait with --wait)"
        except NodeError as error:
            fault = str(error)
        told = await _wait_or_raise(wait, fault, told)


async def _wait_or_raise(wait: bool, fault: str, told: str) -> str:
    """Pauses, and says what for unless that was `told` last; without `wait`, raises HubConfigurationError."""
    if not wait:
        raise HubConfigurationError(fault)
    if fault != told:
        _log.warning("waiting", detail=fault)
    await asyncio.sleep(_WAIT_POLL_S)
    return fault


async def _keep_running(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """A loop that meets an unforeseen error (a full disk, say) is told of and begun anew, not lost in silence."""
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001 - the last resort of a background loop; the log has the traceback
            _log.exception("loop_failed", loop=name)
            await asyncio.sleep(_LOOP_RESTART_S)
