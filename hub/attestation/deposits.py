"""What a client's deposit for this hub still covers, before a paid job is accepted; and promises that lapse.

Read `DepositDesk.read` first, then call `promises.reserve` with what it says, in the unit that accepts the job.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from chain.client import AsyncNodeClient, NodeError, NodeRefused
from chain.escrow_answers import DepositView
from chain.primitives.escrow import SETTLE_WINDOW_S
from hub.store import promises
from hub.store.errors import StoreError
from hub.store.store import Store

_NOT_FOUND: Final = 404
_SWEEP_S: Final = 30.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.deposits")


@dataclass(frozen=True, slots=True)
class Secured:
    """A client's deposit for this hub as the chain has it, finally; `view` is None where there is none."""

    view: DepositView | None
    height: int

    def atoms(self, until: int) -> int:
        """What the client cannot take back before this second (Unix) has passed; promises are not taken off."""
        return 0 if self.view is None else int(self.view.secured_atoms(until))


def until_s(expiry_s: int) -> int:
    """The last second in which a request can be settled."""
    return expiry_s + SETTLE_WINDOW_S


class DepositDesk:
    """Asks the node anew each time: a deposit may be taken out a moment after it was looked at, but not before
    `until_s` (NOTICE_S of the module sees to that)."""

    def __init__(self, node: AsyncNodeClient, hub_id: str) -> None:
        self._node = node
        self._hub_id = hub_id

    async def read(self, client: str) -> Secured:
        """Of the client with this address. Raises NodeError where the node does not answer."""
        try:
            view = await self._node.deposit(client, self._hub_id)
        except NodeRefused as refused:
            if refused.status != _NOT_FOUND:
                raise
            return Secured(None, 0)
        # What the node says of another's deposit, or of one that is not final, covers nothing.
        is_ours = view.finalized and view.audience == self._hub_id and view.client.lower() == client.lower()
        return Secured(view if is_ours else None, view.height)


class PromiseSweep:
    """Gives back what was promised to jobs of which nothing will be paid any more."""

    def __init__(self, store: Store, node: AsyncNodeClient) -> None:
        self._store = store
        self._node = node

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.sweep()
            except (NodeError, StoreError) as error:
                _log.warning("promises_not_swept", detail=str(error))
            await asyncio.sleep(_SWEEP_S)

    async def sweep(self) -> int:
        """How many were given back; by the chain's clock, which decides what can be settled."""
        status = await self._node.status()
        released = await self._store.write(lambda t: promises.sweep(t, status.finalized.time_ms // 1_000))
        if released:
            _log.info("promises_released", count=released)
        return released
