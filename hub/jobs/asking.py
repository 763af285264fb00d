"""The providers who help with a check: who is asked, and what their answers and silences mean."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from chain.primitives.provider_messages import Checked, Computed, Opened, Plan
from chain.primitives.types import Address
from chain.primitives.worker_fields import PictureRun, Place, ProfileClaim
from hub.jobs.roster import Roster, is_paused
from hub.store.providers import Standing
from hub.verification.errors import Unanswered
from hub.workers.desk import WorkerView
from hub.workers.errors import WorkerError, WorkerGone, WorkerRefused
from hub.workers.orders import Orders

_TRIES: Final = 4
_LONGEST_PAUSE_S: Final = 30.0

T = TypeVar("T")


class ProviderAway(Exception):
    """The provider whose result is checked has gone; it may come back."""


class Connected(Protocol):
    """`hub.workers.workers.Workers`, as far as it is wanted here."""

    orders: Orders

    def views(self) -> list[WorkerView]:
        """Everybody who is connected."""

    def view(self, provider: Address) -> WorkerView | None:
        """One of them."""


class HelpingHands:
    """`hub.verification.examination.Hands` among those who are connected, to whichever process."""

    def __init__(self, workers: Connected, roster: Roster) -> None:
        self._workers = workers
        self._roster = roster

    def is_here(self, provider: Address) -> bool:
        """Whether it can be asked."""
        return self._workers.view(provider) is not None

    async def find_checker(
        self, run: PictureRun, *, excluded: frozenset[Address], profile: ProfileClaim | None
    ) -> Address | None:
        """Another one that has the model, drawn by lot among the best: those with a standing, before newcomers that
        anybody can bring along; of the same kind of device; with nothing to do."""
        await self._roster.refresh()
        able = [
            view
            for view in (*self._workers.views(), *self._roster.views_elsewhere())
            if view.address not in excluded
            and run.model in view.models
            and view.suspension is None
            and not view.is_draining
            and not is_paused(self._roster.record(view.address))
        ]
        if not able:
            return None
        # A claim names the GPU, a view only the kind.
        wanted = "cpu" if profile is not None and profile.device_class == "cpu" else "cuda"

        def place(view: WorkerView) -> tuple[bool, bool, bool]:
            record = self._roster.record(view.address)
            is_new = record is None or record.standing == Standing.NEW
            return is_new, view.device_class != wanted, view.leased_pictures > 0

        best = min(place(view) for view in able)
        return secrets.choice([view for view in able if place(view) == best]).address

    async def open_steps(
        self, provider: Address, *, lease_id: str, places: Sequence[Place]
    ) -> tuple[Opened, tuple[bytes, ...]]:
        """As `Orders`; raises ProviderAway where its connection ends."""
        try:
            return await _asked(lambda: self._workers.orders.open_steps(provider, lease_id=lease_id, places=places))
        except WorkerGone as gone:
            raise ProviderAway(gone.detail) from None
        except WorkerError as error:
            raise Unanswered(error.detail, reason=error.reason) from None

    async def plan_check(self, provider: Address, run: PictureRun, places: Sequence[Place]) -> Plan:
        """As `Orders`."""
        return await _answered(lambda: self._workers.orders.plan_check(provider, run, places))

    async def check_steps(
        self,
        provider: Address,
        run: PictureRun,
        places: Sequence[Place],
        opened: Mapping[Place, bytes],
        *,
        batch_rows: int,
        dtype: str,
    ) -> tuple[Checked, tuple[bytes, ...]]:
        """As `Orders`."""
        orders = self._workers.orders
        return await _answered(
            lambda: orders.check_steps(provider, run, places, opened, batch_rows=batch_rows, dtype=dtype)
        )

    async def compute(
        self, provider: Address, run: PictureRun, *, purpose: str
    ) -> tuple[Computed, tuple[bytes, ...], tuple[bytes, ...]]:
        """As `Orders`."""
        return await _answered(lambda: self._workers.orders.compute(provider, run, purpose=purpose))


async def _answered(ask: Callable[[], Awaitable[T]]) -> T:
    try:
        return await _asked(ask)
    except WorkerError as error:
        raise Unanswered(error.detail, reason=error.reason) from None


async def _asked(ask: Callable[[], Awaitable[T]]) -> T:
    """Again where it says when."""
    for _ in range(_TRIES - 1):
        try:
            return await ask()
        except WorkerRefused as refusal:
            if refusal.retry_after_s is None:
                raise
            await asyncio.sleep(min(_LONGEST_PAUSE_S, refusal.retry_after_s))
    return await ask()
