"""What is still open of what a provider has brought: whoever leaves before it is nothing may miss a question."""

from typing import Final

from sqlalchemy import BindParameter, bindparam, exists, func, literal_column, select

from hub.store.leases import IS_ACTIVE
from hub.store.statements import Prepared
from hub.store.tables.jobs import JOBS, LEASES, RESULTS, SHARDS
from hub.store.tables.providers import CHECKS
from hub.store.tables.receipts import RECEIPTS
from hub.store.transaction import Reader

_PROVIDER: Final[BindParameter[str]] = bindparam("the_provider")
_LEASES: Final = select(func.count()).select_from(LEASES).where(IS_ACTIVE, LEASES.c.provider == _PROVIDER)
_CHECKS: Final = (
    select(func.count()).select_from(CHECKS).where(CHECKS.c.verdict.is_(None), CHECKS.c.provider == _PROVIDER)
)
_JOBS: Final = (
    select(func.count())
    .select_from(JOBS)
    .where(
        JOBS.c.ended_at_ms.is_(None),
        # By job: what is open is little, what a provider has brought in all its days is much.
        exists().where(
            SHARDS.c.job_id == JOBS.c.job_id,
            RESULTS.c.lease_id == SHARDS.c.lease_id,
            RESULTS.c.job_id == JOBS.c.job_id,
            RESULTS.c.provider == _PROVIDER,
        ),
        # A window may last for days, and nobody is asked anything in it but for a new suspicion.
        ~exists().where(RECEIPTS.c.job_id == JOBS.c.job_id, RECEIPTS.c.window_until_ms > bindparam("now")),
    )
)
_ATTESTATIONS: Final = (
    select(func.count())
    .select_from(RECEIPTS)
    .where(
        RECEIPTS.c.next_delivery_ms.is_not(None),
        RECEIPTS.c.delivered_at_ms.is_(None),
        # An expression, as SQLite would else go through all receipts that this provider ever had.
        literal_column("receipts.provider || ''") == _PROVIDER,
    )
)
OUTSTANDING: Final = Prepared(
    select(
        _LEASES.scalar_subquery().label("leases"),
        _CHECKS.scalar_subquery().label("checks"),
        _JOBS.scalar_subquery().label("jobs"),
        _ATTESTATIONS.scalar_subquery().label("attestations"),
    )
)


def of_provider(reader: Reader, provider: str, now_ms: int) -> dict[str, int]:
    """By the names of `chain.primitives.hub_messages.Outstanding`, which says what each counts; as of one moment."""
    return dict(reader.execute(OUTSTANDING, {"the_provider": provider, "now": now_ms}).mappings().one())
