"""Jobs of the hub's own, at idle times, sent to one provider each: their answers are known, or will be.

The first job with a prompt is examined by others, whatever its provider's standing. Once it has passed, the same run
goes to providers that have not had it: whether they are right needs nobody else. To a provider both look like any other
job: size, steps and guidance are those of a client's, and its receipt is attested and pays.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from chain.client import NodeError
from chain.primitives.hexadecimal import parse_address, to_checksum_address
from chain.primitives.types import Address, Hash32
from chain.primitives.worker_fields import PictureRun, ProfileClaim
from hub.artifacts import Artifacts
from hub.errors import HubConfigurationError
from hub.jobs.accepting import Acceptance, Client, NotNow, OwnJob, QueueFull, TooLate
from hub.jobs.ending import CANARY_FACT
from hub.jobs.queueing import Queue
from hub.jobs.roster import Roster
from hub.orders.moderation import ModerationUnavailable, PromptRefused
from hub.orders.pricing import NobodyServes
from hub.orders.request import MAX_PROMPT_CHARACTERS, MAX_SEED, JobRequest
from hub.store import checks, jobs, results
from hub.store.errors import QuotaExceeded, StoreError
from hub.store.jobs import Job, JobState
from hub.store.providers import Standing
from hub.store.quotas import QuotaLimits
from hub.store.results import ResultState
from hub.store.store import Store
from hub.store.transaction import Reader
from hub.verification import canaries
from hub.verification.canaries import KnownAnswer
from hub.verification.sampling import Draws, SamplingKey
from hub.workers.desk import WorkerView
from hub.workers.workers import Workers

OWNER: Final = "(hub)"
"""Whose these jobs are: no API key can have this name."""
_PSEUDONYMS: Final = 4
_ROUND_S: Final = 1.0
_REMEMBERED: Final = 256
"""Jobs of the hub's own that are looked through for known answers."""
_MOST_WISHES: Final = 1_000
_SHAPE: Final = ("width", "height", "steps", "guidance")

_SUBJECTS: Final = (
    "a lighthouse", "an old bicycle", "a red fox", "a bowl of cherries", "a sailing boat", "a stone bridge",
    "a grandfather clock", "an owl", "a greenhouse", "two chairs", "a lemon tree", "a mountain hut",
)  # fmt: skip
_PLACES: Final = (
    "by the sea", "in the snow", "at dusk", "in a narrow street", "on a wooden table", "in morning fog",
    "under a starry sky", "in a field of poppies", "after the rain", "in an empty hall",
)  # fmt: skip
_STYLES: Final = (
    "oil painting", "watercolour", "35 mm photograph", "pencil drawing", "woodcut", "soft light, detailed",
    "in the style of a children's book", "wide angle",
)  # fmt: skip

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.canaries")


class Wishes:
    """Which providers a canary is due for: drawn from the receipts of what they deliver. In memory."""

    def __init__(self, key: SamplingKey, rates: Mapping[str, float], roster: Roster) -> None:
        """`rates`: by standing."""
        self._key = key
        self._rates = rates
        self._roster = roster
        self._due: dict[Address, Draws] = {}

    def note(self, provider: Address, receipt_hash: Hash32, job: Job) -> None:
        """It has delivered this; work of the hub's own brings no more of it."""
        if CANARY_FACT in job.facts or len(self._due) >= _MOST_WISHES:
            return
        record = self._roster.record(provider)
        standing = Standing.NEW if record is None else record.standing
        draws = self._key.draws(receipt_hash)
        if canaries.is_due(draws, self._rates[str(standing)]):
            self._due[provider] = draws

    def due(self) -> Mapping[Address, Draws]:
        """As of now."""
        return dict(self._due)

    def drop(self, provider: Address) -> None:
        """It was sent, or cannot be."""
        self._due.pop(provider, None)


@dataclass(frozen=True, slots=True)
class CanaryOptions:
    """What the operator has set."""

    per_day: int
    prompts: Sequence[str]
    """One of these; none: of our own making, which whoever reads this file can tell."""
    secret: bytes
    """Of the pseudonyms."""


def read_prompts(path: Path) -> tuple[str, ...]:
    """One a line, of a file; raises HubConfigurationError."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise HubConfigurationError(f"cannot read {path}: {error}") from None
    prompts = tuple(line for line in lines if line)
    if not prompts or any(len(prompt) > MAX_PROMPT_CHARACTERS for prompt in prompts):
        raise HubConfigurationError(f"{path} must have a prompt a line, of at most {MAX_PROMPT_CHARACTERS} characters")
    return prompts


@dataclass(frozen=True, slots=True)
class _Kept:
    """An earlier job of the hub's own whose answer has passed."""

    job: Job
    answer: KnownAnswer


class Canaries:
    """The loop; in every process, for the providers that are connected to it."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        roster: Roster,
        queue: Queue,
        acceptance: Acceptance,
        wishes: Wishes,
        options: CanaryOptions,
    ) -> None:
        self._store = store
        self._workers = workers
        self._roster = roster
        self._queue = queue
        self._acceptance = acceptance
        self._wishes = wishes
        self._options = options

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_ROUND_S)
            for provider, draws in self._wishes.due().items():
                await self._follow(provider, draws)

    async def _follow(self, provider: Address, draws: Draws) -> None:
        """Sends it once nobody waits for anything and the provider has nothing to do."""
        view = self._workers.view(provider)
        if view is None or view.suspension is not None or view.is_draining or not self._options.per_day:
            self._wishes.drop(provider)
            return
        await self._queue.look()
        if self._queue.pictures or view.leased_pictures:
            return
        self._wishes.drop(provider)
        try:
            await self._send(view, draws)
        except (NobodyServes, QueueFull, NotNow, TooLate, PromptRefused, QuotaExceeded) as refusal:
            _log.info("no_canary", provider=to_checksum_address(provider), detail=str(refusal))
        except (NodeError, ModerationUnavailable, StoreError) as error:
            _log.warning("canary_failed", provider=to_checksum_address(provider), detail=str(error))

    async def _send(self, view: WorkerView, draws: Draws) -> None:
        kept = {each.answer.run: each for each in await self._store.read(_kept)}
        models = frozenset(view.models)
        known = canaries.choose([each.answer for each in kept.values()], view.address, models, draws)
        if known is not None:
            source = kept[known.run].job
            request, of = _again(source), source.job_id
        else:
            fresh = await self._fresh(sorted(models), draws)
            if fresh is None:
                return
            request, of = fresh, None
        number = draws.choose("pseudonym", range(_PSEUDONYMS), 1)[0]
        name = hmac.digest(self._options.secret, b"canary/%d" % number, hashlib.sha256).hex()[:8]
        own = OwnJob(
            client=f"client-{name}",
            only=view.address,
            facts={CANARY_FACT: {"of": of, "prompt": request.prompt}},
        )
        limits = QuotaLimits(jobs=self._options.per_day)
        job_id = await self._acceptance.accept(Client(OWNER, limits), request, None, own=own)
        _log.info("canary_sent", job_id=job_id, provider=to_checksum_address(view.address), is_known=of is not None)

    async def _fresh(self, models: Sequence[str], draws: Draws) -> JobRequest | None:
        """As somebody has asked for lately; None where nobody has."""
        for model in draws.choose("model", models, len(models)):
            shape = await self._store.read(lambda r, model=model: jobs.newest_request(r, model, but_of=OWNER))  # type: ignore[misc]
            if shape is not None:
                return JobRequest(
                    prompt=self._prompt(), seed=secrets.randbelow(MAX_SEED + 1), model=model, **_of(shape)
                )
        return None

    def _prompt(self) -> str:
        if self._options.prompts:
            return secrets.choice(self._options.prompts)
        return ", ".join((f"{secrets.choice(_SUBJECTS)} {secrets.choice(_PLACES)}", secrets.choice(_STYLES)))


def _of(request: Mapping[str, Any]) -> dict[str, Any]:
    return {name: request[name] for name in _SHAPE if name in request}


def _again(job: Job) -> JobRequest:
    """The same run."""
    return JobRequest(prompt=job.facts[CANARY_FACT]["prompt"], seed=job.seed, model=job.model, **_of(job.request))


def _kept(reader: Reader) -> list[_Kept]:
    """Newest first."""
    own = jobs.of_owner(reader, OWNER, limit=_REMEMBERED)
    asked: dict[str, list[Job]] = {}
    for job in own:
        of = job.facts[CANARY_FACT]["of"]
        asked.setdefault(job.job_id if of is None else of, []).append(job)
    found = []
    for job in own:
        if job.facts[CANARY_FACT]["of"] is None and job.state == JobState.DONE:
            answer = _answer(reader, job, asked[job.job_id])
            if answer is not None:
                found.append(_Kept(job, answer))
    return found


def _answer(reader: Reader, job: Job, asked: Sequence[Job]) -> KnownAnswer | None:
    """Of a job whose examination has passed, without the picture itself; `asked` are those of the same run."""
    looks = checks.of_job(reader, job.job_id)
    claim = _claim_of(reader, job.job_id)
    if claim is None or [look.verdict for look in looks] != [checks.Verdict.PASSED]:
        return None
    names = {str(vote["checker"]) for vote in looks[0].evidence.get("votes", [])}
    names |= {name for each in asked for name in jobs.providers_of(reader, each.job_id)}
    had_by = frozenset(parse_address(name) for name in names)
    request = job.request
    run = PictureRun(
        model=job.model or "",
        prompts=(job.facts[CANARY_FACT]["prompt"],),
        steps=request["steps"],
        guidance=request["guidance"],
        width=request["width"],
        height=request["height"],
        seed=job.seed,
    )
    return KnownAnswer(run, b"", claim, None, had_by, uses=len(asked) - 1)


def _claim_of(reader: Reader, job_id: str) -> ProfileClaim | None:
    """What the provider of its one picture has declared."""
    for result in results.of_job(reader, job_id):
        profiles = result.facts.get("profiles", [])
        if result.state == ResultState.ACCEPTED and profiles:
            return msgspec.convert(profiles[0], ProfileClaim)
    return None


async def known_answer(store: Store, artifacts: Artifacts, job_id: str, run: PictureRun) -> KnownAnswer | None:
    """The picture that this earlier job of the hub's own has; None where it is gone."""
    claim, rows = await store.read(lambda r: (_claim_of(r, job_id), results.pictures(r, job_id)))
    content = await artifacts.read(rows[0].sha256) if rows else None
    if claim is None or content is None:
        return None
    return KnownAnswer(run, content, claim, None, frozenset())
