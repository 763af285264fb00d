"""What must be true whatever happened: each job ends once, each unit is paid once or not at all, books balance."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt
from hub.ledger import accounts
from hub.ledger import books as ledger
from hub.store import audit, events, jobs, receipts, results, shards
from hub.store.jobs import ENDED, JobState
from hub.store.shards import ShardState
from hub.store.store import Store
from hub.store.tables.jobs import JOBS
from hub.store.transaction import Reader
from tests.hub.running import Chain, HubProcess, wait_until

ENDS = {str(state) for state in ENDED}


@dataclass(frozen=True)
class Kept:
    """All that the database says of a job."""

    job: jobs.Job
    kinds: list[str]
    """Of its events, in order."""
    parts: list[results.Result]
    receipt: receipts.Receipt | None
    is_whole: bool
    """Whether each of its pictures belongs to one shard, no more and no less."""


@contextmanager
def store_of(hub: HubProcess) -> Iterator[Store]:
    """The database of a hub that runs or does not, opened beside it."""
    url = hub.settings().get("database_url") or f"sqlite:///{hub.folder / 'data' / 'hub.sqlite3'}"
    store = Store(str(url), None)
    try:
        yield store
    finally:
        store.close_now()


def every_job(hub: HubProcess) -> list[str]:
    """Also those of which a client never got an answer, because the hub was killed, and the hub's own."""
    with store_of(hub) as store:
        return store.read_now(_job_ids)


def kept(reader: Reader, job_id: str) -> Kept:
    """Of one job."""
    job = jobs.get(reader, job_id)
    assert job is not None
    work = shards.of_job(reader, job_id)
    covered = Counter(
        number for each in work for number in range(each.first_picture, each.first_picture + each.pictures)
    )
    return Kept(
        job=job,
        kinds=[event.kind for event in events.after(reader, job_id, 0)],
        parts=results.of_job(reader, job_id),
        receipt=receipts.get(reader, job_id),
        is_whole=covered == Counter(range(job.images)) and all(each.state != ShardState.LEASED for each in work),
    )


def check_ended_once(found: Kept) -> None:
    """One end, told once; a receipt of exactly the parts that counted, or none."""
    assert [kind for kind in found.kinds if kind in ENDS] == [str(found.job.state)]
    assert found.kinds[-1] in {str(found.job.state), "on_chain"}
    assert found.job.prompts is None
    assert found.is_whole
    if found.job.state == JobState.DONE:
        assert found.job.pictures_done == found.job.images
        assert found.receipt is not None
    if found.receipt is None:
        return
    whole = Receipt.from_json(found.receipt.receipt_json)
    assert whole.amount == sum(part.amount for part in found.parts)
    assert whole.micro_units == sum(part.micro_units for part in found.parts) == 10**6 * found.job.pictures_done
    if len(found.parts) > 1:
        assert whole.shards is not None
        assert sorted(part.receipt_hash for part in found.parts) == sorted(
            to_hex(shard.receipt_hash or b"") for shard in whole.shards
        )


def check(hub: HubProcess, chain: Chain, providers: Sequence[PrivateKey]) -> None:
    """`providers` have worked for this hub's jobs only, as long as they have accounts; everything attested gets minted.

    A hub has jobs of its own (canaries), which may begin at any moment: what is compared was read while there was none
    that had not ended.
    """
    with store_of(hub) as store:
        books = wait_until(lambda: _still_books(store, chain, providers))
        for each in books.jobs:
            check_ended_once(each)
        for key in providers:
            name = to_checksum_address(key.address)
            found = {"on the chain": books.balances[name], "booked": books.booked[name]}
            assert found == dict.fromkeys(("on the chain", "booked"), books.paid[name])
        assert store.read_now(ledger.trial_balance) == 0
        assert store.read_now(ledger.incomplete_entries) == []
        assert sorted(books.signed) == sorted(receipt.receipt_hash for receipt in books.attested)
        store.read_now(audit.verify)


@dataclass(frozen=True)
class _Books:
    """Of one moment in which nothing was under way. By provider: its balance, what is booked, its receipts' shares."""

    jobs: list[Kept]
    attested: list[receipts.Receipt]
    signed: list[str]
    """Receipts' hashes, by the audit log."""
    balances: dict[str, int]
    booked: dict[str, int]
    paid: Counter[str]


def _still_books(store: Store, chain: Chain, providers: Sequence[PrivateKey]) -> _Books | None:
    """None where something was under way, or has begun meanwhile."""
    found = store.read_now(_all_booked)
    if found is None:
        return None
    attested = [each.receipt for each in found if each.receipt is not None and each.receipt.attestation is not None]
    paid: Counter[str] = Counter()
    for receipt in attested:
        used = chain.node.receipt(receipt.receipt_hash)
        assert used.transaction_hash == receipt.chain_transaction
        for share in used.shares:
            paid[share.provider] += int(share.units)
    earned = store.read_now(lambda r: ledger.balances(r, "provider:"))
    names = {to_checksum_address(key.address): key for key in providers}
    books = _Books(
        jobs=found,
        attested=attested,
        signed=[entry.subject for entry in store.read_now(lambda r: audit.after(r, 0)) if entry.kind == "attested"],
        balances={name: chain.balance(key) for name, key in names.items()},
        booked={name: earned.get(accounts.provider_earnings(name), 0) for name in names},
        paid=paid,
    )
    return books if store.read_now(_job_ids) == [each.job.job_id for each in found] else None


def _job_ids(reader: Reader) -> list[str]:
    return list(reader.execute(select(JOBS.c.job_id).order_by(JOBS.c.sequence)).scalars())


def _all_booked(reader: Reader) -> list[Kept] | None:
    """Every job, once all of them have ended, and all that is attested is on the chain and in the books."""
    found = [kept(reader, job_id) for job_id in _job_ids(reader)]
    for each in found:
        if each.job.ended_at_ms is None:
            return None
        if each.receipt is not None and each.receipt.attestation and each.receipt.chain_transaction is None:
            return None
    return found
