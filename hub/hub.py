"""A whole hub: opens every part in order, keeps the loops running, and closes them again."""

import asyncio
import fcntl
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from chain.answers import StatusView
from chain.client import AsyncNodeClient, NodeError
from chain.primitives.hexadecimal import parse_hash, to_checksum_address
from chain.primitives.keys import PrivateKey
from hub.artifacts import ArtifactFolder
from hub.attestation.deposits import DepositDesk
from hub.attestation.peers import Peer, read_peers
from hub.attesters import Attestation, assemble_attestation
from hub.chain_view import ChainView
from hub.delivery.calling import Caller
from hub.delivery.webhooks import Webhooks
from hub.errors import HubConfigurationError
from hub.housekeeping import Housekeeping
from hub.http.guard import Guard
from hub.http.links import Links
from hub.http.parts import HubParts
from hub.hub_secrets import HubSecrets, load_or_draw
from hub.jobs.accepting import Acceptance, AcceptanceRules
from hub.jobs.asking import HelpingHands
from hub.jobs.attendant import Attendant
from hub.jobs.checking import Checking, CheckLoop
from hub.jobs.desk import Desk, DeskParts
from hub.jobs.judging import Judging
from hub.jobs.live import LiveBoard
from hub.jobs.queueing import Queue
from hub.jobs.roster import Roster
from hub.metrics import HubMetrics
from hub.orders.moderation import open_moderation
from hub.registry import Registry
from hub.reputation.suspending import Suspending
from hub.scheduling.assignment import Scheduler, SchedulingOptions
from hub.scheduling.fairness import FairClock
from hub.secret_files import ClientKeys, read_client_keys
from hub.settings import HubSettings
from hub.signing import opened_attester
from hub.store.store import HubIdentity, Store
from hub.verification.sampling import SamplingKey
from hub.workers.desk import HubIdentity as WorkersIdentity
from hub.workers.intake import SessionTools
from hub.workers.spool import Spool
from hub.workers.workers import WorkerBounds, Workers
from wallet.attester import AttesterNetwork, AttesterSigner

_ATTESTATION_LOG: Final = "attestations.sqlite3"
DATABASE_NAME: Final = "hub.sqlite3"
_SECRETS: Final = "hub-secrets.json"
_WAIT_POLL_S: Final = 1.0
_LOOP_RESTART_S: Final = 1.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub")

Loop = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Opened:
    """What a hub is made on."""

    settings: HubSettings
    clients: ClientKeys
    secrets: HubSecrets
    node: AsyncNodeClient
    signer: AttesterSigner
    chain: ChainView
    store: Store
    peers: tuple[Peer, ...]


@dataclass(slots=True)
class Hub:
    """Every part of an open hub. `open_hub` makes it; `lifespan` runs it; `close` ends it."""

    settings: HubSettings
    parts: HubParts
    attestation: Attestation
    loops: Mapping[str, Loop]
    closing: AsyncExitStack = field(repr=False)
    """What is open, to be closed in reverse."""
    is_stopping: asyncio.Event = field(repr=False)

    def stop(self) -> None:
        """Takes nothing new from here on."""
        self.is_stopping.set()

    def fault(self) -> str | None:
        """What keeps the hub from taking jobs, in a sentence; None when nothing does."""
        if self.is_stopping.is_set():
            return "the hub is shutting down"
        snapshot = self.parts.chain.snapshot
        if snapshot is None:
            return "the chain node does not answer"
        return snapshot.attester_fault

    @asynccontextmanager
    async def lifespan(self, _application: FastAPI) -> AsyncIterator[None]:
        """Runs the loops while the application serves; afterwards lets leases end within the grace."""
        tasks = [asyncio.create_task(_keep_running(name, loop), name=name) for name, loop in self.loops.items()]
        try:
            yield
            await self.parts.workers.drain(self.settings.shutdown_grace_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Closes connections and files."""
        await self.closing.aclose()


async def open_hub(
    settings: HubSettings, password: str, registry: CollectorRegistry, *, version: str, wait: bool
) -> Hub:
    """Opens a hub whose attester counts on the chain.

    Raises HubConfigurationError, KeystoreError or AttestationLogError with what to do about it. With `wait`, a silent
    node and an attester that is not on the chain's list (yet) are waited for instead; another network never is.
    """
    clients = read_client_keys(settings.clients_file)
    peers = () if settings.attesters_file is None else read_peers(settings.attesters_file)
    async with AsyncExitStack() as opened:
        opened.enter_context(_lock_folder(settings.data_dir))
        own_secrets = load_or_draw(settings.secrets_file or settings.data_dir / _SECRETS)
        node = await opened.enter_async_context(_node_client(settings.node_url))
        status = await _read_status(node, wait)
        network = AttesterNetwork(status.chain_id, parse_hash(status.genesis_hash))
        signer = await opened.enter_async_context(
            opened_attester(settings, password, network, settings.data_dir / _ATTESTATION_LOG)
        )
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
        opened.push_async_callback(store.close)
        parts = Opened(settings, clients, own_secrets, node, signer, chain, store, peers)
        return await _assemble(parts, registry, version, opened)


async def _assemble(made: Opened, registry: CollectorRegistry, version: str, opened: AsyncExitStack) -> Hub:
    """The working parts on what is open; takes over `opened`."""
    settings, store, chain = made.settings, made.store, made.chain
    identity = store.identity
    assert identity is not None
    metrics = HubMetrics(registry)
    artifacts = ArtifactFolder(settings.data_dir / "artifacts")
    moderation = open_moderation(settings.moderation_words_file, settings.moderation_url)
    opened.push_async_callback(moderation.close)
    caller = Caller(settings.inner_webhook_networks)
    opened.push_async_callback(caller.close)

    clock = FairClock()
    scheduler = Scheduler(SchedulingOptions(policy=settings.policy, newcomer_share=settings.newcomer_share), clock)
    roster, queue, board = Roster(store), Queue(store), LiveBoard()
    checking = Checking(SamplingKey(made.secrets.sampling), _rates(settings), settings.check_timeout_s)
    news = _News()
    desk = Desk(
        DeskParts(
            store=store,
            artifacts=artifacts,
            chain=chain,
            roster=roster,
            queue=queue,
            scheduler=scheduler,
            board=board,
            checking=checking,
            judging=Judging(made.secrets.likeness, settings.clock_tolerance_s, settings.metering_slack_s),
            metrics=metrics,
            process=secrets.token_hex(8),
        ),
        news.tell,
    )
    tools = SessionTools(
        WorkersIdentity(identity.hub_id, identity.chain_id, identity.genesis_hash),
        desk,
        Spool(settings.data_dir / "spool"),
    )
    workers = Workers(tools, Registry(chain, store), WorkerBounds(sessions=settings.max_workers))
    attendant = Attendant(
        store,
        workers,
        roster,
        queue,
        metrics,
        max_attempts=settings.max_attempts,
        challenge_window_s=settings.challenge_window_s,
    )
    news.listener = attendant.news
    check_loop = CheckLoop(store, artifacts, checking, HelpingHands(workers), metrics, attendant.news)
    attestation = assemble_attestation(
        settings,
        store,
        made.node,
        made.signer,
        PrivateKey(made.secrets.hub_key),
        made.peers,
        workers,
        artifacts,
        registry,
        opened,
    )
    deposits = DepositDesk(made.node, identity.hub_id)
    acceptance = Acceptance(
        store,
        workers,
        roster,
        queue,
        chain,
        clock,
        moderation,
        deposits,
        AcceptanceRules(
            hub_id=identity.hub_id,
            chain_id=identity.chain_id,
            policy=settings.policy,
            max_waiting_pictures=settings.max_waiting_pictures,
            longest_s=settings.longest_job_s,
            preview_every=settings.preview_every,
        ),
    )
    stopping = asyncio.Event()
    parts = HubParts(
        hub_id=identity.hub_id,
        chain_id=identity.chain_id,
        genesis_hash=identity.genesis_hash,
        attester=to_checksum_address(made.signer.address),
        version=version,
        store=store,
        artifacts=artifacts,
        chain=chain,
        workers=workers,
        roster=roster,
        queue=queue,
        acceptance=acceptance,
        board=board,
        guard=Guard(made.clients),
        links=Links(made.secrets.links),
        metrics=metrics,
        on_cancelled=attendant.news,
        is_stopping=stopping.is_set,
    )
    loops: dict[str, Loop] = {
        "chain_view": chain.keep_fresh,
        "workers": workers.run,
        "attendant": attendant.run,
        "checks": check_loop.run,
        **attestation.loops,
        "suspending": Suspending(store, workers).run,
        "webhooks": Webhooks(store, caller, metrics).run,
        "housekeeping": Housekeeping(store, workers, roster, board, metrics, desk.process).run,
    }
    return Hub(
        settings=settings,
        parts=parts,
        attestation=attestation,
        loops=loops,
        closing=opened.pop_all(),
        is_stopping=stopping,
    )


class _News:
    """Joins the desk, which is made first, to the attendant."""

    def __init__(self) -> None:
        self.listener: Callable[[str], None] | None = None

    def tell(self, job_id: str) -> None:
        assert self.listener is not None
        self.listener(job_id)


def _rates(settings: HubSettings) -> dict[str, float]:
    return {"new": settings.check_new, "normal": settings.check_normal, "proven": settings.check_proven}


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


async def _keep_running(name: str, loop: Loop) -> None:
    """A loop that meets an unforeseen error (a full disk, say) is told of and begun anew, not lost in silence."""
    while True:
        try:
            await loop()
        except Exception:  # noqa: BLE001 - the last resort of a background loop; the log has the traceback
            _log.exception("loop_failed", loop=name)
        await asyncio.sleep(_LOOP_RESTART_S)
