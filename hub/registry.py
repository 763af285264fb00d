"""Who may dial in: what the chain's registry and the operator say (`hub.workers.handshake.ProviderRegistry`)."""

from chain.primitives.types import Address
from hub.chain_view import ChainView
from hub.jobs.roster import ban_of
from hub.store.store import Store


class Registry:
    """Asked at every handshake."""

    def __init__(self, chain: ChainView, store: Store) -> None:
        self._chain = chain
        self._store = store

    async def is_registered(self, provider: Address) -> bool:
        """Whether it has an active entry; raises NodeError."""
        return await self._chain.provider(provider) is not None

    async def ban_of(self, provider: Address) -> str | None:
        """Why this hub takes no work from it."""
        return await self._store.read(lambda r: ban_of(r, provider))
