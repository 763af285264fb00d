"""Leases with what they are of: lease, shard and job in one row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import bindparam, select

from hub.store.jobs import Job, job_of
from hub.store.leases import IS_ACTIVE, Lease, lease_of
from hub.store.records import columns_of
from hub.store.shards import Shard, shard_of
from hub.store.statements import Prepared
from hub.store.tables.jobs import JOBS, LEASES, SHARDS
from hub.store.transaction import Reader


@dataclass(frozen=True, slots=True)
class Place:
    """A lease, and what it is of."""

    lease: Lease
    shard: Shard
    job: Job


_PARTS: Final = (("lease", LEASES, Lease), ("shard", SHARDS, Shard), ("job", JOBS, Job))
_NAMES: Final = {
    prefix: tuple((field.name, f"{prefix}_of_{field.name}") for field in fields(record)) for prefix, _, record in _PARTS
}
_PLACE: Final = (
    select(
        *(
            column.label(f"{prefix}_of_{column.key}")
            for prefix, table, record in _PARTS
            for column in columns_of(table, record)
        )
    )
    .join_from(LEASES, SHARDS, (LEASES.c.job_id == SHARDS.c.job_id) & (LEASES.c.number == SHARDS.c.number))
    .join(JOBS, JOBS.c.job_id == LEASES.c.job_id)
)
_OF_LEASE: Final = Prepared(_PLACE.where(LEASES.c.lease_id == bindparam("the_lease")))
_ACTIVE: Final = _PLACE.where(IS_ACTIVE).order_by(LEASES.c.sequence)
_UNDER_WAY: Final = Prepared(_ACTIVE.limit(bindparam("most")))
_OF_PROVIDER: Final = Prepared(_ACTIVE.where(LEASES.c.provider == bindparam("the_provider")))


def of_lease(reader: Reader, lease_id: str) -> Place | None:
    """None where there is no such lease."""
    row = reader.execute(_OF_LEASE, {"the_lease": lease_id}).mappings().one_or_none()
    return None if row is None else _place_of(row)


def under_way(reader: Reader, *, limit: int) -> Sequence[Place]:
    """Of all active leases, the oldest first."""
    return [_place_of(row) for row in reader.execute(_UNDER_WAY, {"most": limit}).mappings()]


def of_provider(reader: Reader, provider: str) -> Sequence[Place]:
    """Of a provider's active leases."""
    return [_place_of(row) for row in reader.execute(_OF_PROVIDER, {"the_provider": provider}).mappings()]


def _place_of(row: Mapping[str, Any]) -> Place:
    lease, shard, job = (
        {name: row[labelled] for name, labelled in _NAMES[prefix]} for prefix in ("lease", "shard", "job")
    )
    return Place(lease_of(lease), shard_of(shard), job_of(job))
