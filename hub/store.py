"""Every query on the hub's tables. SQLite by default, PostgreSQL by its URL.

A job goes queued → verified → done, or ends as failed. A row is committed before what it announces happens: the job
before it is dispatched, the attempt before the provider is called, the receipt before it is attested. So whatever
moment a crash hits, the next start knows what was under way.
"""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, suppress
from typing import Any, Final

from sqlalchemy import create_engine, delete, event, func, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from hub.errors import HubConfigurationError
from hub.tables import AttemptRow, Base, ClientNonceRow, IdentityRow, JobRow, JobState, ReceiptRow

_SCHEMA_VERSION: Final = 1
_BUSY_TIMEOUT_MS: Final = 10_000
_IS_WRITING: Final = "is_writing"
_NONCE_GRACE_S: Final = 3_600  # A clock that is set back by less takes no expired request for a fresh one.


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class Store:
    """The open database. Every method is one transaction; all are safe in any thread. Rows come back detached."""

    def __init__(self, url: str) -> None:
        """Opens or creates the database at an SQLAlchemy URL; raises HubConfigurationError where that is no use."""
        try:
            # The parameters of a statement that fails would stand in the log, prompts among them.
            self._engine = create_engine(url, hide_parameters=True)
            if self._engine.dialect.name == "sqlite":
                _use_durable_sqlite(self._engine)
            Base.metadata.create_all(self._engine)
        except (SQLAlchemyError, ImportError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise HubConfigurationError(f"cannot use the hub's database: {reason}") from None
        self._readers = sessionmaker(self._engine, expire_on_commit=False)
        writing = self._engine.execution_options(**{_IS_WRITING: True})
        self._writers = sessionmaker(writing, expire_on_commit=False)

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()

    def _reading(self) -> AbstractContextManager[Session]:
        return self._readers.begin()

    def _writing(self) -> AbstractContextManager[Session]:
        return self._writers.begin()

    def claim(self, *, hub_id: str, chain_id: int, genesis_hash: str) -> None:
        """Binds a new database to this hub and network; raises HubConfigurationError where it belongs to others."""
        with self._writing() as session:
            identity = session.get(IdentityRow, 1)
            if identity is None:
                identity = IdentityRow(
                    id=1,
                    schema_version=_SCHEMA_VERSION,
                    hub_id=hub_id,
                    chain_id=chain_id,
                    genesis_hash=genesis_hash,
                )
                session.add(identity)
        if identity.schema_version != _SCHEMA_VERSION:
            raise HubConfigurationError(
                f"the hub's database has schema {identity.schema_version}, not {_SCHEMA_VERSION}"
            )
        if (identity.hub_id, identity.chain_id, identity.genesis_hash) != (hub_id, chain_id, genesis_hash):
            raise HubConfigurationError(
                f"the data folder belongs to hub {identity.hub_id} on chain {identity.chain_id} (genesis "
                f"{identity.genesis_hash}), not to hub {hub_id} on chain {chain_id} (genesis {genesis_hash}); "
                "use another --data-dir"
            )

    # Jobs

    def add_job(self, job: JobRow, nonce: ClientNonceRow | None = None) -> None:
        """Both, or neither.

        Raises sqlalchemy.exc.IntegrityError where idempotency key, signed request or nonce was used before.
        """
        with self._writing() as session:
            session.add(job)
            if nonce is not None:
                forgotten_before = now_ms() // 1_000 - _NONCE_GRACE_S
                session.execute(delete(ClientNonceRow).where(ClientNonceRow.expiry < forgotten_before))
                session.add(nonce)

    def job(self, job_id: str) -> JobRow | None:
        """The job with its attempts and receipt."""
        with self._reading() as session:
            return session.scalar(select(JobRow).where(JobRow.job_id == job_id))

    def job_of_idempotency_key(self, owner: str, key: str) -> JobRow | None:
        """What this owner's earlier request with the same key became."""
        with self._reading() as session:
            return session.scalar(select(JobRow).where(JobRow.owner == owner, JobRow.idempotency_key == key))

    def jobs_of_owner(self, owner: str, *, before: int | None, limit: int) -> Sequence[JobRow]:
        """Newest first, those with a sequence number below `before`."""
        query = select(JobRow).where(JobRow.owner == owner).order_by(JobRow.sequence.desc()).limit(limit)
        if before is not None:
            query = query.where(JobRow.sequence < before)
        with self._reading() as session:
            return session.scalars(query).all()

    def unfinished_jobs(self) -> Sequence[JobRow]:
        """Jobs that an earlier process left behind, oldest first."""
        query = select(JobRow).where(JobRow.state.in_((JobState.QUEUED, JobState.VERIFIED))).order_by(JobRow.sequence)
        with self._reading() as session:
            return session.scalars(query).all()

    def fail_job(self, job_id: str, *, reason: str, detail: str) -> None:
        """Ends a job without a picture."""
        with self._writing() as session:
            job = _existing(session, job_id)
            job.state, job.prompt, job.ended_at_ms = JobState.FAILED, None, now_ms()
            job.failure_reason, job.failure_detail = reason, detail
        self._empty_log()

    # Attempts

    def begin_attempt(self, attempt: AttemptRow) -> None:
        """Committed before the provider is called; fills in `sequence`."""
        with self._writing() as session:
            session.add(attempt)

    def end_attempt(self, sequence: int, *, outcome: str, detail: str | None) -> None:
        """How a provider's turn ended without a verified answer."""
        with self._writing() as session:
            attempt = session.get_one(AttemptRow, sequence)
            attempt.outcome, attempt.detail, attempt.ended_at_ms = outcome, detail, now_ms()

    # Receipts

    def keep_verified(self, attempt_sequence: int, receipt: ReceiptRow) -> None:
        """The attempt's success, its receipt and the job's new state, together."""
        with self._writing() as session:
            attempt = session.get_one(AttemptRow, attempt_sequence)
            attempt.outcome, attempt.ended_at_ms = "ok", now_ms()
            session.add(receipt)
            _existing(session, receipt.job_id).state = JobState.VERIFIED

    def keep_attestation(self, job_id: str, attestation: str) -> None:
        """The job is done; delivery and the look-out for the mint begin now."""
        now = now_ms()
        with self._writing() as session:
            receipt = session.get_one(ReceiptRow, job_id)
            receipt.attestation, receipt.attested_at_ms = attestation, now
            receipt.next_delivery_ms = receipt.next_mint_check_ms = now
            job = _existing(session, job_id)
            job.state, job.prompt, job.ended_at_ms = JobState.DONE, None, now
        self._empty_log()

    def due_deliveries(self, limit: int) -> Sequence[ReceiptRow]:
        """Attested receipts whose next delivery is due, the longest waiting first."""
        query = (
            select(ReceiptRow)
            .where(ReceiptRow.next_delivery_ms <= now_ms())
            .order_by(ReceiptRow.next_delivery_ms)
            .limit(limit)
        )
        with self._reading() as session:
            return session.scalars(query).all()

    def note_delivery(self, job_id: str, *, error: str | None, next_ms: int | None) -> None:
        """The outcome of one delivery: no error means that the provider has it; `next_ms` None ends the attempts."""
        with self._writing() as session:
            receipt = session.get_one(ReceiptRow, job_id)
            receipt.delivery_attempts += 1
            receipt.delivery_error = error
            # A mint that was seen meanwhile has ended the attempts.
            receipt.next_delivery_ms = None if receipt.mint_transaction is not None else next_ms
            if error is None:
                receipt.delivered_at_ms = now_ms()

    def due_mint_checks(self, limit: int) -> Sequence[ReceiptRow]:
        """Attested receipts whose mint has not been seen, and that are due for a look."""
        query = (
            select(ReceiptRow)
            .where(ReceiptRow.next_mint_check_ms <= now_ms())
            .order_by(ReceiptRow.next_mint_check_ms)
            .limit(limit)
        )
        with self._reading() as session:
            return session.scalars(query).all()

    def postpone_mint_check(self, job_id: str, next_ms: int) -> None:
        """Nothing was found; look again then."""
        with self._writing() as session:
            session.get_one(ReceiptRow, job_id).next_mint_check_ms = next_ms

    def keep_mint(self, job_id: str, *, transaction_hash: str, height: int) -> None:
        """The mint is final. What is minted needs no delivery any more, whoever sent it."""
        with self._writing() as session:
            receipt = session.get_one(ReceiptRow, job_id)
            receipt.mint_transaction, receipt.mint_height = transaction_hash, height
            receipt.next_mint_check_ms = receipt.next_delivery_ms = None

    def count_undelivered(self) -> int:
        """Attested receipts that their provider does not have yet."""
        with self._reading() as session:
            query = select(func.count()).select_from(ReceiptRow).where(ReceiptRow.next_delivery_ms.is_not(None))
            return session.scalar(query) or 0

    def _empty_log(self) -> None:
        """Empties SQLite's write-ahead log: a prompt that was erased from its table would go on standing there."""
        if self._engine.dialect.name != "sqlite":
            return
        # What is committed is safe without it, and the next job that ends does it again.
        with suppress(SQLAlchemyError, sqlite3.Error), closing(self._engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _existing(session: Session, job_id: str) -> JobRow:
    return session.scalars(select(JobRow).where(JobRow.job_id == job_id)).one()


def _use_durable_sqlite(engine: Engine) -> None:
    """A write-ahead log that is synced at every commit, and transactions that begin when we say so.

    A writer takes the lock at once: one that read first and asked for the lock later would be refused, not kept
    waiting, if another had written meanwhile.
    """

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's sqlite3 would begin transactions by rules of its own.
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {_BUSY_TIMEOUT_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get(_IS_WRITING, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")
