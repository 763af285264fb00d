"""A provider's jobs, outbox and hub links over real storage, with a backend whose pictures are hashes: no torch."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from chain.client import AsyncNodeClient
from chain.primitives.keys import PrivateKey
from hub.workers.desk import HubIdentity
from provider.api_keys import ApiKeys
from provider.engine.engine import Engine
from provider.engine.options import EngineOptions
from provider.hub_link.links import HubLinks
from provider.hub_link.offering import LinkTools
from provider.jobs.allowances import Allowances
from provider.jobs.completion import Completion, CompletionTools
from provider.jobs.offers import Offers
from provider.jobs.pictures import KeptPictures
from provider.jobs.service import JobService, JobTools, OrderBounds
from provider.minting.attestations import Attestations
from provider.minting.chain_identity import ChainIdentity
from provider.monitoring.metrics import ProviderMetrics
from provider.monitoring.tracing import set_up_tracing
from provider.receipts.trajectories import Trajectories
from provider.settings import ProviderSettings
from provider.storage.artifacts import ArtifactLimits, Artifacts
from provider.storage.database import Database
from provider.storage.identity import FolderIdentity
from provider.storage.job_log import JobLog
from provider.storage.outbox import Outbox
from tests.hub.workers.rig import HUB, key_of
from tests.provider.engine.conftest import HashBackend

PROVIDER = key_of(1)


class SlowGate(threading.Event):
    """Lets each step pass after a while."""

    def wait(self, timeout: float | None = None) -> bool:
        """As an event that is set."""
        time.sleep(0.05)
        return True


@dataclass
class LinkedProvider:
    """One that dials hubs."""

    links: HubLinks
    tools: LinkTools
    backend: HashBackend
    minted: list[bool]
    """One entry for each time that the minter was woken."""
    key: PrivateKey = PROVIDER

    @property
    def outbox(self) -> Outbox:
        """Its receipts."""
        return self.tools.outbox

    @property
    def state(self) -> str:
        """How it stands with its first hub."""
        return self.links.report()[0].state


@asynccontextmanager
async def linked(
    folder: Path,
    *urls: str,
    hub: HubIdentity = HUB,
    node_url: str = "http://127.0.0.1:9",
    key: PrivateKey = PROVIDER,
    slots: int = 1,
    **settings: Any,
) -> AsyncIterator[LinkedProvider]:
    """A provider that has learnt its chain before; nobody listens on port 9."""
    defaults = {"price_per_unit": 100, "unit_type": "images", "prices": (), "trajectory": False}
    built = ProviderSettings.build(data_dir=folder, hub=urls, node_url=node_url, **(defaults | settings))
    with Database(folder) as database:
        identity = FolderIdentity(database)
        identity.bind("genesis_hash", hub.genesis_hash)
        identity.bind("chain_id", str(hub.chain_id))
        backend = HashBackend(slots)
        engine = Engine(backend, EngineOptions(batch_wait_ms=0, max_request_rows=built.max_pictures))
        engine.start()
        node = AsyncNodeClient(node_url)
        minted: list[bool] = []
        tools = _tools(built, key, database, engine, node, minted)
        links = HubLinks(tools)
        running = asyncio.create_task(links.run())
        try:
            yield LinkedProvider(links, tools, backend, minted, key)
        finally:
            backend.gate.set()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await links.close()
            tools.jobs.cancel_all()
            await tools.jobs.wait_until_idle()
            await tools.jobs.close()
            assert await asyncio.to_thread(engine.join, 60)
            await node.close()


def _tools(
    settings: ProviderSettings,
    key: PrivateKey,
    database: Database,
    engine: Engine,
    node: AsyncNodeClient,
    minted: list[bool],
) -> LinkTools:
    job_log, outbox = JobLog(database), Outbox(database)
    chain = ChainIdentity(FolderIdentity(database), node, key.address)
    trajectories = Trajectories(
        settings.data_dir / "trajectories",
        keep_hours=settings.trajectory_keep_hours,
        keep_mib=settings.trajectory_keep_mib if settings.trajectory else 0,
    )
    artifacts = Artifacts(settings.artifacts_location, ArtifactLimits(max_count=100, max_bytes=2**30, max_age_s=86_400))
    artifacts.check()
    jobs = JobService(
        JobTools(
            address=key.address,
            engine=engine,
            offers=Offers(settings, chain),
            allowances=Allowances(ApiKeys({}), settings.rate_limit, job_log.pictures_since),
            job_log=job_log,
            pictures=KeptPictures(artifacts),
            completion=Completion(CompletionTools(key, job_log, trajectories)),
            metrics=ProviderMetrics(CollectorRegistry()),
            tracing=set_up_tracing(None, service_version="test"),
            bounds=OrderBounds(settings.prompt_max_characters, settings.max_pictures),
            records_trajectories=trajectories.is_enabled,
        )
    )
    return LinkTools(
        settings=settings,
        key=key,
        chain=chain,
        engine=engine,
        jobs=jobs,
        job_log=job_log,
        outbox=outbox,
        trajectories=trajectories,
        attestations=Attestations(outbox, node, lambda: minted.append(True)),
    )
