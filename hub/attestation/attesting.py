"""The loop that has receipts of this hub's jobs signed, once everything that speaks against them had its time.

Each step is in the database before the next, and each may be done again: the same receipt gives the same signature.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from chain.primitives.client_request import ClientRequest
from chain.primitives.hexadecimal import parse_address, to_checksum_address, to_hex
from chain.primitives.receipt import Receipt, kept_receipt
from chain.primitives.rejection import Rejected
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.types import ZERO_ADDRESS, Address
from hub.attestation.chain import AttestationChain
from hub.attestation.disputes import Endings, refuse
from hub.attestation.errors import NeverAttested, NotEndorsed, NotYet, PartsRefused
from hub.attestation.evidence import Evidence, Part
from hub.attestation.examining import Bounds, check_claims
from hub.attestation.forms import FEE_FACT, Fee, fee_of, in_order
from hub.attestation.gathering import Gatherer, Wanted
from hub.attestation.metrics import AttestationMetrics
from hub.attestation.showing import Room, showing
from hub.store import audit, checks, jobs, receipts, results
from hub.store.errors import AlreadyUsed, StoreError
from hub.store.jobs import Job
from hub.store.locks import hold_open_job
from hub.store.locks import job as job_row
from hub.store.receipts import Form
from hub.store.results import Picture, Result
from hub.store.store import Store, now_ms
from hub.store.transaction import Transaction

_BATCH: Final = 64
_CONCURRENT: Final = 16
_IDLE_S: Final = 5.0
_FIRST_RETRY_S: Final = 0.5
_LONGEST_RETRY_S: Final = 300.0
_MOST_AGE_S: Final = 90 * 86_400
"""Of this hub's own receipts: its operator has set how long its jobs and windows are, and there may be four windows."""
_PLACE: Final = re.compile(r"(parts|pictures)\[(\d{1,3})\]")

_OWN_BOUNDS: Final = Bounds(oldest_s=_MOST_AGE_S, longest_s=_MOST_AGE_S)

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.attestation")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job's client asked for: the request that is hashed, and the parameters in it."""

    request: ClientRequest
    parameters: RequestParameters


AskedOf = Callable[[Job], Asked]


class PictureStore(Protocol):
    """Where pictures' bytes lie."""

    async def read(self, sha256: str) -> bytes | None:
        """Those with this SHA-256 (64 digits), None where they are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestingSettings:
    """The hub's own receipts."""

    chain_id: int
    fee_recipient: Address = ZERO_ADDRESS
    fee_basis_points: int = 0
    """Of what a settlement pays to providers; nothing is taken of what is minted."""
    give_up_s: float = 2 * 86_400
    """So long after its window, missing signatures are given up, and the job fails: receipts get too old for others."""
    bounds: Bounds = _OWN_BOUNDS


@dataclass(slots=True)
class _Waiting:
    failures: int
    next_at_s: float


class Attesting:
    """One per hub process: several may sign the same receipt, which gives the same signature."""

    def __init__(
        self,
        settings: AttestingSettings,
        *,
        store: Store,
        chain: AttestationChain,
        gatherer: Gatherer,
        endings: Endings,
        asked_of: AskedOf,
        pictures: PictureStore,
        metrics: AttestationMetrics,
    ) -> None:
        self._settings = settings
        self._store = store
        self._chain = chain
        self._gatherer = gatherer
        self._endings = endings
        self._asked_of = asked_of
        self._pictures = pictures
        self._metrics = metrics
        self._room = Room()
        self._waiting: dict[str, _Waiting] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with self._store.announcements.subscribe(receipts.ATTESTATION_TOPIC) as changes:
            while True:
                try:
                    pause_s = await self.attest_due()
                except StoreError as error:
                    _log.warning("attesting_paused", detail=str(error))
                    pause_s = 1.0
                if pause_s > 0:
                    await changes.wait(pause_s)

    async def attest_due(self) -> float:
        """Signs what is due; how long nothing else is, in seconds."""
        now, most = now_ms(), _BATCH + len(self._waiting)
        due, window_ms = await self._store.read(
            lambda c: (receipts.due_for_attestation(c, now, limit=most), receipts.next_window_ms(c, now))
        )
        self._metrics.waiting.set(len(due))
        self._waiting = {each.job_id: self._waiting[each.job_id] for each in due if each.job_id in self._waiting}
        now_s = time.monotonic()
        ready = [
            each for each in due if each.job_id not in self._waiting or self._waiting[each.job_id].next_at_s <= now_s
        ]
        turns = asyncio.Semaphore(_CONCURRENT)

        async def attest(receipt: receipts.Receipt) -> None:
            async with turns:
                await self._attest(receipt)

        await asyncio.gather(*(attest(receipt) for receipt in ready))
        if len(ready) >= _BATCH:
            return 0.0
        soonest_s = min((each.next_at_s for each in self._waiting.values()), default=now_s + _IDLE_S)
        window_s = _IDLE_S if window_ms is None else (window_ms - now_ms()) / 1_000
        return max(0.02, min(_IDLE_S, soonest_s - time.monotonic(), max(0.02, window_s)))

    async def _attest(self, receipt: receipts.Receipt) -> None:
        try:
            await self._sign(receipt)
        except NotYet as later:
            self._postpone(receipt, later)
            due_since_ms = max(receipt.kept_at_ms, receipt.window_until_ms)
            if now_ms() - due_since_ms > self._settings.give_up_s * 1_000:
                await self._never(receipt, NeverAttested("attestation_late", f"no attestation in time: {later.detail}"))
        except PartsRefused as refused:
            await self._drop(receipt, refused)
        except (NeverAttested, NotEndorsed) as never:
            await self._never(receipt, never)
        except AlreadyUsed as used:  # Another process has kept another signature: a remote signer draws its own nonces.
            _log.info("attested_elsewhere", job_id=receipt.job_id, detail=str(used))
            self._postpone(receipt, NotYet("attested_elsewhere", str(used), _FIRST_RETRY_S))
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - one receipt that cannot be handled must not stop all others
            _log.exception("attesting_failed", job_id=receipt.job_id)
            self._postpone(receipt, NotYet("internal", "see the log", _FIRST_RETRY_S))
        else:
            self._waiting.pop(receipt.job_id, None)

    def _postpone(self, receipt: receipts.Receipt, later: NotYet) -> None:
        failures = self._waiting[receipt.job_id].failures + 1 if receipt.job_id in self._waiting else 1
        backoff_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2 ** min(failures, 20))
        pause_s = later.retry_after_s if later.reason == "challenge_window" else max(later.retry_after_s, backoff_s)
        self._waiting[receipt.job_id] = _Waiting(failures, time.monotonic() + pause_s)
        _log.info("attestation_waits", job_id=receipt.job_id, reason=later.reason, retry_in_s=round(pause_s, 1))

    async def _drop(self, receipt: receipts.Receipt, refused: PartsRefused) -> None:
        """Others make what these attesters refuse; where that cannot be, the job fails."""

        def unit(transaction: Transaction) -> bool | None:
            if _current(transaction, receipt) is None:
                return None
            dropped = dict.fromkeys(_leases_of(transaction, receipt.job_id, refused), refused.reason)
            job_id, reason, detail = receipt.job_id, refused.reason, refused.detail
            return bool(dropped) and self._endings.withdraw(transaction, job_id, dropped, reason, detail, now_ms())

        is_withdrawn = await self._store.write(unit, first=job_row(receipt.job_id))
        if is_withdrawn:
            self._waiting.pop(receipt.job_id, None)
            _log.warning("receipt_withdrawn", job_id=receipt.job_id, reason=refused.reason, detail=refused.detail)
        elif is_withdrawn is not None:
            await self._never(receipt, NeverAttested(refused.reason, refused.detail))

    async def _never(self, receipt: receipts.Receipt, never: NeverAttested | NotEndorsed) -> None:
        def unit(transaction: Transaction) -> bool:
            current = _current(transaction, receipt)
            if current is None:
                return False
            refuse(transaction, self._endings, current, reason=never.reason, detail=never.detail, now_ms=now_ms())
            return True

        if await self._store.write(unit, first=job_row(receipt.job_id)):
            self._metrics.refused.inc()
            _log.error("attestation_refused", job_id=receipt.job_id, reason=never.reason, detail=never.detail)

    async def _sign(self, kept: receipts.Receipt) -> None:
        attesters = await self._chain.attesters()
        job, found, pictures, known = await self._store.read(
            lambda c: (
                jobs.get(c, kept.job_id),
                results.of_job(c, kept.job_id),
                results.pictures(c, kept.job_id),
                receipts.attestations(c, kept.receipt_hash),
            )
        )
        if job is None or job.ended_at_ms is not None:
            return
        asked = self._asked_of(job)
        receipt = kept_receipt(kept.receipt_json)
        parts = _evidence_parts(kept, found, pictures)
        fee = await self._fee(kept, receipt, asked.request, job)
        wanted = Wanted(kept.form, receipt, asked.request, fee)
        if parts.parts:  # Up to 65 signatures: not on the event loop.
            await asyncio.to_thread(self._check, kept, wanted, asked, parts, attesters.ceiling_atoms)
        else:
            self._check(kept, wanted, asked, parts, attesters.ceiling_atoms)
        signatures = await self._gatherer.gather(
            wanted,
            {parse_address(each.attester): bytes.fromhex(each.signature[2:]) for each in known},
            attesters,
            show=showing(
                self._room,
                parts.pictures,
                self._pictures.read,
                lambda octets: _evidence(wanted, kept, asked, parts, octets),
            ),
            keep=self._keeper(kept),
            begin_signing=lambda: self._begin_signing(kept),
        )
        await self._finish(kept, signatures)

    def _check(self, kept: receipts.Receipt, wanted: Wanted, asked: Asked, parts: "_Parts", ceiling_atoms: int) -> None:
        """What passed verification is looked at once more as a whole: a mistake in composing it must not be signed."""
        if to_hex(wanted.receipt.hash) != kept.receipt_hash:
            raise NeverAttested("wrong_receipt", "the kept receipt has another hash")
        evidence = _evidence(wanted, kept, asked, parts, (b"",) * len(parts.pictures))
        check_claims(
            evidence,
            chain_id=self._settings.chain_id,
            ceiling_atoms=ceiling_atoms,
            bounds=self._settings.bounds,
            now_s=int(time.time()),
        )

    async def _fee(self, kept: receipts.Receipt, receipt: Receipt, request: ClientRequest, job: Job) -> Fee:
        """Decided once, before the first signature: another fee is another settlement, which no attester signs too."""
        if kept.form != Form.SETTLE:
            return Fee()
        decided = fee_of(receipt, request, self._settings.fee_recipient, self._settings.fee_basis_points)

        def unit(transaction: Transaction) -> dict[str, Any]:
            if _current(transaction, kept) is None:
                raise NotYet("withdrawn", "there is another receipt of this job, or it has ended", _FIRST_RETRY_S)
            current = jobs.get(transaction, kept.job_id)
            assert current is not None
            if FEE_FACT not in current.facts:
                jobs.keep_facts(transaction, kept.job_id, **{FEE_FACT: decided.to_object()})
                return dict(decided.to_object())
            return dict(current.facts[FEE_FACT])

        if FEE_FACT in job.facts:
            return Fee.from_object(job.facts[FEE_FACT])
        return Fee.from_object(await self._store.write(unit, first=job_row(kept.job_id)))

    async def _begin_signing(self, kept: receipts.Receipt) -> None:
        """The receipt stays from here on. A signature that nobody withdraws anyhow needs no such note."""
        if not kept.is_withdrawable:
            return

        def unit(transaction: Transaction) -> bool:
            is_current = _current(transaction, kept) is not None
            if not is_current or checks.open_of_job(transaction, kept.job_id):
                return False
            return receipts.begin_signing(transaction, kept.receipt_hash)

        if not await self._store.write(unit, first=job_row(kept.job_id)):
            raise NotYet("withdrawn", "a part of it is looked at again, or is being made again", _FIRST_RETRY_S)

    def _keeper(self, kept: receipts.Receipt) -> Callable[[Address, bytes], Awaitable[None]]:
        async def keep(attester: Address, signature: bytes) -> None:
            await self._store.write(lambda t: _keep_signature(t, kept, attester, signature, now_ms()))

        return keep

    async def _finish(self, kept: receipts.Receipt, signatures: dict[Address, bytes]) -> None:
        attestation = to_hex(in_order(signatures))
        facts = {
            "job_id": kept.job_id,
            "form": kept.form.value,
            "amount": str(kept.amount),
            "attesters": [to_checksum_address(attester) for attester in sorted(signatures)],
        }

        def unit(transaction: Transaction) -> bool:
            now = now_ms()
            if not hold_open_job(transaction, kept.job_id):
                return False  # Disputed meanwhile, or another process was quicker.
            if checks.open_of_job(transaction, kept.job_id):
                return False  # Somebody looks again at a part of it since it was found due: it waits for the verdict.
            if not receipts.attested(transaction, kept.job_id, kept.receipt_hash, attestation, now):
                return False
            for attester, signature in signatures.items():
                _keep_signature(transaction, kept, attester, signature, now)
            audit.append(transaction, "attested", kept.receipt_hash, facts, now)
            self._endings.end_attested(transaction, kept.job_id, now)
            return True

        if await self._store.write(unit, first=job_row(kept.job_id)):
            self._metrics.attested.labels(kept.form.value).inc()
            _log.info("attested", job_id=kept.job_id, receipt_hash=kept.receipt_hash, form=kept.form.value)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Of a split job; and the job's pictures, in their order."""

    parts: tuple[Part, ...]
    pictures: tuple[Picture, ...]


def _evidence_parts(kept: receipts.Receipt, found: Sequence[Result], pictures: Sequence[Picture]) -> _Parts:
    """What each provider signed, and which pictures are whose; raises NeverAttested where they do not fit."""
    counts = {result.lease_id: 0 for result in found}
    for picture in pictures:
        counts[picture.lease_id] += 1
    parts: list[Part] = []
    try:
        for result in found:
            part = kept_receipt(result.receipt_json)
            parts.append(Part(part, bytes.fromhex(result.provider_signature[2:]), counts[result.lease_id]))
    except Rejected as rejected:
        raise NeverAttested("wrong_parts", rejected.message) from None
    is_whole = len(parts) == 1 and to_hex(parts[0].receipt.hash) == kept.receipt_hash
    return _Parts(() if is_whole else tuple(parts), tuple(pictures))


def _current(transaction: Transaction, receipt: receipts.Receipt) -> receipts.Receipt | None:
    """Holds the job's row; None where this is not its receipt any more, or is attested, or the job has ended."""
    if not hold_open_job(transaction, receipt.job_id):
        return None
    current = receipts.get(transaction, receipt.job_id)
    is_other = current is None or current.receipt_hash != receipt.receipt_hash or current.attested_at_ms is not None
    return None if is_other else current


def _leases_of(transaction: Transaction, job_id: str, refused: PartsRefused) -> list[str]:
    """Whose results the refused parts are: of a provider that others do not take work of, all."""
    found, pictures = results.of_job(transaction, job_id), results.pictures(transaction, job_id)
    leases: set[str] = set()
    for field_name in refused.fields:
        place = _PLACE.match(field_name)
        assert place is not None, "the gatherer lets no others through"
        kind, number = place[1], int(place[2])
        if kind == "pictures" and number < len(pictures):
            leases.add(pictures[number].lease_id)
        elif kind == "parts" and number < len(found):
            leases |= {result.lease_id for result in found if result.provider == found[number].provider}
    return sorted(leases)


def _keep_signature(
    transaction: Transaction, kept: receipts.Receipt, attester: Address, signature: bytes, now_ms: int
) -> None:
    receipts.add_attestation(
        transaction,
        kept.receipt_hash,
        attester=to_checksum_address(attester),
        form=kept.form,
        signature=to_hex(signature),
        now_ms=now_ms,
    )


def _evidence(
    wanted: Wanted, kept: receipts.Receipt, asked: Asked, parts: _Parts, pictures: tuple[bytes, ...]
) -> Evidence:
    return Evidence(
        form=wanted.form,
        receipt=wanted.receipt,
        provider_signature=bytes.fromhex(kept.provider_signature[2:]),
        parts=parts.parts,
        request=wanted.request,
        parameters=asked.parameters,
        fee=wanted.fee,
        digests=tuple(bytes.fromhex(picture.sha256) for picture in parts.pictures),
        pictures=pictures,
    )
