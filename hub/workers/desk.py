"""What sessions ask of jobs and store, and what they hand over to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chain.primitives.hub_messages import Assignment, Outstanding
from chain.primitives.receipt import Receipt
from chain.primitives.types import Address, Amount
from chain.primitives.worker_fields import ProfileClaim
from chain.primitives.worker_hello import LOOPBACK_HOSTS


@dataclass(frozen=True, slots=True)
class HubIdentity:
    """Which hub, on which network: what a provider's hello is bound to."""

    hub_id: str
    chain_id: int
    genesis_hash: str
    """`0x` and 64 digits."""
    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    """By which providers dial it: `host:port`, or `host` for every port."""


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model that a provider serves."""

    price_per_unit: Amount
    is_loaded: bool
    vram_mib: int


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A connected provider at one moment: what it declares, and what it has under way for this hub."""

    address: Address
    session_id: str
    connected_at_s: float
    """Unix time."""
    models: Mapping[str, OfferedModel]
    unit_type: str
    device: str
    device_class: str
    """`cpu` or `cuda`."""
    vram_mib: int
    slots: int
    concurrency: int
    """Pictures that it computes at one time."""
    max_pictures: int
    """Of one assignment."""
    records_trajectories: bool
    software: str
    leased_pictures: int
    busy_until_s: tuple[float, ...]
    """When each of its leases lapses, on the monotonic clock."""
    busy_slots: int
    """As of its last heartbeat, from wherever the work came."""
    waiting_pictures: int
    is_draining: bool
    suspension: str | None
    """Why it gets no work at present."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a provider is to be given under a lease."""

    provider: Address
    message: Assignment
    deadline_s: float
    """From now: when the lease lapses."""

    @property
    def lease_id(self) -> str:
        """Whose it is."""
        return self.message.lease_id


@dataclass(frozen=True, slots=True)
class LeaseProgress:
    """How far an assignment is."""

    step: int
    steps: int
    fraction: float
    picture: int
    """Of the assignment, whom the preview shows."""
    preview: bytes | None
    """A small JPEG, so it says."""


@dataclass(frozen=True, slots=True)
class SpooledFile:
    """Bytes that came in, in a file that is removed once they were handed over: take it away, or copy it."""

    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A result whose bytes are those that were announced, with a receipt that this provider signed for this lease."""

    lease_id: str
    provider: Address
    receipt: Receipt
    provider_signature: bytes
    seeds: tuple[int, ...]
    profiles: tuple[ProfileClaim, ...]
    duration_ms: int
    compute_microseconds: int
    gpu: str
    pictures: tuple[SpooledFile, ...]
    sent_at_s: float
    """Unix time at which the assignment went out; 0 where another process or connection has sent it."""
    received_at_s: float
    wall_s: float
    """From sending the assignment to the last byte, on the monotonic clock; 0 as for `sent_at_s`."""


class ShardDesk(Protocol):
    """Jobs and store, as sessions see them. All of it is durable when it returns."""

    async def assign(self, workers: Sequence[WorkerView]) -> Sequence[Grant]:
        """Who gets what of that which waits: claimed already, and never more than a worker has room for."""

    async def open_grants(self, provider: Address) -> Sequence[Grant]:
        """Leases of a provider that (re)connects which have no result yet."""

    async def opened(self, view: WorkerView) -> None:
        """A provider has come; an older session of it, at any process, is over."""

    async def closed(self, session_id: str) -> None:
        """A session has ended. Its leases stay until they lapse: the provider may come back for them."""

    async def progress(self, lease_id: str, progress: LeaseProgress) -> None:
        """News of a lease, at most a few in a second."""

    async def delivered(self, delivery: Delivery) -> None:
        """Keeps a result; raises ResultRefused for one that is not wanted (any more). The same again is fine."""

    async def is_taken(self, lease_id: str, provider: Address, receipt_hash: str) -> bool:
        """Whether this very result was taken already, also under a lease that has ended."""

    async def outstanding(self, provider: Address, order_id: str) -> Outstanding:
        """What is open of what this provider has brought, in answer to its question."""

    async def returned(
        self, lease_id: str, reason: str, detail: str, *, is_fault: bool, retry_after_s: float | None = None
    ) -> None:
        """There will be no result under this lease from this session: refused by the provider, lapsed, or a lie.

        `retry_after_s`: where it refuses for now only.
        """
