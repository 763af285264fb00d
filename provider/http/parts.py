"""What the HTTP application is made of; built in `provider.process`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from chain.primitives.types import Address
from provider.api_keys import ApiKeys
from provider.engine.engine import Engine, EngineState
from provider.http.schemas import HubEntry
from provider.http.source_images import SourceImages
from provider.jobs.links import ArtifactLinks
from provider.jobs.service import JobService
from provider.minting.attestations import Attestations
from provider.minting.chain_identity import ChainIdentity
from provider.monitoring.metrics import ProviderMetrics
from provider.receipts.trajectories import Trajectories
from provider.settings import ProviderSettings
from provider.storage.outbox import Outbox

_SENTENCES: Final = {
    "loading": "the model is loading",
    "waiting_for_node": "the chain node has not answered yet",
    "draining": "the provider finishes the jobs that it has and takes no more",
    "stopping": "the provider is shutting down",
}


@dataclass(frozen=True)
class ProviderParts:
    """Everything that routes may ask."""

    settings: ProviderSettings
    address: Address
    api_keys: ApiKeys
    engine: Engine
    chain: ChainIdentity
    jobs: JobService
    links: ArtifactLinks
    sources: SourceImages
    outbox: Outbox
    trajectories: Trajectories
    attestations: Attestations
    metrics: ProviderMetrics
    hubs: Callable[[], list[HubEntry]]
    """How this provider stands with its hubs."""

    def status(self) -> str:
        """`ok` when jobs are served, else what is missing."""
        if self.jobs.is_draining:
            return "draining"
        state = self.engine.state
        if state is EngineState.READY:
            return "ok" if self.chain.chain_id is not None else "waiting_for_node"
        return "stopping" if state is EngineState.STOPPED else state.value

    def fault(self) -> str | None:
        """A sentence on why no job is served, or None."""
        status = self.status()
        if status == "ok":
            return None
        if self.engine.failure is not None:
            return self.engine.failure.message
        return _SENTENCES.get(status, status)

    def link(self, request: Request, job_id: str, index: int) -> str:
        """An absolute URL that opens a picture without an API key for a while."""
        base = self.settings.endpoint or str(request.base_url)
        return base.rstrip("/") + self.links.path(job_id, index)
