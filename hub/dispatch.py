"""One job, provider after provider, until an answer holds.

Who is tried: active providers with a key, the model and a fitting price, not benched, in turn; each once, a busy one
again as long as the job's time lasts. A wrong answer benches its provider; the reason is kept, and the next one tried.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from chain.primitives.hexadecimal import parse_address, parse_hash, parse_hex, to_checksum_address
from chain.primitives.types import Address
from hub.bench import Bench
from hub.chain_view import ChainView
from hub.errors import FaultReason, NoProvider, ProviderFault
from hub.metrics import HubMetrics
from hub.provider_client import ProviderClient
from hub.request import JobRequest
from hub.selection import Offer, fits_budget, next_in_turn, offers_model
from hub.settings import HubSettings
from hub.store import Store, now_ms
from hub.tables import AttemptRow, JobRow
from hub.verification import CheckedAnswer, Measured, SentJob, check_answer, max_answer_bytes

_NONCE_BYTES: Final = 16
_BUSY_POLL_S: Final = 0.2  # While all are busy: how soon one whose pause is over is noticed.
_LONGEST_BUSY_PAUSE_S: Final = 5.0  # However long a provider asks for: a place may come free sooner.

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.dispatch")


@dataclass(frozen=True, slots=True)
class Served:
    """A verified answer, who gave it, and the attempt that it ends."""

    answer: CheckedAnswer
    offer: Offer
    attempt_sequence: int


@dataclass(slots=True)
class _Turn:
    """One provider at one job, from the first request until answer or fault; waiting for a busy one is part of it."""

    attempt: AttemptRow
    first_sent_at_s: float
    """Unix time."""
    first_sent_monotonic_s: float
    not_before_monotonic_s: float = 0.0
    """A busy provider is not asked again before that."""

    @classmethod
    def of(cls, attempt: AttemptRow) -> "_Turn":
        """Also for an attempt of an earlier process: its time runs on."""
        sent_at_s = attempt.started_at_ms / 1000
        return cls(attempt, sent_at_s, time.monotonic() - max(0.0, time.time() - sent_at_s))


@dataclass(slots=True)
class _Progress:
    """How far one job has come: open turns, and the faults of providers that had theirs."""

    turns: dict[Address, _Turn] = field(default_factory=dict)
    ended: dict[Address, str] = field(default_factory=dict)

    @classmethod
    def of(cls, job: JobRow) -> "_Progress":
        """What an earlier process began goes on: a provider that has made the picture gives it again."""
        progress = cls()
        for attempt in job.attempts:
            provider = parse_address(attempt.provider)
            if attempt.outcome is None:
                progress.turns[provider] = _Turn.of(attempt)
            else:
                progress.ended[provider] = attempt.outcome
        return progress


class Dispatcher:
    """Runs attempts; keeps whose turn it is and who is benched."""

    def __init__(
        self,
        settings: HubSettings,
        *,
        chain_id: int,
        store: Store,
        chain: ChainView,
        client: ProviderClient,
        keys: Mapping[Address, str],
        metrics: HubMetrics,
    ) -> None:
        self.bench = Bench(failure_s=settings.bench_failure_s, lie_s=settings.bench_lie_s)
        self._settings = settings
        self._chain_id = chain_id
        self._store = store
        self._chain = chain
        self._client = client
        self._keys = keys
        self._metrics = metrics
        self._last_asked: Address | None = None

    def candidates(self, request: JobRequest) -> tuple[list[Offer], int]:
        """The providers that could serve this request, and the most atoms that it may cost.

        Raises NoProvider: as the client's fault (422) where no registered provider offers what it asks.
        """
        snapshot = self._chain.snapshot
        if snapshot is None:
            raise NoProvider("chain_unreachable", "the hub's chain node does not answer; try again later")
        if snapshot.attester_fault is not None:
            raise NoProvider("not_attesting", f"no job is taken now: {snapshot.attester_fault}")
        if snapshot.is_minting_paused:
            raise NoProvider("minting_paused", "no job is taken now: governance has paused minting")
        if not snapshot.offers:
            raise NoProvider("no_provider", "no provider of this hub is registered and active")
        offering = [offer for offer in snapshot.offers if offers_model(offer, request.model)]
        if not offering:
            raise NoProvider("model_not_offered", "no active provider offers this model", status=422, field="model")
        limit_atoms = int(snapshot.receipt_ceiling_atoms)
        if request.max_price_atoms is not None:
            limit_atoms = min(limit_atoms, request.max_price_atoms)
        fitting = [offer for offer in offering if fits_budget(offer, limit_atoms)]
        if not fitting:
            raise NoProvider("price_too_low", "every active provider asks for more", status=422, field="max_price")
        return fitting, limit_atoms

    def check_servable(self, request: JobRequest) -> None:
        """Raises NoProvider where a job would fail at once: as `candidates`, or because all of them are benched."""
        offers, _ = self.candidates(request)
        if all(self.bench.seat(offer.address) is not None for offer in offers):
            raise _all_benched()

    async def run(self, job: JobRow, request: JobRequest) -> Served:
        """A verified answer, or NoProvider when the providers, the attempts or the time are used up."""
        progress = _Progress.of(job)
        try:
            served = await self._serve(job, request, progress)
        except NoProvider:
            await self._close_open_turns(progress)
            raise
        # Not when cancelled: then the next process takes the open turns up.
        await self._close_open_turns(progress)
        return served

    async def _serve(self, job: JobRow, request: JobRequest, progress: _Progress) -> Served:
        deadline = time.monotonic() + self._settings.job_timeout_s
        while time.monotonic() < deadline and len(progress.ended) < self._settings.max_attempts:
            offers, limit_atoms = self.candidates(request)
            waiting = [o for o in offers if o.address not in progress.ended and self.bench.seat(o.address) is None]
            if not waiting:
                break
            offer = self._choose(waiting, progress)
            if offer is None:
                await asyncio.sleep(_BUSY_POLL_S)
                continue
            turn = progress.turns.get(offer.address) or await self._begin(job, offer, progress)
            try:
                answer = await self._ask(job, request, turn, offer, limit_atoms, deadline)
            except ProviderFault as fault:
                await self._note_fault(job, turn, offer, fault, progress)
            else:
                del progress.turns[offer.address]
                self.bench.clear(offer.address)
                self._metrics.attempts.labels("ok").inc()
                return Served(answer, offer, turn.attempt.sequence)
        raise self._exhausted(progress)

    def _choose(self, waiting: list[Offer], progress: _Progress) -> Offer | None:
        """The next one in turn, None while all are busy; those that an earlier process had asked go first."""
        now = time.monotonic()
        turns = progress.turns
        ready = [o for o in waiting if o.address not in turns or turns[o.address].not_before_monotonic_s <= now]
        resumed = [o for o in ready if o.address in turns and turns[o.address].not_before_monotonic_s == 0]
        offer = next_in_turn(resumed or ready, self._last_asked)
        if offer is not None:
            self._last_asked = offer.address
        return offer

    async def _begin(self, job: JobRow, offer: Offer, progress: _Progress) -> _Turn:
        attempt = AttemptRow(
            job_id=job.job_id,
            provider=to_checksum_address(offer.address),
            nonce=secrets.token_hex(_NONCE_BYTES),
            started_at_ms=now_ms(),
        )
        await asyncio.to_thread(self._store.begin_attempt, attempt)
        turn = progress.turns[offer.address] = _Turn.of(attempt)
        return turn

    async def _ask(
        self, job: JobRow, request: JobRequest, turn: _Turn, offer: Offer, limit_atoms: int, deadline: float
    ) -> CheckedAnswer:
        """One call and its verification; ProviderFault."""
        body = await self._client.generate(
            offer.endpoint,
            self._generate_request(job, request, turn, offer),
            max_bytes=max_answer_bytes(request.width, request.height),
            timeout_s=max(0.001, deadline - time.monotonic()),
        )
        measured = Measured(
            sent_at_s=turn.first_sent_at_s,
            received_at_s=time.time(),
            wall_s=time.monotonic() - turn.first_sent_monotonic_s,
            clock_tolerance_s=self._settings.clock_tolerance_s,
            metering_slack_s=self._settings.metering_slack_s,
        )
        sent = SentJob(
            hub_id=self._settings.hub_id,
            chain_id=self._chain_id,
            job_id=job.job_id,
            nonce=turn.attempt.nonce,
            client=job.client,
            request_hash=parse_hash(job.request_hash),
            client_signature=None if job.client_signature is None else parse_hex(job.client_signature),
            prompt=request.prompt,
            prompt_salt=parse_hex(job.request_salt),
            width=request.width,
            height=request.height,
            seed=job.seed,
            model=request.model,
        )
        # In a thread: decoding a picture takes tens of milliseconds.
        return await asyncio.to_thread(
            check_answer, body, job=sent, offer=offer, measured=measured, limit_atoms=limit_atoms
        )

    def _generate_request(self, job: JobRow, request: JobRequest, turn: _Turn, offer: Offer) -> dict[str, Any]:
        return {
            "api_key": self._keys[offer.address],
            "prompt": request.prompt,
            "steps": request.steps,
            "guidance": request.guidance,
            "width": request.width,
            "height": request.height,
            "seed": job.seed,
            "job": {
                "hub_id": self._settings.hub_id,
                "job_id": job.job_id,
                "client": job.client,
                "request_hash": job.request_hash,
                "client_signature": job.client_signature,
                "prompt_salt": job.request_salt,
                "nonce": turn.attempt.nonce,
            },
        }

    async def _note_fault(
        self, job: JobRow, turn: _Turn, offer: Offer, fault: ProviderFault, progress: _Progress
    ) -> None:
        """Keeps the reason and benches the provider; a busy one only waits."""
        log = _log.warning if fault.is_lie else _log.info
        log(
            "attempt_failed",
            job_id=job.job_id,
            provider=turn.attempt.provider,
            reason=fault.reason.value,
            detail=fault.message,
        )
        self._metrics.attempts.labels(fault.reason.value).inc()
        if fault.reason is FaultReason.BUSY:
            pause_s = min(fault.retry_after_s or _BUSY_POLL_S, _LONGEST_BUSY_PAUSE_S)
            turn.not_before_monotonic_s = time.monotonic() + pause_s
            return
        self.bench.put(offer.address, fault)
        progress.ended[offer.address] = fault.reason.value
        del progress.turns[offer.address]
        await asyncio.to_thread(
            self._store.end_attempt, turn.attempt.sequence, outcome=fault.reason.value, detail=fault.message
        )

    async def _close_open_turns(self, progress: _Progress) -> None:
        """Turns that never came beyond `busy`."""
        for turn in progress.turns.values():
            await asyncio.to_thread(
                self._store.end_attempt, turn.attempt.sequence, outcome=FaultReason.BUSY.value, detail=None
            )

    @staticmethod
    def _exhausted(progress: _Progress) -> NoProvider:
        if progress.ended:
            reasons = ", ".join(progress.ended.values())
            return NoProvider("providers_failed", f"no provider gave an answer that holds: {reasons}")
        if progress.turns:
            return NoProvider("providers_busy", "every provider stayed busy for the whole time of this job")
        return _all_benched()


def _all_benched() -> NoProvider:
    return NoProvider("providers_benched", "every provider failed lately and is left alone for now")
