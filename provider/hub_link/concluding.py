"""What a hub may still want of this provider: asked by one that drains, until it is nothing.

A result that was taken is not the end: the hub may have steps of it opened, its provider sign the receipt of the whole
job, and then it brings the attestation. Whoever is not there for a check has failed it, and is not paid.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

from chain.primitives.hub_messages import Outstanding
from chain.primitives.provider_messages import AskOutstanding
from provider.hub_link.errors import LinkEnded
from provider.hub_link.leases import Leases
from provider.hub_link.socket import HubSocket

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 5.0
"""Between two questions: each costs the hub a look into its database."""
AWAY_S: Final = 30.0
"""How long a hub that is not there is waited for: what starting it anew takes, and dialling it. It may never come back;
but one that does would find the checks of those who have left failed."""
_LOOK_S: Final = 0.1


class Concluding:
    """Of one hub. On the event loop's thread."""

    def __init__(self, leases: Leases) -> None:
        self.newest: Outstanding | None = None
        """What the hub has said last; None before it was asked."""
        self._leases = leases
        self._socket: HubSocket | None = None
        self._order_id = ""
        self._answer: asyncio.Future[Outstanding | None] | None = None
        self._is_mute = False
        """Whether the hub does not know the question: one of an earlier release."""

    @property
    def may_be_open(self) -> bool:
        """As far as this provider knows."""
        return self._leases.has_results if self.newest is None else not self.newest.is_nothing

    def connect(self, socket: HubSocket) -> None:
        """The hub is (again) there."""
        self._socket = socket

    def disconnect(self) -> None:
        """It will not answer on this connection."""
        self._socket = None
        self._settle(None)

    def heard(self, outstanding: Outstanding) -> None:
        """Its answer; nothing happens where nobody waits for this one."""
        if outstanding.order_id == self._order_id:
            self.newest = outstanding
            self._settle(outstanding)

    def refused(self, about: str, retry_after_s: float | None) -> None:
        """It cannot say now; or never, where it does not say when."""
        if about == self._order_id:
            self._is_mute = retry_after_s is None
            self._settle(None)

    def misunderstood(self) -> None:
        """The hub ends the connection over something that it could not read; a question will have been that."""
        self._is_mute = self._is_mute or self._answer is not None

    async def wait(self, on_news: Callable[[], None], *, away_s: float = AWAY_S) -> None:
        """Until the hub says that nothing is open, or stays away; `on_news` is called after each answer.

        A hub that cannot say is left after `away_s`, too: so long it may ask.
        """
        pause_s, seen_at_s = _FIRST_PAUSE_S, time.monotonic()
        while True:
            if self._socket is None or self._is_mute:
                if not self.may_be_open or time.monotonic() > seen_at_s + away_s:
                    return
                await asyncio.sleep(_LOOK_S)
                continue
            outstanding = await self._ask(self._socket)
            on_news()
            if outstanding is not None and outstanding.is_nothing:
                return
            seen_at_s = time.monotonic()
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _ask(self, socket: HubSocket) -> Outstanding | None:
        """None where the hub cannot say now, or has gone."""
        self._order_id = secrets.token_hex(8)
        answer: asyncio.Future[Outstanding | None] = asyncio.get_running_loop().create_future()
        self._answer = answer
        try:
            await socket.send(AskOutstanding(order_id=self._order_id))
            return await answer
        except LinkEnded:
            return None  # The reader finds out by itself.
        finally:
            self._order_id, self._answer = "", None

    def _settle(self, outstanding: Outstanding | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(outstanding)


def in_words(outstanding: Outstanding) -> str:
    """Such as `1 check, 2 jobs`."""
    counts = {
        "lease": outstanding.leases,
        "check": outstanding.checks,
        "job": outstanding.jobs,
        "attestation": outstanding.attestations,
    }
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count)
