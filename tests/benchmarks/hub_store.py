"""What the hub's database costs a job: every step of it committed, on SQLite and on a real PostgreSQL server.

A job of one picture takes four units of work one after the other: accepted, leased, delivered, and (in one unit) found
good, its receipt kept and attested, its mint booked, an audit entry written, ended. Nothing but the database works
here: no HTTP, no picture, no signature. Many jobs at once share their commits; one alone waits for four syncs.
"""

import asyncio
import itertools
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from hub.ledger import posting
from hub.store import audit, jobs, leases, quotas, receipts, results, shards, waiting
from hub.store.jobs import JobState, NewJob
from hub.store.leases import NewLease
from hub.store.quotas import QuotaLimits, Spent
from hub.store.receipts import Form, NewReceipt
from hub.store.results import NewPicture, NewResult
from hub.store.shards import NewShard
from hub.store.store import HubIdentity, Store, now_ms
from hub.store.transaction import Transaction
from tests.benchmarks.measuring import Reference, Table, milliseconds, percentile
from tests.hub.postgresql import running_server, server_folder

PROVIDER: Final = "0x" + "a" * 40
AT_ONCE: Final = 128
_DAY: Final = "2026-11-23"


@dataclass(frozen=True)
class Figures:
    """Of one run."""

    jobs_per_s: float
    seconds: list[float]
    cpu_s_per_job: float


class Loop:
    """One hub process without anything but its database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._leased: dict[str, asyncio.Future[NewLease]] = {}
        self._numbers = itertools.count()

    async def run(self, count: int, at_once: int) -> Figures:
        """So many jobs, `at_once` of them open at every moment."""
        assigning = asyncio.create_task(self._assign())
        left = iter(range(count))
        seconds: list[float] = []

        async def client() -> None:
            for _ in left:
                started = time.perf_counter()
                await self._job()
                seconds.append(time.perf_counter() - started)

        cpu_started, started = time.process_time(), time.perf_counter()
        clients = asyncio.gather(*(client() for _ in range(at_once)))
        await asyncio.wait((clients, assigning), return_when=asyncio.FIRST_COMPLETED)
        if assigning.done():
            assigning.result()  # It goes on until it is cancelled, unless something is wrong.
        await clients
        took, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        assigning.cancel()
        return Figures(count / took, seconds, cpu / count)

    async def _job(self) -> None:
        number = next(self._numbers)
        job_id = f"2026-11-23-{os.getpid():08x}{number:08x}"
        leased = self._leased[job_id] = asyncio.get_running_loop().create_future()
        await self._store.write(lambda transaction: accept(transaction, job_id))
        lease = await leased
        await self._store.write(lambda transaction: deliver(transaction, lease))
        await self._store.write(lambda transaction: finish(transaction, lease))

    async def _assign(self) -> None:
        async with self._store.announcements.subscribe(shards.WAITING_TOPIC) as changes:
            while True:
                wanted = choose(await self._store.read(lambda reader: waiting.look(reader, limit=AT_ONCE)))
                taken = await self._store.write(partial(waiting.take, wanted=wanted, process="bench", now_ms=now_ms()))
                for item in taken:
                    if item is not None:
                        self._leased.pop(item.lease.job_id).set_result(item.lease)
                if not wanted:
                    await changes.wait()


def accept(transaction: Transaction, job_id: str) -> None:
    """As the API does."""
    job = NewJob(
        job_id=job_id,
        owner="bench",
        client="bench",
        fingerprint="f" * 64,
        prompts=["a red circle on a blue background"],
        request={"steps": 20, "guidance": 7.5, "width": 512, "height": 512, "model": "aitbc/tiny-sd"},
        images=1,
        seed=1,
        request_salt="0x" + "1" * 64,
        request_hash="0x" + "2" * 64,
        model="aitbc/tiny-sd",
    )
    run = NewShard(number=0, first_picture=0, pictures=1, rank_s=time.time())
    quotas.spend(transaction, "bench", _DAY, QuotaLimits(jobs=10**9), Spent(jobs=1, pictures=1))
    jobs.add(transaction, job, [run], idempotency_key=job_id, now_ms=now_ms())


def choose(waits: Sequence[waiting.WaitingShard]) -> list[NewLease]:
    """Everything to one provider."""
    return [
        NewLease(
            lease_id=f"{item.job.job_id}-1",
            job_id=item.job.job_id,
            first_picture=item.shard.first_picture,
            pictures=item.shard.pictures,
            provider=PROVIDER,
            session="bench",
            deadline_ms=now_ms() + 60_000,
        )
        for item in waits
    ]


def deliver(transaction: Transaction, lease: NewLease) -> list[leases.Lease]:
    """As a worker's session does."""
    result = NewResult(
        lease_id=lease.lease_id,
        receipt_hash="0x" + lease.lease_id.encode().hex()[:64].zfill(64),
        receipt_json="{" + "x" * 900 + "}",
        provider_signature="0x" + "3" * 130,
        prompt_salt="0x" + "4" * 64,
        micro_units=5_000_000,
        amount=5 * 10**17,
    )
    picture = NewPicture(picture=0, sha256="5" * 64, bytes=400_000, width=512, height=512, media_type="image/png")
    return results.deliver(transaction, result, [picture], now_ms())


def finish(transaction: Transaction, lease: NewLease) -> None:
    """As verification and attestation do, for a job of which nothing is sampled."""
    now = now_ms()
    receipt_hash = "0x" + lease.job_id.encode().hex()[:64].zfill(64)
    results.accept(transaction, lease.lease_id, now)
    jobs.end(transaction, lease.job_id, JobState.DONE, now_ms=now)
    posting.book_mint(transaction, receipt_hash, [(PROVIDER, 5 * 10**17)], now)
    receipt = NewReceipt(
        job_id=lease.job_id,
        receipt_hash=receipt_hash,
        provider=PROVIDER,
        receipt_json="{" + "x" * 900 + "}",
        provider_signature="0x" + "3" * 130,
        prompt_salt="0x" + "4" * 64,
        micro_units=5_000_000,
        amount=5 * 10**17,
        artifact_sha256="5" * 64,
        form=Form.MINT,
    )
    receipts.keep(transaction, receipt, now, attestation="0x" + "6" * 130)
    audit.append(transaction, "attested", receipt_hash, {"job_id": lease.job_id, "amount": str(5 * 10**17)}, now)


async def measure_store(url: str, jobs_in_all: int) -> tuple[Figures, Figures]:
    """Many jobs at once, and a few one after the other."""
    store = Store(url, HubIdentity("bench", 1, "0x" + "0" * 64))
    try:
        loop = Loop(store)
        await loop.run(AT_ONCE, AT_ONCE)  # Statements are compiled once.
        many = await loop.run(jobs_in_all, AT_ONCE)
        alone = await loop.run(max(20, jobs_in_all // 50), 1)
    finally:
        await store.close()
    return many, alone


def seconds_per_sync(folder: Path, rounds: int = 50) -> float:
    """Of one page written to a file and synced: what no commit is faster than."""
    with (folder / "sync").open("wb", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(rounds):
            file.write(bytes(4_096))
            os.fsync(file.fileno())
        return (time.perf_counter() - started) / rounds


def hub_store(folder: Path, jobs_in_all: int) -> Table:
    """Jobs per second through the database alone, and what it adds to one job."""
    sync_s = seconds_per_sync(folder)
    reference = Reference(random.Random(6))
    rows = [_row("SQLite", f"sqlite:///{folder / 'hub.sqlite3'}", jobs_in_all, reference)]
    if server_folder() is not None:
        with running_server(is_durable=True) as server:
            rows.append(_row("PostgreSQL", server.url(), jobs_in_all, reference))
    columns = (
        "database",
        f"jobs per s, {AT_ONCE} at once",
        "one of them, in recoveries",
        "p50, p99 of one of them",
        "p50, p99 of one alone",
        "CPU per job (hub)",
    )
    return Table(f"The hub's database ({jobs_in_all} jobs; a sync takes {milliseconds(sync_s)})", columns, tuple(rows))


def _row(name: str, url: str, jobs_in_all: int, reference: Reference) -> tuple[str, ...]:
    before_s = reference.seconds_per_recovery()
    many, alone = asyncio.run(measure_store(url, jobs_in_all))
    recovery_s = (before_s + reference.seconds_per_recovery()) / 2

    def both(seconds: list[float]) -> str:
        return f"{milliseconds(percentile(seconds, 0.5))}, {milliseconds(percentile(seconds, 0.99))}"

    return (
        name,
        f"{many.jobs_per_s:.0f}",
        f"{1 / (many.jobs_per_s * recovery_s):.0f}",
        both(many.seconds),
        both(alone.seconds),
        milliseconds(many.cpu_s_per_job),
    )
