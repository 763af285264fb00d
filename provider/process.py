"""A running provider: puts the parts together, starts them, and ends them in the right order.

A signal begins a drain: new orders get 503 while what was accepted is finished, within `drain_timeout_s`; then hubs
conclude what they were brought, within `drain_hubs_timeout_s`; then the server ends. A second Ctrl-C ends at once what
is still at work or waited for.
"""

import asyncio
import json
import signal
import socket
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from chain.client import AsyncNodeClient
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.types import Address, Hash32
from chain.web.server import Server
from provider.api_keys import ApiKeys
from provider.engine.backends.local import LocalBackend
from provider.engine.engine import Engine
from provider.engine.options import EngineOptions
from provider.errors import BackendLost, ConfigurationError
from provider.generation import EMBEDDED_MODEL, Backend
from provider.http.application import create_provider_application
from provider.http.gauges import watch_parts
from provider.http.parts import ProviderParts
from provider.http.source_images import SourceImages
from provider.hub_link.links import HubLinks
from provider.hub_link.offering import LinkTools
from provider.jobs.allowances import Allowances
from provider.jobs.completion import Completion, CompletionTools
from provider.jobs.links import ArtifactLinks
from provider.jobs.offers import Offers
from provider.jobs.pictures import KeptPictures
from provider.jobs.service import JobService, JobTools, OrderBounds
from provider.minting.attestations import Attestations
from provider.minting.chain_account import ChainAccount
from provider.minting.chain_identity import ChainIdentity
from provider.minting.minter import Minter
from provider.minting.registration import Registrar, registry_entry
from provider.monitoring.metrics import ProviderMetrics
from provider.monitoring.tracing import set_up_tracing
from provider.receipts.trajectories import Trajectories
from provider.settings import ProviderSettings
from provider.storage.artifacts import ArtifactLimits, Artifacts
from provider.storage.database import Database
from provider.storage.drain_report import DrainReport
from provider.storage.identity import FolderIdentity
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox
from provider.storage.retention import Prunable, Retention, RetentionTimes, remove_leftovers, standard_retention

_OTHER_CONNECTIONS: Final = 128
_ANSWER_S: Final = 10
"""What signing, storing and sending the last answer may take after its picture is done."""
_RAY_END_S: Final = 60
"""What ending replicas and Ray's own processes may take besides, so that none of them stays."""
_SAME_SIGNAL_S: Final = 1.0
"""Ctrl-C reaches a whole process group, and a parent may add its SIGTERM: that is one wish, not two."""
_LAST_MINTS_S: Final = 10.0
"""What bringing the last attestations to the chain may take, some blocks; a node that is away is not waited for."""
_LOOK_AT_MINTS_S: Final = 0.2
_DAY_S: Final = 86_400
_LOOK_INTERVAL_S: Final = 5.0
_LOST_FOR_GOOD_S: Final = 60.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.process")


class ProviderProcess:
    """One provider, from opening its data folder to closing it."""

    def __init__(self, settings: ProviderSettings, key: PrivateKey, api_keys: ApiKeys) -> None:
        """Raises ConfigurationError where the data folder cannot be used."""
        self._settings = settings
        self._key = key
        self._api_keys = api_keys
        self._server: Server | None = None
        self._failure: BaseException | None = None
        self._draining_since_s: float | None = None
        self._drain: asyncio.Task[None] | None = None
        self._drain_report = DrainReport(settings.data_dir)
        self._waits_for: list[str] = []
        """As the report has it."""
        self._hurry = asyncio.Event()
        """Set when nothing is to be waited for any more."""
        self.worker_is_alive = False
        """After `serve`: whether the engine has outlasted all patience."""
        self._database = Database(settings.data_dir)
        try:
            self._open()
        except BaseException:
            self._database.close()
            raise

    def _open(self) -> None:
        settings = self._settings
        remove_leftovers(settings.data_dir)
        self._drain_report.write([])
        self._outbox = Outbox(self._database)
        self._job_log = JobLog(self._database)
        self._folder = FolderIdentity(self._database)
        self._artifacts = Artifacts(settings.artifacts_location, _artifact_limits(settings))
        self._artifacts.check()
        self._trajectories = Trajectories(
            settings.data_dir / "trajectories",
            keep_hours=settings.trajectory_keep_hours,
            keep_mib=settings.trajectory_keep_mib if settings.trajectory else 0,
        )
        self._trajectories.sweep(self._is_committed_to)
        self._client = AsyncNodeClient(settings.node_url)
        self._account = ChainAccount(self._client, self._key)
        self._chain = ChainIdentity(self._folder, self._client, self._key.address)
        self._metrics = ProviderMetrics(CollectorRegistry())
        self._tracing = set_up_tracing(settings.telemetry_endpoint, service_version=version("aitbc"))
        self._minter = Minter(self._outbox, self._account, self._chain, self._metrics)
        self._attestations = Attestations(self._outbox, self._client, self._minter.wake)
        self._sources = SourceImages()
        self._engine = Engine(create_backend(settings, self._key.address), _engine_options(settings), self._metrics)

    def _is_committed_to(self, hub_id: str, job_id: str, root: Hash32) -> bool:
        roots = (json.loads(each.receipt_json).get("trajectory_root") for each in self._outbox.of_job(hub_id, job_id))
        return to_hex(root) in roots

    def _create_jobs(self) -> JobService:
        settings = self._settings
        completion = CompletionTools(self._key, self._job_log, self._trajectories)
        return JobService(
            JobTools(
                address=self._key.address,
                engine=self._engine,
                offers=Offers(settings, self._chain),
                allowances=Allowances(self._api_keys, settings.rate_limit, self._job_log.pictures_since),
                job_log=self._job_log,
                pictures=KeptPictures(self._artifacts),
                completion=Completion(completion),
                metrics=self._metrics,
                tracing=self._tracing,
                bounds=OrderBounds(settings.prompt_max_characters, settings.max_pictures),
                records_trajectories=self._trajectories.is_enabled,
            )
        )

    def _create_parts(self, jobs: JobService) -> ProviderParts:
        settings = self._settings
        return ProviderParts(
            settings=settings,
            address=self._key.address,
            api_keys=self._api_keys,
            engine=self._engine,
            chain=self._chain,
            jobs=jobs,
            links=ArtifactLinks(self._folder.secret("artifact_links"), settings.link_ttl_s, time.time),
            sources=self._sources,
            outbox=self._outbox,
            trajectories=self._trajectories,
            attestations=self._attestations,
            metrics=self._metrics,
            hubs=self._links.report,
        )

    def _create_links(self, jobs: JobService) -> HubLinks:
        return HubLinks(
            LinkTools(
                settings=self._settings,
                key=self._key,
                chain=self._chain,
                engine=self._engine,
                jobs=jobs,
                job_log=self._job_log,
                outbox=self._outbox,
                trajectories=self._trajectories,
                attestations=self._attestations,
            )
        )

    async def serve(self, listener: socket.socket, on_ready: Callable[[str], None] | None = None) -> None:
        """Serves until a signal; raises ModelUnavailable or ConfigurationError where that ends it."""
        self._jobs = self._create_jobs()
        self._links = self._create_links(self._jobs)
        parts = self._create_parts(self._jobs)
        watch_parts(parts, self._artifacts)
        if self._api_keys.plain_names:
            _log.warning("api_keys_in_plain_text", names=list(self._api_keys.plain_names[:8]))
        self._server = server = Server(
            create_provider_application(parts),
            listener,
            # Every job that waits holds a connection; the rest is for those who ask how things are.
            max_connections=self._settings.queue_limit + _OTHER_CONNECTIONS,
            shutdown_timeout_s=_ANSWER_S,
            on_signal=self.on_signal,
        )
        self._engine.start()
        background = [
            asyncio.create_task(work)
            for work in (
                self._watch_engine(),
                self._minter.run(),
                self._links.run(),
                self._jobs.keep_storing_ends(),
                self._enter_chain(server.url),
                Retention(self._prunables(), self._settings.retention_interval_s).run(),
            )
        ]
        for task in background:
            task.add_done_callback(self._on_task_done)
        try:
            await server.serve(on_ready)
        finally:
            await self._end(background)
        if self._failure is not None:
            raise self._failure

    # The end

    def on_signal(self, number: int) -> None:
        """The first begins a drain, a later Ctrl-C ends what is at work. On the event loop's thread.

        A later SIGTERM is the same wish again, from systemd or another script, and must not lose a job.
        """
        if self._draining_since_s is None:
            self.stop()
        elif number == signal.SIGINT and time.monotonic() - self._draining_since_s > _SAME_SIGNAL_S:
            _log.warning("ending_at_once", jobs=self._jobs.jobs_under_way)
            self._hurry.set()
            self._jobs.cancel_all()

    def stop(self) -> None:
        """Begins a graceful end, as a signal does; to be called on the event loop's thread."""
        if self._server is None or self._draining_since_s is not None:
            return
        self._draining_since_s = time.monotonic()
        self._jobs.refuse_new()
        _log.info("draining", jobs=self._jobs.jobs_under_way, timeout_s=self._settings.drain_timeout_s)
        self._drain = asyncio.create_task(self._finish_jobs(self._server))

    async def _finish_jobs(self, server: Server) -> None:
        """Answers on until every accepted job has ended, or the time for that is over."""
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                await self._links.drain()
                await self._jobs.wait_until_idle()
                await self._links.finish()
        except TimeoutError:
            _log.warning("drain_timed_out", jobs=self._jobs.jobs_under_way)
            self._jobs.cancel_all()
        if self._failure is None:  # Else it is started anew at once, and asked then.
            await self._wait_for_hubs()
        self._engine.stop()
        server.stop()

    async def _wait_for_hubs(self) -> None:
        """Who leaves while a hub still checks what it has brought has failed the check, and is not paid."""
        self._report_drain()
        ends = [asyncio.create_task(self._conclude()), asyncio.create_task(self._hurry.wait())]
        await asyncio.wait(ends, timeout=self._settings.drain_hubs_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
        self._report_drain()
        if faults := [str(each) for each in outcomes if isinstance(each, Exception)]:
            _log.error("hubs_not_waited_for", detail=faults)
        if left := self._links.waits_for():
            _log.warning("left_before_hubs_concluded", waits_for=left)

    async def _conclude(self) -> None:
        await self._links.conclude(self._report_drain)
        try:
            async with asyncio.timeout(_LAST_MINTS_S):
                while await asyncio.to_thread(self._has_mints):  # noqa: ASYNC110 - the minter and the chain change it
                    await asyncio.sleep(_LOOK_AT_MINTS_S)
        except TimeoutError:
            _log.info("mints_left", detail="they are in the outbox, for when this provider runs again")

    def _has_mints(self) -> bool:
        return bool(self._outbox.in_flight() or self._outbox.due(time.time_ns() // 1_000_000, 1))

    def _report_drain(self) -> None:
        waits_for = self._links.waits_for()
        if waits_for == self._waits_for:
            return
        self._waits_for = waits_for
        self._drain_report.write(waits_for)
        _log.info("waiting_for_hubs", waits_for=waits_for, timeout_s=self._settings.drain_hubs_timeout_s)

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        """A background task that fails ends the process: one that only serves, say, but never mints helps nobody."""
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
            self._hurry.set()  # What a drain may wait for would not come.
            self.stop()

    async def _end(self, background: list["asyncio.Task[None]"]) -> None:
        """Every answer is given or given up; what is minted later is in the outbox."""
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        if self._drain is not None:
            await self._drain
        self._jobs.cancel_all()
        await self._links.close()
        end_s = _RAY_END_S if self._settings.backend == "ray" else _ANSWER_S
        self.worker_is_alive = not await asyncio.to_thread(self._engine.join, end_s)
        if self.worker_is_alive:
            _log.warning("engine_still_busy")
        else:
            await self._jobs.wait_until_idle()
        await self._jobs.close()
        await self._client.close()
        self._sources.close()
        await asyncio.to_thread(self._tracing.shutdown)
        self._database.close()

    # In the background

    async def _watch_engine(self) -> None:
        """Ends the process, by an error, where the model does not load or every device is lost for good.

        An error of CUDA stays until the process ends; who runs it, systemd say, starts it anew. Replicas on Ray are
        started anew by Ray.
        """
        await asyncio.wrap_future(self._engine.loaded)
        lost_since_s: float | None = None
        while self._settings.backend == "local":
            await asyncio.sleep(_LOOK_INTERVAL_S)
            if self._engine.lost_slots < self._engine.slots:
                lost_since_s = None
            elif lost_since_s is None:
                lost_since_s = time.monotonic()
            elif time.monotonic() - lost_since_s > _LOST_FOR_GOOD_S:
                raise BackendLost("every device has failed for a minute; this process has to be started anew")

    async def _enter_chain(self, url: str) -> None:
        await self._chain.learn()
        if not self._settings.register_at_start:
            return
        devices = await asyncio.wrap_future(self._engine.loaded)
        entry = registry_entry(self._settings, url, max(device.vram_mib for device in devices))
        await Registrar(self._account).keep_trying(entry)

    def _prunables(self) -> list[Prunable]:
        settings = self._settings
        times = RetentionTimes(settings.job_keep_days, settings.receipt_keep_days)
        standard = standard_retention(self._outbox, self._job_log, self._artifacts, times, settings.data_dir)
        return [*standard, self._trajectories]


def create_backend(settings: ProviderSettings, provider: Address) -> Backend:
    """Where pictures are computed; imports neither torch nor Ray before it is loaded."""
    if settings.backend == "ray":
        from provider.engine.backends.ray import RayBackend

        return RayBackend(
            settings.pipeline_options(),
            address=settings.ray_address,
            replicas=settings.ray_replicas,
            # One of its own: on a cluster, two providers would replace each other's replicas.
            application=f"aitbc-provider-{provider.hex()}",
        )
    return LocalBackend(settings.pipeline_options())


def _engine_options(settings: ProviderSettings) -> EngineOptions:
    return EngineOptions(
        queue_limit_rows=settings.queue_limit,
        job_timeout_s=settings.job_timeout_s,
        max_request_rows=settings.max_pictures,
        max_batch_rows=settings.max_batch_rows,
        batch_wait_ms=round(settings.batch_wait_ms),
    )


def _artifact_limits(settings: ProviderSettings) -> ArtifactLimits:
    return ArtifactLimits(
        max_count=settings.artifact_keep_count,
        max_bytes=settings.artifact_keep_mib * 2**20,
        max_age_s=settings.artifact_keep_days * _DAY_S,
    )


def check_model_folder(settings: ProviderSettings) -> None:
    """Refuses a model folder that cannot be one, before anything is started; raises ConfigurationError."""
    for model in settings.public_models.values():
        folder = Path(model).expanduser()
        if folder.is_dir():
            if model != EMBEDDED_MODEL and not (folder / "model_index.json").is_file():
                message = f"the model folder {model} has no model_index.json, so it is not a diffusers pipeline"
                raise ConfigurationError(message, reason="model_folder_incomplete")
        elif model.startswith(("/", ".", "~")) or model.count("/") > 1:
            raise ConfigurationError(f"there is no model folder {model}", reason="model_folder_missing")


def describe(settings: ProviderSettings, key: PrivateKey, url: str) -> str:
    """The line that a person at a terminal sees once requests are answered."""
    address = to_checksum_address(key.address)
    names = ", ".join(settings.public_models)
    price = f"{settings.price_of(settings.public_model_name)} atoms per {settings.unit_type}"
    return f"provider {address} serves {names} at {url} for {price}"
