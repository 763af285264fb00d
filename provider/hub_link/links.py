"""All hubs of this provider, each on a connection of its own."""

import asyncio
from collections.abc import Callable

from provider.http.schemas import HubEntry
from provider.hub_link.concluding import AWAY_S
from provider.hub_link.link import HubLink
from provider.hub_link.offering import LinkTools


class HubLinks:
    """Those whose URLs the operator has named. On the event loop's thread."""

    def __init__(self, tools: LinkTools) -> None:
        self._names: dict[str, str] = {}
        self._links = tuple(HubLink(url, tools, self._claim_name) for url in tools.settings.hub)

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(link.run() for link in self._links))

    def report(self) -> list[HubEntry]:
        """How this provider stands with each."""
        return [link.report() for link in self._links]

    async def drain(self) -> None:
        """Tells all that this provider wants no more."""
        await asyncio.gather(*(link.drain() for link in self._links))

    async def finish(self) -> None:
        """Until every hub that is there has the results of its leases."""
        await asyncio.gather(*(link.finish() for link in self._links))

    async def conclude(self, on_news: Callable[[], None], *, away_s: float = AWAY_S) -> None:
        """After `finish`: until no hub wants anything of what it was brought; one that stays away so long is left."""
        await asyncio.gather(*(link.conclude(on_news, away_s=away_s) for link in self._links))

    def waits_for(self) -> list[str]:
        """What hubs have not concluded, a sentence each."""
        return [sentence for link in self._links if (sentence := link.waits_for()) is not None]

    async def close(self) -> None:
        """After `run` was cancelled: ends what is under way."""
        await asyncio.gather(*(link.close() for link in self._links))

    def _claim_name(self, hub_id: str, url: str) -> bool:
        return self._names.setdefault(hub_id, url) == url
