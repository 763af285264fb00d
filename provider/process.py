"""A running provider: puts the parts together, starts them, and ends them in the right order."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from chain.client import AsyncNodeClient
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.keys import PrivateKey
from chain.web.server import Server
from provider.api_keys import ApiKeys
from provider.artifacts import Artifacts
from provider.attestations import Attestations
from provider.chain_account import ChainAccount
from provider.chain_identity import ChainIdentity
from provider.engine import Engine
from provider.errors import ConfigurationError
from provider.generation import EMBEDDED_MODEL, PipelineOptions
from provider.jobs import Jobs, JobTools
from provider.metrics import ProviderMetrics
from provider.minter import Minter
from provider.outbox import Outbox
from provider.registration import Registrar, registry_entry
from provider.service import ProviderParts, create_provider_application, current_offer, watch_parts
from provider.settings import ProviderSettings

_OTHER_CONNECTIONS: Final = 128
_ANSWER_S: Final = 10
"""What signing, storing and sending the last answer may take after its picture is done."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.process")


class ProviderProcess:
    """One provider, from opening its data folder to closing it."""

    def __init__(self, settings: ProviderSettings, key: PrivateKey, api_keys: ApiKeys) -> None:
        """Raises ConfigurationError where the data folder cannot be used."""
        self._settings = settings
        self._key = key
        self._server: Server | None = None
        self._failure: BaseException | None = None
        self.worker_is_alive = False
        """After `serve`: whether the worker has outlasted all patience."""
        self._outbox = Outbox(settings.data_dir)
        self._client = AsyncNodeClient(settings.node_url)
        self._account = ChainAccount(self._client, key)
        self._chain = ChainIdentity(self._outbox, self._client, key.address)
        self._engine = Engine(
            PipelineOptions(settings.model, settings.device, settings.precision, settings.cpu_threads),
            queue_limit=settings.queue_limit,
            job_timeout_s=settings.job_timeout_s,
        )
        self._metrics = ProviderMetrics(CollectorRegistry())
        self._minter = Minter(self._outbox, self._account, self._chain, self._metrics)
        self._parts = self._assemble(api_keys)

    def _assemble(self, api_keys: ApiKeys) -> ProviderParts:
        settings = self._settings
        tools = JobTools(
            key=self._key,
            engine=self._engine,
            outbox=self._outbox,
            artifacts=Artifacts(settings.data_dir / "artifacts", settings.artifact_keep_count),
            metrics=self._metrics,
            offer=lambda: current_offer(settings, self._chain),
        )
        parts = ProviderParts(
            settings=settings,
            address=self._key.address,
            api_keys=api_keys,
            engine=self._engine,
            outbox=self._outbox,
            chain=self._chain,
            jobs=Jobs(tools),
            attestations=Attestations(self._outbox, self._client, self._minter.wake),
            metrics=self._metrics,
        )
        watch_parts(parts)
        return parts

    async def serve(self, listener: socket.socket, on_ready: Callable[[str], None] | None = None) -> None:
        """Serves until a signal; raises ModelUnavailable or ConfigurationError where that ends it."""
        self._server = server = Server(
            create_provider_application(self._parts),
            listener,
            # Every job that waits holds a connection; the rest is for those who ask how things are.
            max_connections=self._settings.queue_limit + _OTHER_CONNECTIONS,
            shutdown_timeout_s=round(self._settings.job_timeout_s) + _ANSWER_S,
            on_stopping=self._engine.stop,
        )
        self._engine.start()
        background = [
            asyncio.create_task(work)
            for work in (self._watch_engine(), self._minter.run(), self._enter_chain(server.url))
        ]
        for task in background:
            task.add_done_callback(self._on_task_done)
        try:
            await server.serve(on_ready)
        finally:
            await self._end(background)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Begins a graceful end, as a signal does; to be called on the event loop's thread."""
        if self._server is not None:
            self._server.stop()

    def _on_task_done(self, task: "asyncio.Task[None]") -> None:
        """A background task that fails ends the process: one that only serves, say, but never mints helps nobody."""
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
            self.stop()

    async def _end(self, background: list["asyncio.Task[None]"]) -> None:
        """The job at work has ended with its request; what is minted later is in the outbox."""
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        self.worker_is_alive = not await asyncio.to_thread(self._engine.join, _ANSWER_S)
        if self.worker_is_alive:
            _log.warning("engine_still_busy")
        await self._client.close()
        self._outbox.close()

    async def _watch_engine(self) -> None:
        await asyncio.wrap_future(self._engine.loaded)

    async def _enter_chain(self, url: str) -> None:
        await self._chain.learn()
        if not self._settings.register_at_start:
            return
        device = await asyncio.wrap_future(self._engine.loaded)
        entry = registry_entry(self._settings, url, device.vram_mib)
        await Registrar(self._account).keep_trying(entry)


def check_model_folder(settings: ProviderSettings) -> None:
    """Refuses a model folder that cannot be one, before anything is started; raises ConfigurationError."""
    model = settings.model
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
    price = f"{settings.price_per_unit} atoms per {settings.unit_type}"
    return f"provider {address} serves {settings.public_model_name} at {url} for {price}"
