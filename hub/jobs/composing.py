"""One receipt for a whole job from the receipts of its shards. Pure."""

from collections.abc import Sequence

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_hash
from chain.primitives.receipt import Receipt, combined_artifact_sha256
from chain.primitives.shards import Shard
from chain.primitives.types import Address
from chain.primitives.units import compute_amount
from hub.jobs.requests import FACT
from hub.store.jobs import Job
from hub.store.results import Result


def signers(parts: Sequence[Receipt]) -> list[Address]:
    """Who may sign the whole: those who made most first, the earlier first where it is equal."""
    units: dict[Address, int] = {}
    for part in parts:
        units[part.provider] = units.get(part.provider, 0) + part.micro_units
    return sorted(units, key=lambda provider: -units[provider])


def signable_since_ms(results: Sequence[Result], now_ms: int) -> int:
    """Since when a whole job's receipt could have been signed: since the last of these was accepted, however long its
    check took."""
    return max(now_ms if result.judged_at_ms is None else result.judged_at_ms for result in results)


def is_whole(job: Job, parts: Sequence[Receipt]) -> bool:
    """Whether the one receipt there is can be the job's. Of a list of prompts cut short, a part's is for some."""
    return len(parts) == 1 and parts[0].prompt_hash == _prompt_hash(job)


def composed(job: Job, parts: Sequence[Receipt], *, provider: Address) -> Receipt:
    """The receipt of shards, in the order of their pictures, for `provider` to sign; raises Rejected.

    Whoever composes it of the same parts for the same provider comes to the same bytes, its nonce included.
    """
    first = parts[0]
    units = sum(part.micro_units for part in parts)
    whole = Receipt(
        job_id=job.job_id,
        provider=provider,
        client=job.client,
        micro_units=units,
        unit_type=first.unit_type,
        model=first.model,
        prompt_hash=_prompt_hash(job),
        request_hash=first.request_hash,
        client_signature=first.client_signature,
        started_at=min(part.started_at for part in parts),
        finished_at=max(part.finished_at for part in parts),
        artifact_sha256=combined_artifact_sha256([bytes.fromhex(part.artifact_sha256) for part in parts]),
        nonce="whole-" + sha256(provider + b"".join(part.hash for part in parts)).hex()[:48],
        hub_id=first.hub_id,
        chain_id=first.chain_id,
        price_per_unit=first.price_per_unit,
        amount=compute_amount(units, first.price_per_unit),
        shards=tuple(
            Shard(
                provider=part.provider,
                micro_units=part.micro_units,
                artifact_sha256=part.artifact_sha256,
                receipt_hash=part.hash,
            )
            for part in parts
        ),
    )
    return whole.checked()


def _prompt_hash(job: Job) -> str:
    return "sha256:" + parse_hash(job.facts[FACT]["prompt_hash"]).hex()
