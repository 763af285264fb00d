"""The providers who help with a check: who is asked, and what their answers and silences mean."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol, TypeVar

from chain.primitives.provider_messages import Checked, Computed, Opened, Plan
from chain.primitives.types import Address
from chain.primitives.worker_fields import PictureRun, Place, ProfileClaim
from hub.verification.errors import Unanswered
from hub.workers.desk import WorkerView
from hub.workers.errors import WorkerError
from hub.workers.orders import Orders

T = TypeVar("T")


class Connected(Protocol):
    """`hub.workers.workers.Workers`, as far as it is wanted here."""

    orders: Orders

    def views(self) -> list[WorkerView]:
        """Everybody who is connected."""

    def view(self, provider: Address) -> WorkerView | None:
        """One of them."""


class HelpingHands:
    """`hub.verification.examination.Hands` among those who are connected to this process."""

    def __init__(self, workers: Connected) -> None:
        self._workers = workers

    def is_here(self, provider: Address) -> bool:
        """Whether it can be asked."""
        return self._workers.view(provider) is not None

    async def find_checker(
        self, run: PictureRun, *, excluded: frozenset[Address], profile: ProfileClaim | None
    ) -> Address | None:
        """Another one that has the model: of the same kind of device first, the least busy first."""
        able = [
            view
            for view in self._workers.views()
            if view.address not in excluded
            and run.model in view.models
            and view.suspension is None
            and not view.is_draining
        ]
        if not able:
            return None
        # A claim names the GPU, a view only the kind.
        wanted = "cpu" if profile is not None and profile.device_class == "cpu" else "cuda"
        best = min(able, key=lambda view: (view.device_class != wanted, view.leased_pictures, view.address))
        return best.address

    async def open_steps(
        self, provider: Address, *, lease_id: str, places: Sequence[Place]
    ) -> tuple[Opened, tuple[bytes, ...]]:
        """As `Orders`."""
        return await _answered(self._workers.orders.open_steps(provider, lease_id=lease_id, places=places))

    async def plan_check(self, provider: Address, run: PictureRun, places: Sequence[Place]) -> Plan:
        """As `Orders`."""
        return await _answered(self._workers.orders.plan_check(provider, run, places))

    async def check_steps(
        self,
        provider: Address,
        run: PictureRun,
        places: Sequence[Place],
        opened: Mapping[Place, bytes],
        *,
        batch_rows: int,
        source: bytes | None = None,
    ) -> tuple[Checked, tuple[bytes, ...]]:
        """As `Orders`."""
        asked = self._workers.orders.check_steps(provider, run, places, opened, batch_rows=batch_rows, source=source)
        return await _answered(asked)

    async def compute(
        self, provider: Address, run: PictureRun, *, purpose: str, source: bytes | None = None
    ) -> tuple[Computed, tuple[bytes, ...], tuple[bytes, ...]]:
        """As `Orders`."""
        return await _answered(self._workers.orders.compute(provider, run, purpose=purpose, source=source))


async def _answered(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except WorkerError as error:
        raise Unanswered(error.detail, reason=error.reason) from None
