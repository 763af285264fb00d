"""The job's one price and when it would be done, or why nobody can serve it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from chain.primitives.hexadecimal import format_ait
from hub.orders.request import JobRequest
from hub.scheduling.filters import Obstacle, is_eligible, obstacle
from hub.scheduling.policies.policy import Policy
from hub.scheduling.pricing import Quote, least_budget, quote
from hub.scheduling.runs import Need, Run
from hub.scheduling.work import picture_work
from hub.scheduling.workers import Worker

_SENTENCES: Final = {
    Obstacle.NO_WORKER: (503, "no_worker", "no provider is connected to this hub at present", None),
    Obstacle.MODEL_NOT_OFFERED: (
        422,
        "unknown_model",
        "no provider of this hub offers this model; where none is named, the hub chooses",
        "model",
    ),
    Obstacle.UNIT_TYPE_DIFFERS: (503, "no_worker", "no provider of this hub can serve this at present", None),
    Obstacle.TOO_LITTLE_VRAM: (422, "too_little_vram", "no provider of this hub has so much memory", "min_vram_mib"),
    Obstacle.OTHER_PROFILE: (503, "no_worker", "no provider of this hub can serve this at present", None),
    Obstacle.ALL_PAUSED: (503, "all_paused", "the providers that could serve this are paused", None),
    Obstacle.ALL_EXCLUDED: (503, "no_worker", "no provider of this hub can serve this at present", None),
}


class NobodyServes(Exception):
    """No provider that is connected can serve this. `status` is HTTP's; `reason` snake_case."""

    def __init__(self, status: int, reason: str, message: str, field: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.field = field


@dataclass(frozen=True, slots=True)
class Offered:
    """What the hub offers a client."""

    need: Need
    """With the job's model, unit type and price."""
    quote: Quote


def need_of(request: JobRequest, model: str) -> Need:
    """What the request demands of a provider, before there is a price."""
    return Need(
        model=model,
        pixels=request.width * request.height,
        work=picture_work(request.width, request.height, request.steps, is_guided=request.guidance > 1),
        min_vram_mib=request.min_vram_mib,
    )


def offer_for(
    request: JobRequest,
    workers: Sequence[Worker],
    waiting: Sequence[Run],
    now_s: float,
    *,
    policy: Policy,
    most_atoms: int,
    rank_s: float,
) -> Offered:
    """The price and the estimate; a client that names no model gets the one that is done soonest. Raises NobodyServes.

    `most_atoms` is the network's ceiling for one receipt, `rank_s` the place in the queue.
    """
    models = [request.model] if request.model is not None else sorted({name for w in workers for name in w.offers})
    if not models:
        raise _nobody(Obstacle.NO_WORKER)
    limit = min(most_atoms, most_atoms if request.max_price_atoms is None else request.max_price_atoms)
    able = _within_unit_price(workers, request.max_price_per_unit_atoms)
    offers: list[Offered] = []
    for model in models:
        need = need_of(request, model)
        found = quote(
            able,
            waiting,
            need,
            request.pictures,
            now_s,
            most_atoms=limit,
            policy=policy,
            rank_s=rank_s,
            priority=request.priority,
        )
        if found is not None:
            priced = msgspec.structs.replace(need, unit_type=found.unit_type, price_per_unit=found.price_per_unit)
            offers.append(Offered(priced, found))
    if offers:
        return min(offers, key=lambda each: (each.quote.estimate.ends_s, each.need.model))
    raise _refusal(request, models, workers, able, most_atoms)


def _within_unit_price(workers: Sequence[Worker], limit: int | None) -> list[Worker]:
    """Each with those of its offers that ask no more."""
    if limit is None:
        return list(workers)
    return [
        msgspec.structs.replace(
            worker, offers={name: offer for name, offer in worker.offers.items() if offer.price_per_unit <= limit}
        )
        for worker in workers
    ]


def _refusal(
    request: JobRequest, models: Sequence[str], workers: Sequence[Worker], able: Sequence[Worker], most_atoms: int
) -> NobodyServes:
    """What is in the way of the models that somebody would serve for enough; where there are none, of the first."""
    needs = [need_of(request, model) for model in models]
    found = {need.model: obstacle(workers, need) for need in needs}
    had = [need for need in needs if found[need.model] is None]
    if not had:
        return _nobody(next(each for each in found.values() if each is not None))
    within = [need for need in had if obstacle(able, need) is None]
    if not within:
        prices = (each.offers[need.model].price_per_unit for need in had for each in workers if is_eligible(each, need))
        return _price_too_low("max_price_per_unit", min(prices))
    return _too_little(min(least_budget(able, need, request.pictures) for need in within), most_atoms)


def _too_little(least: int, most_atoms: int) -> NobodyServes:
    """Of a whole job's price; what no receipt may hold is no matter of the client's maximum."""
    if least <= most_atoms:
        return _price_too_low("max_price", least)
    detail = f"it may cost {_amount(least)}, and a receipt on this network holds {_amount(most_atoms)} at most"
    return NobodyServes(422, "price_too_low", f"{detail}: ask for less in one job", None)


def _price_too_low(field: str, least: int) -> NobodyServes:
    detail = f"no provider serves this for so little: {field} has to be {_amount(least)} or more"
    return NobodyServes(422, "price_too_low", detail, field)


def _amount(atoms: int) -> str:
    """As requests have it, and as people read it."""
    return f"{atoms} ({format_ait(atoms)} AIT)"


def _nobody(found: Obstacle) -> NobodyServes:
    return NobodyServes(*_SENTENCES[found])
