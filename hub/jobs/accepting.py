"""From a request to a durable job: the same key and body give the same job, whoever of several processes is asked."""

import secrets
import time
from dataclasses import dataclass, replace
from typing import Any, Final

from chain.primitives.client_request import MAX_START_DELAY_S, ClientClaim, ClientRequest
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address, Amount
from hub.attestation.deposits import DepositDesk, Secured, until_s
from hub.chain_view import ChainView
from hub.delivery.calling import Caller
from hub.jobs.granting import new_id
from hub.jobs.queueing import Queue
from hub.jobs.requests import FACT, kept_request
from hub.jobs.roster import Roster
from hub.orders.moderation import Moderation, PromptRefused
from hub.orders.pace import Pace
from hub.orders.pricing import NobodyServes, Offered, offer_for
from hub.orders.quotas import day_of, use_of
from hub.orders.request import MAX_SEED, SALT_BYTES, JobRequest
from hub.orders.signers import SIGNERS
from hub.scheduling.estimates import fleet_seconds, retry_after_s
from hub.scheduling.fairness import FairClock
from hub.scheduling.policies.policy import Policy
from hub.scheduling.workers import Worker
from hub.store import jobs, locks, promises, quotas
from hub.store.errors import AlreadyUsed, QuotaExceeded
from hub.store.jobs import ClientNonce, NewJob
from hub.store.promises import Promise, Underfunded
from hub.store.quotas import QuotaLimits, Spent
from hub.store.shards import NewShard
from hub.store.store import Store, now_ms
from hub.store.transaction import Reader, Transaction
from hub.workers.workers import Workers

_NOT_THE_CLIENTS: Final = 503
"""The status of NobodyServes where it may be otherwise in a moment."""
_SIGNERS_TIMES: Final = 5
"""So many times the estimates of one client, all who have no key are given together."""
_USED_SENTENCES: Final = {
    "idempotency_key": ("idempotency_key_reused", "this key was used for another job", "Idempotency-Key"),
    "client_nonce": ("nonce_used", "the client has used this nonce before", "client_request.nonce"),
    "request_hash": ("request_used", "this signed request is a job already", "client_request"),
}


class Conflict(Exception):
    """What may be used once was used before."""

    def __init__(self, reason: str, message: str, field: str | None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field


class QueueFull(Exception):
    """So much waits that nothing more is taken for now."""

    def __init__(self, after_s: int) -> None:
        super().__init__("more pictures wait than this hub takes at one time")
        self.after_s = after_s


class NotNow(Exception):
    """The hub takes no jobs at present; the message says why."""


class TooLate(Exception):
    """It could not be done by the client's deadline."""

    def __init__(self, ends_s: float) -> None:
        super().__init__(f"it would take about {ends_s:.0f} s")
        self.ends_s = ends_s


class WebhookRefused(Exception):
    """Nobody there would ever be called; the message says why."""


def lasts_s(request: JobRequest, longest_s: float, now_s: float) -> float:
    """How long from now (Unix time) the job may take: what is begun long after a signed request's expiry is attested by
    nobody, so whoever made it would not be paid."""
    asked_s = min(longest_s, request.deadline_s or longest_s)
    return asked_s if request.claim is None else min(asked_s, request.claim.expiry + MAX_START_DELAY_S - now_s)


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: an API key's name, or the address that signed where there is none; and what it may use in a day."""

    owner: str
    limits: QuotaLimits
    together: QuotaLimits | None = None
    """What all who order by signature alone may use in a day; None for an API key."""

    @property
    def budgets(self) -> tuple[tuple[str, QuotaLimits], ...]:
        """Whose quotas a job is taken from; the common one first, so that no two processes wait for each other's."""
        own = (self.owner, self.limits)
        return (own,) if self.together is None else ((SIGNERS, self.together), own)

    @property
    def first_locked(self) -> str:
        """By a unit that takes from them (`hub.store.locks`)."""
        return locks.quota(self.budgets[0][0])

    @property
    def is_bounded(self) -> bool:
        """Whether it has any quota."""
        return self.together is not None or self.limits != QuotaLimits()

    def queues_as(self, request: JobRequest) -> str:
        """Whose fair share it is: addresses cost nothing, so those who do not pay either have one together."""
        return self.owner if self.together is None or request.payment == "escrow" else SIGNERS


@dataclass(frozen=True, slots=True)
class OwnJob:
    """A job of the hub's own, for one provider."""

    client: str
    """As its receipt names it."""
    only: Address
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AcceptanceRules:
    """What the operator has set."""

    hub_id: str
    chain_id: int
    policy: Policy
    max_waiting_pictures: int
    longest_s: float
    """A job's deadline where its client names none, and the latest that one may name."""
    preview_every: int
    estimates_per_minute: int
    """For each client."""


@dataclass(frozen=True, slots=True)
class AcceptanceParts:
    """What is asked before a job is taken, and who is told of it."""

    store: Store
    workers: Workers
    roster: Roster
    queue: Queue
    chain: ChainView
    clock: FairClock
    moderation: Moderation
    deposits: DepositDesk
    caller: Caller


class Acceptance:
    """On the event loop's thread."""

    def __init__(self, parts: AcceptanceParts, rules: AcceptanceRules) -> None:
        self._store = parts.store
        self._workers = parts.workers
        self._roster = parts.roster
        self._queue = parts.queue
        self._chain = parts.chain
        self._clock = parts.clock
        self._moderation = parts.moderation
        self._deposits = parts.deposits
        self._caller = parts.caller
        self._rules = rules
        self._estimates = Pace(rules.estimates_per_minute)

    async def offer(self, client: Client, request: JobRequest) -> Offered:
        """What it would cost and when it would be done; raises Rejected, TooFast, NobodyServes and NotNow."""
        self._signed(request)  # First: nobody can use up what another may ask.
        now_s = time.monotonic()
        self._estimates.check(client.owner, now_s)
        if client.together is not None:
            self._estimates.check(SIGNERS, now_s, times=_SIGNERS_TIMES)
        return (await self._offer(client, request))[0]

    def _signed(self, request: JobRequest) -> tuple[bytes, ClientRequest]:
        """Salt and request; raises Rejected where it is signed, but wrongly."""
        salt = secrets.token_bytes(SALT_BYTES) if request.claim is None else request.claim.salt
        signed = request.to_sign(hub_id=self._rules.hub_id, chain_id=self._rules.chain_id, salt=salt)
        request.check_client_signature(signed, now_s=int(time.time()))
        return salt, signed

    async def _offer(
        self, client: Client, request: JobRequest, only: Address | None = None
    ) -> tuple[Offered, list[Worker]]:
        snapshot = self._chain.snapshot
        if snapshot is None:
            raise NotNow("the chain node does not answer")
        if snapshot.attester_fault is not None:
            raise NotNow(snapshot.attester_fault)
        await self._roster.refresh()
        workers = self._roster.everyone(self._workers.views())
        offered = offer_for(
            request,
            workers if only is None else [worker for worker in workers if worker.address == only],
            await self._queue.look(),
            time.monotonic(),
            policy=self._rules.policy,
            most_atoms=snapshot.receipt_ceiling_atoms,
            rank_s=self._clock.rank_if_admitted_s(
                client.queues_as(request), priority=request.priority, now_s=time.time()
            ),
        )
        return offered, workers

    async def accept(
        self, client: Client, request: JobRequest, idempotency_key: str | None, *, own: OwnJob | None = None
    ) -> str:
        """The job's id, once it is on disk. `own`: of a job of the hub's own.

        Raises Rejected, Conflict, QueueFull, NotNow, TooLate, NobodyServes, PromptRefused, ModerationUnavailable,
        WebhookRefused, QuotaExceeded, Underfunded, NodeError and what the store raises.
        """
        if idempotency_key is not None:
            known = await self._known(client, request, idempotency_key)
            if known is not None:
                return known
        try:
            return await self._take(client, request, idempotency_key, own)
        except (AlreadyUsed, QuotaExceeded, Underfunded) as error:
            if idempotency_key is not None:  # The same once more, at the same time.
                known = await self._known(client, request, idempotency_key)
                if known is not None:
                    return known
            if isinstance(error, AlreadyUsed):
                raise Conflict(*_USED_SENTENCES.get(error.what, (error.what, str(error), None))) from None
            raise

    async def _take(self, client: Client, request: JobRequest, idempotency_key: str | None, own: OwnJob | None) -> str:
        salt, signed = self._signed(request)  # First: nobody else is asked anything for who only pretends to sign,
        secured = await self._check_means(client, request)  # or signs what cannot be taken.
        try:
            offered, workers = await self._judge(client, request, None if own is None else own.only)
        except (PromptRefused, WebhookRefused, TooLate, Rejected, NobodyServes) as error:
            is_outside_asked = self._moderation.asks_outside or request.webhook is not None
            is_its_doing = not isinstance(error, NobodyServes) or error.status != _NOT_THE_CLIENTS
            if is_outside_asked and is_its_doing:
                await self._count_refused(client)
            raise
        claim = request.claim
        job, shard = await self._row(client, request, salt, signed, offered, workers)
        if own is not None:
            job = replace(job, client=own.client, facts={**job.facts, **own.facts})
            others = [to_checksum_address(worker.address) for worker in workers if worker.address != own.only]
            shard = replace(shard, excluded=others)
        nonce = None if claim is None else ClientNonce(request.client or "", to_hex(claim.nonce), claim.expiry)
        now = now_ms()

        def unit(transaction: Transaction) -> None:
            use = use_of(job.images, offered.quote.most_atoms)
            for name, limits in client.budgets:
                quotas.spend(transaction, name, day_of(now), limits, use)
            if secured is not None and claim is not None:
                _reserve(transaction, job, claim, secured, now)
            jobs.add(transaction, job, [shard], idempotency_key=idempotency_key, nonce=nonce, now_ms=now)

        try:
            await self._store.write(unit, first=client.first_locked)
        except Exception:
            # Else whoever repeats a client's request, say, would push that client back.
            self._clock.take_back(client.queues_as(request), shard.rank_step_s * shard.pictures)
            raise
        self._workers.wake()
        return job.job_id

    async def _judge(self, client: Client, request: JobRequest, only: Address | None) -> tuple[Offered, list[Worker]]:
        """By whoever is asked outside, then by what there is here."""
        await self._moderation.check([*request.texts, *([request.negative_prompt] if request.negative_prompt else [])])
        await self._check_webhook(request)
        offered, workers = await self._offer(client, request, only)
        await self._check_room(workers, request)
        self._check_deadline(request, offered)
        return offered, workers

    async def _count_refused(self, client: Client) -> None:
        """A job of the day's quota: others were asked about it, and it is the client's doing that it comes to nothing.

        Raises QuotaExceeded.
        """
        day = day_of(now_ms())

        def unit(transaction: Transaction) -> None:
            for name, limits in client.budgets:
                quotas.spend(transaction, name, day, limits, Spent(jobs=1))

        if client.is_bounded:
            await self._store.write(unit, first=client.first_locked)

    async def _check_means(self, client: Client, request: JobRequest) -> Secured | None:
        """The deposit, where one shall pay. An address costs nothing, and what was signed can be sent again: so it is
        looked first whether nonce, quotas and deposit allow the job. For certain that is found out where it is kept.

        Raises AlreadyUsed, QuotaExceeded, Underfunded and NodeError.
        """
        claim, name = request.claim, request.client
        is_signed = claim is not None and name is not None
        if not is_signed and not client.is_bounded:
            return None
        more = use_of(request.pictures, 0)

        def look(reader: Reader) -> None:
            if claim is not None and name is not None and jobs.is_nonce_used(reader, name, to_hex(claim.nonce)):
                raise AlreadyUsed("client_nonce")
            for key, limits in client.budgets:
                quotas.check(reader, key, day_of(now_ms()), limits, more)

        await self._store.read(look)
        if claim is None or name is None or request.payment != "escrow":
            return None
        secured = await self._deposits.read(name)
        atoms = secured.atoms(until_s(claim.expiry))
        promised = await self._store.read(lambda r: promises.promised(r, name, secured.height))
        if claim.max_price > atoms - promised:
            raise Underfunded(int(claim.max_price), max(0, atoms - promised))
        return secured

    async def _known(self, client: Client, request: JobRequest, key: str) -> str | None:
        """The job of this key; raises Conflict where it is of another body."""
        known = await self._store.read(lambda r: jobs.of_idempotency_key(r, client.owner, key))
        if known is None:
            return None
        fingerprint, job_id = known
        if fingerprint != request.fingerprint():
            raise Conflict(*_USED_SENTENCES["idempotency_key"])
        return job_id

    async def _check_room(self, workers: list[Worker], request: JobRequest) -> None:
        waiting_runs = await self._queue.look()
        too_many = self._queue.pictures + request.pictures - self._rules.max_waiting_pictures
        if too_many > 0:
            runs = max(1, too_many * max(1, len(waiting_runs)) // max(1, self._queue.pictures))
            raise QueueFull(retry_after_s(workers, waiting_runs, time.monotonic(), room=runs))

    async def _check_webhook(self, request: JobRequest) -> None:
        fault = None if request.webhook is None else await self._caller.fault(request.webhook.url)
        if fault is not None:
            raise WebhookRefused(fault)

    def _check_deadline(self, request: JobRequest, offered: Offered) -> None:
        if request.deadline_s is not None and offered.quote.estimate.ends_s > request.deadline_s:
            raise TooLate(offered.quote.estimate.ends_s)

    async def _row(
        self,
        client: Client,
        request: JobRequest,
        salt: bytes,
        signed: ClientRequest,
        offered: Offered,
        workers: list[Worker],
    ) -> tuple[NewJob, NewShard]:
        need, now = offered.need, now_ms()
        fleet_s = fleet_seconds(workers, need, request.pictures)
        queue = client.queues_as(request)
        last_s = None  # What other processes have admitted counts, too.
        if self._store.is_shared and queue == client.owner:
            last_s = await self._store.read(lambda r: jobs.last_finish_s(r, client.owner))
        rank = self._clock.admit(
            queue,
            priority=request.priority,
            pictures=request.pictures,
            fleet_s=fleet_s,
            now_s=now / 1000,
            last_finish_s=last_s,
        )
        snapshot = self._chain.snapshot
        ceiling = Amount(0) if snapshot is None else snapshot.receipt_ceiling_atoms
        limit = request.max_price_atoms
        longest_s = lasts_s(request, self._rules.longest_s, now / 1000)
        facts: dict[str, Any] = {
            FACT: kept_request(signed, request.parameters(salt)),
            "unit_type": need.unit_type,
            "most_atoms": str(ceiling if limit is None else min(limit, ceiling)),
            "preview_every": self._rules.preview_every,
        }
        if request.negative_prompt:
            facts["negative_prompt"] = request.negative_prompt
        if request.webhook is not None:
            facts["webhook"] = {"url": request.webhook.url, "secret": request.webhook.secret}
        job = NewJob(
            job_id=new_id(),
            owner=client.owner,
            client=request.client or client.owner,
            fingerprint=request.fingerprint(),
            prompts=request.texts,
            request=request.kept(),
            images=request.pictures,
            seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
            request_salt=to_hex(salt),
            request_hash=to_hex(signed.hash),
            client_signature=None if request.claim is None else to_hex(request.claim.signature),
            model=need.model,
            priority=request.priority,
            min_vram_mib=request.min_vram_mib,
            max_price_per_unit=request.max_price_per_unit_atoms,
            max_price=limit,
            price_per_unit=need.price_per_unit,
            deadline_ms=now + int(longest_s * 1000),
            is_paid=request.payment == "escrow",
            finish_s=rank.finish_s,
            facts=facts,
        )
        shard = NewShard(
            number=0,
            first_picture=0,
            pictures=request.pictures,
            rank_s=rank.rank_s,
            rank_step_s=rank.rank_step_s,
        )
        return job, shard


def _reserve(transaction: Transaction, job: NewJob, claim: ClientClaim, secured: Secured, now: int) -> None:
    """Sets aside of the client's deposit what it has signed for; raises Underfunded."""
    end_s = until_s(claim.expiry)
    promise = Promise(
        job_id=job.job_id,
        client=job.client,
        request_hash=job.request_hash,
        amount=int(claim.max_price),
        until_s=end_s,
    )
    promises.reserve(transaction, promise, secured_atoms=secured.atoms(end_s), height=secured.height, now_ms=now)
